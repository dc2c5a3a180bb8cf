#pragma once

/*
 * The table of settings (settings.def) and the operations on a setting of any type: set it from a
 * value, compare it, print it. This layer does not use libconfig.
 */

#include "ackd/config/config.h"
#include "ackd/config/error.h"

enum setting_scope { SCOPE_LISTENER, SCOPE_DAEMON };

struct setting_type; /* types.h */

enum setting_flag {
	SETTING_RESTART = 1 << 0, /* takes effect only after a restart */
	SETTING_UNBUILT = 1 << 1, /* rejected: this build lacks the feature */
};

struct setting {
	enum setting_scope scope;
	const char *name; /* dotted */
	const struct setting_type *type;
	size_t offset; /* of the member in struct config_listener or struct config */
	size_t size;
	uint64_t minimum; /* numbers: in the unit of the member; strings: length in bytes */
	uint64_t maximum;
	const char *const *words;
	const char *default_text; /* NULL: none */
	unsigned flags;		  /* set of enum setting_flag */
};

extern const struct setting settings[];
extern const size_t n_settings;

/* The capacity of arrays with one element per setting. */
#define SETTINGS_MAX 64

/* A value from the configuration file. */
struct value {
	enum value_type {
		VALUE_INTEGER,
		VALUE_FLOAT,
		VALUE_BOOLEAN,
		VALUE_STRING,
		VALUE_GROUP,
		VALUE_ARRAY,
		VALUE_LIST,
	} type;
	int64_t integer; /* also for VALUE_BOOLEAN */
	double real;
	const char *string;
};

/* Returns the index in settings[] of the setting with the dotted @name, or -1. */
int setting_find(enum setting_scope scope, const char *name);

/* Returns whether @name is a group: the first part of the dotted name of a setting in @scope. */
bool setting_is_group(enum setting_scope scope, const char *name);

/*
 * Returns whether the setting is an array, whose elements are passed to setting_set() one by one.
 */
bool setting_is_array(const struct setting *setting);

/* Sets the member in @object to its default. Returns 0 or -ENOMEM. */
int setting_set_default(const struct setting *setting, void *object);

/* Empties a list or releases a string, before the setting is set again. */
void setting_clear(const struct setting *setting, void *object);

/*
 * Checks @value and stores it in the member in @object; for an array, adds one element. Returns 0,
 * -EINVAL after reporting an error at @place, or -ENOMEM.
 */
int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place);

/* The size of the buffer for value_text(). */
#define VALUE_TEXT_MAX 256

/*
 * Describes @value for a message: "70000", "the string \"abc\"", "a group { ... }". Returns @out.
 */
const char *value_text(const struct value *value, char out[VALUE_TEXT_MAX]);

/* Reports that @value is not valid for @setting. Returns -EINVAL. */
int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place);

/* Like setting_mismatch(), with a reason: "which is not an address". */
int setting_mismatch_because(const struct setting *setting, const struct value *value,
			     const struct config_place *place, const char *because);

/*
 * Reports that there is no setting @name (dotted), at top level or, if @top is false, in a
 * listener. The message suggests the nearest known name. If none is near, it lists the names that
 * are valid in the group. Returns 0 or -ENOMEM.
 */
int setting_unknown(const char *name, bool top, const struct config_place *place);

/* Returns whether the member has the same value in both objects. */
bool setting_equal(const struct setting *setting, const void *a, const void *b);

/* Writes the value in libconfig syntax; a string must not be NULL. */
void setting_print(const struct setting *setting, const void *object, FILE *out);
