#include "ackd/systemd.h"

#include <errno.h>

bool systemd_stderr_is_journal(void)
{
	return false;
}

bool systemd_is_private(const char *path)
{
	return false;
}

int systemd_journal_send(const struct iovec *fields, int n)
{
	return -ENOSYS;
}

void systemd_journal_flush(uint64_t timeout_us)
{
}

bool systemd_notify_wanted(void)
{
	return false;
}

void systemd_notify(const char *state)
{
}

uint64_t systemd_watchdog_us(void)
{
	return 0;
}

int systemd_listen_fds(struct systemd_fd **ret_fds)
{
	*ret_fds = NULL;
	return 0;
}

unsigned systemd_store_max(void)
{
	return 0;
}

int systemd_store_add(const char *name, const int *fds, size_t n)
{
	return -ENOSYS;
}

int systemd_store_remove(const char *name)
{
	return -ENOSYS;
}

int systemd_barrier(uint64_t timeout_us)
{
	return 0;
}

const char *systemd_version(void)
{
	return "none";
}
