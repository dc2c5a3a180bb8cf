/*
 * config_text: syntax that libconfig misreads, or that its versions read differently: integers,
 * strings, comments, @include; and files that cannot be read.
 */

#include "config_files.h"

#include "ackd/config/text.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DENIED                                                                                     \
	"%s: cannot read: Permission denied; the user that runs ackd (user ID %u) must be able "   \
	"to read it\n"

static void expect_errors(const char *text, const char *errors)
{
	files_write_text("F", text);
	files_expect_errors("F", -1, errors);
}

static void test_out_of_range_integers_are_rejected(void **state)
{
	/* libconfig 1.5 reads them as 7007, 0x7fffffff + 1, -1 */
	static const char *const integers[] = {
		"4294974303", "3221225472", "-2147483649",	    "0x1FFFFFFFF",
		"0xFFFFFFFF", "0x80000000", "99999999999999999999", "+4294974303",
	};
	char text[128], errors[256];

	for (size_t i = 0; i < sizeof(integers) / sizeof(integers[0]); i++) {
		snprintf(text, sizeof(text), "port = %s;\n", integers[i]);
		snprintf(errors, sizeof(errors),
			 "F:1: port: found %s; allowed: an integer of at most 32 bits, or of 64 "
			 "bits with the suffix L\n",
			 integers[i]);
		expect_errors(text, errors);
	}
	expect_errors("port = 99999999999999999999L;",
		      "F:1: port: found 99999999999999999999L; allowed: an integer of at most 32 "
		      "bits, or of 64 bits with the suffix L\n");
	expect_errors("port = 4294974303L;",
		      "F:1: port: found 4294974303; allowed: an integer from 0 to 65535\n");
	expect_errors("port = 0xFFFFFFFFL;",
		      "F:1: port: found 4294967295; allowed: an integer from 0 to 65535\n");
}

/* Some versions of libconfig read them as decimal, others as octal. */
static void test_leading_zeros(void **state)
{
	struct config *config;

	expect_errors("backlog = 0100;",
		      "F:1: backlog: found 0100; allowed: an integer without leading zeros, or "
		      "a string in quotes\n");
	expect_errors("workers = -08;",
		      "F:1: workers: found -08; allowed: an integer without leading zeros, or "
		      "a string in quotes\n");
	config = files_load_text("workers = 0; port = 0x0050; limits = { idle_timeout = 00.5; };");
	assert_int_equal(config->listeners[0].port, 80);
	config_unref(config);
}

/* A comment ends a word, as it does for libconfig. */
static void test_comment_between_words(void **state)
{
	expect_errors("port = 10/* old */80;", "F:1: syntax error; allowed: name = value;\n");
	expect_errors("na/**/me = \"x\";", "F:1: syntax error; allowed: name = value;\n");
}

/* Reading a string of escapes takes time linear in its length; otherwise the test times out. */
static void test_many_escapes(void **state)
{
	enum { N = 1 << 20 };
	char *text = malloc(2 * N + 32), *p = text;

	assert_non_null(text);
	p += sprintf(p, "greeting = \"");
	for (int i = 0; i < N; i++, p += 2)
		memcpy(p, "\\n", 2);
	*p = '\0';
	expect_errors(text, "F:1: greeting: syntax error: found a string without closing quote\n");
	free(text);
}

static void test_too_many_names(void **state)
{
	char *text;
	size_t n;
	FILE *f = open_memstream(&text, &n);

	assert_non_null(f);
	for (unsigned i = 0; i <= CONFIG_TEXT_NAMES_MAX; i++)
		fprintf(f, "x%u = 1;\n", i);
	assert_int_equal(fclose(f), 0);
	expect_errors(text, "F:20001: found more than 20000 settings; allowed: at most 20000\n");
	free(text);
}

static void test_integer_in_an_include(void **state)
{
	files_write_text("inc/a.conf", "# 4294974303\nport = 4294974303;\n");
	files_write_text("F", "@include \"inc/a.conf\"\n");
	files_expect_errors(
		"F", -1,
		"inc/a.conf:2: port: found 4294974303; allowed: an integer of at most 32 bits, or "
		"of 64 bits with the suffix L\n");
}

/* The largest max_memory: more than 32 bits if size_t has more. */
#if SIZE_MAX > UINT32_MAX
#define BIG_NUMBER "4294974303"
#else
#define BIG_NUMBER "3221225472"
#endif

static void test_digits_outside_of_integers_are_ignored(void **state)
{
	struct config *config =
		files_load_text("# 4294974303\n"
				"// 4294974303\n"
				"/* 4294974303\n4294974303 */ port = 0x50;\n"
				"greeting = \"4294974303 # /* // \\\" 99999999999\";\n"
				"ack_suffix = \" a\" /* x */ \"b\" # 5\n \"c\";\n"
				"limits = { max_memory = " BIG_NUMBER "L;\n"
				"idle_timeout = 1.5e0 };\n"
				"workers = +3 backlog = 17, nak : false");

	assert_int_equal(config->listeners[0].port, 80);
	assert_string_equal(config->listeners[0].greeting, "4294974303 # /* // \" 99999999999");
	assert_string_equal(config->listeners[0].ack_suffix, " abc");
	assert_int_equal(config->max_memory_bytes, strtoull(BIG_NUMBER, NULL, 10));
	assert_int_equal(config->idle_timeout_ms, 1500);
	assert_int_equal(config->workers, 3);
	assert_int_equal(config->listeners[0].backlog, 17);
	assert_false(config->listeners[0].policy.nak);
	config_unref(config);
}

static void test_strings(void **state)
{
	struct config *config = files_load_text("greeting = \"\\\"\\\\\\n\\r\\t\\f\\x41\\xd0\"\n"
						"\"\\x96\xd0\x96\nx\";\n");

	assert_string_equal(config->listeners[0].greeting, "\"\\\n\r\t\fA\xd0\x96\xd0\x96\nx");
	config_unref(config);
	expect_errors("\ngreeting = \"a\\x00b\";",
		      "F:2: greeting: found a string with \\x00; allowed: text without NUL\n");
	expect_errors("name = \"\\X00\";",
		      "F:1: name: found a string with \\x00; allowed: text without NUL\n");
	expect_errors("greeting = \"a\xff\";",
		      "F:1: found the byte 0xFF; allowed: UTF-8 without NUL\n");
	expect_errors("listeners = ( { name = \"a\"; ack_suffix = \"\\xed\\xa0\\x80\"; } );",
		      "F:1: listeners[0].ack_suffix: found the string \"\\xed\\xa0\\x80\", whose "
		      "byte 1 (0xED) is not UTF-8; allowed: UTF-8\n");
	expect_errors("greeting = \"caf\\u00e9\\a\";",
		      "F:1: greeting: found the escape \\u in a string; allowed: \\\\ \\\" \\n \\r "
		      "\\t \\f and \\xHH\n"
		      "F:1: greeting: found the escape \\a in a string; allowed: \\\\ \\\" \\n \\r "
		      "\\t \\f and \\xHH\n");
}

static void test_syntax(void **state)
{
#define CHARACTER "; allowed: name = value; with strings in double quotes\n"
	expect_errors("port = ;\nreply = \"ack\";\n",
		      "F:1: syntax error; allowed: name = value;\n");
	expect_errors("limits = { max_line = 5;\n", "F:2: syntax error; allowed: name = value;\n");
	expect_errors("port = 1;\ngreeting = \"abc;\nport = 2;\n",
		      "F:2: greeting: syntax error: found a string without closing quote\n");
	expect_errors("port = 1;\n/* abc\n\n",
		      "F:2: syntax error: found a comment without end; allowed: /* ... */\n");
	expect_errors("port = $x;", "F:1: syntax error: found the character \"$\"" CHARACTER);
	expect_errors("greeting = \xe2\x80\x9cx\xe2\x80\x9d;",
		      "F:1: syntax error: found the character \"\xe2\x80\x9c\"" CHARACTER);
	expect_errors("port = 1; \xe9", "F:1: found the byte 0xE9; allowed: UTF-8 without NUL\n");
	expect_errors("# caf\xe9\nport = 1;\n/*\n\xff */",
		      "F:1: found the byte 0xE9; allowed: UTF-8 without NUL\n");
	expect_errors("port = 'x';", "F:1: syntax error: found the character \"'\"" CHARACTER);
	expect_errors("x = [1,\n\"a\"];", "F:2: found values of different types in an array; "
					  "allowed: an array of one type\n");
	expect_errors("x = [1, \"a\"];", "F:1: found values of different types in an array; "
					 "allowed: an array of one type\n");
	files_write("F", "greeting = \"a\0b\";", 17);
	files_expect_errors("F", -1, "F:1: found the byte 0x00; allowed: UTF-8 without NUL\n");
	files_write("F", "port = 1;\n\0port = 2;", 20);
	files_expect_errors("F", -1, "F:2: found the byte 0x00; allowed: UTF-8 without NUL\n");
#undef CHARACTER
}

/* Values without quotes, as operators write them by mistake. */
static void test_unquoted_values_are_rejected(void **state)
{
#define WORD(word)                                                                                 \
	"syntax error: found the word " word                                                       \
	"; allowed: true, false, a number, or a string in quotes\n"
	struct config *config;

	expect_errors("reply = echo;", "F:1: reply: " WORD("echo"));
	expect_errors("nak : no;", "F:1: nak: " WORD("no"));
	expect_errors("nak = truely;", "F:1: nak: " WORD("truely"));
	expect_errors("port = \nreply = \"ack\";\n", "F:2: port: " WORD("reply"));
	expect_errors(
		"listeners = ( name = \"a\"; );",
		"F:1: listeners: syntax error: found the word name; allowed: a group { ... }, "
		"or a string in quotes\n");
	expect_errors("deny = [ localhost ];", "F:1: deny: " WORD("localhost"));
	expect_errors("address = *;", "F:1: address: " WORD("*"));
	expect_errors("address = 127.0.0.1;", "F:1: address: " WORD("127.0.0.1"));
	expect_errors("address = fe80::1%eth0;", "F:1: address: " WORD("fe80::1%eth0"));
	expect_errors("allow = [10.0.0.0/8];", "F:1: allow: " WORD("10.0.0.0/8"));
	expect_errors("limits = {\nidle_timeout = 5s; };", "F:2: idle_timeout: " WORD("5s"));
	expect_errors("limits = { max_line = 64KiB; };", "F:1: max_line: " WORD("64KiB"));
	expect_errors("port = -0x5;", "F:1: port: " WORD("-0x5"));
	expect_errors("port = 5LLL;", "F:1: port: " WORD("5LLL"));
	expect_errors("nak = true\nlimits.max_line = 5;",
		      "F:2: syntax error: found the name limits with a dot; "
		      "allowed: limits = { name = value; };\n");
	/* no unquoted value among these */
	config = files_load_text("port = 5 reply = \"echo\" framing : \"line\",nak = FALSE"
				 " workers=1# limits = { max_line=2}; backlog = 7/**/");
	assert_int_equal(config->listeners[0].port, 5);
	assert_int_equal(config->listeners[0].backlog, 4096);
	assert_int_equal(config->workers, 1);
	config_unref(config);
#undef WORD
}

static void test_nested_too_deeply(void **state)
{
	enum { DEPTH = 20000 };
	char text[4 + DEPTH + 1] = "x = ";

	memset(text + 4, '(', DEPTH);
	expect_errors(text, "F:1: syntax error: nested too deeply\n");
}

static void test_include(void **state)
{
	struct config *config;
	char path[4096], text[4096 + 64];

	files_write_text("inc/deep/b.conf", "reply = \"echo\";");
	files_write_text("inc/a.conf", "  @include \"deep/b.conf\"\nport = 1; # end");
	files_write_text("F", "\xef\xbb\xbf"
			      "@include \"inc/a.conf\" nak = false;\nbacklog = 7");
	config = files_load("F", -1);
	assert_int_equal(config->listeners[0].policy.reply, REPLY_ECHO);
	assert_int_equal(config->listeners[0].port, 1);
	assert_int_equal(config->listeners[0].backlog, 7);
	assert_false(config->listeners[0].policy.nak);
	config_unref(config);

	assert_non_null(getcwd(path, sizeof(path)));
	snprintf(text, sizeof(text), "@include \"%s/inc/deep/b.conf\"\n", path);
	config = files_load_text(text);
	assert_int_equal(config->listeners[0].policy.reply, REPLY_ECHO);
	config_unref(config);

	files_write_text("inc/\"quoted\" \\", "port = 5;");
	config = files_load_text("@include \"inc/\\\"quoted\\\" \\\\\"");
	assert_int_equal(config->listeners[0].port, 5);
	config_unref(config);

	/* inside a string it is text, even at the beginning of a line */
	config = files_load_text("greeting = \"\n@include \\\"inc/a.conf\\\"\";");
	assert_string_equal(config->listeners[0].greeting, "\n@include \"inc/a.conf\"");
	config_unref(config);
}

static void test_include_faults(void **state)
{
	files_write_text("inc/bad.conf", "port = 1;\n\nbacklog = 0;\nlimits = { x = 1; };\n");
	expect_errors("@include \"inc/bad.conf\"\nnak = 5;\n",
		      "inc/bad.conf:3: backlog: found 0; allowed: an integer from 1 to 65535\n"
		      "inc/bad.conf:4: limits.x: no such setting; ackd.conf(5) lists all "
		      "settings\n"
		      "F:2: nak: found 5; allowed: true or false\n");
	files_write_text("inc/bad.conf", "port = 1;\n\nport = 0;\n");
	expect_errors("@include \"inc/bad.conf\"\n",
		      "inc/bad.conf:3: found a setting twice in one group; allowed: once\n");
	files_write_text("inc/bad.conf", "port = ;\n");
	expect_errors("\n@include \"inc/bad.conf\"\n",
		      "inc/bad.conf:1: syntax error; allowed: name = value;\n");
	expect_errors("\n@include \"none.conf\"\n",
		      "F:2: @include: cannot read \"none.conf\": No such file or directory\n");
	expect_errors("@include \"inc\"\n", "F:1: @include: cannot read \"inc\": Is a directory\n");
	/* All of them, and no error that only follows from them, such as "found an empty list". */
	files_write_text("inc/bad.conf", "\n@include \"none.conf\"\n");
	expect_errors("port = 1;\n@include \"none.conf\"\n@include \"inc/bad.conf\"\n"
		      "greeting = \"\\q\";\n@include \"inc\"\n"
		      "listeners = (\n@include \"none\"\n);\n",
		      "F:2: @include: cannot read \"none.conf\": No such file or directory\n"
		      "inc/bad.conf:2: @include: cannot read \"inc/none.conf\": No such file or "
		      "directory\n"
		      "F:4: greeting: found the escape \\q in a string; allowed: \\\\ \\\" \\n "
		      "\\r \\t \\f and \\xHH\n"
		      "F:5: @include: cannot read \"inc\": Is a directory\n"
		      "F:7: @include: cannot read \"none\": No such file or directory\n");
	expect_errors("@include inc\n",
		      "F:1: @include: syntax error; allowed: @include \"FILE\" at the start of a "
		      "line\n");
	expect_errors("@include \"inc\n",
		      "F:1: @include: syntax error; allowed: @include \"FILE\" at the start of a "
		      "line\n");
	expect_errors("@include",
		      "F:1: @include: syntax error; allowed: @include \"FILE\" at the start of a "
		      "line\n");
	expect_errors("port = 1; @include \"inc/a.conf\"\n",
		      "F:1: @include: syntax error; allowed: @include \"FILE\" at the start of a "
		      "line\n");
	/* libconfig notes the line of a string after the next token, which is in another file */
	files_write_text("inc/nets", "\"::1\",\n\"x\" # last\n");
	expect_errors(
		"allow = [\n@include \"inc/nets\"\n];\nbacklog = 0;\n",
		"inc/nets:2: allow: found the string \"x\", which is not an address; allowed: "
		"an array of strings such as \"192.0.2.0/24\", \"2001:db8::/32\"\n"
		"F:4: backlog: found 0; allowed: an integer from 1 to 65535\n");
	expect_errors("@include \"F\"\n",
		      "F:1: @include: cannot read \"F\": files nest more than 10 deep\n");
}

/* A reader of virtual files. */
static int read_huge(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	static const char text[] = "@include \"x\"\n@include \"y\"\n";
	bool first = path[0] == 'F';
	size_t n = first ? strlen(text) : CONFIG_TEXT_BYTES_MAX / 2;

	*ret_bytes = malloc(n);
	assert_non_null(*ret_bytes);
	if (first)
		memcpy(*ret_bytes, text, n);
	else
		memset(*ret_bytes, ' ', n);
	*ret_n = n;
	return 0;
}

static void test_size_of_all_files(void **state)
{
	struct config *config;
	char *errors = NULL;
	size_t n;
	FILE *out = open_memstream(&errors, &n);

	assert_non_null(out);
	assert_int_equal(config_load_with(&(struct config_source){.path = "F", .port = -1},
					  read_huge, NULL, out, &config),
			 -EINVAL);
	assert_int_equal(fclose(out), 0);
	assert_string_equal(errors,
			    "F:2: @include: cannot read \"y\": all files together have more "
			    "than 16 MiB\n");
	free(errors);
}

static void test_files(void **state)
{
	struct config *config;

	files_expect_errors("none", -1, "none: cannot read: No such file or directory\n");
	assert_int_equal(mkdir("dir", 0700), 0);
	files_expect_errors("dir", -1, "dir: cannot read: Is a directory\n");
	files_write_text("none/file", "");
	files_expect_errors("none/file/x", -1, "none/file/x: cannot read: Not a directory\n");
	files_expect_errors("/dev/zero", -1,
			    "/dev/zero: cannot read: all files together have more than 16 MiB\n");
	config = files_load("none/file", -1);
	assert_string_equal(config->path, "none/file");
	config_unref(config);
}

static int read_fails(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	return *(int *)data;
}

/* The file in sysconfdir may be missing, but it must be readable if it exists. */
static void test_default_file(void **state)
{
	char *errors = NULL, expected[256];
	size_t n;
	FILE *out = open_memstream(&errors, &n);
	struct config *config = NULL;
	int reason = -ENOENT;

	assert_non_null(out);
	assert_int_equal(config_load_with(&(struct config_source){.path = NULL, .port = 7},
					  read_fails, &reason, out, &config),
			 0);
	assert_null(config->path);
	assert_string_equal(config->listeners[0].name, "ackd");
	assert_int_equal(config->listeners[0].port, 7);
	config_unref(config);
	reason = -EACCES;
	assert_int_equal(config_load_with(&(struct config_source){.path = NULL, .port = -1},
					  read_fails, &reason, out, &config),
			 -EINVAL);
	assert_int_equal(fclose(out), 0);
	snprintf(expected, sizeof(expected), DENIED, CONFIG_PATH, (unsigned)geteuid());
	assert_string_equal(errors, expected);
	free(errors);
}

static void test_unreadable_file(void **state)
{
	bool root = geteuid() == 0; /* root can read every file */
	char expected[256];

	files_write_text("secret", "port = 1;");
	assert_int_equal(chmod("secret", 0200), 0);
	assert_int_equal(chmod(".", 0755), 0);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	snprintf(expected, sizeof(expected), DENIED, "secret", (unsigned)geteuid());
	files_expect_errors("secret", -1, expected);
	if (root)
		assert_int_equal(seteuid(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_of_range_integers_are_rejected),
		cmocka_unit_test(test_leading_zeros),
		cmocka_unit_test(test_comment_between_words),
		cmocka_unit_test(test_many_escapes),
		cmocka_unit_test(test_too_many_names),
		cmocka_unit_test(test_integer_in_an_include),
		cmocka_unit_test(test_digits_outside_of_integers_are_ignored),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_unquoted_values_are_rejected),
		cmocka_unit_test(test_nested_too_deeply),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_include_faults),
		cmocka_unit_test(test_size_of_all_files),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_default_file),
		cmocka_unit_test(test_unreadable_file),
	};

	return cmocka_run_group_tests_name("config_text", tests, files_setup, files_teardown);
}
