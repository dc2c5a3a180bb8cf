#include "proc.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads a file of /proc as a string; a process that has gone reads as "". */
static void read_text(const char *path, char *out, size_t size)
{
	ssize_t n = -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		n = read(fd, out, size - 1);
		close(fd);
	}
	out[n > 0 ? n : 0] = '\0';
}

static pid_t session_of(const char *pid)
{
	char path[64], text[1024];
	const char *rest;
	int session;

	snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
	read_text(path, text, sizeof text);
	/* The name in parentheses may contain anything; the last one closes it. */
	rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1, " %*c %*d %*d %d", &session) != 1)
		return -1;
	return session;
}

static uint64_t cpu_of(const char *pid)
{
	char path[96], text[128];
	uint64_t sum = 0;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%.20s/task", pid);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof path, "/proc/%.20s/task/%.20s/schedstat", pid, entry->d_name);
		read_text(path, text, sizeof text);
		sum += strtoull(text, NULL, 10);
	}
	closedir(dir);
	return sum;
}

static uint64_t anonymous_of(const char *pid)
{
	char path[64], text[4096];
	const char *line;

	snprintf(path, sizeof path, "/proc/%.20s/status", pid);
	read_text(path, text, sizeof text);
	line = strstr(text, "\nRssAnon:");
	return line ? strtoull(line + sizeof "\nRssAnon:" - 1, NULL, 10) : 0;
}

int proc_usage_read(pid_t session, struct proc_usage *ret_usage)
{
	struct proc_usage usage = {0};
	struct dirent *entry;
	DIR *dir;

	dir = opendir("/proc");
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    session_of(entry->d_name) != session)
			continue;
		usage.cpu_ns += cpu_of(entry->d_name);
		usage.anonymous_kib += anonymous_of(entry->d_name);
		usage.n_processes++;
	}
	closedir(dir);
	if (usage.n_processes == 0)
		return -ESRCH;
	*ret_usage = usage;
	return 0;
}
