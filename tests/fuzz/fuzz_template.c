/*
 * template: any source compiles to a template that keeps its contract, or yields an error position
 * within the source. The first byte chooses the charset, the second the permitted variables and the
 * length of the values.
 */

#include "core/session/template.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SETUP_BYTES 2

static void fill(char *value, size_t n, size_t size)
{
	memset(value, 'x', n);
	value[n] = '\0';
	assert(n < size);
}

/* Expands @template to memory of exactly the promised size. */
static void expand(const struct template *template, enum charset charset, bool longest)
{
	char names[TEMPLATE_PEER_MAX + TEMPLATE_PROXY_ID_MAX + TEMPLATE_AUTHORITY_MAX +
		   TEMPLATE_LOCAL_MAX + TEMPLATE_TLS_SUBJECT_MAX + 10];
	char host[2 * TEMPLATE_HOST_MAX], reason[2 * TEMPLATE_REASON_MAX];
	uint8_t field[TEMPLATE_FIELD_MAX];
	char *name = names;
	static const size_t maxima[] = {TEMPLATE_PEER_MAX, TEMPLATE_PROXY_ID_MAX,
					TEMPLATE_AUTHORITY_MAX, TEMPLATE_LOCAL_MAX,
					TEMPLATE_TLS_SUBJECT_MAX};
	struct template_text fields[TEMPLATE_FIELDS_MAX];
	struct template_values values = {
		.names = names,
		.host = host,
		.listener = host,
		.connection = longest ? UINT64_MAX : 0,
		.message = longest ? UINT64_MAX : 1,
		.bytes = longest ? UINT64_MAX : 0,
		.characters = longest ? UINT64_MAX : 0,
		.fields = fields,
		.offset = longest ? UINT64_MAX : 0,
		.reason = reason,
	};
	size_t max = template_length_max(template);
	uint8_t *out = malloc(max ? max : 1);
	size_t n;

	if (!out)
		abort();
	/* longer than the maximum, so it is truncated */
	for (size_t i = 0; i < sizeof(maxima) / sizeof(maxima[0]); i++) {
		size_t length = longest ? maxima[i] + 1 : 0;

		fill(name, length, (size_t)(names + sizeof(names) - name));
		name += length + 1;
	}
	fill(host, longest ? TEMPLATE_HOST_MAX + 1 : 0, sizeof(host));
	fill(reason, longest ? TEMPLATE_REASON_MAX + 1 : 0, sizeof(reason));
	memset(field, 'x', sizeof(field));
	for (size_t i = 0; i < TEMPLATE_FIELDS_MAX; i++)
		fields[i] = (struct template_text){field, longest ? sizeof(field) : 0};
	n = template_expand(template, &values, out);
	assert(n <= max && max <= TEMPLATE_EXPANDED_MAX);
	assert(!longest || n == max);
	assert(!template_is_empty(template) || n == 0);
	for (size_t i = 0; charset == CHARSET_ASCII && i < n; i++)
		assert(out[i] < 0x80);
	free(out);
}

static void check_fields(const struct template *template)
{
	size_t n;
	const struct template_field *fields = template_fields(template, &n);

	assert(n <= TEMPLATE_FIELDS_MAX);
	assert((n > 0) == ((template_variables(template) & TEMPLATE_FIELD) != 0));
	for (size_t i = 0; i < n; i++) {
		assert(fields[i].separator > 0 && fields[i].separator <= 0x10ffff);
		assert(fields[i].number > 0 && fields[i].number <= TEMPLATE_FIELD_NUMBER_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct template_error error;
	struct template *template;
	enum charset charset;
	unsigned allowed;
	char *source;

	if (size < SETUP_BYTES)
		return 0;
	charset = data[0] % 4;
	allowed = data[1] & 1	? TEMPLATE_IN_GREETING
		  : data[1] & 4 ? TEMPLATE_IN_NAK
				: TEMPLATE_IN_REPLY;
	source = malloc(size - SETUP_BYTES + 1);
	if (!source)
		abort();
	memcpy(source, data + SETUP_BYTES, size - SETUP_BYTES);
	source[size - SETUP_BYTES] = '\0';
	if (template_compile(source, charset, allowed, &template, &error) == TEMPLATE_OK) {
		assert((template_variables(template) & ~allowed) == 0);
		check_fields(template);
		expand(template, charset, data[1] & 2);
		template_destroy(template);
	} else {
		assert(error.fault != TEMPLATE_OK && error.offset <= strlen(source));
		assert(memchr(error.name, '\0', sizeof(error.name)));
	}
	free(source);
	return 0;
}
