/*
 * proxy: the parser runs again with each further byte. Once it has accepted or rejected a header,
 * more bytes must not change the result. Its spans lie within the header.
 */

#include "core/wire/proxy.h"

#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* Parses the first @n bytes in memory of just that size. */
static enum proxy_status parse(const uint8_t *data, size_t n, struct proxy_header *ret_header,
			       const char **ret_reason)
{
	uint8_t *copy = malloc(n ? n : 1);
	enum proxy_status status;

	if (!copy)
		abort();
	memcpy(copy, data, n);
	status = proxy_parse(copy, n, ret_header, ret_reason);
	free(copy);
	return status;
}

static void check_span(const struct proxy_header *header, const struct proxy_span *span,
		       const uint8_t *data)
{
	char text[4 * PROXY_HEADER_MAX + 1];
	char small[8];
	size_t n;

	assert(span->offset + span->length <= header->length);
	n = strlen(proxy_text(data, span, text, sizeof(text)));
	assert(n >= span->length && n <= 4 * (size_t)span->length);
	for (size_t i = 0; i < n; i++)
		assert(text[i] >= 0x20 && text[i] < 0x7f);
	assert(strlen(proxy_text(data, span, small, sizeof(small))) < sizeof(small));
	assert(strncmp(text, small, strlen(small)) == 0);
}

static void check_header(const struct proxy_header *header, const uint8_t *data, size_t n)
{
	check_span(header, &header->unique_id, data);
	check_span(header, &header->authority, data);
	assert(header->unique_id.length <= PROXY_ID_MAX);
	assert(header->length > 0 && header->length <= n && header->length <= PROXY_HEADER_MAX);
	if (header->has_source)
		assert(header->source.ss_family == AF_INET ||
		       header->source.ss_family == AF_INET6 || header->source.ss_family == AF_UNIX);
	else
		assert(header->source.ss_family == AF_UNSPEC);
	assert(header->destination.ss_family == header->source.ss_family);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header whole = {0};
	const char *whole_reason = NULL;
	enum proxy_status status;

	if (size > PROXY_HEADER_MAX + 8)
		size = PROXY_HEADER_MAX + 8;
	status = parse(data, size, &whole, &whole_reason);
	if (status == PROXY_COMPLETE)
		check_header(&whole, data, size);
	assert(status != PROXY_MORE || size < PROXY_HEADER_MAX);
	assert((status == PROXY_INVALID) == (whole_reason != NULL));
	for (size_t n = 0; n < size; n++) {
		struct proxy_header header = {0};
		const char *reason = NULL;
		enum proxy_status early = parse(data, n, &header, &reason);

		if (early == PROXY_MORE)
			continue;
		assert(early == status && n > 0);
		/* Both headers were zeroed first. NOLINTNEXTLINE */
		assert(early != PROXY_COMPLETE || memcmp(&header, &whole, sizeof(header)) == 0);
		assert(early == PROXY_COMPLETE ||
		       (reason && whole_reason && strcmp(reason, whole_reason) == 0));
	}
	return 0;
}
