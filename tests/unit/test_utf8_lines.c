/*
 * utf8_copy_lines() with every kernel that this processor has, against a loop that does the same
 * byte by byte. Nothing outside of the memory given may be read or written: it ends at a page that
 * cannot be touched.
 */

#include "core/utf8/utf8.h"
#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define INPUT_MAX 3000
#define OUT_MAX 65536

/* Memory before a page that cannot be touched. */
struct edge {
	uint8_t *end;
	uint8_t *pages;
	size_t size;
};

static void edge_init(struct edge *edge, size_t size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	edge->size = (size + page - 1) / page * page + page;
	edge->pages =
		mmap(NULL, edge->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(edge->pages, MAP_FAILED);
	edge->end = edge->pages + edge->size - page;
	assert_int_equal(mprotect(edge->end, page, PROT_NONE), 0);
}

static void edge_finish(struct edge *edge)
{
	munmap(edge->pages, edge->size);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* Text in which about one byte in @spacing ends a line, and many of the bytes before it are CR. */
static void make_text(uint8_t *p, size_t n, uint32_t spacing, uint32_t *seed)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t r = next_random(seed);

		p[i] = r % spacing == 0 ? '\n' : (uint8_t)('a' + r / spacing % 26);
		if (i > 0 && p[i] == '\n' && p[i - 1] != '\n' && r / spacing % 2 == 0)
			p[i - 1] = '\r';
	}
}

/* The expected output for the first @count lines; returns its length. */
static size_t expect(const struct utf8_lines *lines, const uint8_t *p, size_t count, uint8_t *out)
{
	uint8_t *o = out;

	while (count-- > 0) {
		const uint8_t *lf = p, *body_end;

		while (*lf != '\n')
			lf++;
		body_end = lf > p && lf[-1] == '\r' ? lf - 1 : lf;
		memcpy(o, lines->prefix, lines->prefix_length);
		o += lines->prefix_length;
		while (p < body_end)
			*o++ = *p++;
		memcpy(o, lines->suffix, lines->suffix_length);
		o += lines->suffix_length;
		while (p <= lf)
			*o++ = *p++;
	}
	return (size_t)(o - out);
}

/* How many lines at @p are whole and no longer than @max, up to the first that is not. */
static size_t count_lines(const uint8_t *p, const uint8_t *end, size_t max)
{
	size_t count = 0;

	for (const uint8_t *begin = p; p < end; p++) {
		if ((size_t)(p - begin) > max)
			break;
		if (*p == '\n') {
			begin = p + 1;
			count++;
		}
	}
	return count;
}

/* Whether the @n bytes at @p are ASCII. */
static bool is_ascii(const uint8_t *p, size_t n)
{
	while (n > 0 && p[n - 1] < 0x80)
		n--;
	return n == 0;
}

/* Copies the lines and compares the output. Returns the number of lines copied. */
static size_t compare(struct utf8_lines lines)
{
	static uint8_t expected[OUT_MAX];
	const uint8_t *p = lines.p;
	uint8_t *out = lines.out;
	size_t n;

	utf8_copy_lines(&lines);
	assert_true(lines.count <= count_lines(p, lines.end, lines.max_bytes));
	n = expect(&lines, p, lines.count, expected);
	assert_int_equal(lines.out - out, n);
	assert_memory_equal(out, expected, n);
	assert_true(lines.p == p || lines.p[-1] == '\n');
	assert_int_equal(count_lines(p, lines.p, lines.max_bytes), lines.count);
	if (lines.unchecked)
		assert_true(is_ascii(p, (size_t)(lines.p - p)));
	return lines.count;
}

static void compare_random(const struct edge *in, const struct edge *out, uint32_t *seed)
{
	static const uint8_t around[128] =
		"prefix or suffix, which may be longer than a few moves copy";
	static const size_t prefixes[] = {0, 1, 4, 31, 32, 33, 80};
	static const uint32_t spacings[] = {1, 2, 5, 20, 64, 65, 128, 700};
	size_t n = next_random(seed) % INPUT_MAX;
	size_t longest;
	struct utf8_lines lines = {
		.prefix = around,
		.prefix_length = prefixes[next_random(seed) % 7],
		.suffix = around + 7,
		.suffix_length = next_random(seed) % 3 * 5,
		.max_bytes = next_random(seed) % 4 == 0 ? next_random(seed) % 100 : 1023,
		.p = in->end - n,
		.end = in->end,
	};

	make_text(in->end - n, n, spacings[next_random(seed) % 8], seed);
	/* room for everything that a kernel writes: it must not stop before the end */
	lines.out_end = out->end;
	lines.out = out->end - OUT_MAX + next_random(seed) % 64;
	longest = (n + 1) * (1 + lines.prefix_length + lines.suffix_length) + lines.max_bytes + 256;
	if (longest < OUT_MAX - 64)
		assert_int_equal(compare(lines), count_lines(lines.p, lines.end, lines.max_bytes));
	/* too little, or just enough: it may stop early, but not write past the end */
	lines.out = out->end - next_random(seed) % 4000;
	compare(lines);
}

static void test_every_kernel(void **state)
{
	uint32_t seed = 88172645, rounds = sample_share() > 1 ? 2000 : 20000;
	struct edge in, out;

	edge_init(&in, INPUT_MAX);
	edge_init(&out, OUT_MAX);
	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		assert_int_equal(utf8_kernel_select(*name), 0);
		for (uint32_t i = 0; i < rounds; i++)
			compare_random(&in, &out, &seed);
	}
	edge_finish(&in);
	edge_finish(&out);
}

/* Tests the kernel in use, with a byte of 80 or above at each place, and without one. */
static void compare_unchecked(struct utf8_lines lines, const struct edge *in, size_t n)
{
	bool scalar = strcmp(utf8_kernel_name(), "scalar") == 0;
	size_t whole = count_lines(in->end - n, in->end, lines.max_bytes);

	lines.p = in->end - n;
	lines.end = in->end;
	assert_int_equal(compare(lines), scalar || n < UTF8_UNCHECKED_MIN ? 0 : whole);
	for (uint8_t *p = in->end - n; p < in->end; p++) {
		uint8_t byte = *p;
		size_t before = count_lines(lines.p, p, lines.max_bytes);
		size_t copied;

		*p |= 0x80;
		copied = compare(lines);
		/* at most what is in the same block is left */
		assert_true(copied <= before);
		if (!scalar && n >= UTF8_UNCHECKED_MIN && p - lines.p >= 128)
			assert_true(copied >= count_lines(lines.p, p - 128, lines.max_bytes));
		*p = byte;
	}
}

static void test_unchecked(void **state)
{
	static const uint8_t prefix[UTF8_PREFIX_READ] = "Got ";
	static const size_t sizes[] = {1, 63, 64, 65, 127, 128, 129, 500, 1040};
	uint32_t seed = 521288629;
	struct edge in, out;

	edge_init(&in, INPUT_MAX);
	edge_init(&out, OUT_MAX);
	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		struct utf8_lines lines = {
			.prefix = prefix,
			.prefix_length = 4,
			.suffix = prefix,
			.max_bytes = 1023,
			.unchecked = true,
			.out = out.end - OUT_MAX,
			.out_end = out.end,
		};

		assert_int_equal(utf8_kernel_select(*name), 0);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			make_text(in.end - sizes[i], sizes[i], 20, &seed);
			compare_unchecked(lines, &in, sizes[i]);
		}
	}
	edge_finish(&in);
	edge_finish(&out);
}

static void test_nothing_to_copy(void **state)
{
	uint8_t out[4096];
	struct utf8_lines lines = {
		.prefix = (const uint8_t *)"01234567890123456789012345678901",
		.suffix = (const uint8_t *)"",
		.max_bytes = 100,
		.out = out,
		.out_end = out + sizeof(out),
	};

	for (const char *const *name = utf8_kernel_list(); *name; name++) {
		assert_int_equal(utf8_kernel_select(*name), 0);
		lines.p = lines.end = (const uint8_t *)"\n";
		assert_int_equal(compare(lines), 0);
		lines.p = (const uint8_t *)"no end of a line";
		lines.end = lines.p + 16;
		assert_int_equal(compare(lines), 0);
		lines.out = lines.out_end;
		lines.p = (const uint8_t *)"no room\n";
		lines.end = lines.p + 8;
		assert_int_equal(compare(lines), 0);
		lines.out = out;
		assert_int_equal(compare(lines), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kernel),
		cmocka_unit_test(test_unchecked),
		cmocka_unit_test(test_nothing_to_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
