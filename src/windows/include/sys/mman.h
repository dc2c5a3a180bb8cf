#pragma once

/* For Windows: what tests need of mmap(2), private anonymous memory. */

#include <stddef.h>
#include <sys/types.h>

#define PROT_NONE 1
#define PROT_READ 4 /* with PROT_WRITE only */
#define PROT_WRITE 4
#define MAP_PRIVATE 0
#define MAP_ANONYMOUS 0
#define MAP_FAILED NULL
#define _SC_PAGESIZE 1

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset);
int mprotect(void *p, size_t n, int protection);
int munmap(void *p, size_t n);
long sysconf(int name);
