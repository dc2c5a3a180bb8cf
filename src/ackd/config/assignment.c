/* The NAME=VALUE of the command line: their places among all lines, and their values as text. */

#include "ackd/config/internal.h"
#include "ackd/config/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned count_newlines(const char *text)
{
	unsigned n = 0;

	for (; *text != '\0'; text++)
		n += *text == '\n';
	return n;
}

int assignments_init(struct config_loader *loader, const struct config_source *source,
		     const char *text)
{
	unsigned line = text ? count_newlines(text) + 2 : 1;
	int r = 0;

	if (source->n_assignments == 0)
		return 0;
	loader->assignments = calloc(source->n_assignments, sizeof(*loader->assignments));
	if (!loader->assignments)
		return -ENOMEM;
	for (size_t i = 0; i < source->n_assignments && r == 0; i++) {
		struct assignment *a = &loader->assignments[i];
		const char *argument = source->assignments[i];
		int n = (int)strcspn(argument, "=");

		if (asprintf(&a->option, CONFIG_OPTION "%.*s", n, argument) < 0) {
			a->option = NULL;
			return -ENOMEM;
		}
		loader->n_assignments++;
		a->name = a->option + strlen(CONFIG_OPTION);
		a->value = argument + n + (argument[n] == '=');
		a->line = line;
		line += count_newlines(argument) + 1;
		r = config_errors_add_segment(&loader->errors, a->line, a->option, 0);
	}
	return r;
}

void assignments_finish(struct config_loader *loader)
{
	for (size_t i = 0; i < loader->n_assignments; i++)
		free(loader->assignments[i].option);
	free(loader->assignments);
}

/* Returns whether @value begins with @open and ends with @close. */
static bool is_between(const char *value, char open, char close)
{
	size_t n = strlen(value);

	return n >= 2 && value[0] == open && value[n - 1] == close;
}

/* Returns whether @value is for libconfig, and not a string without quotes. */
static bool is_literal(const char *value, const struct setting *setting)
{
	if (!setting || is_between(value, '"', '"'))
		return true;
	switch (setting->type->kind) {
	case KIND_NUMBER:
	case KIND_BOOLEAN:
		return config_text_is_word(value);
	case KIND_ARRAY:
	case KIND_BYTES:
		return is_between(value, '[', ']');
	case KIND_STRING:
	case KIND_WORD:
		break;
	}
	return false;
}

int assignment_text(const struct assignment *assignment, const struct setting *setting,
		    struct config_errors *errors, char **ret_text)
{
	const char *value = assignment->value;
	bool one_element =
		setting && setting->type->kind == KIND_ARRAY && !is_between(value, '[', ']');
	char *bytes = NULL;
	size_t n;
	FILE *out = open_memstream(&bytes, &n);
	int r = -ENOMEM;

	if (!out)
		return -ENOMEM;
	fputs(one_element ? "value = [" : "value = ", out);
	if (is_literal(value, setting))
		fputs(value, out);
	else if (!one_element || *value != '\0')
		config_quote_print(value, out);
	fputs(one_element ? "];" : ";", out);
	if (fclose(out) == 0 && bytes)
		r = config_text_from_option(bytes, assignment->line, errors, ret_text);
	free(bytes);
	return r;
}
