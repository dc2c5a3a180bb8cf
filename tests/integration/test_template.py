"""Greetings and acknowledgements made from templates."""

import socket

import pytest

from harness import converse, read_exactly


def test_greeting_expands_all_variables(ackd):
    daemon = ackd('greeting = "${peer}|${host}|${listener}|${connection}|$$\\n"; reply = "discard";')
    with daemon.connect() as s:
        peer = "%s:%d" % s.getsockname()
        expected = f"{peer}|{socket.gethostname()}|ackd|1|$\n".encode()
        assert converse(s, b"") == expected


def test_ipv6_peer_is_in_brackets(ackd):
    daemon = ackd('address = "::1"; greeting = "${peer}";')
    with daemon.connect() as s:
        assert converse(s, b"") == f"[::1]:{s.getsockname()[1]}".encode()


def test_peer_of_a_unix_socket_is_expanded(ackd, directory):
    daemon = ackd(f'path = "{directory}/s"; greeting = "${{peer}}";')
    assert daemon.exchange(b"") == b"unix"


def test_connection_numbers_are_unique(ackd):
    daemon = ackd('workers = 4; greeting = "${connection}";')
    numbers = [int(daemon.exchange(b"")) for _ in range(100)]
    assert sorted(numbers) == list(range(1, 101))


def test_messages_are_numbered(ackd):
    daemon = ackd('framing = "line"; ack_prefix = "${message} ${bytes} ${characters} ";')
    data = "a\nжук\n\r\n😀\n".encode() + b"\xff\nlast"
    assert daemon.exchange(data) == (
        "1 1 1 a\n2 6 3 жук\n3 0 0 \r\n4 4 1 😀\nNAK 16 invalid start byte\n6 4 4 last".encode()
    )


def test_messages_are_numbered_in_stream_framing(ackd):
    daemon = ackd('ack_prefix = "${message}/${bytes}:"; ack_suffix = ";";')
    with daemon.connect() as s:
        for i, text in enumerate(("раз", "два", "три"), 1):
            s.sendall(text.encode())
            expected = f"{i}/6:{text};".encode()
            assert read_exactly(s, len(expected)) == expected


def test_bytes_are_received_and_characters_decoded_ones(ackd):
    daemon = ackd(
        'framing = "line"; ack_prefix = "${bytes} ${characters} ";'
        ' encoding = { errors = "backslashreplace"; };'
    )
    assert daemon.exchange(b"a\xffb\n") == b"3 6 a\\xffb\n"
    daemon = ackd(
        'framing = "line"; ack_prefix = "${bytes} ${characters} "; encoding = { errors = "ignore"; };'
    )
    assert daemon.exchange(b"\xff\xfe\n") == b"2 0 \n"


@pytest.mark.parametrize("prefix", ["Got ", "Получено: ", "", "$$${message}$$", "two\\nlines\\t"])
def test_prefix_escapes_are_expanded(ackd, prefix):
    daemon = ackd(f'ack_prefix = "{prefix}"; ack_suffix = "!";', start=False)
    daemon.start()
    text = prefix.replace("${message}", "1").replace("$$", "$")
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    assert daemon.exchange(b"x") == f"{text}x!".encode()


def test_templates_are_encoded_like_replies(ackd):
    daemon = ackd(
        'greeting = "café\\n"; ack_prefix = "é:"; encoding = { reply_charset = "iso-8859-1"; };'
    )
    assert daemon.exchange("ü".encode()) == b"caf\xe9\n\xe9:\xfc"
