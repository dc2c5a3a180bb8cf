#include "core/text/decode.h"

#include <string.h>

static const char hex_digits[] = "0123456789abcdef";

size_t decode_replacement(enum decode_errors errors, const uint8_t *bad, size_t n,
			  uint8_t ret_text[DECODE_REPLACEMENT_MAX])
{
	uint8_t *p = ret_text;

	switch (errors) {
	case DECODE_REPLACE:
		memcpy(p, "\xef\xbf\xbd", 3);
		return 3;
	case DECODE_BACKSLASHREPLACE:
		for (size_t i = 0; i < n; i++) {
			*p++ = '\\';
			*p++ = 'x';
			*p++ = (uint8_t)hex_digits[bad[i] >> 4];
			*p++ = (uint8_t)hex_digits[bad[i] & 0xf];
		}
		return (size_t)(p - ret_text);
	case DECODE_STRICT:
	case DECODE_IGNORE:
		break;
	}
	return 0;
}
