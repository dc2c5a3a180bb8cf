#include "ackc/tls/tls_report.h"

#include "ackc/output/times.h"

double tls_days_left(const struct tls_facts *facts)
{
	return difftime(facts->expires, time(NULL)) / 86400;
}

const char *tls_expiry_text(const struct tls_facts *facts, char out[TLS_EXPIRY_MAX])
{
	double days = tls_days_left(facts);

	snprintf(out, TLS_EXPIRY_MAX, days < 0 ? "expired %.1f days ago" : "expires in %.1f days",
		 days < 0 ? -days : days);
	return out;
}

void tls_json_object(struct json *j, const struct tls_facts *facts)
{
	char when[32] = "";
	struct tm utc;

	if (!facts->version[0]) {
		json_null(j, "tls");
		return;
	}
	if (facts->expires && gmtime_r(&facts->expires, &utc))
		strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &utc);
	json_open(j, "tls", '{');
	json_string(j, "version", facts->version);
	json_string(j, "cipher", facts->cipher);
	json_text(j, "alpn", facts->alpn);
	json_text(j, "subject", facts->subject);
	json_text(j, "issuer", facts->issuer);
	json_text(j, "expires", when);
	json_bool(j, "verified", !facts->problem[0]);
	json_text(j, "problem", facts->problem);
	json_close(j, '}');
}

void tls_json(struct json *j, const struct tls_facts *facts)
{
	if (facts->version[0])
		json_ms(j, "handshake_ms", facts->handshake_ns);
	else
		json_null(j, "handshake_ms");
	tls_json_object(j, facts);
}

void tls_print(const struct tls_facts *facts)
{
	char expiry[TLS_EXPIRY_MAX];

	printf("%s, %s", facts->version, facts->cipher);
	if (facts->alpn[0])
		printf(", ALPN %s", facts->alpn);
	printf(", certificate %s of issuer %s %s%s\n", facts->subject, facts->issuer,
	       tls_expiry_text(facts, expiry), facts->problem[0] ? ", not verified" : "");
}
