/*
 * Connections in every state are handed over by one reactor and taken over by another, as by the
 * next process. The client notices nothing.
 */

#include "conn_fixture.h"

#include "ackd/conn/handover.h"

/* Room for more descriptors than any test has. */
#define MANY_FDS 1000

struct pair {
	struct fixture old, new;
	struct handover handover;
	int reading; /* of the queue */
	struct takeover takeover;
};

static void begin_pair(struct pair *p, const char *text)
{
	int writing;

	begin(&p->old, text);
	begin(&p->new, text);
	assert_int_equal(handover_queue(&writing, &p->reading), 0);
	handover_init(&p->handover, writing, &p->old.limits, 1);
}

static void end_pair(struct pair *p)
{
	end(&p->old);
	end(&p->new);
	takeover_finish(&p->takeover);
	handover_finish(&p->handover);
	close(p->reading);
}

/* The same with one client, which ends first. */
static int begin_one(struct pair *p, const char *text)
{
	begin_pair(p, text);
	return connect_client(&p->old);
}

static void end_one(struct pair *p, int client)
{
	close(client);
	end_pair(p);
}

/* Hands over all connections. The old process then holds nothing except the state. */
static void hand_over(struct pair *p)
{
	while (reactor_hand_over(&p->old.reactor, &p->handover))
		step(&p->old);
	handover_check_invariant(&p->handover);
	handover_complete(&p->handover);
	handover_check_invariant(&p->handover);
	step(&p->old);
	assert_int_equal(p->old.reactor.connections, 0);
	assert_int_equal(takeover_receive(p->reading, MANY_FDS, &p->takeover), 0);
	assert_int_equal(p->takeover.state, TAKEOVER_WHOLE);
	budget_give(&p->old.limits.budget, budget_used(&p->old.limits.budget));
}

static void take_over(struct pair *p)
{
	struct takeover_connection from;

	while (takeover_take(&p->takeover, &from)) {
		struct state_connection state = state_read(from.connection);

		conn_restore(p->new.listener, from.fd, &state);
		from.fd = -1;
		takeover_release(&from);
	}
	takeover_check_invariant(&p->takeover);
	step(&p->new);
}

static void change_process(struct pair *p)
{
	hand_over(p);
	take_over(p);
}

static void test_idle(void **state)
{
	struct pair p = {0};
	int a;

	begin_pair(&p, "ack_prefix = \"${connection}: \";");
	a = connect_from(&p.old, "192.0.2.1");
	say(a, "one");
	expect(&p.old, a, "1: one");
	change_process(&p);
	assert_int_equal(p.handover.n_handed_over, 1);
	assert_int_equal(last_conn(&p.new, QUEUE_IDLE)->address.port, 4711);
	expect(&p.new, a, "");
	say(a, "two");
	expect(&p.new, a, "1: two");
	end_one(&p, a);
	/* a hand-over neither begins nor closes a connection */
	assert_int_equal(count_of(&p.old, COUNTER_CLOSED), 0);
	assert_int_equal(count_of(&p.new, COUNTER_CONNECTIONS), 0);
	assert_int_equal(count_of(&p.new, COUNTER_CLOSED), 1);
}

/* A build without OpenSSL reports what is missing, not a lack of memory. */
static void test_tls_is_missing(void **state)
{
	struct takeover_connection from;
	struct pair p = {0};
	int a;

	a = begin_one(&p, "");
	say(a, "one");
	expect(&p.old, a, "Got one");
	hand_over(&p);
	while (takeover_take(&p.takeover, &from)) {
		struct state_connection connection = state_read(from.connection);

		connection.record.tls_length = 1;
		conn_restore(p.new.listener, from.fd, &connection);
		from.fd = -1;
		takeover_release(&from);
	}
	expect_end(&p.new, a);
	end_one(&p, a);
	assert_int_equal(count_of(&p.new, COUNTER_REFUSED + REFUSAL_TLS), 1);
	assert_int_equal(count_closed(&p.new, CONN_LOST), 1);
}

/* Input that has arrived in the socket, but was not read, stays there. */
static void test_unread_input(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "");
	say(a, "hello");
	change_process(&p);
	expect(&p.new, a, "Got hello");
	end_one(&p, a);
}

static void test_half_a_line(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "framing = \"line\";");
	say(a, "one\nhalf a ");
	expect(&p.old, a, "Got one\n");
	change_process(&p);
	assert_true(budget_used(&p.new.limits.budget) > 0);
	say(a, "line\n");
	expect(&p.new, a, "Got half a line\n");
	end_one(&p, a);
}

/* At every byte of a character, in both framings. */
static void test_half_a_character(void **state)
{
	static const char text[] = "a\xf0\x9f\x98\x80\n";

	for (int line = 0; line <= 1; line++) {
		for (size_t cut = 1; cut < sizeof(text) - 1; cut++) {
			char part[sizeof(text)], got[64] = "";
			struct pair p = {0};
			ssize_t n;
			int a;

			a = begin_one(&p, line ? "framing = \"line\"; reply = \"echo\";"
					       : "reply = \"echo\";");
			memcpy(part, text, cut);
			part[cut] = '\0';
			say(a, part);
			step(&p.old);
			change_process(&p);
			say(a, text + cut);
			step(&p.new);
			n = recv(a, got, sizeof(got) - 1, 0);
			assert_int_equal(n, strlen(text));
			assert_string_equal(got, text);
			end_one(&p, a);
		}
	}
}

/* The offset in a NAK counts the bytes that the previous process received. */
static void test_offset(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "");
	say(a, "12345");
	expect(&p.old, a, "Got 12345");
	change_process(&p);
	say(a, "\xff");
	expect(&p.new, a, "\nNAK 5 invalid start byte\n");
	end_one(&p, a);
}

/* Output that the socket did not take, and input that waits for it. */
static void test_pending_output(void **state)
{
	struct pair p = {0};
	char *received;
	size_t n;
	int a;

	begin_pair(&p, "reply = \"echo\";");
	a = connect_small(&p.old);
	n = fill(&p.old, a);
	assert_int_equal(last_conn(&p.old, QUEUE_IDLE)->state, CONN_SENDING);
	change_process(&p);
	assert_int_equal(last_conn(&p.new, QUEUE_IDLE)->state, CONN_SENDING);
	received = receive_all(&p.new, a, n);
	free(received);
	step(&p.new);
	assert_int_equal(last_conn(&p.new, QUEUE_IDLE)->state, CONN_SERVING);
	say(a, "more");
	expect(&p.new, a, "more");
	end_one(&p, a);
}

/* The same in the middle of the replies to many lines, some of which are not answered yet. */
static void test_pending_replies(void **state)
{
	enum { N = 20000, LINE = 6, REPLY = LINE + 20 };
	static char input[N * LINE + 1], expected[N * REPLY + 1];
	struct pair p = {0};
	size_t sent = 0;
	char *received;
	int a;

	begin_pair(&p, "framing = \"line\"; ack_prefix = \"a rather long prefix\";");
	for (int i = 0; i < N; i++) {
		snprintf(input + i * LINE, LINE + 1, "%05d\n", i);
		snprintf(expected + i * REPLY, REPLY + 1, "a rather long prefix%05d\n", i);
	}
	a = connect_small(&p.old);
	for (int i = 0; i < 10; i++) {
		ssize_t n = send(a, input + sent, sizeof(input) - 1 - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		step(&p.old);
	}
	assert_true(session_is_held(&last_conn(&p.old, QUEUE_IDLE)->session));
	change_process(&p);
	assert_int_equal(last_conn(&p.new, QUEUE_IDLE)->state, CONN_SENDING);
	received = receive_all(&p.new, a, sent / LINE * REPLY);
	assert_memory_equal(received, expected, sent / LINE * REPLY);
	free(received);
	end_one(&p, a);
}

/* The end of input has been received, and the last output is pending. */
static void test_ended(void **state)
{
	struct pair p = {0};
	size_t n;
	int a;

	begin_pair(&p, "reply = \"echo\";");
	a = connect_small(&p.old);
	n = fill(&p.old, a);
	shutdown(a, SHUT_WR);
	change_process(&p);
	free(receive_all(&p.new, a, n));
	step(&p.new);
	expect_end(&p.new, a);
	end_one(&p, a);
}

/* The next process sends a pending NAK, then closes the connection. */
static void test_pending_nak(void **state)
{
	struct pair p = {0};
	char *received;
	size_t n;
	int a;

	begin_pair(&p, "reply = \"echo\";");
	a = connect_small(&p.old);
	n = fill(&p.old, a);
	free(receive_all(&p.old, a, n / 2));
	while (send(a, "\xff", 1, MSG_NOSIGNAL) != 1)
		step(&p.old);
	n -= n / 2;
	for (int i = 0; i < 10; i++) /* it is read, and cannot be sent */
		step(&p.old);
	change_process(&p);
	received = receive_all(&p.new, a, n + strlen("\nNAK 000000 invalid start byte\n"));
	assert_non_null(strstr(received + n, "\nNAK "));
	free(received);
	expect_end(&p.new, a);
	assert_int_equal(queue_length(&p.new, QUEUE_LINGER), 1);
	end_one(&p, a);
}

/* A connection that lingers does so in the next process, too. */
static void test_lingering(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "");
	say(a, "\xff");
	expect(&p.old, a, "NAK 0 invalid start byte\n");
	change_process(&p);
	say(a, "dropped");
	expect_end(&p.new, a);
	assert_int_equal(queue_length(&p.new, QUEUE_LINGER), 1);
	end_one(&p, a);
}

/* A client cannot make a state that the next process refuses, by the place where a frame fails. */
static void test_refused_frames(void **state)
{
	struct pair p = {0};
	int a, b, c;

	begin_pair(&p, "framing = \"delimited\"; frame = { end = \"--!\"; }; "
		       "limits = { max_message = 4; };");
	a = connect_client(&p.old);
	b = connect_client(&p.old);
	c = connect_client(&p.old);
	say(a, "abcd--");
	say(b, "\xc3--");
	say(c, "Hi-");
	step(&p.old);
	say(a, "--");
	say(b, "-");
	expect(&p.old, a, "NAK 0 frame too long--!");
	expect(&p.old, b, "NAK 0 invalid continuation byte--!");
	change_process(&p);
	expect_end(&p.new, a);
	say(b, "!ok--!");
	expect(&p.new, b, "Got ok--!");
	say(c, "-!");
	expect(&p.new, c, "Got Hi--!");
	close(a);
	close(b);
	close(c);
	end_pair(&p);
}

/* The reply to the quit message is pending. The next process delivers it, then closes. */
static void test_pending_quit(void **state)
{
	enum { N = 3000 };
	static const char line[] = "0123456789\n", last[] = "exit\n";
	const size_t n = N * strlen(line) + strlen(last);
	char *input = malloc(n + 16), *received;
	struct pair p = {0};
	int a;

	assert_non_null(input);
	for (int i = 0; i < N; i++)
		memcpy(input + (size_t)i * strlen(line), line, strlen(line));
	strcpy(input + N * strlen(line), "exit\nnot answered\n");
	begin_pair(&p, "reply = \"echo\"; framing = \"line\"; quit = \"exit\";");
	a = connect_small(&p.old);
	say(a, input);
	step(&p.old);
	assert_int_equal(last_conn(&p.old, QUEUE_IDLE)->state, CONN_SENDING);
	change_process(&p);
	received = receive_all(&p.new, a, n);
	assert_memory_equal(received, input, n);
	expect_end(&p.new, a);
	assert_int_equal(last_conn(&p.new, QUEUE_LINGER)->reason, CONN_QUIT);
	free(received);
	free(input);
	end_one(&p, a);
}

/* A connection that has quit lingers in the next process, which still knows why. */
static void test_lingering_after_quit(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "framing = \"line\"; quit = \"exit\";");
	say(a, "exit\nx\n");
	expect(&p.old, a, "Got exit\n");
	change_process(&p);
	say(a, "y\n");
	expect_end(&p.new, a);
	assert_int_equal(last_conn(&p.new, QUEUE_LINGER)->reason, CONN_QUIT);
	end_one(&p, a);
}

/* The next process closes connections that its configuration does not serve. */
static void test_close_after_a_change(void **state)
{
	struct pair p = {0};
	int a;

	begin_pair(&p, "framing = \"line\";");
	reload(&p.new, "reply = \"close\"; greeting = \"hello\";");
	a = connect_client(&p.old);
	say(a, "one\nhalf");
	expect(&p.old, a, "Got one\n");
	change_process(&p);
	expect_end(&p.new, a);
	assert_int_equal(last_conn(&p.new, QUEUE_LINGER)->reason, CONN_CLOSE);
	end_one(&p, a);
}

/* The destination in a PROXY header is kept; another address is that of the socket. */
static void test_local_address(void **state)
{
	struct pair p = {0};
	int a, b;

	begin_pair(&p, "proxies = [ \"unix\" ]; ack_prefix = \"${local} \";");
	a = connect_client(&p.old);
	b = connect_client(&p.old);
	say(a, "PROXY TCP4 192.0.2.1 198.51.100.1 4711 10080\r\nx");
	expect(&p.old, a, "198.51.100.1:10080 x");
	say(b, "PROXY UNKNOWN\r\ny");
	expect(&p.old, b, "unix y");
	change_process(&p);
	say(a, "z");
	expect(&p.new, a, "198.51.100.1:10080 z");
	say(b, "z");
	expect(&p.new, b, "unix z");
	close(a);
	close(b);
	end_pair(&p);
}

/* A refused client has been answered; it is closed. */
static void test_refused(void **state)
{
	struct pair p = {0};
	int a, b;

	begin_pair(&p, "limits = { max_connections = 1; };");
	a = connect_client(&p.old);
	b = connect_client(&p.old);
	change_process(&p);
	assert_int_equal(p.new.reactor.connections, 1);
	expect(&p.old, b, "NAK 0 too many connections\n");
	expect_end(&p.old, b);
	close(a);
	close(b);
	end_pair(&p);
}

/* Half a PROXY header is continued by the next process. */
static void test_proxy_header(void **state)
{
	struct pair p = {0};
	int a, b;

	begin_pair(&p, "proxies = [ \"unix\" ]; greeting = \"${peer}\\n\";");
	a = connect_client(&p.old);
	b = connect_client(&p.old);
	say(a, "PROXY TCP4 192.0.2.1 ");
	step(&p.old);
	change_process(&p);
	assert_int_equal(queue_length(&p.new, QUEUE_PROXY_HEADER), 2);
	say(a, "198.51.100.1 4711 10080\r\nhello");
	expect(&p.new, a, "192.0.2.1:4711\nGot hello");
	say(b, "PROXY TCP4 192.0.2.2 198.51.100.1 4712 10080\r\n");
	expect(&p.new, b, "192.0.2.2:4712\n");
	close(a);
	close(b);
	end_pair(&p);
}

/* The next process admits connections according to its own configuration. */
static void test_other_configuration(void **state)
{
	struct pair p = {0};
	int a, b;

	begin_pair(&p, "framing = \"line\";");
	reload(&p.new, "framing = \"stream\"; deny = [ \"192.0.2.2\" ];");
	a = connect_from(&p.old, "192.0.2.1");
	b = connect_from(&p.old, "192.0.2.2");
	say(a, "half a ");
	expect(&p.old, a, "");
	change_process(&p);
	expect(&p.new, a, "Got half a ");
	say(a, "line");
	expect(&p.new, a, "Got line");
	expect_end(&p.new, b);
	assert_int_equal(count_of(&p.new, COUNTER_REFUSED + REFUSAL_DENIED), 1);
	assert_int_equal(count_closed(&p.new, CONN_REFUSED), 1);
	close(a);
	close(b);
	end_pair(&p);
}

/* More connections than a segment has room for; each keeps its place. */
static void test_segments(void **state)
{
	enum { N = HANDOVER_BATCH + 10 };
	struct pair p = {0};
	char text[32];
	int fds[N];

	begin_pair(&p, "framing = \"line\";");
	for (int i = 0; i < N; i++) {
		fds[i] = connect_client(&p.old);
		snprintf(text, sizeof(text), "from %d, ", i);
		say(fds[i], text);
	}
	step(&p.old);
	change_process(&p);
	assert_int_equal(p.handover.n_handed_over, N);
	assert_int_equal(p.takeover.n, N);
	for (int i = 0; i < N; i++)
		say(fds[i], "hello\n");
	step(&p.new);
	for (int i = 0; i < N; i++) {
		snprintf(text, sizeof(text), "Got from %d, hello\n", i);
		expect(&p.new, fds[i], text);
		close(fds[i]);
	}
	end_pair(&p);
}

/*
 * A connection whose state does not fit the budget is closed; the others are handed over. The rest
 * of its reply is longer than the line that it holds.
 */
static void test_without_memory(void **state)
{
	enum { CHARACTERS = 100000 };
	static char line[2 * CHARACTERS + 1];
	struct pair p = {0};
	size_t sent = 0;
	int a, b;

	begin_pair(&p, "framing = \"line\"; limits = { max_line = \"256KiB\"; };"
		       "encoding = { reply_charset = \"ascii\"; reply_errors = "
		       "\"xmlcharrefreplace\"; };");
	a = connect_small(&p.old);
	for (int i = 0; i < CHARACTERS; i++)
		memcpy(line + (size_t)2 * i, "\xd0\x96", 2);
	line[sizeof(line) - 1] = '\n';
	while (count_of(&p.old, COUNTER_RECEIVED_BYTES) < sizeof(line)) {
		ssize_t n = send(a, line + sent, sizeof(line) - sent, MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		step(&p.old);
	}
	assert_true(session_is_held(&last_conn(&p.old, QUEUE_IDLE)->session));
	b = connect_client(&p.old);
	say(b, "half");
	step(&p.old);
	take_memory(&p.old, 0);
	while (reactor_hand_over(&p.old.reactor, &p.handover))
		step(&p.old);
	assert_int_equal(p.handover.n_lost, 1);
	assert_int_equal(p.handover.error, -ENOBUFS);
	give_memory(&p.old);
	change_process(&p);
	assert_int_equal(p.new.reactor.connections, 1);
	assert_int_equal(count_of(&p.old, COUNTER_CLOSED), 1);
	say(b, " a line\n");
	expect(&p.new, b, "Got half a line\n");
	close(a);
	close(b);
	end_pair(&p);
}

/* A reload has reduced the budget below what is in use: connections that need no more survive. */
static void test_reduced_memory(void **state)
{
	struct pair p = {0};
	int a, b;

	begin_pair(&p, "framing = \"line\";");
	a = connect_client(&p.old);
	b = connect_client(&p.old);
	say(a, "half");
	expect(&p.old, a, "");
	budget_set_max(&p.old.limits.budget, 1);
	change_process(&p);
	assert_int_equal(p.handover.n_lost, 0);
	say(a, " a line\n");
	expect(&p.new, a, "Got half a line\n");
	say(b, "x\n");
	expect(&p.new, b, "Got x\n");
	close(a);
	close(b);
	end_pair(&p);
}

/* The previous process ended during the hand-over: what it had queued is usable. */
static void test_incomplete_hand_over_is_usable(void **state)
{
	struct pair p = {0};
	int a;

	a = begin_one(&p, "");
	assert_false(reactor_hand_over(&p.old.reactor, &p.handover));
	step(&p.old);
	assert_int_equal(takeover_receive(p.reading, MANY_FDS, &p.takeover), 0);
	assert_int_equal(p.takeover.state, TAKEOVER_CUT);
	assert_int_equal(p.takeover.error, -ENODATA);
	take_over(&p);
	say(a, "hello");
	expect(&p.new, a, "Got hello");
	end_one(&p, a);
}

/* There is nothing in the queue. */
static void test_empty(void **state)
{
	struct pair p = {0};

	begin_pair(&p, "");
	assert_int_equal(takeover_receive(p.reading, MANY_FDS, &p.takeover), -ENODATA);
	assert_int_equal(p.takeover.state, TAKEOVER_NONE);
	end_pair(&p);
}

/* Connections beyond the descriptor limit of the next process are closed. */
static void test_few_descriptors(void **state)
{
	struct takeover_connection from;
	struct pair p = {0};
	int fds[3];

	begin_pair(&p, "");
	for (int i = 0; i < 3; i++)
		fds[i] = connect_client(&p.old);
	assert_false(reactor_hand_over(&p.old.reactor, &p.handover));
	handover_complete(&p.handover);
	step(&p.old);
	assert_int_equal(takeover_receive(p.reading, 2, &p.takeover), 0);
	assert_int_equal(p.takeover.n_without_fd, 1);
	assert_true(takeover_drop(&p.takeover, &from));
	assert_int_equal(from.fd, -1);
	takeover_release(&from);
	assert_false(takeover_drop(&p.takeover, &from));
	take_over(&p);
	assert_int_equal(p.new.reactor.connections, 2);
	expect_end(&p.new, fds[2]);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	end_pair(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_tls_is_missing),
		cmocka_unit_test(test_unread_input),
		cmocka_unit_test(test_half_a_line),
		cmocka_unit_test(test_half_a_character),
		cmocka_unit_test(test_offset),
		cmocka_unit_test(test_pending_output),
		cmocka_unit_test(test_pending_replies),
		cmocka_unit_test(test_ended),
		cmocka_unit_test(test_pending_nak),
		cmocka_unit_test(test_lingering),
		cmocka_unit_test(test_refused_frames),
		cmocka_unit_test(test_pending_quit),
		cmocka_unit_test(test_lingering_after_quit),
		cmocka_unit_test(test_close_after_a_change),
		cmocka_unit_test(test_local_address),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_proxy_header),
		cmocka_unit_test(test_other_configuration),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_without_memory),
		cmocka_unit_test(test_reduced_memory),
		cmocka_unit_test(test_incomplete_hand_over_is_usable),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_few_descriptors),
	};

	if (conn_tls_bytes > 0)
		cmocka_set_skip_filter("test_tls_is_missing");
	return cmocka_run_group_tests_name("conn_handover", tests, NULL, NULL);
}
