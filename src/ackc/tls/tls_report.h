#pragma once

/* Shows the TLS properties of a connection, for all commands. */

#include "ackc/output/json.h"
#include "ackc/tls/tls.h"

/*
 * Writes the members "handshake_ms" and "tls", an object. Both are null for a connection without
 * TLS, whose version is empty.
 */
void tls_json(struct json *j, const struct tls_facts *facts);

/* Writes the object "tls" of all properties but the time; null without TLS. */
void tls_json_object(struct json *j, const struct tls_facts *facts);

/* Prints the properties as one line of text. */
void tls_print(const struct tls_facts *facts);

/* Returns the number of days until the certificate of the server expires; negative after that. */
double tls_days_left(const struct tls_facts *facts);

/* The buffer size for tls_expiry_text(). */
#define TLS_EXPIRY_MAX 80

/* Describes when the certificate expires, in days: "expires in 12.3 days". */
const char *tls_expiry_text(const struct tls_facts *facts, char out[TLS_EXPIRY_MAX]);
