#include "ackc/ping/report.h"

#include "ackc/net/words.h"
#include "ackc/output/display.h"
#include "ackc/output/output.h"
#include "ackc/output/times.h"
#include "base/plural.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int ping_report_init(struct ping_report *r, const struct options *options)
{
	*r = (struct ping_report){
		.options = options,
		.began_ns = uv_hrtime(),
		.rtt = histogram_create(),
		.connect = histogram_create(),
		.kernel = histogram_create(),
	};
	return r->rtt && r->connect && r->kernel ? 0 : -ENOMEM;
}

void ping_report_finish(struct ping_report *r)
{
	histogram_destroy(r->rtt);
	histogram_destroy(r->connect);
	histogram_destroy(r->kernel);
}

/* Returns whether each probe is printed as text. */
static bool tells(const struct ping_report *r)
{
	return !r->options->quiet && !r->options->plugin && !r->options->json;
}

static bool tells_json(const struct ping_report *r)
{
	return !r->options->quiet && !r->options->plugin && r->options->json;
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
	char address[ADDRESS_TEXT_MAX];

	if (r->options->plugin || r->options->json)
		return;
	address_text(first, address);
	printf("PING %s (%s) %zu bytes of data.\n", r->options->target.label, address,
	       r->options->size);
	output_flush();
}

void ping_report_greeting(const struct ping_report *r, const uint8_t *p, size_t n)
{
	struct display display = {0};
	struct json j;

	if (tells_json(r)) {
		begin_event(&j, "greeting");
		json_bytes(&j, p, n);
		json_end(&j);
	} else if (tells(r)) {
		begin_line(r, stdout);
		fputs("greeting: ", stdout);
		display_write(&display, p, n, stdout);
		display_end(&display, stdout);
		if (p[n - 1] != '\n')
			putchar('\n');
	}
	output_flush();
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
	putchar('\n');
}

void ping_report_reply(struct ping_report *r, const struct ping_reply *reply)
{
	r->received++;
	histogram_record(r->rtt, reply->rtt_ns);
	if (reply->kernel_ns)
		histogram_record(r->kernel, reply->kernel_ns);
	if (tells_json(r))
		reply_json(reply);
	else if (tells(r))
		reply_line(r, reply);
	output_flush();
}

void ping_report_retransmissions(struct ping_report *r, uint64_t n)
{
	r->retransmissions += n;
}

static void tell_trouble(const struct ping_report *r, uint64_t seq, const char *event,
			 const char *kind, const char *words)
{
	struct json j;

	if (tells_json(r)) {
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

void ping_report_failure(struct ping_report *r, uint64_t seq, int failure, const char *detail)
{
	/* with -q, consecutive equal failures are printed once */
	bool news = failure != r->last_failure;

	r->failed++;
	r->last_failure = failure;
	snprintf(r->last_words, sizeof(r->last_words), *detail ? "%s (%s)" : "%s",
		 words_for(failure), detail);
	if (news || !r->options->quiet)
		tell_trouble(r, seq, "failure", words_for(failure), r->last_words);
}

void ping_report_wrong(struct ping_report *r, uint64_t seq, const struct fault *fault)
{
	bool nak = fault->kind == FAULT_NAK;

	r->wrong++;
	if (nak)
		snprintf(r->last_words, sizeof(r->last_words), "%s", fault->words);
	else
		snprintf(r->last_words, sizeof(r->last_words),
			 "wrong reply to probe %" PRIu64 ": %s", seq, fault->words);
	tell_trouble(r, seq, "wrong", fault_name(fault->kind), r->last_words);
}

void ping_report_cut(struct ping_report *r, uint64_t seq, int status, uint64_t idle_ns)
{
	const char *kind = status == UV_EOF	     ? "connection closed by peer"
			   : status == UV_ECONNRESET ? "connection reset by peer"
						     : words_for(status);
	bool news = status != r->last_failure;

	r->cuts++;
	r->last_failure = status;
	snprintf(r->last_words, sizeof(r->last_words), "%s after %.1f s idle", kind,
		 (double)idle_ns / 1e9);
	if (news || !r->options->quiet)
		tell_trouble(r, seq, "cut", kind, r->last_words);
}

double ping_report_loss_percent(const struct ping_report *r)
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
		r->transmitted, plural(r->transmitted), ping_report_loss_percent(r));
	if (r->rtt->count)
		fprintf(stderr, ", min/avg/max = %.3f/%.3f/%.3f ms",
			ms_of_ns((double)r->rtt->min_ns), ms_of_ns(histogram_mean(r->rtt)),
			ms_of_ns((double)r->rtt->max_ns));
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
	printf(", %.6g%% loss", ping_report_loss_percent(r));
	if (r->reconnects)
		printf(", %" PRIu64 " reconnect%s", r->reconnects, plural(r->reconnects));
	printf(", time %" PRIu64 "ms\n", elapsed_ms(r));
	times_print("rtt", r->rtt);
	if (r->rtt->count)
		printf("rtt p50/p90/p99/p99.9 = %.3f/%.3f/%.3f/%.3f ms\n",
		       percentile_ms(r->rtt, 50), percentile_ms(r->rtt, 90),
		       percentile_ms(r->rtt, 99), percentile_ms(r->rtt, 99.9));
	times_print("kernel rtt", r->kernel);
	if (r->retransmissions)
		printf("%" PRIu64 " TCP retransmission%s\n", r->retransmissions,
		       plural(r->retransmissions));
	times_print("connect", r->connect);
	output_flush();
}

static void print_json(const struct ping_report *r, int status)
{
	struct json j;

	begin_event(&j, "summary");
	json_string(&j, "command", "ping");
	json_string(&j, "target", r->options->target.label);
	if (r->peer[0])
		json_string(&j, "address", r->peer);
	else
		json_null(&j, "address");
	json_number(&j, "size", r->options->size);
	json_number(&j, "transmitted", r->transmitted);
	json_number(&j, "received", r->received);
	json_number(&j, "wrong", r->wrong);
	json_number(&j, "errors", r->failed);
	json_number(&j, "cuts", r->cuts);
	json_number(&j, "reconnects", r->reconnects);
	if (r->kernel->count)
		json_number(&j, "retransmissions", r->retransmissions);
	else
		json_null(&j, "retransmissions");
	json_double(&j, "loss_percent", ping_report_loss_percent(r));
	json_number(&j, "time_ms", elapsed_ms(r));
	times_json(&j, "rtt_ms", r->rtt);
	times_json(&j, "kernel_rtt_ms", r->kernel);
	times_json(&j, "connect_ms", r->connect);
	if (r->last_words[0])
		json_string(&j, "error", r->last_words);
	else
		json_null(&j, "error");
	json_number(&j, "status", (uint64_t)status);
	json_end(&j);
	output_flush();
}

int ping_report_end(const struct ping_report *r)
{
	int status = r->wrong ? EXIT_WRONG : EXIT_GOOD;

	if (!r->wrong && (r->failed || r->cuts || r->received < r->transmitted || r->received == 0))
		status = EXIT_NETWORK;
	if (r->options->plugin)
		return ping_plugin_end(r);
	if (r->options->json)
		print_json(r, status);
	else
		print_summary(r);
	return status;
}
