/*
 * The log. This file replaces systemd: a journal and a service manager that block or fail on
 * demand.
 */
#include "ackd/log/internal.h"
#include "ackd/log/log.h"
#include "ackd/log/notify.h"
#include "ackd/systemd/systemd.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define STOP_MS 5000 /* far more than any of these tests needs */

/* The service manager and the journal. A closed gate blocks their callers. */
static struct fake {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool shut;
	unsigned held; /* number of blocked callers */
	bool stderr_is_journal;
	int journal_error;
	char journal[256][1024]; /* the entries, a field a line */
	size_t n_journal, flushed;
	char notified[256][512];
	size_t n_notified;
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate(void)
{
	fake.held++;
	pthread_cond_broadcast(&fake.changed);
	while (fake.shut)
		pthread_cond_wait(&fake.changed, &fake.mutex);
	fake.held--;
}

static void gate_set(bool shut)
{
	pthread_mutex_lock(&fake.mutex);
	fake.shut = shut;
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.mutex);
}

static void gate_await(unsigned held)
{
	pthread_mutex_lock(&fake.mutex);
	while (fake.held < held)
		pthread_cond_wait(&fake.changed, &fake.mutex);
	pthread_mutex_unlock(&fake.mutex);
}

bool systemd_stderr_is_journal(void)
{
	return fake.stderr_is_journal;
}

int systemd_journal_send(const struct iovec *fields, int n)
{
	int r;

	pthread_mutex_lock(&fake.mutex);
	gate();
	r = fake.journal_error;
	if (r == 0 && fake.n_journal < 256) {
		char *out = fake.journal[fake.n_journal++];

		for (int i = 0; i < n; i++)
			out += sprintf(out, "%.*s\n", (int)fields[i].iov_len,
				       (char *)fields[i].iov_base);
	}
	pthread_mutex_unlock(&fake.mutex);
	return r;
}

void systemd_journal_flush(uint64_t timeout_us)
{
	fake.flushed = fake.n_journal;
}

bool systemd_notify_wanted(void)
{
	return true;
}

void systemd_notify(const char *state)
{
	pthread_mutex_lock(&fake.mutex);
	gate();
	if (fake.n_notified < 256)
		snprintf(fake.notified[fake.n_notified++], sizeof(fake.notified[0]), "%s", state);
	pthread_mutex_unlock(&fake.mutex);
}

/* During a test stderr is a pipe; after said_end(), @said holds what was written to it. */
static int stderr_saved, stderr_pipe[2];
static char said[1 << 20];

static int setup(void **state)
{
	gate_set(false);
	fake.stderr_is_journal = false;
	fake.journal_error = 0;
	fake.n_journal = fake.n_notified = 0;
	stderr_saved = dup(STDERR_FILENO);
	if (pipe(stderr_pipe) < 0)
		return -1;
	dup2(stderr_pipe[1], STDERR_FILENO);
	close(stderr_pipe[1]);
	fcntl(stderr_pipe[0], F_SETPIPE_SZ, 4096);
	return 0;
}

/* Reads until the other end is closed. */
static void said_read(size_t *n)
{
	ssize_t r;

	while ((r = read(stderr_pipe[0], said + *n, sizeof(said) - 1 - *n)) > 0)
		*n += (size_t)r;
	said[*n] = '\0';
}

static void said_end(void)
{
	size_t n = 0;

	dup2(stderr_saved, STDERR_FILENO);
	said_read(&n);
}

static int teardown(void **state)
{
	dup2(stderr_saved, STDERR_FILENO);
	close(stderr_saved);
	close(stderr_pipe[0]);
	return 0;
}

static void configure(enum log_level level, enum log_target target)
{
	log_configure(&(struct log_settings){.level = level, .target = target});
}

static int start(enum log_level level, enum log_target target)
{
	configure(level, target);
	return log_start();
}

static unsigned count(const char *text, const char *what)
{
	unsigned n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Lets the pipe of stderr be read by a thread, which ends at its end of file. */
static void *drain_main(void *data)
{
	size_t n = 0;

	said_read(&n);
	return NULL;
}

static void test_line(void **state)
{
	struct log_fields fields = {.listener = "main", .peer = "[::1]:1"};

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_AUTO), 0);
	log_post(LOG_LISTEN, &fields, "%s: listening on %s", "main", "[::1]:10080");
	log_post_at(LOG_LEVEL_ERROR, LOG_STOP, NULL, "cannot start: %s", "broken");
	log_post(LOG_CONNECT, NULL, "not at this level");
	log_stop(STOP_MS);
	said_end();
	assert_string_equal(said, "info listen: main: listening on [::1]:10080\n"
				  "error stop: cannot start: broken\n");
	assert_int_equal(fake.n_journal, 0);
}

static void test_without_thread(void **state)
{
	log_post(LOG_START, NULL, "before");
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	log_stop(STOP_MS);
	log_post(LOG_STOP, NULL, "after");
	said_end();
	assert_string_equal(said, "notice start: before\nnotice stop: after\n");
}

static void test_level(void **state)
{
	configure(LOG_LEVEL_WARNING, LOG_TARGET_STDERR);
	assert_false(log_admit(LOG_NAK));
	assert_true(log_admit(LOG_ACCEPT_ERROR));
	configure(LOG_LEVEL_DEBUG, LOG_TARGET_STDERR);
	assert_true(log_admit(LOG_CONNECT));
	log_post_at(LOG_LEVEL_DEBUG, LOG_READY, NULL, "seen");
	configure(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
	log_post_at(LOG_LEVEL_DEBUG, LOG_READY, NULL, "unseen");
	said_end();
	assert_string_equal(said, "debug ready: seen\n");
}

static void test_long_message(void **state)
{
	char text[2 * LOG_MESSAGE_MAX];

	memset(text, '\x1b', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fcntl(stderr_pipe[0], F_SETPIPE_SZ, 65536);
	log_post(LOG_START, NULL, "%s", text);
	said_end();
	assert_int_equal(count(said, "\\x1b"), LOG_MESSAGE_MAX);
	assert_int_equal(count(said, "\n"), 1);
	assert_null(strchr(said, '\x1b'));
}

/* Replaces the digits of each time in @said by zeros. It must be of this month. */
static void zero_times(void)
{
	char now[16], *p = said;
	time_t seconds = time(NULL);

	strftime(now, sizeof(now), "%Y-%m-", gmtime(&seconds));
	for (; (p = strstr(p, now)); p += strlen("2000-01-01T00:00:00.000000Z")) {
		assert_int_equal(p[19], '.');
		assert_int_equal(p[26], 'Z');
		for (int i = 0; i < 26; i++)
			if (p[i] >= '0' && p[i] <= '9')
				p[i] = '0';
	}
}

static void test_timestamps(void **state)
{
	log_configure(&(struct log_settings){.level = LOG_LEVEL_INFO, .timestamps = true});
	assert_int_equal(log_start(), 0);
	log_post(LOG_START, NULL, "one");
	log_stop(STOP_MS);
	fake.stderr_is_journal = true;
	log_configure(
		&(struct log_settings){LOG_LEVEL_INFO, LOG_TARGET_STDERR, .timestamps = true});
	log_post(LOG_START, NULL, "two");
	said_end();
	zero_times();
	assert_string_equal(said, "0000-00-00T00:00:00.000000Z notice start: one\n"
				  "<5>0000-00-00T00:00:00.000000Z notice start: two\n");
}

static void test_json(void **state)
{
	struct log_fields fields = {
		.listener = "main",
		.peer = "[::1]:1",
		.text = "b'\"\\x00'",
		.has = LOG_HAS_MESSAGE | LOG_HAS_LENGTH | LOG_HAS_DURATION | LOG_HAS_CONNECTION,
		.connection = UINT64_MAX,
		.message = 2,
		.length = 3,
	};

	log_configure(&(struct log_settings){.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_JSON});
	assert_int_equal(log_start(), 0);
	log_post(LOG_MESSAGE, &fields, "\"\\\n\x7f\xff\xe2\x80\xa8 %s", "\xc3\xa4");
	log_post_at(LOG_LEVEL_ERROR, LOG_STOP, NULL, "cannot start: %s", "");
	log_stop(STOP_MS);
	said_end();
	zero_times();
	assert_string_equal(
		said,
		"{\"time\":\"0000-00-00T00:00:00.000000Z\",\"level\":\"info\","
		"\"event\":\"message\",\"message\":\"\\\"\\\\\\\\x0a\\\\x7f\\\\xff\\\\xe2\\\\x80"
		"\\\\xa8 \xc3\xa4\",\"message_id\":\"0b2fd911ae96cf390b8293719bbded55\","
		"\"listener\":\"main\",\"peer\":\"[::1]:1\",\"text\":\"b'\\\"\\\\x00'\","
		"\"connection\":18446744073709551615,\"message_number\":2,\"length\":3,"
		"\"duration_usec\":0}\n"
		"{\"time\":\"0000-00-00T00:00:00.000000Z\",\"level\":\"error\",\"event\":\"stop\","
		"\"message\":\"cannot start: \","
		"\"message_id\":\"6cf4d17116b3411fb0c139bd7f98c519\"}\n");
}

/* The longest possible entry fits, whatever its bytes are. */
static void test_longest_json(void **state)
{
	static const char bytes[] = {'\x1b', '"', '\\', '\xff', 'x'};
	static char text[8 * LOG_MESSAGE_MAX];

	fcntl(stderr_pipe[0], F_SETPIPE_SZ, 1 << 20);
	log_configure(&(struct log_settings){.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_JSON});
	for (size_t i = 0; i < sizeof(bytes); i++) {
		struct log_fields fields = {0};

		memset(text, bytes[i], sizeof(text) - 1);
#define LOG_TEXT(member, ...) fields.member = text;
#include "ackd/log/log.def"
#define LOG_NUMBER(number, member, ...)                                                            \
	fields.has |= LOG_HAS_##number;                                                            \
	fields.member = UINT64_MAX;
#include "ackd/log/log.def"
		log_post(LOG_MESSAGE, &fields, "%s", text);
	}
	said_end();
	assert_int_equal(count(said, "\n"), sizeof(bytes));
	assert_int_equal(count(said, "\"dropped\":18446744073709551615}\n"), sizeof(bytes));
	assert_int_equal(count(said, "xxxxxx\\\\"), 0);
}

/* The format changes between two lines, and each line has one format. */
static void test_format_changes(void **state)
{
	configure(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
	log_post(LOG_START, NULL, "text");
	log_configure(&(struct log_settings){.level = LOG_LEVEL_INFO, .format = LOG_FORMAT_JSON});
	log_post(LOG_START, NULL, "json");
	configure(LOG_LEVEL_INFO, LOG_TARGET_STDERR);
	log_post(LOG_START, NULL, "text");
	said_end();
	assert_int_equal(count(said, "notice start: text\n"), 2);
	assert_int_equal(count(said, "\"message\":\"json\""), 1);
	assert_int_equal(count(said, "\n"), 3);
}

static void test_journal(void **state)
{
	struct log_fields fields = {
		.listener = "main",
		.address = "[::1]:10080",
		.peer = "[::1]:4711",
		.reason = "a\nPRIORITY=0",
		.proxy_id = "id-1",
		.authority = "example.org",
		.has = LOG_HAS_BYTES_IN | LOG_HAS_BYTES_OUT | LOG_HAS_MESSAGES | LOG_HAS_DURATION |
		       LOG_HAS_OFFSET | LOG_HAS_CONNECTION,
		.connection = UINT64_MAX,
		.bytes_in = 1,
		.bytes_out = 2,
		.messages = 3,
		.duration_us = 4,
		.offset = 5,
	};

	fake.stderr_is_journal = true;
	assert_int_equal(start(LOG_LEVEL_DEBUG, LOG_TARGET_AUTO), 0);
	log_post(LOG_DISCONNECT, &fields, "gone");
	log_post(LOG_READY, NULL, "ready");
	log_stop(STOP_MS);
	said_end();
	assert_string_equal(said, "");
	assert_int_equal(fake.n_journal, 2);
	assert_int_equal(fake.flushed, 2);
	assert_string_equal(fake.journal[0],
			    "PRIORITY=7\nMESSAGE_ID=1a8468b9631f46c480fb6fe34430c575\n"
			    "ACKD_EVENT=disconnect\nMESSAGE=gone\n"
			    "ACKD_LISTENER=main\nACKD_ADDRESS=[::1]:10080\nACKD_PEER=[::1]:4711\n"
			    "ACKD_REASON=a\\x0aPRIORITY=0\nACKD_PROXY_ID=id-1\n"
			    "ACKD_AUTHORITY=example.org\nACKD_CONNECTION=18446744073709551615\n"
			    "ACKD_BYTES_IN=1\nACKD_BYTES_OUT=2\nACKD_MESSAGES=3\n"
			    "ACKD_DURATION_USEC=4\nACKD_OFFSET=5\n");
	assert_string_equal(fake.journal[1], "PRIORITY=6\n"
					     "MESSAGE_ID=2ab7e587f8b247aca2685cc6a45d8677\n"
					     "ACKD_EVENT=ready\nMESSAGE=ready\n");
}

/* An entry fits if all its texts have the maximum length and consist of bytes to escape. */
static void test_journal_longest(void **state)
{
	char text[2 * LOG_MESSAGE_MAX];
	struct log_fields fields = {
#define LOG_TEXT(member, ...) .member = text,
#include "ackd/log/log.def"
		.has = ~0U,
#define LOG_NUMBER(number, member, ...) .member = UINT64_MAX,
#include "ackd/log/log.def"
	};

	memset(text, '\x1b', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	fcntl(stderr_pipe[0], F_SETPIPE_SZ, 65536);
	fake.journal_error = -ENOBUFS; /* it is too long for the fake to keep */
	configure(LOG_LEVEL_DEBUG, LOG_TARGET_JOURNAL);
	log_post(LOG_DISCONNECT, &fields, "%s", text);
	said_end();
	assert_int_equal(count(said, "\\x1b"), LOG_MESSAGE_MAX);
}

static void test_journal_failure_falls_back_to_stderr(void **state)
{
	fake.stderr_is_journal = true;
	fake.journal_error = -ENOENT;
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_AUTO), 0);
	log_post(LOG_STOP, NULL, "stopped");
	log_stop(STOP_MS);
	said_end();
	assert_string_equal(said, "<5>notice stop: stopped\n");
}

static void test_target_changes(void **state)
{
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_JOURNAL), 0);
	log_post(LOG_START, NULL, "one");
	log_stop(STOP_MS);
	assert_int_equal(fake.n_journal, 1);
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	log_post(LOG_START, NULL, "two");
	log_stop(STOP_MS);
	said_end();
	assert_int_equal(fake.n_journal, 1);
	assert_string_equal(said, "notice start: two\n");
}

static void test_limit(void **state)
{
	struct log_limit limit = {0};
	uint64_t now = 77000000;
	unsigned n;

	for (n = 0; log_limit_take(&limit, 5, 10, now); n++)
		;
	assert_int_equal(n, 5);
	/* One tenth of a second permits one event, and not a microsecond less. */
	assert_false(log_limit_take(&limit, 5, 10, now + 99999));
	assert_true(log_limit_take(&limit, 5, 10, now + 100000));
	assert_false(log_limit_take(&limit, 5, 10, now + 100000));
	/* In the long run the rate holds: at 100 attempts a second, 10 s permit 100. */
	for (n = 0, now += 100000; now < 77100000 + 10000000; now += 10000)
		n += log_limit_take(&limit, 5, 10, now);
	assert_in_range(n, 99, 100);
	/* A pause permits no more than a burst. */
	for (n = 0, now += 3600000000; log_limit_take(&limit, 5, 10, now); n++)
		;
	assert_int_equal(n, 5);
}

/* Returns the sum of the counts in the lines of @said that begin with @what. */
static uint64_t sum(const char *what)
{
	uint64_t n = 0;

	for (char *line = said; (line = strstr(line, what));)
		n += strtoull(line += strlen(what), NULL, 10);
	return n;
}

/* A flood of one kind logs a burst, and a count every 5 s; other kinds are unaffected. */
static void test_flood(void **state)
{
	const unsigned burst = log_kinds[LOG_NAK].burst;
	uint64_t begun = clock_now_us();
	uint64_t took_s;
	unsigned written;

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	for (int i = 0; i < 100000; i++)
		if (log_admit(LOG_NAK))
			log_post(LOG_NAK, NULL, "flood");
	log_post(LOG_STOP, NULL, "still heard");
	log_stop(STOP_MS);
	said_end();
	took_s = (clock_now_us() - begun) / 1000000;
	written = count(said, "notice nak: flood\n");
	assert_in_range(written, burst, burst + took_s * 10 + 10);
	assert_int_equal(sum("notice dropped: ") + written, 100000);
	assert_in_range(count(said, " nak events suppressed"), 1, 1 + took_s / 5);
	assert_int_equal(count(said, "dropped:"), count(said, " nak events suppressed"));
	assert_non_null(strstr(said, "still heard"));
	assert_int_equal(log_dropped(), 0);
}

/* Suppressed events are reported within seconds, even if no event follows. */
static void test_suppressed_events_are_reported(void **state)
{
	struct pollfd readable = {.fd = stderr_pipe[0], .events = POLLIN};
	uint64_t deadline_us = clock_now_us() + 20000000;
	size_t n = 0;

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	for (int i = 0; i < 1000; i++)
		if (log_admit(LOG_ACCEPT_ERROR))
			log_post(LOG_ACCEPT_ERROR, NULL, "no descriptors");
	do {
		assert_int_equal(poll(&readable, 1, 20000), 1);
		n += (size_t)read(stderr_pipe[0], said + n, sizeof(said) - 1 - n);
		said[n] = '\0';
	} while (!strstr(said, " accept_error event") && clock_now_us() < deadline_us);
	assert_non_null(strstr(said, "warning dropped: "));
	log_stop(STOP_MS);
}

/* With a blocked journal, posts return, and the log states how many entries are missing. */
static void test_ring_full(void **state)
{
	uint64_t dropped = log_dropped(), stats_dropped;
	unsigned written, kept = 0;
	pthread_t reader;
	char *line, *last = NULL;

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_AUTO), 0);
	for (int i = 0; i < 3000; i++)
		log_post(LOG_STATS, NULL, "number %d, and some more text to fill the pipe", i);
	dropped = log_dropped() - dropped;
	stats_dropped = dropped;
	assert_true(stats_dropped > 0);
	pthread_create(&reader, NULL, drain_main, NULL);
	/* The ring has room before the next entry, which carries the count of missing ones. */
	for (uint64_t deadline_us = clock_now_us() + 20000000;
	     clock_now_us() < deadline_us && !kept;) {
		uint64_t before = log_dropped();

		log_post(LOG_STOP, NULL, "room again");
		kept = log_dropped() == before;
		dropped += !kept;
	}
	assert_int_equal(kept, 1);
	log_stop(STOP_MS);
	dup2(stderr_saved, STDERR_FILENO);
	pthread_join(reader, NULL);
	written = count(said, "info stats: ");
	assert_int_equal(written + stats_dropped, 3000);
	/* Each gap is reported at its place, the last one before the entry that found room. */
	for (line = said; (line = strstr(line, "warning dropped: ")); last = line++)
		;
	assert_int_equal(sum("warning dropped: "), dropped);
	assert_non_null(last);
	assert_true(last < strstr(said, "room again"));
}

/* Kinds of events that clients cause cannot fill the whole ring. */
static void test_ring_reserve(void **state)
{
	uint64_t before;

	fake.stderr_is_journal = true;
	assert_int_equal(start(LOG_LEVEL_DEBUG, LOG_TARGET_AUTO), 0);
	gate_set(true);
	log_post(LOG_READY, NULL, "the one that is being written");
	gate_await(1);
	before = log_dropped();
	for (int i = 0; i < 360; i++)
		log_post(LOG_STATS, NULL, "filling");
	assert_int_equal(log_dropped(), before);
	for (int i = 0; i < 100; i++)
		log_post(LOG_DISCONNECT, NULL, "a client");
	assert_true(log_dropped() > before);
	before = log_dropped();
	log_post(LOG_DRAIN, NULL, "ours");
	assert_int_equal(log_dropped(), before);
	gate_set(false);
	log_stop(STOP_MS);
}

static void test_stderr_closed(void **state)
{
	uint64_t before = log_dropped();

	close(stderr_pipe[0]);
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	log_post(LOG_START, NULL, "nobody reads this"); /* and SIGPIPE is not ignored here */
	log_stop(STOP_MS);
	assert_int_equal(log_dropped(), before + 1);
	stderr_pipe[0] = open("/dev/null", O_RDONLY);
}

/* If another process sets O_NONBLOCK on the file behind stderr, no entry is lost. */
static void test_stderr_nonblocking(void **state)
{
	pthread_t reader;

	fcntl(STDERR_FILENO, F_SETFL, O_WRONLY | O_NONBLOCK);
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	for (int i = 0; i < 400; i++)
		log_post(LOG_STATS, NULL, "more than fits into the pipe, whatever is done");
	pthread_create(&reader, NULL, drain_main, NULL);
	log_stop(STOP_MS);
	dup2(stderr_saved, STDERR_FILENO);
	pthread_join(reader, NULL);
	assert_int_equal(count(said, "whatever is done\n"), 400);
}

static void test_notify(void **state)
{
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	gate_set(true);
	log_notify("READY=%d", 1);
	gate_await(1);
	log_notify("STATUS=old");
	log_notify("WATCHDOG=1");
	log_notify("RELOADING=1\nMONOTONIC_USEC=%d", 5);
	log_notify("WATCHDOG=1");
	log_notify("STATUS=new");
	log_notify("READY=1\nSTATUS=with it");
	gate_set(false);
	log_stop(STOP_MS);
	assert_int_equal(fake.n_notified, 5);
	assert_string_equal(fake.notified[0], "READY=1");
	assert_string_equal(fake.notified[1], "RELOADING=1\nMONOTONIC_USEC=5");
	assert_string_equal(fake.notified[2], "WATCHDOG=1");
	assert_string_equal(fake.notified[3], "STATUS=new");
	assert_string_equal(fake.notified[4], "READY=1\nSTATUS=with it");
}

/* A manager that stops reading gets the latest value of each variable when it reads again. */
static void test_notify_full(void **state)
{
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	gate_set(true);
	log_notify("READY=1");
	gate_await(1);
	for (int i = 0; i < 100; i++) {
		log_notify("RELOADING=1\nMONOTONIC_USEC=%d", i);
		log_notify("WATCHDOG=1");
		log_notify("STATUS=%d", i);
		log_notify("READY=1\nSTATUS=%d", i);
	}
	for (int i = 0; i < 100; i++)
		log_notify("UNKNOWN%d=1", i);
	log_notify("STOPPING=1");
	gate_set(false);
	log_stop(STOP_MS);
	assert_int_equal(fake.n_notified, 17);
	assert_string_equal(fake.notified[0], "READY=1");
	assert_string_equal(fake.notified[1], "UNKNOWN85=1");
	assert_string_equal(fake.notified[16], "STOPPING=1");
}

/* The manager receives the states of the last reload, in order. */
static void test_notify_reloads(void **state)
{
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	gate_set(true);
	log_notify("STATUS=held");
	gate_await(1);
	for (int i = 0; i < 100; i++) {
		log_notify("RELOADING=1\nMONOTONIC_USEC=%d", i);
		log_notify("READY=1");
	}
	gate_set(false);
	log_stop(STOP_MS);
	assert_int_equal(fake.n_notified, 3);
	assert_string_equal(fake.notified[1], "RELOADING=1\nMONOTONIC_USEC=99");
	assert_string_equal(fake.notified[2], "READY=1");
}

/* A blocked journal does not delay the watchdog. */
static void test_blocked_journal_does_not_delay_watchdog(void **state)
{
	uint64_t deadline_us;
	size_t n = 0;

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	for (int i = 0; i < 400; i++)
		log_post(LOG_STATS, NULL, "more than fits into the pipe, whatever is done");
	log_notify("WATCHDOG=1");
	for (deadline_us = clock_now_us() + 20000000; n == 0 && clock_now_us() < deadline_us;) {
		pthread_mutex_lock(&fake.mutex);
		n = fake.n_notified;
		pthread_mutex_unlock(&fake.mutex);
	}
	assert_int_equal(n, 1);
	close(stderr_pipe[0]);
	stderr_pipe[0] = open("/dev/null", O_RDONLY);
	log_stop(STOP_MS);
}

static void *poster_main(void *data)
{
	for (int i = 0; i < 2000; i++) {
		log_post(LOG_STATS, NULL, "poster %d number %d", *(int *)data, i);
		if (log_admit(LOG_CONNECT))
			log_post(LOG_CONNECT, NULL, "connect");
		log_notify("STATUS=%d", i);
	}
	return NULL;
}

/* Many threads in parallel (for the thread sanitizer): the entries of each stay in order. */
static void test_threads(void **state)
{
	uint64_t before = log_dropped();
	static const char begin[] = "info stats: poster ";
	int numbers[4] = {0, 1, 2, 3};
	long last[4] = {-1, -1, -1, -1}, poster, n;
	pthread_t posters[4], reader;
	unsigned written = 0;

	assert_int_equal(start(LOG_LEVEL_DEBUG, LOG_TARGET_STDERR), 0);
	pthread_create(&reader, NULL, drain_main, NULL);
	for (int i = 0; i < 4; i++)
		pthread_create(&posters[i], NULL, poster_main, &numbers[i]);
	configure(LOG_LEVEL_DEBUG, LOG_TARGET_AUTO);
	for (int i = 0; i < 4; i++)
		pthread_join(posters[i], NULL);
	log_stop(STOP_MS);
	dup2(stderr_saved, STDERR_FILENO);
	pthread_join(reader, NULL);
	for (char *line = strtok(said, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, begin, strlen(begin)) != 0)
			continue;
		poster = strtol(line + strlen(begin), &line, 10);
		assert_in_range(poster, 0, 3);
		assert_memory_equal(line, " number ", 8);
		n = strtol(line + 8, NULL, 10);
		assert_true(n > last[poster]);
		last[poster] = n;
		written++;
	}
	/* The dropped events include connects. */
	assert_in_range(written + log_dropped() - before, 8000, 8000 + 8000);
}

/* With a reader that blocks forever, stopping returns at its timeout. Must be the last test. */
static void test_stop_times_out(void **state)
{
	uint64_t begun, took_us;

	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), 0);
	for (int i = 0; i < 500; i++)
		log_post(LOG_STATS, NULL, "more than fits into the pipe, whatever is done");
	begun = clock_now_us();
	log_stop(200);
	took_us = clock_now_us() - begun;
	assert_in_range(took_us, 200000, 3000000);
	/* Later posts do not block, and a new start shares nothing with the old thread. */
	log_post(LOG_STOP, NULL, "too late");
	log_stop(1000);
	assert_int_equal(start(LOG_LEVEL_INFO, LOG_TARGET_STDERR), -EBUSY);
	assert_in_range(clock_now_us() - begun, 200000, 4000000);
	/* When the gate opens, the old thread ends. */
	close(stderr_pipe[0]);
	stderr_pipe[0] = open("/dev/null", O_RDONLY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limit),
		cmocka_unit_test_setup_teardown(test_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_thread, setup, teardown),
		cmocka_unit_test_setup_teardown(test_level, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_message, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timestamps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_longest_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_format_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_longest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_journal_failure_falls_back_to_stderr, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_target_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_suppressed_events_are_reported, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_ring_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ring_reserve, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stderr_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stderr_nonblocking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notify, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notify_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_notify_reloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocked_journal_does_not_delay_watchdog, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_times_out, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
