#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_LIMIT_MS 10000
#define RETRY_US 50

static _Noreturn void become(const struct options *options)
{
	int null_fd = open("/dev/null", O_RDWR);

	if (options->server_cpu >= 0) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET((size_t)options->server_cpu, &set);
		sched_setaffinity(0, sizeof set, &set);
	}
	if (null_fd >= 0) {
		dup2(null_fd, STDIN_FILENO);
		dup2(null_fd, STDOUT_FILENO);
		dup2(null_fd, STDERR_FILENO);
	}
	setsid();
	execvp(options->command[0], options->command);
	_exit(127);
}

/* Connects repeatedly until one message has been answered. */
static int first_answer(const struct options *options, const struct corpus *corpus,
			uint64_t started)
{
	for (;;) {
		struct link link = {.fd = dial(options->port)};
		int r;

		if (link.fd >= 0) {
			r = exchange(&link, corpus, 0, options->corpus.lines);
			link_close(&link);
			return r;
		}
		if (now_ns() - started > (uint64_t)START_LIMIT_MS * 1000000) {
			fprintf(stderr, "not ready in time: %s\n", strerror(-link.fd));
			return 1;
		}
		usleep(RETRY_US);
	}
}

int client_start(const struct options *options)
{
	struct corpus corpus;
	uint64_t started, ready;
	pid_t child;
	int fd, r;

	fd = dial(options->port);
	if (fd >= 0) {
		fprintf(stderr, "port %u is in use\n", options->port);
		close(fd);
		return 1;
	}
	if (corpus_init(&corpus, &options->corpus) < 0)
		return 1;
	started = now_ns();
	child = fork();
	if (child < 0) {
		fprintf(stderr, "fork: %s\n", strerror(errno));
		corpus_finish(&corpus);
		return 1;
	}
	if (child == 0)
		become(options);
	r = first_answer(options, &corpus, started);
	ready = now_ns();
	kill(-child, SIGKILL);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	corpus_finish(&corpus);
	if (r == 0)
		printf("{\"start_ms\": %.3f}\n", (double)(ready - started) / 1e6);
	return r;
}
