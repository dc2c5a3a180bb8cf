#pragma once

/* Lists of address ranges in CIDR notation, with longest-prefix lookup. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

struct cidr {
	uint8_t address[16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d; host bits are 0 */
	uint8_t prefix;	     /* 0 to 128; an IPv4 prefix plus 96 */
	uint8_t reserved[3]; /* 0: lists are compared as bytes */
	uint32_t enclosing;  /* set by cidr_list_sort() */
};

/* The caller appends the items, then calls cidr_list_sort() once. */
struct cidr_list {
	struct cidr *items;
	size_t n;
	bool has_unix; /* "unix": peers of a UNIX socket */
};

/*
 * Parses "192.0.2.0/24", "2001:db8::/32" or an address without a prefix length (a range of one).
 * Returns 0, -EINVAL (not an address), -ERANGE (prefix length invalid for the address family) or
 * -EDOM (host bits are set).
 */
int cidr_parse(const char *text, struct cidr *ret_cidr);

/* The size of a cidr_format() result, including its NUL. */
#define CIDR_TEXT_MAX 64

/* Formats @cidr with its prefix length, in the notation that cidr_parse() accepts. Returns @out. */
const char *cidr_format(const struct cidr *cidr, char out[CIDR_TEXT_MAX]);

/*
 * Prepares @list for cidr_list_match(): sorts the items by address, then by prefix; removes
 * duplicates; links each item to the narrowest other item that encloses it.
 */
void cidr_list_sort(struct cidr_list *list);

/*
 * Returns the length of the longest prefix in the sorted @list that contains @address (AF_INET or
 * AF_INET6), or -1. Prefix lengths are those of the 128-bit form. An IPv4-mapped IPv6 address
 * counts as IPv4. An IPv4 address matches no IPv6 range, not even ::/0. For AF_UNIX, returns 128 if
 * the list has "unix", else -1. The cost is a binary search plus one step for each item that
 * encloses the one found.
 */
int cidr_list_match(const struct cidr_list *list, const struct sockaddr *address);

/* Frees the items. */
void cidr_list_finish(struct cidr_list *list);
