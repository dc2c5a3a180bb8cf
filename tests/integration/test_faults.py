"""System calls and allocations that fail, injected one kind at a time."""

import contextlib
import errno
import itertools
import os
import re
import resource
import signal
import socket
import threading
import time

import pytest

from harness import (
    PROMPT,
    SANITIZER_REPORT,
    Address,
    Frozen,
    converse,
    environment,
    free_port,
    is_portable,
    read_exactly,
    read_to_end,
    reset,
    run_ackd,
    sanitizer,
    wait_until,
    within,
)
from oracle import DECODE_ERRORS, Text, line_replies, stream_echo
from prom import is_built, scrape

METRICS = 'metrics = { address = "127.0.0.1"; port = 0; };'


def assert_nothing_is_left(daemon, config):
    """Checks that no place and no memory is in use, so that no error has made the counts drift."""
    one = "max_connections = 1; max_connections_per_address = 1;"
    daemon.write_config(f"{config} limits = {{ {one} }};")
    assert daemon.reload()
    wait_until(lambda: daemon.exchange(b"x\n").endswith(b"Got x\n"), "the only place to be free")
    if METRICS in config:
        wait_until(
            lambda: scrape(daemon.address("metrics"))[("ackd_held_bytes",)] == 0, "no byte to be held"
        )


# ---- accept ----

# Errors of the system, after which accepting pauses, and errors of one connection.
ACCEPT_ERRORS = [
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.EPERM,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ECONNABORTED,
    errno.EPROTO,
    errno.EINTR,
    errno.EINVAL,
]


def calm(daemon, seconds):
    """Returns the share of a processor that the daemon uses."""
    before = daemon.cpu_seconds()
    time.sleep(seconds)
    return (daemon.cpu_seconds() - before) / seconds


def ask(s, data=b"x"):
    """Returns the time until the answer."""
    begin = time.monotonic()
    s.sendall(data)
    assert read_exactly(s, 4 + len(data)) == b"Got " + data
    return time.monotonic() - begin


@pytest.mark.parametrize("error", ACCEPT_ERRORS, ids=errno.errorcode.get)
def test_accept_error_is_survived(ackd, faults, error):
    daemon = ackd("workers = 1;", env=faults.environment())
    with daemon.connect() as old:
        ask(old)
        faults.accept_errno = error
        with daemon.connect() as new:
            new.sendall(b"new")
            wait_until(lambda: faults.accept_calls > 1, "a failed accept")
            assert calm(daemon, 1) < 0.05
            assert ask(old) < PROMPT
            faults.accept_errno = 0
            begin = time.monotonic()
            assert read_exactly(new, 7) == b"Got new"
            assert time.monotonic() - begin < PROMPT
    daemon.wait_for("cannot accept a connection")


def test_accept_errors_are_counted(ackd, faults):
    daemon = ackd("workers = 1;", env=faults.environment())
    faults.accept_errno = errno.ENOBUFS
    with daemon.connect() as s:
        daemon.wait_for("cannot accept a connection: no buffer space available")
        faults.accept_errno = 0
        ask(s)
        daemon.signal(signal.SIGUSR1)
        assert int(daemon.wait_for(r"(\d+) accept errors?")[1]) >= 1


def test_accepting_continues_after_descriptor_exhaustion(ackd):
    """The descriptors are really exhausted: no connection is lost, and accepting continues."""
    if sanitizer() == "emulator":
        pytest.skip("valgrind and qemu use descriptors themselves")
    daemon = ackd("workers = 1;")
    with daemon.connect() as old:
        ask(old)
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (len(daemon.descriptors()), hard))
        clients = [daemon.connect() for _ in range(10)]
        daemon.wait_for("cannot accept a connection: too many open files")
        assert calm(daemon, 1) < 0.05
        assert ask(old) < PROMPT
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        begin = time.monotonic()
        for s in clients:
            ask(s)
            s.close()
        assert time.monotonic() - begin < PROMPT


def test_many_connects_do_not_starve_traffic(ackd):
    daemon = ackd("workers = 1;")
    address = daemon.address()
    stop = threading.Event()

    def storm():
        while not stop.is_set():
            for s in [address.connect() for _ in range(50)]:
                reset(s)

    threads = [threading.Thread(target=storm) for _ in range(2)]
    with daemon.connect() as s:
        for thread in threads:
            thread.start()
        try:
            times = sorted(ask(s) for _ in range(200))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert times[-5] < PROMPT


def test_accepting_is_bounded_per_turn(ackd, faults):
    """Open connections are answered while many others wait to be accepted."""
    daemon = ackd("workers = 1;", env=faults.environment())
    with daemon.connect() as old:
        ask(old)
        before = faults.accept_calls
        faults.delay_us = 20_000
        with Frozen(daemon):
            clients = [daemon.connect() for _ in range(400)]
            old.sendall(b"x")
        assert read_exactly(old, 5) == b"Got x"
        # A turn accepts 64, so this test has more than 3 s to look.
        assert faults.accept_calls - before < 300
        faults.delay_us = 0
        for s in clients:
            ask(s)
            s.close()


def test_reading_is_bounded_per_turn(ackd, faults):
    """Other connections of the worker are answered between the reads of a large input."""
    daemon = ackd('framing = "line"; workers = 1;', env=faults.environment())
    with daemon.connect() as flooding, daemon.connect() as other:
        ask(other, b"x\n")
        faults.read_max = 1
        faults.delay_us = 1000
        flooding.sendall(b"x" * 60_000)
        before = faults.read_calls
        wait_until(lambda: faults.read_calls > before, "the first read")
        ask(other, b"y\n")
        assert faults.read_calls - before < 30_000
        faults.delay_us = faults.read_max = 0
        flooding.sendall(b"\n")
        assert read_exactly(flooding, 60_005) == b"Got " + b"x" * 60_000 + b"\n"


# ---- writes ----


def assorted_text():
    return ("короткие записи, 漢字 и 😀\r\n" * 1500).encode()


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("most, again", [(1, 0), (1, 1), (7, 2), (0, 1), (0, 3), (4096, 1)])
def test_short_writes_and_eagain_are_handled(ackd, faults, directory, where, most, again):
    listener = "" if where == "tcp" else f'path = "{directory}/s";'
    daemon = ackd(
        listener + ' framing = "line"; greeting = "привет\\n"; workers = 1;',
        env=faults.environment(),
    )
    faults.write_max = most
    faults.write_again = again
    data = assorted_text() + b"\xff\nlast"
    reply = "привет\n".encode()
    reply += b"".join(b"Got " + line for line in assorted_text().splitlines(True))
    reply += b"NAK %d invalid start byte\nGot last" % len(assorted_text())
    assert daemon.exchange(data) == reply
    assert faults.write_calls > 1


@pytest.mark.parametrize("where", ["tcp", "unix"])
@pytest.mark.parametrize("most, again", [(1, 0), (2, 0), (3, 1), (7, 0), (0, 1)])
def test_short_reads_and_eagain_are_handled(ackd, faults, directory, where, most, again):
    """The replies do not depend on the ends of reads."""
    listener = "" if where == "tcp" else f'path = "{directory}/s";'
    daemon = ackd(
        listener + ' framing = "line"; workers = 1; encoding = { errors = "backslashreplace"; };',
        env=faults.environment(),
    )
    faults.read_max = most
    faults.read_again = again
    data = assorted_text()[:20_000] + b"\xe2\x82\r\n\xf0\x9f\xff\xed\xa0\x80\rlast\xf0\x9f\x98"
    expected = line_replies(data, Text("backslashreplace"), prefix=b"Got ")
    assert daemon.exchange(data) == expected
    assert faults.read_calls > 1


@pytest.mark.parametrize("errors", DECODE_ERRORS)
def test_single_byte_reads_in_stream_framing(ackd, faults, errors):
    daemon = ackd(
        f'reply = "echo"; encoding = {{ errors = "{errors}"; }};', env=faults.environment()
    )
    faults.read_max = 1
    for data in (b"\xed\xa0", b"ab\xe2\x82", assorted_text()[:1000], b"x\xf0\x9f\x98z\xc3\xff\x80y"):
        assert daemon.exchange(data) == stream_echo(data, Text(errors))
    assert faults.read_calls > 1


@pytest.mark.parametrize("error, reason", [
    (errno.EPIPE, "broken pipe"),
    (errno.EHOSTUNREACH, "host is unreachable"),
    (errno.ENOBUFS, "out of memory"),  # the kernel, not the budget
    (errno.ENOMEM, "out of memory"),
])
def test_send_error_closes_the_connection(ackd, faults, error, reason):
    daemon = ackd('workers = 1; log = { level = "debug"; };', env=faults.environment())
    with daemon.connect() as s:
        ask(s)
        faults.send_errno = error
        s.sendall(b"x")
        with contextlib.suppress(ConnectionResetError):
            assert read_to_end(s) == b""
    daemon.wait_for(rf"disconnect: .* ended: .*{reason};")
    faults.send_errno = 0
    assert daemon.exchange(b"on") == b"Got on"


def test_short_writes_of_a_long_echo(ackd, faults):
    daemon = ackd('reply = "echo"; workers = 1;', env=faults.environment())
    faults.write_max = 1000
    faults.write_again = 1
    data = assorted_text() * 30
    assert daemon.exchange(data) == data


def test_short_writes_before_a_nak(ackd, faults):
    daemon = ackd('reply = "echo"; workers = 1;', env=faults.environment())
    faults.write_max = 3
    faults.write_again = 1
    assert daemon.exchange(b"x" * 1000 + b"\xff" + b"y" * 1000) == (
        b"x" * 1000 + b"\nNAK 1000 invalid start byte\n"
    )


def test_drain_with_short_writes(ackd, faults):
    daemon = ackd('reply = "echo"; workers = 1;', env=faults.environment())
    data = assorted_text()
    with daemon.connect() as s:
        faults.write_max = 100
        faults.write_again = 1
        s.sendall(data[:60_000])
        wait_until(lambda: faults.write_calls > 10, "writes")
        daemon.signal(signal.SIGTERM)
        received = read_to_end(s)
        assert data.startswith(received) and received
    assert daemon.wait() == 0


# ---- memory ----


def needs_allocations(faults, daemon):
    if sanitizer() == "thread":
        daemon.stop()
        pytest.skip("the sanitizer does not survive it")
    if faults.alloc_calls == 0:
        daemon.stop()
        pytest.skip("the sanitizer's allocator comes before the shim")


def test_allocation_failure_during_the_start(ackd, faults, directory, capsys):
    """For each n, the n-th allocation fails. ackd reports it and exits, or serves; it never leaks."""
    daemon = ackd(env=faults.environment())
    needs_allocations(faults, daemon)
    n_start = faults.alloc_calls
    daemon.stop()
    outcomes = {"ended": 0, "went on": 0, "left out": 0}
    for n in range(1, n_start + 1):
        faults.alloc_calls = faults.alloc_outcome = 0
        faults.alloc_fail = n
        daemon = ackd(f'path = "{directory}/s";', env=faults.environment(), ready=False)
        wait_until(
            lambda: daemon.process.poll() is not None or daemon.READY.search(daemon.log),
            "its end, or readiness",
        )
        outcome = faults.alloc_outcome
        faults.alloc_fail = 0
        if daemon.process.poll() is None:
            assert daemon.exchange(b"x") == b"Got x", n
            daemon.stop()
            outcomes["left out" if outcome < 0 else "went on"] += 1
        else:
            status = daemon.wait()
            assert status in (69, 71), (n, status, daemon.log)
            # the latter if a thread cannot start
            assert re.search("memory|temporarily unavailable", daemon.log), (n, daemon.log)
            daemon.check_log()
            outcomes["ended"] += 1
    with capsys.disabled():
        print(f"\n{n_start} allocations of the start, one failing each time: {outcomes}")
    assert outcomes["ended"] > 10


@pytest.mark.parametrize("command", ["--check-config", "--dump-config", "--reload"])
def test_allocation_failure_in_a_command(faults, config_file, command):
    """The failure is reported. Without MAINPID, --reload only reads the configuration."""
    path, failed = config_file(""), 0
    for n in itertools.count(1):
        faults.alloc_calls = faults.alloc_outcome = 0
        faults.alloc_fail = n
        done = run_ackd("-c", path, command, env=environment(faults.environment()))
        if faults.alloc_calls == 0:
            pytest.skip("the sanitizer's allocator comes before the shim")
        if faults.alloc_outcome == 0:
            break
        if done.returncode == 71:
            assert "memory" in done.stderr, n
            failed += 1
        assert done.returncode in (0, 64, 71), (n, done)
    assert failed > 5


def busy_scene(daemon):
    """A greeting, a held line, a long held reply, a NAK, a half-close; errors are permitted."""
    sockets = []
    whole = 0
    try:
        for _ in range(2):
            sockets.append(daemon.connect(receive_buffer=4096))
        held, slow = sockets
        held.sendall(b"the beginning of a line")
        slow.sendall(b"0123456789" * 5000 + b"\n" + b"\n" * 60_000 + b"\xff\n")
        time.sleep(0.02)  # lets replies wait; the failures do not depend on it
        held.sendall(b" and its end\n")
        for s in sockets:
            s.shutdown(socket.SHUT_WR)
        for s in sockets:
            data = read_to_end(s)
            whole += data.endswith((b"its end\n", b"invalid start byte\n"))
    except TimeoutError:
        raise
    except OSError:
        pass  # the connection was closed: reset, broken pipe, not connected
    finally:
        for s in sockets:
            s.close()
    return whole


def test_allocation_failure_while_serving(ackd, faults, config_file, capsys):
    config = (
        'framing = "line"; greeting = "hello ${peer}\\n"; workers = 1; log = { level = "debug"; };'
    )
    config += METRICS if is_built(config_file) else ""
    daemon = ackd(config, env=faults.environment())
    needs_allocations(faults, daemon)
    faults.write_max = 50_000  # lets replies wait, independent of the socket buffers
    assert busy_scene(daemon) == 2
    n_sockets = daemon.n_sockets()
    failed = untouched = n = 0
    while untouched < 5:
        n += 1
        mark = daemon.mark()
        faults.alloc_outcome = 0
        faults.alloc_fail = faults.alloc_calls + n
        whole = busy_scene(daemon)
        faults.alloc_fail = 0
        if faults.alloc_outcome == 0:
            untouched += 1
            assert whole == 2
        if whole < 2:
            daemon.wait_for("refused: out of memory|ended: out of memory", after=mark)
        failed += faults.alloc_outcome
        assert daemon.process.poll() is None, daemon.log
        assert daemon.exchange(b"x\n").endswith(b"Got x\n")
    wait_until(lambda: daemon.n_sockets() <= n_sockets, "the sockets to be closed")
    with capsys.disabled():
        print(f"\n{failed} allocations of serving, one failing each time")
    assert failed >= 6
    for way in ("refused", "ended"):
        assert f"{way}: out of memory" in daemon.log
    assert_nothing_is_left(daemon, config)
    daemon.stop()


def refuses(address):
    """Returns whether no socket listens there.

    A socket that a reload has retired answers no SYN for 2 s; the kernel answers a SYN to any other
    listening socket without its process.
    """
    try:
        address.connect(timeout=0.2).close()
    except (ConnectionRefusedError, TimeoutError):
        return True
    return False


# A reload waits 2 s for the sockets retired by the last one, so parts of the allocations are tested in
# parallel.
PARTS = 8


@pytest.mark.parametrize("part", range(PARTS))
def test_allocation_failure_in_a_reload(ackd, faults, directory, config_file, capsys, part):
    metrics = {name: Address(f"127.0.0.1:{free_port()}") for name in ("one", "two")}
    modes = {"one": 0o600, "two": 0o666}
    has_metrics = is_built(config_file)

    def config(suffix):
        serve = f'metrics = {{ address = "127.0.0.1"; port = {metrics[suffix].port}; }};'
        return (
            f'ack_suffix = "{suffix}"; workers = 2; {serve if has_metrics else ""}'
            f' listeners = ( {{ name = "a"; }}, {{ name = "{suffix}"; address = "127.0.0.1"; }},'
            f' {{ name = "unix"; path = "{directory}/s"; mode = "{modes[suffix]:04o}"; }} );'
        )

    def in_force():
        """Returns the configurations that are at least partly in effect."""
        found = {daemon.exchange(b"x", "a").decode().removeprefix("Got x")}
        mode = os.stat(f"{directory}/s").st_mode & 0o777
        found |= {name for name in modes if modes[name] == mode}
        if has_metrics:
            found |= {name for name in metrics if not refuses(metrics[name])}
        return found

    daemon = ackd(config("one"), env=faults.environment())
    needs_allocations(faults, daemon)
    current = "one"
    failures = successes = untouched = 0
    with daemon.connect("a") as old:
        old.sendall(b"o")
        assert read_exactly(old, 8) == b"Got oone"
        for n in itertools.count(1 + part, PARTS):
            if untouched == 3:
                break
            wanted = "two" if current == "one" else "one"
            daemon.write_config(config(wanted))
            faults.alloc_outcome = 0
            faults.alloc_fail = faults.alloc_calls + n
            worked = daemon.reload()
            faults.alloc_fail = 0
            untouched += faults.alloc_outcome == 0
            failures += not worked
            successes += worked
            if worked:
                current = wanted
            else:
                assert faults.alloc_outcome == 1
            assert in_force() == {current}, n
            old.sendall(b"o")
            assert read_exactly(old, 8) == b"Got oone"
    with capsys.disabled():
        print(f"\nreloads, one allocation failing in each: {failures} failed, {successes} worked")
    assert failures >= 2


def test_socket_refused_by_the_loop_is_retried(ackd, faults, tmp_path):
    """The worker retries; clients of that socket wait, at a start and after a reload."""

    def config(reply):
        listener = f'{{ name = "{reply}"; address = "{addresses[reply]}"; port = 0; }}'
        return f'reply = "{reply}"; workers = 1; listeners = ( {listener} );'

    addresses = {"ack": "127.0.0.1", "echo": "127.0.0.2"}
    # the first two are the control socket and the ticker, which needs no descriptor in general
    faults.poll_fail = 2 if is_portable() else 3
    environment = {**faults.environment(), "RUNTIME_DIRECTORY": str(tmp_path)}
    daemon = ackd(config("ack"), env=environment, arguments=())
    error = "cannot poll a listening socket: no space left on device"
    daemon.wait_for("accept_error: ack: " + error)
    assert daemon.exchange(b"x", "ack") == b"Got x"
    daemon.write_config(config("echo"))
    faults.poll_fail = faults.poll_calls + 1
    assert daemon.reload()
    daemon.wait_for("accept_error: echo: " + error)
    assert daemon.exchange(b"x", "echo") == b"x"


def test_allocation_failure_during_the_stop(ackd, faults):
    daemon = ackd(env=faults.environment())
    needs_allocations(faults, daemon)
    daemon.stop()
    left_out = 0
    for n in range(1, 1000):
        daemon = ackd(env=faults.environment())
        with daemon.connect() as s:
            ask(s)
            faults.alloc_outcome = 0
            faults.alloc_fail = faults.alloc_calls + n
            daemon.signal(signal.SIGTERM)
            assert read_to_end(s) == b""
        assert daemon.wait() == 0, (n, daemon.log)
        outcome = faults.alloc_outcome
        faults.alloc_fail = 0
        if outcome == 0:
            break
        left_out += outcome < 0
    assert n - left_out < 100


# ---- resets ----


def at_connect(daemon):
    return daemon.connect()


def at_greeting(daemon):
    s = daemon.connect()
    s.recv(1)
    return s


def in_a_character(daemon):
    s = daemon.connect()
    s.sendall(b"half \xd0")
    return s


def in_a_line(daemon):
    s = daemon.connect()
    s.sendall(b"whole\nhalf")
    read_exactly(s, 16)
    return s


def with_replies_unread(daemon):
    s = daemon.connect()
    s.sendall(b"line\n" * 100)
    return s


def with_replies_unsent(daemon):
    s = daemon.connect(receive_buffer=4096)
    daemon.fill(s, b"line\n", quiet=0.02, limit=8 << 20)
    return s


def after_half_close(daemon):
    s = daemon.connect()
    s.sendall(b"whole\n")
    s.shutdown(socket.SHUT_WR)
    return s


def with_replies_unsent_after_half_close(daemon):
    s = with_replies_unsent(daemon)
    s.shutdown(socket.SHUT_WR)
    return s


def while_it_lingers(daemon):
    s = daemon.connect()
    s.sendall(b"x" * 2000)  # too long: a NAK and an orderly close
    s.recv(1000)
    return s


STAGES = [
    at_connect,
    at_greeting,
    in_a_character,
    in_a_line,
    with_replies_unread,
    with_replies_unsent,
    after_half_close,
    with_replies_unsent_after_half_close,
    while_it_lingers,
]


@pytest.mark.parametrize("stage", STAGES, ids=lambda f: f.__name__)
def test_resets_leave_nothing(ackd, config_file, stage):
    config = 'greeting = "hello\\n"; framing = "line"; workers = 1;'
    config += METRICS if is_built(config_file) else ""
    daemon = ackd(config + " limits = { max_line = 1000; max_connections = 20; };")
    rounds = 3 if "unsent" in stage.__name__ else 15
    for _ in range(2):  # the first time it may allocate memory that it keeps
        for _ in range(rounds):
            reset(stage(daemon))
        wait_until(
            lambda: daemon.exchange(b"x\n") == b"hello\nGot x\n", "a place for a new connection"
        )
    n_sockets, rss = daemon.n_sockets(), daemon.rss_kib()
    for _ in range(rounds * 2):
        reset(stage(daemon))

    def has_none_open():  # connections still in the kernel's queue are not among its sockets
        mark = daemon.mark()
        daemon.signal(signal.SIGUSR1)
        n_open = daemon.wait_for(r"(\d+) connections? open", after=mark)[1]
        return n_open == "0" and daemon.n_sockets() <= n_sockets

    wait_until(has_none_open, "all connections to be closed")
    assert daemon.rss_kib() - rss < (16384 if sanitizer() else 1024)
    assert_nothing_is_left(daemon, config)


# ---- time, logs, death ----


@pytest.mark.parametrize("jump", [86400, -86400])
def test_wall_clock_jumps_do_not_affect_timeouts(ackd, faults, jump):
    """A jump of the clock neither shortens nor extends the idle timeout."""
    idle_s = within(2)
    daemon = ackd(
        f"workers = 1; limits = {{ idle_timeout = {idle_s}; }};", env=faults.environment()
    )
    with daemon.connect() as first:
        ask(first)
        time.sleep(idle_s * 3 / 4)  # the others then have most of their time left when the first ends
        clients = [daemon.connect() for _ in range(20)]
        for s in clients:
            ask(s)
        faults.clock_offset_s = jump
        assert read_to_end(first) == b""  # timeouts have been checked
    for s in clients:
        ask(s)
        s.close()
    assert daemon.exchange(b"x") == b"Got x"
    daemon.stop()


def log_counters(daemon, n):
    """Has the daemon log events of a kind without a rate limit, one for each of @n signals."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        for _ in range(n):
            daemon.signal(signal.SIGUSR1)
            # the kernel merges it with one that has not been delivered yet
            while not re.search(r"^ShdPnd:\t0+$", status.read(), re.M):
                time.sleep(0.0003)
                status.seek(0)
            status.seek(0)


def test_blocked_log_reader_delays_no_reply(ackd, directory):
    """stderr is a full pipe: replies continue, and lost entries are counted once it is read again."""
    read_end, write_end = os.pipe()
    daemon = ackd(f'path = "{directory}/s"; workers = 1;', stderr=write_end, ready=False)
    os.close(write_end)
    address = Address(f"unix:{directory}/s")
    wait_until(address.connect_if_listening, "the socket").close()

    def exchange():
        with address.connect(timeout=30) as s:
            return converse(s, b"x")

    assert exchange() == b"Got x"
    log_counters(daemon, 3000)
    times = []
    for _ in range(50):
        begin = time.monotonic()
        assert exchange() == b"Got x"
        times.append(time.monotonic() - begin)
    assert max(times) < PROMPT
    said = b""
    os.set_blocking(read_end, False)

    def read_more():
        nonlocal said
        try:
            said += os.read(read_end, 65536)
        except BlockingIOError:
            pass
        return b"log entries are missing here" in said

    wait_until(read_more, "the count of lost entries")
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    os.close(read_end)


def test_daemon_ends_with_a_blocked_log_reader(ackd, directory):
    read_end, write_end = os.pipe()
    daemon = ackd(f'path = "{directory}/s"; workers = 1;', stderr=write_end, ready=False)
    os.close(write_end)
    wait_until(Address(f"unix:{directory}/s").connect_if_listening, "the socket").close()
    log_counters(daemon, 3000)
    begin = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert time.monotonic() - begin < 30
    os.close(read_end)


def test_killed_daemon_can_be_restarted_immediately(ackd, record_property):
    daemon = ackd('address = "127.0.0.1";')
    port = daemon.address().port
    for _ in range(3):
        clients = [daemon.connect() for _ in range(50)]
        for s in clients:
            ask(s)
        daemon.kill()
        begin = time.monotonic()
        daemon = ackd('address = "127.0.0.1";', arguments=["-p", port])
        assert daemon.exchange(b"back") == b"Got back"
        took = time.monotonic() - begin
        record_property("back after", f"{took:.3f} s")
        assert took < PROMPT
        for s in clients:
            s.close()


# ---- limits of the system ----


def test_descriptor_limit_reduces_max_connections(ackd):
    """max_connections is reduced to what the descriptor limit permits, and this is logged."""
    daemon = ackd(
        "workers = 1; limits = { max_connections = 5000; };", wrapper=["prlimit", "--nofile=200:200"]
    )
    fitted = int(daemon.wait_for(r"max_connections is (\d+) instead of 5000")[1])
    assert 0 < fitted < 200
    clients = [daemon.connect() for _ in range(fitted)]
    for s in clients:
        ask(s)
    with daemon.connect() as s:
        assert read_to_end(s) == b"NAK 0 too many connections\n"
    assert "cannot accept" not in daemon.log
    for s in clients:
        s.close()


def test_start_without_descriptors_is_an_error(config_file):
    def none():
        resource.setrlimit(resource.RLIMIT_NOFILE, (10, 10))

    done = run_ackd("-c", config_file("port = 0; workers = 4;"), preexec_fn=none)
    assert done.returncode in (69, 71, 78)  # 78: before it could read the configuration
    assert "too many open files" in done.stderr.lower()
    assert not SANITIZER_REPORT.search(done.stderr)
