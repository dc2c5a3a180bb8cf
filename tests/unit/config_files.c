#include "config_files.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/ackd-config-XXXXXX";

int files_setup(void **state)
{
	if (mkdtemp(directory) == NULL)
		return -1;
	return chdir(directory);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

int files_teardown(void **state)
{
	if (chdir("/") < 0)
		return -1;
	return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void files_write(const char *path, const char *bytes, size_t n)
{
	char *copy = strdup(path), *slash;
	FILE *file;

	assert_non_null(copy);
	for (slash = strchr(copy, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		assert_true(mkdir(copy, 0700) == 0 || errno == EEXIST);
		*slash = '/';
	}
	free(copy);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, n, file), n);
	assert_int_equal(fclose(file), 0);
}

void files_write_text(const char *path, const char *text)
{
	files_write(path, text, strlen(text));
}

/* Loads a file, and expects this result and these errors. */
static struct config *load(const char *path, int port, int result, const char *errors)
{
	struct config *config = NULL;
	char *written = NULL;
	size_t n;
	FILE *out = open_memstream(&written, &n);
	int r;

	assert_non_null(out);
	r = config_load(&(struct config_source){.path = path, .port = port}, out, &config);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(written, errors);
	assert_int_equal(r, result);
	free(written);
	return config;
}

void files_expect_errors(const char *path, int port, const char *errors)
{
	assert_null(load(path, port, -EINVAL, errors));
}

struct config *files_load(const char *path, int port)
{
	return load(path, port, 0, "");
}

struct config *files_load_text(const char *text)
{
	files_write_text("text", text);
	return files_load("text", -1);
}

char *files_dump(const struct config *config)
{
	char *written = NULL;
	size_t n;
	FILE *out = open_memstream(&written, &n);

	assert_non_null(out);
	assert_int_equal(config_dump(config, out), 0);
	assert_int_equal(fclose(out), 0);
	return written;
}
