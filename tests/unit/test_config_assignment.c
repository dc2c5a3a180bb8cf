/* config: the command line's NAME=VALUE, their precedence over the file, and their errors. */

#include "config_files.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LISTED                                                                                     \
	"reply = \"echo\"; limits = { max_message = 1000; };\n"                                    \
	"listeners = ( { name = \"web\"; port = 7; reply = \"discard\"; },\n"                      \
	"              { name = \"web.tls\"; port = 8; allow = [\"10.0.0.0/8\"]; } );\n"

/* Loads @text (NULL: the default file, which does not exist). Gives @ret_errors to the caller. */
static struct config *load(const char *text, int port, const char **assignments, char **ret_errors)
{
	struct config_source source = {.path = "F", .port = port, .assignments = assignments};
	struct config *config = NULL;
	size_t n;
	FILE *out = open_memstream(ret_errors, &n);
	int r;

	while (assignments[source.n_assignments])
		source.n_assignments++;
	files_write_text("F", text);
	assert_non_null(out);
	r = config_load(&source, out, &config);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(r, config ? 0 : -EINVAL);
	return config;
}

/* The assignments of a test, as an array that ends with NULL. */
#define SET(...) ((const char *[]){__VA_ARGS__, NULL})

static struct config *loads(const char *text, const char **assignments)
{
	char *errors;
	struct config *config = load(text, -1, assignments, &errors);

	assert_string_equal(errors, "");
	free(errors);
	return config;
}

static void expect_errors(const char *text, const char **assignments, const char *expected)
{
	char *errors;

	assert_null(load(text, -1, assignments, &errors));
	assert_string_equal(errors, expected);
	free(errors);
}

static int no_file(void *data, const char *path, char **ret_bytes, size_t *ret_n)
{
	return -ENOENT;
}

static void test_no_file(void **state)
{
	struct config_source source = {
		.port = -1, .assignments = SET("limits.max_memory=64MiB"), .n_assignments = 1};
	struct config *config;

	assert_int_equal(config_load_with(&source, no_file, NULL, stderr, &config), 0);
	assert_null(config->path);
	assert_int_equal(config->max_memory_bytes, 64 << 20);
	assert_int_equal(config->listeners[0].port, 10080);
	config_unref(config);
}

/* Each value has the same effect as its form in a file. */
static void test_values(void **state)
{
	static const struct {
		const char *assignment;
		const char *text;
	} values[] = {
		{"port=7", "port = 7;"},
		{"port=0x1F", "port = 0x1F;"},
		{"limits.idle_timeout=1.5", "limits = { idle_timeout = 1.5; };"},
		{"limits.idle_timeout=1.5min", "limits = { idle_timeout = \"1.5min\"; };"},
		{"limits.idle_timeout=\"1h\"", "limits = { idle_timeout = \"1h\"; };"},
		{"limits.max_memory=1000000000L", "limits = { max_memory = 1000000000L; };"},
		{"nak=FALSE", "nak = false;"},
		{"reply=echo", "reply = \"echo\";"},
		{"mode=0600", "mode = \"0600\";"},
		{"greeting=", "greeting = \"\";"},
		{"greeting=true", "greeting = \"true\";"},
		{"greeting=12", "greeting = \"12\";"},
		{"greeting= a = b ", "greeting = \" a = b \";"},
		{"greeting=\"", "greeting = \"\\\"\";"},
		{"greeting=\\n\n", "greeting = \"\\\\n\\n\";"},
		{"greeting=\"\\n\"", "greeting = \"\\n\";"},
		{"greeting=\"a\"\n\"b\"", "greeting = \"ab\";"},
		{"greeting=\xc3\xa4\xe2\x80\xa8", "greeting = \"\xc3\xa4\xe2\x80\xa8\";"},
		{"allow=", "allow = [];"},
		{"allow=10.0.0.0/8", "allow = [\"10.0.0.0/8\"];"},
		{"allow=\"::1\"", "allow = [\"::1\"];"},
		{"allow=[\"::1\", \"10.0.0.1\"]", "allow = [\"::1\", \"10.0.0.1\"];"},
		{"listeners.ackd.allow=::1", "allow = [\"::1\"];"},
		{"frame.start=<", "frame = { end = \";\"; start = \"<\"; };"},
		{"frame.start=[0, 0x0d]", "frame = { end = \";\"; start = [0, 0x0d]; };"},
		{"listeners=({name=\"a\"; port=1;},\n{name=\"b\"; port=2;})",
		 "listeners = ({name = \"a\"; port = 1; }, {name = \"b\"; port = 2; });"},
	};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		bool framed = strncmp(values[i].assignment, "frame.", 6) == 0;
		bool unix_socket = strncmp(values[i].assignment, "mode", 4) == 0;
		char *found, *expected, text[300];
		struct config *config;

		snprintf(text, sizeof(text), "%s%s%s", framed ? "framing = \"delimited\"; " : "",
			 unix_socket ? "path = \"/s\"; " : "", values[i].text);
		config = files_load_text(text);
		expected = files_dump(config);
		config_unref(config);
		config =
			loads(unix_socket ? "path = \"/s\";" : "",
			      framed ? SET("framing=delimited", "frame.end=;", values[i].assignment)
				     : SET(values[i].assignment));
		found = files_dump(config);
		config_unref(config);
		assert_string_equal(found, expected);
		free(found);
		free(expected);
	}
}

/* The file, then -p, then all listeners, then one listener, whatever their order. */
static void test_precedence(void **state)
{
	struct config *config = loads(
		LISTED, SET("listeners.web.port=4", "listeners.web.tls.port=5", "port=9",
			    "listeners.web.reply=text", "reply=ack", "workers=3", "workers=2",
			    "listeners.web.reply_text=x", "limits.max_line=2000", "allow=::1"));
	const struct config_listener *web = &config->listeners[0], *tls = &config->listeners[1];
	char *errors;

	assert_int_equal(config->n_listeners, 2);
	assert_int_equal(web->port, 4);
	assert_int_equal(tls->port, 5);
	assert_int_equal(web->policy.reply, REPLY_TEXT);
	assert_int_equal(tls->policy.reply, REPLY_ACK);
	assert_string_equal(web->reply_text, "x");
	assert_int_equal(web->allow.n, 1);
	assert_int_equal(tls->allow.n, 1);
	assert_int_equal(config->workers, 2);
	assert_int_equal(config->max_message_bytes, 2000);
	config_unref(config);

	config = load("port = 1;", 2, SET("port=3"), &errors);
	assert_int_equal(config->listeners[0].port, 3);
	config_unref(config);
	free(errors);
}

static void test_socket(void **state)
{
	struct config *config = loads("path = \"/a\";", SET("port=7"));

	assert_null(config->listeners[0].path);
	config_unref(config);
	config = loads("address = \"*\"; port = 7;", SET("path=/b"));
	assert_string_equal(config->listeners[0].path, "/b");
	assert_null(config->listeners[0].address);
	config_unref(config);
	config = loads(LISTED, SET("listeners.web.path=/b"));
	assert_string_equal(config->listeners[0].path, "/b");
	assert_int_equal(config->listeners[1].port, 8);
	config_unref(config);
	/* set for all listeners, it is for those without a path */
	config = loads("listeners = ( { name = \"a\"; path = \"/a\"; }, { name = \"b\"; } );",
		       SET("keepalive=0", "freebind=true"));
	assert_false(config->listeners[0].freebind);
	assert_true(config->listeners[1].freebind);
	assert_int_equal(config->listeners[1].keepalive_s, 0);
	config_unref(config);
	expect_errors("path = \"/a\";", SET("keepalive=0", "freebind=true"),
		      "--set keepalive: cannot be combined with path\n"
		      "--set freebind: cannot be combined with path\n");
	expect_errors("listeners = ( { name = \"a\"; path = \"/a\"; } );",
		      SET("listeners.a.keepalive=0"),
		      "--set listeners.a.keepalive: cannot be combined with path\n");
}

/* The list as a whole; its listeners can then be set. */
static void test_list(void **state)
{
	struct config *config =
		loads(LISTED, SET("listeners=({name=\"x\";})", "listeners.b.reply=ack",
				  "listeners=(\n{name=\"a\"; port=1;},\n{name=\"b\"; port=2;}\n)"));

	assert_int_equal(config->n_listeners, 2);
	assert_string_equal(config->listeners[1].name, "b");
	assert_int_equal(config->listeners[0].policy.reply, REPLY_ECHO);
	assert_int_equal(config->listeners[1].policy.reply, REPLY_ACK);
	config_unref(config);
	/* an error in the list of the file has no effect */
	config = loads("listeners = ( 3 );", SET("listeners=({name=\"x\";})"));
	config_unref(config);
}

static void test_names(void **state)
{
	expect_errors(
		LISTED,
		SET("limit.max_memory=1", "limits=2", "frame=x", "nothing.at.all=1", "a b=1",
		    "\xff=1", "listeners.web.prt=1", "listeners.web.workers=1",
		    "listeners.wib.port=1", "listeners.other.port=1", "listeners.web=1",
		    "listeners.=1", "prot=1", "lisseners=1", "name.x=1"),
		"--set limit.max_memory: no such setting; did you mean limits.max_memory?\n"
		"--set limits: found the name of a group; allowed: that of a setting in it, with a "
		"dot between\n"
		"--set frame: found the name of a group; allowed: that of a setting in it, with a "
		"dot between\n"
		"--set nothing.at.all: no such setting; ackd.conf(5) lists all settings\n"
		"--set a b: no such setting; ackd.conf(5) lists all settings\n"
		"--set \\xff: no such setting; ackd.conf(5) lists all settings\n"
		"--set listeners.web.prt: no such setting; did you mean port?\n"
		"--set listeners.web.workers: no such setting; did you mean workers at top level?\n"
		"--set listeners.wib.port: no such listener; did you mean listeners.web?\n"
		"--set listeners.other.port: no such listener; allowed: listeners.NAME.SETTING "
		"with the name of a listener, such as listeners.web.port\n"
		"--set listeners.web: found no setting; allowed: listeners.NAME.SETTING with the "
		"name of a listener, such as listeners.web.port\n"
		"--set listeners.: no such listener; allowed: listeners.NAME.SETTING with the name "
		"of a listener, such as listeners.web.port\n"
		"--set prot: no such setting; did you mean port?\n"
		"--set lisseners: no such setting; did you mean listeners?\n"
		"--set name.x: no such setting; ackd.conf(5) lists all settings\n");
}

static void test_values_with_errors(void **state)
{
	expect_errors(LISTED,
		      SET("limits.max_message=x", "workers=010",
			  "limits.max_connections=5000000000", "listeners.web.port=70000",
			  "backlog=1; port=2", "nak=maybe",
			  "listeners.web.tls.allow=1.0.0.0/8,2.0.0.0/8", "deny=[1.2.3.4]",
			  "proxies=[\"::1\"]; x = [1]", "frame.end=\"\\q\"", "greeting=\"a\\\"",
			  "ack_prefix=\xff", "ack_suffix=\"\xff\"", "framing=\n", "quit=\"a\nb"),
		      "--set limits.max_message: found the string \"x\"; allowed: a size from 1B "
		      "to 16MiB: a number of bytes, or a string such as \"64KiB\", \"1MiB\"\n"
		      "--set workers: found 010; allowed: an integer without leading zeros, or a "
		      "string in quotes\n"
		      "--set limits.max_connections: found 5000000000; allowed: an integer of at "
		      "most 32 bits, or of 64 bits with the suffix L\n"
		      "--set listeners.web.port: found 70000; allowed: an integer from 0 to 65535\n"
		      "--set backlog: found the string \"1; port=2\"; allowed: an integer from 1 "
		      "to 65535\n"
		      "--set nak: found the string \"maybe\"; allowed: true or false\n"
		      "--set listeners.web.tls.allow: found the string \"1.0.0.0/8,2.0.0.0/8\", "
		      "whose prefix is not from 0 to 32 (IPv4), 0 to 128 (IPv6); allowed: an array "
		      "of strings such as \"192.0.2.0/24\", \"2001:db8::/32\"\n"
		      "--set deny: syntax error: found the word 1.2.3.4; allowed: true, false, a "
		      "number, or a string in quotes\n"
		      "--set proxies: found several values; allowed: one\n"
		      "--set frame.end: found the escape \\q in a string; allowed: \\\\ \\\" \\n "
		      "\\r \\t \\f and \\xHH\n"
		      "--set greeting: syntax error: found a string without closing quote\n"
		      "--set ack_prefix: found the string \"\\xff\", whose byte 1 (0xFF) is not "
		      "UTF-8; allowed: UTF-8\n"
		      "--set ack_suffix: found the byte 0xFF; allowed: UTF-8 without NUL\n"
		      "--set framing: found the string \"\\n\"; allowed: \"stream\", \"line\", "
		      "\"delimited\", \"length\" or \"fixed\"\n");
}

static void test_lists_with_errors(void **state)
{
	expect_errors(
		"",
		SET("listeners=(\n{name=\"a\"; port=70000;},\n{name=\"b\"; prt=2;},\n3)",
		    "workers=x"),
		"--set listeners: listeners[0].port: found 70000; allowed: an integer from 0 to "
		"65535\n"
		"--set listeners: listeners[1].prt: no such setting; did you mean port?\n"
		"--set listeners: listeners[2]: found 3; allowed: a group { ... }\n"
		"--set workers: found the string \"x\"; allowed: an integer from 0 to 1024\n");
	expect_errors("", SET("listeners=(\n@include \"x\"\n)"),
		      "--set listeners: @include is for files only\n");
	expect_errors("", SET("listeners="),
		      "--set listeners: syntax error; allowed: a value as in a file\n");
	expect_errors("", SET("listeners=()"),
		      "--set listeners: found an empty list; allowed: at least one listener\n");
	expect_errors("", SET("listeners=5"),
		      "--set listeners: found 5; allowed: a list of groups ( { ... }, ... )\n");
	expect_errors("", SET("listeners=({name=\"a\";}); workers = 1"),
		      "--set listeners: found several values; allowed: one\n");
}

/* Messages that name two places. */
static void test_conflicts(void **state)
{
	expect_errors(
		LISTED, SET("port=7"),
		"--set port: found port 7 on \"localhost\", which overlaps with \"localhost\" of "
		"listener 0 (--set port); allowed: an address and port of its own\n");
	expect_errors(LISTED, SET("listeners.web.port=8"),
		      "F:3: listeners[1].port: found port 8 on \"localhost\", which overlaps with "
		      "\"localhost\" of listener 0 (--set listeners.web.port); allowed: an address "
		      "and port of its own\n");
	expect_errors("", SET("path=/x", "port=7"),
		      "--set path: cannot be combined with port; allowed: a path, or an address "
		      "and a port\n");
	expect_errors("", SET("mode=0600"), "--set mode: cannot be set without path\n");
	expect_errors(
		"", SET("framing=fixed"),
		"--set framing: found \"fixed\" without frame.size; allowed: with frame.size\n");
	expect_errors("", SET("limits.max_line=5", "limits.max_message=6"),
		      "--set limits.max_line: cannot be combined with limits.max_message, of which "
		      "it is the older name\n");
	expect_errors("encoding = { errors = \"replace\"; };\n",
		      SET("encoding.charset=binary", "encoding.errors=strict"),
		      "--set encoding.errors: cannot be combined with encoding.charset = "
		      "\"binary\" (--set encoding.charset)\n");
	expect_errors("reply = \"echo\";\nframe = { end = \";\"; };\n", SET("framing=line"),
		      "F:2: frame.end: cannot be combined with framing = \"line\"; allowed: with "
		      "framing = \"delimited\"\n");
	expect_errors("\n\nport = 70000;\n", SET("port=x"),
		      "F:3: port: found 70000; allowed: an integer from 0 to 65535\n"
		      "--set port: found the string \"x\"; allowed: an integer from 0 to 65535\n");
}

/* Until the file has been read. An error in one setting of the log leaves the others in force. */
static void test_log(void **state)
{
	const char **assignments = SET("log.level=loud", "port=x", "log.format=json", "log.x=1",
				       "log.level=debug", "log.target=1", "log.format=");
	struct config_source source = {.path = "F", .port = -1, .assignments = assignments};
	struct log_settings log;

	files_write_text("F", "log = { format = \"text\"; timestamps = true; };");
	assert_int_equal(config_load_log(&source, &log), 0);
	assert_int_equal(log.format, LOG_FORMAT_TEXT);
	assert_int_equal(log.level, LOG_LEVEL_INFO);
	while (assignments[source.n_assignments])
		source.n_assignments++;
	assert_int_equal(config_load_log(&source, &log), 0);
	assert_int_equal(log.format, LOG_FORMAT_JSON);
	assert_int_equal(log.level, LOG_LEVEL_DEBUG);
	assert_int_equal(log.target, LOG_TARGET_AUTO);
	assert_false(log.timestamps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_socket),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_values_with_errors),
		cmocka_unit_test(test_lists_with_errors),
		cmocka_unit_test(test_conflicts),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests_name("config_assignment", tests, files_setup, files_teardown);
}
