#include "core/utf8/utf8.h"

#include "core/utf8/kernels.h"

#include <errno.h>
#include <string.h>

/* More than any architecture has, including the NULL. */
#define KERNELS_MAX 8

/* A copy rather than a pointer, which saves a load before the jump. */
static struct utf8_kernel kernel = {
	.name = "scalar",
	.check = utf8_check_scalar,
	.check_next = utf8_check_next_apart,
	.count = utf8_count_scalar,
	.classify = utf8_classify_scalar,
	.copy_lines = utf8_copy_lines_scalar,
};

enum utf8_status utf8_check(const uint8_t *p, size_t n, size_t *ret_valid, size_t *ret_length)
{
	return kernel.check(p, n, ret_valid, ret_length);
}

size_t utf8_count(const uint8_t *p, size_t n)
{
	return kernel.count(p, n);
}

void utf8_classify(const uint8_t *p, struct utf8_classes *ret_classes)
{
	kernel.classify(p, ret_classes);
}

void utf8_copy_lines(struct utf8_lines *lines)
{
	kernel.copy_lines(lines);
}

void utf8_carry_set(struct utf8_carry *carry, const uint8_t *p, size_t length)
{
	uint32_t bytes = 0;

	for (size_t i = 0; i < length; i++)
		bytes |= (uint32_t)p[i] << 8 * i;
	utf8_carry_store(carry, bytes, length);
}

enum utf8_status utf8_carry_join(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 uint8_t ret_head[UTF8_CHARACTER_MAX], size_t *ret_length,
				 size_t *ret_used)
{
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t held = carry->length;
	size_t more = UTF8_CHARACTER_MAX - held < n ? UTF8_CHARACTER_MAX - held : n;
	enum utf8_status status;
	size_t length;

	memcpy(head, carry->bytes, held);
	memcpy(head + held, p, more);
	status = utf8_character(head, held + more, &length);
	*ret_used = length - held;
	if (status == UTF8_PARTIAL) {
		memcpy(carry->bytes, head, length);
		carry->length = (uint8_t)length;
		return status;
	}
	memcpy(ret_head, head, length);
	*ret_length = length;
	carry->length = 0;
	return status;
}

enum utf8_status utf8_check_next_apart(struct utf8_carry *carry, const uint8_t *p, size_t n,
				       size_t *ret_valid, size_t *ret_length)
{
	struct utf8_carry rest = *carry;
	uint8_t head[UTF8_CHARACTER_MAX];
	size_t used = 0;
	enum utf8_status status;
	size_t length;

	if (rest.length > 0) {
		status = utf8_carry_join(&rest, p, n, head, &length, &used);
		if (status != UTF8_COMPLETE) {
			*ret_valid = 0;
			*ret_length = used;
			if (status == UTF8_PARTIAL)
				*carry = rest;
			else
				*ret_length = 0;
			return status;
		}
	}
	status = kernel.check(p + used, n - used, ret_valid, ret_length);
	*ret_valid += used;
	carry->length = 0;
	if (status == UTF8_PARTIAL)
		utf8_carry_set(carry, p + *ret_valid, *ret_length);
	return status;
}

enum utf8_status utf8_check_next(struct utf8_carry *carry, const uint8_t *p, size_t n,
				 size_t *ret_valid, size_t *ret_length)
{
	return kernel.check_next(carry, p, n, ret_valid, ret_length);
}

int utf8_kernel_select(const char *name)
{
	for (size_t i = 0; utf8_kernels[i]; i++) {
		if (name && strcmp(name, utf8_kernels[i]->name) != 0)
			continue;
		if (!utf8_kernels[i]->is_supported())
			continue;
		kernel = *utf8_kernels[i];
		return 0;
	}
	return -EINVAL;
}

const char *utf8_kernel_name(void)
{
	return kernel.name;
}

const char *const *utf8_kernel_list(void)
{
	static const char *names[KERNELS_MAX];
	size_t n = 0;

	for (size_t i = 0; utf8_kernels[i] && n < KERNELS_MAX - 1; i++) {
		if (utf8_kernels[i]->is_supported())
			names[n++] = utf8_kernels[i]->name;
	}
	names[n] = NULL;
	return names;
}
