#include "ackd/systemd/systemd.h"

#include <errno.h>
#include <unistd.h>

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

bool systemd_has_store(void)
{
	return false;
}

unsigned systemd_store_room(unsigned wanted, unsigned n_stored)
{
	return 0;
}

int systemd_store_add(const char *name, const int *fds, size_t n)
{
	return -ENOSYS;
}

int systemd_store_end(const char *name, int end, int peer)
{
	close(end);
	return -ENOSYS;
}

bool systemd_store_has_end(int peer)
{
	return false;
}

int systemd_store_remove(const char *name)
{
	return -ENOSYS;
}

int systemd_barrier(void)
{
	return 0;
}

const char *systemd_version(void)
{
	return "none";
}
