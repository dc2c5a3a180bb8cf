#include "core/utf8/internal.h"

const struct utf8_kernel *const utf8_kernels[] = {
	&utf8_kernel_neon,
	&utf8_kernel_scalar,
	NULL,
};
