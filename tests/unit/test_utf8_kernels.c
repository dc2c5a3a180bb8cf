/*
 * Every kernel that this processor has, against the scalar reference: exhaustively for short
 * strings, at every alignment and around every block boundary for longer ones, at the edges of
 * memory that may be read, and over mutated text.
 */

#include "core/utf8/utf8.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* One byte either side of every boundary of table 3-7. */
static const uint8_t edges[] = {
	0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
	0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
};

#define N_EDGES (sizeof(edges) / sizeof(edges[0]))

/* Where a string is put: around the ends of the blocks and groups that kernels work in. */
static const size_t offsets[] = {
	0,  1,	2,  3,	11,  12,  13,  14,  15,	 16,  17,  18,	27,  28, 29,
	30, 31, 32, 33, 34,  47,  48,  49,  59,	 60,  61,  62,	63,  64, 65,
	66, 67, 95, 96, 127, 128, 129, 252, 253, 254, 255, 256, 257,
};

#define N_OFFSETS (sizeof(offsets) / sizeof(offsets[0]))

/* The text around a string; ASCII takes other paths than the rest. */
static const char *const fillers[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

#define N_FILLERS (sizeof(fillers) / sizeof(fillers[0]))

#define ROOM 1024

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static void fill(uint8_t *p, size_t n, const char *filler)
{
	size_t length = strlen(filler);
	size_t i = 0;

	for (; n - i >= length; i += length)
		memcpy(p + i, filler, length);
	memset(p + i, '.', n - i);
}

static bool agrees(const uint8_t *p, size_t n)
{
	struct utf8_checked checked = utf8_check(p, n);
	struct utf8_checked expected = utf8_check_scalar(p, n);

	return checked.status == expected.status && checked.valid == expected.valid &&
	       checked.length == expected.length;
}

static void check_agrees(const uint8_t *p, size_t n)
{
	if (agrees(p, n))
		return;
	print_error("%s differs from scalar in %zu bytes:", utf8_kernel_name(), n);
	for (size_t i = 0; i < n; i++)
		print_error(" %02x", p[i]);
	print_error("\n");
	fail();
}

/* All strings of one, two and three bytes: alone, and where a vector is full of text. */
static void test_short_strings(void **state)
{
	uint8_t text[72];

	for (size_t f = 0; f < N_FILLERS; f++) {
		fill(text, sizeof(text), fillers[f]);
		for (uint32_t c = 0; c < 0x1000000; c += (f == 0 ? 1 : 61) * sample_step()) {
			text[24] = (uint8_t)(c >> 16);
			text[25] = (uint8_t)(c >> 8);
			text[26] = (uint8_t)c;
			check_agrees(text, sizeof(text));
			if (c < 0x100)
				check_agrees(text + 26, 1);
			if (c < 0x10000)
				check_agrees(text + 25, 2);
			if (f == 0 && c % 16 == 0)
				check_agrees(text + 24, 3);
		}
	}
}

/* Puts the @n bytes of @string at each offset of @p, which is full of text of @filler. */
static void check_everywhere(const uint8_t *string, size_t n, uint8_t *p, const char *filler)
{
	size_t width = strlen(filler);

	for (size_t o = 0; o < N_OFFSETS; o++) {
		size_t offset = offsets[o] / width * width;
		uint8_t saved[4];

		memcpy(saved, p + offset, n);
		memcpy(p + offset, string, n);
		check_agrees(p, offset + n);
		check_agrees(p, offset + n + 40);
		if (width == 1 && offset > 250)
			check_agrees(p, ROOM - 64);
		memcpy(p + offset, saved, n);
	}
}

static void make_texts(uint8_t texts[N_FILLERS][ROOM], size_t alignment)
{
	for (size_t f = 0; f < N_FILLERS; f++)
		fill(texts[f] + alignment, ROOM - 64, fillers[f]);
}

/* Pairs and triples of boundary bytes, and F0 to FF before triples: each at every offset. */
static void test_boundaries(void **state)
{
	static _Alignas(64) uint8_t texts[N_FILLERS][ROOM];
	size_t alignment = 0;

	make_texts(texts, alignment);
	for (size_t i = 0; i < N_EDGES * N_EDGES * N_EDGES; i++) {
		uint8_t string[4] = {0, edges[i / N_EDGES / N_EDGES], edges[i / N_EDGES % N_EDGES],
				     edges[i % N_EDGES]};

		if (i % 31 == 0) {
			alignment = (alignment + 1) % 64;
			make_texts(texts, alignment);
		}
		if (!sample_takes())
			continue;
		for (size_t f = 0; f < N_FILLERS; f++)
			check_everywhere(string + 1, 3, texts[f] + alignment, fillers[f]);
		for (unsigned lead = 0xf0; lead <= 0xff; lead++) {
			size_t f = (i + lead) % N_FILLERS;

			string[0] = (uint8_t)lead;
			check_everywhere(string, 4, texts[f] + alignment, fillers[f]);
		}
	}
}

/* Every pair of boundary bytes at every alignment and every offset. */
static void test_alignments(void **state)
{
	static _Alignas(64) uint8_t text[ROOM];

	for (size_t alignment = 0; alignment < 64; alignment++) {
		uint8_t *p = text + alignment;

		fill(p, ROOM - 64, fillers[0]);
		for (size_t offset = 0; offset < 140; offset++) {
			if (!sample_takes())
				continue;
			for (size_t i = 0; i < N_EDGES * N_EDGES; i++) {
				p[offset] = edges[i / N_EDGES];
				p[offset + 1] = edges[i % N_EDGES];
				check_agrees(p, offset + 2 + i % 70);
			}
			p[offset] = 'a';
			p[offset + 1] = 'a';
		}
	}
}

/*
 * A character, whole or not, at every place of texts of several groups and at every alignment:
 * kernels skip ASCII in them, and go on at aligned addresses.
 */
static void test_long_texts(void **state)
{
	static const char *const strings[] = {
		"\x80", "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\xe2\x82\xac",
	};
	static _Alignas(64) uint8_t text[ROOM];

	for (size_t alignment = 0; alignment < 64; alignment++) {
		for (size_t i = 0; i < 2 * sizeof(strings) / sizeof(strings[0]); i++) {
			const char *string = strings[i / 2], *filler = fillers[i % 2];
			size_t n = ROOM - 64 - i % 5, length = strlen(string);
			size_t step = strlen(filler);
			uint8_t *p = text + alignment;
			uint8_t saved[4];

			fill(p, n, filler);
			for (size_t o = 0; o < n - length; o += step * sample_step()) {
				memcpy(saved, p + o, length);
				memcpy(p + o, string, length);
				check_agrees(p, n);
				memcpy(p + o, saved, length);
			}
		}
	}
}

/* Memory of which only the @n bytes returned, between two pages, may be read. */
static uint8_t *map_guarded(size_t *ret_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p = mmap(NULL, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + page, page, PROT_READ | PROT_WRITE), 0);
	*ret_size = page;
	return p + page;
}

static void check_count(const uint8_t *p, size_t n)
{
	size_t characters = 0;

	for (size_t i = 0; i < n; i++)
		characters += (p[i] & 0xc0) != 0x80;
	assert_int_equal(utf8_count(p, n), characters);
}

/* Texts that begin, and texts that end, where the memory does. */
static void test_page_boundaries(void **state)
{
	size_t size;
	uint8_t *page = map_guarded(&size);

	for (size_t f = 0; f < N_FILLERS; f++) {
		for (size_t n = 0; n <= 600; n++) {
			uint8_t *const places[] = {page, page + size - n};

			for (int side = 0; side < 2; side++) {
				uint8_t *p = places[side];

				fill(p, n, fillers[f]);
				check_agrees(p, n);
				check_count(p, n);
				if (n == 0)
					continue;
				p[n - 1] = 0xe2;
				check_agrees(p, n);
				p[n / 2] = 0x80;
				check_agrees(p, n);
				p[0] = 0xff;
				check_agrees(p, n);
			}
		}
	}
	munmap(page - size, 3 * size);
}

/* Fills @text with characters of all widths, and overwrites up to three bytes. */
static void make_mutated(uint8_t *text, size_t n, uint32_t *seed)
{
	unsigned mutations = next_random(seed) % 4;
	bool is_mostly_ascii = next_random(seed) % 2;
	size_t i = 0;

	while (i < n) {
		uint32_t r = next_random(seed) >> 8;
		const char *c = fillers[is_mostly_ascii && r % 64 ? 0 : r / 64 % 4];
		size_t length = strlen(c) < n - i ? strlen(c) : n - i;

		memcpy(text + i, c, length);
		i += length;
	}
	for (unsigned m = 0; n > 0 && m < mutations; m++)
		text[next_random(seed) % n] = (uint8_t)(next_random(seed) >> 11);
}

static void test_mutated_text(void **state)
{
	uint8_t text[ROOM];
	uint32_t seed = 2463534242;

	for (uint32_t round = 0; round < 200000 / sample_share(); round++) {
		size_t n = next_random(&seed) % (round % 2 ? 100 : sizeof(text));

		make_mutated(text, n, &seed);
		check_agrees(text, n);
		check_count(text, n);
	}
}

/* Blocks of random bytes, mostly ones that may stand in characters. */
static void test_find_faults(void **state)
{
	const char *name = utf8_kernel_name();
	uint32_t seed = 88675123;

	for (uint32_t round = 0; round < 200000 / sample_share(); round++) {
		struct utf8_faults expected, found;
		uint8_t block[UTF8_BLOCK];

		if (round % 2)
			make_mutated(block, sizeof(block), &seed);
		for (size_t i = 0; i < sizeof(block) && round % 2 == 0; i++)
			block[i] = edges[next_random(&seed) % N_EDGES];
		utf8_find_faults(block, &found);
		assert_int_equal(utf8_kernel_select("scalar"), 0);
		utf8_find_faults(block, &expected);
		assert_int_equal(utf8_kernel_select(name), 0);
		assert_int_equal(found.whole, expected.whole);
		assert_int_equal(found.first, expected.first);
		assert_int_equal(found.rest, expected.rest);
	}
}

/* Where the faults of a stream are and how long: pairs of offset and length. */
struct faults {
	size_t places[2 * ROOM];
	size_t n;
};

static void add_fault(struct faults *faults, size_t offset, size_t length)
{
	faults->places[faults->n++] = offset;
	faults->places[faults->n++] = length;
}

/* Reads @n bytes of @text which @received bytes were before, going on with @carry. */
static void read_stream(struct faults *faults, struct utf8_carry *carry, const uint8_t *p, size_t n,
			size_t received)
{
	size_t i = 0;

	while (i < n) {
		size_t held = carry->length;
		uint8_t head[UTF8_CHARACTER_MAX];
		size_t length, used;
		struct utf8_checked checked = utf8_check_next(carry, p + i, n - i);

		if (checked.status <= UTF8_PARTIAL) {
			assert_int_equal(checked.valid + checked.length, n - i);
			return;
		}
		if (checked.valid + checked.length > 0) {
			assert_int_equal(carry->length, 0);
			add_fault(faults, received + i + checked.valid, checked.length);
			i += checked.valid + checked.length;
			continue;
		}
		assert_int_equal(carry->length, held);
		assert_int_equal(utf8_carry_join(carry, p + i, n - i, head, &length, &used),
				 UTF8_INVALID_CONTINUATION);
		add_fault(faults, received + i - held, length);
		i += used;
	}
}

/* The faults of a stream and its end do not depend on where it is cut. */
static void test_streams(void **state)
{
	uint8_t text[ROOM];
	uint32_t seed = 362436069;

	for (uint32_t round = 0; round < 100000 / sample_share(); round++) {
		size_t n = next_random(&seed) % sizeof(text);
		size_t piece = round % 4 == 0 ? 80 : round % 2 ? 200 : 700;
		struct faults whole = {.n = 0}, cut = {.n = 0};
		struct utf8_carry whole_carry = {0}, cut_carry = {0};
		size_t i = 0;

		make_mutated(text, n, &seed);
		if (n > 0)
			read_stream(&whole, &whole_carry, text, n, 0);
		while (i < n) {
			size_t m = 1 + next_random(&seed) % piece;

			if (m > n - i)
				m = n - i;
			read_stream(&cut, &cut_carry, text + i, m, i);
			i += m;
		}
		assert_int_equal(cut.n, whole.n);
		assert_memory_equal(cut.places, whole.places, whole.n * sizeof(size_t));
		assert_int_equal(cut_carry.length, whole_carry.length);
		assert_memory_equal(cut_carry.bytes, whole_carry.bytes, whole_carry.length);
	}
}

static void test_every_kernel(void **state)
{
	if (sample_share() > 1)
		print_message("# a sample of the comparisons: one in %u\n", sample_share());
	assert_int_equal(utf8_kernel_select("scalar"), 0);
	test_streams(state);
	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		if (strcmp(*name, "scalar") == 0)
			continue;
		assert_int_equal(utf8_kernel_select(*name), 0);
		print_message("# kernel %s\n", *name);
		test_page_boundaries(state);
		test_mutated_text(state);
		test_find_faults(state);
		test_streams(state);
		test_alignments(state);
		test_long_texts(state);
		test_boundaries(state);
		test_short_strings(state);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
