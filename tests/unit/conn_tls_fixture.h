#pragma once

/*
 * For tests of connections with TLS: a server's certificate in files, clients by OpenSSL, and a
 * change of the process. Add to a test program's set-up and tear-down.
 */

#include "conn_fixture.h"
#include "core/wire/tls_record.h"

#include <openssl/ssl.h>

int conn_tls_set_up(void **state);
int conn_tls_tear_down(void **state);

/* Writes the path of a file in the test's directory. */
void in_directory(char path[100], const char *name);

/*
 * Writes a configuration with the certificate in @file, the further settings @group of the tls
 * group, and @more beside it.
 */
void tls_config(char text[400], const char *file, const char *group, const char *more);

/*
 * Begins with the certificate in @file, "short.pem", or "long.pem" with a chain that is longer than
 * a small socket buffer, and with further settings @more. begin_tls_group() uses the former, and
 * further settings of the tls group.
 */
void begin_tls(struct fixture *f, const char *file, const char *more);
void begin_tls_group(struct fixture *f, const char *group);

/*
 * Hands all connections of @f over to the next process, whose configuration is @text. @damage, if
 * not NULL, may change the part of TLS in their state. change_process() has a configuration as
 * begin_tls().
 */
void change_config(struct fixture *f, const char *text, void (*damage)(uint8_t *tls));
void change_process(struct fixture *f, const char *file, const char *more);

/* The most records that a key of a new thread protects; TLS_RECORDS_MAX at first. */
extern uint64_t records_max;

/* If negative, tls_crypto_init() returns it. */
extern int crypto_error;

/* ---- the client ---- */

struct client {
	SSL *ssl;
	int fd;
};

/* Returns a client on the socket @fd, which client_close() closes. */
struct client client_of(int fd);
void client_close(struct client *client);

/* Completes the handshake. */
void handshake(struct fixture *f, struct client *client);

/*
 * Returns a client on the socket @fd that has completed the handshake. served_client_12() uses TLS
 * 1.2 if @only_12.
 */
struct client served_client(struct fixture *f, int fd);
struct client served_client_12(struct fixture *f, int fd, bool only_12);

/* Sends @n bytes of data, or as they are, all at one time. */
void say_tls(struct client *client, const void *bytes, size_t n);
void send_bytes(struct client *client, const void *bytes, size_t n);

/*
 * Sends up to @n bytes, which repeat the 16 bytes of @text, until the socket is full. Returns how
 * many it has sent, a multiple of 16.
 */
size_t fill_socket(struct fixture *f, struct client *client, const char *text, size_t n);

/* Receives @n bytes, which repeat @text. */
void receive(struct fixture *f, struct client *client, const char *text, size_t n);

/* Expects that a message is echoed. */
void check_echo(struct fixture *f, struct client *client);

/* Checks the bytes of the only connection, which echoes @n. */
void check_counts(const struct fixture *f, size_t n);

/* Returns how many connections are in @state. */
unsigned count_in(const struct fixture *f, enum conn_state state);

/* Expects the alert whose reason in OpenSSL is @reason. */
void expect_alert(struct fixture *f, struct client *client, int reason);

/* Expects that close_notify is the next that has arrived. */
void expect_close_notify(struct client *client);
