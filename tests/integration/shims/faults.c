/*
 * Tests preload this library into the daemon. It makes system calls and allocations fail, and the
 * wall clock jump, as a control block requests. The block is in the file $ACKD_FAULTS, which the
 * test maps, too (faults.py has the same layout). Without the file all calls are passed on.
 */

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

struct control {
	_Atomic int64_t accept_errno; /* error of accept; 0: none */
	_Atomic int64_t accept_calls;
	_Atomic int64_t write_max;   /* maximum bytes of a write to a socket; 0: no limit */
	_Atomic int64_t write_again; /* every such write first fails with EAGAIN this many times */
	_Atomic int64_t write_calls;
	_Atomic int64_t read_max; /* the same for reading from a socket */
	_Atomic int64_t read_again;
	_Atomic int64_t read_calls;
	_Atomic int64_t clock_offset_s; /* of the wall clock */
	_Atomic int64_t alloc_fail;	/* which allocation fails, counted from 1; 0: none */
	_Atomic int64_t alloc_calls;
	_Atomic int64_t alloc_outcome; /* 1: one failed; -1: it was an excluded one */
	_Atomic int64_t lookup_hangs;  /* looking up a name does not return while this is set */
	_Atomic int64_t lookup_calls;
	_Atomic int64_t delay_us;   /* duration of each accept and each read from a socket */
	_Atomic int64_t pass_errno; /* error of passing descriptors to another process; 0: none */
	_Atomic int64_t send_errno; /* error of send; 0: none */
	_Atomic int64_t
		poll_fail; /* number of the new handle that a loop refuses, from 1; 0: none */
	_Atomic int64_t poll_calls;
	_Atomic int64_t turn_sent_max; /* maximum bytes that a loop has sent between two waits */
	_Atomic int64_t lookup_finds;  /* a name has that many addresses, from 127.1.0.1 on; 0: its
					  real ones */
};

static struct control nothing;
static struct control *control = &nothing;

/* The code of a library, or without a name that of the program. */
struct code {
	const char *name;
	uintptr_t begin, end;
};
static struct code libconfig = {.name = "/libconfig.so"};
static struct code libasan = {.name = "/libasan.so"};
static struct code libuv = {.name = "/libuv.so"};
static struct code program = {.name = ""};
static struct code loader = {.name = "/ld-linux"};
static struct code shim = {.name = "/faults.so"};

/* ---- the replaced functions ---- */

static int (*next_accept)(int, struct sockaddr *, socklen_t *);
static int (*next_accept4)(int, struct sockaddr *, socklen_t *, int);
static ssize_t (*next_write)(int, const void *, size_t);
static ssize_t (*next_writev)(int, const struct iovec *, int);
static ssize_t (*next_send)(int, const void *, size_t, int);
static ssize_t (*next_sendmsg)(int, const struct msghdr *, int);
static ssize_t (*next_recv)(int, void *, size_t, int);
static int (*next_epoll_ctl)(int, int, int, struct epoll_event *);
static int (*next_epoll_wait)(int, struct epoll_event *, int, int);
static int (*next_epoll_pwait)(int, struct epoll_event *, int, int, const sigset_t *);
static int (*next_getaddrinfo)(const char *, const char *, const struct addrinfo *,
			       struct addrinfo **);
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static void *(*next_aligned_alloc)(size_t, size_t);
static int (*next_posix_memalign)(void **, size_t, size_t);

/* dlsym() allocates before the real allocator is known. */
static _Alignas(16) char early[65536];
static size_t early_used;

static void *early_alloc(size_t n)
{
	void *p = early + early_used;

	early_used += (n + 15) & ~(size_t)15;
	if (early_used > sizeof(early))
		abort();
	return p;
}

static bool is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static int find_code(struct dl_phdr_info *info, size_t size, void *data)
{
	struct code *code = data;

	if (*code->name ? !strstr(info->dlpi_name, code->name) : *info->dlpi_name != '\0')
		return 0;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X)) {
			code->begin = begin;
			code->end = begin + info->dlpi_phdr[i].p_memsz;
		}
	}
	return 1;
}

static bool is_in(uintptr_t ip, const struct code *code)
{
	return ip >= code->begin && ip < code->end;
}

static void find_next(void)
{
	static bool finding;

	if (finding || next_free)
		return;
	finding = true;
#define FIND(name) *(void **)&next_##name = dlsym(RTLD_NEXT, #name)
	FIND(accept);
	FIND(accept4);
	FIND(write);
	FIND(writev);
	FIND(send);
	FIND(sendmsg);
	FIND(recv);
	FIND(epoll_ctl);
	FIND(epoll_wait);
	FIND(epoll_pwait);
	FIND(getaddrinfo);
	FIND(malloc);
	FIND(calloc);
	FIND(realloc);
	FIND(aligned_alloc);
	FIND(posix_memalign);
	FIND(free);
#undef FIND
	finding = false;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("ACKD_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *mapped;

	find_next();
	dl_iterate_phdr(find_code, &libconfig);
	dl_iterate_phdr(find_code, &libasan);
	dl_iterate_phdr(find_code, &libuv);
	dl_iterate_phdr(find_code, &program);
	dl_iterate_phdr(find_code, &loader);
	dl_iterate_phdr(find_code, &shim);
	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (mapped == MAP_FAILED)
		abort();
	control = mapped;
}

/* ---- sockets ---- */

static void delay(void)
{
	if (control->delay_us)
		usleep((useconds_t)control->delay_us);
}

/* Returns whether accept() may go on. */
static bool may_accept(void)
{
	int error = (int)control->accept_errno;

	control->accept_calls++;
	delay();
	errno = error;
	return error == 0;
}

int accept(int fd, struct sockaddr *address, socklen_t *length)
{
	return may_accept() ? next_accept(fd, address, length) : -1;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
	return may_accept() ? next_accept4(fd, address, length, flags) : -1;
}

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* Returns whether this call, the last of @calls, must fail with EAGAIN. */
static bool fails_again(int64_t again, int64_t calls)
{
	if (again == 0 || calls % (again + 1) == 0)
		return false;
	errno = EAGAIN;
	return true;
}

static bool write_fails(void)
{
	return fails_again(control->write_again, ++control->write_calls);
}

/* The first bytes of @iov, at most write_max. */
static ssize_t write_some(int fd, const struct iovec *iov, int n)
{
	size_t max = (size_t)control->write_max;

	for (int i = 0; i < n; i++)
		if (iov[i].iov_len > 0)
			return next_write(fd, iov[i].iov_base,
					  iov[i].iov_len < max ? iov[i].iov_len : max);
	return 0;
}

ssize_t write(int fd, const void *p, size_t n)
{
	find_next();
	if ((control->write_max || control->write_again) && is_socket(fd)) {
		const struct iovec iov = {(void *)(uintptr_t)p, n};

		if (write_fails())
			return -1;
		if (control->write_max)
			return write_some(fd, &iov, 1);
	}
	return next_write(fd, p, n);
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
	if ((control->write_max || control->write_again) && is_socket(fd)) {
		if (write_fails())
			return -1;
		if (control->write_max)
			return write_some(fd, iov, n);
	}
	return next_writev(fd, iov, n);
}

/* ---- bytes sent per turn of a loop ---- */

static _Thread_local int64_t turn_sent;

/* Counts what was sent, unless it was an error. Returns @n. */
static ssize_t count_sent(ssize_t n)
{
	if (n > 0)
		turn_sent += n;
	if (turn_sent > control->turn_sent_max)
		control->turn_sent_max = turn_sent;
	return n;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	turn_sent = 0;
	return next_epoll_wait(fd, events, max, timeout);
}

int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	turn_sent = 0;
	return next_epoll_pwait(fd, events, max, timeout, mask);
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
	size_t max = (size_t)control->write_max;

	if (control->send_errno) {
		errno = (int)control->send_errno;
		return -1;
	}
	if (control->write_max || control->write_again) {
		if (write_fails())
			return -1;
		if (max > 0 && n > max)
			n = max;
	}
	return count_sent(next_send(fd, p, n, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (control->pass_errno && message->msg_control && !message->msg_name) {
		errno = (int)control->pass_errno;
		return -1;
	}
	if ((control->write_max || control->write_again) && !message->msg_control) {
		if (write_fails())
			return -1;
		if (control->write_max)
			return write_some(fd, message->msg_iov, (int)message->msg_iovlen);
	}
	return count_sent(next_sendmsg(fd, message, flags));
}

ssize_t recv(int fd, void *p, size_t n, int flags)
{
	size_t max = (size_t)control->read_max;

	if (flags & MSG_PEEK) /* consumes nothing */
		return next_recv(fd, p, n, flags);
	delay();
	if (control->read_max || control->read_again) {
		if (fails_again(control->read_again, ++control->read_calls))
			return -1;
		if (max > 0 && n > max)
			n = max;
	}
	return next_recv(fd, p, n, flags);
}

/* libuv tests a descriptor, with the data -1, before it adds a handle; later it would abort. */
int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
	if (operation == EPOLL_CTL_ADD && event->data.fd == -1 &&
	    ++control->poll_calls == control->poll_fail) {
		errno = ENOSPC;
		return -1;
	}
	return next_epoll_ctl(epoll_fd, operation, fd, event);
}

/* ---- names ---- */

int getaddrinfo(const char *restrict name, const char *restrict service,
		const struct addrinfo *restrict hints, struct addrinfo **restrict ret_found)
{
	control->lookup_calls++;
	while (control->lookup_hangs)
		usleep(1000);
	if (control->lookup_finds == 0)
		return next_getaddrinfo(name, service, hints, ret_found);
	for (int64_t i = 1; i <= control->lookup_finds; i++) {
		char address[INET_ADDRSTRLEN];
		int r;

		snprintf(address, sizeof(address), "127.1.0.%d", (int)i);
		r = next_getaddrinfo(address, service, hints, ret_found);
		if (r != 0)
			return r;
		ret_found = &(*ret_found)->ai_next;
	}
	return 0;
}

/* ---- the wall clock ---- */

int clock_gettime(clockid_t clock, struct timespec *ts)
{
	/* not by dlsym(), which frees memory: the address sanitizer then reads the clock */
	int r = (int)syscall(SYS_clock_gettime, clock, ts);

	if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
		ts->tv_sec += control->clock_offset_s;
	return r;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;
	int r = clock_gettime(CLOCK_REALTIME, &ts);

	*tv = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
	return r;
}

time_t time(time_t *ret_time)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	if (ret_time)
		*ret_time = ts.tv_sec;
	return ts.tv_sec;
}

/* ---- memory ---- */

struct callers {
	bool is_realloc;
	bool in_program; /* one of the frames so far */
	bool seen;	 /* the first frame has been examined */
	bool left_out;
};

/*
 * Excludes code that is known not to survive a failed allocation: libconfig 1.5, the sanitizer,
 * libuv where its table of descriptors grows (its only reallocation), and, in a build that measures
 * coverage, gcov, which the loader calls after the end of the program.
 */
static _Unwind_Reason_Code look_at_frame(struct _Unwind_Context *context, void *data)
{
	struct callers *callers = data;
	uintptr_t ip = _Unwind_GetIP(context);

	if (is_in(ip, &shim))
		return _URC_NO_REASON;
	callers->in_program |= is_in(ip, &program);
	callers->left_out = is_in(ip, &libconfig) || is_in(ip, &libasan) ||
			    (callers->in_program && is_in(ip, &loader)) ||
			    (callers->is_realloc && !callers->seen && is_in(ip, &libuv));
	callers->seen = true;
	return callers->left_out ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static bool alloc_fails(bool is_realloc)
{
	struct callers callers = {.is_realloc = is_realloc};
	int64_t fail = control->alloc_fail;
	int64_t calls = ++control->alloc_calls;

	if (fail == 0 || calls != fail)
		return false;
	_Unwind_Backtrace(look_at_frame, &callers);
	if (callers.left_out) {
		control->alloc_outcome = -1;
		return false;
	}
	control->alloc_outcome = 1;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	find_next();
	if (!next_free)
		return early_alloc(n);
	return alloc_fails(false) ? NULL : next_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	find_next();
	if (!next_free)
		return early_alloc(n * size); /* is zero */
	return alloc_fails(false) ? NULL : next_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	find_next();
	if (is_early(p))
		return memcpy(next_malloc(n), p, n);
	return alloc_fails(true) ? NULL : next_realloc(p, n);
}

void *reallocarray(void *p, size_t n, size_t size)
{
	size_t total;

	if (__builtin_mul_overflow(n, size, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, total);
}

void *aligned_alloc(size_t alignment, size_t n)
{
	return alloc_fails(false) ? NULL : next_aligned_alloc(alignment, n);
}

int posix_memalign(void **ret_p, size_t alignment, size_t n)
{
	return alloc_fails(false) ? ENOMEM : next_posix_memalign(ret_p, alignment, n);
}

void free(void *p)
{
	if (!is_early(p) && next_free)
		next_free(p);
}
