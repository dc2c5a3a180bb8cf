/*
 * bench-text [--json] [--quick] [--peer FILE.so]
 * bench-text [--json] [--quick] [--kernel NAME] --simdutf FILE.so
 *
 * Measures the speed of the text engine, of memcpy() over the same bytes, of glibc, of libunistring
 * if installed, and of an optional peer (see runs.h). All entries of a row are measured in turns,
 * in rounds. Ratios are computed within a round, and medians are printed. The texts are the files
 * of the directory ACKD_CORPORA, or generated ones.
 *
 * The second form compares the check with simdutf's (see beside.h), and measures nothing else.
 */

#include "beside.h"
#include "core/utf8/utf8.h"
#include "figures.h"
#include "runs.h"

#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 41
#define RUNS_MAX 12

static bool is_json;
static unsigned rounds = ROUNDS_MAX;
static double round_ns = 300e3; /* of one run in one round */

/* Medians of one row: GB/s and the ratio to the first run. */
struct result {
	double speed;
	double ratio;
};

static double median(double *values)
{
	sort_figures(values, rounds);
	return values[rounds / 2];
}

static double time_run(const struct run *run, const struct pieces *pieces, unsigned passes)
{
	double start;

	if (run->kernel && utf8_kernel_select(run->kernel) < 0)
		abort();
	start = now_ns();
	run->run(run, pieces, passes);
	return now_ns() - start;
}

/* Measures @n runs, each over its pieces @pieces[i], or all over the same ones. */
static void measure(const struct run *runs, size_t n, const struct pieces *const *pieces,
		    struct result *ret_results)
{
	static double speeds[RUNS_MAX][ROUNDS_MAX], ratios[RUNS_MAX][ROUNDS_MAX];
	unsigned passes[RUNS_MAX];

	for (size_t i = 0; i < n; i++) {
		double once;

		time_run(&runs[i], pieces[i], 1);
		once = time_run(&runs[i], pieces[i], 1);
		passes[i] = once < round_ns ? (unsigned)(round_ns / once) + 1 : 1;
		if (run_proven_bytes != pieces[i]->total_bytes)
			fprintf(stderr, "%s: proved %zu of %zu bytes\n", runs[i].name,
				run_proven_bytes, pieces[i]->total_bytes);
	}
	for (unsigned round = 0; round < rounds; round++) {
		for (size_t i = 0; i < n; i++) {
			double ns = time_run(&runs[i], pieces[i], passes[i]);

			speeds[i][round] = (double)pieces[i]->total_bytes * passes[i] / ns;
			ratios[i][round] = speeds[i][round] / speeds[0][round];
		}
	}
	for (size_t i = 0; i < n; i++)
		ret_results[i] = (struct result){median(speeds[i]), median(ratios[i])};
}

static void print_row(const char *table, const char *text, size_t size, const struct run *runs,
		      size_t n, const struct result *results)
{
	if (!is_json)
		printf("%-18s %8zu", text, size);
	for (size_t i = 0; i < n; i++) {
		if (is_json)
			printf("{\"table\":\"%s\",\"text\":\"%s\",\"bytes\":%zu,\"run\":\"%s\","
			       "\"gb_per_s\":%.3f,\"ratio\":%.4f}\n",
			       table, text, size, runs[i].name, results[i].speed, results[i].ratio);
		else if (i == 0)
			printf(" %14.2f", results[i].speed);
		else
			printf(" %8.2f %5.2f", results[i].speed, results[i].ratio);
	}
	if (!is_json)
		putchar('\n');
	fflush(stdout);
}

static void print_head(const char *title, const struct run *runs, size_t n)
{
	if (is_json)
		return;
	printf("\n%s\n%-18s %8s", title, "text", "bytes");
	for (size_t i = 0; i < n; i++)
		printf(" %14s", runs[i].name);
	putchar('\n');
}

/* Adds a run for each kernel; returns how many. */
static size_t add_kernels(struct run *runs, struct run run)
{
	size_t n = 0;

	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		runs[n] = run;
		runs[n].name = *name;
		runs[n++].kernel = *name;
	}
	return n;
}

static void bench_whole(const struct text *texts, size_t n_texts, const char *peer)
{
	static const size_t sizes[] = {16, 64, 256, 1024, TEXT_SHORT, TEXT_LONG};
	struct run runs[RUNS_MAX] = {{.name = "memcpy", .run = run_memcpy}};
	size_t n = 1;

	n += add_kernels(runs + n, (struct run){.run = run_check});
	runs[n++] = (struct run){.name = "mbsnrtowcs", .run = run_mbsnrtowcs};
	if (run_u8_check)
		runs[n++] = (struct run){.name = "u8_check", .run = run_u8_check};
	if (peer)
		runs[n++] = (struct run){.name = peer, .run = run_peer};
	print_head("Check, whole texts: GB/s, and the ratio to memcpy", runs, n);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (size_t t = 0; t < n_texts; t++) {
			const struct pieces *all[RUNS_MAX];
			struct result results[RUNS_MAX];
			struct pieces pieces;

			pieces_make(&pieces, texts[t].bytes,
				    sizes[s] > TEXT_SHORT ? sizes[s] : TEXT_SHORT, sizes[s], 1);
			for (size_t i = 0; i < n; i++)
				all[i] = &pieces;
			measure(runs, n, all, results);
			print_row("check", texts[t].name, sizes[s], runs, n, results);
			pieces_finish(&pieces);
		}
	}
}

static void bench_cuts(const struct text *texts, size_t n_texts)
{
	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		struct run runs[] = {
			{.name = *name, .kernel = *name, .run = run_check},
			{.name = "cut anywhere", .kernel = *name, .run = run_stream},
		};

		print_head("Check, a stream: GB/s, and the ratio to whole pieces of that size",
			   runs, 2);
		for (size_t size = 64; size <= 1024; size *= 16) {
			for (size_t t = 0; t < n_texts; t++) {
				struct pieces whole, cut;
				struct result results[2];

				pieces_make(&whole, texts[t].bytes, TEXT_SHORT, size, 1);
				pieces_make(&cut, texts[t].bytes, TEXT_SHORT, size, 0);
				measure(runs, 2, (const struct pieces *[]){&whole, &cut}, results);
				print_row("stream", texts[t].name, size, runs, 2, results);
				pieces_finish(&whole);
				pieces_finish(&cut);
			}
		}
	}
}

/* One row of transcoding: a text, of which @faults percent are overwritten, under @transcoder. */
static void bench_transcoder(const char *what, const char *text, unsigned faults,
			     struct transcoder transcoder)
{
	uint8_t *bytes = text_with_faults(texts_find(text), TEXT_SHORT, faults);
	struct run runs[RUNS_MAX] = {{.name = "memcpy", .run = run_memcpy}};
	const struct pieces *all[RUNS_MAX];
	struct result results[RUNS_MAX];
	struct pieces pieces;
	size_t n = 1;

	n += add_kernels(runs + n, (struct run){.run = run_transcode, .transcoder = transcoder});
	pieces_make(&pieces, bytes, TEXT_SHORT, TEXT_SHORT, 1);
	for (size_t i = 0; i < n; i++)
		all[i] = &pieces;
	measure(runs, n, all, results);
	if (!is_json)
		printf("%-34s", what);
	print_row(what, text, TEXT_SHORT, runs, n, results);
	pieces_finish(&pieces);
	free(bytes);
}

static void bench_transcode(void)
{
	if (!is_json)
		printf("\nRepair and transcoding, 64 KiB: GB/s of input, and the ratio to memcpy; "
		       "memcpy, then each kernel\n");
	bench_transcoder("replace, no fault", "multiscript", 0,
			 (struct transcoder){.decode_errors = DECODE_REPLACE});
	bench_transcoder("replace, 1 % faults", "multiscript", 1,
			 (struct transcoder){.decode_errors = DECODE_REPLACE});
	bench_transcoder("replace, 50 % faults", "multiscript", 50,
			 (struct transcoder){.decode_errors = DECODE_REPLACE});
	bench_transcoder("ignore, 1 % faults", "multiscript", 1,
			 (struct transcoder){.decode_errors = DECODE_IGNORE});
	bench_transcoder("ignore, 50 % faults", "multiscript", 50,
			 (struct transcoder){.decode_errors = DECODE_IGNORE});
	bench_transcoder("backslashreplace, 1 % faults", "multiscript", 1,
			 (struct transcoder){.decode_errors = DECODE_BACKSLASHREPLACE});
	bench_transcoder("backslashreplace, 50 % faults", "multiscript", 50,
			 (struct transcoder){.decode_errors = DECODE_BACKSLASHREPLACE});
	bench_transcoder("to iso-8859-1", "european-latin1", 0,
			 (struct transcoder){.to = CHARSET_ISO_8859_1});
	bench_transcoder("to windows-1252", "european-cp1252", 0,
			 (struct transcoder){.to = CHARSET_WINDOWS_1252});
	bench_transcoder("to windows-1252", "european-latin1", 0,
			 (struct transcoder){.to = CHARSET_WINDOWS_1252});
	bench_transcoder("to ascii, xmlcharrefreplace", "cjk", 0,
			 (struct transcoder){.to = CHARSET_ASCII,
					     .encode_errors = ENCODE_XMLCHARREFREPLACE});
	bench_transcoder(
		"to ascii, backslashreplace", "cyrillic", 0,
		(struct transcoder){.to = CHARSET_ASCII, .encode_errors = ENCODE_BACKSLASHREPLACE});
	bench_transcoder(
		"to iso-8859-1, replace", "cyrillic", 0,
		(struct transcoder){.to = CHARSET_ISO_8859_1, .encode_errors = ENCODE_REPLACE});
	bench_transcoder(
		"to windows-1252, ignore", "emoji-mixed", 0,
		(struct transcoder){.to = CHARSET_WINDOWS_1252, .encode_errors = ENCODE_IGNORE});
}

/* The small message: time of one call of session_feed(), in nanoseconds. */
static void bench_session(void)
{
	static const struct {
		const char *what, *text;
		int whole;
	} rows[] = {
		{"ascii-logs", "ascii-logs", 1},
		{"cjk", "cjk", 1},
		{"cjk, cut anywhere", "cjk", 0},
	};
	struct run runs[] = {
		{.name = "echo", .run = run_session_echo},
		{.name = "ack", .run = run_session_ack},
	};

	utf8_kernel_select(NULL);
	if (!is_json)
		printf("\nsession_feed(), 64 B at a call, kernel %s: ns a call\n",
		       utf8_kernel_name());
	for (size_t t = 0; t < sizeof(rows) / sizeof(rows[0]); t++) {
		struct result results[2];
		struct pieces pieces;

		pieces_make(&pieces, texts_find(rows[t].text)->bytes, TEXT_SHORT, 64,
			    rows[t].whole);
		measure(runs, 2, (const struct pieces *[]){&pieces, &pieces}, results);
		for (size_t i = 0; i < 2; i++)
			printf(is_json ? "{\"table\":\"session\",\"text\":\"%s\",\"run\":\"%s\","
					 "\"ns\":%.2f}\n"
				       : "%-18s %8s %8.1f\n",
			       rows[t].what, runs[i].name,
			       (double)pieces.total_bytes / (double)pieces.n / results[i].speed);
		pieces_finish(&pieces);
	}
}

int main(int argc, char **argv)
{
	struct beside beside = {.rounds = 401};
	const char *peer = NULL;
	const struct text *texts;
	size_t n_texts;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			is_json = true;
		} else if (strcmp(argv[i], "--quick") == 0) {
			rounds = 3;
			round_ns = 20e3;
			beside.rounds = 25;
		} else if (strcmp(argv[i], "--peer") == 0 && i + 1 < argc) {
			peer = peer_open(argv[++i]);
		} else if (strcmp(argv[i], "--kernel") == 0 && i + 1 < argc) {
			beside.kernel = argv[++i];
		} else if (strcmp(argv[i], "--simdutf") == 0 && i + 1 < argc) {
			beside.library = argv[++i];
		} else {
			fprintf(stderr,
				"usage: %s [--json] [--quick] [--peer FILE.so]\n"
				"       %s [--json] [--quick] [--kernel NAME] --simdutf FILE.so\n",
				argv[0], argv[0]);
			return EXIT_FAILURE;
		}
	}
	setlocale(LC_CTYPE, "C.UTF-8");
	texts = texts_load(getenv("ACKD_CORPORA"), &n_texts);
	if (beside.library) {
		beside.is_json = is_json;
		beside_run(&beside);
		return EXIT_SUCCESS;
	}
	bench_whole(texts, n_texts, peer);
	bench_cuts(texts, n_texts);
	bench_transcode();
	bench_session();
	return EXIT_SUCCESS;
}
