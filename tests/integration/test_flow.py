"""Simultaneous traffic in both directions, slow readers, and the ends of connections."""

import hashlib
import random
import socket

import pytest

from harness import (
    converse,
    is_silent,
    read_exactly,
    read_to_end,
    reset,
    sanitizer,
    wait_until,
)

MIB = 1 << 20


def text_of(n_bytes, seed=1):
    """Returns about @n_bytes of UTF-8 with characters of every length."""
    rng = random.Random(seed)
    block = "".join(
        chr(rng.choice((rng.randrange(32, 127), rng.randrange(0x400, 0x500), 0x20AC, 0x1F600)))
        for _ in range(50_000)
    ).encode()
    return (block * (n_bytes // len(block) + 1))[:n_bytes].decode("utf-8", "ignore").encode()


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_64_mib_in_both_directions_are_echoed(ackd, where, directory):
    listener = "" if where == "tcp" else f'path = "{directory}/s";'
    daemon = ackd('reply = "echo";' + listener)
    data = text_of(64 * MIB)
    with daemon.connect() as s:
        received = converse(s, data, timeout=120)
    assert len(received) == len(data)
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()


def test_16_mib_are_transcoded(ackd):
    daemon = ackd(
        'reply = "echo"; encoding = { reply_charset = "ascii"; reply_errors = "xmlcharrefreplace";'
        " };"
    )
    data = text_of(16 * MIB)
    with daemon.connect() as s:
        received = converse(s, data, timeout=120)
    assert received == data.decode().encode("ascii", "xmlcharrefreplace")


def test_lines_of_all_lengths_are_echoed(ackd):
    daemon = ackd('framing = "line"; reply = "ack"; ack_prefix = "${message} ${bytes}: ";')
    rng = random.Random(7)
    lines = [b"z" * rng.choice((0, 1, 10, 100, 1000, 30000, 65536)) for _ in range(2000)]
    expected = b"".join(b"%d %d: %s\n" % (i, len(l), l) for i, l in enumerate(lines, 1))
    assert daemon.exchange(b"".join(l + b"\n" for l in lines), timeout=120) == expected


def growth_allowed_kib(n_connections):
    """Returns the allowance for one read, one reply area per connection, and the allocator."""
    bound = 4096 + n_connections * (64 + 256 + 64)
    return bound * 4 + 32768 if sanitizer() else bound


@pytest.mark.parametrize(
    "config",
    [
        'reply = "echo";',
        'reply = "ack"; framing = "line"; limits = { max_line = "1MiB"; };',
        # replies longer than their input
        'reply = "echo"; encoding = { reply_charset = "ascii"; reply_errors = "xmlcharrefreplace";'
        " };",
    ],
    ids=["echo", "line", "expanding"],
)
def test_client_that_never_reads_is_bounded(ackd, config, capsys):
    daemon = ackd("workers = 1; " + config)
    piece = ("щ" * 500 + "\n").encode()
    assert daemon.exchange(piece)  # memory that is allocated once is allocated now
    before = daemon.rss_kib()
    with daemon.connect() as s:
        sent = daemon.fill(s, piece)
        grown = daemon.rss_kib() - before
        with capsys.disabled():
            print(f"\nnever reads: {sent >> 10} KiB sent, RSS grew by {grown} KiB")
        assert grown < growth_allowed_kib(1)
        assert daemon.exchange(piece)  # other connections are not affected
        s.shutdown(socket.SHUT_WR)
        received = read_to_end(s, timeout=60)
    assert received == reply_to_what_was_taken((piece * (sent // len(piece) + 1))[:sent], config)


def reply_to_what_was_taken(data, config):
    """Returns the reply to @data, which may end within a character."""
    text = data.decode("utf-8", "ignore")
    whole = len(text.encode())
    nak = b"" if whole == len(data) else b"NAK %d unexpected end of data\n" % whole
    if "line" in config:
        *lines, last = text.encode().split(b"\n")
        reply = b"".join(b"Got " + line + b"\n" for line in lines)
        return reply + (nak or (b"Got " + last if last else b""))
    if "ascii" in config:
        reply = text.encode("ascii", "xmlcharrefreplace")
    else:
        reply = text.encode()
    return reply + (b"\n" + nak if nak and not reply.endswith(b"\n") else nak)


def test_many_clients_that_never_read_are_bounded(ackd, capsys):
    n = 40
    daemon = ackd('reply = "echo"; workers = 2;')
    piece = text_of(1 << 16)
    daemon.exchange(piece)
    before = daemon.rss_kib()
    crowd = [daemon.connect(receive_buffer=4096) for _ in range(n)]
    sent = [daemon.fill(s, piece, quiet=0.05, limit=1 << 24) for s in crowd]
    grown = daemon.rss_kib() - before
    with capsys.disabled():
        print(f"\n{n} that never read: {sum(sent) >> 10} KiB sent, RSS grew by {grown} KiB")
    assert grown < growth_allowed_kib(n)
    assert daemon.exchange("как дела".encode()) == "как дела".encode()
    for s in crowd:
        reset(s)


def test_half_closed_client_gets_all_replies(ackd):
    daemon = ackd('reply = "echo";')
    data = text_of(2 * MIB)
    with daemon.connect() as s:
        s.settimeout(None)
        received = converse(s, data)
        assert received == data


def test_half_close_without_data_ends_the_connection(ackd):
    daemon = ackd('greeting = "hello\\n";')
    assert daemon.exchange(b"") == b"hello\n"


def test_half_close_ends_with_every_reply_kind(ackd):
    for reply in ("ack", "echo", "discard"):
        for framing in ("stream", "line"):
            daemon = ackd(f'reply = "{reply}"; framing = "{framing}";')
            body = {"ack": b"Got x\nGot y", "echo": b"x\ny", "discard": b""}[reply]
            if reply == "ack" and framing == "stream":
                body = b"Got x\ny"
            assert daemon.exchange(b"x\ny") == body


def test_truncated_character_at_the_end_is_a_fault(ackd):
    daemon = ackd()
    assert daemon.exchange(b"ab\xe2\x82") == b"Got ab\nNAK 2 unexpected end of data\n"
    assert daemon.exchange(b"\xe2\x82") == b"NAK 0 unexpected end of data\n"


def test_ended_connections_leave_nothing(ackd):
    daemon = ackd("workers = 2;")

    def round_(n):
        for i in range(n):
            s = daemon.connect()
            if i % 4 == 0:
                s.sendall(b"half a charact\xd0")
                reset(s)
            elif i % 4 == 1:
                s.close()
            elif i % 4 == 2:
                s.sendall(b"bad \xff")
                read_to_end(s)
                s.close()
            else:
                assert converse(s, b"good") == b"Got good"
                s.close()

    round_(40)
    wait_until(lambda: daemon.exchange(b"x") == b"Got x", "an answer")
    sockets = daemon.n_sockets()
    rss = daemon.rss_kib()
    round_(1000)
    wait_until(lambda: daemon.n_sockets() <= sockets, "descriptors to be closed")
    assert daemon.rss_kib() - rss < (65536 if sanitizer() else 2048)


def test_open_client_is_not_closed(ackd):
    daemon = ackd("limits = { idle_timeout = 0; };")
    with daemon.connect() as s:
        s.sendall(b"x")
        assert read_exactly(s, 5) == b"Got x"
        assert is_silent(s, 0.5)


def send_urgent(s):
    """Sends six bytes, two of them urgent."""
    for data, flags in ((b"a", 0), (b"b", socket.MSG_OOB), (b"c", 0), (b"de", 0), (b"f", socket.MSG_OOB)):
        assert s.send(data, flags) == len(data)


def test_urgent_data_is_kept_in_the_stream(ackd):
    daemon = ackd('reply = "echo";')
    with daemon.connect() as s:
        send_urgent(s)
        assert read_exactly(s, 6) == b"abcdef"
        s.send(b"\xff", socket.MSG_OOB)
        assert read_to_end(s) == b"\nNAK 6 invalid start byte\n"


def test_urgent_data_after_a_proxy_header_is_kept(ackd):
    daemon = ackd('address = "127.0.0.1"; reply = "echo"; proxies = ["127.0.0.1"];')
    with daemon.connect() as s:
        s.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 10080\r\n")
        send_urgent(s)
        assert read_exactly(s, 6) == b"abcdef"
