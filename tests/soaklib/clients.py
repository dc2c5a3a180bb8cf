"""Thousands of clients with different behaviours on one epoll loop.

Normal sequence of a client: connect, play the script, end as the behaviour requires, connect again
with another script. The received bytes must be the next bytes of the script's reply. Other bytes, an
end that is not due, or no progress for STALL_S is recorded as a fault.
"""

import contextlib
import errno
import heapq
import random
import select
import socket
import struct
import time
from dataclasses import dataclass

STALL_S = 60.0  # an answer that takes longer counts as missing
RECEIVE_BYTES = 1 << 16
FAULTS_MAX = 20  # reported in full; the rest is counted
IP_BIND_ADDRESS_NO_PORT = 24  # of linux/in.h
SOURCES = 32  # loopback addresses to connect from: ports wait a minute after each connection


@dataclass(frozen=True)
class Behaviour:
    name: str
    share: int  # in a hundred
    script: str
    chunk: tuple  # bytes of one send, from and to; (0, 0): up to the next mark
    pause_s: tuple  # between sends
    waits: bool  # for the reply before it sends more
    end: str  # half-close, close, reset, silence
    mute_s: tuple = (0, 0)  # after connecting it reads nothing for this time


BEHAVIOURS = (
    Behaviour("good", 45, "good", (0, 0), (0.5, 3), True, "half-close"),
    Behaviour("slow", 15, "short", (1, 7), (0.3, 1.5), False, "half-close"),
    Behaviour("broken", 10, "broken", (1, 300), (0.1, 1), False, "half-close"),
    Behaviour("resetting", 6, "good", (1, 2000), (0.1, 1), False, "reset"),
    Behaviour("half-closing", 8, "unfinished", (1, 1 << 20), (0.5, 2), False, "half-close"),
    Behaviour("non-reading", 4, "long", (1 << 16, 1 << 16), (0, 0), False, "half-close", (4, 10)),
    Behaviour("deaf, then gone", 2, "long", (1 << 16, 1 << 16), (0, 0), False, "reset", (4, 10)),
    Behaviour("reconnecting", 5, "short", (0, 0), (0.2, 1), True, "close"),
    Behaviour("silent", 5, "short", (0, 0), (0.2, 1), True, "silence"),
)


class Wrong(Exception):
    """The daemon behaved incorrectly."""


@dataclass(frozen=True)
class Trace:
    """The data that identify a connection in the daemon's log."""

    seconds: float  # when the fault was seen, by the monotonic clock
    listener: str
    peer: str  # as in the daemon's log; empty: not named there
    sent: int
    received: int


class Client:
    """A client of the crowd: one connection after another, all with the same behaviour."""

    def __init__(self, crowd, behaviour, number):
        self.crowd = crowd
        self.behaviour = behaviour
        self.source = f"127.1.0.{1 + number % SOURCES}"
        self.rng = random.Random(f"{crowd.seed} {number}")
        self.socket = None
        self.generation = 0  # of the connection: timers of older ones are ignored
        self.reset_state()

    def reset_state(self):
        self.script = None
        self.sent = self.received = self.mark = 0
        self.reset_at = 0  # number of bytes after which a resetting client resets
        self.connected = self.resting = self.mute = self.half_closed = self.silent = False
        self.events = 0
        self.progress_at = self.sent_at = 0.0
        self.peer = ""

    def trace(self):
        return Trace(time.monotonic(), self.script.listener, self.peer, self.sent, self.received)

    def __str__(self):
        script, now = self.script, time.monotonic()
        if not script:
            return self.behaviour.name
        return (f"{self.behaviour.name}, {script.listener}, {self.sent} of {len(script.data)} bytes"
                f" sent, {self.received} of {len(script.reply)} received, {now - self.sent_at:.1f} s"
                f" after the last send, {now - self.progress_at:.1f} s without progress")

    # ---- connecting ----

    def connect(self):
        behaviour = self.behaviour
        self.reset_state()
        self.script = self.rng.choice(self.crowd.scripts[behaviour.script])
        self.reset_at = self.rng.randrange(len(self.script.data)) + 1
        address = self.crowd.addresses[self.script.listener]
        self.socket = s = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        if behaviour.mute_s[1]:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if address.family == socket.AF_INET:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            s.bind((self.source, 0))
        error = s.connect_ex(address.sockaddr)
        if error not in (0, errno.EINPROGRESS):
            raise Wrong(f"connect: {errno.errorcode[error]}")
        self.progress_at = self.crowd.now
        self.crowd.enter(self)
        self.watch()

    def on_connected(self):
        error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise Wrong(f"connect: {errno.errorcode[error]}")
        self.connected = True
        self.crowd.n_connected += 1
        if self.socket.family == socket.AF_INET:
            self.peer = "%s:%d" % self.socket.getsockname()
        if self.behaviour.mute_s[1]:
            self.mute = True
            self.crowd.after(self.rng.uniform(*self.behaviour.mute_s), self, "listen")
        self.rest()

    def watch(self):
        """Polls only for events that the client can handle."""
        events = 0 if self.mute else select.EPOLLIN
        if not self.connected or not (self.resting or self.half_closed or self.silent):
            events |= select.EPOLLOUT
        if events != self.events:
            self.events = events
            self.crowd.epoll.modify(self.socket, events)

    def leave(self, reset=False):
        """Ends the connection; another follows soon."""
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.crowd.leave(self)
        self.socket.close()
        self.socket = None
        self.come_again()

    def come_again(self):
        self.generation += 1
        if not self.crowd.stopping:
            self.crowd.after(self.rng.uniform(0.05, 0.2), self, "connect")

    # ---- playing ----

    def rest(self):
        self.resting = True
        self.crowd.after(self.rng.uniform(*self.behaviour.pause_s), self, "send")

    def on_timer(self, what):
        if what == "connect":
            self.connect()
        elif what == "listen":
            self.mute = False
            self.progress_at = self.crowd.now
            if self.behaviour.end == "reset":
                self.leave(reset=True)
                return
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        else:
            self.resting = False
        if self.socket:
            self.watch()

    def on_events(self, events):
        if not self.connected:
            self.on_connected()
            self.watch()
            return
        if events & ~select.EPOLLOUT and not self.mute:
            if not self.receive():
                return
        elif events & (select.EPOLLERR | select.EPOLLHUP) and self.mute:
            raise Wrong("reset while its replies were unread")
        if events & select.EPOLLOUT and self.events & select.EPOLLOUT:
            self.send()
        if self.socket:
            self.watch()

    def send(self):
        script, behaviour = self.script, self.behaviour
        end = len(script.data)
        resets = behaviour.end == "reset" and not behaviour.mute_s[1]
        if self.sent < end:
            to = self.next_stop()
            self.sent_at = time.monotonic()
            try:
                n = self.socket.send(script.data[self.sent : to])
            except BlockingIOError:
                return
            except (BrokenPipeError, ConnectionResetError) as e:
                self.on_refused(e)
                return
            self.sent += n
            self.crowd.bytes_sent += n
            self.progress_at = self.crowd.now
        if resets and self.sent >= self.reset_at:
            self.leave(reset=True)
        elif self.sent < end:
            if behaviour.waits:  # receive() continues after the reply
                self.resting = self.sent == to
            elif behaviour.pause_s[1]:
                self.rest()
        elif behaviour.end == "half-close":
            self.half_closed = True
            with contextlib.suppress(OSError):  # receive() detects a premature end
                self.socket.shutdown(socket.SHUT_WR)
        else:
            self.silent = True

    def on_refused(self, error):
        """Handles a failed send, which is correct only after a NAK that closes the connection."""
        if not self.script.closes:
            raise Wrong(f"send: {error}")
        self.half_closed = True

    def next_stop(self):
        low, high = self.behaviour.chunk
        if high == 0:
            return self.script.marks[self.mark][0]
        return min(self.sent + self.rng.randint(low, high), len(self.script.data))

    # ---- receiving ----

    def receive(self):
        """Receives available data. Returns whether the connection continues."""
        try:
            got = self.socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return True
        except ConnectionResetError:
            if not self.script.closes or self.received < len(self.script.reply):
                raise Wrong("reset by the server") from None
            got = b""
        if not got:
            self.on_end()
            return False
        expected = self.script.reply[self.received : self.received + len(got)]
        if got != expected:
            raise Wrong(f"at {self.received}: {got[:80]!r} instead of {expected[:80]!r}")
        self.received += len(got)
        self.crowd.bytes_checked += len(got)
        self.progress_at = self.crowd.now
        if self.behaviour.waits:
            return self.on_reply()
        return True

    def on_reply(self):
        sent, received = self.script.marks[self.mark]
        if self.received < received or self.sent < sent:
            return True
        self.crowd.exchanges += 1
        self.mark += 1
        if self.mark < len(self.script.marks):
            self.rest()
        elif self.behaviour.end == "close":
            self.leave()
            return False
        return True

    def on_end(self):
        """Checks that the end by the server is due and follows the complete reply."""
        script = self.script
        idle = time.monotonic() - self.sent_at
        if self.silent and self.behaviour.end == "silence":
            due = idle > self.crowd.idle_s - 1
        else:
            due = self.half_closed or script.closes
        if not due or self.received != len(script.reply):
            raise Wrong("an end that is not due")
        self.crowd.exchanges += 1
        self.leave()

    def is_stalled(self):
        if not self.socket or self.mute:
            return False
        allowed = STALL_S + (self.crowd.idle_s if self.silent else 0)
        return self.crowd.now - self.progress_at > allowed


class Crowd:
    """All clients, their loop and their counts."""

    def __init__(self, addresses, scripts, n, idle_s, seed, behaviours=BEHAVIOURS):
        self.addresses = addresses  # {listener: harness.Address}
        self.scripts = scripts
        self.idle_s = idle_s
        self.seed = seed
        self.epoll = select.epoll()
        self.clients = {}  # by descriptor
        self.timers = []
        self.n_timers = 0
        self.now = time.monotonic()
        self.stopping = False
        self.n_connected = self.exchanges = self.bytes_sent = self.bytes_checked = 0
        self.n_connecting = 0  # connects in progress at the end
        self.latest_s = 0.0  # maximum delay of a client's timer
        self.n_faults = 0
        self.faults = []  # (text, Trace or None)
        self.behaviours = behaviours
        ramp_s = n / 500
        for number in range(n):
            client = Client(self, self.behaviour_of(number), number)
            self.after(ramp_s * number / n, client, "connect")

    def behaviour_of(self, number):
        shares = sum(behaviour.share for behaviour in self.behaviours)
        place = number * 37 % 100 * shares // 100  # mixes the behaviours in each hundred
        for behaviour in self.behaviours:
            place -= behaviour.share
            if place < 0:
                return behaviour
        raise ValueError("there are no behaviours")

    @property
    def n_open(self):
        return len(self.clients)

    def enter(self, client):
        self.clients[client.socket.fileno()] = client
        self.epoll.register(client.socket, 0)

    def leave(self, client):
        self.epoll.unregister(client.socket)
        del self.clients[client.socket.fileno()]

    def after(self, seconds, client, what):
        self.n_timers += 1
        entry = (self.now + seconds, self.n_timers, client, client.generation, what)
        heapq.heappush(self.timers, entry)

    def fault(self, client, text):
        self.n_faults += 1
        if len(self.faults) < FAULTS_MAX:
            self.faults.append((f"{client}: {text}", client.trace() if client.script else None))
        if client.socket and client.socket.fileno() in self.clients:
            client.leave(reset=True)
        else:
            client.come_again()

    def guarded(self, client, call, argument):
        try:
            call(argument)
        except (Wrong, OSError) as e:
            self.fault(client, str(e))

    def run(self, seconds):
        """Runs the clients for @seconds."""
        self.now = time.monotonic()
        until = self.now + seconds
        while True:
            self.now = time.monotonic()
            if self.now >= until:
                break
            self.run_timers()
            next_at = min(until, self.timers[0][0] if self.timers else until)
            for fd, events in self.epoll.poll(max(0, next_at - time.monotonic()), 512):
                client = self.clients.get(fd)
                if client:
                    self.guarded(client, client.on_events, events)
        for client in list(self.clients.values()):
            if client.is_stalled():
                self.fault(client, "the answer is missing")

    def run_timers(self):
        while self.timers and self.timers[0][0] <= self.now:
            due, _, client, generation, what = heapq.heappop(self.timers)
            self.latest_s = max(self.latest_s, self.now - due)
            if generation == client.generation:
                self.guarded(client, client.on_timer, what)

    def stop(self):
        """Closes all connections, half of them by a reset."""
        self.stopping = True
        self.n_connecting = sum(not client.connected for client in self.clients.values())
        for i, client in enumerate(list(self.clients.values())):
            client.leave(reset=i % 2 == 0)
