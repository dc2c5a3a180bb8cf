#pragma once

/*
 * Included before a source file, this replaces its allocations by those of test_config_memory.c,
 * which fail on demand.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *failing_malloc(size_t n);
void *failing_calloc(size_t n, size_t size);
void *failing_realloc(void *p, size_t n);
void *failing_reallocarray(void *p, size_t n, size_t size);
char *failing_strdup(const char *text);
char *failing_strndup(const char *text, size_t n);
FILE *failing_open_memstream(char **text, size_t *n);

#ifndef FAILING_ALLOC_DEFINED_HERE
#define malloc failing_malloc
#define calloc failing_calloc
#define realloc failing_realloc
#define reallocarray failing_reallocarray
#define strdup failing_strdup
#define strndup failing_strndup
#define open_memstream failing_open_memstream
#endif
