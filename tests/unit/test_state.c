/* The handed-over state: records are read back, and damaged ones are rejected. */

#include "ackd/handover/handover.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char *listener_of(unsigned i)
{
	return i % 2 ? "one" : "two.of-them";
}

/* The names of a sample, one after another, and their length. */
#define PROXY_ID "id"
#define AUTHORITY "a.example"
#define LOCAL "192.0.2.1:7"
#define TLS_SUBJECT "CN=me"
static const char names[] = PROXY_ID "\0" AUTHORITY "\0" LOCAL "\0" TLS_SUBJECT;

static uint16_t names_length(unsigned i)
{
	return i % 5 == 4 ? sizeof(names) : 0;
}

static struct state_record sample(unsigned i)
{
	const uint8_t families[] = {AF_UNIX, AF_INET, AF_INET6};
	struct state_record record = {
		.connection = i,
		.sent = i * UINT64_C(3),
		.place = {.received = UINT64_MAX - i,
			  .message_length = 1 + i * 4099 % MESSAGE_BYTES_MAX,
			  .messages = i * UINT64_C(0x100000000),
			  .count = i * 4099 % (MESSAGE_BYTES_MAX + 1),
			  .skipping = i >> 2 & 1,
			  .last_byte = (uint8_t)i,
			  .done = i >> 1 & 1},
		.address = {.family = families[i % 3], .port = (uint16_t)(i * 7)},
		.ended = i & 1,
		.output_length = i % 50,
		.input_length = i % 61,
		.names_length = names_length(i),
		.tls_length = i % 4 == 3 ? 11 : 0,
	};

	memset(record.address.bytes, (int)i, sizeof(record.address.bytes));
	return record;
}

static void assert_same(const struct state_record *a, const struct state_connection *b,
			const uint8_t *bytes, const char *listener)
{
	struct state_record expected = *a;

	expected.listener_length = b->record.listener_length;
	assert_memory_equal(&expected, &b->record, sizeof(expected)); /* there is no padding */
	assert_string_equal(b->listener, listener);
	assert_memory_equal(b->output, bytes, a->output_length);
	assert_memory_equal(b->input, bytes + 7, a->input_length);
	assert_memory_equal(b->tls, bytes + 3, a->tls_length);
	assert_string_equal(b->proxy_id, a->names_length > 0 ? PROXY_ID : "");
	assert_string_equal(b->authority, a->names_length > 0 ? AUTHORITY : "");
	assert_string_equal(b->local, a->names_length > 0 ? LOCAL : "");
	assert_string_equal(b->tls_subject, a->names_length > 0 ? TLS_SUBJECT : "");
}

/* The state that a process hands over, and its segments as the next process finds them. */
struct fixture {
	struct limits limits;
	struct handover handover;
	int reading; /* of the queue */
	uint8_t bytes[100];
	uint8_t *segment; /* mapped to be written to */
	size_t length;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	assert_non_null(f);
	assert_int_equal(limits_init(&f->limits, 1 << 20), 0);
	f->limits.numbered = 12345;
	for (size_t i = 0; i < sizeof(f->bytes); i++)
		f->bytes[i] = (uint8_t)(i * 31);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->reading = fds[1];
	handover_init(&f->handover, fds[0], &f->limits, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->segment)
		munmap(f->segment, f->length);
	handover_finish(&f->handover);
	close(f->reading);
	limits_finish(&f->limits);
	free(f);
	return 0;
}

/* Adds a sample, in more than one piece. */
static void add(struct fixture *f, unsigned i)
{
	struct handover *h = &f->handover;
	struct state_record record = sample(i);
	uint32_t first = record.output_length / 2;

	assert_int_equal(handover_begin(h, listener_of(i)), 0);
	assert_int_equal(handover_put(h, f->bytes, first), 0);
	assert_int_equal(handover_put(h, f->bytes + first, record.output_length - first), 0);
	assert_int_equal(handover_put(h, f->bytes + 7, record.input_length), 0);
	assert_int_equal(h->put_bytes, record.output_length + record.input_length);
	assert_int_equal(handover_put(h, names, record.names_length), 0);
	assert_int_equal(handover_put(h, f->bytes + 3, record.tls_length), 0);
	assert_int_equal(handover_end(h, &record), 0);
}

/* Receives the next segment, whose @n connections have come with descriptors. */
static void receive(struct fixture *f, size_t n)
{
	char control[CMSG_SPACE(253 * sizeof(int))], byte;
	struct iovec iov = {&byte, 1};
	struct msghdr message = {.msg_iov = &iov,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	int fds[253] = {0};
	struct cmsghdr *c;
	struct stat st;

	assert_int_equal(recvmsg(f->reading, &message, 0), 1);
	assert_int_equal(message.msg_controllen, CMSG_SPACE((1 + n) * sizeof(int)));
	c = CMSG_FIRSTHDR(&message);
	if (!c)
		fail();
	else
		memcpy(fds, CMSG_DATA(c), (1 + n) * sizeof(int));
	assert_int_equal(fstat(fds[0], &st), 0);
	if (f->segment)
		munmap(f->segment, f->length);
	f->length = (size_t)st.st_size;
	f->segment = mmap(NULL, f->length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fds[0], 0);
	assert_true(f->segment != MAP_FAILED);
	assert_true(write(fds[0], "", 1) < 0 && errno == EPERM);
	for (size_t i = 0; i <= n; i++)
		close(fds[i]);
}

/* Sends the segment, with the descriptors of @n connections. */
static void send_segment(struct fixture *f, size_t n)
{
	int fds[HANDOVER_BATCH];

	for (size_t i = 0; i < n; i++)
		fds[i] = STDERR_FILENO;
	assert_int_equal(handover_send(&f->handover, fds), 0);
	receive(f, n);
}

static void test_records_are_read_back(void **state)
{
	struct fixture *f = *state;
	struct state_reader reader;

	for (unsigned i = 0; i < HANDOVER_BATCH; i++) {
		assert_false(handover_is_full(&f->handover));
		/* a record that is not ended is replaced */
		assert_int_equal(handover_begin(&f->handover, "unused"), 0);
		assert_int_equal(handover_put(&f->handover, f->bytes, sizeof(f->bytes)), 0);
		add(f, i);
	}
	assert_true(handover_is_full(&f->handover));
	assert_int_equal(handover_begin(&f->handover, "unused"), 0);
	assert_int_equal(handover_put(&f->handover, f->bytes, sizeof(f->bytes)), 0);
	send_segment(f, HANDOVER_BATCH);
	assert_false(handover_is_full(&f->handover));
	assert_int_equal(f->handover.n_handed_over, HANDOVER_BATCH);
	assert_int_equal(state_open(f->segment, f->length, &reader), 0);
	assert_int_equal(reader.header.n_connections, HANDOVER_BATCH);
	assert_true(reader.header.numbered == 12345 && !reader.header.is_last);
	for (unsigned i = 0; i < HANDOVER_BATCH; i++) {
		struct state_record expected = sample(i);
		const uint8_t *p = state_next(&reader);

		assert_non_null(p);
		struct state_connection c = state_read(p);
		assert_same(&expected, &c, f->bytes, listener_of(i));
	}
	assert_null(state_next(&reader));
	assert_false(state_next_counters(&reader, &(struct state_counters){0}));
}

/* Completes the last segment, and receives it. */
static void complete(struct fixture *f)
{
	int r = handover_complete(&f->handover);

	assert_true(r == 0 || r == -EPIPE); /* -EPIPE: without libsystemd there is no reader */
	receive(f, 0);
}

/* Another version has other counters, in another order. */
static void test_counters_have_names(void **state)
{
	static const char counter_names[] = "messages\0only there\0naks\0";
	struct fixture *f = *state;
	struct state_reader reader;
	struct state_counters counters;

	handover_name_counters(&f->handover, counter_names, sizeof(counter_names) - 1, 3);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(handover_add_counters(&f->handover, i ? "l" : "",
						       (uint64_t[]){i, 7, UINT64_MAX - i}),
				 0);
	complete(f);
	assert_int_equal(state_open(f->segment, f->length, &reader), 0);
	assert_true(reader.header.is_last);
	assert_null(state_next(&reader));
	assert_int_equal(state_find_counter(&reader, "messages"), 0);
	assert_int_equal(state_find_counter(&reader, "naks"), 2);
	assert_int_equal(state_find_counter(&reader, "only here"), -1);
	assert_int_equal(state_find_counter(&reader, ""), -1);
	for (uint64_t i = 0; i < 3; i++) {
		assert_true(state_next_counters(&reader, &counters));
		assert_string_equal(counters.listener, i ? "l" : "");
		assert_true(state_counter(&counters, 0) == i);
		assert_true(state_counter(&counters, 2) == UINT64_MAX - i);
		assert_true(state_counter(&counters, -1) == 0);
	}
	assert_false(state_next_counters(&reader, &counters));
}

static void test_state_without_counters(void **state)
{
	struct fixture *f = *state;
	struct state_reader reader;

	handover_name_counters(&f->handover, "messages", 9, 1);
	complete(f);
	assert_int_equal(f->length, sizeof(struct state_header));
	assert_int_equal(state_open(f->segment, f->length, &reader), 0);
	assert_int_equal(state_find_counter(&reader, "messages"), -1);
	assert_false(state_next_counters(&reader, &(struct state_counters){0}));
}

/* A segment ends early if its connections hold much data. */
static void test_large_records(void **state)
{
	struct fixture *f = *state;
	size_t n = f->handover.segment_bytes;
	uint8_t *large = calloc(1, n);
	struct state_record record = {.input_length = (uint32_t)n, .address.family = AF_UNIX};
	struct state_reader reader;

	assert_non_null(large);
	assert_true(n >= 65536);
	assert_int_equal(handover_begin(&f->handover, "l"), 0);
	assert_int_equal(handover_put(&f->handover, large, n), 0);
	assert_int_equal(handover_end(&f->handover, &record), 0);
	assert_true(handover_is_full(&f->handover));
	send_segment(f, 1);
	assert_int_equal(state_open(f->segment, f->length, &reader), 0);
	struct state_connection c = state_read(state_next(&reader));
	assert_int_equal(c.record.input_length, n);
	assert_memory_equal(c.input, large, n);
	free(large);
}

/* A segment with any byte changed or of any shorter length is rejected. */
static void test_damaged_state_is_rejected(void **state)
{
	struct fixture *f = *state;
	struct state_reader reader;
	uint32_t version = STATE_VERSION + 1;

	for (unsigned i = 0; i < 6; i++)
		add(f, i);
	send_segment(f, 6);
	for (size_t i = 0; i < f->length; i++) {
		struct state_header header;

		f->segment[i] ^= 1;
		memcpy(&header, f->segment, sizeof(header));
		if (header.numbered == 12345 && header.is_last != 1)
			assert_true(state_open(f->segment, f->length, &reader) < 0);
		f->segment[i] ^= 1;
		assert_int_equal(state_open(f->segment, i, &reader), -EBADMSG);
	}
	assert_int_equal(state_open(f->segment, f->length, &reader), 0);
	memcpy(f->segment + offsetof(struct state_header, version), &version, sizeof(version));
	assert_int_equal(state_open(f->segment, f->length, &reader), -EPROTO);
}

/* Opens the segment with other bytes at @offset after the header, and a correct checksum. */
static int open_with(struct fixture *f, size_t offset, const void *bytes, size_t n)
{
	uint8_t *place = f->segment + sizeof(struct state_header) + offset, before[8];
	struct state_header header;
	struct state_reader reader;
	int r;

	memcpy(before, place, n);
	memcpy(place, bytes, n);
	memcpy(&header, f->segment, sizeof(header));
	state_complete(&header, f->segment, f->length);
	memcpy(f->segment, &header, sizeof(header));
	r = state_open(f->segment, f->length, &reader);
	memcpy(place, before, n);
	return r;
}

/* Records are validated even if the checksum is correct. */
static void test_invalid_records_are_rejected(void **state)
{
	struct fixture *f = *state;
	struct state_record record;

	add(f, 4);
	send_segment(f, 1);
#define WITH(member, value)                                                                        \
	(memcpy(&record, f->segment + sizeof(struct state_header), sizeof(record)),                \
	 record.member = (value),                                                                  \
	 open_with(f, offsetof(struct state_record, member), &record.member,                       \
		   sizeof(record.member)))
#define BAD(member, value) assert_int_equal(WITH(member, value), -EBADMSG)
	assert_int_equal(WITH(connection, 1), 0);
	assert_int_equal(WITH(place.count, MESSAGE_BYTES_MAX), 0);
	assert_int_equal(WITH(place.message_length, MESSAGE_BYTES_MAX + 2 * MARK_MAX), 0);
	BAD(place.skipping, 2);
	BAD(place.dirty, 1);
	BAD(place.count, MESSAGE_BYTES_MAX + 1);
	BAD(place.message_length, MESSAGE_BYTES_MAX + 2 * MARK_MAX + 1);
	BAD(place.carry.length, 1);
	BAD(place.done, SESSION_END_COUNT);
	BAD(ended, 2);
	BAD(address.family, 0);
	BAD(listener_length, 0);
	BAD(listener_length, 1);
	BAD(output_length, 5);
	BAD(output_length, UINT32_MAX);
	BAD(input_length, 3);
	BAD(names_length, sizeof(names) - 1);
	BAD(names_length, sizeof(names) + 1);
	BAD(names_length, 0);
	BAD(names_length, UINT16_MAX);
#undef BAD
#undef WITH
	/* four strings, no more and no less; the last byte is a NUL */
	size_t at = f->length - sizeof(struct state_header);
	assert_int_equal(open_with(f, at - 1, "x", 1), -EBADMSG);
	assert_int_equal(open_with(f, at - 2, "x", 1), 0);
	assert_int_equal(open_with(f, at - 2, "", 1), -EBADMSG);
	assert_int_equal(open_with(f, at - sizeof(names), "", 1), -EBADMSG);
	at -= sizeof(TLS_SUBJECT) + 1;
	assert_int_equal(open_with(f, at, "x", 1), -EBADMSG);
	assert_int_equal(open_with(f, at - sizeof(LOCAL), "x", 1), -EBADMSG);
	assert_int_equal(open_with(f, at - sizeof(LOCAL) - sizeof(AUTHORITY), "x", 1), -EBADMSG);
}

/* The names of counters and the counters are validated as well. */
static void test_invalid_counters_are_rejected(void **state)
{
	struct fixture *f = *state;
	const size_t n_at = offsetof(struct state_names_record, n);
	const size_t length_at = offsetof(struct state_names_record, length);
	const size_t names_at = sizeof(struct state_names_record);
	const size_t record_at = names_at + 4, listener_at = record_at + 8;

	handover_name_counters(&f->handover, "a\0b", 4, 2);
	assert_int_equal(handover_add_counters(&f->handover, "l", (uint64_t[]){1, 2}), 0);
	complete(f);
	assert_int_equal(open_with(f, names_at, "x", 1), 0);
	assert_int_equal(open_with(f, n_at, &(uint32_t){1}, sizeof(uint32_t)), -EBADMSG);
	assert_int_equal(open_with(f, n_at, &(uint32_t){3}, sizeof(uint32_t)), -EBADMSG);
	assert_int_equal(open_with(f, n_at, &(uint32_t){UINT32_C(1) << 31}, sizeof(uint32_t)),
			 -EBADMSG);
	assert_int_equal(open_with(f, length_at, &(uint32_t){3}, sizeof(uint32_t)), -EBADMSG);
	assert_int_equal(open_with(f, length_at, &(uint32_t){5}, sizeof(uint32_t)), -EBADMSG);
	assert_int_equal(open_with(f, length_at, &(uint32_t){UINT32_MAX}, sizeof(uint32_t)),
			 -EBADMSG);
	assert_int_equal(open_with(f, names_at + 1, "x", 1), -EBADMSG);
	assert_int_equal(open_with(f, names_at + 2, "", 1), -EBADMSG);
	assert_int_equal(open_with(f, names_at + 3, "x", 1), -EBADMSG);
	assert_int_equal(open_with(f, record_at, "\1", 1), -EBADMSG);
	assert_int_equal(open_with(f, record_at, "\3", 1), -EBADMSG);
	assert_int_equal(open_with(f, record_at, "\377", 1), -EBADMSG);
	assert_int_equal(open_with(f, listener_at, "", 1), -EBADMSG);
	assert_int_equal(open_with(f, listener_at + 1, "x", 1), -EBADMSG);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_records_are_read_back),	  TEST(test_counters_have_names),
		TEST(test_state_without_counters),	  TEST(test_large_records),
		TEST(test_damaged_state_is_rejected),	  TEST(test_invalid_records_are_rejected),
		TEST(test_invalid_counters_are_rejected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
