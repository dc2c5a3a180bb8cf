#include "ackd/conn/listener.h"

#include "ackd/conn/reactor.h"
#include "ackd/log/log.h"

#include <stdlib.h>
#include <sys/socket.h>

void listener_begin(struct listener *listener, struct reactor *reactor, struct config *config,
		    const struct config_listener *settings, struct counters *counters)
{
	listener->reactor = reactor;
	listener->config = config_ref(config);
	listener->settings = settings;
	listener->counters = counters;
	counters_use(counters, 1);
	for (unsigned i = 0; i < QUEUE_COUNT; i++)
		list_init(&listener->queues[i].conns);
	listener->queues[QUEUE_PROXY_HEADER].timeout_ms = PROXY_MS;
	listener->queues[QUEUE_HANDSHAKE].timeout_ms = HANDSHAKE_MS;
	listener->queues[QUEUE_IDLE].timeout_ms = config->idle_timeout_ms;
	listener->queues[QUEUE_LINGER].timeout_ms = LINGER_MS;
	listener->references = 1;
	list_append(&reactor->listeners, &listener->node);
}

void listener_ref(struct listener *listener)
{
	listener->references++;
}

void listener_unref(struct listener *listener)
{
	if (--listener->references > 0)
		return;
	list_remove(&listener->node);
	counters_use(listener->counters, -1);
	config_unref(listener->config);
	free(listener);
}

static bool is_allowed(const struct config_listener *settings, const struct address *address)
{
	struct sockaddr_storage peer;
	int allowed, denied;

	address_to_sockaddr(address, &peer);
	allowed = cidr_list_match(&settings->allow, (struct sockaddr *)&peer);
	denied = cidr_list_match(&settings->deny, (struct sockaddr *)&peer);
	if (allowed < 0 && denied < 0)
		return settings->allow.n == 0;
	return allowed > denied;
}

void listener_count_refusal(struct listener *listener, const struct address *address,
			    enum refusal refusal, const char *reason)
{
	char peer[ADDRESS_TEXT_MAX];
	struct log_fields fields;

	counter_add(listener->counters, COUNTER_REFUSED + refusal, 1);
	if (!log_admit(LOG_REFUSE))
		return;
	fields = (struct log_fields){
		.listener = listener->settings->name,
		.peer = address_format(address, peer),
		.reason = reason ? reason : refusal_name(refusal),
	};
	log_post(LOG_REFUSE, &fields, "%s: connection from %s refused: %s", fields.listener, peer,
		 fields.reason);
}

void listener_count_handshake(struct listener *listener, enum tls_version version,
			      enum tls_result result, uint64_t duration_ns)
{
	uint64_t us = duration_ns / 1000;

	counter_add(listener->counters, stats_handshake(version, result), 1);
	if (result != TLS_RESULT_SUCCESS)
		return;
	counter_add(listener->counters, COUNTER_HANDSHAKE_BUCKETS + stats_duration_bucket(us), 1);
	counter_add(listener->counters, COUNTER_HANDSHAKE_US, us);
}

bool listener_may_tell(struct listener *listener, enum refusal refusal)
{
	return !listener->settings->tls_context &&
	       (refusal == REFUSAL_CONNECTIONS || refusal == REFUSAL_PER_ADDRESS) &&
	       limits_refusal_begin(listener->reactor->limits);
}

enum refusal listener_admit(struct listener *listener, const struct address *address, bool placed)
{
	struct limits *limits = listener->reactor->limits;
	enum refusal refusal = REFUSAL_DENIED;

	if (is_allowed(listener->settings, address))
		refusal = placed ? limits_pass_on(limits, address) : limits_admit(limits, address);
	if (refusal != REFUSAL_NONE)
		listener_count_refusal(listener, address, refusal, NULL);
	return refusal;
}

bool listener_is_proxied(const struct listener *listener)
{
	const struct cidr_list *proxies = &listener->settings->proxies;

	return proxies->n > 0 || proxies->has_unix;
}
