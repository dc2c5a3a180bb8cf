#pragma once

/*
 * The limit on the memory that all connections hold together (limits.max_memory). All threads share
 * one budget. It changes only when a connection starts or stops holding something, never per
 * message.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct budget {
	_Atomic size_t used_bytes;
	_Atomic size_t max_bytes;
};

/* Initializes the budget with a limit of @max_bytes and nothing in use. */
void budget_init(struct budget *budget, size_t max_bytes);

/* Changes the limit. Memory already taken stays taken, even if it exceeds the new limit. */
void budget_set_max(struct budget *budget, size_t max_bytes);

size_t budget_max(const struct budget *budget);

/*
 * Takes @bytes. Returns false, and takes nothing, if that would exceed the limit. Taking 0 bytes
 * always succeeds.
 */
bool budget_take(struct budget *budget, size_t bytes);

/* Takes @bytes, even beyond the limit. */
void budget_add(struct budget *budget, size_t bytes);

/* Returns @bytes to the budget. */
void budget_give(struct budget *budget, size_t bytes);

/* Returns the number of bytes in use. */
size_t budget_used(const struct budget *budget);
