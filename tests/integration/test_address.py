"""A reload or a restart changes the address of a listener: no client is refused or reset."""

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import struct
import threading
import time

import pytest

from harness import Address, free_port, is_portable, read_exactly, read_to_end, wait_until
from prom import is_built, scrape

# The hosts that each address serves. Another IPv4 loopback address represents external addresses.
HOSTS = {
    "localhost": {"127.0.0.1", "::1"},
    "*": {"127.0.0.1", "127.1.2.3", "::1"},
    "127.0.0.1": {"127.0.0.1"},
    "0.0.0.0": {"127.0.0.1", "127.1.2.3"},
    "::": {"::1"},
}
PAIRS = list(itertools.permutations(HOSTS, 2))
SO_ATTACH_FILTER = 26
RETIRES = pytest.mark.skipif(is_portable(), reason="the portable files cannot retire a socket")


def config(address, port, more=""):
    return f'workers = 2; address = "{address}"; port = {port}; {more}'


def at(host, port):
    return Address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def common_port():
    """Returns a port that is free on every address."""
    while True:
        port = free_port()
        with contextlib.suppress(OSError), socket.socket() as v4, socket.socket(socket.AF_INET6) as v6:
            v4.bind(("0.0.0.0", port))
            v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            v6.bind(("::", port))
            return port


class Storm:
    """Connects, exchanges and closes several hundred times a second, at several addresses.

    Its pauses keep it from occupying a processor while a reload waits for retired sockets, for 2 s.
    """

    PAUSE = 0.005

    def __init__(self, addresses, threads=2):
        self.stopping = False
        self.wrong = []
        self.good = 0
        self.threads = [
            threading.Thread(target=self._run, args=(address,), daemon=True)
            for address in addresses
            for _ in range(threads)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, address):
        while not self.stopping:
            try:
                with address.connect() as s:
                    s.sendall(b"storm")
                    s.shutdown(socket.SHUT_WR)
                    answer = read_to_end(s)
                if answer != b"Got storm":
                    self.wrong.append((address, answer))
                self.good += 1
            except OSError as e:
                self.wrong.append((address, repr(e)))
            time.sleep(self.PAUSE)

    def wait_for_more(self, n=20):
        goal = self.good + n
        wait_until(lambda: self.good >= goal or self.wrong, "more connections")

    def finish(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)
        assert self.wrong == []


def refused(address):
    try:
        address.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def check_served(address, port):
    """Checks that the hosts of @address are served and all others are refused."""
    for host in HOSTS["*"]:
        if host in HOSTS[address]:
            with at(host, port).connect() as s:
                s.sendall(b"x")
                assert read_exactly(s, 5) == b"Got x"
        else:
            assert refused(at(host, port)), host


@contextlib.contextmanager
def storm_at_both(old, new, port):
    """Starts a storm at the addresses that are served before and after a change."""
    storm = Storm([at(host, port) for host in HOSTS[old] & HOSTS[new]])
    if storm.threads:
        storm.wait_for_more()
    yield
    if storm.threads:
        storm.wait_for_more()
    storm.finish()


def reload_to(daemon, text):
    daemon.write_config(text)
    assert daemon.reload(), daemon.log


@RETIRES
@pytest.mark.parametrize("old, new", PAIRS, ids=[f"{a} to {b}" for a, b in PAIRS])
def test_reload_changes_the_address_without_refusals(ackd, old, new):
    port = common_port()
    daemon = ackd(config(old, port), arguments=())
    check_served(old, port)
    with storm_at_both(old, new, port):
        reload_to(daemon, config(new, port))
        check_served(new, port)
    # back again: the removed sockets do not exist any more
    with storm_at_both(old, new, port):
        reload_to(daemon, config(old, port))
        check_served(old, port)
    daemon.stop()


@RETIRES
@pytest.mark.parametrize("workers", [1, 3])
def test_successive_reloads_leave_no_sockets(ackd, workers):
    """After all addresses there is one socket for each worker and address."""
    port = common_port()
    more = f"workers = {workers};"
    daemon = ackd(config("localhost", port).replace("workers = 2;", more), arguments=())
    n_sockets = daemon.n_sockets()
    storm = Storm([at("127.0.0.1", port)])
    for address in "*", "127.0.0.1", "0.0.0.0", "localhost":
        storm.wait_for_more()
        reload_to(daemon, config(address, port).replace("workers = 2;", more))
        check_served(address, port)
    storm.wait_for_more()
    storm.finish()
    wait_until(lambda: daemon.n_sockets() <= n_sockets, "the old sockets to be closed")


@pytest.mark.parametrize("old, new", PAIRS, ids=[f"{a} to {b}" for a, b in PAIRS])
def test_restart_changes_the_address_without_refusals(unit, old, new):
    port = common_port()
    daemon = unit.start(config(old, port), arguments=())
    with storm_at_both(old, new, port):
        daemon = unit.again(daemon, config(new, port))
        check_served(new, port)
    n_stored = 2 * (2 if new in ("localhost", "*") else 1)
    wait_until(lambda: len(unit.names()) == n_stored, "the old sockets to leave the store")
    daemon.stop()


def test_restart_soon_after_a_reload_refuses_no_client(unit):
    """The restart happens while the retired sockets still exist."""
    port = common_port()
    daemon = unit.start(config("localhost", port), arguments=())
    for address in "*", "127.0.0.1", "localhost":
        with storm_at_both("127.0.0.1", address, port):
            reload_to(daemon, config(address, port))
            daemon = unit.again(daemon, config(address, port))
            check_served(address, port)
            reload_to(daemon, config("0.0.0.0", port))
            daemon = unit.again(daemon, config("0.0.0.0", port))
            check_served("0.0.0.0", port)
    wait_until(lambda: len(unit.names()) == 2, "the old sockets to leave the store")
    daemon.stop()


def test_restart_as_another_user_can_change_the_address(unit, directory):
    """Addresses of different users must not overlap, so the stored sockets are closed first."""
    if os.geteuid() != 0:
        pytest.skip("only root can run ackd as other users")
    port = common_port()
    daemon = unit.start(config("localhost", port), arguments=())
    daemon.signal(signal.SIGUSR2)
    assert daemon.wait() == 0
    unit.settle()
    for _, fd in unit.store:
        os.fchown(fd, 1, 1)
    daemon = unit.start(config("*", port), arguments=())
    check_served("*", port)
    daemon.stop()


# ---- handshakes that last longer than the change ----

ACK, PSH = 0x10, 0x08
DROP_ACKS = [
    # opcode, jump if true, jump if false, constant: offsets are those of the TCP header
    (0x30, 0, 0, 13),  # load the flags
    (0x15, 0, 1, ACK),  # only ACK?
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFF),  # accept
]


def drop_acks(daemon, address):
    """Makes the listening sockets of @daemon at @address ignore an ACK without data.

    The client is then connected, while the server waits for the end of the handshake.
    """
    program = b"".join(struct.pack("HBBI", *line) for line in DROP_ACKS)
    buffer = ctypes.create_string_buffer(program)
    option = struct.pack("HL", len(DROP_ACKS), ctypes.addressof(buffer))
    for s in daemon.listening_sockets(address):
        try:
            s.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)
        except PermissionError:  # ackd has locked the filter
            pytest.skip("only root can attach a filter to the daemon's sockets")
        s.close()


def expect_answers(clients):
    for s in clients:
        s.sendall(b"x")
    for s in clients:
        assert read_exactly(s, 5) == b"Got x"
        s.close()


CHANGES = [("localhost", "*"), ("*", "localhost"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "*"),
           ("127.0.0.1", "::"), ("*", "::")]


@pytest.mark.parametrize("old, new", CHANGES, ids=[f"{a} to {b}" for a, b in CHANGES])
def test_handshake_in_progress_survives_a_reload(ackd, old, new):
    port = common_port()
    daemon = ackd(config(old, port), arguments=())
    drop_acks(daemon, daemon.addresses()[-1] if old != "*" else at("0.0.0.0", port))
    host = "::1" if old == "localhost" else "127.0.0.1"
    clients = [at(host, port).connect() for _ in range(20)]
    reload_to(daemon, config(new, port))
    expect_answers(clients)
    daemon.stop()


def test_handshake_in_progress_survives_a_restart(unit):
    port = common_port()
    daemon = unit.start(config("0.0.0.0", port), arguments=())
    drop_acks(daemon, at("0.0.0.0", port))
    clients = [at("127.0.0.1", port).connect() for _ in range(20)]
    daemon = unit.again(daemon, config("127.0.0.1", port))
    expect_answers(clients)
    daemon.stop()


# ---- failed reloads ----


def test_failed_reload_loses_no_connection(ackd):
    """The narrower socket is already bound, but connections still go to the wider one."""
    port = common_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        bad = (
            f'workers = 2; listeners = ( {{ name = "ackd"; address = "localhost"; port = {port}; }},'
            f' {{ name = "b"; address = "127.0.0.1"; port = {taken.getsockname()[1]}; }} );'
        )
        daemon = ackd(config("*", port), arguments=())
        storm = Storm([at("127.0.0.1", port), at("::1", port)])
        for _ in range(20):
            storm.wait_for_more()
            daemon.write_config(bad)
            assert not daemon.reload()
        storm.finish()
    check_served("*", port)


# ---- other sockets ----


@RETIRES
def test_listeners_can_exchange_their_addresses(ackd):
    port, other = common_port(), common_port()
    text = (
        'workers = 2; ack_prefix = "${{listener}} "; listeners = ('
        ' {{ name = "a"; address = "{}"; port = {}; }}, {{ name = "b"; address = "{}"; port = {}; }} );'
    )
    daemon = ackd(text.format("*", port, "localhost", other), arguments=())
    reload_to(daemon, text.format("*", other, "localhost", port))
    for p, name in (port, b"b x"), (other, b"a x"):
        with at("127.0.0.1", p).connect() as s:
            s.sendall(b"x")
            assert read_exactly(s, 3) == name


def test_path_can_change(ackd, directory):
    text = 'listeners = ( {{ name = "a"; path = "{}"; }} );'
    old, new = Address(f"unix:{directory}/old"), Address(f"unix:{directory}/new")
    daemon = ackd(text.format(old.path), arguments=())
    stopping, wrong = threading.Event(), []

    def connect():
        while not stopping.is_set():
            try:
                with old.connect() as s:
                    s.sendall(b"x")
                    if read_exactly(s, 5) != b"Got x":
                        wrong.append("answer")
            except FileNotFoundError:
                return
            except OSError as e:
                wrong.append(repr(e))

    threads = [threading.Thread(target=connect, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    reload_to(daemon, text.format(new.path))
    wait_until(lambda: not any(t.is_alive() for t in threads), "the old path to be removed")
    stopping.set()
    assert wrong == []
    with new.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"


def test_address_of_the_metrics_can_change(ackd, config_file):
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics")
    port = common_port()
    text = 'port = 0; metrics = {{ address = "{}"; port = {}; }};'
    daemon = ackd(text.format("localhost", port))
    for address in "*", "127.0.0.1", "0.0.0.0", "localhost":
        reload_to(daemon, text.format(address, port))
        assert scrape(at("127.0.0.1", port))
        assert refused(at("127.1.2.3", port)) == ("127.1.2.3" not in HOSTS[address])


def test_listener_can_move_to_the_address_of_the_metrics(ackd, config_file):
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics")
    port, other = common_port(), common_port()
    text = 'address = "{}"; port = {}; metrics = {{ address = "{}"; port = {}; }};'
    daemon = ackd(text.format("*", port, "localhost", other), arguments=())
    reload_to(daemon, text.format("localhost", other, "*", port))
    wait_until(lambda: scrape(at("127.0.0.1", port)), "the metrics")
    with at("127.0.0.1", other).connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
