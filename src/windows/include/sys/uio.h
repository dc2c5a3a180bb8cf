#pragma once

/* For Windows: the type of a piece of memory. */

#include <stddef.h>

struct iovec {
	void *iov_base;
	size_t iov_len;
};
