"""Client programs of a course on network programming, with ackd as the server."""

import select
import socket
import threading

import pytest

from harness import Address, converse, free_port, is_silent, read_exactly, read_to_end, reset

MESSAGES = [
    "Hello",
    "Привет, сервер",
    "👋🏽 family: 👨‍👩‍👧‍👦",
    "before\0after",
    "ﷺ ﬃ Ω≈ç√∫ 漢字 \u202eright to left\u202c",
]


def test_client_reads_greeting_confirms_and_closes(ackd):
    daemon = ackd('greeting = "Welcome to ${listener}, ${peer}!\\n"; reply = "discard";')
    for _ in range(3):
        with daemon.connect() as s:
            host, port = s.getsockname()
            expected = f"Welcome to ackd, {host}:{port}!\n".encode()
            assert read_exactly(s, len(expected)) == expected
            s.sendall(b"Received")
            s.shutdown(socket.SHUT_WR)
            assert read_to_end(s) == b""


def test_client_may_close_after_the_greeting(ackd):
    daemon = ackd('greeting = "hi\\n";')
    for _ in range(50):
        with daemon.connect() as s:
            assert read_exactly(s, 3) == b"hi\n"
            s.sendall(b"Received")
    assert daemon.exchange(b"x") == b"hi\nGot x"


@pytest.mark.parametrize("message", MESSAGES)
def test_poll_server_says_got(ackd, message):
    daemon = ackd()
    with daemon.connect() as s:
        for _ in range(3):
            expected = ("Got " + message).encode()
            s.sendall(message.encode())
            assert read_exactly(s, len(expected)) == expected


def test_selectors_server_registers_and_echoes(ackd):
    daemon = ackd('greeting = "Registered client connection!\\n"; reply = "echo";')
    with daemon.connect() as s:
        greeting = b"Registered client connection!\n"
        assert read_exactly(s, len(greeting)) == greeting
        for message in MESSAGES:
            data = message.encode()
            s.sendall(data)
            assert read_exactly(s, len(data)) == data


def test_silent_client_does_not_block_others(ackd):
    daemon = ackd("workers = 2;")
    with daemon.connect() as silent:
        clients = [daemon.connect() for _ in range(20)]
        for round_ in range(5):
            for i, s in enumerate(clients):
                s.sendall(f"{i}/{round_}".encode())
            for i, s in enumerate(clients):
                expected = f"Got {i}/{round_}".encode()
                assert read_exactly(s, len(expected)) == expected
        assert is_silent(silent, 0.05)
        silent.sendall("и я".encode())
        assert read_exactly(silent, 9) == "Got и я".encode()
        for s in clients:
            s.close()


def test_clients_in_threads_are_served(ackd):
    daemon = ackd('reply = "echo";')
    wrong = []

    def client(number):
        data = f"client {number} ".encode() * 2000
        if daemon.exchange(data) != data:
            wrong.append(number)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_reset_of_one_client_does_not_affect_others(ackd):
    daemon = ackd('log = { level = "debug"; };')
    with daemon.connect() as witness:
        for _ in range(20):
            s = daemon.connect()
            s.sendall("половина".encode()[:-1])
            reset(s)
        witness.sendall(b"still here")
        assert read_exactly(witness, 14) == b"Got still here"
    assert daemon.exchange(b"and new ones") == b"Got and new ones"


def test_refused_connection_is_reported():
    with pytest.raises(ConnectionRefusedError, match="[Rr]efused"):
        Address(f"127.0.0.1:{free_port()}").connect()


def test_stopped_server_refuses_connections(ackd):
    daemon = ackd()
    address = daemon.address()
    assert daemon.exchange(b"x") == b"Got x"
    daemon.stop()
    with pytest.raises(ConnectionRefusedError):
        address.connect()


def test_single_byte_sends_are_answered_completely(ackd):
    """The client sends single bytes and reads in parallel; nothing is lost or added."""
    daemon = ackd('reply = "echo";')
    data = "Съешь же ещё этих мягких французских булок, да выпей чаю".encode()
    received = b""
    with daemon.connect() as s:
        for i in range(len(data)):
            s.sendall(data[i : i + 1])
            if select.select([s], [], [], 0)[0]:
                received += s.recv(4096)
        s.shutdown(socket.SHUT_WR)
        received += read_to_end(s)
    assert received == data


def test_ipv6_client_is_served(ackd):
    daemon = ackd('address = "::1";')
    with daemon.connect() as s:
        assert s.family == socket.AF_INET6
        assert converse(s, "да".encode()) == "Got да".encode()
