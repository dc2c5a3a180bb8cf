"""Many events in the same turn of a worker's loop."""

import contextlib
import signal
import socket

import pytest

from harness import Frozen, converse, read_exactly, read_to_end, reset, sanitizer

# libuv fetches 1,024 events at a time, and more in the same turn if they are pending.
N = 400 if sanitizer() else 1500


def say(s, i):
    """Sends the message of client @i; returns the expected answer, and whether it is the last one."""
    kind = i % 8
    if kind == 0:
        return b"", False
    if kind == 1:
        data = b"%d %s\n" % (i, b"x" * 20000)
        s.sendall(data)
        return b"Got " + data, False
    if kind == 2:
        s.sendall(b"%d\nab\xff\nafter\n" % i)
        return b"Got %d\nNAK %d invalid start byte\nGot after\n" % (i, len(b"%d\nab" % i)), False
    if kind == 3:
        s.sendall(b"%d\nno end" % i)
        s.shutdown(socket.SHUT_WR)
        return b"Got %d\nGot no end" % i, True
    if kind == 4:
        data = "".join(f"{i} ä {n}\n" for n in range(30)).encode()
        s.sendall(data)
        return b"".join(b"Got " + line for line in data.splitlines(keepends=True)), False
    s.sendall(b"%d\n" % i)
    return b"Got %d\n" % i, False


def test_each_client_gets_its_own_answer(ackd, many_descriptors):
    daemon = ackd('framing = "line"; workers = 1; limits = { max_line = "32KiB"; };')
    clients = [daemon.connect() for _ in range(N)]
    open_clients = dict(enumerate(clients))
    for turn in range(3):
        with Frozen(daemon):
            expected = {i: say(s, i) for i, s in open_clients.items() if turn == 0 or i % 8 != 2}
            for i in [i for i in open_clients if i % 100 == 7]:
                reset(open_clients.pop(i))  # while its answer is in flight
                del expected[i]
        for i, (answer, last) in expected.items():
            if last:
                assert read_to_end(clients[i]) == answer
                del open_clients[i]
            else:
                assert read_exactly(clients[i], len(answer)) == answer
    for s in open_clients.values():
        s.sendall(b"last\n")
        assert read_exactly(s, 9) == b"Got last\n"


def test_unread_answers_are_kept_apart(ackd, many_descriptors):
    daemon = ackd('reply = "echo"; workers = 1;')
    clients = [daemon.connect(receive_buffer=4096) for _ in range(40)]
    sent = [bytearray() for _ in clients]
    for s in clients:
        s.setblocking(False)
    for turn in range(20):
        with Frozen(daemon):
            for i, s in enumerate(clients):
                piece = b"%d %d " % (i, turn) * (100 if i % 2 else 30000)
                with contextlib.suppress(BlockingIOError):
                    sent[i] += piece[: s.send(piece)]
    for i, s in enumerate(clients):
        s.shutdown(socket.SHUT_WR)
        assert read_to_end(s) == sent[i]


def test_drain_answers_all_clients(ackd, many_descriptors):
    daemon = ackd('framing = "line"; workers = 1;')
    clients = [daemon.connect() for _ in range(N)]
    for i, s in enumerate(clients):
        s.sendall(b"%d\n" % i)
        assert read_exactly(s, len(b"Got %d\n" % i)) == b"Got %d\n" % i
    with Frozen(daemon):
        for i, s in enumerate(clients):
            s.sendall(b"last %d\n" % i)
        daemon.signal(signal.SIGTERM)
    for i, s in enumerate(clients):
        assert read_to_end(s) == b"Got last %d\n" % i
    assert daemon.wait() == 0


EXPANDING = [
    # a message that grows eightfold
    ('ack_prefix = "";', b"\xff" * (6 << 20) + b"\n", b"&#65533;" * (6 << 20) + b"\n"),
    # many short messages, each with a long reply
    (f'ack_prefix = "{"x" * 900}";', b"\n" * 20000, (b"x" * 900 + b"\n") * 20000),
]


@pytest.mark.parametrize("config, data, answer", EXPANDING, ids=["message", "messages"])
def test_output_per_turn_is_bounded(ackd, faults, config, data, answer):
    """A turn of the loop sends a bounded part of the answer, even to a fast reader."""
    daemon = ackd(
        'workers = 1; framing = "line"; limits = { max_line = "16MiB"; };'
        'encoding = { errors = "replace"; reply_charset = "ascii";'
        ' reply_errors = "xmlcharrefreplace"; };' + config,
        env=faults.environment(),
    )
    with daemon.connect() as s:
        assert converse(s, data, timeout=120) == answer
    assert 0 < faults.turn_sent_max <= 2 * 256 * 1024
