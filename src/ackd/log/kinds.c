#include "ackd/log/kinds.h"

/*
 * Kinds that clients can cause have a rate limit. All limits together are far below the journal's
 * own limit (10,000 entries in 30 s), so the journal never drops entries about the daemon itself.
 */
static const struct log_kind kinds[LOG_EVENT_COUNT] = {
	[LOG_START] = {"start", "63c7eca060944b8bacaf7f3b50a4dae4", LOG_LEVEL_NOTICE, 0, 0},
	[LOG_LISTEN] = {"listen", "636242d5ea5b4051815726c5f727d70e", LOG_LEVEL_INFO, 0, 0},
	[LOG_READY] = {"ready", "2ab7e587f8b247aca2685cc6a45d8677", LOG_LEVEL_INFO, 0, 0},
	[LOG_RELOAD] = {"reload", "363ebe7332504d0591325b9a3bee6a1a", LOG_LEVEL_NOTICE, 0, 0},
	[LOG_RELOAD_FAILED] = {"reload_failed", "cf57dd9986324afa8a0805ff91dd6537", LOG_LEVEL_ERROR,
			       0, 0},
	[LOG_CONNECT] = {"connect", "cfda8afd0d154a288c9a82613ff98a27", LOG_LEVEL_DEBUG, 100, 50},
	[LOG_DISCONNECT] = {"disconnect", "1a8468b9631f46c480fb6fe34430c575", LOG_LEVEL_DEBUG, 100,
			    50},
	[LOG_REFUSE] = {"refuse", "e766a6aaf5f64ecf91e11d8cffd82ab2", LOG_LEVEL_NOTICE, 20, 10},
	[LOG_HEALTH_CHECK] = {"health_check", "e91e794b53d84ac7bdb1bfe6d7f03647", LOG_LEVEL_DEBUG,
			      100, 50},
	[LOG_NAK] = {"nak", "d9eb6197a91145a18f7082c700eed663", LOG_LEVEL_NOTICE, 20, 10},
	[LOG_ACCEPT_ERROR] = {"accept_error", "21550b5b235d410dabb3d3271ae466be", LOG_LEVEL_WARNING,
			      10, 1},
	[LOG_DRAIN] = {"drain", "cd4bec5c97844ea886bd2bf7b13d6353", LOG_LEVEL_NOTICE, 0, 0},
	[LOG_HANDOVER] = {"handover", "8e13e10e8d93420fbe5642e94c1baa6c", LOG_LEVEL_NOTICE, 0, 0},
	[LOG_RESTORE] = {"restore", "279bee4a9d8f4f6982c4770ce77578b0", LOG_LEVEL_NOTICE, 100, 50},
	[LOG_STOP] = {"stop", "6cf4d17116b3411fb0c139bd7f98c519", LOG_LEVEL_NOTICE, 0, 0},
	[LOG_STATS] = {"stats", "d109f451831348d5aed3cf1caa9d4438", LOG_LEVEL_INFO, 0, 0},
	[LOG_DROPPED] = {"dropped", "7077925976c8433d87ac118febd86c51", LOG_LEVEL_WARNING, 0, 0},
};

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

const struct log_kind *log_kind(enum log_event event)
{
	return &kinds[event];
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

int log_level_priority(enum log_level level)
{
	static const int priorities[] = {
		[LOG_LEVEL_ERROR] = 3, [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_NOTICE] = 5,
		[LOG_LEVEL_INFO] = 6,  [LOG_LEVEL_DEBUG] = 7,
	};

	return priorities[level];
}
