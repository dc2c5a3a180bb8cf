/*
 * Runs the configuration loader on a file, for tests without a daemon:
 *
 *   config_probe FILE [PORT]  prints the configuration in effect (0), or its errors on stderr (78)
 *   config_probe --settings   prints the table of settings, one a line, with tabs between
 */

#include "ackd/config/internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *kind(const struct setting *setting)
{
	static const char *const names[] = {
		[KIND_NUMBER] = "number", [KIND_BOOLEAN] = "boolean", [KIND_STRING] = "string",
		[KIND_WORD] = "word",	  [KIND_ARRAY] = "array",     [KIND_BYTES] = "string",
	};

	return names[setting->type->kind];
}

/* scope, name, kind, default, words, flags */
#define ASSIGNMENTS_MAX 100

static void print_table(void)
{
	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *s = &settings[i];

		if (s->flags & SETTING_OLD_NAME)
			continue;
		printf("%s\t%s\t%s\t%s\t", s->scope == SCOPE_LISTENER ? "listener" : "daemon",
		       s->name, kind(s), s->default_text != NULL ? s->default_text : "none");
		for (size_t j = 0; s->words != NULL && s->words[j] != NULL; j++)
			printf("%s%s", j > 0 ? "," : "", s->words[j]);
		printf("\t%s%s\n", s->flags & SETTING_RESTART ? "restart" : "",
		       s->flags & SETTING_UNBUILT ? "unbuilt" : "");
	}
}

int main(int argc, char **argv)
{
	const char *assignments[ASSIGNMENTS_MAX];
	struct config_source source = {.port = -1, .assignments = assignments};
	struct config *config;
	int r;

	if (argc == 2 && strcmp(argv[1], "--settings") == 0) {
		print_table();
		return 0;
	}
	if (argc < 2) {
		fprintf(stderr, "usage: config_probe FILE [PORT [NAME=VALUE]...] | --settings\n");
		return 64;
	}
	if (argc > 2)
		source.port = (int)strtol(argv[2], NULL, 10);
	for (int i = 3; i < argc && source.n_assignments < ASSIGNMENTS_MAX; i++)
		assignments[source.n_assignments++] = argv[i];
	source.path = argv[1];
	r = config_load(&source, stderr, &config);
	if (r < 0)
		return 78;
	r = config_dump(config, stdout);
	config_unref(config);
	return r < 0 ? 71 : 0;
}
