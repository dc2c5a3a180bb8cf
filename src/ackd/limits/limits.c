#include "ackd/limits/limits.h"

#include "base/descriptors.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

/* Chains stay short up to about ten thousand addresses. A power of two. */
#define BUCKETS 8192

struct limits_address {
	struct limits_address *next;
	uint64_t n;
	uint8_t key[9]; /* family and IPv4 address, or family and /64 */
};

struct limits_address_table {
	pthread_mutex_t mutex;
	uint64_t seed; /* random: clients cannot choose addresses that share a chain */
	struct limits_address *buckets[BUCKETS];
};

const char *refusal_name(enum refusal refusal)
{
	static const char *const names[] = {
		[REFUSAL_NONE] = "none",
		[REFUSAL_DENIED] = "denied",
		[REFUSAL_CONNECTIONS] = "too many connections",
		[REFUSAL_PER_ADDRESS] = "too many connections from this address",
		[REFUSAL_MEMORY] = "out of memory",
		[REFUSAL_PROXY] = "no valid PROXY header",
		[REFUSAL_TLS] = "no valid TLS handshake",
	};

	return names[refusal];
}

int limits_init(struct limits *limits, size_t max_memory_bytes)
{
	struct limits_address_table *table = calloc(1, sizeof(*table));
	int r;

	if (!table)
		return -ENOMEM;
	r = uv_random(NULL, NULL, &table->seed, sizeof(table->seed), 0, NULL);
	if (r < 0) {
		free(table);
		return r;
	}
	pthread_mutex_init(&table->mutex, NULL);
	*limits = (struct limits){.addresses = table};
	budget_init(&limits->budget, max_memory_bytes);
	descriptors_raise_limit();
	return 0;
}

void limits_finish(struct limits *limits)
{
	struct limits_address_table *table = limits->addresses;

	if (!table)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (table->buckets[i]) {
			struct limits_address *next = table->buckets[i]->next;

			free(table->buckets[i]);
			table->buckets[i] = next;
		}
	}
	pthread_mutex_destroy(&table->mutex);
	free(table);
	limits->addresses = NULL;
}

uint64_t limits_descriptor_room(uint64_t reserve)
{
	uint64_t descriptors = descriptors_raise_limit();

	return descriptors > reserve ? descriptors - reserve : 1;
}

uint64_t limits_configure(struct limits *limits, uint64_t max_connections, uint64_t max_per_address,
			  uint64_t reserve)
{
	uint64_t room = limits_descriptor_room(reserve);

	if (max_connections > room)
		max_connections = room;
	atomic_store_explicit(&limits->max_connections, max_connections, memory_order_relaxed);
	atomic_store_explicit(&limits->max_per_address, max_per_address, memory_order_relaxed);
	return max_connections;
}

static void address_key(const struct address *address, uint8_t key[9])
{
	memset(key, 0, 9);
	key[0] = address->family;
	memcpy(key + 1, address->bytes, address->family == AF_INET6 ? 8 : 4);
}

static struct limits_address **address_find(struct limits_address_table *table,
					    const uint8_t key[9])
{
	uint64_t hash = table->seed;
	struct limits_address **entry;

	for (size_t i = 0; i < 9; i++)
		hash = (hash ^ key[i]) * UINT64_C(0x9E3779B97F4A7C15);
	entry = &table->buckets[(hash >> 32) % BUCKETS];
	while (*entry && memcmp((*entry)->key, key, 9) != 0)
		entry = &(*entry)->next;
	return entry;
}

static enum refusal address_admit(struct limits *limits, const struct address *address)
{
	uint64_t max = atomic_load_explicit(&limits->max_per_address, memory_order_relaxed);
	enum refusal refusal = REFUSAL_NONE;
	struct limits_address **entry;
	uint8_t key[9];

	address_key(address, key);
	pthread_mutex_lock(&limits->addresses->mutex);
	entry = address_find(limits->addresses, key);
	if (max > 0 && *entry && (*entry)->n >= max) {
		refusal = REFUSAL_PER_ADDRESS;
	} else if (*entry) {
		(*entry)->n++;
	} else {
		*entry = calloc(1, sizeof(**entry));
		if (*entry) {
			memcpy((*entry)->key, key, 9);
			(*entry)->n = 1;
		} else {
			refusal = REFUSAL_MEMORY;
		}
	}
	pthread_mutex_unlock(&limits->addresses->mutex);
	return refusal;
}

static void address_release(struct limits *limits, const struct address *address)
{
	struct limits_address **entry;
	uint8_t key[9];

	address_key(address, key);
	pthread_mutex_lock(&limits->addresses->mutex);
	entry = address_find(limits->addresses, key);
	if (*entry && --(*entry)->n == 0) {
		struct limits_address *gone = *entry;

		*entry = gone->next;
		free(gone);
	}
	pthread_mutex_unlock(&limits->addresses->mutex);
}

/* Reserves one of @max places counted by @n. Returns false if none is free. */
static bool place_take(_Atomic uint64_t *n, uint64_t max)
{
	uint64_t taken = atomic_load_explicit(n, memory_order_relaxed);

	do {
		if (taken >= max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(n, &taken, taken + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static void place_give(_Atomic uint64_t *n)
{
	atomic_fetch_sub_explicit(n, 1, memory_order_relaxed);
}

/* Counts a client's address, if it has one. */
static enum refusal count_address(struct limits *limits, const struct address *address)
{
	return address->family == AF_UNIX ? REFUSAL_NONE : address_admit(limits, address);
}

enum refusal limits_pass_on(struct limits *limits, const struct address *address)
{
	return count_address(limits, address);
}

enum refusal limits_admit(struct limits *limits, const struct address *address)
{
	uint64_t max = atomic_load_explicit(&limits->max_connections, memory_order_relaxed);
	enum refusal refusal;

	if (!place_take(&limits->open, max))
		return REFUSAL_CONNECTIONS;
	refusal = count_address(limits, address);
	if (refusal != REFUSAL_NONE)
		place_give(&limits->open);
	return refusal;
}

void limits_release(struct limits *limits, const struct address *address)
{
	if (address->family != AF_UNIX)
		address_release(limits, address);
	place_give(&limits->open);
}

bool limits_refusal_begin(struct limits *limits)
{
	return place_take(&limits->refusing, LIMITS_REFUSALS_MAX);
}

void limits_refusal_end(struct limits *limits)
{
	place_give(&limits->refusing);
}

void limits_configure_handshakes(struct limits *limits, uint64_t max_handshakes)
{
	atomic_store_explicit(&limits->max_handshakes, max_handshakes, memory_order_relaxed);
}

bool limits_handshake_begin(struct limits *limits, size_t bytes)
{
	if (!place_take(&limits->handshakes,
			atomic_load_explicit(&limits->max_handshakes, memory_order_relaxed)))
		return false;
	if (budget_take(&limits->budget, bytes))
		return true;
	place_give(&limits->handshakes);
	return false;
}

void limits_handshake_end(struct limits *limits, size_t bytes)
{
	budget_give(&limits->budget, bytes);
	place_give(&limits->handshakes);
}

uint64_t limits_number(struct limits *limits)
{
	return atomic_fetch_add_explicit(&limits->numbered, 1, memory_order_relaxed) + 1;
}
