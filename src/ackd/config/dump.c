#include "ackd/config/setting.h"

#include <errno.h>
#include <string.h>

/* Returns whether the member is meaningful: an address has no mode, a path no port. */
static bool is_in_effect(const struct setting *setting, const void *object)
{
	const struct config_listener *listener = object;
	const struct config *config = object;

	if (setting->scope == SCOPE_DAEMON)
		return strncmp(setting->name, "metrics.", strlen("metrics.")) != 0 ||
		       config->metrics_address != NULL;
	if (strcmp(setting->name, "address") == 0 || strcmp(setting->name, "port") == 0 ||
	    strcmp(setting->name, "freebind") == 0)
		return listener->path == NULL;
	if (strcmp(setting->name, "path") == 0 || strcmp(setting->name, "mode") == 0)
		return listener->path != NULL;
	return true;
}

/*
 * Writes the settings of @scope, indented by @indent tabs. Dotted settings are written in groups.
 */
static void dump_settings(enum setting_scope scope, const void *object, int indent, FILE *out)
{
	static const char tabs[] = "\t\t\t";
	const char *group = "";
	size_t n_group = 0;

	for (size_t i = 0; i < n_settings; i++) {
		const struct setting *s = &settings[i];
		const char *dot = strchr(s->name, '.');
		size_t n = dot != NULL ? (size_t)(dot - s->name) : 0;

		if (s->scope != scope || !is_in_effect(s, object))
			continue;
		if (n != n_group || strncmp(group, s->name, n) != 0) {
			if (n_group > 0)
				fprintf(out, "%.*s};\n", indent, tabs);
			if (n > 0)
				fprintf(out, "%.*s%.*s = {\n", indent, tabs, (int)n, s->name);
			group = s->name;
			n_group = n;
		}
		fprintf(out, "%.*s%s = ", indent + (n > 0), tabs, dot != NULL ? dot + 1 : s->name);
		setting_print(s, object, out);
		fputs(";\n", out);
	}
	if (n_group > 0)
		fprintf(out, "%.*s};\n", indent, tabs);
}

int config_dump(const struct config *config, FILE *out)
{
	if (config->listed) {
		fputs("listeners = (\n", out);
		for (size_t i = 0; i < config->n_listeners; i++) {
			fputs("\t{\n", out);
			dump_settings(SCOPE_LISTENER, &config->listeners[i], 2, out);
			fprintf(out, "\t}%s\n", i + 1 < config->n_listeners ? "," : "");
		}
		fputs(");\n", out);
	} else {
		dump_settings(SCOPE_LISTENER, &config->listeners[0], 0, out);
	}
	dump_settings(SCOPE_DAEMON, config, 0, out);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
