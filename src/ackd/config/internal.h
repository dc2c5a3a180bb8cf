#pragma once

/*
 * For the files of this folder: the table of settings and the operations on one setting
 * (settings.c, arrays.c), and the state of the steps of config_load_with() (parse.c, check.c).
 */

#include "ackd/config/config.h"
#include "ackd/config/error.h"
#include "base/units.h"

/* ---- settings: settings.c ---- */

enum setting_scope { SCOPE_LISTENER, SCOPE_DAEMON };

enum setting_flag {
	SETTING_RESTART = 1 << 0, /* takes effect only after a restart */
	SETTING_UNBUILT = 1 << 1, /* rejected: this build lacks the feature */
	SETTING_TCP = 1 << 2,	  /* has a meaning for an address only */
	SETTING_UNIX = 1 << 3,	  /* has a meaning for a path only */
	SETTING_TEXT = 1 << 4,	  /* has a meaning for text only, not for binary messages */

	/* has a meaning for that framing only, which needs it if there is no default */
	SETTING_DELIMITED = 1 << 5,
	SETTING_LENGTH = 1 << 6,
	SETTING_FIXED = 1 << 7,

	SETTING_OLD_NAME = 1 << 8, /* another setting has the member; not printed */
};

struct setting {
	enum setting_scope scope;
	const char *name; /* dotted */
	const struct setting_type *type;
	size_t offset; /* of the member in struct config_listener or struct config */
	size_t size;
	uint64_t minimum; /* numbers: in the unit of the member; strings: length in bytes */
	uint64_t maximum; /* strings: 0: none */
	const char *const *words;
	const char *default_text; /* NULL: none */
	unsigned flags;		  /* set of enum setting_flag */
};

extern const struct setting settings[];
extern const size_t n_settings;

/* The flags of settings of the group frame. */
#define SETTING_FRAME (SETTING_DELIMITED | SETTING_LENGTH | SETTING_FIXED)

/* Returns the flag of the settings that @framing uses; 0: it uses none of them. */
unsigned setting_frame_flag(enum framing framing);

/* The capacity of arrays with one element per setting. */
#define SETTINGS_MAX 96

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

/* Returns whether the setting is in @group. */
bool setting_is_in(const struct setting *setting, const char *group);

/* The size of the buffer for value_text(). */
#define VALUE_TEXT_MAX 256

/*
 * Describes @value for a message: "70000", "the string \"abc\"", "a group { ... }". Returns @out.
 */
const char *value_text(const struct value *value, char out[VALUE_TEXT_MAX]);

/* The operations on the members of some types. */
struct setting_class {
	/* See setting_set(). */
	int (*set)(const struct setting *setting, void *member, const struct value *value,
		   const struct config_place *place);

	/* See setting_print(). */
	void (*print)(const struct setting *setting, const void *member, FILE *out);

	/* Writes the allowed values, for messages. */
	void (*describe)(const struct setting *setting, char out[VALUE_TEXT_MAX]);

	/* Where members own memory. See setting_clear(), setting_copy() and setting_equal(). */
	void (*clear)(void *member);
	int (*copy)(void *to, const void *from);
	bool (*equal)(const void *a, const void *b);
};

struct setting_type {
	const struct setting_class *class;

	/* The form of a value in the file. */
	enum {
		KIND_NUMBER,
		KIND_BOOLEAN,
		KIND_STRING,
		KIND_WORD,  /* one of setting->words */
		KIND_ARRAY, /* setting_set() adds one element */
		KIND_BYTES, /* a string, or an array whose elements setting_set() adds */
	} kind;

	/* For messages: what is allowed; numbers with a range: in which form. */
	const char *allowed;
	const char *form;

	/* Numbers: reads @value in the unit of the member. Returns whether it is one. */
	bool (*read)(const struct setting *setting, const struct value *value,
		     uint64_t *ret_number);
	/* Numbers: returns @number as text, in @out or static. */
	const char *(*text)(const struct setting *setting, uint64_t number,
			    char out[UNITS_TEXT_MAX]);

	/* Strings: whether a value of valid length is valid. NULL: all are. */
	bool (*is_good)(const char *text);
};

/* arrays.c: the types of settings that are arrays. */
extern const struct setting_type type_networks, type_proxies, type_protocols;

/*
 * Checks that @value is a string and valid UTF-8, which libconfig does not guarantee. Returns 0, or
 * -EINVAL after reporting an error at @place.
 */
int setting_check_string(const struct setting *setting, const struct value *value,
			 const struct config_place *place);

/*
 * Checks @value and stores it in the member in @object; for an array, adds one element. Returns 0,
 * -EINVAL after reporting an error at @place, or -ENOMEM.
 */
int setting_set(const struct setting *setting, void *object, const struct value *value,
		const struct config_place *place);

/* Checks the length of bytes whose elements were added, as setting_set() does. */
int setting_finish_bytes(const struct setting *setting, const void *object,
			 const struct value *value, const struct config_place *place);

/* Returns whether the member is a string that is NULL. */
bool setting_is_none(const struct setting *setting, const void *object);

/* Writes the value in libconfig syntax; setting_is_none() must be false. */
void setting_print(const struct setting *setting, const void *object, FILE *out);

/* Empties a list or releases a string, before the setting is set again. */
void setting_clear(const struct setting *setting, void *object);

/* Copies the member of @from to @to, where it is empty. Returns 0 or -ENOMEM. */
int setting_copy(const struct setting *setting, void *to, const void *from);

/* Returns whether the member has the same value in both objects. */
bool setting_equal(const struct setting *setting, const void *a, const void *b);

/*
 * Reports that @value is not valid for @setting, for a reason such as "which is not an address"
 * (NULL: none). Returns -EINVAL.
 */
int setting_mismatch(const struct setting *setting, const struct value *value,
		     const struct config_place *place, const char *because);

/* ---- the steps of loading: parse.c, check.c ---- */

/* Where a setting was set; later levels take precedence. */
enum source_level {
	SOURCE_DEFAULT,
	SOURCE_TOP,
	SOURCE_LISTENER,
	SOURCE_OPTION,		/* of the command line, for all listeners */
	SOURCE_OPTION_LISTENER, /* and for one listener */
};

struct setting_source {
	enum source_level level;
	bool bad;      /* an error was reported; the member keeps its previous value */
	unsigned line; /* of the text; 0 for the default, and for -p */
};

/* The sources of one listener's settings. */
struct listener_sources {
	struct setting_source settings[SETTINGS_MAX]; /* by index in settings[] */
	unsigned line;				      /* where the listener's group begins */
};

/* NAME=VALUE of the command line. */
struct assignment {
	char *option;	   /* "--set NAME" */
	const char *name;  /* in @option */
	const char *value; /* in the argument */
	unsigned line;	   /* its first line: those of the assignments follow those of all files */
};

struct config_loader {
	struct config *config;
	struct config_errors errors;
	struct assignment *assignments;
	size_t n_assignments;
	bool without_tls_files;
	struct setting_source sources[SETTINGS_MAX]; /* of the daemon's settings */
	struct listener_sources *listeners;	     /* config->n_listeners of them */
};

/*
 * Sets the members of @object that settings of @scope stand for to their defaults. They must be
 * empty. Returns 0 or -ENOMEM.
 */
int config_set_defaults(enum setting_scope scope, void *object);

/*
 * assignment.c: makes @loader->assignments from those of @source. @text is that of all files (NULL:
 * none). Returns 0 or -ENOMEM; in both cases assignments_finish() must be called.
 */
int assignments_init(struct config_loader *loader, const struct config_source *source,
		     const char *text);
void assignments_finish(struct config_loader *loader);

/*
 * Gives the caller the text "value = ...;" that sets @setting (NULL: listeners) to the value of
 * @assignment (free). Returns 0, -EINVAL after reporting an error, or -ENOMEM.
 */
int assignment_text(const struct assignment *assignment, const struct setting *setting,
		    struct config_errors *errors, char **ret_text);

/*
 * Reads the settings and listeners in @text (config_text_read(); NULL: none), and those in
 * @loader->assignments, into @loader->config, which has the daemon's defaults and no listeners.
 * @port (-1: none) replaces the top-level port. Returns 0 (even if it reported errors), -EINVAL if
 * libconfig rejected the text, or -ENOMEM.
 */
int config_parse(struct config_loader *loader, const char *text, int port);

/*
 * Checks settings that depend on each other, and completes the listeners' policies. Returns 0 (even
 * if it reported errors) or -ENOMEM.
 */
int config_check(struct config_loader *loader);
