#include "core/session/template.h"

#include "core/utf8/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 18446744073709551615 */
#define NUMBER_MAX 20

/* The form of a field in messages; S and N vary. */
#define FIELD_FORM "field:S:N"
#define FIELD_NAME "field"
#define FIELD_DIGITS_MAX 5 /* 65535 */

/* A literal or a variable. */
struct part {
	unsigned variable; /* enum template_variable; 0 for a literal */
	uint32_t offset;   /* of the literal in template.literals */
	uint32_t length;
};

struct template
{
	unsigned variables;
	size_t length_max;
	size_t n_parts;
	struct part *parts; /* these two follow the struct, in the same allocation */
	uint8_t *literals;
	size_t literals_length; /* bytes of literals used while compiling */
	size_t n_fields;
	struct template_field fields[TEMPLATE_FIELDS_MAX];
};

static const struct variable {
	const char *name;
	enum template_variable variable;
	size_t length_max;
} variables[] = {
	{"peer", TEMPLATE_PEER, TEMPLATE_PEER_MAX},
	{"host", TEMPLATE_HOST, TEMPLATE_HOST_MAX},
	{"listener", TEMPLATE_LISTENER, TEMPLATE_LISTENER_MAX},
	{"connection", TEMPLATE_CONNECTION, NUMBER_MAX},
	{"proxy_id", TEMPLATE_PROXY_ID, TEMPLATE_PROXY_ID_MAX},
	{"authority", TEMPLATE_AUTHORITY, TEMPLATE_AUTHORITY_MAX},
	{"local", TEMPLATE_LOCAL, TEMPLATE_LOCAL_MAX},
	{"tls_subject", TEMPLATE_TLS_SUBJECT, TEMPLATE_TLS_SUBJECT_MAX},
	{"message", TEMPLATE_MESSAGE, NUMBER_MAX},
	{"bytes", TEMPLATE_BYTES, NUMBER_MAX},
	{"characters", TEMPLATE_CHARACTERS, NUMBER_MAX},
	{FIELD_FORM, TEMPLATE_FIELD, TEMPLATE_FIELD_MAX}, /* see parse_field() */
	{"offset", TEMPLATE_OFFSET, NUMBER_MAX},
	{"reason", TEMPLATE_REASON, TEMPLATE_REASON_MAX},
};

static const struct variable *variable_find(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		if (strlen(variables[i].name) == n && memcmp(variables[i].name, name, n) == 0)
			return &variables[i];
	}
	return NULL;
}

const char *template_list(unsigned set, char out[TEMPLATE_LIST_MAX])
{
	size_t n = 0;

	out[0] = '\0';
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		if (variables[i].variable & set)
			n += (size_t)snprintf(out + n, TEMPLATE_LIST_MAX - n, "%s${%s}",
					      n > 0 ? ", " : "", variables[i].name);
	return out;
}

static enum template_fault fail(struct template_error *error, enum template_fault fault,
				size_t offset)
{
	*error = (struct template_error){.fault = fault, .offset = offset};
	return fault;
}

/* Stores the @n bytes of a variable's name in @error, truncated at a character boundary. */
static enum template_fault fail_name(struct template_error *error, enum template_fault fault,
				     size_t offset, const char *name, size_t n)
{
	size_t valid = n;

	fail(error, fault, offset);
	if (n >= sizeof(error->name))
		valid = utf8_check((const uint8_t *)name, sizeof(error->name) - 1).valid;
	memcpy(error->name, name, valid);
	return fault;
}

/*
 * Allocates a template with room for everything that @n bytes of source can compile to. Returns
 * NULL if out of memory.
 */
static struct template *template_create(size_t n)
{
	/* Each part takes at least one byte of source; the end may add one part. */
	size_t size =
		sizeof(struct template) + (n + 1) * sizeof(struct part) + n + UTF8_PREFIX_READ;
	struct template *template = calloc(1, size);

	if (!template)
		return NULL;
	*template = (struct template){.parts = (struct part *)(template + 1)};
	template->literals = (uint8_t *)(template->parts + n + 1);
	return template;
}

static enum template_fault add_literal(struct template *template, enum charset charset,
				       const char *source, size_t offset, size_t n,
				       struct template_error *ret_error)
{
	const uint8_t *text = (const uint8_t *)source + offset;
	struct part *part = &template->parts[template->n_parts];
	size_t read, written;

	if (n == 0)
		return TEMPLATE_OK;
	if (charset_encode(charset, ENCODE_STRICT, text, n,
			   template->literals + template->literals_length, n, &read,
			   &written) != CHARSET_DONE) {
		fail(ret_error, TEMPLATE_NOT_ENCODABLE, offset + read);
		ret_error->code_point = utf8_code_point(text + read);
		return TEMPLATE_NOT_ENCODABLE;
	}
	if (template->n_parts > 0 && part[-1].variable == 0) {
		part[-1].length += (uint32_t)written;
	} else {
		part->variable = 0;
		part->offset = (uint32_t) template->literals_length;
		part->length = (uint32_t)written;
		template->n_parts++;
	}
	template->literals_length += written;
	template->length_max += written;
	return TEMPLATE_OK;
}

static void add_variable(struct template *template, const struct variable *variable,
			 const struct template_field *field)
{
	template->parts[template->n_parts++] = (struct part){.variable = variable->variable};
	if (variable->variable == TEMPLATE_FIELD && template->n_fields < TEMPLATE_FIELDS_MAX)
		template->fields[template->n_fields++] = *field; /* more are an error anyway */
	template->variables |= variable->variable;
	template->length_max += variable->length_max;
}

/* Returns whether the name of @n bytes is "field", alone or before a colon. */
static bool is_field(const char *name, size_t n)
{
	size_t length = strlen(FIELD_NAME);

	return n >= length && memcmp(name, FIELD_NAME, length) == 0 &&
	       (n == length || name[length] == ':');
}

/*
 * Reads the S:N} at @p. S can be any character, so it is not searched for: exactly one stands
 * before the colon. Returns the length, or 0 if it is of another form.
 */
static size_t parse_field(const char *p, struct template_field *ret_field)
{
	size_t separator = 0, digits;
	const char *number;

	if (*p != '\0')
		utf8_character((const uint8_t *)p, strlen(p), &separator);
	number = p + separator + 1;
	if (separator == 0 || p[separator] != ':')
		return 0;
	digits = strspn(number, "0123456789");
	if (digits == 0 || digits > FIELD_DIGITS_MAX || *number == '0' || number[digits] != '}')
		return 0;
	ret_field->separator = utf8_code_point((const uint8_t *)p);
	ret_field->number = (uint32_t)strtoul(number, NULL, 10);
	return ret_field->number <= TEMPLATE_FIELD_NUMBER_MAX ? separator + digits + 2 : 0;
}

/*
 * Compiles the escape or variable that begins with the dollar at @offset. Sets *@ret_used to its
 * length in the source.
 */
static enum template_fault add_dollar(struct template *template, enum charset charset,
				      unsigned allowed, const char *source, size_t offset,
				      size_t *ret_used, struct template_error *ret_error)
{
	const char *dollar = source + offset, *name = dollar + 2, *end;
	const struct variable *variable;
	struct template_field field = {0};
	size_t n;

	if (dollar[1] == '$') {
		*ret_used = 2;
		return add_literal(template, charset, source, offset, 1, ret_error);
	}
	end = dollar[1] == '{' ? strchr(dollar, '}') : NULL;
	if (!end)
		return fail(ret_error, TEMPLATE_BAD_DOLLAR, offset);
	n = (size_t)(end - name);
	*ret_used = n + 3;
	variable = variable_find(name, n);
	if (is_field(name, n)) {
		size_t length = n > strlen(FIELD_NAME)
					? parse_field(name + strlen(FIELD_NAME) + 1, &field)
					: 0;

		if (length == 0)
			return fail_name(ret_error, TEMPLATE_BAD_FIELD, offset, name, n);
		*ret_used = strlen("${" FIELD_NAME ":") + length;
		variable = variable_find(FIELD_FORM, strlen(FIELD_FORM));
	}
	if (!variable)
		return fail_name(ret_error, TEMPLATE_UNKNOWN_VARIABLE, offset, name, n);
	if (!(variable->variable & allowed))
		return fail_name(ret_error, TEMPLATE_VARIABLE_NOT_HERE, offset, name, n);
	add_variable(template, variable, &field);
	return TEMPLATE_OK;
}

static enum template_fault compile(struct template *template, const char *source,
				   enum charset charset, unsigned allowed,
				   struct template_error *ret_error)
{
	enum template_fault fault = TEMPLATE_OK;
	size_t offset = 0;

	while (fault == TEMPLATE_OK && source[offset]) {
		size_t n = strcspn(source + offset, "$");

		if (n > 0)
			fault = add_literal(template, charset, source, offset, n, ret_error);
		else
			fault = add_dollar(template, charset, allowed, source, offset, &n,
					   ret_error);
		offset += n;
	}
	if (fault == TEMPLATE_OK && template->length_max > TEMPLATE_EXPANDED_MAX) {
		fault = fail(ret_error, TEMPLATE_TOO_LONG, 0);
		ret_error->length = template->length_max;
	}
	return fault;
}

enum template_fault template_compile(const char *source, enum charset charset, unsigned allowed,
				     struct template **ret_template,
				     struct template_error *ret_error)
{
	size_t n = strlen(source);
	struct template *template;
	struct utf8_checked checked = utf8_check((const uint8_t *)source, n);
	enum template_fault fault;

	if (checked.status != UTF8_COMPLETE)
		return fail(ret_error, TEMPLATE_NOT_UTF_8, checked.valid);
	template = template_create(n);
	if (!template)
		return fail(ret_error, TEMPLATE_NO_MEMORY, 0);
	fault = compile(template, source, charset, allowed, ret_error);
	if (fault == TEMPLATE_OK)
		*ret_template = template;
	else
		template_destroy(template);
	return fault;
}

void template_destroy(struct template *template)
{
	free(template);
}

unsigned template_variables(const struct template *template)
{
	return template ? template->variables : 0;
}

size_t template_length_max(const struct template *template)
{
	return template ? template->length_max : 0;
}

bool template_is_empty(const struct template *template)
{
	return template_length_max(template) == 0;
}

bool template_constant(const struct template *template, struct template_constant *ret_constant)
{
	static const uint8_t nothing[UTF8_PREFIX_READ];

	*ret_constant = (struct template_constant){nothing, 0};
	if (!template)
		return true;
	if (template->variables != 0)
		return false;
	*ret_constant = (struct template_constant){template->literals, template->length_max};
	return true;
}

const struct template_field *template_fields(const struct template *template, size_t *ret_n)
{
	*ret_n = template ? template->n_fields : 0;
	return template ? template->fields : NULL;
}

const char *template_name(const char *names, enum template_name which)
{
	if (!names)
		return "";
	for (unsigned i = 0; i < which; i++)
		names += strlen(names) + 1;
	return names;
}

static uint8_t *put_string(uint8_t *out, const char *string, size_t max)
{
	size_t n = string ? strnlen(string, max) : 0;

	if (n > 0)
		memcpy(out, string, n);
	return out + n;
}

static uint8_t *put_number(uint8_t *out, uint64_t number)
{
	uint8_t digits[NUMBER_MAX];
	size_t n = 0;

	do {
		digits[n++] = (uint8_t)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	while (n > 0)
		*out++ = digits[--n];
	return out;
}

static uint8_t *put_text(uint8_t *out, const struct template_text *text)
{
	if (text->length > 0)
		memcpy(out, text->bytes, text->length);
	return out + text->length;
}

static uint8_t *put_variable(uint8_t *out, unsigned variable, const struct template_values *values)
{
	const char *names = values->names;

	switch (variable) {
	case TEMPLATE_PEER:
		return put_string(out, template_name(names, NAME_PEER), TEMPLATE_PEER_MAX);
	case TEMPLATE_LOCAL:
		return put_string(out, template_name(names, NAME_LOCAL), TEMPLATE_LOCAL_MAX);
	case TEMPLATE_HOST:
		return put_string(out, values->host, TEMPLATE_HOST_MAX);
	case TEMPLATE_LISTENER:
		return put_string(out, values->listener, TEMPLATE_LISTENER_MAX);
	case TEMPLATE_CONNECTION:
		return put_number(out, values->connection);
	case TEMPLATE_PROXY_ID:
		return put_string(out, template_name(names, NAME_PROXY_ID), TEMPLATE_PROXY_ID_MAX);
	case TEMPLATE_AUTHORITY:
		return put_string(out, template_name(names, NAME_AUTHORITY),
				  TEMPLATE_AUTHORITY_MAX);
	case TEMPLATE_TLS_SUBJECT:
		return put_string(out, template_name(names, NAME_TLS_SUBJECT),
				  TEMPLATE_TLS_SUBJECT_MAX);
	case TEMPLATE_MESSAGE:
		return put_number(out, values->message);
	case TEMPLATE_BYTES:
		return put_number(out, values->bytes);
	case TEMPLATE_CHARACTERS:
		return put_number(out, values->characters);
	case TEMPLATE_OFFSET:
		return put_number(out, values->offset);
	case TEMPLATE_REASON:
		return put_string(out, values->reason, TEMPLATE_REASON_MAX);
	}
	return out;
}

size_t template_expand(const struct template *template, const struct template_values *values,
		       uint8_t *out)
{
	const struct template_text *field = values->fields;
	uint8_t *p = out;

	for (size_t i = 0; template && i < template->n_parts; i++) {
		const struct part *part = &template->parts[i];

		if (part->variable == TEMPLATE_FIELD) {
			p = put_text(p, field++);
		} else if (part->variable) {
			p = put_variable(p, part->variable, values);
		} else {
			memcpy(p, template->literals + part->offset, part->length);
			p += part->length;
		}
	}
	return (size_t)(p - out);
}
