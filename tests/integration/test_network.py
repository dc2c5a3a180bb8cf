"""Networks that lose packets, and peers that vanish, in a separate namespace."""

import contextlib
import ctypes
import random
import subprocess

import pytest

from harness import converse, have, wait_until

CLONE_NEWNET = 0x40000000


def enter(namespace):
    """Moves this thread to the network namespace of an open /proc/PID/ns/net."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """A network namespace with only a loopback interface, and a daemon in it."""

    def __init__(self, make):
        self.make = make
        self.daemon = None

    def start(self, config, *setup):
        """Runs the shell commands @setup in the namespace, then the daemon."""
        commands = " && ".join(["ip link set lo up", *setup, 'exec "$@"'])
        self.daemon = self.make(config, wrapper=["unshare", "--net", "sh", "-ec", commands, "sh"])
        return self.daemon

    def run(self, *command):
        subprocess.run(["nsenter", "--net", "-t", str(self.daemon.pid), *command], check=True)

    @contextlib.contextmanager
    def inside(self):
        """Connects from within the namespace."""
        with open("/proc/self/ns/net") as ours, open(f"/proc/{self.daemon.pid}/ns/net") as theirs:
            enter(theirs)
            try:
                yield
            finally:
                enter(ours)


@pytest.fixture
def network(ackd):
    if not have("unshare", "ip", "nsenter"):
        pytest.skip("no unshare, ip or nsenter")
    command = ["unshare", "--net", "ip", "link", "set", "lo", "up"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace: {tried.stderr.strip()}")
    return Network(ackd)


def text_of(n_bytes, seed):
    rng = random.Random(seed)
    words = ["слово", "word", "漢字", "😀", "é", " ", "\n"]
    return "".join(rng.choices(words, k=n_bytes // 5)).encode()


def check_echo(network, n_bytes):
    data = text_of(n_bytes, 5)
    for address in network.daemon.addresses():
        with network.inside():
            s = address.connect()
        with s:
            assert converse(s, data, timeout=120) == data


@pytest.mark.parametrize("mtu", [1280, 68])
def test_small_mtu(network, mtu):
    network.start('address = "127.0.0.1"; reply = "echo";', f"ip link set lo mtu {mtu}")
    check_echo(network, 500_000 if mtu > 1000 else 50_000)


@pytest.mark.parametrize(
    "netem",
    ["loss 2%", "delay 10ms 5ms reorder 25% 50%", "duplicate 10%", "loss 1% delay 5ms rate 50mbit"],
)
def test_loss_reordering_and_delay(network, netem):
    tried = subprocess.run(
        ["unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", *netem.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        pytest.skip(f"the kernel has no netem: {tried.stderr.strip()}")
    network.start('reply = "echo";', f"tc qdisc add dev lo root netem {netem}")
    check_echo(network, 500_000)


def test_small_socket_buffers(network):
    """Each send and receive of the daemon transfers few bytes."""
    network.start(
        'reply = "echo";',
        'sysctl -qw net.ipv4.tcp_wmem="4096 4096 4096" net.ipv4.tcp_rmem="4096 4096 4096"',
    )
    check_echo(network, 300_000)


def test_vanished_peer_with_unsent_replies_is_closed(network):
    """The connection is half-open: no packet passes. The idle timeout closes it."""
    daemon = network.start('reply = "echo"; limits = { idle_timeout = "1s"; };')
    n_sockets = daemon.n_sockets()
    with network.inside():
        s = daemon.connect()
    with s:
        daemon.fill(s, b"0123456789", quiet=0.1)
        network.run("ip", "link", "set", "lo", "down")
        wait_until(lambda: daemon.n_sockets() == n_sockets, "the connection to be closed")


def test_vanished_idle_peer_is_closed(network):
    daemon = network.start('limits = { idle_timeout = "1s"; }; log = { level = "debug"; };')
    with network.inside():
        s = daemon.connect()
    with s:
        daemon.wait_for("connection 1 from ")
        network.run("ip", "link", "set", "lo", "down")
        daemon.wait_for("connection 1 from .* ended: idle")


def test_stop_with_a_vanished_peer_ends(network):
    daemon = network.start('reply = "echo"; limits = { drain_timeout = "1s"; };')
    with network.inside():
        s = daemon.connect()
    with s:
        daemon.fill(s, b"0123456789", quiet=0.1)
        network.run("ip", "link", "set", "lo", "down")
        daemon.stop()
