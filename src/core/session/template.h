#pragma once

/*
 * ${...} templates (greeting, ack_prefix and others). They are compiled once, when the
 * configuration is read, into the reply charset. Expanding one, per connection or per message, does
 * not allocate.
 */

#include "core/text/charset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The maximum length of an expanded template; template_compile() rejects a template that could
 * exceed it.
 */
#define TEMPLATE_EXPANDED_MAX 1024

/* The maximum lengths of values, which template_compile() assumes. Numbers have up to 20 digits. */
#define TEMPLATE_PEER_MAX 128
#define TEMPLATE_HOST_MAX 64
#define TEMPLATE_LISTENER_MAX 64
#define TEMPLATE_PROXY_ID_MAX 512 /* PROXY_ID_MAX bytes, each as \xNN */
#define TEMPLATE_AUTHORITY_MAX 255
#define TEMPLATE_LOCAL_MAX 128
#define TEMPLATE_TLS_SUBJECT_MAX 512
#define TEMPLATE_REASON_MAX 32 /* with the code point */
#define TEMPLATE_FIELD_MAX 256

/* A longer list of fields could exceed TEMPLATE_EXPANDED_MAX. */
#define TEMPLATE_FIELDS_MAX (TEMPLATE_EXPANDED_MAX / TEMPLATE_FIELD_MAX)

/* The largest N in ${field:S:N}. */
#define TEMPLATE_FIELD_NUMBER_MAX 65535

enum template_variable {
	TEMPLATE_PEER = 1 << 0,		/* the peer's address: [2001:db8::1]:4711, unix */
	TEMPLATE_HOST = 1 << 1,		/* this machine's name */
	TEMPLATE_LISTENER = 1 << 2,	/* the listener's name */
	TEMPLATE_CONNECTION = 1 << 3,	/* number of the connection since the daemon started */
	TEMPLATE_MESSAGE = 1 << 4,	/* number of the message on its connection, from 1 */
	TEMPLATE_BYTES = 1 << 5,	/* received bytes of the message */
	TEMPLATE_CHARACTERS = 1 << 6,	/* characters of the message */
	TEMPLATE_PROXY_ID = 1 << 7,	/* the unique ID in the PROXY header */
	TEMPLATE_AUTHORITY = 1 << 8,	/* the authority in the PROXY header */
	TEMPLATE_LOCAL = 1 << 9,	/* the address that the peer connected to */
	TEMPLATE_FIELD = 1 << 10,	/* a part of the message, see struct template_field */
	TEMPLATE_OFFSET = 1 << 11,	/* received bytes before the fault */
	TEMPLATE_REASON = 1 << 12,	/* the fault in words, as in a NAK line */
	TEMPLATE_TLS_SUBJECT = 1 << 13, /* of the peer's certificate, by RFC 4514 */
};

#define TEMPLATE_IN_GREETING                                                                       \
	(TEMPLATE_PEER | TEMPLATE_HOST | TEMPLATE_LISTENER | TEMPLATE_CONNECTION |                 \
	 TEMPLATE_PROXY_ID | TEMPLATE_AUTHORITY | TEMPLATE_LOCAL | TEMPLATE_TLS_SUBJECT)
#define TEMPLATE_IN_REPLY                                                                          \
	(TEMPLATE_IN_GREETING | TEMPLATE_MESSAGE | TEMPLATE_BYTES | TEMPLATE_CHARACTERS |          \
	 TEMPLATE_FIELD)
#define TEMPLATE_IN_NAK                                                                            \
	(TEMPLATE_IN_GREETING | TEMPLATE_MESSAGE | TEMPLATE_OFFSET | TEMPLATE_REASON)

enum template_fault {
	TEMPLATE_OK,
	TEMPLATE_NOT_UTF_8,	    /* ill-formed UTF-8 at @offset */
	TEMPLATE_UNKNOWN_VARIABLE,  /* ${name} does not exist */
	TEMPLATE_VARIABLE_NOT_HERE, /* ${name} exists but is not in the allowed set */
	TEMPLATE_BAD_DOLLAR,	    /* $ followed by neither $ nor {, or ${ without } */
	TEMPLATE_BAD_FIELD,	    /* ${field...} of another form than ${field:S:N} */
	TEMPLATE_NOT_ENCODABLE,	    /* the charset lacks the character @code_point */
	TEMPLATE_TOO_LONG,	    /* could expand to @length bytes */
	TEMPLATE_NO_MEMORY,
};

/* Describes an error in a template, for a message to the operator. */
struct template_error {
	enum template_fault fault;
	size_t offset;	     /* where in the source, in bytes */
	char name[32];	     /* the variable's name, cut to fit; "" when there is none */
	uint32_t code_point; /* TEMPLATE_NOT_ENCODABLE */
	size_t length;	     /* TEMPLATE_TOO_LONG */
};

struct template;

/*
 * Compiles the @source (UTF-8, NUL-terminated) for @charset. @allowed is a set of enum
 * template_variable. On success returns TEMPLATE_OK and sets *@ret_template, which the caller
 * releases with template_destroy(). On an error fills *@ret_error and returns the fault.
 */
enum template_fault template_compile(const char *source, enum charset charset, unsigned allowed,
				     struct template **ret_template,
				     struct template_error *ret_error);

/* The size of the buffer for template_list(). */
#define TEMPLATE_LIST_MAX 256

/* Writes the @set of enum template_variable as "${peer}, ${host}". Returns @out. */
const char *template_list(unsigned set, char out[TEMPLATE_LIST_MAX]);

/* Accepts NULL. */
void template_destroy(struct template *template);

/* Returns the set of enum template_variable that @template uses; 0 for NULL. */
unsigned template_variables(const struct template *template);

/* Returns whether @template always expands to nothing; true for NULL. */
bool template_is_empty(const struct template *template);

/* Returns the maximum length of the expanded @template: at most TEMPLATE_EXPANDED_MAX. */
size_t template_length_max(const struct template *template);

/*
 * The text of a template without variables; it lives as long as the template. UTF8_PREFIX_READ
 * bytes at @bytes are readable, however short the text is.
 */
struct template_constant {
	const uint8_t *bytes;
	size_t length;
};

/* Returns whether @template has no variables (true for NULL). If so, fills *@ret_constant. */
bool template_constant(const struct template *template, struct template_constant *ret_constant);

/* ${field:S:N}: the N-th part, from 1, of the message split at each character S. */
struct template_field {
	uint32_t separator; /* S, a code point */
	uint32_t number;    /* N, at most TEMPLATE_FIELD_NUMBER_MAX */
};

/*
 * Returns the fields of @template (NULL: none) in their order in the template, and sets *@ret_n to
 * their number, at most TEMPLATE_FIELDS_MAX.
 */
const struct template_field *template_fields(const struct template *template, size_t *ret_n);

/*
 * The names of a connection are five strings, one after another: the peer, the unique ID, the
 * authority, the local address and the subject of the peer's certificate. Most connections have
 * none of them, or the peer alone.
 */
enum template_name { NAME_PEER, NAME_PROXY_ID, NAME_AUTHORITY, NAME_LOCAL, NAME_TLS_SUBJECT };

/* Returns one of @names, or "" when @names is NULL. */
const char *template_name(const char *names, enum template_name which);

/* The value of a field, in the charset of the template: at most TEMPLATE_FIELD_MAX bytes. */
struct template_text {
	const uint8_t *bytes;
	size_t length;
};

/*
 * The values of the variables. Strings are ASCII and NUL-terminated. A string longer than its
 * maximum above is truncated; one that the template does not use may be NULL.
 */
struct template_values {
	const char *names; /* see template_name() */
	const char *host;
	const char *listener;
	uint64_t connection;
	uint64_t message;
	uint64_t bytes;
	uint64_t characters;
	const struct template_text *fields; /* in the order of template_fields() */
	uint64_t offset;
	const char *reason;
};

/*
 * Expands @template to @out, which has room for template_length_max() bytes. Returns the length.
 * NULL expands to nothing.
 */
size_t template_expand(const struct template *template, const struct template_values *values,
		       uint8_t *out);
