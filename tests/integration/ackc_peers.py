"""Peers for ackc: correct and faulty echo servers, each in one thread of the test.

As a script, ackc_peers.py PORT COMMAND... runs COMMAND and an echo server on 127.0.0.1:PORT, for
tests that need both in a separate namespace. The exit status is that of the command.
"""

import contextlib
import os
import pty
import shlex
import socket
import struct
import subprocess
import sys
import threading

import pytest

from harness import SANITIZER_REPORT, SOON, build_directory, environment, spawn, wait_until


def ackc_command():
    """Returns the words that run ackc: of $ACKD_ACKC, such as an emulator and a program, or of the build."""
    return shlex.split(os.environ.get("ACKD_ACKC", "")) or [str(build_directory() / "src/ackc/ackc")]


def is_windows():
    return ackc_command()[-1].endswith(".exe")


def argument(value):
    return value if isinstance(value, bytes) else str(value)


class Result:
    """The result of a run of ackc."""

    def __init__(self, status, out, err):
        self.status = status
        self.raw = out
        self.out = out.decode("utf-8", "surrogateescape")
        self.err = err.decode("utf-8", "surrogateescape")
        assert not SANITIZER_REPORT.search(self.err), self.err

    def __repr__(self):
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


def ackc(*arguments, data=None, timeout=SOON, wrapper=(), **options):
    """Runs `ackc ARGUMENTS` to its end, with @data as standard input."""
    options.setdefault("env", environment())
    done = subprocess.run([*wrapper, *ackc_command(), *map(argument, arguments)],
                          input=b"" if data is None else data, capture_output=True,
                          timeout=timeout, check=False, **options)
    return Result(done.returncode, done.stdout, done.stderr)


class Running:
    """A running ackc."""

    def __init__(self, *arguments, wrapper=(), stdin=subprocess.DEVNULL):
        self.process = spawn([*wrapper, *ackc_command(), *map(str, arguments)],
                             stdin=stdin, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=environment())

    def end(self, number=None, timeout=SOON):
        """Sends the signal, or closes the standard input, and waits for the end."""
        kept = None
        if number is not None:
            # communicate() would close the input, and ackc might see that first
            kept, self.process.stdin = self.process.stdin, None
            self.process.send_signal(number)
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        finally:
            if kept:
                kept.close()
        return Result(self.process.returncode, out, err)


def on_terminal(*arguments):
    """Runs `ackc ARGUMENTS` with a terminal as its standard output; returns (status, bytes)."""
    main, side = pty.openpty()
    process = spawn([*ackc_command(), *map(str, arguments)], stdin=subprocess.DEVNULL,
                    stdout=side, stderr=subprocess.DEVNULL, env=environment())
    os.close(side)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: no process has the terminal open any more
        while part := os.read(main, 65536):
            shown += part
    os.close(main)
    return process.wait(SOON), shown


class Peer:
    """Serves each connection with handler(socket) in a separate thread."""

    def __init__(self, handler, address="127.0.0.1", port=0, backlog=128, receive_buffer=None):
        self.handler = handler
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.listener.bind((address, port))
        self.listener.listen(backlog)
        self.address, self.port = self.listener.getsockname()
        self.accepted = 0
        self.closing = False
        self.open = set()
        self.server = threading.Thread(target=self._serve, daemon=True)
        self.server.start()

    def _serve(self):
        while not self.closing:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            self.open.add(s)
            self.accepted += 1
            threading.Thread(target=self._handle, args=(s,), daemon=True).start()

    def _handle(self, s):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with s, contextlib.suppress(OSError):
            self.handler(s)
        self.open.discard(s)

    def wait_for_connection(self, n=1):
        wait_until(lambda: self.accepted >= n, "a connection of ackc")

    def close_all(self):
        """Closes the listener and then the connections, as after a crash of the server."""
        self.close()
        self.server.join()  # it adds the last connection that it accepted
        for s in list(self.open):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.closing = True
        # This also wakes the accepting thread.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def peer():
    """Creates servers: peer(handler). A test file imports it by `peer = ackc_peers.peer`."""
    peers = []

    def make(handler, **options):
        peers.append(Peer(handler, **options))
        return peers[-1]

    yield make
    for server in peers:
        server.close()


def echo(s):
    while data := s.recv(65536):
        s.sendall(data)


def silent(s):
    while s.recv(65536):
        pass


def lines_of(s):
    """Yields the received lines, each with its LF."""
    buffer = b""
    while data := s.recv(65536):
        *lines, buffer = (buffer + data).split(b"\n")
        yield from (line + b"\n" for line in lines)


def each_line(reply, honest=0):
    """A handler that echoes the first @honest lines of all connections, then calls reply(s, line).

    The echoed lines are counted over all connections, so that ackc can learn the form of the replies.
    """
    count = iter(range(1 << 60))

    def handle(s):
        for line in lines_of(s):
            if next(count) < honest:
                s.sendall(line)
            elif reply(s, line) is False:
                return

    return handle


class Delimited:
    """Frames between START and END. @option is the value of ackc's --frame."""

    def __init__(self, end, start=b""):
        self.end, self.start = end, start
        self.option = f"delimited:{end.hex()}" + (f":{start.hex()}" if start else "")

    def wrap(self, text):
        return self.start + text + self.end

    def find(self, buffer):
        """Returns the first text and what follows its frame, or None."""
        at = buffer.find(self.start)
        end = buffer.find(self.end, at + len(self.start)) if at >= 0 else -1
        if end < 0:
            return None
        return buffer[at + len(self.start):end], buffer[end + len(self.end):]


class Length:
    """Frames that begin with their length."""

    def __init__(self, size, order="big", inclusive=False):
        self.size, self.order = size, order
        self.more = size if inclusive else 0
        self.option = (f"length:{size}" + (":little" if order == "little" else "") +
                       (":inclusive" if inclusive else ""))

    def header(self, length):
        return (length + self.more).to_bytes(self.size, self.order)

    def wrap(self, text):
        return self.header(len(text)) + text

    def find(self, buffer):
        end = self.size + int.from_bytes(buffer[:self.size], self.order) - self.more
        if len(buffer) < max(self.size, end):
            return None
        return buffer[self.size:end], buffer[end:]


class Fixed:
    """Frames of a fixed size; replies have no frames."""

    def __init__(self, size):
        self.size = size
        self.option = f"fixed:{size}"

    def wrap(self, text):
        return text

    def find(self, buffer):
        return (buffer[:self.size], buffer[self.size:]) if len(buffer) >= self.size else None


MLLP = Delimited(b"\x1c\r", b"\x0b")


def texts_of(s, frame):
    """Yields the texts of the received frames."""
    buffer = b""
    while data := s.recv(65536):
        buffer += data
        while found := frame.find(buffer):
            text, buffer = found
            yield text


def each_text(frame, reply, honest=0):
    """As each_line(), but with frames: calls reply(s, text)."""
    count = iter(range(1 << 60))

    def handle(s):
        for text in texts_of(s, frame):
            if next(count) < honest:
                s.sendall(frame.wrap(text))
            elif reply(s, text) is False:
                return

    return handle


def reset(s):
    """Closes with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    return False


@contextlib.contextmanager
def deaf_port(address="127.0.0.1"):
    """A listening port that never answers a connect, because its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((address, 0))
        listener.listen(0)
        for _ in range(4):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def can_unshare(*kinds):
    return subprocess.run(["unshare", *kinds, "true"], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


def main():
    peer = Peer(echo, port=int(sys.argv[1]))
    status = subprocess.run(sys.argv[2:], check=False).returncode
    peer.close()
    sys.exit(status)


if __name__ == "__main__":
    main()
