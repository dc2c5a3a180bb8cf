/*
 * For measuring what the check of UTF-8 costs: linked into a copy of the daemon with
 * --wrap=utf8_check, this takes its place and believes everything.
 */
#include "core/utf8/utf8.h"

struct utf8_checked __wrap_utf8_check(const uint8_t *p, size_t n);

struct utf8_checked __wrap_utf8_check(const uint8_t *p, size_t n)
{
	return (struct utf8_checked){.valid = n, .status = UTF8_COMPLETE};
}
