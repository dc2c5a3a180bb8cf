/* The handed-over state: what was added comes out again, and nothing damaged is believed. */

#include "ackd/state.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct state_connection sample(unsigned i, uint8_t *bytes, size_t n)
{
	struct state_connection c = {
		.listener = i % 2 ? "one" : "two.of-them",
		.address = {.family = i % 3 == 0   ? AF_UNIX
				      : i % 3 == 1 ? AF_INET
						   : AF_INET6,
			    .port = (uint16_t)(i * 7)},
		.connection = i,
		.received = UINT64_MAX - i,
		.line_start = i * UINT64_C(17),
		.messages = i * UINT64_C(0x100000000),
		.sent = i * 3,
		.ended = i & 1,
		.done = i & 2,
		.skipping = i & 4,
		.sent_anything = i & 8,
		.last_byte = (uint8_t)i,
		.input = bytes,
		.input_length = i % (n + 1),
		.output = bytes + n - i % (n + 1),
		.output_length = i % (n + 1),
	};

	memset(c.address.bytes, (int)i, sizeof(c.address.bytes));
	return c;
}

static void assert_same(const struct state_connection *a, const struct state_connection *b)
{
	assert_string_equal(a->listener, b->listener);
	assert_memory_equal(a->address.bytes, b->address.bytes, 16);
	assert_int_equal(a->address.family, b->address.family);
	assert_int_equal(a->address.port, b->address.port);
	assert_true(a->connection == b->connection && a->received == b->received &&
		    a->line_start == b->line_start && a->messages == b->messages &&
		    a->sent == b->sent);
	assert_true(a->ended == b->ended && a->done == b->done && a->skipping == b->skipping &&
		    a->sent_anything == b->sent_anything && a->last_byte == b->last_byte);
	assert_int_equal(a->input_length, b->input_length);
	assert_memory_equal(a->input, b->input, a->input_length);
	assert_int_equal(a->output_length, b->output_length);
	assert_memory_equal(a->output, b->output, a->output_length);
}

static void write_sample(struct state_writer *writer, uint8_t *bytes, size_t n, unsigned count)
{
	struct state_mark mark;

	for (unsigned i = 0; i < count; i++) {
		struct state_connection c = sample(i, bytes, n);

		mark = state_mark(writer);
		for (int again = 0; again < 2; again++) { /* the first time is taken back */
			assert_int_equal(state_add(writer, &c), 0);
			if (again == 0)
				state_truncate(writer, &mark);
		}
	}
	for (size_t i = 0; i < 3; i++) {
		struct state_counters counters = {.listener = "l", .n = i * 32, .values = {i, 7}};

		assert_int_equal(state_add_counters(writer, &counters), 0);
	}
	assert_int_equal(state_seal(writer, 12345), 0);
}

static void test_comes_out_again(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct state_connection c;
	uint8_t bytes[100];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31);
	write_sample(&writer, bytes, sizeof(bytes), 300);
	assert_int_equal(state_open(writer.bytes, writer.length, &reader), 0);
	assert_int_equal(reader.n_connections, 300);
	assert_true(reader.numbered == 12345);
	for (unsigned i = 0; i < 300; i++) {
		struct state_connection expected = sample(i, bytes, sizeof(bytes));

		assert_true(state_next(&reader, &c));
		assert_same(&expected, &c);
	}
	assert_false(state_next(&reader, &c));
	for (size_t i = 0; i < 3; i++) {
		struct state_counters counters;

		assert_true(state_next_counters(&reader, &counters));
		assert_string_equal(counters.listener, "l");
		assert_int_equal(counters.n, i * 32);
		assert_true(i == 0 || (counters.values[0] == i && counters.values[1] == 7));
	}
	assert_false(state_next_counters(&reader, &(struct state_counters){0}));
	state_writer_finish(&writer);
}

static void test_empty(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	struct state_connection c;

	assert_int_equal(state_seal(&writer, 7), 0);
	assert_int_equal(state_open(writer.bytes, writer.length, &reader), 0);
	assert_false(state_next(&reader, &c));
	state_writer_finish(&writer);
}

/* Every byte changed, and every length cut: none of it is believed. */
static void test_damage(void **state)
{
	struct state_writer writer = {0};
	struct state_reader reader;
	uint8_t bytes[10] = "0123456789";

	write_sample(&writer, bytes, sizeof(bytes), 6);
	for (size_t i = 0; i < writer.length; i++) {
		bool in_numbered = (i >= 32 && i < 40) ||
				   (i >= 20 && i < 24); /* only a number to go on from */

		writer.bytes[i] ^= 0x41;
		if (!in_numbered)
			assert_true(state_open(writer.bytes, writer.length, &reader) < 0);
		writer.bytes[i] ^= 0x41;
		assert_int_equal(state_open(writer.bytes, i, &reader), -EBADMSG);
	}
	assert_int_equal(state_open(writer.bytes, writer.length, &reader), 0);
	writer.bytes[8]++;
	assert_int_equal(state_open(writer.bytes, writer.length, &reader), -EPROTO);
	state_writer_finish(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_out_again),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
