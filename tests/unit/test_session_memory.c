/*
 * session: each allocation during the life of a session fails once, in turn. Each failure returns
 * -ENOMEM, the output before it is correct, and nothing stays charged or leaks (AddressSanitizer
 * detects leaks). The linker puts the functions below in place of the allocating ones.
 */

#include "core/session/session.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE_LENGTH ((size_t)2000)

static long countdown = -1; /* allocations until one fails; negative: none does */

static bool fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

#define WRAP(name, parameters, arguments)                                                          \
	void *__real_##name parameters;                                                            \
	void *__wrap_##name parameters;                                                            \
	void *__wrap_##name parameters                                                             \
	{                                                                                          \
		return fails() ? NULL : __real_##name arguments;                                   \
	}
WRAP(malloc, (size_t n), (n))
WRAP(calloc, (size_t n, size_t size), (n, size))
WRAP(realloc, (void *p, size_t n), (p, n))

struct life {
	struct policy policy;
	struct budget budget;
	struct session_io io;
	struct session session;
	uint8_t said[4 * LINE_LENGTH];
	size_t n_said;
};

static void take(struct life *life)
{
	for (unsigned i = 0; i < life->io.out.n_spans; i++) {
		const struct iovec *span = &life->io.out.spans[i];

		assert_true(span->iov_len <= sizeof(life->said) - life->n_said);
		memcpy(life->said + life->n_said, span->iov_base, span->iov_len);
		life->n_said += span->iov_len;
	}
}

/* Handles the outcome @state of a call like a connection whose socket buffer is full. */
static int answer(struct life *life, int state)
{
	for (;;) {
		int held;

		take(life);
		held = session_hold(&life->session, &life->io);
		session_io_clear(&life->io);
		if (held < 0)
			return held;
		if (state != SESSION_FULL)
			return state;
		state = session_resume(&life->session, &life->io);
	}
}

/* Continues in another session; the first is finished in any case. */
static int hand_over(struct life *life)
{
	struct session next;
	struct session_rest rest;
	int r;

	assert_int_equal(session_suspend(&life->session, &life->io, &rest), SESSION_IDLE);
	take(life);
	session_io_clear(&life->io);
	session_init(&next, &life->policy, NULL, 1);
	session_restore(&next, &rest.place);
	r = session_defer(&next, &life->io, rest.input, rest.n_input, rest.ended);
	session_finish(&life->session, &life->io);
	life->session = next;
	if (r < 0)
		return r;
	return answer(life, session_resume(&life->session, &life->io));
}

/* A line in three reads, longer than the output, handed over before the third. */
static int live(struct life *life, const uint8_t *line)
{
	size_t third = LINE_LENGTH / 3;
	int r = session_io_init(&life->io, &life->budget);

	if (r < 0)
		return r;
	life->io.out.max_bytes = 1024;
	session_init(&life->session, &life->policy, NULL, 1);
	r = answer(life, session_feed(&life->session, &life->io, line, third));
	if (r >= 0)
		r = answer(life, session_feed(&life->session, &life->io, line + third, third));
	if (r >= 0)
		r = hand_over(life);
	if (r >= 0)
		r = answer(life, session_feed(&life->session, &life->io, line + 2 * third,
					      LINE_LENGTH - 2 * third));
	if (r >= 0)
		r = answer(life, session_end(&life->session, &life->io));
	session_finish(&life->session, &life->io);
	session_io_finish(&life->io);
	return r;
}

static void test_every_allocation(void **state)
{
	static struct life life;
	uint8_t line[LINE_LENGTH];
	long failures = 0;
	int r;

	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 2] = '\n';
	for (;;) {
		memset(&life, 0, sizeof(life));
		budget_init(&life.budget, SIZE_MAX);
		life.policy = (struct policy){.reply = REPLY_ECHO,
					      .framing = FRAMING_LINE,
					      .max_message_bytes = LINE_LENGTH};
		policy_prepare(&life.policy);
		countdown = failures;
		r = live(&life, line);
		assert_int_equal(budget_used(&life.budget), 0);
		assert_memory_equal(life.said, line, life.n_said);
		if (r == SESSION_DONE)
			break;
		assert_int_equal(r, -ENOMEM);
		failures++;
	}
	assert_int_equal(life.n_said, sizeof(line));
	/* the area, the line and its growth, the deferred input, the line again, the held job */
	assert_true(failures >= 6);
	countdown = -1;
}

static void test_template(void **state)
{
	struct template_error error;
	struct template *template = NULL;

	countdown = 0;
	assert_int_equal(
		template_compile("Got ", CHARSET_UTF_8, TEMPLATE_IN_REPLY, &template, &error),
		TEMPLATE_NO_MEMORY);
	assert_null(template);
	assert_int_equal(error.fault, TEMPLATE_NO_MEMORY);
	countdown = -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_allocation),
		cmocka_unit_test(test_template),
	};

	return cmocka_run_group_tests_name("session_memory", tests, NULL, NULL);
}
