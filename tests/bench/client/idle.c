#include "client.h"
#include "link.h"
#include "proc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After this time the server has done the work that it defers until it is idle. */
#define SETTLE_US 200000

/* The first connections allocate shared memory; they do not count. */
#define FIRST 16

static int open_one(const struct options *options, const struct corpus *corpus, unsigned i,
		    struct link *ret_link)
{
	int r = link_open(ret_link, options);

	if (r != 0)
		return r;
	r = exchange(ret_link, corpus, i % corpus->n_starts, options->corpus.lines);
	if (r != 0)
		link_close(ret_link);
	return r;
}

int client_idle(const struct options *options)
{
	unsigned n = options->conns, opened = 0;
	struct proc_usage before = {0}, after = {0};
	struct corpus corpus;
	struct link *links;
	int r;

	if (n <= FIRST) {
		fprintf(stderr, "more than %d connections are needed\n", FIRST);
		return 64;
	}
	r = raise_descriptor_limit(n);
	if (r != 0)
		return r;
	links = calloc(n, sizeof *links);
	if (!links || corpus_init(&corpus, &options->corpus) < 0) {
		fprintf(stderr, "out of memory, or a size below that of a frame\n");
		free(links);
		return 1;
	}
	while (r == 0 && opened < n) {
		if (opened == FIRST) {
			usleep(SETTLE_US);
			r = proc_usage_read(options->session, &before) < 0;
		}
		if (r == 0)
			r = open_one(options, &corpus, opened, &links[opened]);
		if (r == 0)
			opened++;
	}
	usleep(SETTLE_US);
	if (r == 0)
		r = proc_usage_read(options->session, &after) < 0;
	if (r == 0)
		printf("{\"connections\": %u, \"bytes\": %.1f, \"resident_kib\": %ju}\n", n,
		       ((double)after.anonymous_kib - (double)before.anonymous_kib) * 1024 /
			       (n - FIRST),
		       (uintmax_t)after.anonymous_kib);
	while (opened > 0)
		link_close(&links[--opened]);
	corpus_finish(&corpus);
	free(links);
	return r;
}
