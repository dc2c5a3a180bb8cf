/*
 * Connect-exchange-close. Several blocking connections take turns. Each is opened one lap before
 * its message is sent, and its end is awaited one lap later, so the server always has pending work.
 */
#include "link.h"
#include "proc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After the last connection the server sleeps, and the kernel has accounted its time. */
#define SETTLE_US 10000

/* Waits for the end, after data if none was exchanged. */
static int finish(const struct options *options, struct link *link)
{
	uint8_t bytes[32768];
	ssize_t n;

	link_end_output(link);
	do
		n = link_recv(link, bytes, sizeof bytes, 0);
	while (n > 0 && options->handshakes);
	link_close(link);
	if (n != 0) {
		fprintf(stderr, "end of a connection: %s\n", n < 0 ? strerror(errno) : "more data");
		return n < 0 ? 1 : 2;
	}
	return 0;
}

static int lap(const struct options *options, const struct corpus *corpus, struct link *links,
	       uint64_t *counter)
{
	int r = 0;

	for (unsigned i = 0; i < options->conns; i++) {
		r = link_begin(&links[i], options);
		if (r != 0) {
			while (i-- > 0)
				link_close(&links[i]);
			return r;
		}
	}
	for (unsigned i = 0; i < options->conns; i++) {
		if (r == 0)
			r = link_establish(&links[i]);
		if (r == 0 && !options->handshakes)
			r = exchange(&links[i], corpus, *counter % corpus->n_starts,
				     options->corpus.lines);
		if (r == 0)
			r = finish(options, &links[i]);
		else
			link_close(&links[i]);
		*counter += 1;
	}
	return r;
}

/* Repeats until the time is up. Returns 0 or an exit status. */
static int run(const struct options *options, const struct corpus *corpus, struct link *links)
{
	struct proc_usage before = {0}, after = {0};
	uint64_t started, elapsed, count = 0;
	int r;

	if (options->session > 0 && proc_usage_read(options->session, &before) < 0)
		goto gone;
	started = now_ns();
	do {
		r = lap(options, corpus, links, &count);
		elapsed = now_ns() - started;
	} while (r == 0 && (double)elapsed < options->seconds * 1e9);
	if (r != 0)
		return r;
	usleep(SETTLE_US);
	if (options->session > 0 && proc_usage_read(options->session, &after) < 0)
		goto gone;
	printf("{\"connections\": %ju, \"rate\": %.1f, \"cpu_us\": %.2f}\n", (uintmax_t)count,
	       (double)count * 1e9 / (double)elapsed,
	       (double)(after.cpu_ns - before.cpu_ns) / 1e3 / (double)count);
	return 0;
gone:
	fprintf(stderr, "no process of session %d\n", (int)options->session);
	return 1;
}

int client_churn(const struct options *options)
{
	struct corpus corpus;
	struct link *links = calloc(options->conns, sizeof *links);
	int r;

	if (!links || corpus_init(&corpus, &options->corpus) < 0) {
		fprintf(stderr, "out of memory, or a size below that of a frame\n");
		free(links);
		return 1;
	}
	r = run(options, &corpus, links);
	corpus_finish(&corpus);
	free(links);
	return r;
}
