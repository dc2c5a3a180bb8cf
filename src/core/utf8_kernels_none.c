#include "core/utf8_kernels.h"

const struct utf8_kernel *const utf8_kernels[] = {
	&utf8_kernel_scalar,
	NULL,
};
