/*
 * config: the error messages and their positions; all errors are reported together. "F" in the
 * expected text stands for the path of the file.
 */

#include "config_files.h"

#include "ackd/config/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fault {
	const char *text;
	const char *errors;
};

static void check_all(const struct fault *faults, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		files_write_text("F", faults[i].text);
		files_expect_errors("F", -1, faults[i].errors);
	}
}
#define CHECK_ALL(faults) check_all(faults, sizeof(faults) / sizeof((faults)[0]))

#define DURATION ": a number of seconds, or a string such as \"500ms\", \"30s\", \"5min\", \"1h\"\n"
/* The same for whole seconds: "500ms" is none. */
#define SECONDS ": a number of seconds, or a string such as \"30s\", \"5min\", \"1h\"\n"
#if SIZE_MAX > UINT32_MAX
#define MEMORY_MAX "1TiB"
#else
#define MEMORY_MAX "3GiB"
#endif
#define SIZE ": a number of bytes, or a string such as \"64KiB\", \"1MiB\"\n"
#define NETWORKS "allowed: an array of strings such as \"192.0.2.0/24\", \"2001:db8::/32\"\n"

static void test_types(void **state)
{
	static const struct fault faults[] = {
		{"port = \"80\";", "F:1: port: found the string \"80\"; allowed: an integer from 0 "
				   "to 65535\n"},
		{"\n\nport = 70000",
		 "F:3: port: found 70000; allowed: an integer from 0 to 65535\n"},
		{"port = -1", "F:1: port: found -1; allowed: an integer from 0 to 65535\n"},
		{"port = 80.5", "F:1: port: found 80.5; allowed: an integer from 0 to 65535\n"},
		{"port = 80.0", "F:1: port: found 80.0; allowed: an integer from 0 to 65535\n"},
		{"port = 1e3", "F:1: port: found 1000.0; allowed: an integer from 0 to 65535\n"},
		{"port = 65535.0001",
		 "F:1: port: found 65535.0001; allowed: an integer from 0 to 65535\n"},
		{"backlog = 0", "F:1: backlog: found 0; allowed: an integer from 1 to 65535\n"},
		{"backlog = 65536",
		 "F:1: backlog: found 65536; allowed: an integer from 1 to 65535\n"},
		{"workers = 1025",
		 "F:1: workers: found 1025; allowed: an integer from 0 to 1024\n"},
		{"workers = {}",
		 "F:1: workers: found a group { ... }; allowed: an integer from 0 to "
		 "1024\n"},
		{"limits = { max_connections = 0; }", "F:1: limits.max_connections: found 0; "
						      "allowed: an integer from 1 to 2147483647\n"},
		{"nak = 1", "F:1: nak: found 1; allowed: true or false\n"},
		{"nak = \"yes\"", "F:1: nak: found the string \"yes\"; allowed: true or false\n"},
		/* a length in the range of a boolean */
		{"nak = \"1\"", "F:1: nak: found the string \"1\"; allowed: true or false\n"},
		{"freebind = \"\"",
		 "F:1: freebind: found the string \"\"; allowed: true or false\n"},
		{"reply = true", "F:1: reply: found true; allowed: \"ack\", \"echo\", \"discard\", "
				 "\"text\" or \"close\"\n"},
		{"reply = \"Echo\"", "F:1: reply: found the string \"Echo\"; allowed: \"ack\", "
				     "\"echo\", \"discard\", \"text\" or \"close\"\n"},
		{"framing = \"\"", "F:1: framing: found the string \"\"; allowed: \"stream\", "
				   "\"line\", \"delimited\", \"length\" or \"fixed\"\n"},
		{"greeting = [\"a\"]",
		 "F:1: greeting: found an array [ ... ]; allowed: a string\n"},
		{"encoding = \"utf-8\"",
		 "F:1: encoding: found the string \"utf-8\"; allowed: a group { ... }\n"},
		{"limits = ( )", "F:1: limits: found a list ( ... ); allowed: a group { ... }\n"},
		{"name = \"a b\"",
		 "F:1: name: found the string \"a b\"; allowed: a string of 1 to 64 "
		 "bytes: letters, digits and the characters . _ -\n"},
		{"log = { level = \"trace\"; target = 5; }",
		 "F:1: log.level: found the string \"trace\"; allowed: \"error\", \"warning\", "
		 "\"notice\", \"info\" or \"debug\"\n"
		 "F:1: log.target: found 5; allowed: \"auto\", \"journal\" or \"stderr\"\n"},
	};

	CHECK_ALL(faults);
}

static void test_addresses(void **state)
{
#define ALLOWED                                                                                    \
	"allowed: a string of 1 to 255 bytes: an IPv4 or IPv6 address, a host name, or \"*\"\n"
#define SOCKET                                                                                     \
	"allowed: a string of 1 to 107 bytes: a path without control characters, or, in Linux, "   \
	"\"@\" and the name of an abstract socket\n"
	static const struct fault faults[] = {
		{"address = \"\"", "F:1: address: found the string \"\"; " ALLOWED},
		{"address = 1", "F:1: address: found 1; " ALLOWED},
		{"address = \"127.0.0.300\"",
		 "F:1: address: found the string \"127.0.0.300\"; " ALLOWED},
		{"address = \"[::1]\"", "F:1: address: found the string \"[::1]\"; " ALLOWED},
		{"address = \"localhost:80\"",
		 "F:1: address: found the string \"localhost:80\"; " ALLOWED},
		{"address = \"a b\"", "F:1: address: found the string \"a b\"; " ALLOWED},
		{"address = \"fe80::1%\"", "F:1: address: found the string \"fe80::1%\"; " ALLOWED},
		{"path = \"\"", "F:1: path: found the string \"\"; " SOCKET},
		{"path = \"/a\\nb\"", "F:1: path: found the string \"/a\\nb\"; " SOCKET},
		{"path = \"@\"", "F:1: path: found the string \"@\"; " SOCKET},
		{"path = \"/x\" mode = 0660",
		 "F:1: mode: found 0660; allowed: an integer without leading zeros, or a string in "
		 "quotes\n"},
		{"path = \"/x\" mode = \"0888\"",
		 "F:1: mode: found the string \"0888\"; allowed: a string of octal digits from "
		 "\"0000\" to \"0777\"\n"},
		{"path = \"/x\" mode = \"1777\"",
		 "F:1: mode: found the string \"1777\"; allowed: a string of octal digits from "
		 "\"0000\" to \"0777\"\n"},
	};
#undef ALLOWED

	CHECK_ALL(faults);
}

static void test_units(void **state)
{
	static const struct fault faults[] = {
		{"keepalive = 32401;",
		 "F:1: keepalive: found 32401; allowed: a duration from 0 to 9h in whole "
		 "seconds" SECONDS},
		{"keepalive = \"1500ms\";",
		 "F:1: keepalive: found the string \"1500ms\"; allowed: a duration from 0 to 9h in "
		 "whole seconds" SECONDS},
		{"limits = { idle_timeout = -1; }",
		 "F:1: limits.idle_timeout: found -1; allowed: a duration from 0 to 24d in whole "
		 "milliseconds" DURATION},
		{"limits = { idle_timeout = \"5 min\"; }",
		 "F:1: limits.idle_timeout: found the string \"5 min\"; allowed: a duration from 0 "
		 "to 24d in "
		 "whole milliseconds" DURATION},
		{"limits = { idle_timeout = \"30\"; }",
		 "F:1: limits.idle_timeout: found the string \"30\"; allowed: a duration from 0 to "
		 "24d in "
		 "whole milliseconds" DURATION},
		{"limits = { idle_timeout = \"25d\"; }",
		 "F:1: limits.idle_timeout: found the string \"25d\"; allowed: a duration from 0 "
		 "to 24d in "
		 "whole milliseconds" DURATION},
		{"limits = { drain_timeout = 1e300; }",
		 "F:1: limits.drain_timeout: found 1e+300; allowed: a duration from 0 to 24d in "
		 "whole "
		 "milliseconds" DURATION},
		{"limits = { drain_timeout = 0.0005; }",
		 "F:1: limits.drain_timeout: found 0.0005; allowed: a duration from 0 to 24d in "
		 "whole "
		 "milliseconds" DURATION},
		{"limits = { drain_timeout = 1e-30; }",
		 "F:1: limits.drain_timeout: found 1e-30; allowed: a duration from 0 to 24d in "
		 "whole "
		 "milliseconds" DURATION},
		{"limits = { drain_timeout = true; }", "F:1: limits.drain_timeout: found true; "
						       "allowed: a duration from 0 to 24d in whole "
						       "milliseconds" DURATION},
		{"limits = { max_message = 0; }",
		 "F:1: limits.max_message: found 0; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_message = 16777217; }",
		 "F:1: limits.max_message: found 16777217; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_line = 0; }",
		 "F:1: limits.max_line: found 0; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_line = 16777217; }",
		 "F:1: limits.max_line: found 16777217; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_line = \"64K\"; }",
		 "F:1: limits.max_line: found the string "
		 "\"64K\"; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_memory = \"99999999999999999999B\"; }",
		 "F:1: limits.max_memory: found the string \"99999999999999999999B\"; allowed: "
		 "a size from 1B to " MEMORY_MAX SIZE},
		{"limits = { max_memory = \"18446744073709551TiB\"; }",
		 "F:1: limits.max_memory: found the string \"18446744073709551TiB\"; allowed: a "
		 "size from "
		 "1B to " MEMORY_MAX SIZE},
		{"limits = { max_memory = 1099511627777L; }",
		 "F:1: limits.max_memory: found 1099511627777; allowed: a size from 1B "
		 "to " MEMORY_MAX SIZE},
		{"limits = { max_memory = 1.5; }",
		 "F:1: limits.max_memory: found 1.5; allowed: a size from 1B to " MEMORY_MAX SIZE},
	};

	CHECK_ALL(faults);
}

#define BYTES " bytes: a string, or an array of integers from 0 to 255 such as [0x1c, 0x0d]\n"

static void test_frames(void **state)
{
	static const struct fault faults[] = {
		/* the parameters of the framing are needed, those of another one rejected */
		{"framing = \"delimited\";", "F:1: framing: found \"delimited\" without frame.end; "
					     "allowed: with frame.end\n"},
		{"framing = \"length\";", "F:1: framing: found \"length\" without "
					  "frame.length_bytes; allowed: with frame.length_bytes\n"},
		/* what depends on the missing or wrong parameter is not judged */
		{"framing = \"length\"; quit = \"exit\"; nak_text = \"x\";",
		 "F:1: framing: found \"length\" without frame.length_bytes; allowed: with "
		 "frame.length_bytes\n"},
		{"framing = \"fixed\"; frame = { size = 0; }; quit = \"exit\";",
		 "F:1: frame.size: found 0; allowed: a size from 1B to 16MiB" SIZE},
		{"framing = \"fixed\";", "F:1: framing: found \"fixed\" without frame.size; "
					 "allowed: with frame.size\n"},
		{"frame = { end = \"x\"; };",
		 "F:1: frame.end: cannot be combined with framing = \"stream\"; allowed: with "
		 "framing = \"delimited\"\n"},
		{"framing = \"fixed\"; frame = { size = 1;\nlength_order = \"big\"; };",
		 "F:2: frame.length_order: cannot be combined with framing = \"fixed\"; allowed: "
		 "with framing = \"length\"\n"},
		{"listeners = ( { name = \"a\"; framing = \"line\"; frame = { size = 5; }; } );",
		 "F:1: listeners[0].frame.size: cannot be combined with framing = \"line\"; "
		 "allowed: with framing = \"fixed\"\n"},
		/* the top level can have parameters for some listeners */
		{"frame = { end = \"x\"; }; listeners = ( { name = \"a\"; },\n"
		 "{ name = \"b\"; port = 1; framing = \"delimited\"; },\n"
		 "{ name = \"c\"; port = 2; framing = \"fixed\"; } );",
		 "F:3: listeners[2].framing: found \"fixed\" without frame.size; allowed: with "
		 "frame.size\n"},
		/* bytes */
		{"framing = \"delimited\"; frame = { start = \"123456789\"; end = \"\"; };",
		 "F:1: frame.start: found the string \"123456789\"; allowed: 0 to 8" BYTES
		 "F:1: frame.end: found the string \"\"; allowed: 1 to 8" BYTES},
		{"framing = \"delimited\"; frame = { start = [256, -1]; end = []; };",
		 "F:1: frame.start: found 256; allowed: 0 to 8" BYTES
		 "F:1: frame.start: found -1; allowed: 0 to 8" BYTES
		 "F:1: frame.end: found an array [ ... ], which is empty; allowed: 1 to 8" BYTES},
		{"framing = \"delimited\"; frame = { end = [1, 2, 3, 4, 5, 6, 7, 8, 9]; };",
		 "F:1: frame.end: found 9, after the last allowed byte; allowed: 1 to 8" BYTES},
		{"framing = \"delimited\"; frame = { end = [\"a\"]; start = 5; };",
		 "F:1: frame.end: found the string \"a\"; allowed: 1 to 8" BYTES
		 "F:1: frame.start: found 5; allowed: 0 to 8" BYTES},
		/* numbers */
		{"framing = \"length\"; frame = { length_bytes = 3; length_order = \"middle\"; };",
		 "F:1: frame.length_bytes: found 3; allowed: 1, 2 or 4\n"
		 "F:1: frame.length_order: found the string \"middle\"; allowed: \"big\" or "
		 "\"little\"\n"},
		{"framing = \"fixed\"; frame = { size = 65537; };",
		 "F:1: frame.size: found 65537; allowed: at most limits.max_message, 65536\n"},
		{"framing = \"fixed\"; frame = { size = 6; }; limits = { max_message = 5; };",
		 "F:1: frame.size: found 6; allowed: at most limits.max_message, 5\n"},
		{"framing = \"fixed\"; frame = { size = 0; };",
		 "F:1: frame.size: found 0; allowed: a size from 1B to 16MiB" SIZE},
		{"limits = { max_line = 5;\nmax_message = 5; };",
		 "F:1: limits.max_line: cannot be combined with limits.max_message, of which it is "
		 "the older name\n"},
	};

	CHECK_ALL(faults);
}

static void test_networks(void **state)
{
	static const struct fault faults[] = {
		{"allow = \"10.0.0.0/8\"",
		 "F:1: allow: found the string \"10.0.0.0/8\"; " NETWORKS},
		{"allow = [1]", "F:1: allow: found 1; " NETWORKS},
		{"allow = [\"10.0.0.0/8\",\n \"ten\",\n \"10.0.0.0/33\"\n];",
		 "F:2: allow: found the string \"ten\", which is not an address; " NETWORKS
		 "F:3: allow: found the string \"10.0.0.0/33\", whose prefix is not from 0 to 32 "
		 "(IPv4), 0 to 128 (IPv6); " NETWORKS},
		{"deny = (\"10.1.2.3/8\", \"2001:db8::1/32\");",
		 "F:1: deny: found \"10.1.2.3/8\", whose host bits are not zero; allowed: "
		 "\"10.0.0.0/8\", \"10.1.2.3\"\n"
		 "F:1: deny: found \"2001:db8::1/32\", whose host bits are not zero; "
		 "allowed: \"2001:db8::/32\", \"2001:db8::1\"\n"},
		{"deny = [\"unix\"]",
		 "F:1: deny: found the string \"unix\", which is not an address; " NETWORKS},
	};

	CHECK_ALL(faults);
}

static void test_names(void **state)
{
	static const struct fault faults[] = {
		{"prot = 1;", "F:1: prot: no such setting; did you mean port?\n"},
		{"limit = { max_line = 1; };",
		 "F:1: limit: no such setting; did you mean limits?\n"},
		{"listener = ();", "F:1: listener: no such setting; did you mean listeners?\n"},
		{"colour = 1;", "F:1: colour: no such setting; ackd.conf(5) lists all settings\n"},
		{"limits = { max_lines = 5; };",
		 "F:1: limits.max_lines: no such setting; did you mean limits.max_line?\n"},
		{"limits = { colour = 5; };",
		 "F:1: limits.colour: no such setting; ackd.conf(5) lists all settings\n"},
		{"metrics = { prot = 5; };",
		 "F:1: metrics.prot: no such setting; did you mean metrics.port?\n"},
		{"max_line = 5;",
		 "F:1: max_line: no such setting; did you mean limits.max_line?\n"},
		{"idle_timout = 5;",
		 "F:1: idle_timout: no such setting; did you mean limits.idle_timeout?\n"},
		{"errors = \"strict\";",
		 "F:1: errors: no such setting; did you mean encoding.errors?\n"},
		{"Port = 5;", "F:1: Port: no such setting; did you mean port?\n"},
		{"limits = { MAX_LINE = 5; };",
		 "F:1: limits.MAX_LINE: no such setting; did you mean limits.max_line?\n"},
		{"listeners = ( { name = \"a\"; workers = 2; } );",
		 "F:1: listeners[0].workers: no such setting; did you mean workers at top "
		 "level?\n"},
		{"listeners = ( { name = \"a\"; max_lin = 2; } );",
		 "F:1: listeners[0].max_lin: no such setting; did you mean limits.max_line at top "
		 "level?\n"},
		{"listeners = ( { name = \"a\"; limits = { max_line = 2; }; } );",
		 "F:1: listeners[0].limits: no such setting; did you mean limits at top level?\n"},
		{"port = 1;\nreply = \"echo\";\nport = 2;",
		 "F:3: found a setting twice in one group; allowed: once\n"},
		{"encoding = { errors = \"xmlcharrefreplace\"; };",
		 "F:1: encoding.errors: found the string \"xmlcharrefreplace\"; allowed: "
		 "\"strict\", \"replace\", \"ignore\", \"backslashreplace\" or \"surrogateescape\" "
		 "(\"xmlcharrefreplace\" only for encoding.reply_errors)\n"},
		{"encoding = { reply_errors = \"surrogateescape\"; };",
		 "F:1: encoding.reply_errors: found the string \"surrogateescape\"; allowed: "
		 "\"strict\", \"replace\", \"ignore\", \"xmlcharrefreplace\" or "
		 "\"backslashreplace\" (\"surrogateescape\" only for encoding.errors)\n"},
		{"encoding = { reply_charset = \"binary\"; };",
		 "F:1: encoding.reply_charset: found the string \"binary\"; allowed: \"utf-8\", "
		 "\"ascii\", \"iso-8859-1\" or \"windows-1252\" (\"binary\" only for "
		 "encoding.charset)\n"},
	};

	CHECK_ALL(faults);
}

/* Settings of features that this build lacks are rejected. */
static void test_settings_of_absent_features_are_rejected(void **state)
{
	char text[128], errors[256];

	for (size_t i = 0; i < n_settings; i++) {
		const char *dot = strchr(settings[i].name, '.');

		if (!(settings[i].flags & SETTING_UNBUILT))
			continue;
		assert_non_null(dot);
		snprintf(text, sizeof(text), "%.*s = { %s = 0; };", (int)(dot - settings[i].name),
			 settings[i].name, dot + 1);
		snprintf(errors, sizeof(errors),
			 "F:1: %s: this ackd was built without that feature; remove the setting\n",
			 settings[i].name);
		files_write_text("F", text);
		files_expect_errors("F", -1, errors);
	}
}

/* After CONFIG_ERRORS_MAX errors, one line reports that there are more. */
static void test_error_count_is_bounded(void **state)
{
	for (int n = CONFIG_ERRORS_MAX; n <= CONFIG_ERRORS_MAX + 1; n++) {
		char *text, *errors;
		size_t n_text, n_errors;
		FILE *f = open_memstream(&text, &n_text), *g = open_memstream(&errors, &n_errors);

		assert_true(f != NULL && g != NULL);
		fprintf(f, "allow = [");
		for (int i = 1; i <= n; i++) {
			fprintf(f, "%s\n\"%d\"", i > 1 ? "," : "", i);
			if (i <= CONFIG_ERRORS_MAX)
				fprintf(g,
					"F:%d: allow: found the string \"%d\", which is not an "
					"address; " NETWORKS,
					i + 1, i);
		}
		fprintf(f, "\n];\n");
		if (n > CONFIG_ERRORS_MAX)
			fprintf(g, "more than %d errors: the rest is left out\n",
				CONFIG_ERRORS_MAX);
		assert_int_equal(fclose(f) + fclose(g), 0);
		files_write_text("F", text);
		files_expect_errors("F", -1, errors);
		free(text);
		free(errors);
	}
}

static void test_quotes(void **state)
{
	char out[QUOTE_MAX], expected[QUOTE_MAX], text[2 * QUOTE_MAX];

	assert_string_equal(config_quote("", out), "\"\"");
	assert_string_equal(
		config_quote(
			"a\"\\\n\r\t\x01\x7f\xc2\x9b\xd0\x96\xf0\x9f\x98\x80\xe2\x80\xae\xff\xd0",
			out),
		"\"a\\\"\\\\\\n\\r\\t\\x01\\x7f\\xc2\\x9b\xd0\x96\xf0\x9f\x98\x80\\xe2\\x80\\xae\\x"
		"ff\\xd0\"");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memset(expected, 'x', sizeof(expected));
	expected[0] = '"';
	memcpy(expected + QUOTE_MAX - 5, "...\"", 5);
	assert_string_equal(config_quote(text, out), expected);
}

static void test_all_errors_are_reported_together(void **state)
{
	static const char text[] = "port = 70000;\n"
				   "greeting = \"${nobody}\";\n"
				   "workers = -1;\n"
				   "listeners = (\n"
				   "	{ name = \"a\"; port = \"x\"; },\n"
				   "	{ name = \"a\"; backlog = 99999999999; }\n"
				   ");\n"
				   "limits = { max_line = \"1\"; };\n";

	files_write_text("F", text);
	files_expect_errors(
		"F", -1,
		"F:1: port: found 70000; allowed: an integer from 0 to 65535\n"
		"F:2: greeting: found the unknown variable ${nobody}; allowed: ${peer}, ${host}, "
		"${listener}, ${connection}, ${proxy_id}, ${authority}, ${local}, ${tls_subject}\n"
		"F:3: workers: found -1; allowed: an integer from 0 to 1024\n"
		"F:5: listeners[0].port: found the string \"x\"; allowed: an integer from 0 to "
		"65535\n"
		"F:6: backlog: found 99999999999; allowed: an integer of at most 32 bits, or of 64 "
		"bits with the suffix L\n"
		"F:8: limits.max_line: found the string \"1\"; allowed: a size from 1B to "
		"16MiB" SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_networks),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_all_errors_are_reported_together),
		cmocka_unit_test(test_settings_of_absent_features_are_rejected),
		cmocka_unit_test(test_error_count_is_bounded),
		cmocka_unit_test(test_quotes),
	};

	return cmocka_run_group_tests_name("config", tests, files_setup, files_teardown);
}
