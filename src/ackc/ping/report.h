#pragma once

/* What ping counts and how it says so: as ping(8) does, as JSON, or as a monitoring plugin. */

#include "ackc/cli/options.h"
#include "ackc/message/explain.h"
#include "ackc/net/dial.h"
#include "ackc/output/histogram.h"

struct ping_report {
	const struct ping_options *options;
	uint64_t began_ns;
	uint64_t transmitted;
	uint64_t received; /* and right */
	uint64_t wrong;
	uint64_t failed;
	uint64_t cuts; /* connections that ended between two probes */
	uint64_t reconnects;
	uint64_t retransmissions;
	bool late; /* a plugin's deadline was over before the probes were */
	int last_failure;
	char last_words[FAULT_WORDS_MAX + 64]; /* the fault's, and a few of ours */
	struct histogram *rtt;
	struct histogram *connect;
	struct histogram *kernel;
	char peer[ADDRESS_TEXT_MAX]; /* empty until the first connect */
};

/* Returns 0 or -ENOMEM. */
int ping_report_init(struct ping_report *r, const struct ping_options *options);
void ping_report_finish(struct ping_report *r);

/* The line that says what is going to be pinged; @first is the first address of the name. */
void ping_report_begin(const struct ping_report *r, const struct sockaddr_storage *first);
void ping_report_greeting(const struct ping_report *r, const uint8_t *p, size_t n);

struct ping_reply {
	uint64_t seq;
	size_t bytes;
	uint64_t rtt_ns;
	uint64_t kernel_ns;	  /* 0: not known */
	uint64_t connect_ns;	  /* 0: on an old connection */
	uint64_t retransmissions; /* since the probe before it */
};

/* One outcome of a probe each. */
void ping_report_reply(struct ping_report *r, const struct ping_reply *reply);
/* @detail: what came before it failed; or empty. */
void ping_report_failure(struct ping_report *r, uint64_t seq, int failure, const char *detail);
void ping_report_wrong(struct ping_report *r, uint64_t seq, const struct fault *fault);

/* The connection ended with @status, @idle_ns after the reply to probe @seq. */
void ping_report_cut(struct ping_report *r, uint64_t seq, int status, uint64_t idle_ns);
/* TCP has sent @n more segments again. */
void ping_report_retransmissions(struct ping_report *r, uint64_t n);

/* Returns the loss in percent; 100 before the first probe, for the server was not reached. */
double ping_report_loss_percent(const struct ping_report *r);

/* One line on how it is going, to standard error. */
void ping_report_interim(const struct ping_report *r);

/* The summary. Returns the exit status. */
int ping_report_end(const struct ping_report *r);

/* The same as a plugin for monitoring: its line. Returns the state as an exit status. */
int ping_plugin_end(const struct ping_report *r);

/* Says as a plugin why nothing is known. Returns the exit status. */
int ping_plugin_unknown(const char *words);
