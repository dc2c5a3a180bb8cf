#include "ackc/ping/report.h"

#include "ackc/output/display.h"
#include "ackc/output/failure.h"
#include "ackc/output/output.h"
#include "ackc/output/times.h"
#include "ackc/tls/tls_report.h"
#include "base/plural.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum style { STYLE_TEXT, STYLE_JSON, STYLE_SILENT };

/* Returns how each probe is reported. */
static enum style style_of(const struct ping_report *r)
{
	if (r->options->quiet || r->options->plugin)
		return STYLE_SILENT;
	return r->options->json ? STYLE_JSON : STYLE_TEXT;
}

/* Starts a JSON object on standard output. */
static void begin_event(struct json *j, const char *event)
{
	char now[TIME_TEXT_MAX];

	time_text(now);
	json_begin(j, stdout);
	json_string(j, "event", event);
	json_string(j, "time", now);
}

/* Starts a line of text. */
static void begin_line(const struct ping_report *r, FILE *out)
{
	char now[TIME_TEXT_MAX];

	if (!r->options->wall_clock)
		return;
	time_text(now);
	fprintf(out, "%s ", now);
}

void ping_report_begin(const struct ping_report *r, const struct sockaddr_storage *first)
{
	char address[PEER_TEXT_MAX];

	if (r->options->plugin || r->options->json)
		return;
	peer_text(first, address);
	printf("PING %s (%s) %zu bytes of data.\n", r->options->target.label, address,
	       r->options->size);
	output_flush();
}

void ping_report_greeting(const struct ping_report *r, const uint8_t *p, size_t n)
{
	struct display display = {0};
	struct json j;

	if (style_of(r) == STYLE_JSON) {
		begin_event(&j, "greeting");
		json_bytes(&j, p, n);
		json_end(&j);
	} else if (style_of(r) == STYLE_TEXT) {
		begin_line(r, stdout);
		fputs("greeting: ", stdout);
		display_write(&display, p, n, stdout);
		display_end(&display, stdout);
		if (p[n - 1] != '\n')
			putchar('\n');
	}
	output_flush();
}

/* Returns whether two connections have the same properties, apart from the time they took. */
static bool same_tls(const struct tls_facts *a, const struct tls_facts *b)
{
	return a->expires == b->expires && strcmp(a->version, b->version) == 0 &&
	       strcmp(a->cipher, b->cipher) == 0 && strcmp(a->alpn, b->alpn) == 0 &&
	       strcmp(a->subject, b->subject) == 0 && strcmp(a->issuer, b->issuer) == 0 &&
	       strcmp(a->problem, b->problem) == 0;
}

void ping_report_tls(struct ping_report *r, const struct tls_facts *facts)
{
	struct json j;
	bool news = !same_tls(&r->tls, facts);

	r->tls = *facts;
	histogram_record(&r->handshake, facts->handshake_ns);
	if (news && style_of(r) == STYLE_JSON) {
		begin_event(&j, "tls");
		tls_json(&j, facts);
		json_end(&j);
	} else if (news && style_of(r) == STYLE_TEXT) {
		begin_line(r, stdout);
		tls_print(facts);
	}
	output_flush();
	if (news && facts->problem[0] && !r->options->plugin) {
		begin_line(r, stderr);
		fprintf(stderr, "ackc: %s: not verified: %s\n", r->options->target.label,
			facts->problem);
	}
}

static void reply_json(const struct ping_reply *reply)
{
	struct json j;

	begin_event(&j, "reply");
	json_number(&j, "seq", reply->seq);
	json_number(&j, "bytes", reply->bytes);
	json_ms(&j, "rtt_ms", reply->rtt_ns);
	if (reply->kernel_ns) {
		json_ms(&j, "kernel_rtt_ms", reply->kernel_ns);
		json_number(&j, "retransmissions", reply->retransmissions);
	}
	if (reply->connect_ns)
		json_ms(&j, "connect_ms", reply->connect_ns);
	if (reply->handshake_ns)
		json_ms(&j, "handshake_ms", reply->handshake_ns);
	json_end(&j);
}

static void reply_line(const struct ping_report *r, const struct ping_reply *reply)
{
	begin_line(r, stdout);
	printf("%zu bytes from %s: seq=%" PRIu64 " time=%.3f ms", reply->bytes, r->peer, reply->seq,
	       ms_of_ns((double)reply->rtt_ns));
	if (reply->kernel_ns)
		printf(" kernel=%.3f ms", ms_of_ns((double)reply->kernel_ns));
	if (reply->retransmissions)
		printf(" retransmissions=%" PRIu64, reply->retransmissions);
	if (reply->connect_ns)
		printf(" connect=%.3f ms", ms_of_ns((double)reply->connect_ns));
	if (reply->handshake_ns)
		printf(" handshake=%.3f ms", ms_of_ns((double)reply->handshake_ns));
	putchar('\n');
}

void ping_report_reply(struct ping_report *r, const struct ping_reply *reply)
{
	r->received++;
	histogram_record(&r->rtt, reply->rtt_ns);
	if (reply->kernel_ns)
		histogram_record(&r->kernel, reply->kernel_ns);
	if (style_of(r) == STYLE_JSON)
		reply_json(reply);
	else if (style_of(r) == STYLE_TEXT)
		reply_line(r, reply);
	output_flush();
}

static void print_trouble(const struct ping_report *r, uint64_t seq, const char *event,
			  const char *kind, const char *words)
{
	struct json j;

	if (style_of(r) == STYLE_JSON) {
		begin_event(&j, event);
		json_number(&j, "seq", seq);
		json_string(&j, "kind", kind);
		json_string(&j, "error", words);
		json_end(&j);
		output_flush();
	}
	if (r->options->plugin)
		return;
	output_flush();
	begin_line(r, stderr);
	fprintf(stderr, "ackc: %s: %s\n", r->options->target.label, words);
}

/* Adds @kind to the set @seen. Returns whether to print it: with -q, the first of each kind. */
static bool is_news(const struct ping_report *r, uint32_t *seen, unsigned kind)
{
	bool first = !(*seen >> kind & 1);

	*seen |= UINT32_C(1) << kind;
	return first || !r->options->quiet;
}

void ping_report_failure(struct ping_report *r, uint64_t seq, int failure, const char *detail)
{
	r->failed++;
	snprintf(r->last_words, sizeof(r->last_words), *detail ? "%s (%s)" : "%s",
		 failure_text(failure), detail);
	if (is_news(r, &r->seen_failures, failure_kind(failure)))
		print_trouble(r, seq, "failure", failure_text(failure), r->last_words);
}

void ping_report_wrong(struct ping_report *r, uint64_t seq, const struct fault *fault)
{
	r->wrong++;
	if (fault->kind == FAULT_NAK)
		snprintf(r->last_words, sizeof(r->last_words), "%s", fault->words);
	else
		snprintf(r->last_words, sizeof(r->last_words),
			 "wrong reply to probe %" PRIu64 ": %s", seq, fault->words);
	if (is_news(r, &r->seen_wrong, fault->kind))
		print_trouble(r, seq, "wrong", fault_name(fault->kind), r->last_words);
}

void ping_report_cut(struct ping_report *r, uint64_t seq, int status, uint64_t idle_ns)
{
	const char *kind = status == UV_EOF	     ? "connection closed by peer"
			   : status == UV_ECONNRESET ? "connection reset by peer"
						     : failure_text(status);

	r->cuts++;
	snprintf(r->last_words, sizeof(r->last_words), "%s after %.1f s idle", kind,
		 (double)idle_ns / 1e9);
	if (is_news(r, &r->seen_cuts, failure_kind(status)))
		print_trouble(r, seq, "cut", kind, r->last_words);
}

/*
 * Returns the loss in percent. It is 100 before the first probe, because the server was not
 * reached.
 */
static double loss_percent(const struct ping_report *r)
{
	return r->transmitted
		       ? 100.0 * (double)(r->transmitted - r->received) / (double)r->transmitted
		       : 100;
}

static uint64_t elapsed_ms(const struct ping_report *r)
{
	return (uv_hrtime() - r->began_ns) / 1000000;
}

void ping_report_interim(const struct ping_report *r)
{
	fprintf(stderr, "\r%" PRIu64 "/%" PRIu64 " probe%s, %.4g%% loss", r->received,
		r->transmitted, plural(r->transmitted), loss_percent(r));
	if (r->rtt.count)
		fprintf(stderr, ", min/avg/max = %.3f/%.3f/%.3f ms",
			ms_of_ns((double)r->rtt.min_ns), ms_of_ns(histogram_mean(&r->rtt)),
			ms_of_ns((double)r->rtt.max_ns));
	putc('\n', stderr);
}

static void print_summary(const struct ping_report *r)
{
	printf("\n--- %s ping statistics ---\n", r->options->target.label);
	printf("%" PRIu64 " probe%s transmitted, %" PRIu64 " received", r->transmitted,
	       plural(r->transmitted), r->received);
	if (r->wrong)
		printf(", +%" PRIu64 " wrong", r->wrong);
	if (r->failed)
		printf(", +%" PRIu64 " error%s", r->failed, plural(r->failed));
	if (r->cuts)
		printf(", +%" PRIu64 " cut%s while idle", r->cuts, plural(r->cuts));
	printf(", %.6g%% loss", loss_percent(r));
	if (r->reconnects)
		printf(", %" PRIu64 " reconnect%s", r->reconnects, plural(r->reconnects));
	printf(", time %" PRIu64 "ms\n", elapsed_ms(r));
	times_print("rtt", &r->rtt);
	if (r->rtt.count)
		printf("rtt p50/p90/p99/p99.9 = %.3f/%.3f/%.3f/%.3f ms\n",
		       percentile_ms(&r->rtt, 50), percentile_ms(&r->rtt, 90),
		       percentile_ms(&r->rtt, 99), percentile_ms(&r->rtt, 99.9));
	times_print("kernel rtt", &r->kernel);
	if (r->retransmissions)
		printf("%" PRIu64 " TCP retransmission%s\n", r->retransmissions,
		       plural(r->retransmissions));
	times_print("connect", &r->connect);
	times_print("handshake", &r->handshake);
	output_flush();
}

static void print_json(const struct ping_report *r, int status)
{
	struct json j;

	begin_event(&j, "summary");
	json_string(&j, "command", "ping");
	json_string(&j, "target", r->options->target.label);
	json_text(&j, "address", r->peer);
	json_number(&j, "size", r->options->size);
	json_number(&j, "transmitted", r->transmitted);
	json_number(&j, "received", r->received);
	json_number(&j, "wrong", r->wrong);
	json_number(&j, "errors", r->failed);
	json_number(&j, "cuts", r->cuts);
	json_number(&j, "reconnects", r->reconnects);
	if (r->kernel.count)
		json_number(&j, "retransmissions", r->retransmissions);
	else
		json_null(&j, "retransmissions");
	json_double(&j, "loss_percent", loss_percent(r));
	json_number(&j, "time_ms", elapsed_ms(r));
	times_json(&j, "rtt_ms", &r->rtt);
	times_json(&j, "kernel_rtt_ms", &r->kernel);
	times_json(&j, "connect_ms", &r->connect);
	times_json(&j, "handshake_ms", &r->handshake);
	tls_json_object(&j, &r->tls);
	json_text(&j, "error", r->last_words);
	json_number(&j, "status", (uint64_t)status);
	json_end(&j);
	output_flush();
}

/* The output as a monitoring plugin: one line with performance data, and a state. */

enum plugin_state { STATE_OK, STATE_WARNING, STATE_CRITICAL, STATE_UNKNOWN };

static const char *const plugin_names[] = {"OK", "WARNING", "CRITICAL", "UNKNOWN"};

static bool alerts(const struct ping_report *r, const struct threshold *t, const struct range *days)
{
	if (r->tls.version[0] && range_alerts(days, tls_days_left(&r->tls)))
		return true;
	return range_alerts(&t->loss_percent, loss_percent(r)) ||
	       (r->rtt.count && range_alerts(&t->ms, ms_of_ns(histogram_mean(&r->rtt))));
}

static enum plugin_state state_of(const struct ping_report *r)
{
	if (r->transmitted == 0)
		return r->last_words[0] ? STATE_CRITICAL : STATE_UNKNOWN;
	if (r->wrong || r->received == 0 || r->late ||
	    alerts(r, &r->options->crit, &r->options->certificate_days.critical))
		return STATE_CRITICAL;
	return r->cuts || alerts(r, &r->options->warn, &r->options->certificate_days.warning)
		       ? STATE_WARNING
		       : STATE_OK;
}

/* Replaces characters that have a meaning: '|' starts the performance data, LF another line. */
static void print_plugin_text(const char *words)
{
	for (; *words; words++)
		putchar(*words == '|' ? '/' : *words == '\n' ? ' ' : *words);
}

static void print_performance(const struct ping_report *r)
{
	const struct threshold *warn = &r->options->warn;
	const struct threshold *crit = &r->options->crit;

	fputs(" |", stdout);
	if (r->rtt.count) {
		printf(" rta=%.6fms;", ms_of_ns(histogram_mean(&r->rtt)));
		range_print(&warn->ms, stdout);
		putchar(';');
		range_print(&crit->ms, stdout);
		printf(";0 rtmin=%.6fms;;;0 rtmax=%.6fms;;;0", ms_of_ns((double)r->rtt.min_ns),
		       ms_of_ns((double)r->rtt.max_ns));
	}
	printf(" pl=%g%%;", loss_percent(r));
	range_print(&warn->loss_percent, stdout);
	putchar(';');
	range_print(&crit->loss_percent, stdout);
	fputs(";0;100", stdout);
	if (r->tls.version[0]) {
		printf(" handshake=%.6fms;;;0 certificate_days=%.2f;",
		       ms_of_ns(histogram_mean(&r->handshake)), tls_days_left(&r->tls));
		range_print(&r->options->certificate_days.warning, stdout);
		putchar(';');
		range_print(&r->options->certificate_days.critical, stdout);
		putchar(';');
	}
	putchar('\n');
}

static int print_plugin(const struct ping_report *r)
{
	enum plugin_state state = state_of(r);
	char expiry[TLS_EXPIRY_MAX];

	printf("ACKC %s - ", plugin_names[state]);
	print_plugin_text(r->options->target.label);
	if (r->transmitted)
		printf(": %" PRIu64 " of %" PRIu64 " probe%s answered", r->received, r->transmitted,
		       plural(r->transmitted));
	else
		fputs(": no probe sent", stdout);
	if (r->rtt.count)
		printf(", mean %.3f ms", ms_of_ns(histogram_mean(&r->rtt)));
	if (r->tls.version[0])
		printf(", certificate %s", tls_expiry_text(&r->tls, expiry));
	if (r->tls.problem[0]) {
		fputs(", not verified: ", stdout);
		print_plugin_text(r->tls.problem);
	}
	if (r->last_words[0]) {
		fputs(", ", stdout);
		print_plugin_text(r->last_words);
	}
	if (r->late)
		printf(", not finished after %g s", (double)r->options->deadline_ms / 1e3);
	print_performance(r);
	output_flush();
	return (int)state;
}

int ping_report_end(const struct ping_report *r)
{
	int status = r->wrong ? EXIT_WRONG : EXIT_GOOD;

	if (!r->wrong && (r->failed || r->cuts || r->received < r->transmitted || r->received == 0))
		status = EXIT_NETWORK;
	if (r->options->plugin)
		return print_plugin(r);
	if (r->options->json)
		print_json(r, status);
	else
		print_summary(r);
	return status;
}

int ping_plugin_unknown(const char *words)
{
	printf("ACKC %s - %s%s", plugin_names[STATE_UNKNOWN], words,
	       *words && words[strlen(words) - 1] == '\n' ? "" : "\n");
	return output_end(EXIT_UNKNOWN);
}
