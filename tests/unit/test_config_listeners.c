/* config: defaults, units, several listeners, contradictions, and the dump. */

#include "config_files.h"

#include "ackd/config/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void expect_errors(const char *text, const char *errors)
{
	files_write_text("F", text);
	files_expect_errors("F", -1, errors);
}

static void test_defaults(void **state)
{
	struct config *config = files_load_text("");
	const struct config_listener *l = &config->listeners[0];

	assert_int_equal(config->n_listeners, 1);
	assert_string_equal(l->name, "ackd");
	assert_string_equal(l->address, "localhost");
	assert_int_equal(l->port, 10080);
	assert_null(l->path);
	assert_int_equal(l->backlog, 4096);
	assert_int_equal(l->policy.reply, REPLY_ACK);
	assert_int_equal(l->policy.framing, FRAMING_STREAM);
	assert_true(l->policy.nak);
	assert_true(template_is_empty(l->policy.greeting));
	assert_false(template_is_empty(l->policy.ack_prefix));
	assert_string_equal(l->ack_prefix, "Got ");
	assert_int_equal(l->policy.max_message_bytes, 65536);
	assert_ptr_equal(l->policy.listener, l->name);
	assert_ptr_equal(l->policy.host, config->host);
	assert_true(strlen(config->host) > 0);
	assert_int_equal(l->allow.n + l->deny.n + l->proxies.n, 0);
	assert_int_equal(config->workers, 0);
	assert_true(config->keep_connections);
	assert_int_equal(config->max_connections, 10000);
	assert_int_equal(config->max_connections_per_address, 0);
	assert_int_equal(config->max_memory_bytes, 256 << 20);
	assert_int_equal(config->idle_timeout_ms, 300000);
	assert_int_equal(config->drain_timeout_ms, 10000);
	assert_int_equal(config->log.level, LOG_LEVEL_INFO);
	assert_int_equal(config->log.target, LOG_TARGET_AUTO);
	assert_null(config->metrics.address);
	config_unref(config);
}

static void test_units(void **state)
{
	static const struct {
		const char *written;
		uint64_t ms;
		const char *dumped;
	} durations[] = {
		{"0", 0, "0"},
		{"30", 30000, "\"30s\""},
		{"1.5", 1500, "\"1500ms\""},
		{".001", 1, "\"1ms\""},
		{"0.3", 300, "\"300ms\""},
		{"3e2", 300000, "\"5min\""},
		{"\"500ms\"", 500, "\"500ms\""},
		{"\"2500000us\"", 2500, "\"2500ms\""},
		{"\"1.5min\"", 90000, "\"90s\""},
		{"\"1h\"", 3600000, "\"1h\""},
		{"\"24d\"", 2073600000, "\"24d\""},
	};
	static const struct {
		const char *written;
		uint64_t bytes;
		const char *dumped;
	} sizes[] = {
		{"1", 1, "\"1B\""},
		{"1025", 1025, "\"1025B\""},
		{"65536", 65536, "\"64KiB\""},
		{"\"3B\"", 3, "\"3B\""},
		{"\"16MiB\"", 16 << 20, "\"16MiB\""},
	};
	char text[128], expected[128], *dump;
	struct config *config;

	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++) {
		snprintf(text, sizeof(text), "limits = { idle_timeout = %s; }",
			 durations[i].written);
		config = files_load_text(text);
		assert_int_equal(config->idle_timeout_ms, durations[i].ms);
		dump = files_dump(config);
		snprintf(expected, sizeof(expected), "\tidle_timeout = %s;\n", durations[i].dumped);
		assert_non_null(strstr(dump, expected));
		free(dump);
		config_unref(config);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		snprintf(text, sizeof(text), "limits = { %s = %s; }",
			 i % 2 == 0 ? "max_message" : "max_line", sizes[i].written);
		config = files_load_text(text);
		assert_int_equal(config->max_message_bytes, sizes[i].bytes);
		assert_int_equal(config->listeners[0].policy.max_message_bytes, sizes[i].bytes);
		dump = files_dump(config);
		snprintf(expected, sizeof(expected), "\tmax_message = %s;\n", sizes[i].dumped);
		assert_non_null(strstr(dump, expected));
		free(dump);
		config_unref(config);
	}
}

static void test_frames(void **state)
{
	static const struct {
		const char *written;
		size_t length;
		const char *bytes;
		const char *dumped;
	} ends[] = {
		{"\"END\"", 3, "END", "\t\t\tend = \"END\";\n"},
		{"\"\\x1c\\r\"", 2, "\x1c\r", "\t\t\tend = [0x1c, 0x0d];\n"},
		{"[0, 255]", 2, "\0\xff", "\t\t\tend = [0x00, 0xff];\n"},
		{"\"\\xff\"", 1, "\xff", "\t\t\tend = [0xff];\n"},
		{"(0x61, 98)", 2, "ab", "\t\t\tend = \"ab\";\n"},
		{"\"12345678\"", 8, "12345678", "\t\t\tend = \"12345678\";\n"},
		{"[1, 2, 3, 4, 5, 6, 7, 8]", 8, "\1\2\3\4\5\6\7\x8",
		 "\t\t\tend = [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08];\n"},
	};
	struct config *config, *again;
	char text[256], *dump;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		const struct mark *end;

		snprintf(text, sizeof(text),
			 "frame = { start = \"<\"; end = \"x\"; }; listeners = ( { name = \"a\"; "
			 "framing = \"delimited\"; frame = { end = %s; }; } );",
			 ends[i].written);
		config = files_load_text(text);
		end = &config->listeners[0].policy.frame.end;
		assert_int_equal(end->length, ends[i].length);
		assert_memory_equal(end->bytes, ends[i].bytes, ends[i].length);
		assert_int_equal(config->listeners[0].policy.frame.start.length, 1);
		dump = files_dump(config);
		assert_non_null(strstr(dump, ends[i].dumped));
		assert_non_null(strstr(dump, "\t\t\tstart = \"<\";\n"));
		assert_null(strstr(dump, "length_order"));
		again = files_load_text(dump);
		assert_memory_equal(&again->listeners[0].policy.frame,
				    &config->listeners[0].policy.frame, sizeof(struct frame));
		free(dump);
		config_unref(config);
		config_unref(again);
	}
	config = files_load_text("framing = \"length\"; frame = { length_bytes = 4; length_order = "
				 "\"little\"; length_includes_header = true; };");
	assert_int_equal(config->listeners[0].policy.frame.length_bytes, 4);
	assert_int_equal(config->listeners[0].policy.frame.length_order, LENGTH_LITTLE_ENDIAN);
	assert_true(config->listeners[0].policy.frame.length_includes_header);
	config_unref(config);
	config = files_load_text("framing = \"fixed\"; frame = { size = \"16MiB\"; }; "
				 "limits = { max_message = \"16MiB\"; };");
	assert_int_equal(config->listeners[0].policy.frame.size, 16 << 20);
	config_unref(config);
}

static const char several[] =
	"greeting = \"\\x01 \\\"q\\\" \\\\ \\n\\r\\t\\f \xd0\x96 $$ ${host}\\x7f\";\n"
	"port = 7007; mode = \"600\"; allow = [\"10.0.0.0/8\", \"::/0\", \"192.0.2.1\"];\n"
	"encoding = { errors = \"replace\"; };\n"
	"listeners = (\n"
	"	{ name = \"a\"; encoding = { reply_errors = \"ignore\"; }; },\n"
	"	{ name = \"b.B-_9\"; path = \"/run/\xd0\x96\"; allow = ( ); },\n"
	"	{ name = \"c\"; address = \"::1\"; port = 7008; reply = \"discard\"; nak = false; "
	"}\n"
	");\n"
	"limits = { idle_timeout = 0.25; max_memory = 2147483649L; };\n"
	"log = { level = \"debug\"; };";

static void test_listeners(void **state)
{
	struct config *config = files_load_text(several);
	const struct config_listener *l = config->listeners;

	assert_int_equal(config->n_listeners, 3);
	assert_string_equal(l[0].address, "localhost");
	assert_int_equal(l[0].port, 7007);
	assert_int_equal(l[0].allow.n, 3);
	assert_int_equal(l[0].policy.transcoder.decode_errors, DECODE_REPLACE);
	assert_int_equal(l[0].policy.transcoder.encode_errors, ENCODE_IGNORE);
	assert_string_equal(l[1].name, "b.B-_9");
	assert_null(l[1].address);
	assert_string_equal(l[1].path, "/run/\xd0\x96");
	assert_int_equal(l[1].mode, 0600);
	assert_int_equal(l[1].allow.n, 0);
	assert_int_equal(l[1].policy.transcoder.decode_errors, DECODE_REPLACE);
	assert_int_equal(l[1].policy.transcoder.encode_errors, ENCODE_STRICT);
	assert_string_equal(l[2].address, "::1");
	assert_int_equal(l[2].port, 7008);
	assert_int_equal(l[2].policy.reply, REPLY_DISCARD);
	assert_false(l[2].policy.nak);
	assert_string_equal(l[2].greeting, "\x01 \"q\" \\ \n\r\t\f \xd0\x96 $$ ${host}\x7f");
	config_unref(config);
}

/* Loads @text, dumps it, loads the dump, dumps that: both are the same. */
static void expect_round_trip(const char *text)
{
	struct config *first = files_load_text(text), *second;
	char *dump = files_dump(first), *again;

	second = files_load_text(dump);
	again = files_dump(second);
	assert_string_equal(again, dump);
	assert_int_equal(second->n_listeners, first->n_listeners);
	for (size_t i = 0; i < n_settings; i++) {
		if (settings[i].scope == SCOPE_DAEMON)
			assert_true(setting_equal(&settings[i], first, second));
		for (size_t j = 0; settings[i].scope == SCOPE_LISTENER && j < first->n_listeners;
		     j++)
			assert_true(strcmp(settings[i].name, "mode") == 0 ||
				    setting_equal(&settings[i], &first->listeners[j],
						  &second->listeners[j]));
	}
	config_unref(first);
	config_unref(second);
	free(dump);
	free(again);
}

static void test_dump_can_be_loaded_again(void **state)
{
	expect_round_trip("");
	expect_round_trip(several);
	expect_round_trip("path = \"/x\\\\\\\"y\"; mode = \"0007\"; workers = 1024;");
	expect_round_trip("proxies = [\"unix\", \"10.0.0.0/8\"]; deny = [\"::1\"];");
	expect_round_trip("listeners = ({ name = \"one\"; deny = [\"::ffff:1.2.3.4\", "
			  "\"2001:db8::/32\"]; });");
}

static void test_path_or_address(void **state)
{
	static const char both[] = "cannot be combined with ";
	char errors[256];
	struct config *config;

	snprintf(errors, sizeof(errors),
		 "F:2: path: %saddress; allowed: a path, or an address and a "
		 "port\n",
		 both);
	expect_errors("address = \"::1\";\npath = \"/x\";", errors);
	snprintf(errors, sizeof(errors),
		 "F:1: listeners[0].path: %sport; allowed: a path, or an "
		 "address and a port\n",
		 both);
	expect_errors("listeners = ({ name = \"a\"; port = 1; path = \"/x\"; });", errors);
	snprintf(errors, sizeof(errors),
		 "F:1: path: %s-p; allowed: a path, or an address and a "
		 "port\n",
		 both);
	files_write_text("F", "path = \"/x\";");
	files_expect_errors("F", 80, errors);
	expect_errors("mode = \"0600\";", "F:1: mode: cannot be set without path\n");
	expect_errors("listeners = ({ name = \"a\"; mode = \"0600\"; });",
		      "F:1: listeners[0].mode: cannot be set without path\n");
	expect_errors("path = \"/x\"; keepalive = 0;",
		      "F:1: keepalive: cannot be combined with path\n");
	config = files_load_text("keepalive = \"9h\";\n"
				 "listeners = ( { name = \"a\"; path = \"/x\"; }, "
				 "{ name = \"b\"; } );");
	assert_int_equal(config->listeners[1].keepalive_s, 32400);
	config_unref(config);
	expect_errors("path = \"/x\"; freebind = true;",
		      "F:1: freebind: cannot be combined with path\n");

	/* a setting of a listener overrides the one for all listeners */
	config = files_load_text("path = \"/x\"; listeners = ({ name = \"a\"; port = 1; },"
				 "{ name = \"b\"; });");
	assert_null(config->listeners[0].path);
	assert_string_equal(config->listeners[0].address, "localhost");
	assert_string_equal(config->listeners[1].path, "/x");
	assert_null(config->listeners[1].address);
	config_unref(config);
	config = files_load_text("port = 1; freebind = true; listeners = ({ name = \"a\"; "
				 "path = \"/x\"; });");
	assert_string_equal(config->listeners[0].path, "/x");
	assert_false(config->listeners[0].freebind);
	config_unref(config);
}

static void test_listeners_need_names(void **state)
{
	expect_errors("listeners = (\n{ port = 1; } );",
		      "F:2: listeners[0].name: found no name; allowed: a name for each "
		      "listener\n");
	expect_errors("name = \"x\";\nlisteners = ( { port = 1; } );",
		      "F:1: name: cannot be combined with listeners; allowed: in the group of "
		      "each listener\n");
}

static void test_same_address(void **state)
{
#define PAIR(a, b) "listeners = ( { name = \"a\"; " a " },\n{ name = \"b\"; " b " } );"
#define TOLD(port, b, a, line)                                                                     \
	port " on \"" b "\", which overlaps with \"" a "\" of listener 0 (" line "); "             \
	     "allowed: an address and port of its own\n"
	struct config *config;

	expect_errors(PAIR("", ""), "F:2: listeners[1].port: found port " TOLD("10080", "localhost",
									       "localhost", "F:1"));
	expect_errors(
		PAIR("port = 5;", "port = 5; address = \"LOCALHOST\";"),
		"F:2: listeners[1].port: found port " TOLD("5", "LOCALHOST", "localhost", "F:1"));
	expect_errors(PAIR("address = \"*\";", "address = \"192.0.2.1\";"),
		      "F:2: listeners[1].port: found port " TOLD("10080", "192.0.2.1", "*", "F:1"));
	expect_errors(PAIR("address = \"::1\";", "address = \"0:0::1\";"),
		      "F:2: listeners[1].port: found port " TOLD("10080", "0:0::1", "::1", "F:1"));
	expect_errors(
		PAIR("address = \"0.0.0.0\";", "address = \"127.0.0.1\";"),
		"F:2: listeners[1].port: found port " TOLD("10080", "127.0.0.1", "0.0.0.0", "F:1"));
	expect_errors(PAIR("address = \"127.0.0.1\";", ""),
		      "F:2: listeners[1].port: found port " TOLD("10080", "localhost", "127.0.0.1",
								 "F:1"));
	expect_errors(
		PAIR("address = \"Localhost\";", "address = \"::1\";"),
		"F:2: listeners[1].port: found port " TOLD("10080", "::1", "Localhost", "F:1"));
	expect_errors(PAIR("address = \"127.0.0.1\";", "address = \"::ffff:127.0.0.1\";"),
		      "F:2: listeners[1].port: found port " TOLD("10080", "::ffff:127.0.0.1",
								 "127.0.0.1", "F:1"));
	expect_errors(PAIR("address = \"::ffff:0.0.0.0\";", "address = \"192.0.2.1\";"),
		      "F:2: listeners[1].port: found port " TOLD("10080", "192.0.2.1",
								 "::ffff:0.0.0.0", "F:1"));
	expect_errors(PAIR("path = \"/x\";", "path = \"/x\";"),
		      "F:2: listeners[1].path: found the path of listener 0 (F:1); allowed: a "
		      "path of its own\n");
	config = files_load_text(PAIR("port = 0;", "port = 0;"));
	config_unref(config);
	config = files_load_text(PAIR("address = \"0.0.0.0\";", "address = \"::\";"));
	config_unref(config);
	config = files_load_text(PAIR("address = \"::ffff:127.0.0.1\";", "address = \"::\";"));
	config_unref(config);
	config = files_load_text(PAIR("address = \"127.0.0.2\";", ""));
	config_unref(config);
	config = files_load_text(PAIR("address = \"127.0.0.1\";", "address = \"127.0.0.2\";"));
	config_unref(config);
#undef PAIR
#undef TOLD
}

static void test_invalid_lists_of_listeners_are_rejected(void **state)
{
	expect_errors("listeners = ();",
		      "F:1: listeners: found an empty list; allowed: at least one listener\n");
	expect_errors("listeners = { name = \"a\"; };",
		      "F:1: listeners: found a group { ... }; allowed: a list of groups ( { ... }, "
		      "... )\n");
	expect_errors("listeners = ( 5,\n\"x\" );",
		      "F:1: listeners[0]: found 5; allowed: a group { ... }\n"
		      "F:2: listeners[1]: found the string \"x\"; allowed: a group { ... }\n");
}

static void test_templates(void **state)
{
	char text[2100], errors[256];

	expect_errors("greeting = \"${message}\";",
		      "F:1: greeting: found ${message}, which has no value before the first "
		      "message; allowed: ${peer}, ${host}, ${listener}, ${connection}, "
		      "${proxy_id}, ${authority}, ${local}, ${tls_subject}\n");
	expect_errors("ack_prefix = \"${Peer}\";",
		      "F:1: ack_prefix: found the unknown variable ${Peer}; allowed: ${peer}, "
		      "${host}, ${listener}, ${connection}, ${proxy_id}, ${authority}, ${local}, "
		      "${tls_subject}, ${message}, ${bytes}, ${characters}, ${field:S:N}\n");
	expect_errors(
		"ack_prefix = \"${a\nb\x1b[31m}\";",
		"F:1: ack_prefix: found the unknown variable ${a\\nb\\x1b[31m}; allowed: "
		"${peer}, ${host}, ${listener}, ${connection}, ${proxy_id}, ${authority}, "
		"${local}, ${tls_subject}, ${message}, ${bytes}, ${characters}, ${field:S:N}\n");
	expect_errors(
		"ack_prefix = \"${offset}\";",
		"F:1: ack_prefix: found ${offset}, which has no value outside of a NAK; "
		"allowed: ${peer}, ${host}, ${listener}, ${connection}, ${proxy_id}, "
		"${authority}, ${local}, ${tls_subject}, ${message}, ${bytes}, ${characters}, "
		"${field:S:N}\n");
	expect_errors("ack_prefix = \"${field:ab:1}\";",
		      "F:1: ack_prefix: found ${field:ab:1}; allowed: ${field:S:N}, where S is "
		      "one character and N a number from 1 to 65535\n");
	expect_errors("ack_suffix = \"5 $\";",
		      "F:1: ack_suffix: found a $ that begins no variable, at byte 3; allowed: "
		      "${name}, or $$ for a dollar sign\n");
	expect_errors(
		"encoding = { reply_charset = \"iso-8859-1\"; };\ngreeting = \"\xe2\x82\xac\";",
		"F:2: greeting: found U+20AC, which encoding.reply_charset cannot encode; allowed: "
		"the characters of that charset\n");
	expect_errors(
		"listeners = ( { name = \"a\"; encoding = { reply_charset = \"ascii\"; };\n"
		"greeting = \"\xc3\xa9\"; } );",
		"F:2: listeners[0].greeting: found U+00E9, which encoding.reply_charset cannot "
		"encode; allowed: the characters of that charset\n");
	expect_errors("encoding = { charset = \"ascii\"; };\ngreeting = \"\xc3\xa9\";",
		      "F:2: greeting: found U+00E9, which encoding.charset cannot encode; "
		      "allowed: the characters of that charset\n");
	config_unref(files_load_text("encoding = { reply_charset = \"windows-1252\"; };"
				     "greeting = \"\xe2\x82\xac\";"));
	for (int n = TEMPLATE_EXPANDED_MAX; n <= TEMPLATE_EXPANDED_MAX + 1; n++) {
		snprintf(text, sizeof(text), "greeting = \"%0*d\";", n, 0);
		if (n == TEMPLATE_EXPANDED_MAX) {
			config_unref(files_load_text(text));
			continue;
		}
		snprintf(
			errors, sizeof(errors),
			"F:1: greeting: found a text that can expand to %d bytes; allowed: at most "
			"%d\n",
			n, TEMPLATE_EXPANDED_MAX);
		expect_errors(text, errors);
	}
}

static void test_replies(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{"reply = \"text\";",
		 "F:1: reply: found \"text\" without reply_text; allowed: with reply_text\n"},
		{"reply_text = \"x\";",
		 "F:1: reply_text: cannot be combined with reply = \"ack\"; allowed: with reply = "
		 "\"text\"\n"},
		{"reply = \"close\"; quit = \"x\";",
		 "F:1: quit: cannot be combined with reply = \"close\"\n"},
		{"reply = \"close\"; log_messages = true;",
		 "F:1: log_messages: cannot be combined with reply = \"close\"\n"},
		{"nak = false; nak_text = \"x\";",
		 "F:1: nak_text: cannot be combined with nak = false\n"},
		{"nak_text = \"${bytes}\";",
		 "F:1: nak_text: found ${bytes}, which has no value in a NAK; allowed: ${peer}, "
		 "${host}, ${listener}, ${connection}, ${proxy_id}, ${authority}, ${local}, "
		 "${tls_subject}, ${message}, ${offset}, ${reason}\n"},
		{"framing = \"length\"; frame = { length_bytes = 1; }; "
		 "nak_text = \"${local}${peer}\";",
		 "F:1: nak_text: found a text that can expand to 256 bytes; allowed: at most 255, "
		 "which a header of 1 byte can state\n"},
		{"quit = \"\";",
		 "F:1: quit: found a text that no message can be equal to: a message in stream "
		 "framing is not empty\n"},
		{"framing = \"line\"; quit = \"a\\nb\";",
		 "F:1: quit: found a text that no message can be equal to: a line does not contain "
		 "its end\n"},
		{"framing = \"line\"; quit = \"abc\"; limits = { max_message = 2; };",
		 "F:1: quit: found a text that no message can be equal to: it exceeds "
		 "limits.max_message\n"},
		{"framing = \"delimited\"; frame = { end = \"ab\"; }; quit = \"xabx\";",
		 "F:1: quit: found a text that no message can be equal to: a message does not "
		 "contain frame.end\n"},
		{"framing = \"fixed\"; frame = { size = 3; }; quit = \"exit\";",
		 "F:1: quit: found a text that no message can be equal to: a message has "
		 "frame.size bytes\n"},
		{"encoding = { charset = \"ascii\"; }; quit = \"\xc3\xa9\";",
		 "F:1: quit: found U+00E9, which encoding.charset cannot encode; allowed: the "
		 "characters of that charset\n"},
		{"encoding = { charset = \"ascii\"; }; reply = \"text\"; reply_text = "
		 "\"\xc3\xa9\";",
		 "F:1: reply_text: found U+00E9, which encoding.charset cannot encode; allowed: "
		 "the "
		 "characters of that charset\n"},
	};
	char text[400], quit[QUIT_MAX + 2];
	struct config *config;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_errors(cases[i].text, cases[i].error);
	memset(quit, 'x', sizeof(quit));
	quit[QUIT_MAX + 1] = '\0';
	snprintf(text, sizeof(text), "framing = \"line\"; quit = \"%s\";", quit);
	files_write_text("F", text);
	assert_int_equal(
		config_load(&(struct config_source){.path = "F", .port = -1}, stderr, &config),
		-EINVAL);
	text[strlen(text) - 3] = '"';
	text[strlen(text) - 2] = ';';
	text[strlen(text) - 1] = '\0';
	config_unref(files_load_text(text));
}

/* Settings at top level need not have an effect in every listener. */
static void test_replies_at_top_level(void **state)
{
	struct config *config =
		files_load_text("reply_text = \"+\"; nak_text = \"-\"; quit = \"\xc3\xa9\";\n"
				"encoding = { charset = \"iso-8859-1\"; };\n"
				"listeners = (\n"
				"{ name = \"a\"; reply = \"text\"; },\n"
				"{ name = \"b\"; port = 2; nak = false; log_messages = true; },\n"
				"{ name = \"c\"; port = 3; reply = \"close\"; },\n"
				"{ name = \"d\"; port = 4; framing = \"fixed\"; "
				"frame = { size = 2; }; },\n"
				"{ name = \"e\"; port = 5; quit = \"\"; framing = \"line\"; }\n"
				");\n");
	const struct policy *a = &config->listeners[0].policy, *e = &config->listeners[4].policy;
	char *dump, *again;

	assert_int_equal(a->reply, REPLY_TEXT);
	assert_int_equal(template_length_max(a->reply_text), 1);
	assert_int_equal(template_length_max(a->nak_text), 1);
	assert_int_equal(a->quit_length, 1);
	assert_memory_equal(a->quit, "\xe9", 1);
	assert_false(a->log_messages);
	assert_true(config->listeners[1].policy.log_messages);
	assert_null(config->listeners[1].nak_text);
	assert_null(config->listeners[1].policy.reply_text);
	assert_null(config->listeners[2].policy.quit);
	assert_null(config->listeners[3].policy.quit);
	assert_non_null(e->quit);
	assert_int_equal(e->quit_length, 0);
	assert_int_equal(a->path, PATH_GENERAL);
	/* what a listener has no use for is not printed, so that the output is valid */
	dump = files_dump(config);
	config_unref(config);
	config = files_load_text(dump);
	again = files_dump(config);
	assert_string_equal(dump, again);
	free(dump);
	free(again);
	config_unref(config);
}

static void test_command_line_port_overrides(void **state)
{
	struct config *config;

	files_write_text("F", "port = 5;");
	config = files_load("F", 80);
	assert_int_equal(config->listeners[0].port, 80);
	config_unref(config);
	files_write_text("F", "port = 5; listeners = ({name=\"a\"; }, {name=\"b\"; port = 6;});");
	config = files_load("F", 80);
	assert_int_equal(config->listeners[0].port, 80);
	assert_int_equal(config->listeners[1].port, 6);
	config_unref(config);
}

/* The most that collect() writes. */
#define NAMES_MAX 128

static void collect(void *data, const char *setting)
{
	char *names = data;
	size_t n = strlen(names);

	snprintf(names + n, NAMES_MAX - n, "%s ", setting);
}

static void test_settings_that_need_a_restart(void **state)
{
	struct config *a = files_load_text("workers = 1; port = 1;");
	struct config *b = files_load_text("workers = 2; port = 2; log = { level = \"error\"; };");
	char names[NAMES_MAX] = "";

	config_diff_restart(a, b, collect, names);
	assert_string_equal(names, "workers ");
	names[0] = '\0';
	config_diff_restart(a, a, collect, names);
	assert_string_equal(names, "");
	assert_ptr_equal(config_ref(a), a);
	assert_null(config_unref(a));
	config_unref(a);
	config_unref(b);
	assert_null(config_unref(NULL));
}

static void check_charsets(const struct config *config, size_t i, enum charset from,
			   enum charset to)
{
	assert_int_equal(config->listeners[i].policy.transcoder.from, from);
	assert_int_equal(config->listeners[i].policy.transcoder.to, to);
}

/* A listener replies in the charset of its input, unless it sets or inherits another one. */
static void test_reply_charset(void **state)
{
	struct config *config = files_load_text(
		"encoding = { charset = \"iso-8859-1\"; };\n"
		"listeners = (\n"
		"	{ name = \"a\"; port = 1; },\n"
		"	{ name = \"b\"; port = 2; encoding = { charset = \"utf-8\"; }; },\n"
		"	{ name = \"c\"; port = 3; encoding = { reply_charset = \"ascii\"; }; }\n"
		");");

	check_charsets(config, 0, CHARSET_ISO_8859_1, CHARSET_ISO_8859_1);
	check_charsets(config, 1, CHARSET_UTF_8, CHARSET_UTF_8);
	check_charsets(config, 2, CHARSET_ISO_8859_1, CHARSET_ASCII);
	config_unref(config);
	config = files_load_text("encoding = { reply_charset = \"ascii\"; };\n"
				 "listeners = ( { name = \"a\"; "
				 "encoding = { charset = \"windows-1252\"; }; } );");
	check_charsets(config, 0, CHARSET_WINDOWS_1252, CHARSET_ASCII);
	config_unref(config);
	config = files_load_text("");
	check_charsets(config, 0, CHARSET_UTF_8, CHARSET_UTF_8);
	config_unref(config);
}

/* A binary listener ignores what it inherits; its own settings of text are errors. */
static void test_binary(void **state)
{
	struct config *config = files_load_text(
		"encoding = { errors = \"replace\"; reply_charset = \"ascii\"; };\n"
		"listeners = ( { name = \"a\"; encoding = { charset = \"binary\"; }; } );");
	char *dump = files_dump(config), *again;
	struct config *loaded;

	check_charsets(config, 0, CHARSET_BINARY, CHARSET_BINARY);
	assert_int_equal(config->listeners[0].policy.transcoder.decode_errors, DECODE_STRICT);
	assert_null(strstr(dump, "errors"));
	assert_null(strstr(dump, "reply_charset"));
	loaded = files_load_text(dump);
	again = files_dump(loaded);
	assert_string_equal(again, dump);
	free(dump);
	free(again);
	config_unref(loaded);
	config_unref(config);
	/* templates are sent in UTF-8 */
	config_unref(files_load_text("encoding = { charset = \"binary\"; };"
				     "greeting = \"\xe2\x82\xac\";"));
	expect_errors("encoding = { charset = \"binary\";\nerrors = \"strict\";\n"
		      "reply_charset = \"utf-8\";\nreply_errors = \"ignore\"; };",
		      "F:2: encoding.errors: cannot be combined with encoding.charset = "
		      "\"binary\" (F:1)\n"
		      "F:3: encoding.reply_charset: cannot be combined with encoding.charset = "
		      "\"binary\" (F:1)\n"
		      "F:4: encoding.reply_errors: cannot be combined with encoding.charset = "
		      "\"binary\" (F:1)\n");
	expect_errors("encoding = { charset = \"binary\"; };\nlisteners = (\n"
		      "{ name = \"a\"; port = 1; },\n"
		      "{ name = \"b\"; port = 2; encoding = { errors = \"ignore\"; }; } );",
		      "F:4: listeners[1].encoding.errors: cannot be combined with "
		      "encoding.charset = \"binary\" (F:1)\n");
	/* reported once, not for each listener */
	expect_errors("encoding = { charset = \"binary\"; errors = \"ignore\"; };\n"
		      "listeners = ( { name = \"a\"; port = 1; }, { name = \"b\"; port = 2; } );",
		      "F:1: encoding.errors: cannot be combined with encoding.charset = "
		      "\"binary\" (F:1)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reply_charset),
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_units),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_listeners),
		cmocka_unit_test(test_dump_can_be_loaded_again),
		cmocka_unit_test(test_path_or_address),
		cmocka_unit_test(test_listeners_need_names),
		cmocka_unit_test(test_same_address),
		cmocka_unit_test(test_invalid_lists_of_listeners_are_rejected),
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_replies_at_top_level),
		cmocka_unit_test(test_command_line_port_overrides),
		cmocka_unit_test(test_settings_that_need_a_restart),
	};

	return cmocka_run_group_tests_name("config_listeners", tests, files_setup, files_teardown);
}
