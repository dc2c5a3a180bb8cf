"""Starts servers and runs the client against them."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import time

READY_SECONDS = 20


class BenchError(Exception):
    """A failed measurement; the text states which and why."""


def free_port():
    """Returns a free port outside of the range of ephemeral ports."""
    for _ in range(1000):
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no free port")


class Bench:
    """The programs and the processors that they run on."""

    def __init__(self, build, directory, server_cpu, client_cpu, backends=None):
        self.client = os.path.join(build, "tests", "bench", "bench-client")
        self.ackc = os.path.join(build, "src", "ackc", "ackc")
        # meson compiles tls_none.c in its place without OpenSSL
        self.has_tls = os.path.exists(self.client + ".p/client_tls.c.o")
        self.directory = directory
        self.backends = backends  # peers by name
        self.server_cpu = server_cpu
        self.client_cpu = client_cpu

    @contextlib.contextmanager
    def server(self, peer, mode, wrapper=()):
        """Runs the peer, pinned, in a new session; yields its port and process ID."""
        with contextlib.ExitStack() as stack:
            backend = 0
            if peer.backend:
                backend = stack.enter_context(self.server(self.backends[peer.backend], "echo"))[0]
            yield stack.enter_context(self._started(peer, mode, wrapper, backend))

    @contextlib.contextmanager
    def _started(self, peer, mode, wrapper, backend):
        port = free_port()
        log_path = os.path.join(self.directory, f"{peer.name}.log")
        argv = ["taskset", "-c", str(self.server_cpu), *wrapper,
                *peer.argv(self.directory, port, mode, backend)]
        with open(log_path, "wb") as log:
            process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True, cwd=self.directory)
        try:
            self._await(peer, process, port, log_path)
            yield port, process.pid
        finally:
            self._end(process)

    @staticmethod
    def _await(peer, process, port, log_path):
        end = time.monotonic() + READY_SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                with open(log_path, encoding="utf-8", errors="replace") as log:
                    raise BenchError(f"{peer.name}: exit status {process.returncode}: "
                                     + log.read()[-300:].strip())
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise BenchError(f"{peer.name}: not ready in {READY_SECONDS} s")

    @staticmethod
    def _end(process):
        """Ends the whole session, because servers that fork leave children."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def run_client(self, what, *arguments, wrapper=(), command=()):
        """Runs the client, pinned; returns its output as a dictionary."""
        argv = ["taskset", "-c", str(self.client_cpu), *wrapper, self.client, what, *arguments,
                *(["--", *command] if command else [])]
        result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=300, check=False)
        if result.returncode != 0:
            raise BenchError(f"client {what}: exit status {result.returncode}: "
                             + result.stderr.strip()[-300:])
        return json.loads(result.stdout), result.stderr

    def load(self, server, workload, warm, seconds):
        """Loads a running server: (port, process ID)."""
        port, pid = server
        return self.run_client("load", f"--port={port}", f"--session={pid}", f"--warm={warm}",
                               f"--seconds={seconds}", *workload.client_arguments())[0]

    def churn(self, peer, seconds):
        with self.server(peer, "echo") as (port, _):
            return self.run_client("churn", f"--port={port}", "--conns=16",
                                   f"--seconds={seconds}")[0]["rate"]

    def handshakes(self, server, seconds):
        """Returns the rate of TLS handshakes, and the server's time for each."""
        port, pid = server
        return self.run_client("churn", f"--port={port}", f"--session={pid}", "--conns=16",
                               "--tls", "--handshakes", f"--seconds={seconds}")[0]

    def idle(self, peer, conns, mode="echo"):
        with self.server(peer, mode) as (port, pid):
            return self.run_client("idle", f"--port={port}", f"--session={pid}",
                                   f"--conns={conns}", *(["--tls"] if mode == "tls" else []),
                                   )[0]["bytes"]

    def cipher(self, size):
        """Returns the nanoseconds in which "openssl speed" seals and opens a record of @size bytes."""
        total = 0
        for decrypt in ([], ["-decrypt"]):
            result = subprocess.run(
                ["taskset", "-c", str(self.server_cpu), "openssl", "speed", "-mr", "-seconds", "1",
                 "-bytes", str(size), "-aead", *decrypt, "-evp", "aes-256-gcm"],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True)
            found = re.search(r"^\+F:\d+:[^:]*:([0-9.]+)", result.stdout, re.M)
            if not found:
                raise BenchError("openssl speed: no figure")
            total += size / float(found.group(1)) * 1e9
        return total

    def start(self, peer):
        port = free_port()
        return self.run_client("start", f"--port={port}", f"--server-cpu={self.server_cpu}",
                               command=peer.argv(self.directory, port, "echo"))[0]["start_ms"]

    def system_calls(self, peer, workload, counts):
        """Returns system calls and calls of epoll_ctl() per message. The difference of two runs excludes
        those for connecting."""
        events = ["raw_syscalls:sys_enter", "syscalls:sys_enter_epoll_ctl"]
        sums = []
        for count in counts:
            with self.server(peer, workload.mode) as (port, pid):
                reply, err = self.run_client(
                    "load", f"--port={port}", f"--count={count}", *workload.client_arguments(),
                    wrapper=["perf", "stat", "-x;", "-e", ",".join(events), "-p", str(pid), "--"])
            found = [re.search(rf"^(\d+);[^;]*;{event}", err, re.M) for event in events]
            if not all(found):
                raise BenchError("perf does not count system calls here")
            sums.append((reply["messages"], *(int(match.group(1)) for match in found)))
        messages = sums[1][0] - sums[0][0]
        return {"per_message": (sums[1][1] - sums[0][1]) / messages,
                "epoll_ctl": (sums[1][2] - sums[0][2]) / messages}

    def instructions(self, peer, workload, counts):
        """Returns user-space instructions and allocations per message: the difference of two runs under
        callgrind."""
        sums = []
        for count in counts:
            out = os.path.join(self.directory, f"callgrind.{peer.name}.{count}")
            wrapper = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
            with self.server(peer, workload.mode, wrapper) as (port, _):
                reply, _ = self.run_client("load", f"--port={port}", f"--count={count}",
                                           *workload.client_arguments())
            sums.append((reply["messages"], *read_callgrind(out)))
        messages = sums[1][0] - sums[0][0]
        return {"per_message": (sums[1][1] - sums[0][1]) / messages,
                "allocations": (sums[1][2] - sums[0][2]) / messages}


ALLOCATORS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign", "mmap"}


def read_callgrind(path):
    """Returns the instructions and the calls of allocating functions in a profile."""
    names, instructions, allocations, callee = {}, 0, 0, ""
    with open(path, encoding="utf-8", errors="replace") as profile:
        for line in profile:
            if line.startswith(("summary:", "totals:")):
                instructions = int(line.split()[1])
            match = re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line)
            if match:
                if match.group(3):
                    names[match.group(2)] = match.group(3).strip()
                if match.group(1):
                    callee = names.get(match.group(2), "")
            elif line.startswith("calls=") and re.split(r"['@]", callee)[0] in ALLOCATORS:
                allocations += int(line[6:].split()[0])
    if not instructions:
        raise BenchError(f"{path}: no totals")
    return instructions, allocations
