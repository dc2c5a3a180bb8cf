/*
 * Any bytes as a configuration: it is rejected with a reason, or its dump loads and yields the same
 * dump. There are no files: the input is cut into parts at each byte 0xFE, and `@include "2"` is
 * part 2. Part 0 is the configuration. Each byte 0xFD begins the NAME=VALUE of an option.
 */

#include "ackd/config/config.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_MAX 8192
#define READS_MAX 32
#define ASSIGNMENTS_MAX 16

struct parts {
	const char *bytes;
	size_t n;
	unsigned n_reads;
};

/* libconfig 1.5 leaks the strings that it has read at a syntax error. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libconfig\n";
}

static int read_part(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	struct parts *parts = data;
	const char *p = parts->bytes, *end = p + parts->n, *cut;
	long skip = strtol(path, NULL, 10);
	size_t n;

	if (skip < 0 || parts->n_reads++ == READS_MAX)
		return -EMFILE;
	for (; skip > 0; skip--) {
		p = memchr(p, 0xfe, (size_t)(end - p));
		if (p == NULL)
			return -ENOENT;
		p++;
	}
	cut = memchr(p, 0xfe, (size_t)(end - p));
	n = (size_t)((cut != NULL ? cut : end) - p);
	*ret_bytes = malloc(n + 1);
	if (*ret_bytes == NULL)
		return -ENOMEM;
	memcpy(*ret_bytes, p, n);
	*ret_n = n;
	return 0;
}

/* Returns the configuration, or NULL after checking that a reason was given. */
static struct config *load(const char *bytes, size_t n, const char **assignments,
			   size_t n_assignments)
{
	const struct config_source source = {.path = "0",
					     .port = -1,
					     .assignments = assignments,
					     .n_assignments = n_assignments};
	struct parts parts = {.bytes = bytes, .n = n};
	struct config *config = NULL;
	char *errors = NULL;
	size_t n_errors;
	FILE *out = open_memstream(&errors, &n_errors);
	int r;

	if (out == NULL)
		abort();
	r = config_load_with(&source, read_part, &parts, out, &config);
	if (fclose(out) != 0 || (r != 0 && r != -EINVAL) || (r == 0) != (config != NULL) ||
	    (r == 0) != (n_errors == 0))
		abort();
	free(errors);
	return config;
}

/* Loads the files and assignments in the input. */
static struct config *load_input(const char *bytes, size_t n)
{
	const char *assignments[ASSIGNMENTS_MAX];
	size_t n_assignments = 0;
	struct config *config;
	char *copy = malloc(n + 1), *end;

	if (copy == NULL)
		abort();
	memcpy(copy, bytes, n);
	copy[n] = '\0';
	end = memchr(copy, 0xfd, n);
	n = end != NULL ? (size_t)(end - copy) : n;
	for (; end != NULL && n_assignments < ASSIGNMENTS_MAX; end = strchr(end, 0xfd)) {
		*end++ = '\0';
		assignments[n_assignments++] = end;
	}
	config = load(copy, n, assignments, n_assignments);
	free(copy);
	return config;
}

static char *dump(const struct config *config, size_t *ret_n)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_n);

	if (out == NULL || config_dump(config, out) < 0 || fclose(out) != 0)
		abort();
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config, *again;
	char *text, *text_again;
	size_t n, n_again;

	if (size > INPUT_MAX)
		return 0;
	config = load_input((const char *)data, size);
	if (config == NULL)
		return 0;
	text = dump(config, &n);
	again = load(text, n, NULL, 0);
	if (again == NULL)
		abort();
	text_again = dump(again, &n_again);
	if (n != n_again || memcmp(text, text_again, n) != 0)
		abort();
	config_unref(config);
	config_unref(again);
	free(text);
	free(text_again);
	return 0;
}
