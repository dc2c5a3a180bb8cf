#pragma once

/* Lists of address ranges in CIDR notation, and which of them an address falls in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

struct cidr {
	uint8_t address[16]; /* IPv6, or IPv4 as ::ffff:a.b.c.d; bits after the prefix are 0 */
	uint8_t prefix;	     /* 0 to 128; an IPv4 prefix plus 96 */
	uint8_t reserved[3]; /* 0: lists are compared byte by byte */
	uint32_t enclosing;  /* set by cidr_list_sort() */
};

/* The caller appends the items, then calls cidr_list_sort() once. */
struct cidr_list {
	struct cidr *items;
	size_t n;
	bool has_unix; /* "unix": peers of a UNIX socket */
};

/*
 * Parses "192.0.2.0/24", "2001:db8::/32" or an address alone (all of its bits). Bits set after the
 * prefix are an error. Returns 0, -EINVAL (not an address), -ERANGE (not a prefix length for it) or
 * -EDOM (bits after the prefix).
 */
int cidr_parse(const char *text, struct cidr *ret_cidr);

/* The most that cidr_format() writes, its NUL counted. */
#define CIDR_TEXT_MAX 64

/* Writes @cidr as cidr_parse() reads it, with its prefix length. Returns @out. */
const char *cidr_format(const struct cidr *cidr, char out[CIDR_TEXT_MAX]);

/*
 * Prepares @list for cidr_list_match(): sorts the items by address, then by prefix; removes
 * duplicates; links each item to the narrowest other item that encloses it.
 */
void cidr_list_sort(struct cidr_list *list);

/*
 * Returns the length of the longest prefix in the sorted @list that @address (AF_INET, AF_INET6; an
 * IPv4-mapped IPv6 address counts as IPv4) falls in, as prefix length in the 128-bit form, or -1.
 * An IPv4 address falls in no IPv6 range, not even ::/0. For AF_UNIX: 128 when the list has "unix",
 * else -1. Takes a binary search, then a step for each item that encloses the one found.
 */
int cidr_list_match(const struct cidr_list *list, const struct sockaddr *address);

/* Releases the items. */
void cidr_list_finish(struct cidr_list *list);
