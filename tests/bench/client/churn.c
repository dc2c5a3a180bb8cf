/*
 * Connect-exchange-close. Several blocking connections take turns. Each is opened one lap before
 * its message is sent, and its end is awaited one lap later, so the server always has pending work.
 */
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int finish(int fd)
{
	char byte;
	ssize_t n;

	shutdown(fd, SHUT_WR);
	n = recv(fd, &byte, 1, 0);
	close(fd);
	if (n != 0) {
		fprintf(stderr, "end of a connection: %s\n", n < 0 ? strerror(errno) : "more data");
		return n < 0 ? 1 : 2;
	}
	return 0;
}

static int lap(const struct options *options, const struct corpus *corpus, int *fds,
	       uint64_t *counter)
{
	int r = 0;

	for (unsigned i = 0; i < options->conns; i++) {
		fds[i] = dial(options->port);
		if (fds[i] < 0) {
			fprintf(stderr, "connect: %s\n", strerror(-fds[i]));
			while (i-- > 0)
				close(fds[i]);
			return 1;
		}
	}
	for (unsigned i = 0; i < options->conns; i++) {
		if (r == 0)
			r = exchange(fds[i], corpus, *counter % corpus->n_starts,
				     options->corpus.lines);
		if (r == 0)
			r = finish(fds[i]);
		else
			close(fds[i]);
		*counter += 1;
	}
	return r;
}

int client_churn(const struct options *options)
{
	uint64_t started, elapsed, count = 0;
	struct corpus corpus;
	int *fds, r;

	fds = calloc(options->conns, sizeof *fds);
	if (!fds || corpus_init(&corpus, &options->corpus) < 0) {
		fprintf(stderr, "out of memory, or a size below that of a frame\n");
		free(fds);
		return 1;
	}
	started = now_ns();
	do {
		r = lap(options, &corpus, fds, &count);
		elapsed = now_ns() - started;
	} while (r == 0 && (double)elapsed < options->seconds * 1e9);
	if (r == 0)
		printf("{\"connections\": %ju, \"rate\": %.1f}\n", (uintmax_t)count,
		       (double)count * 1e9 / (double)elapsed);
	corpus_finish(&corpus);
	free(fds);
	return r;
}
