/*
 * The texts of a connection that templates use: addresses, what a PROXY header says, and the
 * subject of the client's certificate. Most connections have none. They are made when a connection
 * begins, and again after a TLS handshake with a certificate, so that no message waits for them.
 */

#include "ackd/conn/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct conn_names conn_no_names = {"", "", "", ""};

size_t conn_names_charge(const char *names)
{
	return strlen(template_name(names, NAME_PROXY_ID)) +
	       strlen(template_name(names, NAME_AUTHORITY)) +
	       strlen(template_name(names, NAME_TLS_SUBJECT));
}

struct conn_names conn_names_of(const struct conn *c)
{
	const char *names = c->session.names;

	return (struct conn_names){
		.proxy_id = template_name(names, NAME_PROXY_ID),
		.authority = template_name(names, NAME_AUTHORITY),
		.local = template_name(names, NAME_LOCAL),
		.tls_subject = template_name(names, NAME_TLS_SUBJECT),
	};
}

void conn_local_text(const struct sockaddr *address, char out[TEMPLATE_LOCAL_MAX + 1])
{
	static const char scheme[] = "unix:";
	char text[ADDRESS_TEXT_MAX];
	struct proxy_span span = {0};

	sockaddr_format(address, text);
	if (strcmp(text, "unix:@") == 0) /* a socket without a name */
		snprintf(text, sizeof(text), "unix");
	else if (address->sa_family == AF_UNIX)
		span.offset = sizeof(scheme) - 1;
	span.length = (uint16_t)(strlen(text) - span.offset);
	proxy_text((const uint8_t *)text, &span, out, TEMPLATE_LOCAL_MAX + 1);
}

/* Writes the address of the connection's own end, or "" if there is none. */
static void own_local_text(const struct conn *c, char out[TEMPLATE_LOCAL_MAX + 1])
{
	struct sockaddr_storage address = {0};
	socklen_t length = sizeof(address);

	out[0] = '\0';
	if (getsockname(c->fd, (struct sockaddr *)&address, &length) == 0)
		conn_local_text((const struct sockaddr *)&address, out);
}

int conn_name(struct conn *c, const struct conn_names *from)
{
	unsigned variables = policy_variables(c->session.policy);
	struct budget *budget = &conn_reactor(c)->limits->budget;
	size_t charge =
		strlen(from->proxy_id) + strlen(from->authority) + strlen(from->tls_subject);
	char peer[ADDRESS_TEXT_MAX] = "", local[TEMPLATE_LOCAL_MAX + 1] = "", *names;
	size_t n;

	if (variables & TEMPLATE_PEER)
		address_format(&c->address, peer);
	if (variables & TEMPLATE_LOCAL && *from->local)
		snprintf(local, sizeof(local), "%s", from->local);
	else if (variables & TEMPLATE_LOCAL)
		own_local_text(c, local);
	if (!*peer && !*local && charge == 0)
		return 0;
	if (!budget_take(budget, charge))
		return -ENOBUFS;
	n = strlen(peer) + charge + strlen(local) + 5;
	names = malloc(n);
	if (!names) {
		budget_give(budget, charge);
		return -ENOMEM;
	}
	snprintf(names, n, "%s%c%s%c%s%c%s%c%s", peer, '\0', from->proxy_id, '\0', from->authority,
		 '\0', local, '\0', from->tls_subject);
	conn_names_free(c);
	c->session.names = names;
	return 0;
}

void conn_names_free(struct conn *c)
{
	budget_give(&conn_reactor(c)->limits->budget, conn_names_charge(c->session.names));
	free((char *)(uintptr_t)c->session.names);
}
