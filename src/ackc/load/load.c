/*
 * ackc load. It looks up the name, learns the shape of the replies (scout.c) and starts the
 * workers. When all have connected, it starts them together. It prints a progress line every
 * second, and a report when all are done. SIGINT stops the workers and reports the results so far.
 */

#include "ackc/load/load.h"

#include "ackc/load/internal.h"
#include "ackc/message/scout.h"
#include "ackc/net/run.h"
#include "ackc/output/failure.h"
#include "ackc/output/output.h"
#include "base/descriptors.h"
#include "base/plural.h"
#include "core/text/printable.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct load {
	const struct options *options;
	struct load_plan plan;
	struct run run;
	struct load_news news;
	uv_timer_t progress;
	struct scout *scout;
	struct load_worker *workers;
	unsigned n_workers; /* started */
	bool gone;	    /* LOAD_GO was sent */
	bool line;	    /* a progress line is on the terminal */
	uint64_t last_completed;
	uint64_t last_ns;
	uint64_t cpu_ns; /* at the start */
	struct load_result result;
};

static uint64_t cpu_time_ns(void)
{
	uv_rusage_t usage;

	if (uv_getrusage(&usage) < 0)
		return 0;
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static void clear_line(struct load *l)
{
	if (l->line)
		fputs("\r\033[K", stderr);
	l->line = false;
}

/* Ends the command with the report. */
static void over(struct load *l)
{
	clear_line(l);
	scout_cancel(l->scout);
	uv_close((uv_handle_t *)&l->news.async, NULL);
	uv_close((uv_handle_t *)&l->progress, NULL);
	run_end(&l->run, load_report(&l->result));
}

static void fail(struct load *l, bool wrong, const char *words, const char *detail)
{
	load_errors_add(&l->result.sum.errors, wrong, words, detail, 1);
	over(l);
}

/* Waits for the workers and adds up their counters. */
static void collect(struct load *l)
{
	struct load_result *r = &l->result;
	uint64_t start_ns = l->plan.start_ns;
	uint64_t end_ns = start_ns + l->options->duration_ms * 1000000;
	uint64_t now_ns;

	for (unsigned i = 0; i < l->n_workers; i++)
		uv_thread_join(&l->workers[i].thread);
	now_ns = uv_hrtime();
	if (end_ns > now_ns)
		end_ns = now_ns;
	/* The CPU time of adding up the counters is not part of the load. */
	if (l->gone)
		r->cpu_ns = cpu_time_ns() - l->cpu_ns;
	r->sum.last_ns = r->sum.last_sent_ns = start_ns;
	for (unsigned i = 0; i < l->n_workers; i++) {
		load_counters_add(&r->sum, &l->workers[i].counters);
		load_worker_finish(&l->workers[i]);
	}
	r->elapsed_ns = r->sum.last_ns - start_ns;
	/* The full duration counts, so that a server that stops answering does not look faster. */
	if (l->gone && !l->options->count && r->sum.last_ns < end_ns)
		r->elapsed_ns = end_ns - start_ns;
	/* The last slot of a schedule is an interval long, like the others. */
	r->sending_ns = l->options->count
				? r->sum.last_sent_ns - start_ns + (uint64_t)l->plan.interval_ns
				: end_ns - start_ns;
}

static void command_all(struct load *l, enum load_command command)
{
	for (unsigned i = 0; i < l->n_workers; i++)
		load_worker_command(&l->workers[i], command);
}

/* The sums of the counters that the workers update while they run. */
struct progress {
	uint64_t completed;
	uint64_t failures;
	unsigned connected;
};

static struct progress look(const struct load *l)
{
	struct progress sum = {0};

	for (unsigned i = 0; i < l->n_workers; i++) {
		const struct load_counters *c = &l->workers[i].counters;

		sum.completed += atomic_load_explicit(&c->completed, memory_order_relaxed);
		sum.failures += atomic_load_explicit(&c->failures, memory_order_relaxed);
		sum.connected += atomic_load_explicit(&c->connected, memory_order_relaxed);
	}
	return sum;
}

static void print_progress(struct load *l, struct progress now)
{
	const struct options *o = l->options;
	uint64_t now_ns = uv_hrtime();
	double elapsed = (double)(now_ns - l->plan.start_ns) / 1e9;
	double rate =
		(double)(now.completed - l->last_completed) / (double)(now_ns - l->last_ns) * 1e9;
	double left = (double)o->duration_ms / 1e3 - elapsed;

	if (o->count)
		left = (double)(o->count - now.completed) * elapsed /
		       (double)(now.completed ? now.completed : 1);
	fprintf(stderr, "\r\033[K%" PRIu64 " message%s, %.0f/s, %" PRIu64 " error%s, %.0f s left",
		now.completed, plural(now.completed), rate, now.failures, plural(now.failures),
		left > 0 ? left : 0);
	l->last_ns = now_ns;
	l->last_completed = now.completed;
}

static void on_progress(uv_timer_t *timer)
{
	struct load *l = timer->data;
	unsigned connections = l->options->connections;
	struct progress now = look(l);

	if (l->gone)
		print_progress(l, now);
	else
		fprintf(stderr, "\r\033[K%u of %u connection%s open, %" PRIu64 " error%s",
			now.connected, connections, plural(connections), now.failures,
			plural(now.failures));
	fflush(stderr);
	l->line = true;
}

/* Starts the progress lines, one second from now, if standard error is a terminal. */
static void start_progress(struct load *l)
{
	if (uv_guess_handle(STDERR_FILENO) == UV_TTY && !l->options->quiet)
		uv_timer_start(&l->progress, on_progress, 1000, 1000);
}

static void go(struct load *l)
{
	l->result.opened = look(l).connected;
	if (l->result.opened == 0) {
		/* No connect succeeded, which is the result. */
		command_all(l, LOAD_STOP);
		return;
	}
	l->gone = true;
	l->cpu_ns = cpu_time_ns();
	l->plan.start_ns = l->last_ns = uv_hrtime();
	command_all(l, LOAD_GO);
	start_progress(l);
}

static void on_news(uv_async_t *async)
{
	struct load *l = async->data;
	unsigned threads = l->options->threads;

	if (l->n_workers < threads)
		return;
	if (atomic_load(&l->news.ended) == threads) {
		collect(l);
		over(l);
	} else if (atomic_load(&l->news.ready) == threads && !l->gone && !l->result.interrupted) {
		go(l);
	}
}

static void start_workers(struct load *l)
{
	l->workers = calloc(l->options->threads, sizeof(*l->workers));
	if (!l->workers) {
		fail(l, false, failure_text(UV_ENOMEM), "");
		return;
	}
	for (unsigned i = 0; i < l->options->threads; i++) {
		struct load_worker *w = &l->workers[i];
		int r = load_worker_init(w, &l->plan, i, &l->news);

		if (r == 0) {
			r = load_worker_start(w);
			if (r < 0)
				load_worker_finish(w);
		}
		if (r < 0) {
			command_all(l, LOAD_STOP);
			collect(l);
			fail(l, false, failure_text(r), "");
			return;
		}
		l->n_workers++;
	}
	/*
	 * Connect only after all loops have their descriptors: the connections may use up the rest.
	 */
	command_all(l, LOAD_CONNECT);
	start_progress(l);
}

static int make_source(struct load *l)
{
	const struct options *o = l->options;
	bool lines = o->lines ||
		     (l->plan.shape.framing == SHAPE_LINES && !shape_is_echo(&l->plan.shape));

	if (!o->file)
		return source_generate(o->size, &o->frame, &l->plan.source);
	if (o->frame.kind != FRAME_NONE)
		return 0; /* read_file() has cut it */
	return source_cut(&l->plan.source, lines, o->size);
}

/* Returns the option that this server cannot satisfy, or NULL. */
static const char *mismatch(const struct options *o, const struct shape *s)
{
	if (shape_is_echo(s) || s->framing == SHAPE_LINES)
		return NULL;
	if (o->lines)
		return "the server does not answer line by line, which --lines requires";
	if (!shape_in_pieces(s) && o->depth > 1)
		return "the server numbers its replies by reads, not by messages; use --depth 1";
	return NULL;
}

static void on_scouted(void *data, const struct scout_result *result)
{
	struct load *l = data;
	const char *trouble;
	int r;

	l->scout = NULL;
	if (result->peer)
		peer_text(result->peer, l->result.peer);
	l->result.tls = result->tls;
	if (result->failure) {
		fail(l, false, failure_text(result->failure), result->detail);
		return;
	}
	if (result->fault.kind) {
		fail(l, true, fault_name(result->fault.kind), result->fault.words);
		return;
	}
	trouble = mismatch(l->options, &result->shape);
	if (trouble) {
		fail(l, true, trouble, "");
		return;
	}
	l->plan.shape = result->shape;
	r = make_source(l);
	if (r < 0) {
		fail(l, false, failure_text(r), "");
		return;
	}
	start_workers(l);
}

static void on_found(void *data, int status)
{
	struct load *l = data;
	const struct options *o = l->options;
	struct scout_task task = {
		.addresses = l->plan.addresses,
		.timeout_ms = o->timeout_ms,
		.size = o->size,
		.frame = &o->frame,
		.prefix = o->prefix,
		.suffix = o->suffix,
	};

	if (status == 0)
		status = scout_start(&l->run.loop, &task, on_scouted, l, &l->scout);
	if (status < 0)
		fail(l, false, failure_text(status), "");
}

static void on_signal(void *data, int number)
{
	struct load *l = data;

	/* A second signal kills the process. */
	run_release_signals(&l->run);
	l->result.interrupted = true;
	if (l->n_workers)
		command_all(l, LOAD_STOP);
	else
		over(l);
}

static int start(struct load *l)
{
	int r = run_start(&l->run, &l->options->target, l->options->timeout_ms, on_found, 0,
			  on_signal, l);

	if (r < 0)
		return r;
	uv_timer_init(&l->run.loop, &l->progress);
	l->progress.data = l;
	r = uv_async_init(&l->run.loop, &l->news.async, on_news);
	if (r < 0) {
		uv_close((uv_handle_t *)&l->progress, NULL);
		run_end(&l->run, EXIT_NETWORK);
		run_wait(&l->run);
	}
	l->news.async.data = l;
	return r;
}

/*
 * Reads the file before the loop starts: it may be a pipe without a writer yet, and SIGINT must end
 * that. Returns whether it could be read; the error is in the result.
 */
static bool read_file(struct load *l)
{
	const char *file = l->options->file;
	char name[120];
	char detail[SOURCE_WORDS_MAX] = "";
	char words[64 + sizeof(name)];
	int r = file ? source_read(file, &l->plan.source) : 0;

	if (r == 0 && file && l->options->frame.kind != FRAME_NONE)
		r = source_cut_texts(&l->plan.source, &l->options->frame, detail);
	if (r == 0)
		return true;
	printable_escape(name, sizeof(name), file);
	snprintf(words, sizeof(words), "%s: %s", name,
		 detail[0]     ? "a line cannot be sent in a frame"
		 : r == UV_EOF ? "the file is empty"
			       : failure_text(r));
	load_errors_add(&l->result.sum.errors, false, words, detail, 1);
	return false;
}

int load_run(const struct options *options)
{
	static struct load load;
	struct load *l = &load;
	int status;
	int r;

	l->options = l->plan.options = options;
	l->plan.addresses = &l->run.lookup.addresses;
	l->result.plan = &l->plan;
	if (options->rate > 0)
		l->plan.interval_ns = 1e9 / options->rate;
	descriptors_raise_limit();
	if (read_file(l)) {
		r = start(l);
		status = r < 0 ? r : run_wait(&l->run);
	} else {
		status = output_end(load_report(&l->result));
	}
	source_finish(&l->plan.source);
	free(l->workers);
	return status;
}
