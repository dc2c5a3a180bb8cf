#include "ackd/handover/state.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static const char magic[8] = "ackd-st";

static_assert(sizeof(struct state_header) == 48, "no padding");
static_assert(sizeof(struct state_record) == 88, "no padding");
static_assert(sizeof(struct state_names_record) == 8, "no padding");
static_assert(sizeof(struct state_counters_record) == 8, "no padding");

/*
 * FNV-1a over 64-bit words. It detects damage, not manipulation: no other process can write to the
 * memfd. A single changed word always changes the result.
 */
static uint64_t checksum(const uint8_t *bytes, size_t n)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	while (n > 0) {
		size_t length = n < sizeof(uint64_t) ? n : sizeof(uint64_t);
		uint64_t word = 0;

		memcpy(&word, bytes, length);
		hash = (hash ^ word) * UINT64_C(0x100000001b3);
		bytes += length;
		n -= length;
	}
	return hash;
}

void state_complete(struct state_header *header, const uint8_t *bytes, size_t length)
{
	memcpy(header->magic, magic, sizeof(magic));
	header->version = STATE_VERSION;
	header->length = length;
	header->checksum = checksum(bytes + sizeof(*header), length - sizeof(*header));
}

/* ---- reading ---- */

/* Returns whether the @length bytes at @p are a name that ends with the only NUL. */
static bool name_check(const uint8_t *p, size_t length)
{
	return length > 0 && memchr(p, '\0', length) == p + length - 1;
}

/* Returns whether the @length bytes at @p are four strings, or whether @length is 0. */
static bool names_check(const uint8_t *p, size_t length)
{
	const uint8_t *end = p + length, *nul = p - 1;

	if (length == 0)
		return true;
	for (int i = 0; i < 3 && nul; i++)
		nul = memchr(nul + 1, '\0', (size_t)(end - nul - 1));
	return nul && name_check(nul + 1, (size_t)(end - nul - 1));
}

static bool is_flag(uint8_t value)
{
	return value <= 1;
}

static bool place_check(const struct session_place *place)
{
	bool has_begun = place->message_length > 0 || place->skipping;

	return place->message_length <= place->received &&
	       place->message_length <= MESSAGE_BYTES_MAX + 2 * MARK_MAX &&
	       place->count <= (has_begun ? MESSAGE_BYTES_MAX : 0) && is_flag(place->skipping) &&
	       place->dirty == 0 && place->done < SESSION_END_COUNT && place->carry.length == 0;
}

/* Returns whether a complete record is at @p, and its total length. */
static bool record_check(const uint8_t *p, size_t left, size_t *ret_length)
{
	struct state_record record;
	uint64_t length;
	uint8_t family;

	if (left < sizeof(record))
		return false;
	memcpy(&record, p, sizeof(record));
	length = sizeof(record) + (uint64_t)record.listener_length + record.output_length +
		 record.input_length + record.names_length + record.tls_length;
	family = record.address.family;
	if (length > left || !place_check(&record.place) || !is_flag(record.ended) ||
	    !is_flag(record.counted) ||
	    (family != AF_UNIX && family != AF_INET && family != AF_INET6))
		return false;
	*ret_length = (size_t)length;
	return name_check(p + sizeof(record), record.listener_length) &&
	       names_check(p + length - record.tls_length - record.names_length,
			   record.names_length);
}

/* Returns the end of the records of connections at @p, or NULL. */
static const uint8_t *connections_check(const uint8_t *p, const uint8_t *end, uint32_t n)
{
	while (n-- > 0) {
		size_t length;

		if (!record_check(p, (size_t)(end - p), &length))
			return NULL;
		p += length;
	}
	return p;
}

/* Takes the names of counters at @p. Returns their end, or NULL. */
static const uint8_t *counter_names_check(const uint8_t *p, const uint8_t *end,
					  struct state_reader *reader)
{
	struct state_names_record record;
	uint32_t n = 0;

	if ((size_t)(end - p) < sizeof(record))
		return NULL;
	memcpy(&record, p, sizeof(record));
	p += sizeof(record);
	if (record.length > (size_t)(end - p))
		return NULL;
	reader->names = (const char *)p;
	reader->n_names = record.n;
	end = p + record.length;
	while (p && p < end) {
		p = memchr(p, '\0', (size_t)(end - p));
		p = p ? p + 1 : NULL;
		n++;
	}
	return n == record.n ? p : NULL;
}

/* Returns whether the bytes from @p to @end are the names and values of @n listeners' counters. */
static bool counters_check(const uint8_t *p, const uint8_t *end, uint32_t n,
			   struct state_reader *reader)
{
	if (n == 0)
		return p == end;
	p = counter_names_check(p, end, reader);
	reader->next_counters = p;
	while (p && n-- > 0) {
		struct state_counters_record record;
		size_t left = (size_t)(end - p);
		uint64_t length;

		if (left < sizeof(record))
			return false;
		memcpy(&record, p, sizeof(record));
		length = sizeof(record) + record.listener_length +
			 (uint64_t)reader->n_names * sizeof(uint64_t);
		if (length > left || !name_check(p + sizeof(record), record.listener_length))
			return false;
		p += length;
	}
	return p == end;
}

int state_open(const uint8_t *bytes, size_t length, struct state_reader *ret_reader)
{
	const uint8_t *first = bytes + sizeof(struct state_header), *end = bytes + length,
		      *counters;
	struct state_reader reader = {.next = first};
	struct state_header *header = &reader.header;

	if (length < sizeof(*header))
		return -EBADMSG;
	memcpy(header, bytes, sizeof(*header));
	if (memcmp(header->magic, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (header->version != STATE_VERSION)
		return -EPROTO;
	if (header->is_last > 1 || header->length != length ||
	    header->checksum != checksum(first, length - sizeof(*header)))
		return -EBADMSG;
	counters = connections_check(first, end, header->n_connections);
	if (!counters || !counters_check(counters, end, header->n_counters, &reader))
		return -EBADMSG;
	reader.connections_left = header->n_connections;
	reader.counters_left = header->n_counters;
	*ret_reader = reader;
	return 0;
}

const uint8_t *state_next(struct state_reader *reader)
{
	const uint8_t *p = reader->next;
	struct state_record record;

	if (reader->connections_left == 0)
		return NULL;
	memcpy(&record, p, sizeof(record));
	reader->next += sizeof(record) + record.listener_length;
	reader->next += (size_t)record.output_length + record.input_length + record.names_length +
			record.tls_length;
	reader->connections_left--;
	return p;
}

struct state_connection state_read(const uint8_t *connection)
{
	struct state_connection c;

	memcpy(&c.record, connection, sizeof(c.record));
	c.listener = (const char *)connection + sizeof(c.record);
	c.output = connection + sizeof(c.record) + c.record.listener_length;
	c.input = c.output + c.record.output_length;
	c.tls = c.input + c.record.input_length + c.record.names_length;
	c.proxy_id = c.authority = c.local = c.tls_subject = "";
	if (c.record.names_length > 0) {
		c.proxy_id = (const char *)c.input + c.record.input_length;
		c.authority = c.proxy_id + strlen(c.proxy_id) + 1;
		c.local = c.authority + strlen(c.authority) + 1;
		c.tls_subject = c.local + strlen(c.local) + 1;
	}
	return c;
}

int64_t state_find_counter(const struct state_reader *reader, const char *name)
{
	const char *other = reader->names;

	for (uint32_t i = 0; i < reader->n_names; i++) {
		if (strcmp(other, name) == 0)
			return i;
		other += strlen(other) + 1;
	}
	return -1;
}

bool state_next_counters(struct state_reader *reader, struct state_counters *ret_counters)
{
	const uint8_t *p = reader->next_counters;
	struct state_counters_record record;

	if (reader->counters_left == 0)
		return false;
	memcpy(&record, p, sizeof(record));
	p += sizeof(record);
	ret_counters->listener = (const char *)p;
	ret_counters->values = p + record.listener_length;
	reader->next_counters = ret_counters->values + reader->n_names * sizeof(uint64_t);
	reader->counters_left--;
	return true;
}

uint64_t state_counter(const struct state_counters *counters, int64_t place)
{
	uint64_t value = 0;

	if (place >= 0)
		memcpy(&value, counters->values + (size_t)place * sizeof(value), sizeof(value));
	return value;
}
