#include "ackd/metrics/process.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <uv.h>

static const char descriptors[] = "/proc/self/fd";

/* Counts the descriptors one by one. */
static uint64_t count_fds(uint64_t max)
{
	DIR *directory = opendir(descriptors);
	uint64_t n = 0;

	if (!directory)
		return errno == EMFILE ? max : 0;
	while (readdir(directory))
		n++;
	closedir(directory);
	return n > 3 ? n - 3 : 0; /* without ".", ".." and the directory's own */
}

static uint64_t open_fds(uint64_t max)
{
	struct stat status;

	if (stat(descriptors, &status) < 0)
		return 0;
	/* Linux 6.2 and later have the number here */
	return status.st_size > 0 ? (uint64_t)status.st_size : count_fds(max);
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

struct process_usage process_usage(void)
{
	struct process_usage usage = {0};
	struct rusage used;
	struct rlimit limit;
	size_t resident_bytes;

	if (getrusage(RUSAGE_SELF, &used) == 0)
		usage.cpu_seconds = seconds(used.ru_utime) + seconds(used.ru_stime);
	if (uv_resident_set_memory(&resident_bytes) == 0)
		usage.resident_bytes = resident_bytes;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		usage.max_fds = limit.rlim_cur;
	usage.open_fds = open_fds(usage.max_fds);
	return usage;
}
