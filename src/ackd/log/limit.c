#include "ackd/log/limit.h"

bool log_limit_take(struct log_limit *limit, unsigned burst, unsigned per_second, uint64_t now_us)
{
	uint64_t interval_us = 1000000 / per_second;
	uint64_t due = atomic_load_explicit(&limit->due_us, memory_order_relaxed);
	uint64_t start;

	do {
		start = due > now_us ? due : now_us;
		if (start - now_us > (burst - 1) * interval_us)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&limit->due_us, &due, start + interval_us,
							memory_order_relaxed,
							memory_order_relaxed));
	return true;
}
