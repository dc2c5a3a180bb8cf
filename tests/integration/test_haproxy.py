"""Three ackds behind HAProxy, with the configuration of packaging/haproxy/ackd.cfg, for TLS together
with ackd-tls.cfg."""

import contextlib
import csv
import io
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time

import pytest

from harness import (
    ROOT,
    SOON,
    Address,
    Daemon,
    ackd_binary,
    free_port,
    have,
    read_to_end,
    run_ackd,
    spawn,
    wait_until,
    within,
)
from manager import Manager, skip_without_systemd
from prom import is_built, request, scrape

N = 3
INTERVAL = 1.0  # of the health check, as in ackd.cfg

CONFIG = """
address = "127.0.0.1"; port = {port}; proxies = ["127.0.0.1"];
metrics = {{ address = "127.0.0.1"; port = {metrics}; }};
framing = "line"; greeting = "${{peer}}\n"; ack_prefix = "${{message}} ";
log = {{ level = "debug"; }};
"""

# For a backend that also has a listener with TLS.
TLS_LISTENERS = """
listeners = ( {{ name = "ackd"; }},
              {{ name = "tls"; port = {port};
                 tls = {{ certificate = "{directory}/server.crt"; key = "{directory}/server.key"; }}; }} );
"""


class Backend:
    """An ackd and its addresses; with a @manager it is a unit that can be restarted."""

    def __init__(self, directory, manager=None, config="", tls=False):
        self.directory = directory
        self.manager = manager
        self.address = Address(f"127.0.0.1:{free_port()}")
        self.metrics = Address(f"127.0.0.1:{free_port()}")
        self.config = config + CONFIG.format(port=self.address.port, metrics=self.metrics.port)
        if tls:
            self.tls = Address(f"127.0.0.1:{free_port()}")
            make_certificate(directory, "server")
            self.config += TLS_LISTENERS.format(port=self.tls.port, directory=directory)
        if manager:
            self.daemon = manager.daemon(directory, self.config, arguments=())
        else:
            self.start()

    def start(self, wrapper=()):
        self.daemon = Daemon(self.directory, self.config, arguments=(), wrapper=wrapper).start()

    def restart(self):
        self.daemon = self.manager.restart(self.daemon)

    def finish(self):
        try:
            if self.daemon.process.poll() is None:
                if "drain_delay" in self.config:
                    self.daemon.signal(signal.SIGINT)  # ends the delay; two of the same may become one
                self.daemon.stop()
            self.daemon.check_log()
        finally:
            self.daemon.kill()
            print(self.daemon.log[-5000:])  # pytest shows it if the test has failed
            if self.manager:
                self.manager.close()


class HAProxy:
    """haproxy with ackd.cfg, and with ackd-tls.cfg if @tls; only addresses and paths are changed."""

    def __init__(self, directory, backends, protocol="send-proxy-v2", tls=False):
        self.backends = backends
        self.directory = directory
        self.protocol = protocol
        self.socket = f"{directory}/admin.sock"
        self.ipv4 = Address(f"127.0.0.1:{free_port()}")
        self.ipv6 = Address(f"[::1]:{free_port('::1')}")
        replaced = {
            r"^ +(user|group|log /dev/log).*\n": "",
            r"maxconn 20000": "maxconn 1000",  # for a low descriptor limit
            r"/run/haproxy/admin\.sock mode 660": self.socket,
        }
        files = [self.write("ackd.cfg", replaced, (self.ipv4, self.ipv6), [b.address for b in backends])]
        if tls:
            self.tls = Address(f"127.0.0.1:{free_port()}")
            self.tls_ipv6 = Address(f"[::1]:{free_port('::1')}")
            files.append(self.write("ackd-tls.cfg", {}, (self.tls, self.tls_ipv6),
                                    [b.tls for b in backends]))
        self.log = open(f"{directory}/haproxy.log", "w+b")
        self.process = spawn(
            ["haproxy", "-db", *(argument for path in files for argument in ("-f", path))],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
        )
        wait_until(self._is_up, "haproxy")
        for proxy in ["ackd", "ackd_tls"] if tls else ["ackd"]:
            wait_until(lambda p=proxy: set(self.states(p)) == {"UP"}, "the first health checks")

    def write(self, name, replaced, frontend, servers):
        """Writes a copy of an example with other addresses; returns its path."""
        text = (ROOT / "packaging/haproxy" / name).read_text()
        replaced |= {
            r"bind 0\.0\.0\.0:\d+": f"bind {frontend[0].text}",
            r"bind \[::\]:\d+": f"bind {frontend[1].text}",
            r"default-server send-proxy-v2 check port 9180": f"default-server {self.protocol} check",
        }
        for i in range(N):
            known = i < len(servers)
            replaced[rf"    server ackd{i + 1} [\d.]+:\d+"] = (
                f"    server ackd{i + 1} {servers[i].text} port {self.backends[i].metrics.port}"
                if known
                else ""
            )
        for pattern, by in replaced.items():
            text, n = re.subn(pattern, by, text, flags=re.M)
            assert n > 0, pattern
        path = f"{self.directory}/{name}"
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _is_up(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError(self.log.read().decode())
        with contextlib.suppress(OSError):
            return self.command("show info")
        return False

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.socket)
            s.sendall(text.encode() + b"\n")
            return read_to_end(s).decode()

    def servers(self, proxy="ackd"):
        """Returns the statistics of each server in HAProxy."""
        rows = csv.DictReader(io.StringIO(self.command("show stat")[2:]))
        servers = [r for r in rows if r["pxname"] == proxy and r["svname"].startswith("ackd")]
        assert len(servers) == len(self.backends)
        return servers

    def states(self, proxy="ackd"):
        """Returns the state of each server in HAProxy: UP, DOWN, DRAIN ..."""
        return [
            r["status"].split()[0] + ("?" if "(" in r["check_status"] else "")
            for r in self.servers(proxy)
        ]

    def refusals(self):
        """Returns how many connections to servers failed, were retried or moved to another."""
        return sum(int(r[name]) for r in self.servers() for name in ("econ", "wretr", "wredis"))

    def set(self, i, state):
        assert self.command(f"set server ackd/ackd{i + 1} state {state}").strip() == ""

    def finish(self):
        self.process.terminate()
        self.process.wait(SOON)
        self.log.close()


@pytest.fixture
def lab(config_file):
    """Starts an HAProxy and its ackds."""
    if not have("haproxy"):
        pytest.skip("haproxy is not installed")
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics, which serve the health checks")
    with contextlib.ExitStack() as stack:

        def directory():
            path = tempfile.mkdtemp(prefix="ackd-test-")
            stack.callback(shutil.rmtree, path)
            return path

        def make(n=N, units=False, config="", tls=False, **options):
            if units:
                skip_without_systemd()
            backends = []
            for _ in range(n):
                path = directory()
                backends.append(Backend(path, Manager(path) if units else None, config, tls))
                stack.callback(backends[-1].finish)
            haproxy = HAProxy(directory(), backends, tls=tls, **options)
            stack.callback(haproxy.finish)
            return haproxy

        yield make


def name_of(s):
    """Returns the client address that ackd must report for this socket."""
    host, port = s.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def read_line(s):
    line = b""
    while not line.endswith(b"\n"):
        got = s.recv(1)
        if not got:
            raise ConnectionError(f"ended after {line!r}")
        line += got
    return line.decode().rstrip("\n")


class Load:
    """Clients that exchange without pause; every reply is checked, every failure recorded."""

    def __init__(self, address, short=4, long=4, pause=0.002):
        self.address = address
        self.pause = pause  # after each exchange
        self.failures = []
        self.exchanges = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(50 if i < short else None,))
            for i in range(short + long)
        ]

    def _run(self, per_connection):
        while not self._stop.is_set():
            try:
                self._converse(per_connection)
            except (OSError, AssertionError) as error:
                with self._lock:
                    self.failures.append(f"{type(error).__name__}: {error}")

    def _converse(self, per_connection):
        with self.address.connect() as s:
            assert read_line(s) == name_of(s)
            n = 0
            while not self._stop.is_set() and n != per_connection:
                n += 1
                s.sendall(b"message %d\n" % n)
                assert read_line(s) == f"{n} message {n}"
                with self._lock:
                    self.exchanges += 1
                time.sleep(self.pause)
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b""
        with self._lock:
            self.connections += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(SOON)

    def wait_for_more(self, n=200):
        """Waits for that number of further correct exchanges."""
        goal = self.exchanges + n
        wait_until(lambda: self.exchanges >= goal or self.failures, f"{n} more exchanges")


# ---- identity of the client ----


@pytest.mark.parametrize("protocol", ["send-proxy-v2", "send-proxy"])
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_client_addresses_are_kept(lab, protocol, family):
    haproxy = lab(n=1, protocol=protocol)
    daemon = haproxy.backends[0].daemon
    source = "127.0.0.77" if family == "ipv4" else None
    with getattr(haproxy, family).connect(source=source) as s:
        name = name_of(s)
        assert read_line(s) == name
        # a PROXY header from the client is an ordinary message
        s.sendall(b"PROXY TCP4 198.51.100.1 198.51.100.2 1 2\r\n")
        assert read_line(s) == "1 PROXY TCP4 198.51.100.1 198.51.100.2 1 2\r"
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == b""
        daemon.wait_for(rf"connect.* {re.escape(name)}(\s|$)")
    assert "198.51.100.1" not in daemon.log


TLS_CONFIG = """
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend tls
    bind {frontend} ssl crt {directory}/server.pem ca-file {directory}/client.crt verify required
    unique-id-format %ci:%cp_%Ts_%rc\\\\%pid
    default_backend ackd
backend ackd
    option tcp-check
    tcp-check connect port {port} linger
    server ackd {backend} check inter 200ms {options}
"""


def make_certificate(directory, name):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        + ["-nodes", "-days", "2", "-subj", f"/CN={name}.example"]
        + ["-keyout", f"{directory}/{name}.key", "-out", f"{directory}/{name}.crt"],
        check=True,
        capture_output=True,
    )
    files = [pathlib.Path(f"{directory}/{name}.{kind}") for kind in ("crt", "key")]
    pathlib.Path(f"{directory}/{name}.pem").write_text("".join(f.read_text() for f in files))


@contextlib.contextmanager
def tls_haproxy(directory, address, options):
    """Starts an HAProxy with TLS and client certificates in front of the ackd at @address."""
    for name in ("server", "client"):
        make_certificate(directory, name)
    frontend = Address(f"127.0.0.1:{free_port()}")
    config = pathlib.Path(f"{directory}/haproxy.cfg")
    config.write_text(
        TLS_CONFIG.format(
            directory=directory,
            frontend=frontend.text,
            backend=address.text,
            port=address.port,
            options=options,
        )
    )
    with open(f"{directory}/haproxy.log", "w+b") as log:
        process = spawn(
            ["haproxy", "-db", "-f", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            yield frontend, log
        finally:
            process.terminate()
            process.wait(SOON)


OPTIONS = "proxy-v2-options ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
# The longest DNS names yield a header of more than 536 bytes.
NAMES = ["a.example", ".".join(["x" * 61] * 4)]


@pytest.mark.parametrize("sni", NAMES, ids=["short", "long"])
@pytest.mark.parametrize("options", [f"send-proxy-v2-ssl-cn {OPTIONS}", f"send-proxy-v2 {OPTIONS}"])
def test_tls_information_of_haproxy_is_used(ackd, directory, options, sni):
    """Unique ID, authority, certificate and checksum are parsed; health checks send no data."""
    if not have("haproxy", "openssl"):
        pytest.skip("haproxy or openssl is not installed")
    daemon = ackd(
        'address = "127.0.0.1"; proxies = ["127.0.0.1"]; framing = "line";'
        ' greeting = "${proxy_id} ${authority}\\n"; log = { level = "debug"; };'
        ' ack_prefix = "${authority}|";',
    )
    with tls_haproxy(directory, daemon.address(), options) as (frontend, log):
        daemon.wait_for("health_check: ackd: health check from 127.0.0.1:.*: no data")
        context = ssl.create_default_context(cafile=f"{directory}/server.crt")
        context.check_hostname = False
        context.load_cert_chain(f"{directory}/client.pem")
        with frontend.connect() as raw, context.wrap_socket(raw, server_hostname=sni) as s:
            proxy_id, authority = read_line(s).split(" ")
            assert proxy_id.startswith(name_of(s) + "_") and "\\x5c" in proxy_id
            assert authority == sni
            s.sendall(b"text\n")
            assert read_line(s) == f"{sni}|text"
    assert "refused" not in daemon.log


def test_tls_is_passed_through(lab):
    """ackd ends TLS, learns the address of the client, and a restart keeps the connection."""
    if not have("openssl"):
        pytest.skip("the command openssl is not installed")
    if "openssl none" in run_ackd("--version").stdout:
        pytest.skip("this build has no TLS")
    haproxy = lab(n=1, units="libsystemd none" not in run_ackd("--version").stdout, tls=True)
    backend = haproxy.backends[0]
    context = ssl.create_default_context(cafile=f"{backend.directory}/server.crt")
    context.check_hostname = False
    for address, source in ((haproxy.tls, "127.0.0.77"), (haproxy.tls_ipv6, None)):
        with address.connect(source=source) as raw, context.wrap_socket(raw) as s:
            assert read_line(s) == name_of(s)
            s.sendall(b"before\n")
            assert read_line(s) == "1 before"
            if backend.manager:
                backend.restart()
            s.sendall(b"after\n")
            assert read_line(s) == "2 after"
            s.unwrap().close()
        wait_until(lambda: haproxy.states("ackd_tls") == ["UP"], "HAProxy to notice the restart")
    with haproxy.tls.connect() as plain:
        plain.sendall(b"no ClientHello\n")
        assert read_to_end(plain) == b"\x15\3\3\0\2\2\x0a"  # fatal unexpected_message
    backend.daemon.wait_for(r"tls: connection from 127\.0\.0\.1:\d+ refused: not a TLS client")


FORGED = [
    b"PROXY TCP4 198.51.100.1 198.51.100.2 1 2\r\n",
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x01\xc6\x33\x64\x02\x00\x01\x00\x02",
]


@pytest.mark.parametrize("header", FORGED, ids=["v1", "v2"])
def test_forged_header_is_rejected(lab, header):
    """A client that bypasses HAProxy is not served, whatever its header contains."""
    haproxy = lab(n=1)
    backend = haproxy.backends[0]
    refused = ("ackd_connections_refused_total", "ackd", "denied")
    served = ("ackd_connections_total", "ackd")
    with backend.address.connect(source="127.0.0.66") as s, contextlib.suppress(ConnectionError):
        s.sendall(header + b"hello\n")
        assert read_to_end(s) == b""
    wait_until(lambda: scrape(backend.metrics)[refused] == 1, "the refusal to be counted")
    assert scrape(backend.metrics)[served] == 0
    backend.daemon.wait_for(r"127\.0\.0\.66:\d+ refused")
    assert "198.51.100.1" not in backend.daemon.log


# ---- restarts, upgrades and failures ----


def test_rolling_restart_fails_no_exchange(lab):
    """Every ackd is restarted under load; no exchange fails, and connections survive."""
    haproxy = lab(units=True)
    with Load(haproxy.ipv4) as load:
        load.wait_for_more()
        for i, backend in enumerate(haproxy.backends):
            before = backend.daemon.pid
            backend.restart()
            assert backend.daemon.pid != before
            load.wait_for_more()
            wait_until(lambda i=i: haproxy.states()[i] == "UP", "HAProxy to notice it")
        load.wait_for_more()
        assert load.failures == []
        kept = load.connections
    assert load.failures == []
    assert load.connections >= kept + 4  # the long ones, which survived every restart
    print(f"{load.exchanges} exchanges on {load.connections} connections, none failed")
    for backend in haproxy.backends:
        wait_until(
            lambda b=backend: scrape(b.metrics)["ackd_open_connections", "ackd"] == 0, "the end"
        )


def test_rolling_stop_with_drain_delay_fails_no_exchange(lab):
    """Without a hand-over: each is stopped and started, and HAProxy finds out by /healthz alone.

    A second signal ends the delay, as the time would, once HAProxy has noticed and its sessions are over.
    """
    haproxy = lab(config='limits = { drain_delay = "1h"; };')
    with Load(haproxy.ipv4, short=2, long=0, pause=0.02) as load:
        load.wait_for_more(50)
        for i, backend in enumerate(haproxy.backends):
            backend.daemon.signal(signal.SIGTERM)
            wait_until(lambda i=i: haproxy.states()[i] == "DOWN", "HAProxy to notice the end")
            # in HAProxy first: ackd does not know of those that wait to be accepted
            wait_until(lambda i=i: haproxy.servers()[i]["scur"] == "0", "the end of the sessions")
            wait_until(lambda b=backend: scrape(b.metrics)["ackd_open_connections", "ackd"] == 0,
                       "the end of the connections")
            backend.daemon.stop()
            backend.daemon.check_log()
            assert "draining 0 connections" in backend.daemon.log
            backend.start()
            wait_until(lambda i=i: haproxy.states()[i] == "UP", "HAProxy to notice the start")
            load.wait_for_more(50)
    assert load.failures == []
    assert haproxy.refusals() == 0
    print(f"{load.exchanges} exchanges on {load.connections} connections, none failed")


def newer_version(directory):
    """Returns the path of the binary with another version number, and the number."""
    old = run_ackd("-V").stdout.split()[1]
    new = str((int(old[0]) + 1) % 10) + old[1:]  # other strings may share its end
    data = ackd_binary().read_bytes()
    assert data.count(old.encode() + b"\0") >= 1
    path = f"{directory}/ackd-{new}"
    with open(path, "wb") as file:
        file.write(data.replace(old.encode() + b"\0", new.encode() + b"\0"))
    shutil.copymode(ackd_binary(), path)
    return path, new


def test_rolling_upgrade_fails_no_exchange(lab, directory):
    """The procedure of ackd.cfg (drain, wait, stop, upgrade, start, ready) fails no exchange."""
    haproxy = lab()
    path, version = newer_version(directory)
    with Load(haproxy.ipv4, short=8, long=0) as load:
        load.wait_for_more()
        for i, backend in enumerate(haproxy.backends):
            haproxy.set(i, "drain")
            wait_until(lambda i=i: haproxy.servers()[i]["scur"] == "0", "the clients to finish")
            wait_until(
                lambda b=backend: scrape(b.metrics)["ackd_open_connections", "ackd"] == 0,
                "the end of the connections",
            )
            backend.daemon.stop()
            load.wait_for_more()
            backend.start(wrapper=["sh", "-c", f'shift; exec {path} "$@"', "sh"])
            haproxy.set(i, "ready")
            wait_until(lambda i=i: haproxy.states()[i] == "UP", "HAProxy to notice it")
            wait_until(
                lambda b=backend: scrape(b.metrics)["ackd_messages_total", "ackd"] > 0,
                "the new one to serve",
            )
            assert f'version="{version}"' in request(backend.metrics)[2]
            load.wait_for_more()
    assert load.failures == []
    print(f"{load.exchanges} exchanges on {load.connections} connections, none failed")


@pytest.mark.parametrize("traffic", [True, False], ids=["busy", "idle"])
def test_killed_ackd_is_removed_by_the_check(lab, traffic):
    """The check removes the server within its interval, and no new connection fails meanwhile."""
    haproxy = lab()
    victim = haproxy.backends[1]
    time.sleep(INTERVAL / 2)  # a moment between two checks
    victim.daemon.kill()  # and waits, because the kernel accepts until its sockets are closed
    begun = time.monotonic()
    failed = 0
    while haproxy.states()[1] != "DOWN":
        assert time.monotonic() < begun + SOON
        if not traffic:
            time.sleep(0.01)
            continue
        with haproxy.ipv4.connect() as s:
            failed += read_line(s) != name_of(s)
    took = time.monotonic() - begun
    print(f"out after {took:.2f} s")
    assert failed == 0
    assert took < INTERVAL + 0.2 + within(0.5)  # one check, the quick one after it
    for _ in range(2 * N):
        with haproxy.ipv4.connect() as s:
            assert read_line(s) == name_of(s)
    victim.start()
    wait_until(lambda: haproxy.states()[1] == "UP", "HAProxy to take it back")


def test_draining_ackd_gets_no_new_connections(lab):
    """A 503 from /healthz removes the server; its open connections are served to their end."""
    haproxy = lab()
    assert haproxy.states() == ["UP"] * N
    backend = haproxy.backends[2]
    held = []
    while scrape(backend.metrics)["ackd_open_connections", "ackd"] == 0:
        held.append(haproxy.ipv4.connect())
        assert read_line(held[-1]) == name_of(held[-1])
    backend.daemon.stop()
    for _ in range(2 * N):
        with haproxy.ipv4.connect() as s:
            assert read_line(s) == name_of(s)
    served = [scrape(b.metrics)["ackd_connections_total", "ackd"] for b in haproxy.backends[:2]]
    assert sum(served) >= 2 * N
    for s in held:
        s.close()
