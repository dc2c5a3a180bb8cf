#include "core/utf8.h"

#include "core/utf8_kernels.h"

#include <errno.h>
#include <string.h>

/* Best first. */
static const struct utf8_kernel *const kernels[] = {
	&utf8_kernel_scalar,
};

#define N_KERNELS (sizeof(kernels) / sizeof(kernels[0]))

static const struct utf8_kernel *kernel = &utf8_kernel_scalar;

enum utf8_status utf8_check(const uint8_t *p, size_t n, size_t *ret_valid, size_t *ret_length)
{
	size_t proven = kernel->prove(p, n);
	enum utf8_status status;

	status = utf8_check_scalar(p + proven, n - proven, ret_valid, ret_length);
	*ret_valid += proven;
	return status;
}

size_t utf8_count(const uint8_t *p, size_t n)
{
	return kernel->count(p, n);
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

int utf8_kernel_select(const char *name)
{
	for (size_t i = 0; i < N_KERNELS; i++) {
		if (name && strcmp(name, kernels[i]->name) != 0)
			continue;
		if (!kernels[i]->is_supported())
			continue;
		kernel = kernels[i];
		return 0;
	}
	return -EINVAL;
}

const char *utf8_kernel_name(void)
{
	return kernel->name;
}

const char *const *utf8_kernel_list(void)
{
	static const char *names[N_KERNELS + 1];
	size_t n = 0;

	for (size_t i = 0; i < N_KERNELS; i++) {
		if (kernels[i]->is_supported())
			names[n++] = kernels[i]->name;
	}
	names[n] = NULL;
	return names;
}
