/*
 * The first bytes of clients, which need not be a ClientHello, and changes of keys.
 */

#include "conn_tls_fixture.h"

#include "ackd/tls/handshake.h"
#include "core/wire/tls_record.h"

#include <stdio.h>

/* ---- the first record ---- */

/* Sends @n bytes in parts of @part. Expects the alert, or none if @alert is negative. */
static void try_first(const void *bytes, size_t n, size_t part, int alert)
{
	const uint8_t expected[] = {21, 3, 3, 0, 2, 2, (uint8_t)alert};
	uint8_t got[20];
	struct fixture f;
	int fd;

	begin_tls(&f, "short.pem", "");
	fd = connect_client(&f);
	for (size_t at = 0; at < n; at += part) {
		(void)!send(fd, (const uint8_t *)bytes + at, n - at < part ? n - at : part,
			    MSG_NOSIGNAL);
		step(&f);
	}
	step(&f);
	if (alert < 0) {
		assert_int_equal(recv(fd, got, sizeof(got), 0), -1);
		assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 0);
	} else {
		assert_int_equal(recv(fd, got, sizeof(got), 0), sizeof(expected));
		assert_memory_equal(got, expected, sizeof(expected));
		assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), 1);
	}
	close(fd);
	end(&f);
}

static const struct {
	const char *bytes;
	size_t n;
	int alert;
} firsts[] = {
	{"GET / HTTP/1.1\r\n\r\n", 18, TLS_UNEXPECTED_MESSAGE},
	{"\x80\x2e\1\0\2\0\x15\0\0\0\x10", 11, TLS_UNEXPECTED_MESSAGE}, /* SSL 2 */
	{"\0", 1, TLS_UNEXPECTED_MESSAGE},
	{"\x15\3\1\0\2\2\x28", 7, TLS_UNEXPECTED_MESSAGE},
	{"\x17\3\3\0\1x", 6, TLS_UNEXPECTED_MESSAGE},
	{"\x14\3\3\0\1\1", 6, TLS_UNEXPECTED_MESSAGE},
	{"\x16", 1, -1},
	{"\x16\2", 2, TLS_PROTOCOL_VERSION},
	{"\x16\4\1", 3, TLS_PROTOCOL_VERSION},
	{"\x16\3\1\0", 4, -1},
	{"\x16\3\1\0\0", 5, TLS_UNEXPECTED_MESSAGE}, /* empty */
	{"\x16\3\1\x40\0", 5, -1},
	{"\x16\3\1\x40\1", 5, TLS_RECORD_OVERFLOW},
	{"\x16\3\1\0\4\1\0\0", 8, -1},
	{"\x16\3\1\0\4\2\0\0\0", 9, TLS_UNEXPECTED_MESSAGE}, /* ServerHello */
	{"\x16\3\1\0\x10\1\0\x40\0", 9, -1},
	{"\x16\3\1\0\x10\1\0\x40\1", 9, TLS_ILLEGAL_PARAMETER},
	{"\x16\3\1\0\x10\1\xff\xff\xff", 9, TLS_ILLEGAL_PARAMETER},
	{"\x16\3\1\0\4\1\0\0\0", 9, TLS_DECODE_ERROR}, /* an empty ClientHello */
};

static void test_first_records(void **state)
{
	for (unsigned i = 0; i < sizeof(firsts) / sizeof(*firsts); i++)
		for (size_t part = 1; part <= 20; part += 19)
			try_first(firsts[i].bytes, firsts[i].n, part, firsts[i].alert);
}

/* ---- random bytes ---- */

static struct {
	unsigned n; /* since the test began */
	char reason[100];
} refused;

void __real_listener_count_refusal(struct listener *listener, const struct address *address,
				   enum refusal refusal, const char *reason);
void __wrap_listener_count_refusal(struct listener *listener, const struct address *address,
				   enum refusal refusal, const char *reason);
void __wrap_listener_count_refusal(struct listener *listener, const struct address *address,
				   enum refusal refusal, const char *reason)
{
	assert_int_equal(refusal, REFUSAL_TLS);
	refused.n++;
	snprintf(refused.reason, sizeof(refused.reason), "%s", reason);
	__real_listener_count_refusal(listener, address, refusal, reason);
}

/* Instead of a certain alert. OpenSSL waits for the rest of a ClientHello of several records. */
enum { NO_ALERT = -1, ANY_ALERT = -2, ANY_OR_NO_ALERT = -3 };

/* Returns the alert for the first @n bytes of a client. */
static int expected_alert(const uint8_t *p, size_t n)
{
	size_t length = n >= 5 ? (size_t)p[3] << 8 | p[4] : 0, hello;

	if (p[0] != 22)
		return TLS_UNEXPECTED_MESSAGE;
	if (n > 1 && p[1] != 3)
		return TLS_PROTOCOL_VERSION;
	if (n < 5)
		return NO_ALERT;
	if (length > TLS_CONTENT_MAX)
		return TLS_RECORD_OVERFLOW;
	if (length == 0 || (n > 5 && p[5] != 1))
		return TLS_UNEXPECTED_MESSAGE;
	hello = n > 8 ? (size_t)p[6] << 16 | p[7] << 8 | p[8] : 0;
	if (length > 3 && hello > TLS_CLIENT_HELLO_MAX)
		return TLS_ILLEGAL_PARAMETER;
	if (n < 5 + length)
		return NO_ALERT;
	return 4 + hello <= length ? ANY_ALERT : ANY_OR_NO_ALERT;
}

/* Sends the bytes, then the end. Expects the alert, if any, and a reason in the log. */
static void try_random(struct fixture *f, const uint8_t *bytes, size_t n)
{
	int fd = connect_client(f), alert = expected_alert(bytes, n);
	unsigned before = refused.n;
	uint8_t got[20];
	ssize_t n_got;

	refused.reason[0] = '\0';
	assert_int_equal(send(fd, bytes, n, MSG_NOSIGNAL), n);
	step(f);
	step(f); /* OpenSSL's */
	shutdown(fd, SHUT_WR);
	until_empty(f);
	assert_int_equal(refused.n, before + 1);
	n_got = recv(fd, got, sizeof(got), 0);
	if (alert == NO_ALERT || (alert == ANY_OR_NO_ALERT && n_got <= 0)) {
		assert_string_equal(refused.reason, "closed during the TLS handshake");
		assert_true(n_got <= 0);
	} else {
		assert_true(strlen(refused.reason) > 3);
		assert_int_equal(n_got, 7);
		assert_memory_equal(got, "\x15\3", 2);
		assert_memory_equal(got + 3, "\0\2\2", 3);
		if (alert >= 0)
			assert_int_equal(got[6], alert);
		else
			assert_true(got[6] != TLS_CLOSE_NOTIFY && got[6] != TLS_INTERNAL_ERROR);
	}
	close(fd);
}

/* A million clients with ACKD_TEST_ALL, otherwise 10,000, some of which begin as a ClientHello. */
static void test_random_first_bytes(void **state)
{
	long n = getenv("ACKD_TEST_ALL") ? 1000000 : 10000;
	static const char begin_of_hello[] = "\x16\3\1\0\x60\1\0\0\x5c\3\3";
	uint32_t random = 1;
	struct fixture f;

	begin_tls(&f, "short.pem", "");
	for (long i = 0; i < n; i++) {
		uint8_t bytes[120];

		for (unsigned k = 0; k < sizeof(bytes); k++) {
			random = random * 1664525 + 1013904223;
			bytes[k] = (uint8_t)(random >> 24);
		}
		memcpy(bytes, begin_of_hello, (size_t)i % 12);
		try_random(&f, bytes, 1 + (random >> 8) % sizeof(bytes));
	}
	assert_int_equal(count_of(&f, COUNTER_CONNECTIONS), 0);
	assert_int_equal(count_of(&f, COUNTER_REFUSED + REFUSAL_TLS), n);
	end(&f);
}

/* ---- changes of keys ---- */

static unsigned key_updates; /* that a client has received */

static void on_message(int is_sent, int version, int type, const void *bytes, size_t n, SSL *ssl,
		       void *data)
{
	key_updates += !is_sent && type == SSL3_RT_HANDSHAKE && n > 0 &&
		       *(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE;
}

/*
 * A client that changes its key every @interval records, and requests a change in turn. Returns how
 * many changes it has received.
 */
static unsigned exchange_with_updates(struct fixture *f, unsigned interval)
{
	struct client client = client_of(connect_client(f));

	handshake(f, &client);
	SSL_set_msg_callback(client.ssl, on_message);
	key_updates = 0;
	for (unsigned i = 1; i <= 400; i++) {
		if (interval > 0 && i % interval == 0)
			assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		check_echo(f, &client);
		if (i % 100 == 0)
			change_process(f, "short.pem", "reply = \"echo\";");
	}
	client_close(&client);
	return key_updates;
}

static void test_updates_of_the_client(void **state)
{
	static const unsigned intervals[] = {1, 2, 100};

	for (unsigned i = 0; i < 3; i++) {
		struct fixture f;

		begin_tls(&f, "short.pem", "reply = \"echo\";");
		assert_int_equal(exchange_with_updates(&f, intervals[i]), 400 / intervals[i]);
		end(&f);
	}
}

/* ackd changes its key before the limit of records, also one that was counted before a restart. */
static void test_own_updates(void **state)
{
	struct fixture f;

	records_max = 32;
	begin_tls(&f, "short.pem", "reply = \"echo\";");
	assert_int_equal(exchange_with_updates(&f, 0), 400 / 30);
	end(&f);
	records_max = TLS_RECORDS_MAX;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_records),
		cmocka_unit_test(test_random_first_bytes),
		cmocka_unit_test(test_updates_of_the_client),
		cmocka_unit_test(test_own_updates),
	};

	return cmocka_run_group_tests(tests, conn_tls_set_up, conn_tls_tear_down);
}
