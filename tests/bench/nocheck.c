/*
 * For measuring the cost of the UTF-8 check: linked into a copy of the daemon with
 * --wrap=utf8_check, this function replaces it and accepts everything.
 */
#include "core/utf8/utf8.h"

struct utf8_checked __wrap_utf8_check(const uint8_t *p, size_t n);

struct utf8_checked __wrap_utf8_check(const uint8_t *p, size_t n)
{
	return (struct utf8_checked){.valid = n, .status = UTF8_COMPLETE};
}
