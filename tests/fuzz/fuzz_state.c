/*
 * state: a segment of a handed-over state is rejected, or everything in it can be read, and
 * sessions can continue from it. The input is used as a whole segment, and then as the records
 * after a header with a correct length and checksum.
 */

#include "ackd/handover/state.h"
#include "core/session/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The first bytes are the numbers of connections and counters for that header. */
#define PREFIX 2

static struct budget budget;
static struct session_io io;
static uint64_t touched; /* a sum */

/* Reads every byte, so that the sanitizer detects invalid ones. */
static void touch(const void *p, size_t n)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++)
		touched += bytes[i];
}

/* Continues a session, as conn/handover.c does when no output is left to send. */
static void go_on(const struct state_connection *c, const struct policy *policy)
{
	struct session session;
	int state;

	session_init(&session, policy, NULL, c->record.connection);
	session_restore(&session, &c->record.place);
	state = session_feed_all(&session, &io, c->input, c->record.input_length, c->record.ended);
	while (state == SESSION_FULL) {
		session_io_clear(&io);
		state = session_resume(&session, &io);
	}
	assert(state == SESSION_IDLE || state == SESSION_DONE);
	for (unsigned i = 0; i < io.out.n_spans; i++)
		touch(io.out.spans[i].iov_base, io.out.spans[i].iov_len);
	session_io_clear(&io);
	assert(session_held_bytes(&session) <= budget_used(&budget));
	session_finish(&session, &io);
	assert(budget_used(&budget) == 0);
}

static void read_connection(const struct state_connection *c)
{
	struct policy policy = {
		.frame = {.start = {1, "\x0b", {0}},
			  .end = {2, "\x1c\r", {0}},
			  .length_bytes = 2,
			  .size = 7},
		.max_message_bytes = 100,
		.nak = true,
	};

	touch(c->listener, strlen(c->listener) + 1);
	touch(c->output, c->record.output_length);
	touch(c->input, c->record.input_length);
	touch(c->proxy_id, strlen(c->proxy_id) + 1);
	touch(c->authority, strlen(c->authority) + 1);
	touch(c->local, strlen(c->local) + 1);
	touch(c->tls_subject, strlen(c->tls_subject) + 1);
	touch(c->tls, c->record.tls_length);
	for (unsigned i = 0; i < 2 * (FRAMING_FIXED + 1); i++) {
		policy.framing = i / 2;
		policy.reply = i % 2 ? REPLY_DISCARD : REPLY_ECHO;
		policy_prepare(&policy);
		go_on(c, &policy);
	}
}

static void read_segment(const uint8_t *bytes, size_t length)
{
	struct state_counters counters;
	struct state_reader reader;
	const uint8_t *connection;

	if (state_open(bytes, length, &reader) < 0)
		return;
	while ((connection = state_next(&reader)) != NULL) {
		struct state_connection c = state_read(connection);

		read_connection(&c);
	}
	assert(state_find_counter(&reader, "no such counter") == -1);
	while (state_next_counters(&reader, &counters)) {
		touch(counters.listener, strlen(counters.listener) + 1);
		for (uint32_t i = 0; i < reader.n_names; i++)
			touched += state_counter(&counters, i) % 2;
	}
	assert((reader.header.n_counters > 0 ? reader.next_counters : reader.next) ==
	       bytes + length);
}

/* Reads the records at @records after a matching header, in memory of exactly that size. */
static void read_records(const uint8_t *records, size_t size, uint8_t n_connections,
			 uint8_t n_counters)
{
	struct state_header header = {.n_connections = n_connections, .n_counters = n_counters};
	size_t length = sizeof(header) + size;
	uint8_t *segment = malloc(length);

	if (!segment)
		abort();
	memcpy(segment + sizeof(header), records, size);
	state_complete(&header, segment, length);
	memcpy(segment, &header, sizeof(header));
	read_segment(segment, length);
	free(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!io.out.area) {
		budget_init(&budget, SIZE_MAX);
		if (session_io_init(&io, &budget) < 0)
			abort();
	}
	read_segment(data, size);
	if (size >= PREFIX)
		read_records(data + PREFIX, size - PREFIX, data[0], data[1]);
	assert(touched < UINT64_MAX);
	return 0;
}
