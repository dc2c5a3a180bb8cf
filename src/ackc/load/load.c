/*
 * ackc load. It looks up the name, learns the shape of the replies (scout.c) and starts the
 * workers. When all have connected, it starts them together. It prints a progress line every
 * second, and a report when all are done. SIGINT stops the workers and reports the results so far.
 */

#include "ackc/load/load.h"

#include "ackc/load/internal.h"

#include "ackc/message/scout.h"
#include "ackc/net/words.h"
#include "ackc/output/output.h"
#include "base/plural.h"
#include "core/text/printable.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define N_SIGNALS 2

struct load {
	const struct options *options;
	struct load_plan plan;
	uv_loop_t loop;
	uv_async_t news;
	uv_timer_t progress;
	uv_signal_t signals[N_SIGNALS];
	struct lookup *lookup;
	struct scout *scout;
	struct load_worker *workers;
	unsigned n_workers; /* started */
	bool gone;	    /* LOAD_GO was sent */
	bool over;
	bool line; /* a progress line is on the terminal */
	uint64_t last_completed;
	uint64_t last_ns;
	uint64_t cpu_ns; /* at the start */
	struct load_result result;
	int status;
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

static void over(struct load *l)
{
	if (l->over)
		return;
	l->over = true;
	clear_line(l);
	lookup_cancel(l->lookup);
	scout_cancel(l->scout);
	uv_close((uv_handle_t *)&l->news, NULL);
	uv_close((uv_handle_t *)&l->progress, NULL);
	for (int i = 0; i < N_SIGNALS; i++)
		uv_close((uv_handle_t *)&l->signals[i], NULL);
	l->status = load_report(&l->result);
}

static void fail(struct load *l, bool wrong, const char *words, const char *detail)
{
	load_errors_add(&l->result.errors, wrong, words, detail);
	over(l);
}

static void collect(struct load *l)
{
	struct load_result *r = &l->result;
	uint64_t last_ns = l->plan.start_ns;
	uint64_t last_sent_ns = l->plan.start_ns;
	uint64_t end_ns = l->plan.start_ns + l->options->duration_ms * 1000000;
	uint64_t now_ns;

	for (unsigned i = 0; i < l->n_workers; i++)
		load_worker_join(&l->workers[i]);
	now_ns = uv_hrtime();
	if (end_ns > now_ns)
		end_ns = now_ns;
	/* The CPU time of adding up the counters is not part of the load. */
	if (l->gone)
		r->cpu_ns = cpu_time_ns() - l->cpu_ns;
	for (unsigned i = 0; i < l->n_workers; i++) {
		struct load_worker *w = &l->workers[i];

		load_result_add(r, w);
		if (w->last_ns > last_ns)
			last_ns = w->last_ns;
		if (w->last_sent_ns > last_sent_ns)
			last_sent_ns = w->last_sent_ns;
		load_worker_finish(w);
	}
	l->n_workers = 0;
	/* The full duration counts, so that a server that stops answering does not look faster. */
	if (l->gone && !l->options->count && last_ns < end_ns)
		last_ns = end_ns;
	r->elapsed_ns = last_ns - l->plan.start_ns;
	/* The last slot of a schedule is an interval long, like the others. */
	r->sending_ns = l->options->count
				? last_sent_ns - l->plan.start_ns + (uint64_t)l->plan.interval_ns
				: end_ns - l->plan.start_ns;
}

static void command_all(struct load *l, enum load_command command)
{
	for (unsigned i = 0; i < l->n_workers; i++)
		load_worker_command(&l->workers[i], command);
}

/* Returns the lowest phase of the workers. */
static int slowest_phase(const struct load *l)
{
	int phase = LOAD_DONE;

	for (unsigned i = 0; i < l->n_workers; i++) {
		int p = atomic_load(&l->workers[i].phase);

		if (p < phase)
			phase = p;
	}
	return phase;
}

static void print_progress(struct load *l, uint64_t completed, uint64_t failures)
{
	const struct options *o = l->options;
	uint64_t now_ns = uv_hrtime();
	double seconds = (double)(now_ns - l->last_ns) / 1e9;
	double rate = (double)(completed - l->last_completed) / seconds;
	double total = (double)completed / ((double)(now_ns - l->plan.start_ns) / 1e9);
	double left =
		o->count ? (double)(o->count - completed) / (total > 0 ? total : 1)
			 : (double)o->duration_ms / 1e3 - (double)(now_ns - l->plan.start_ns) / 1e9;

	fprintf(stderr, "\r\033[K%llu message%s, %.0f/s, %llu error%s, %.0f s left",
		(unsigned long long)completed, plural(completed), rate,
		(unsigned long long)failures, plural(failures), left > 0 ? left : 0);
	fflush(stderr);
	l->line = true;
	l->last_ns = now_ns;
	l->last_completed = completed;
}

static unsigned count_connected(const struct load *l)
{
	unsigned connected = 0;

	for (unsigned i = 0; i < l->n_workers; i++)
		connected += atomic_load_explicit(&l->workers[i].connected, memory_order_relaxed);
	return connected;
}

static void print_connecting(struct load *l, uint64_t failures)
{
	fprintf(stderr, "\r\033[K%u of %u connection%s open, %llu error%s", count_connected(l),
		l->options->connections, plural(l->options->connections),
		(unsigned long long)failures, plural(failures));
	fflush(stderr);
	l->line = true;
}

static void on_progress(uv_timer_t *timer)
{
	struct load *l = timer->data;
	uint64_t completed = 0;
	uint64_t failures = 0;

	for (unsigned i = 0; i < l->n_workers; i++) {
		completed += atomic_load_explicit(&l->workers[i].completed, memory_order_relaxed);
		failures += atomic_load_explicit(&l->workers[i].failures, memory_order_relaxed);
	}
	if (l->gone)
		print_progress(l, completed, failures);
	else
		print_connecting(l, failures);
}

/* Starts the progress lines, one second from now, if standard error is a terminal. */
static void start_progress(struct load *l)
{
	if (isatty(STDERR_FILENO) && !l->options->quiet)
		uv_timer_start(&l->progress, on_progress, 1000, 1000);
}

static void go(struct load *l)
{
	l->result.opened = count_connected(l);
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

static void on_news(uv_async_t *news)
{
	struct load *l = news->data;
	int phase = slowest_phase(l);

	if (l->over || l->n_workers < l->options->threads)
		return;
	if (phase == LOAD_READY && !l->gone && !l->result.interrupted) {
		go(l);
	} else if (phase == LOAD_DONE) {
		collect(l);
		over(l);
	}
}

static void start_workers(struct load *l)
{
	l->workers = calloc(l->options->threads, sizeof(*l->workers));
	if (!l->workers) {
		fail(l, false, words_for(UV_ENOMEM), "");
		return;
	}
	for (unsigned i = 0; i < l->options->threads; i++) {
		int r = load_worker_start(&l->workers[i], &l->plan, i, &l->news);

		if (r < 0) {
			command_all(l, LOAD_STOP);
			collect(l);
			fail(l, false, words_for(r), "");
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
		return source_generate(o->size, &l->plan.source);
	return source_cut(&l->plan.source, lines, o->size);
}

/* Returns the option that this server cannot satisfy, or NULL. */
static const char *mismatch(const struct options *o, const struct shape *s)
{
	bool counters = s->prefix.n_counters || s->suffix.n_counters || s->suffix.n_holes;

	if (shape_is_echo(s) || s->framing == SHAPE_LINES)
		return NULL;
	if (o->lines)
		return "it does not answer line by line, as --lines would have it";
	if (counters && o->depth > 1)
		return "its replies are numbered by what it reads at a time: use --depth 1";
	return NULL;
}

static void on_scouted(void *data, const struct scout_result *result)
{
	struct load *l = data;
	const char *trouble;
	int r;

	l->scout = NULL;
	if (result->peer)
		address_text(result->peer, l->result.peer);
	if (result->failure) {
		fail(l, false, words_for(result->failure), result->detail);
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
		fail(l, false, words_for(r), "");
		return;
	}
	start_workers(l);
}

static void on_found(void *data, int status, const struct addresses *addresses)
{
	struct load *l = data;
	const struct options *o = l->options;
	struct scout_task task = {&l->plan.addresses, o->timeout_ms, o->size, o->prefix, o->suffix};

	l->lookup = NULL;
	if (status == 0) {
		l->plan.addresses = *addresses;
		status = scout_start(&l->loop, &task, on_scouted, l, &l->scout);
	}
	if (status < 0)
		fail(l, false, words_for(status), "");
}

static void on_signal(uv_signal_t *signal, int number)
{
	struct load *l = signal->data;

	/* A second signal kills the process. */
	uv_signal_stop(signal);
	l->result.interrupted = true;
	if (l->n_workers)
		command_all(l, LOAD_STOP);
	else
		over(l);
}

static int start(struct load *l)
{
	static const int numbers[N_SIGNALS] = {SIGINT, SIGTERM};
	int r = uv_loop_init(&l->loop);

	if (r < 0)
		return r;
	r = uv_async_init(&l->loop, &l->news, on_news);
	if (r < 0) {
		uv_loop_close(&l->loop);
		return r;
	}
	l->news.data = l;
	uv_timer_init(&l->loop, &l->progress);
	l->progress.data = l;
	for (int i = 0; i < N_SIGNALS; i++) {
		uv_signal_init(&l->loop, &l->signals[i]);
		l->signals[i].data = l;
		uv_signal_start(&l->signals[i], on_signal, numbers[i]);
	}
	r = lookup_start(&l->loop, &l->options->target, l->options->timeout_ms, on_found, l,
			 &l->lookup);
	if (r < 0)
		fail(l, false, words_for(r), "");
	return 0;
}

static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int prepare(struct load *l, const struct options *options)
{
	l->options = l->plan.options = options;
	if (options->rate > 0)
		l->plan.interval_ns = 1e9 / options->rate;
	raise_descriptor_limit();
	return load_result_init(&l->result, &l->plan);
}

static int run(struct load *l)
{
	const char *file = l->options->file;
	char name[200];
	char words[64 + sizeof(name)];
	/*
	 * Read before the loop starts: the file may be a pipe without a writer yet, and SIGINT must
	 * end that.
	 */
	int r = file ? source_read(file, &l->plan.source) : 0;

	if (r < 0) {
		printable_escape(name, sizeof(name), file);
		snprintf(words, sizeof(words), "%s: %s", name,
			 r == -ENODATA ? "the file is empty" : words_for(r));
		load_errors_add(&l->result.errors, false, words, "");
		return output_end(load_report(&l->result));
	}
	r = start(l);
	if (r < 0) {
		fprintf(stderr, "ackc: %s\n", words_for(r));
		return EXIT_NETWORK;
	}
	while (!l->over)
		uv_run(&l->loop, UV_RUN_ONCE);
	return loop_finish(&l->loop, l->status);
}

int load_run(const struct options *options)
{
	struct load *l = calloc(1, sizeof(*l));
	int status = EXIT_NETWORK;
	int r = l ? prepare(l, options) : -ENOMEM;

	if (r < 0)
		fprintf(stderr, "ackc: %s\n", words_for(r));
	else
		status = run(l);
	if (l) {
		source_finish(&l->plan.source);
		load_result_finish(&l->result);
		free(l->workers);
	}
	free(l);
	return status;
}
