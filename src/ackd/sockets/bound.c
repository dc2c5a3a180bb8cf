#include "ackd/sockets/bound.h"

#include <errno.h>
#include <stdlib.h>

bool bound_has(const struct bound *bound, const struct binding *binding)
{
	for (size_t i = 0; i < bound->n; i++)
		if (bound->items[i].binding == binding)
			return true;
	return false;
}

int bound_add(struct bound *bound, const struct bound_listener *added)
{
	struct bound_listener *items =
		reallocarray(bound->items, bound->n + 1, sizeof(*bound->items));

	if (!items) {
		if (added->is_new)
			binding_destroy(added->binding);
		return -ENOMEM;
	}
	bound->items = items;
	bound->items[bound->n++] = *added;
	return 0;
}

void bound_shrink(struct bound *bound, size_t n)
{
	while (bound->n > n) {
		bound->n--;
		if (bound->items[bound->n].is_new)
			binding_destroy(bound->items[bound->n].binding);
	}
}

void bound_release(struct bound *bound)
{
	free(bound->items);
	*bound = (struct bound){0};
}

static void list_remove(struct binding **list, const struct binding *binding)
{
	while (*list && *list != binding)
		list = &(*list)->next;
	if (*list)
		*list = binding->next;
}

void bound_take(struct bound *bound, struct binding **bindings, struct binding **unwanted)
{
	struct binding **end = unwanted;

	while (*end)
		end = &(*end)->next;
	*end = *bindings;
	*bindings = NULL;
	for (size_t i = bound->n; i-- > 0;) {
		struct binding *b = bound->items[i].binding;

		list_remove(unwanted, b);
		b->configured = bound->items[i].configured;
		b->next = *bindings;
		*bindings = b;
	}
	bound_release(bound);
}

void bound_undo(struct bound *bound, struct binding **unwanted)
{
	for (size_t i = 0; i < bound->n; i++) {
		struct binding *b = bound->items[i].binding;

		if (!bound->items[i].is_new)
			continue;
		b->next = *unwanted;
		*unwanted = b;
	}
	bound_release(bound);
}
