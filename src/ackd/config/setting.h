#pragma once

/*
 * The table of settings (settings.def) and what can be done with one of them, whatever its type:
 * set it from a value that was read, compare it, print it. Nothing here knows libconfig.
 */

#include "ackd/config/config.h"
#include "ackd/config/error.h"

enum setting_scope { SCOPE_LISTENER, SCOPE_DAEMON };

struct setting_type; /* config_types.h */

enum setting_flag {
	SETTING_RESTART = 1 << 0, /* a reload does not put it into effect */
	SETTING_UNBUILT = 1 << 1, /* refused: this build lacks the feature */
};

struct setting {
	enum setting_scope scope;
	const char *name; /* dotted */
	const struct setting_type *type;
	size_t offset; /* of the member in struct config_listener or struct config */
	size_t size;
	uint64_t minimum; /* of numbers: in the unit of the member; of strings: length in bytes */
	uint64_t maximum;
	const char *const *words;
	const char *default_text; /* NULL: none */
	unsigned flags;		  /* set of enum setting_flag */
};

extern const struct setting settings[];
extern const size_t n_settings;

/* The most settings that the table can have: for arrays with an element for each. */
#define SETTINGS_MAX 64

/* A value as it was read. */
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
	int64_t integer; /* VALUE_BOOLEAN as well */
	double real;
	const char *string;
};

/* Returns the index in settings[] of the setting with the dotted @name, or -1. */
int setting_find(enum setting_scope scope, const char *name);

/* Whether @name is a group: the first part of the dotted name of a setting in @scope. */
bool setting_is_group(enum setting_scope scope, const char *name);

/* Whether the setting takes an array, whose elements are given to setting_set() one by one. */
bool setting_is_array(const struct setting *setting);

/* Gives the member in @object its default. Returns 0 or -ENOMEM. */
int setting_set_default(const struct setting *setting, void *object);

/* Empties a list, or releases a string; before the setting is read anew. */
void setting_clear(const struct setting *setting, void *object);

/*
 * Checks @value and gives it to the member in @object (for an array: adds one element). Returns 0,
 * -EINVAL after telling @place what is wrong, or -ENOMEM.
 */
int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place);

/* The most that value_text() writes. */
#define VALUE_TEXT_MAX 256

/* Says for a message what @value is: "70000", "the string \"abc\"", "a group { ... }". Returns
 * @out. */
const char *value_text(const struct value *value, char out[VALUE_TEXT_MAX]);

/* Tells that @value is not what @setting takes. Returns -EINVAL. */
int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place);

/* The same, with a reason: "which is not an address". */
int setting_mismatch_because(const struct setting *setting, const struct value *value,
			     const struct config_place *place, const char *because);

/*
 * Reports that there is no setting @name (dotted), at top level or, if @top is false, in a
 * listener: with the nearest known name, or, if none is near, all names that its group can have.
 * Returns 0 or -ENOMEM.
 */
int setting_unknown(const char *name, bool top, const struct config_place *place);

/* Whether the member is the same in both objects. */
bool setting_equal(const struct setting *setting, const void *a, const void *b);

/* Writes the value in libconfig syntax; a string must not be NULL. */
void setting_print(const struct setting *setting, const void *object, FILE *out);
