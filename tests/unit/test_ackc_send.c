/*
 * ackc send in a child process, whose first write the kernel does not take; the test is the server.
 */

#include "ackc/net/target.h"
#include "ackc/send/send.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define HEADER "PROXY TCP4 192.0.2.1 127.0.0.1 4711 "

int __real_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned n);
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned n);

/* As with a full socket buffer. */
int __wrap_uv_try_write(uv_stream_t *stream, const uv_buf_t *bufs, unsigned n)
{
	static unsigned calls;

	return calls++ == 0 ? UV_EAGAIN : __real_uv_try_write(stream, bufs, n);
}

static int listen_on(char port[8])
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &n), 0);
	assert_int_equal(listen(fd, 1), 0);
	snprintf(port, 8, "%u", ntohs(in.sin_port));
	return fd;
}

/* Sends @text, or what standard input has if @text is NULL. */
static _Noreturn void be_client(const char *port, const char *text, int input)
{
	char *texts[] = {(char *)(uintptr_t)text};
	struct options options = {.timeout_ms = 20000, .texts = texts, .n_texts = text != NULL};

	dup2(input, STDIN_FILENO);
	if (!freopen("/dev/null", "w", stdout) ||
	    target_parse("127.0.0.1", port, &options.target) ||
	    !proxy_choice_parse("v1,192.0.2.1:4711", &options.target.proxy))
		_exit(100);
	_exit(send_run(&options));
}

/* Returns the status of ackc; @received has what the server received up to the half-close. */
static int run(const char *text, const char *input, char *received, size_t room)
{
	char port[8];
	int pipes[2];
	int status;
	int server;
	pid_t child;
	ssize_t n;
	int listener = listen_on(port);

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write(pipes[1], input, strlen(input)), strlen(input));
	close(pipes[1]);
	child = fork();
	if (child == 0)
		be_client(port, text, pipes[0]);
	close(pipes[0]);
	server = accept(listener, NULL, NULL);
	n = recv(server, received, room - 1, MSG_WAITALL);
	assert_true(n >= 0);
	received[n] = '\0';
	send(server, "ok\n", 3, MSG_NOSIGNAL);
	close(server);
	close(listener);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void test_proxy_header_may_be_queued(void **state)
{
	static const struct {
		const char *text;
		const char *input;
	} cases[] = {{NULL, "hello\n"}, {"hello", ""}};

	(void)state;
	for (int i = 0; i < 2; i++) {
		char received[1000];

		assert_int_equal(run(cases[i].text, cases[i].input, received, sizeof(received)), 0);
		assert_memory_equal(received, HEADER, strlen(HEADER));
		assert_non_null(strstr(received, "\r\nhello\n"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_proxy_header_may_be_queued),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
