/*
 * The set of listening sockets over changes of the configuration, and the service manager's store,
 * which the test provides. Configurations come from a file; sockets are real.
 */

#include "ackd/sockets/socket_set.h"
#include "ackd/sockets/store.h"
#include "base/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define WORKERS 2

/* ---- the service manager ---- */

/* Its store: copies of descriptors, as the manager keeps them. */
static struct systemd_fd stored[32];
static unsigned n_stored, store_max;

static ino_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static bool is_stored(int fd)
{
	for (unsigned i = 0; i < n_stored; i++)
		if (inode_of(stored[i].fd) == inode_of(fd))
			return true;
	return false;
}

bool systemd_has_store(void)
{
	return store_max > 0;
}

unsigned systemd_store_room(unsigned wanted, unsigned n)
{
	unsigned room = store_max - n_stored;

	return wanted < room ? wanted : room;
}

int systemd_store_add(const char *name, const int *fds, size_t n)
{
	for (size_t i = 0; i < n && n_stored < store_max; i++)
		if (!is_stored(fds[i]))
			stored[n_stored++] = (struct systemd_fd){dup(fds[i]), strdup(name)};
	return store_max > 0 ? 0 : -ENOTCONN;
}

int systemd_store_remove(const char *name)
{
	unsigned left = 0;

	for (unsigned i = 0; i < n_stored; i++) {
		if (strcmp(stored[i].name, name) != 0) {
			stored[left++] = stored[i];
			continue;
		}
		close(stored[i].fd);
		free(stored[i].name);
	}
	n_stored = left;
	return 0;
}

int systemd_barrier(void)
{
	return 0;
}

bool systemd_is_private(const char *path)
{
	return false;
}

bool systemd_stderr_is_journal(void)
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

/* ---- the daemon's side ---- */

static struct socket_set set;
static char directory[] = "/tmp/ackd-sockets-XXXXXX";
static char config_path[sizeof(directory) + 16];
static char *errors; /* of the last change */

static int start(void **state)
{
	socket_set_init(&set);
	store_max = 0;
	return 0;
}

static int finish(void **state)
{
	socket_set_finish(&set);
	for (unsigned i = 0; i < n_stored; i++) {
		close(stored[i].fd);
		free(stored[i].name);
	}
	n_stored = 0;
	free(errors);
	errors = NULL;
	return 0;
}

static void write_config(const char *text)
{
	FILE *file = fopen(config_path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

__attribute__((format(printf, 1, 2))) static struct candidate *read_candidate(const char *format,
									      ...)
{
	struct candidate *candidate;
	va_list arguments;
	char text[1024];

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	write_config(text);
	assert_int_equal(candidate_read(&(struct config_source){.path = config_path, .port = -1},
					stderr, &candidate),
			 0);
	return candidate;
}

static int bind_only(const struct candidate *candidate)
{
	size_t length;
	FILE *out;
	int r;

	free(errors);
	out = open_memstream(&errors, &length);
	r = socket_set_bind(&set, candidate, 0, WORKERS, out);
	fclose(out);
	return r;
}

/* Carries out the change to @candidate, which it releases, and expects that it succeeds. */
static void change(struct candidate *candidate)
{
	assert_int_equal(bind_only(candidate), 0);
	assert_string_equal(errors, "");
	assert_int_equal(socket_set_listen(&set, candidate->config), 0);
	socket_set_commit(&set, candidate->config);
	store_sync(&set.endpoints);
	socket_set_check_invariant(&set);
	candidate_destroy(candidate);
}

static unsigned count(enum endpoint_state state)
{
	struct endpoint *e;
	unsigned n = 0;

	list_for_each (e, &set.endpoints, node)
		n += e->state == state;
	return n;
}

/* Returns the only active endpoint of that listener, or of the metrics. */
static struct endpoint *find(const char *listener, bool metrics)
{
	struct endpoint *e, *found = NULL;

	list_for_each (e, &set.endpoints, node) {
		if (e->state != ENDPOINT_ACTIVE || strcmp(e->listener, listener) != 0 ||
		    e->metrics != metrics)
			continue;
		assert_null(found);
		found = e;
	}
	assert_non_null(found);
	return found;
}

static unsigned port_of(const char *listener, bool metrics)
{
	return sockaddr_port(&find(listener, metrics)->bound);
}

/* Returns whether a connection to @port of 127.0.0.1 succeeds. */
static bool connects(unsigned port)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM, 0), r;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	r = connect(fd, (struct sockaddr *)&in, sizeof(in));
	close(fd);
	return r == 0;
}

/* Returns whether a retired socket refuses connections, which needs support by the system. */
static bool retired_refuse(void)
{
	int fd = sock_open(AF_INET);
	bool is_retired;

	assert_true(fd >= 0);
	sock_retire(fd);
	is_retired = sock_is_retired(fd);
	close(fd);
	return is_retired;
}

/* Restores the sockets of the store, as a process does that starts. */
static void restart(void)
{
	struct systemd_fd fds[32];

	socket_set_finish(&set);
	for (unsigned i = 0; i < n_stored; i++)
		fds[i] = (struct systemd_fd){dup(stored[i].fd), strdup(stored[i].name)};
	store_take(fds, n_stored, &set.endpoints);
}

#define LISTENER "{ name = \"%s\"; address = \"127.0.0.1\"; port = %u; }"

/* ---- reading in a thread ---- */

static void on_read(uv_async_t *async)
{
	uv_stop(async->loop);
}

static void test_candidate_is_read_in_a_thread(void **state)
{
	static const struct config_source source = {.path = config_path, .port = 4711};
	const int expected[] = {0, -EINVAL};
	struct candidate *candidate;
	struct candidate_job *job;
	uv_async_t async;
	uv_loop_t loop;
	char *lines;

	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_async_init(&loop, &async, on_read), 0);
	for (int i = 0; i < 2; i++) {
		write_config(i == 0 ? "workers = 1;" : "workers = nonsense;");
		assert_int_equal(candidate_job_begin(&source, &async, &job), 0);
		uv_run(&loop, UV_RUN_DEFAULT);
		assert_true(candidate_job_is_done(job));
		assert_int_equal(candidate_job_take(job, &candidate, &lines), expected[i]);
		assert_true(i == 0 ? candidate->config->listeners[0].port == 4711 : !candidate);
		assert_true(i == 0 ? !*lines : strstr(lines, "workers") != NULL);
		candidate_destroy(candidate);
		free(lines);
	}
	/* an abandoned candidate does not use the async, whether its thread still runs or not */
	assert_int_equal(candidate_job_begin(&source, &async, &job), 0);
	candidate_job_abandon(job);
	uv_close((uv_handle_t *)&async, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- changes ---- */

static void test_metrics_and_listeners_open_and_close(void **state)
{
	unsigned port;

	change(read_candidate("metrics = { address = \"127.0.0.1\"; port = 0; };"
			      "listeners = (" LISTENER ", " LISTENER ");",
			      "a", 0, "metrics", 0));
	assert_int_equal(count(ENDPOINT_ACTIVE), 3);
	assert_int_equal(find("a", false)->n_fds, WORKERS);
	assert_int_equal(find("metrics", false)->n_fds, WORKERS);
	assert_int_equal(find("metrics", true)->n_fds, 1);
	assert_true(connects(port_of("metrics", true)));
	port = port_of("a", false);
	change(read_candidate("listeners = (" LISTENER ");", "metrics", 0));
	assert_int_equal(count(ENDPOINT_ACTIVE), 1);
	assert_int_equal(count(ENDPOINT_RETIRED), 2);
	assert_true(socket_set_has_retired(&set));
	assert_int_equal(connects(port), !retired_refuse());
	socket_set_close_retired(&set);
	assert_false(socket_set_has_retired(&set));
	assert_false(connects(port));
	assert_true(connects(port_of("metrics", false)));
}

static void test_failed_change_changes_nothing(void **state)
{
	struct candidate *candidate;
	unsigned port;

	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	port = port_of("a", false);
	candidate = read_candidate("listeners = (" LISTENER ", " LISTENER
				   ", { name = \"c\"; path = \"%s/none/s\"; });",
				   "b", 0, "d", 0, directory);
	assert_int_equal(bind_only(candidate), -ENOENT);
	assert_non_null(strstr(errors, "listener \"c\": cannot listen on"));
	candidate_destroy(candidate);
	assert_int_equal(count(ENDPOINT_ACTIVE), 1);
	assert_int_equal(count(ENDPOINT_NEW), 0);
	assert_true(connects(port));
}

static void test_rollback_closes_new_sockets(void **state)
{
	struct candidate *candidate;
	struct stat st;
	char path[64];

	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	snprintf(path, sizeof(path), "%s/s", directory);
	candidate = read_candidate("listeners = ({ name = \"b\"; path = \"%s\"; });", path);
	assert_int_equal(bind_only(candidate), 0);
	assert_int_equal(count(ENDPOINT_NEW), 1);
	assert_int_equal(stat(path, &st), 0);
	socket_set_rollback(&set);
	candidate_destroy(candidate);
	assert_int_equal(count(ENDPOINT_NEW), 0);
	assert_int_equal(stat(path, &st), -1);
	assert_true(connects(port_of("a", false)));
}

static void test_existing_sockets_are_kept(void **state)
{
	int a;

	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	a = find("a", false)->fds[0];
	/* a listener that comes first does not get a socket that another one needs */
	change(read_candidate("listeners = (" LISTENER ", " LISTENER ");", "0", 0, "a", 0));
	assert_int_equal(find("a", false)->fds[0], a);
	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	socket_set_close_retired(&set);
	/* a listener with another name gets the sockets of its address */
	change(read_candidate("listeners = (" LISTENER ");", "b", 0));
	assert_int_equal(find("b", false)->fds[0], a);
	assert_int_equal(count(ENDPOINT_RETIRED), 0);
}

/* No other process may take the port meanwhile, so the sockets move. */
static void test_metrics_move_to_the_address_of_a_listener(void **state)
{
	const char text[] = "metrics = { address = \"127.0.0.1\"; port = %u; };"
			    "listeners = (" LISTENER ");";
	unsigned first, second;
	int a, metrics;

	change(read_candidate(text, 0, "a", 0));
	first = port_of("a", false);
	second = port_of("metrics", true);
	change(read_candidate(text, second, "a", first)); /* now configured with these ports */
	socket_set_close_retired(&set);
	a = find("a", false)->fds[0];
	metrics = find("metrics", true)->fds[0];
	change(read_candidate(text, first, "a", second));
	assert_int_equal(find("metrics", true)->fds[0], a);
	assert_int_equal(find("a", false)->fds[0], metrics);
	assert_int_equal(count(ENDPOINT_RETIRED), 0);
}

static void test_address_can_be_widened(void **state)
{
	unsigned port;
	int fd;

	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	port = port_of("a", false);
	fd = find("a", false)->fds[0];
	change(read_candidate("listeners = ({ name = \"a\"; address = \"0.0.0.0\"; port = %u; });",
			      port));
	assert_int_not_equal(find("a", false)->fds[0], fd);
	assert_int_equal(count(ENDPOINT_RETIRED), 1);
	assert_true(connects(port));
	socket_set_close_retired(&set);
	assert_true(connects(port));
}

static void test_two_spellings_of_a_path_conflict(void **state)
{
	const char text[] = "listeners = ({ name = \"a\"; path = \"%s/%ss\"; }%s);";
	char other[128];
	struct candidate *candidate;
	int fd;

	snprintf(other, sizeof(other), ", { name = \"b\"; path = \"%s/./s\"; }", directory);
	candidate = read_candidate(text, directory, "", other);
	assert_int_equal(bind_only(candidate), -EADDRINUSE);
	assert_non_null(strstr(errors, "/./s: address already in use by listener \"a\" on unix:"));
	candidate_destroy(candidate);
	change(read_candidate(text, directory, "", ""));
	fd = find("a", false)->fds[0];
	change(read_candidate(text, directory, "./", ""));
	assert_int_equal(find("a", false)->fds[0], fd);
}

/* The port that the kernel chooses for the first address is never free on the second. */
static void test_no_port_for_all_addresses(void **state)
{
	struct candidate *candidate = read_candidate("listeners = (" LISTENER ");", "a", 0);
	struct resolved *resolved = &candidate->resolved[0];

	resolved->addresses[1] = resolved->addresses[0];
	((struct sockaddr_in *)&resolved->addresses[1])->sin_addr.s_addr = INADDR_ANY;
	resolved->lengths[1] = resolved->lengths[0];
	resolved->n = 2;
	assert_int_equal(bind_only(candidate), -EADDRINUSE);
	assert_non_null(strstr(errors, "listener \"a\": cannot listen on 0.0.0.0:"));
	assert_true(list_is_empty(&set.endpoints));
	candidate_destroy(candidate);
}

/* ---- the service manager's sockets ---- */

static void test_passed_sockets(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct systemd_fd fds[1];
	struct candidate *candidate = read_candidate("listeners = (" LISTENER ");", "a", 0);

	fds[0].fd = socket(AF_INET, SOCK_STREAM, 0);
	fds[0].name = strdup("a");
	assert_int_equal(bind(fds[0].fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fds[0].fd, 1), 0);
	store_max = 8;
	assert_int_equal(socket_set_adopt(&set, candidate->config, fds, 1, stderr), 0);
	change(candidate);
	assert_true(find("a", false)->passed);
	assert_true(connects(port_of("a", false)));
	assert_int_equal(n_stored, 0);
	/* it stays the manager's when it is no longer needed */
	change(read_candidate("listeners = (" LISTENER ");", "b", 0));
	assert_int_equal(count(ENDPOINT_RETIRED), 1);
	assert_int_equal(n_stored, WORKERS);
}

static void test_metrics_aside_a_restart_keeps_the_ports(void **state)
{
	unsigned port;

	store_max = 32;
	change(read_candidate("metrics = { address = \"127.0.0.1\"; port = 0; };"
			      "listeners = (" LISTENER ");",
			      "a", 0));
	port = port_of("a", false);
	assert_int_equal(n_stored, WORKERS); /* the metrics' are not stored */
	assert_int_equal(store_lacks(&set.endpoints, NULL), 0);
	restart();
	assert_int_equal(count(ENDPOINT_INHERITED), 1);
	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	assert_int_equal(port_of("a", false), port);
	store_clear(&set.endpoints);
	assert_int_equal(n_stored, 0);
	assert_int_equal(store_lacks(&set.endpoints, NULL), WORKERS);
}

/* If the start fails, the next one must still find the sockets in the store. */
static void test_failed_start_leaves_the_store(void **state)
{
	struct candidate *candidate;

	store_max = 32;
	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	restart();
	candidate = read_candidate("listeners = (" LISTENER
				   ", { name = \"c\"; path = \"%s/none/s\"; });",
				   "a", 0, directory);
	assert_int_equal(bind_only(candidate), -ENOENT);
	candidate_destroy(candidate);
	assert_int_equal(n_stored, WORKERS);
	assert_int_equal(count(ENDPOINT_INHERITED), 1);
}

#define OTHER_ADDRESS "{ name = \"%s\"; address = \"127.0.0.2\"; port = %u; }"

/* All sockets of a listener have one name, under which the manager removes them together. */
static void test_sockets_of_one_name(void **state)
{
	store_max = 32;
	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	change(read_candidate("listeners = (" OTHER_ADDRESS ");", "a", 0));
	assert_int_equal(n_stored, 2 * WORKERS);
	socket_set_close_retired(&set);
	assert_int_equal(n_stored, WORKERS);
	assert_true(is_stored(find("a", false)->fds[0]));
}

/* A start that drops sockets from the store keeps the others of the same name there. */
static void test_sockets_of_one_name_at_start(void **state)
{
	struct candidate *candidate;
	unsigned port;

	store_max = 32;
	change(read_candidate("listeners = (" LISTENER ");", "a", 0));
	change(read_candidate("listeners = (" OTHER_ADDRESS ");", "a", 0));
	port = port_of("a", false);
	restart();
	candidate = read_candidate("listeners = (" OTHER_ADDRESS
				   ", { name = \"c\"; path = \"%s/none/s\"; });",
				   "b", port, directory);
	assert_int_equal(bind_only(candidate), -ENOENT);
	candidate_destroy(candidate);
	assert_int_equal(n_stored, WORKERS);
	assert_int_equal(count(ENDPOINT_RETIRED), 0);
	assert_int_equal(count(ENDPOINT_INHERITED), 1);
}

static void test_full_store_shares_sockets(void **state)
{
	store_max = 4; /* of which a hand-over needs one */
	change(read_candidate("listeners = (" LISTENER ", " LISTENER ", " LISTENER ");", "a", 0,
			      "b", 0, "c", 0));
	assert_int_equal(find("a", false)->n_fds, 1);
	assert_int_equal(n_stored, 3);
	assert_int_equal(store_lacks(&set.endpoints, NULL), 0);
}

static int group_start(void **state)
{
	assert_non_null(mkdtemp(directory));
	snprintf(config_path, sizeof(config_path), "%s/ackd.conf", directory);
	return 0;
}

static int group_finish(void **state)
{
	unlink(config_path);
	return rmdir(directory);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_candidate_is_read_in_a_thread),
		TEST(test_metrics_and_listeners_open_and_close),
		TEST(test_failed_change_changes_nothing),
		TEST(test_rollback_closes_new_sockets),
		TEST(test_existing_sockets_are_kept),
		TEST(test_metrics_move_to_the_address_of_a_listener),
		TEST(test_address_can_be_widened),
		TEST(test_two_spellings_of_a_path_conflict),
		TEST(test_no_port_for_all_addresses),
		TEST(test_passed_sockets),
		TEST(test_metrics_aside_a_restart_keeps_the_ports),
		TEST(test_failed_start_leaves_the_store),
		TEST(test_sockets_of_one_name),
		TEST(test_sockets_of_one_name_at_start),
		TEST(test_full_store_shares_sockets),
	};

	if (!HAS_METRICS)
		cmocka_set_skip_filter("test_metrics_*");
	return cmocka_run_group_tests(tests, group_start, group_finish);
}
