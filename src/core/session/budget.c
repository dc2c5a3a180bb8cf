#include "core/session/budget.h"

void budget_init(struct budget *budget, size_t max_bytes)
{
	atomic_init(&budget->used_bytes, 0);
	atomic_init(&budget->max_bytes, max_bytes);
}

void budget_set_max(struct budget *budget, size_t max_bytes)
{
	atomic_store_explicit(&budget->max_bytes, max_bytes, memory_order_relaxed);
}

size_t budget_max(const struct budget *budget)
{
	return atomic_load_explicit(&budget->max_bytes, memory_order_relaxed);
}

bool budget_take(struct budget *budget, size_t bytes)
{
	size_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
	size_t max = budget_max(budget);

	if (bytes == 0)
		return true; /* even while the limit is exceeded */
	do {
		if (bytes > max || used > max - bytes)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&budget->used_bytes, &used, used + bytes,
							memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

void budget_add(struct budget *budget, size_t bytes)
{
	atomic_fetch_add_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

void budget_give(struct budget *budget, size_t bytes)
{
	atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

size_t budget_used(const struct budget *budget)
{
	return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
}
