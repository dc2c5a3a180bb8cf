#pragma once

/* The types of settings, named in settings.def: one table of operations for each. */

#include "ackd/config/setting.h"

struct setting_type {
	/* The form of a value in the file. */
	enum {
		KIND_NUMBER,
		KIND_BOOLEAN,
		KIND_STRING,
		KIND_WORD, /* one of setting->words */
		KIND_ARRAY,
	} kind;

	/* See setting_set(). */
	int (*set)(const struct setting *setting, void *object, const struct value *value,
		   const struct config_place *place);

	/* See setting_clear(). NULL: the member needs no release. */
	void (*clear)(const struct setting *setting, void *object);

	/* See setting_equal(). NULL: the bytes of the members are compared. */
	bool (*equal)(const struct setting *setting, const void *a, const void *b);

	/* See setting_print(). */
	void (*print)(const struct setting *setting, const void *object, FILE *out);

	/* Writes the allowed values, for messages. */
	void (*describe)(const struct setting *setting, char out[VALUE_TEXT_MAX]);
};

extern const struct setting_type type_integer;	    /* an integer: any unsigned type */
extern const struct setting_type type_size;	    /* bytes, or a string with a unit: unsigned */
extern const struct setting_type type_milliseconds; /* seconds, or with a unit: uint64_t */
extern const struct setting_type type_microseconds; /* the same: uint64_t */
extern const struct setting_type type_boolean;	    /* bool */
extern const struct setting_type type_name;	    /* [A-Za-z0-9._-]: char * */
extern const struct setting_type type_address;	    /* address, name or "*": char * */
extern const struct setting_type type_path;	    /* char * */
extern const struct setting_type type_mode;	    /* a string of octal digits: mode_t */
extern const struct setting_type type_template;	    /* the source of a template: char * */
extern const struct setting_type type_word;	    /* one of setting->words: an enum */
extern const struct setting_type type_networks;	    /* strings in CIDR notation: struct cidr_list */
extern const struct setting_type type_proxies;	    /* the same, or "unix" */
