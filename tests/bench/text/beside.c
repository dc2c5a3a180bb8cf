#include "beside.h"

#include "core/utf8/utf8.h"
#include "figures.h"
#include "texts.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_MAX 2001
#define SLICE_NS 30e3
#define PAGE ((size_t)4096)

/* The name of simdutf::X(const char *, size_t) in the library, where size_t is unsigned long. */
#define SYMBOL(length, name) "_ZN7simdutf" #length #name "EPKcm"

static const char *const names[] = {
	"ascii-logs", "logs-few-nonascii", "european-latin1", "cyrillic", "arabic",
	"cjk",	      "emoji-mixed",
};
static const size_t sizes[] = {64, 256, 1024, TEXT_SHORT};

/* The functions that take turns. */
enum turn { OURS, WITH_ERRORS, BOOLEAN, N_TURNS };

/* As simdutf returns it: error 0 is success; count is the position of the error, or the length. */
struct simdutf_result {
	int error;
	size_t count;
};

static struct utf8_checked (*ours)(const uint8_t *, size_t) = utf8_check;
static struct simdutf_result (*with_errors)(const char *, size_t);
static bool (*boolean)(const char *, size_t);

/* Sets *@ret_function to the function @symbol of @library. */
static void find_function(void *library, const char *symbol, void *ret_function)
{
	void *function = library ? dlsym(library, symbol) : NULL;

	if (!function) {
		fprintf(stderr, "bench-text: %s\n", dlerror());
		exit(EXIT_FAILURE);
	}
	memcpy(ret_function, &function, sizeof(function));
}

/* Returns how many bytes @turn proves well-formed, all pieces together, in the last pass. */
static size_t check_pieces(enum turn turn, const struct pieces *pieces, unsigned passes)
{
	size_t proven = 0;

	while (passes-- > 0) {
		proven = 0;
		for (size_t i = 0; i < pieces->n; i++) {
			const uint8_t *p = pieces->text + pieces->offsets[i];
			size_t n = pieces->offsets[i + 1] - pieces->offsets[i];

			if (turn == OURS)
				proven += ours(p, n).valid;
			else if (turn == WITH_ERRORS)
				proven += with_errors((const char *)p, n).count;
			else
				proven += boolean((const char *)p, n) ? n : 0;
		}
	}
	return proven;
}

/* Returns the time of one pass, after one that is not measured. */
static double time_pass(enum turn turn, const struct pieces *pieces)
{
	double start = now_ns(), once;
	unsigned passes;

	if (check_pieces(turn, pieces, 1) != pieces->total_bytes) {
		fprintf(stderr, "bench-text: the check of a well-formed text fails\n");
		exit(EXIT_FAILURE);
	}
	once = now_ns() - start;
	passes = once < SLICE_NS ? (unsigned)(SLICE_NS / once) + 1 : 1;
	start = now_ns();
	check_pieces(turn, pieces, passes);
	return (now_ns() - start) / passes;
}

/* Measures one round: another part of the text at another address, the turns in random order. */
static void measure_round(const struct text *text, size_t size, double ret_ns[N_TURNS],
			  size_t *ret_bytes)
{
	static _Alignas(PAGE) uint8_t area[TEXT_SHORT + PAGE + 1];
	size_t from = texts_random() % (TEXT_LONG - TEXT_SHORT - UTF8_CHARACTER_MAX);
	uint8_t *p = area + texts_random() % PAGE;
	unsigned first = texts_random() % N_TURNS, step = 1 + texts_random() % (N_TURNS - 1);
	struct pieces pieces;

	while ((text->bytes[from] & 0xc0) == 0x80)
		from++;
	memcpy(p, text->bytes + from, TEXT_SHORT + 1);
	pieces_make(&pieces, p, TEXT_SHORT, size, 1);
	for (unsigned i = 0; i < N_TURNS; i++) {
		enum turn turn = (first + i * step) % N_TURNS;

		ret_ns[turn] = time_pass(turn, &pieces);
	}
	*ret_bytes = pieces.total_bytes;
	pieces_finish(&pieces);
}

static void print_ratio(const char *what, double *ratios, unsigned n, bool is_json)
{
	sort_figures(ratios, n);
	printf(is_json ? ",\"%s\":{\"median\":%.3f,\"q1\":%.3f,\"q3\":%.3f}"
		       : "   %s%.2f (%.2f-%.2f)",
	       is_json ? what : "", ratios[n / 2], ratios[n / 4], ratios[n * 3 / 4]);
}

static void measure(const struct beside *beside, const char *name, size_t size)
{
	static double speeds[ROUNDS_MAX], ratios[2][ROUNDS_MAX];
	const struct text *text = texts_find(name);
	unsigned n = beside->rounds < ROUNDS_MAX ? beside->rounds : ROUNDS_MAX;

	for (unsigned i = 0; i < n; i++) {
		double ns[N_TURNS];
		size_t bytes;

		measure_round(text, size, ns, &bytes);
		speeds[i] = (double)bytes / ns[OURS];
		ratios[0][i] = ns[WITH_ERRORS] / ns[OURS];
		ratios[1][i] = ns[BOOLEAN] / ns[OURS];
	}
	sort_figures(speeds, n);
	printf(beside->is_json ? "{\"table\":\"simdutf\",\"text\":\"%s\",\"bytes\":%zu,"
				 "\"gb_per_s\":%.2f"
			       : "%-18s %6zu %8.2f",
	       name, size, speeds[n / 2]);
	print_ratio("with_errors", ratios[0], n, beside->is_json);
	print_ratio("boolean", ratios[1], n, beside->is_json);
	puts(beside->is_json ? "}" : "");
	fflush(stdout);
}

void beside_run(const struct beside *beside)
{
	void *library = dlopen(beside->library, RTLD_NOW);

	find_function(library, SYMBOL(25, validate_utf8_with_errors), &with_errors);
	find_function(library, SYMBOL(13, validate_utf8), &boolean);
	__asm__("" : "+r"(ours)); /* called through a pointer like the others */
	if (utf8_kernel_select(beside->kernel) < 0) {
		fprintf(stderr, "bench-text: no such kernel: %s\n", beside->kernel);
		exit(EXIT_FAILURE);
	}
	if (!beside->is_json)
		printf("Check, kernel %s, beside simdutf: our GB/s, and how many times as fast\n"
		       "that is as %s (median, quartiles)\n"
		       "%-18s %6s %8s   with_errors        boolean\n",
		       utf8_kernel_name(), beside->library, "text", "bytes", "GB/s");
	for (size_t t = 0; t < sizeof(names) / sizeof(names[0]); t++) {
		for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
			measure(beside, names[t], sizes[s]);
	}
}
