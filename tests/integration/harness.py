"""Runs ackd, and connects to it as a client.

Every wait has a time bound; exceeding it is an error.
"""

import contextlib
import ctypes
import errno
import functools
import itertools
import json
import os
import pathlib
import re
import selectors
import shutil
import socket
import stat
import struct
import subprocess
import threading
import time
from signal import SIGCONT, SIGHUP, SIGSTOP, SIGTERM

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

def build_directory():
    """Returns ACKD_BUILD, or the newest build directory in the source tree."""
    if os.environ.get("ACKD_BUILD"):
        return pathlib.Path(os.environ["ACKD_BUILD"]).resolve()
    built = [p.parents[2] for p in ROOT.glob("build*/src/ackd/ackd")]
    built += [p.parents[2] for p in ROOT.glob("build*/*/src/ackd/ackd")]
    if not built:
        raise FileNotFoundError("no build directory with src/ackd/ackd: set ACKD_BUILD")
    return max(built, key=lambda p: (p / "src/ackd/ackd").stat().st_mtime)


def ackd_binary():
    return build_directory() / "src/ackd/ackd"


def sanitizer():
    """Returns the sanitizer of the build, "address" or "thread"; "emulator"; or None.

    An emulator, which is valgrind or qemu, is in a script that runs the program.
    """
    binary = ackd_binary().read_bytes()
    if binary.startswith(b"#!"):
        return "emulator"
    for symbol, name in ((b"__asan_init", "address"), (b"__tsan_init", "thread")):
        if symbol in binary:
            return name
    return None


def is_portable():
    """Returns whether the build has the option portable: no files for Linux alone."""
    options = build_directory() / "meson-info/intro-buildoptions.json"
    values = json.loads(options.read_text()) if options.exists() else []
    return any(x["name"] == "portable" and x["value"] for x in values)


def is_static():
    """Returns whether the build under test is static: its programs name no dynamic linker."""
    beginning = ackd_binary().read_bytes()[:4096]
    return beginning.startswith(b"\x7fELF") and b"/ld-" not in beginning


# The slowness of the build under test relative to a plain build; time bounds are multiplied by it.
SLOWNESS = float(
    os.environ.get("ACKD_TEST_SLOWNESS")
    or {None: 1, "address": 4, "thread": 8, "emulator": 20}[sanitizer()]
)


def within(seconds):
    """Returns the time bound for an action that a plain build completes in far less than @seconds."""
    return seconds * SLOWNESS


# The bound for actions that should be immediate; generous, because the machine may be busy.
SOON = 30.0 * max(1.0, SLOWNESS / 8)

# The bound for answers that must not wait for other clients: less than the 10 s after which slow ones
# are closed. A machine with many processes for each processor delays an answer by seconds.
PROMPT = max(8.0, within(1))

SANITIZER_REPORT = re.compile(
    r"(Address|Leak|Thread|Memory|UndefinedBehavior)Sanitizer|runtime error:"
)


def environment(extra=None):
    """Returns the environment of a daemon, without variables of a service manager."""
    env = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_", "FDSTORE", "JOURNAL_", "RUNTIME_",
                             "MAINPID"))
    }
    env.update(extra or {})
    return env


# The command that ends a process with an interrupted test run.
WITH_PARENT = [shutil.which("setpriv"), "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


def spawn(command, env=None, **options):
    """Starts a process that ends with this one; returns its Popen.

    A preexec_fn could do this as well, but then Python forks, which copies the page tables of the
    tests: that takes longer than ackd takes to start.
    """
    env = dict(os.environ if env is None else env)
    if "LD_PRELOAD" in env:  # it is for the process alone
        command = [shutil.which("env"), "LD_PRELOAD=" + env.pop("LD_PRELOAD"), *command]
    return subprocess.Popen([*WITH_PARENT, *command], env=env, **options)


def run_ackd(*arguments, timeout=SOON, wrapper=(), **options):
    """Runs `ackd ARGUMENTS` to its end; returns a CompletedProcess with text."""
    options.setdefault("env", environment())
    done = subprocess.run(
        [*wrapper, str(ackd_binary()), *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
        **options,
    )
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def wait_until(condition, what, timeout=SOON):
    """Waits for condition() to be true; returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)


def control_by_hand(pid):
    """Returns the path of the control socket of a daemon without a runtime directory."""
    uid = os.geteuid()
    return pathlib.Path("/run", *(["user", str(uid)] if uid else []), f"ackd-{pid}.control")


class Address:
    """An address of a listener, from its `listen` event."""

    def __init__(self, text):
        self.text = text
        self.path = None
        if text.startswith("unix:"):
            self.family = socket.AF_UNIX
            self.path = text[len("unix:") :]
            self.sockaddr = re.sub("^@", "\0", self.path)
        elif text.startswith("["):
            host, port = re.fullmatch(r"\[([^]]+)\]:(\d+)", text).groups()
            self.family = socket.AF_INET6
            self.sockaddr = (host, int(port))
        else:
            host, port = text.rsplit(":", 1)
            self.family = socket.AF_INET
            self.sockaddr = (host, int(port))

    @property
    def port(self):
        return self.sockaddr[1]

    def connect_if_listening(self):
        """Returns None while no process listens; the file of a UNIX socket exists before that."""
        try:
            return self.connect()
        except (ConnectionRefusedError, FileNotFoundError):
            return None

    def connect(self, source=None, timeout=SOON, receive_buffer=None):
        s = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            s.settimeout(timeout)
            if receive_buffer:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if self.family != socket.AF_UNIX:
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if source:
                s.bind(source if self.family == socket.AF_UNIX else (source, 0))
            s.connect(self.sockaddr)
        except BaseException:
            s.close()
            raise
        return s

    def __repr__(self):
        return self.text


class Daemon:
    """An ackd process with a configuration text; by default it listens on port 0."""

    LISTEN = re.compile(r"(\S+): listening on (\S+)")
    READY = re.compile(r"\bready: \d+ worker")

    def __init__(
        self, directory, config, arguments=None, env=None, wrapper=(), stderr=None, pass_fds=()
    ):
        self.directory = pathlib.Path(directory)
        self.config_path = self.directory / "ackd.conf"
        self.write_config(config)
        if arguments is None:  # the kernel chooses a free port
            own_path = re.search(r"\bpath = ", config.split("listeners", 1)[0])
            arguments = () if own_path else ("-p", "0")
        self.arguments = [str(a) for a in arguments]
        self.env = environment(env)
        self.wrapper = [str(w) for w in wrapper]
        self.pass_fds = pass_fds
        self.stderr = stderr  # a descriptor if the test reads it itself
        self.process = None
        self.lines = []
        self._news = threading.Condition()
        self._reader = None
        self._ended = False  # no more lines follow

    def write_config(self, config):
        """Replaces the file atomically: a daemon reads the complete old or new one."""
        new = self.config_path.with_suffix(".new")
        new.write_text(config, encoding="utf-8")
        new.replace(self.config_path)

    # ---- its life ----

    def start(self, ready=True):
        command = [*self.wrapper, str(ackd_binary()), "-c", str(self.config_path)]
        self.process = spawn(
            command + self.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if self.stderr is None else self.stderr,
            env=self.env,
            cwd=self.directory,
            pass_fds=self.pass_fds,
        )
        if self.stderr is None:
            self._reader = threading.Thread(target=self._read_stderr, daemon=True)
            self._reader.start()
        if ready:
            self.wait_for(self.READY)
        return self

    def _read_stderr(self):
        for line in self.process.stderr:
            text = line.decode("utf-8", "surrogateescape").rstrip("\n")
            if not self.keep_line(text):
                continue
            with self._news:
                self.lines.append(text)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def keep_line(self, line):
        """Returns whether @line of the log is kept; subclasses reduce the number of lines."""
        return True

    @property
    def log(self):
        with self._news:
            return "\n".join(self.lines)

    @property
    def pid(self):
        return self.process.pid

    def mark(self):
        """Returns the number of lines so far, for wait_for(after=)."""
        with self._news:
            return len(self.lines)

    def wait_for(self, pattern, timeout=SOON, after=0):
        """Waits for a line of stderr that matches @pattern; returns the match."""
        pattern = re.compile(pattern)
        deadline = time.monotonic() + timeout
        seen = after
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    match = pattern.search(line)
                    if match:
                        return match
                seen = max(seen, len(self.lines))
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    why = "ackd ended" if self._ended else f"not within {timeout:g} s"
                    said = "\n".join(self.lines[-50:])
                    raise TimeoutError(f"no line with {pattern.pattern!r}: {why}\n{said}")
                self._news.wait(left)

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=SOON):
        """Waits for the end; returns the exit status."""
        status = self.process.wait(timeout)
        if self._reader:
            self._reader.join(timeout)
        return status

    def stop(self, number=SIGTERM, timeout=SOON):
        """Stops the daemon and checks that it exits with 0."""
        if self.process.poll() is None:
            self.signal(number)
        status = self.wait(timeout)
        assert status == 0, f"exit status {status}\n{self.log}"
        self.check_log()

    def check_log(self):
        assert not SANITIZER_REPORT.search(self.log), self.log

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.wait()
            control_by_hand(self.pid).unlink(missing_ok=True)  # a killed one leaves it

    def reload(self):
        """Sends SIGHUP, waits for the outcome, and returns whether the reload succeeded."""
        mark = self.mark()
        self.signal(SIGHUP)
        return self.wait_for(r"reloaded the configuration|reload failed", after=mark)[0].startswith(
            "reloaded"
        )

    # ---- its listeners ----

    def addresses(self, listener=None):
        """Returns the addresses of a listener, or with None of all listeners except the metrics."""
        found = []
        for line in list(self.lines):
            match = self.LISTEN.search(line)
            if match and (match[1] != "metrics" if listener is None else match[1] == listener):
                found.append(Address(match[2]))
        return found

    def address(self, listener=None):
        return self.addresses(listener)[0]

    def connect(self, listener=None, **options):
        return self.address(listener).connect(**options)

    def exchange(self, data, listener=None, **options):
        """Connects, sends @data, half-closes, and returns the whole answer."""
        with self.connect(listener) as s:
            return converse(s, data, **options)

    # ---- its resources ----

    def status_kib(self, name):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{name}:\s+(\d+) kB", text, re.M)[1])

    def rss_kib(self):
        return self.status_kib("VmRSS")

    def descriptors(self):
        """Returns the target of each open descriptor, from /proc."""
        found = []
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            try:
                found.append(os.readlink(f"/proc/{self.pid}/fd/{name}"))
            except FileNotFoundError:
                pass  # closed meanwhile
        return found

    def n_sockets(self):
        return sum(what.startswith("socket:") for what in self.descriptors())

    def sockets(self):
        """Yields duplicates of the daemon's sockets; the caller closes them."""
        pidfd = os.pidfd_open(self.pid)
        try:
            for name in os.listdir(f"/proc/{self.pid}/fd"):
                fd = ctypes.CDLL(None, use_errno=True).syscall(438, pidfd, int(name), 0)
                if fd < 0:  # pidfd_getfd(2)
                    error = ctypes.get_errno()
                    if error in (errno.EPERM, errno.ENOSYS):
                        pytest.skip(f"no pidfd_getfd: {os.strerror(error)}")
                    continue  # closed meanwhile
                if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.close(fd)
                    continue
                yield socket.socket(fileno=fd)
        finally:
            os.close(pidfd)

    def socket_of(self, client):
        """Returns the daemon's socket whose peer is @client."""
        for s in self.sockets():
            with contextlib.suppress(OSError):  # it has no peer
                if s.getpeername() == client.getsockname():
                    return s
            s.close()
        raise LookupError(client)

    def listening_sockets(self, address):
        """Yields the daemon's sockets that listen at @address."""
        for s in self.sockets():
            if s.family == address.family and s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                if s.getsockname()[:2] == address.sockaddr:
                    yield s
                    continue
            s.close()

    def is_asleep(self):
        """Returns whether every thread waits for events; one that waits for a processor does not."""
        states = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread has ended meanwhile
            for task in pathlib.Path(f"/proc/{self.pid}/task").iterdir():
                states.append((task / "stat").read_text().rsplit(")", 1)[1].split()[0])
            return set(states) == {"S"}
        return False

    def fill(self, s, piece, quiet=0.5, limit=1 << 30, polls=False):
        """Sends @piece repeatedly until the daemon reads no more; returns the byte count.

        The socket must be full for @quiet s while the daemon waits for events: without that, a daemon
        that has got no processor for so long would count as one that does not read. @polls: it never
        waits.
        """
        block = piece * (1 + (1 << 16) // len(piece))
        sent = 0
        deadline = time.monotonic() + SOON
        s.setblocking(False)
        with selectors.DefaultSelector() as selector:
            selector.register(s, selectors.EVENT_WRITE)
            while sent < limit:
                if selector.select(quiet):
                    sent += s.send(block[sent % len(piece) :])
                    deadline = time.monotonic() + SOON
                elif polls or self.is_asleep():
                    break
                elif time.monotonic() > deadline:
                    raise TimeoutError(f"{sent} bytes sent, and the daemon is still busy")
        s.settimeout(SOON)
        return sent

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def state_of(pid):
    """Returns the state of a process: S if it sleeps, T if it is stopped, and others of proc(5)."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Frozen:
    """In this context the daemon is stopped, so that it receives all events together afterwards."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __enter__(self):
        self.daemon.signal(SIGSTOP)
        wait_until(lambda: state_of(self.daemon.pid) in "Tt", "the stop")

    def __exit__(self, *_):
        self.daemon.signal(SIGCONT)


# ---- clients ----


def converse(s, data, half_close=True, timeout=SOON, until=None, chunk=1 << 18):
    """Sends @data and reads in parallel, to the end of input or until @until bytes were received.

    By default it half-closes after sending.
    """
    received = bytearray()
    view = memoryview(data)
    deadline = time.monotonic() + timeout
    s.setblocking(False)
    sending = True
    with selectors.DefaultSelector() as selector:
        selector.register(s, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while until is None or len(received) < until or sending:
            left = deadline - time.monotonic()
            events = selector.select(max(left, 0))
            if not events:
                raise TimeoutError(
                    f"{len(view)} of {len(data)} bytes not sent, {len(received)} received:"
                    f" ...{bytes(received[-100:])!r}"
                )
            if events[0][1] & selectors.EVENT_WRITE:
                if view:
                    view = view[s.send(view[:chunk]) :]
                if not view:
                    if half_close:
                        s.shutdown(socket.SHUT_WR)
                    sending = False
                    selector.modify(s, selectors.EVENT_READ)
            if events[0][1] & selectors.EVENT_READ:
                got = s.recv(1 << 18)
                if not got:
                    break
                received += got
    s.settimeout(SOON)
    return bytes(received)


def read_exactly(s, n, timeout=SOON):
    """Reads @n bytes, or fewer if the connection ends."""
    received = bytearray()
    deadline = time.monotonic() + timeout
    while len(received) < n:
        s.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            got = s.recv(n - len(received))
        except TimeoutError:
            raise TimeoutError(f"{len(received)} of {n} bytes: {bytes(received)!r}") from None
        if not got:
            break
        received += got
    return bytes(received)


def read_to_end(s, timeout=SOON):
    """Reads to end of input."""
    received = bytearray()
    deadline = time.monotonic() + timeout
    while True:
        s.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            got = s.recv(1 << 18)
        except TimeoutError:
            raise TimeoutError(f"no end of input after {bytes(received[-100:])!r}") from None
        if not got:
            return bytes(received)
        received += got


def is_silent(s, seconds):
    """Returns whether neither data nor the end arrives for that time."""
    s.settimeout(seconds)
    try:
        s.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    return False


def reset(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


@functools.cache
def own_ports():
    """Returns an endless iterator over 100 ports that no other process of tests uses, and their claim.

    They are outside of the ephemeral ports, and of those of tests/bench. A bound abstract name claims
    them: like the ports, it belongs to the network namespace, and the kernel removes it with the process.
    """
    for first in range(12000, 20000, 100):
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):  # in use
            claim.bind(f"\0ackd-test-ports-{first}")
            return itertools.cycle(range(first, first + 100)), claim
        claim.close()
    raise OSError(errno.EADDRINUSE, "80 other processes run tests here")


def free_port(host="127.0.0.1"):
    """Returns an unused port that neither the kernel nor another test chooses."""
    for port in own_ports()[0]:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
            with contextlib.suppress(OSError):  # in use
                s.bind((host, port))
                return port


def have(*programs):
    return all(shutil.which(p) for p in programs)
