"""A service manager for daemons: it receives notifications, keeps descriptors in a store and passes
them on. It replaces systemd in tests of the daemon's side."""

import array
import os
import signal
import socket
import struct
import sys
import threading

import pytest

from harness import SOON, Daemon, run_ackd

# Runs a command with the given descriptors as 3, 4, ..., as LISTEN_FDS requires. Optional variables of
# the unit: $LIMIT_NOFILE is its limit of descriptors, $JOIN_CGROUP the directory of its cgroup.
PASS = """
import fcntl, os, resource, sys
given = [int(fd) for fd in sys.argv[1].split(",") if fd]
fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 1000) for fd in given]
for fd in given:
    os.close(fd)
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
if group := os.environ.pop("JOIN_CGROUP", None):
    with open(group + "/cgroup.procs", "w") as processes:
        processes.write("0")
if limit := os.environ.pop("LIMIT_NOFILE", None):
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
os.environ["LISTEN_PID"] = os.environ["SYSTEMD_EXEC_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""

END = b"the test is over"
MARK = b"all earlier messages are handled"


def skip_without_systemd():
    if "libsystemd none" in run_ackd("--version").stdout:
        pytest.skip("this build has no libsystemd")


class Manager:
    """NOTIFY_SOCKET and the descriptor store of one unit."""

    def __init__(self, directory, store_max=64):
        self.path = f"{directory}/notify"
        self.store_max = store_max
        # As systemd 254: FDSTORE is in the environment, and a child process closes the first
        # descriptor of a message that does not fit, asynchronously.
        self.states_max = False
        self.environment = {}  # further variables of the unit
        self.store = []  # (name, descriptor)
        self.at_barrier = None  # called with the process ID of a daemon that waits at a barrier
        self.said = []  # all notifications except those of the store
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._lock = threading.Lock()
        self._marked = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self):
        while True:
            data, control, _, _ = self._socket.recvmsg(65536, 4096)
            if data == END:
                return
            if data == MARK:
                self._marked.release()
                continue
            fds = array.array("i")
            for _, kind, content in control:
                if kind == socket.SCM_RIGHTS:
                    fds.frombytes(content)
                else:  # SCM_CREDENTIALS: process ID, user, group
                    sender = struct.unpack("iII", content)[0]
            fields = dict(line.split("=", 1) for line in data.decode().splitlines())
            if "BARRIER" in fields and self.at_barrier:
                self.at_barrier(sender)
            with self._lock:
                self._handle(fields, fds)

    def _handle(self, fields, fds):
        name = fields.get("FDNAME", "stored")
        if "FDSTORE" in fields:
            assert fields["FDPOLL"] == "0"
            late = self.states_max
            for fd in fds:
                if len(self.store) < self.store_max and not self._has(fd):
                    self.store.append((name, fd))
                elif late:
                    late = False
                    threading.Timer(0.02, os.close, [fd]).start()
                else:
                    os.close(fd)
            return
        for fd in fds:  # closing the descriptor of a barrier is the answer
            os.close(fd)
        if "FDSTOREREMOVE" in fields:
            self._remove(name)
        elif "BARRIER" not in fields:
            self.said.append(fields)

    def _remove(self, name):
        for stored in [s for s in self.store if s[0] == name]:
            self.store.remove(stored)
            os.close(stored[1])

    def drop(self, name):
        """Removes one name from the store, as systemctl clean --what=fdstore does."""
        with self._lock:
            self._remove(name)

    def _send(self, message):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.sendto(message, self.path)

    def settle(self):
        """Waits until everything that daemons have sent is handled, unless a handler calls it."""
        if threading.current_thread() is not self._thread:
            self._send(MARK)
            assert self._marked.acquire(timeout=SOON)

    def _has(self, fd):
        return any(os.path.sameopenfile(fd, stored) for _, stored in self.store)

    def names(self):
        """Returns the stored names; that of a UNIX socket without the identity of its file."""
        self.settle()
        with self._lock:
            return sorted(name.partition("/")[0] for name, _ in self.store)

    def has_said(self, field, value="1"):
        self.settle()
        with self._lock:
            return any(fields.get(field) == value for fields in self.said)

    def daemon(self, directory, config, sockets=(), ready=True, **options):
        """Returns a daemon of the unit, which gets the store and the named @sockets."""
        self.settle()
        with self._lock:
            passed = [(name, s.fileno()) for name, s in sockets]
            passed += [(name, os.dup(fd)) for name, fd in self.store]
        env = {"NOTIFY_SOCKET": self.path, **self.environment}
        if self.states_max and self.store_max > 0:
            env["FDSTORE"] = str(self.store_max)
        if passed:
            env["LISTEN_FDS"] = str(len(passed))
            env["LISTEN_FDNAMES"] = ":".join(name for name, _ in passed)
        fds = [fd for _, fd in passed]
        wrapper = [sys.executable, "-IS", "-c", PASS, ",".join(map(str, fds))]
        daemon = Daemon(directory, config, env=env, wrapper=wrapper, pass_fds=fds, **options)
        daemon.start(ready=False)
        for fd in fds[len(sockets) :]:
            os.close(fd)
        if ready:
            daemon.wait_for(daemon.READY)
        return daemon

    def restart(self, daemon, config=None, signals=("USR2", "TERM"), **options):
        """A restart job: does what ExecStop= does, then starts the next process."""
        for name in signals:
            if daemon.process.poll() is None:
                daemon.signal(getattr(signal, f"SIG{name}"))
        status = daemon.wait(SOON)
        assert status == 0, f"exit status {status}\n{daemon.log}"
        daemon.check_log()
        if config is None:
            config = daemon.config_path.read_text()
        return self.daemon(daemon.directory, config, arguments=daemon.arguments, **options)

    def close(self):
        # The thread ends first, because the number of the descriptor may be reused.
        self._send(END)
        self._thread.join(SOON)
        self._socket.close()
        with self._lock:
            for _, fd in self.store:
                os.close(fd)
            self.store = []
