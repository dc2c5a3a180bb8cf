#pragma once

/*
 * Doubly linked lists whose nodes are members of their elements. A list is a ring: a struct list is
 * the head as well as a node. An element is removed without its list, and freed by its owner.
 */

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *previous;
	struct list *next;
};

/* Initializes a head, or a node so that list_remove() may be called for it. */
static inline void list_init(struct list *list)
{
	list->previous = list;
	list->next = list;
}

static inline bool list_is_empty(const struct list *list)
{
	return list->next == list;
}

/* Adds @node at the end. */
static inline void list_append(struct list *list, struct list *node)
{
	node->previous = list->previous;
	node->next = list;
	list->previous->next = node;
	list->previous = node;
}

/* Removes @node from its list, if it is in one. */
static inline void list_remove(struct list *node)
{
	node->previous->next = node->next;
	node->next->previous = node->previous;
	list_init(node);
}

/* The element of @type whose @member is @node. */
#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/*
 * The node of @entry. It is calculated: at the end of an iteration @entry is not an element, but
 * the address that an element around the head would have, which may not be aligned for one.
 */
#define list_node(entry, member)                                                                   \
	((const struct list *)(const void *)((const char *)(entry) +                               \
					     offsetof(__typeof__(*(entry)), member)))

/* Iterates over all elements; the body must not remove @entry. */
#define list_for_each(entry, list, member)                                                         \
	for (entry = list_entry((list)->next, __typeof__(*entry), member);                         \
	     list_node(entry, member) != (list);                                                   \
	     entry = list_entry(list_node(entry, member)->next, __typeof__(*entry), member))

/* Iterates over all elements; the body may remove @entry. @after is used by the iteration. */
#define list_for_each_safe(entry, after, list, member)                                             \
	for (entry = list_entry((list)->next, __typeof__(*entry), member),                         \
	    after = list_entry(list_node(entry, member)->next, __typeof__(*entry), member);        \
	     list_node(entry, member) != (list); entry = after,                                    \
	    after = list_entry(list_node(entry, member)->next, __typeof__(*entry), member))
