#pragma once

/*
 * One bound on the memory that all connections hold together (limits.max_memory). Shared by all
 * threads; touched only when a connection begins or ends to hold something, never per message.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
	_Atomic size_t used_bytes;
	_Atomic size_t max_bytes;
};

/* Starts with nothing used of @max_bytes. */
void budget_init(struct budget *budget, size_t max_bytes);

/* Changes the bound. What was taken stays so, even if that is more than @max_bytes now. */
void budget_set_max(struct budget *budget, size_t max_bytes);

/* Returns the bound. */
size_t budget_max(const struct budget *budget);

/* Takes @bytes; returns false, and takes nothing, when that would exceed the bound. */
bool budget_take(struct budget *budget, size_t bytes);

/* Takes @bytes, even beyond the bound. */
void budget_add(struct budget *budget, size_t bytes);

/* Gives back @bytes that were taken. */
void budget_give(struct budget *budget, size_t bytes);

/* Returns what is in use now. */
size_t budget_used(const struct budget *budget);
