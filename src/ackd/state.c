#include "ackd/state.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char magic[8] = "ackd-st";

/* All numbers are little-endian. The checksum covers what follows the header. */
struct state_header {
	char magic[8];
	uint32_t version;
	uint32_t n_connections;
	uint32_t n_counters;
	uint32_t reserved;
	uint64_t length; /* of the whole state */
	uint64_t numbered;
	uint64_t checksum;
};

enum {
	FLAG_ENDED = 1 << 0,
	FLAG_DONE = 1 << 1,
	FLAG_SKIPPING = 1 << 2,
	FLAG_SENT_ANYTHING = 1 << 3,
	FLAG_ALL = (1 << 4) - 1,
};

struct state_record {
	uint64_t connection;
	uint64_t received;
	uint64_t line_start;
	uint64_t messages;
	uint64_t sent;
	uint32_t input_length;
	uint32_t output_length;
	uint16_t port;
	uint8_t family; /* 0: UNIX, 4, 6: numbers of address families differ between systems */
	uint8_t flags;
	uint8_t last_byte;
	uint8_t listener_length; /* with its NUL */
	uint8_t reserved[2];
	uint8_t address[16];
	/* listener, input and output follow */
};

struct state_counters_record {
	uint8_t listener_length; /* with its NUL */
	uint8_t n;
	uint8_t reserved[6];
	/* listener and n numbers of 64 bits follow */
};

_Static_assert(sizeof(struct state_counters_record) == 8, "no padding");
_Static_assert(sizeof(struct state_header) == 48, "no padding");
_Static_assert(sizeof(struct state_record) == 72, "no padding");

/* FNV-1a, 64 bits: against damage, not against malice; nobody else can write the memfd. */
static uint64_t checksum(const uint8_t *bytes, size_t n)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* ---- writing ---- */

static int writer_reserve(struct state_writer *writer, size_t n)
{
	size_t needed = writer->length + n;
	size_t capacity = writer->capacity * 2 > needed ? writer->capacity * 2 : needed;
	uint8_t *bytes;

	if (needed > STATE_SIZE_MAX)
		return -EFBIG;
	if (needed <= writer->capacity)
		return 0;
	bytes = realloc(writer->bytes, capacity);
	if (!bytes)
		return -ENOMEM;
	writer->bytes = bytes;
	writer->capacity = capacity;
	return 0;
}

static void writer_put(struct state_writer *writer, const void *p, size_t n)
{
	if (n > 0)
		memcpy(writer->bytes + writer->length, p, n);
	writer->length += n;
}

/* Begins with room for the header, which state_seal() fills. */
static int writer_begin(struct state_writer *writer, size_t n)
{
	static const struct state_header empty;
	size_t header = writer->length == 0 ? sizeof(empty) : 0;
	int r = writer_reserve(writer, header + n);

	if (r == 0)
		writer_put(writer, &empty, header);
	return r;
}

int state_add(struct state_writer *writer, const struct state_connection *c)
{
	struct state_record record = {
		.connection = htole64(c->connection),
		.received = htole64(c->received),
		.line_start = htole64(c->line_start),
		.messages = htole64(c->messages),
		.sent = htole64(c->sent),
		.input_length = htole32((uint32_t)c->input_length),
		.output_length = htole32((uint32_t)c->output_length),
		.port = htole16(c->address.port),
		.family = c->address.family == AF_INET	  ? 4
			  : c->address.family == AF_INET6 ? 6
							  : 0,
		.flags = (uint8_t)((c->ended ? FLAG_ENDED : 0) | (c->done ? FLAG_DONE : 0) |
				   (c->skipping ? FLAG_SKIPPING : 0) |
				   (c->sent_anything ? FLAG_SENT_ANYTHING : 0)),
		.last_byte = c->last_byte,
		.listener_length = (uint8_t)(strlen(c->listener) + 1),
	};
	int r;

	if (c->input_length > UINT32_MAX || c->output_length > UINT32_MAX)
		return -EFBIG;
	r = writer_begin(writer, sizeof(record) + record.listener_length + c->input_length +
					 c->output_length);
	if (r < 0)
		return r;
	memcpy(record.address, c->address.bytes, sizeof(record.address));
	writer_put(writer, &record, sizeof(record));
	writer_put(writer, c->listener, record.listener_length);
	writer_put(writer, c->input, c->input_length);
	writer_put(writer, c->output, c->output_length);
	writer->n_connections++;
	return 0;
}

int state_add_counters(struct state_writer *writer, const struct state_counters *counters)
{
	struct state_counters_record record = {
		.listener_length = (uint8_t)(strlen(counters->listener) + 1),
		.n = (uint8_t)counters->n,
	};
	int r = writer_begin(writer, sizeof(record) + record.listener_length +
					     counters->n * sizeof(uint64_t));

	if (r < 0)
		return r;
	writer_put(writer, &record, sizeof(record));
	writer_put(writer, counters->listener, record.listener_length);
	for (size_t i = 0; i < counters->n; i++) {
		uint64_t value = htole64(counters->values[i]);

		writer_put(writer, &value, sizeof(value));
	}
	writer->n_counters++;
	return 0;
}

struct state_mark state_mark(const struct state_writer *writer)
{
	return (struct state_mark){writer->length, writer->n_connections};
}

void state_truncate(struct state_writer *writer, const struct state_mark *mark)
{
	writer->length = mark->length;
	writer->n_connections = mark->n_connections;
}

int state_seal(struct state_writer *writer, uint64_t numbered)
{
	struct state_header header = {.version = htole32(STATE_VERSION)};
	int r = writer_begin(writer, 0);

	if (r < 0)
		return r;
	memcpy(header.magic, magic, sizeof(magic));
	header.n_connections = htole32(writer->n_connections);
	header.n_counters = htole32(writer->n_counters);
	header.length = htole64(writer->length);
	header.numbered = htole64(numbered);
	header.checksum =
		htole64(checksum(writer->bytes + sizeof(header), writer->length - sizeof(header)));
	memcpy(writer->bytes, &header, sizeof(header));
	return 0;
}

void state_writer_finish(struct state_writer *writer)
{
	free(writer->bytes);
	*writer = (struct state_writer){0};
}

/* ---- reading ---- */

/* Whether a name of @length bytes, its NUL the last and the only one, stands at @p. */
static bool name_check(const uint8_t *p, size_t length)
{
	return length > 0 && memchr(p, '\0', length) == p + length - 1;
}

/* Whether a whole record stands at @p; its length with all that follows it. */
static bool record_check(const uint8_t *p, const uint8_t *end, size_t *ret_length)
{
	size_t left = (size_t)(end - p);
	struct state_record record;
	uint64_t length;

	if (left < sizeof(record))
		return false;
	memcpy(&record, p, sizeof(record));
	length = sizeof(record) + (uint64_t)record.listener_length + le32toh(record.input_length) +
		 le32toh(record.output_length);
	if (length > left || record.flags > FLAG_ALL ||
	    (record.family != 0 && record.family != 4 && record.family != 6))
		return false;
	*ret_length = (size_t)length;
	return name_check(p + sizeof(record), record.listener_length);
}

static bool counters_check(const uint8_t *p, const uint8_t *end, size_t *ret_length)
{
	size_t left = (size_t)(end - p);
	struct state_counters_record record;

	if (left < sizeof(record))
		return false;
	memcpy(&record, p, sizeof(record));
	*ret_length = sizeof(record) + record.listener_length + record.n * sizeof(uint64_t);
	return *ret_length <= left && record.n <= STATE_COUNTERS_MAX &&
	       name_check(p + sizeof(record), record.listener_length);
}

/* Checks @n records. Returns where they end, or NULL. */
static const uint8_t *records_check(const uint8_t *p, const uint8_t *end, uint32_t n,
				    bool (*check)(const uint8_t *, const uint8_t *, size_t *))
{
	while (n-- > 0) {
		size_t length;

		if (!check(p, end, &length))
			return NULL;
		p += length;
	}
	return p;
}

int state_open(const uint8_t *bytes, size_t length, struct state_reader *ret_reader)
{
	struct state_header header;
	const uint8_t *p = bytes + sizeof(header);
	const uint8_t *end = bytes + length;
	const uint8_t *counters;

	if (length < sizeof(header))
		return -EBADMSG;
	memcpy(&header, bytes, sizeof(header));
	if (memcmp(header.magic, magic, sizeof(magic)) != 0)
		return -EBADMSG;
	if (le32toh(header.version) != STATE_VERSION)
		return -EPROTO;
	if (le64toh(header.length) != length ||
	    le64toh(header.checksum) != checksum(p, length - sizeof(header)))
		return -EBADMSG;
	counters = records_check(p, end, le32toh(header.n_connections), record_check);
	if (!counters ||
	    records_check(counters, end, le32toh(header.n_counters), counters_check) != end)
		return -EBADMSG;
	*ret_reader = (struct state_reader){
		.next = bytes + sizeof(header),
		.end = counters,
		.counters = counters,
		.n_counters = le32toh(header.n_counters),
		.n_connections = le32toh(header.n_connections),
		.numbered = le64toh(header.numbered),
	};
	return 0;
}

bool state_next(struct state_reader *reader, struct state_connection *ret_connection)
{
	struct state_record record;
	const uint8_t *p = reader->next;
	struct state_connection c;

	if (p == reader->end)
		return false;
	memcpy(&record, p, sizeof(record));
	p += sizeof(record);
	c = (struct state_connection){
		.listener = (const char *)p,
		.connection = le64toh(record.connection),
		.received = le64toh(record.received),
		.line_start = le64toh(record.line_start),
		.messages = le64toh(record.messages),
		.sent = le64toh(record.sent),
		.ended = record.flags & FLAG_ENDED,
		.done = record.flags & FLAG_DONE,
		.skipping = record.flags & FLAG_SKIPPING,
		.sent_anything = record.flags & FLAG_SENT_ANYTHING,
		.last_byte = record.last_byte,
		.input = p + record.listener_length,
		.input_length = le32toh(record.input_length),
		.output_length = le32toh(record.output_length),
	};
	c.output = c.input + c.input_length;
	c.address.family = record.family == 4 ? AF_INET : record.family == 6 ? AF_INET6 : AF_UNIX;
	c.address.port = le16toh(record.port);
	memcpy(c.address.bytes, record.address, sizeof(record.address));
	reader->next = c.output + c.output_length;
	*ret_connection = c;
	return true;
}

bool state_next_counters(struct state_reader *reader, struct state_counters *ret_counters)
{
	struct state_counters_record record;
	const uint8_t *p = reader->counters;

	if (reader->n_counters == 0)
		return false;
	memcpy(&record, p, sizeof(record));
	p += sizeof(record);
	ret_counters->listener = (const char *)p;
	ret_counters->n = record.n;
	p += record.listener_length;
	for (size_t i = 0; i < record.n; i++, p += sizeof(uint64_t)) {
		memcpy(&ret_counters->values[i], p, sizeof(uint64_t));
		ret_counters->values[i] = le64toh(ret_counters->values[i]);
	}
	reader->counters = p;
	reader->n_counters--;
	return true;
}
