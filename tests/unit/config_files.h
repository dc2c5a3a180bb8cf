#pragma once

/* Configurations in a directory of their own, for the tests of the loader. */

#include "ackd/config/config.h"

#include <stddef.h>

/* cmocka's group fixtures: make the directory, change into it; remove it. */
int files_setup(void **state);
int files_teardown(void **state);

/* Writes the file @path, and the directories in it; removed by files_teardown(). */
void files_write(const char *path, const char *bytes, size_t n);
void files_write_text(const char *path, const char *text);

/* Loads @path; fails unless it is rejected with exactly these @errors. */
void files_expect_errors(const char *path, int port, const char *errors);

/* Loads @path; fails unless it is accepted without any message. The caller gets the reference. */
struct config *files_load(const char *path, int port);

/* The same, of @text. */
struct config *files_load_text(const char *text);

/* Returns what config_dump() writes (malloc). */
char *files_dump(const struct config *config);
