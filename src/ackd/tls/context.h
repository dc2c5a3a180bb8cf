#pragma once

/*
 * The certificate, the key and the rules of a listener's TLS handshakes, loaded and checked.
 * Immutable, and shared by all threads. Builds without OpenSSL have none.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The settings in a listener's tls group. Strings are NULL if not set. */
struct tls_settings {
	char *certificate; /* paths of PEM files, or "credential:NAME" */
	char *key;	   /* NULL: in the certificate's file */
	char *client_ca;   /* given: clients must present a certificate */
	struct tls_alpn {
		uint8_t *names; /* each after a byte with its length, as in the ALPN extension */
		size_t length;	/* of all in bytes; 0: any client is served */
	} alpn;
	bool keep_connections; /* in a restart */
	enum tls_min_version { TLS_MIN_1_2, TLS_MIN_1_3 } min_version;
};

struct tls_context;

/* The most bytes of a client's Certificate message. A handshake with a longer one fails. */
#define TLS_CERTIFICATES_MAX 16384

/* Why settings cannot be used. */
struct tls_fault {
	const char *setting; /* its name: "tls.certificate" */
	char text[384];	     /* such as "/x: cannot read: No such file or directory" */
};

/*
 * Loads the files and checks that they can be used together. Reads files, so it may block. Returns
 * 0, -EINVAL and *@ret_fault, or -ENOMEM.
 */
int tls_context_create(const struct tls_settings *settings, struct tls_context **ret_context,
		       struct tls_fault *ret_fault);

/*
 * Returns why users other than root and that of this process can read the key or change it, with
 * the name of its setting; NULL if they cannot. A file is judged by its owner and mode alone. A
 * group may read the key if root owns it: then an administrator has chosen the group. Credentials
 * are not judged, because the service manager protects them.
 */
const char *tls_context_warning(const struct tls_context *context);

/*
 * Returns when the first of the certificates that are sent to clients expires, in seconds since
 * 1970.
 */
int64_t tls_context_expiry(const struct tls_context *context);

/* Returns whether clients must present a certificate. @context may be NULL. */
bool tls_context_demands_certificate(const struct tls_context *context);

/*
 * Returns the memory that a handshake takes at most, in bytes, for the budget. Measured with
 * OpenSSL 3.0: 84 kB, 124 kB with a chain of four certificates from the client, and up to 500 kB if
 * the client sends as many small certificates as it may.
 */
size_t tls_context_handshake_bytes(const struct tls_context *context);

/*
 * Makes OpenSSL overwrite the memory that it frees: its objects have copies of secrets that it does
 * not overwrite itself. Call before any other use of OpenSSL.
 */
void tls_library_init(void);

/* Returns the version of OpenSSL in use, or "none". Static. */
const char *tls_library_version(void);

/* Accepts NULL. */
void tls_context_destroy(struct tls_context *context);
