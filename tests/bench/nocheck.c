/*
 * For measuring what the check of UTF-8 costs: linked into a copy of the daemon with
 * --wrap=utf8_check, this takes its place and believes everything.
 */
#include "core/utf8/utf8.h"

enum utf8_status __wrap_utf8_check(const uint8_t *p, size_t n, size_t *ret_valid,
				   size_t *ret_length);

enum utf8_status __wrap_utf8_check(const uint8_t *p, size_t n, size_t *ret_valid,
				   size_t *ret_length)
{
	*ret_valid = n;
	*ret_length = 0;
	return UTF8_COMPLETE;
}
