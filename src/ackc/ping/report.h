#pragma once

/* The counters of ping and their output: like ping(8), as JSON, or as a monitoring plugin. */

#include "ackc/cli/options.h"
#include "ackc/message/difference.h"
#include "ackc/net/lookup.h"
#include "ackc/output/histogram.h"
#include "ackc/tls/tls.h"

/* Initially zero, except for options and began_ns. */
struct ping_report {
	const struct options *options;
	uint64_t began_ns;
	uint64_t transmitted;
	uint64_t received; /* correct replies */
	uint64_t wrong;
	uint64_t failed;
	uint64_t cuts; /* connections that ended between two probes */
	uint64_t reconnects;
	uint64_t retransmissions;
	bool late; /* the plugin's deadline passed before the probes were complete */
	/* The kinds already printed, a bit each: of failure_kind() and enum fault_kind. */
	uint32_t seen_failures;
	uint32_t seen_wrong;
	uint32_t seen_cuts;
	char last_words[FAULT_WORDS_MAX + 64]; /* words of the fault plus a short prefix */
	struct histogram rtt;
	struct histogram connect;
	struct histogram handshake; /* TLS */
	struct histogram kernel;
	struct tls_facts tls;	  /* of the last connection; without a version: no TLS */
	char peer[PEER_TEXT_MAX]; /* empty until the first connect */
};

/* Prints the line that announces the target. @first is the first address of the name. */
void ping_report_begin(const struct ping_report *r, const struct sockaddr_storage *first);
void ping_report_greeting(const struct ping_report *r, const uint8_t *p, size_t n);

/* Records the TLS of a new connection, and prints its properties if they are new. */
void ping_report_tls(struct ping_report *r, const struct tls_facts *facts);

struct ping_reply {
	uint64_t seq;
	size_t bytes;
	uint64_t rtt_ns;
	uint64_t kernel_ns;	  /* 0: not known */
	uint64_t connect_ns;	  /* 0: existing connection */
	uint64_t handshake_ns;	  /* 0: existing connection, or no TLS */
	uint64_t retransmissions; /* since the previous probe */
};

/* Each of the next three records the outcome of one probe. */
void ping_report_reply(struct ping_report *r, const struct ping_reply *reply);
/* @detail describes what arrived before the failure; may be empty. */
void ping_report_failure(struct ping_report *r, uint64_t seq, int failure, const char *detail);
void ping_report_wrong(struct ping_report *r, uint64_t seq, const struct fault *fault);

/* Records that the connection ended with @status, @idle_ns after the reply to probe @seq. */
void ping_report_cut(struct ping_report *r, uint64_t seq, int status, uint64_t idle_ns);
/* Prints one line of interim statistics to standard error. */
void ping_report_interim(const struct ping_report *r);

/* Prints the summary, or the result line of a plugin. Returns the exit status. */
int ping_report_end(const struct ping_report *r);

/* Prints a plugin's line for state UNKNOWN, with the reason @words. Returns the exit status. */
int ping_plugin_unknown(const char *words);
