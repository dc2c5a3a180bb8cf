#pragma once

/* Writes JSON, one object per line. */

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *out;
	bool comma; /* the next member needs a comma before it */
};

/* Open and close the top-level object, which is one line. */
void json_begin(struct json *j, FILE *out);
void json_end(struct json *j);

/* Open and close a nested object or list; @name is NULL inside a list. */
void json_open(struct json *j, const char *name, char bracket);
void json_close(struct json *j, char bracket);

/*
 * Write one member. @name is NULL inside a list. json_ms() takes nanoseconds and writes
 * milliseconds without loss of precision.
 */
void json_string(struct json *j, const char *name, const char *value);
void json_number(struct json *j, const char *name, uint64_t value);
void json_double(struct json *j, const char *name, double value);
void json_ms(struct json *j, const char *name, uint64_t ns);
void json_bool(struct json *j, const char *name, bool value);
void json_null(struct json *j, const char *name);

/* Writes a string, or null if @text is NULL or empty. */
void json_text(struct json *j, const char *name, const char *text);

/* Writes bytes as member "text" if they are UTF-8, else as member "base64". */
void json_bytes(struct json *j, const uint8_t *p, size_t n);
