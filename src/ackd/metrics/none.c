#include "ackd/metrics/metrics.h"

#include <errno.h>

int metrics_create(uv_loop_t *loop, void (*look)(void *data, struct metrics_view *ret_view),
		   void *data, struct metrics **ret_metrics)
{
	return -ENOSYS;
}

int metrics_listen(struct metrics *metrics, int fd)
{
	return -ENOSYS;
}

void metrics_unlisten(struct metrics *metrics, int fd)
{
}

void metrics_destroy(struct metrics *metrics)
{
}
