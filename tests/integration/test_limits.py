"""Admission, limits and timeouts of connections."""

import contextlib
import signal
import socket
import time

import pytest

from harness import (
    Frozen,
    converse,
    have,
    is_portable,
    read_exactly,
    read_to_end,
    sanitizer,
    wait_until,
    within,
)

KERNEL_TIMEOUTS = pytest.mark.skipif(
    is_portable(), reason="the portable files do not set the kernel's timeouts"
)
TOO_MANY = b"NAK 0 too many connections\n"


def admitted(daemon, **options):
    """Returns whether a new connection is served; closes it."""
    with daemon.connect(**options) as s:
        try:
            return converse(s, b"in") == b"Got in"
        except (BrokenPipeError, ConnectionResetError):
            return False


def occupy(daemon, n, **options):
    """Opens @n connections and waits until they are admitted."""
    clients = []
    for _ in range(n):
        s = daemon.connect(**options)
        s.sendall(b"in")
        assert read_exactly(s, 6) == b"Got in"
        clients.append(s)
    return clients


@pytest.mark.parametrize("workers", [1, 4])
def test_max_connections_is_enforced(ackd, workers):
    daemon = ackd(f"workers = {workers}; limits = {{ max_connections = 5; }};")
    clients = occupy(daemon, 5)
    for _ in range(3):
        with daemon.connect() as s:
            assert read_to_end(s) == TOO_MANY
    clients.pop().close()
    wait_until(lambda: admitted(daemon), "a free place")
    for s in clients:
        s.sendall(b"still")
        assert read_exactly(s, 9) == b"Got still"


def test_refused_client_gets_a_nak_instead_of_the_greeting(ackd):
    daemon = ackd('greeting = "hello\\n"; limits = { max_connections = 1; };')
    with daemon.connect() as s:
        assert read_exactly(s, 6) == b"hello\n"
        with daemon.connect() as other:
            other.sendall(b"x" * 100_000)
            assert read_to_end(other) == TOO_MANY


def test_refusal_without_nak_sends_nothing(ackd):
    """The refusal is counted like any suppressed NAK."""
    daemon = ackd("nak = false; limits = { max_connections = 1; };")
    clients = occupy(daemon, 1)
    with daemon.connect() as s:
        assert read_to_end(s) == b""
    daemon.signal(signal.SIGUSR1)
    daemon.wait_for(r"1 connection open, 1 served, 1 refused; 1 message, 1 NAK, ")
    clients[0].close()


def test_at_most_64_refusals_get_a_nak(ackd):
    """Further ones are closed immediately; refused clients do not count towards max_connections."""
    daemon = ackd("limits = { max_connections = 1; };")
    first = occupy(daemon, 1)[0]
    with Frozen(daemon):
        crowd = [daemon.connect() for _ in range(150)]
    answers = []
    for s in crowd:
        try:
            answers.append(read_to_end(s))
        except ConnectionResetError:
            answers.append(b"")
    assert set(answers) == {TOO_MANY, b""}
    # A place becomes free after at most 2 s, so a slow machine may answer a few more.
    assert 64 <= answers.count(TOO_MANY) < 150
    for s in crowd:
        s.close()
    first.sendall(b"me")
    assert read_exactly(first, 6) == b"Got me"
    first.close()
    wait_until(lambda: admitted(daemon), "a free place")


def test_max_connections_per_address_is_enforced(ackd):
    daemon = ackd("workers = 2; limits = { max_connections_per_address = 2; };")
    clients = occupy(daemon, 2, source="127.0.0.1")
    with daemon.connect(source="127.0.0.1") as s:
        assert read_to_end(s) == TOO_MANY
    clients += occupy(daemon, 2, source="127.0.0.2")
    with daemon.connect(source="127.0.0.2") as s:
        assert read_to_end(s) == TOO_MANY
    clients.pop(0).close()
    wait_until(lambda: admitted(daemon, source="127.0.0.1"), "a free place")
    for s in clients:
        s.close()


def test_no_limit_per_address_for_unix_sockets(ackd, directory):
    daemon = ackd(f'path = "{directory}/s"; limits = {{ max_connections_per_address = 1; }};')
    for s in occupy(daemon, 5):
        s.close()


def closed_at_once(daemon, source):
    with daemon.connect(source=source) as s:
        try:
            return s.recv(100) == b""
        except ConnectionResetError:
            return True


def served(daemon, source):
    return admitted(daemon, source=source)


def test_denied_clients_are_closed(ackd):
    daemon = ackd('greeting = ""; deny = ["127.0.0.2/32", "127.1.0.0/16"];')
    assert served(daemon, "127.0.0.1")
    assert closed_at_once(daemon, "127.0.0.2")
    assert closed_at_once(daemon, "127.1.2.3")
    assert served(daemon, "127.2.2.3")


def test_denied_clients_receive_nothing(ackd):
    daemon = ackd('greeting = "secret\\n"; deny = ["127.0.0.2"];')
    for _ in range(10):
        assert closed_at_once(daemon, "127.0.0.2")
    daemon.wait_for("refused.*denied")


def test_allow_denies_other_clients(ackd):
    daemon = ackd('allow = ["127.0.0.1/32", "10.0.0.0/8"];')
    assert served(daemon, "127.0.0.1")
    assert closed_at_once(daemon, "127.0.0.2")


def test_longest_prefix_wins(ackd):
    daemon = ackd(
        'allow = ["127.0.0.0/8", "127.5.5.0/24"]; deny = ["127.5.0.0/16", "127.5.5.5/32"];'
    )
    assert served(daemon, "127.0.0.1")
    assert closed_at_once(daemon, "127.5.0.1")
    assert served(daemon, "127.5.5.1")
    assert closed_at_once(daemon, "127.5.5.5")


def test_access_lists_apply_to_ipv6(ackd):
    daemon = ackd('address = "::1"; deny = ["::/0"];')
    assert closed_at_once(daemon, "::1")
    daemon = ackd('address = "::1"; allow = ["::1/128"];')
    assert served(daemon, "::1")


def test_ipv4_rules_apply_on_dual_stack_listeners(ackd):
    daemon = ackd('address = "*"; deny = ["127.0.0.2/32"];')
    with socket.create_connection(
        ("127.0.0.1", daemon.address().port), source_address=("127.0.0.2", 0)
    ) as s:
        try:
            assert s.recv(1) == b""
        except ConnectionResetError:
            pass


def test_idle_timeout_closes_connections(ackd):
    daemon = ackd('log = { level = "debug"; }; limits = { idle_timeout = "2s"; };')
    with daemon.connect() as s:
        begin = time.monotonic()
        s.sendall(b"x")
        assert read_to_end(s) == b"Got x"
        assert 1.7 < time.monotonic() - begin < within(3.8)


@KERNEL_TIMEOUTS
@pytest.mark.parametrize("idle_timeout_s", [7, 0])
def test_kernel_timeouts_detect_dead_peers(ackd, idle_timeout_s):
    """They detect a dead peer at the idle timeout, or without one within five minutes by probes."""

    def options(s):
        return [
            s.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
            + s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
            * s.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
            < 300,
            s.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            s.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        ]

    daemon = ackd(f"limits = {{ idle_timeout = {idle_timeout_s}; }};")
    for expected_ms in (1000 * idle_timeout_s, 5000):
        for address in daemon.addresses():
            with address.connect() as s:
                s.sendall(b"x")
                assert read_exactly(s, 5) == b"Got x"
                with daemon.socket_of(s) as theirs:
                    assert options(theirs) == [1, True, expected_ms, 1]
        daemon.write_config("limits = { idle_timeout = 5; };")
        assert daemon.reload()


def keepalive_of(daemon, listener=None):
    with daemon.connect(listener) as s:
        s.sendall(b"x")
        read_exactly(s, 5)
        with daemon.socket_of(s) as theirs:
            if not theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
                return 0
            return theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)


@KERNEL_TIMEOUTS
def test_keepalive_is_set(ackd):
    """The setting of each listener applies to new connections, also after a reload."""

    def config(top, *settings):
        groups = [
            f'{{ name = "{name}"; address = "127.0.0.1"; port = 0; {setting} }}'
            for name, setting in zip("abc", settings)
        ]
        return f"{top} listeners = ( {', '.join(groups)} );"

    daemon = ackd(config("", "", "keepalive = 0;", "keepalive = 1;"))
    assert [keepalive_of(daemon, name) for name in "abc"] == [120, 0, 1]
    daemon.write_config(config("", "keepalive = 0;", "", 'keepalive = "9h";'))
    assert daemon.reload()
    assert [keepalive_of(daemon, name) for name in "abc"] == [0, 120, 32400]
    daemon.write_config(config('keepalive = "1min";', "", "keepalive = 0;", ""))
    assert daemon.reload()
    assert [keepalive_of(daemon, name) for name in "abc"] == [60, 0, 60]


def test_connection_that_exceeds_max_memory_is_closed(ackd):
    daemon = ackd(
        # several workers could find the memory full at the same time
        'workers = 1; framing = "line"; limits = { max_line = "1MiB"; max_memory = "2MiB"; };'
        ' log = { level = "debug"; };'
    )
    clients = [daemon.connect() for _ in range(8)]
    ended = 0
    for s in clients:
        try:
            s.sendall(b"x" * 900_000)
        except (BrokenPipeError, ConnectionResetError):
            pass
    daemon.wait_for("limits.max_memory is used up")
    for s in clients:
        try:
            s.sendall(b"\n")
            if len(read_exactly(s, 900_005)) < 900_005:
                ended += 1
        except (BrokenPipeError, ConnectionResetError):
            ended += 1
        s.close()
    assert 1 <= ended <= 7
    assert daemon.exchange(b"fine\n") == b"Got fine\n"


def test_closing_one_connection_frees_memory_for_others(ackd):
    """All connections need memory in the same turn; no more than necessary are closed."""
    n, piece = 8, b"x" * 30_000
    # Each can hold one piece; the first that needs room for another does not get it.
    daemon = ackd(
        'workers = 1; framing = "line";'
        f" limits = {{ max_memory = {n * len(piece) + len(piece) - 1}; }};"
    )

    def has_read(n_bytes):
        mark = daemon.mark()
        daemon.signal(signal.SIGUSR1)
        return int(daemon.wait_for(r"(\d+) bytes in", after=mark)[1]) == n_bytes

    clients = [daemon.connect() for _ in range(n)]
    for s in clients:
        s.sendall(piece)
    wait_until(lambda: has_read(n * len(piece)), "the first pieces to be read")
    with Frozen(daemon):
        for s in clients:
            s.sendall(piece)
    wait_until(lambda: has_read(2 * n * len(piece)), "the second pieces to be read")
    served = 0
    for s in clients:
        with s, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(b"\n")
            served += read_exactly(s, 60_005) == b"Got " + 2 * piece + b"\n"
    assert 1 <= served <= n / 2


# ---- descriptors ----


def announced(daemon, after=0):
    """Returns the logged number of connections that fit under the descriptor limit."""
    return int(daemon.wait_for(r"limits.max_connections is (\d+) instead of 10000", after=after)[1])


@pytest.fixture
def limited(ackd):
    """limited(CONFIG, n) returns a daemon with a limit of n descriptors."""
    if not have("prlimit") or sanitizer() == "emulator":  # which uses descriptors itself
        pytest.skip("the limit cannot be set")
    return lambda config, n: ackd(config, wrapper=["prlimit", f"--nofile={n}"], arguments=())


def test_announced_number_of_connections_is_accepted(limited):
    """A reload that moves every socket still has enough descriptors."""
    names = [f"l{i}" for i in range(40)]

    def config(address):
        listeners = (f'{{ name = "{n}"; address = "{address}"; port = 0; }}' for n in names)
        return f"workers = 2; listeners = ( {', '.join(listeners)} );"

    daemon = limited(config("localhost"), 600)
    n = announced(daemon)
    mark = daemon.mark()
    clients = occupy(daemon, n, listener="l0")
    with daemon.connect("l1") as s:
        assert read_to_end(s) == TOO_MANY
    daemon.write_config(config("*"))
    assert daemon.reload()
    assert announced(daemon, after=mark) == n
    for s in clients:
        s.close()

    def is_served():
        with contextlib.suppress(OSError), daemon.addresses("l2")[-1].connect() as s:
            return converse(s, b"in") == b"Got in"
        return False

    wait_until(is_served, "room for another client")
    assert "too many open files" not in daemon.log


def test_descriptors_are_reserved_per_socket(limited, directory):
    """A UNIX socket needs one descriptor for any number of workers; a reload may change that."""

    def config(n):
        listeners = (f'{{ name = "l{i}"; path = "{directory}/s{i}"; }}' for i in range(n))
        return f"workers = 8; listeners = ( {', '.join(listeners)} );"

    daemon = limited(config(20), 400)
    n = announced(daemon)
    assert n > 100
    mark = daemon.mark()
    daemon.write_config(config(10))
    assert daemon.reload()
    assert announced(daemon, after=mark) == n + 20
