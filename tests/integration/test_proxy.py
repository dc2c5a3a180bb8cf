"""The PROXY protocol: client addresses from a load balancer."""

import contextlib
import socket
import struct

import pytest

from harness import converse, read_exactly, read_to_end, reset, wait_until
from prom import is_built, scrape

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, TCP6, UNIX = 0x00, 0x11, 0x21, 0x31


def v1(source="192.0.2.7", port=4711):
    family = "TCP6" if ":" in source else "TCP4"
    to = "2001:db8::1" if ":" in source else "192.0.2.1"
    return f"PROXY {family} {source} {to} {port} 10080\r\n".encode()


def v2(source="192.0.2.7", port=4711, command=PROXY, family=None, tlvs=b"", body=None):
    if body is None:
        inet = socket.AF_INET6 if ":" in source else socket.AF_INET
        to = "2001:db8::1" if ":" in source else "192.0.2.1"
        body = socket.inet_pton(inet, source) + socket.inet_pton(inet, to)
        body += struct.pack("!HH", port, 10080)
        family = family if family is not None else TCP6 if ":" in source else TCP4
    body += tlvs
    return SIGNATURE + struct.pack("!BBH", command, family, len(body)) + body


def with_checksum(header):
    """Returns @header with the correct checksum in place of the zeros at its end."""
    crc = 0xFFFFFFFF
    for byte in header:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return header[:-4] + struct.pack("!I", crc ^ 0xFFFFFFFF)


CONFIG = (
    'address = "127.0.0.1"; proxies = ["127.0.0.1/32"]; framing = "line";'
    ' ack_prefix = "${peer} "; log = { level = "debug"; };'
)


def refused(daemon, data=b"", **options):
    """Returns whether the connection is closed without a byte."""
    with daemon.connect(**options) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(data)
            return read_to_end(s) == b""
        return True


HEADERS = [
    (v1(), "192.0.2.7:4711"),
    (v1("2001:db8::77"), "[2001:db8::77]:4711"),
    (v2(), "192.0.2.7:4711"),
    (v2("2001:db8::77"), "[2001:db8::77]:4711"),
    (v2(tlvs=b"\x04\x00\x05hello" + b"\x01\x00\x02h2"), "192.0.2.7:4711"),
    (v2(tlvs=b"\x04\x01\xf9" + b"\0" * 505), "192.0.2.7:4711"),  # 536 bytes: often a segment
    (v2(tlvs=b"\x04\x0f\xe1" + b"\0" * 4065), "192.0.2.7:4711"),  # 4,096 bytes
    (with_checksum(v2(tlvs=b"\x03\0\4" + bytes(4))), "192.0.2.7:4711"),
    (v2(family=UNIX, body=b"/client".ljust(108, b"\0") + b"/ackd".ljust(108, b"\0")), "unix"),
]
# Headers without a client: health checks of the proxy, and families without an address.
WITHOUT_SOURCE = [
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n",
    v2(command=LOCAL),
    v2(command=LOCAL, family=UNSPEC, body=b""),
    v2(family=UNSPEC, body=b""),
    v2(family=0x12),  # UDP
    v2("2001:db8::77", family=0x22),
    v2(family=0x32, body=bytes(216)),  # datagrams on a UNIX socket
    v2(family=0x10, body=bytes(12)),  # an unspecified transport
    v2(family=0x01, body=bytes(12)),
    with_checksum(v2(command=LOCAL, family=UNSPEC, body=b"", tlvs=b"\x03\0\4" + bytes(4))),
]


@pytest.mark.parametrize("header, peer", HEADERS, ids=range(len(HEADERS)))
def test_source_address_is_the_client(ackd, header, peer):
    daemon = ackd(CONFIG)
    assert daemon.exchange(header + b"hi\n") == f"{peer} hi\n".encode()
    daemon.wait_for(f"connection 1 from {'unix' if peer == 'unix' else '.*4711'}")


@pytest.mark.parametrize("header", WITHOUT_SOURCE, ids=range(len(WITHOUT_SOURCE)))
def test_header_without_a_client_keeps_the_peer(ackd, header):
    daemon = ackd(CONFIG)
    with daemon.connect() as s:
        peer = "%s:%d" % s.getsockname()
        assert converse(s, header + b"hi\n") == f"{peer} hi\n".encode()


NO_HEADERS = [
    b"hello\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711\r\n",
    b"PROXY TCP4 192.0.2.777 192.0.2.1 4711 1\r\n",
    b"PROXY TCP4 2001:db8::1 192.0.2.1 4711 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 70000 1\r\n",
    b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 1\n",
    b"PROXY TCP9 192.0.2.7 192.0.2.1 4711 1\r\n",
    b"proxy tcp4 192.0.2.7 192.0.2.1 4711 1\r\n",
    b"PROXY " + b"x" * 200,
    b"\r\n\r\n\0\r\nQUIX\n" + b"\0" * 20,
    SIGNATURE + b"\x11\x11\x00\x0c" + b"\0" * 12,  # version 1
    SIGNATURE + b"\x22\x11\x00\x0c" + b"\0" * 12,  # an undefined command
    v2(body=b"\0" * 4, family=TCP4),  # too short for its family
    SIGNATURE + b"\x21\x11\xff\xff" + b"\0" * 500,  # too long
    v2(tlvs=b"\x04\x0f\xe2" + b"\0" * 4066),  # 4,097 bytes
    v2(family=0x13),
    v2(family=0x41),
    v2(tlvs=b"\x03\0\4" + bytes(4)),  # a wrong checksum
    v2(tlvs=b"\x05\0\x81" + bytes(129)),  # the ID is one byte too long
    v2(tlvs=b"\x02\0\5abcd"),  # truncated
]


@pytest.mark.parametrize("data", NO_HEADERS, ids=range(len(NO_HEADERS)))
def test_invalid_headers_are_rejected(ackd, data):
    daemon = ackd(CONFIG)
    assert refused(daemon, data + b"hi\n")
    daemon.wait_for("refuse.*connection from 127.0.0.1:")
    assert daemon.exchange(v1() + b"hi\n") == b"192.0.2.7:4711 hi\n"


def test_end_within_the_header_is_a_refusal(ackd):
    daemon = ackd(CONFIG)
    for header in (v2()[:1], v2()[:5], v2()[:12], v2()[:20], v1()[:-1]):
        mark = daemon.mark()
        assert daemon.exchange(header) == b""
        daemon.wait_for("connection from 127.0.0.1:.* refused: closed before", after=mark)


@pytest.mark.parametrize("end", [socket.socket.close, reset], ids=["FIN", "RST"])
def test_health_check_is_no_refusal(ackd, config_file, end):
    """A health check connects, sends nothing and closes."""
    metrics = 'metrics = { address = "127.0.0.1"; port = 0; };' if is_built(config_file) else ""
    daemon = ackd(CONFIG + metrics)
    for _ in range(3):
        mark = daemon.mark()
        end(daemon.connect())
        daemon.wait_for("^debug health_check: ackd: health check from 127.*: no data$", after=mark)
    assert daemon.exchange(v1() + b"x\n") == b"192.0.2.7:4711 x\n"
    assert "refused" not in daemon.log
    if metrics:
        samples = scrape(daemon.address("metrics"))
        assert samples["ackd_health_checks_total", "ackd"] == 3
        assert not any(v for k, v in samples.items() if k[0] == "ackd_connections_refused_total")


def test_reset_within_the_header_is_survived(ackd):
    daemon = ackd(CONFIG)
    for n in (1, 20):
        mark = daemon.mark()
        s = daemon.connect()
        s.sendall(v2()[:n])
        daemon.exchange(v1() + b"x\n")
        reset(s)
        daemon.wait_for("connection from 127.0.0.1:.* refused: connection lost", after=mark)


def test_half_a_header_without_memory_is_refused(ackd):
    daemon = ackd(CONFIG + " limits = { max_memory = 500; };")
    assert refused(daemon, v1()[:20])
    daemon.wait_for("connection from 127.0.0.1:.* refused: limits.max_memory is used up")
    assert daemon.exchange(v1() + b"x\n") == b"192.0.2.7:4711 x\n"


def test_half_of_a_long_header_without_memory_is_refused(ackd):
    daemon = ackd(CONFIG + " limits = { max_memory = 1000; };")
    header = v2(tlvs=b"\x04\x0f\xe1" + b"\0" * 4065)
    with daemon.connect() as s:
        s.sendall(header[:100])
        daemon.exchange(v1() + b"x\n")
        s.sendall(header[100:1000])
        assert read_to_end(s) == b""
    daemon.wait_for("connection from 127.0.0.1:.* refused: limits.max_memory is used up")
    assert daemon.exchange(v1() + b"x\n") == b"192.0.2.7:4711 x\n"


NAMED = [
    (b"", "|"),
    (b"\x05\0\4id-1\x02\0\x0bexample.org", "id-1|example.org"),
    (b"\x02\0\1a", "|a"),
    (b"\x05\0\x80" + b"x" * 128, "x" * 128 + "|"),
    # line ends, bytes outside of ASCII, and backslashes are escaped
    (b"\x05\0\5a\n\0\\\x7f\x02\0\3z\xc3\xa9", "a\\x0a\\x00\\x5c\\x7f|z\\xc3\\xa9"),
    (b"\x02\1\0" + b"y" * 256, "|" + "y" * 255),
]


@pytest.mark.parametrize("tlvs, names", NAMED, ids=range(len(NAMED)))
def test_id_and_authority_in_templates(ackd, tlvs, names):
    daemon = ackd(
        'address = "127.0.0.1"; proxies = ["127.0.0.1"]; framing = "line";'
        ' greeting = "${proxy_id}|${authority}\\n";'
        ' ack_prefix = "${proxy_id}|${authority}|${peer} ";'
    )
    for header, peer in ((v2(tlvs=tlvs), "192.0.2.7:4711"), (v2(family=0x12, tlvs=tlvs), None)):
        with daemon.connect() as s:
            peer = peer or "%s:%d" % s.getsockname()
            expected = f"{names}\n{names}|{peer} hi\n"
            assert converse(s, header + b"hi\n") == expected.encode()
    # the names of a LOCAL connection are not used
    with daemon.connect() as s:
        peer = "%s:%d" % s.getsockname()
        assert converse(s, v2(command=LOCAL, tlvs=tlvs) + b"hi\n") == f"|\n||{peer} hi\n".encode()


def test_names_are_charged_and_released(ackd):
    """Data kept from a PROXY header counts towards max_memory."""
    daemon = ackd(
        'address = "127.0.0.1"; proxies = ["127.0.0.1"]; reply = "echo"; log = { level = "debug"; };'
        " limits = { max_memory = 300; };"
    )
    header = v2(tlvs=b"\x05\0\x80" + b"x" * 128)
    with daemon.connect() as one, daemon.connect() as two:
        for s in (one, two):
            s.sendall(header + b"hi")
            assert read_exactly(s, 2) == b"hi"
        assert daemon.exchange(header + b"hi") == b""
        daemon.wait_for("connection 3 from 192.0.2.7:4711 ended: limits.max_memory is used up")
    for n in (1, 2):
        daemon.wait_for(f"connection {n} from 192.0.2.7:4711 ended: end of input")
    for _ in range(5):
        assert daemon.exchange(header + b"hi") == b"hi"


def test_only_listed_proxies_may_connect(ackd):
    daemon = ackd(CONFIG)
    assert refused(daemon, v1() + b"hi\n", source="127.0.0.2")
    daemon.wait_for("connection from 127.0.0.2:.* refused: denied")
    mark = daemon.mark()
    assert refused(daemon, source="127.0.0.2")
    daemon.wait_for("connection from 127.0.0.2:.* refused: denied", after=mark)
    assert "health_check" not in daemon.log
    assert daemon.exchange(v1() + b"hi\n") == b"192.0.2.7:4711 hi\n"


def test_access_lists_apply_to_the_client(ackd):
    daemon = ackd(CONFIG + ' allow = ["192.0.2.0/24", "2001:db8::/32"]; deny = ["192.0.2.66"];')
    assert daemon.exchange(v1() + b"hi\n") == b"192.0.2.7:4711 hi\n"
    assert daemon.exchange(v2("2001:db8::5") + b"hi\n") == b"[2001:db8::5]:4711 hi\n"
    assert refused(daemon, v1("192.0.2.66") + b"hi\n")
    assert refused(daemon, v1("198.51.100.1") + b"hi\n")
    daemon.wait_for("connection from 198.51.100.1:4711 refused: denied")
    # A health check has the address of the proxy, which allow does not include.
    assert refused(daemon, v2(command=LOCAL) + b"hi\n")


def test_limit_per_address_applies_to_the_client(ackd):
    daemon = ackd(CONFIG + " limits = { max_connections_per_address = 2; };")
    kept = []
    for source in ("192.0.2.7", "192.0.2.7", "192.0.2.8"):
        s = daemon.connect()
        s.sendall(v1(source) + b"hi\n")
        expected = f"{source}:4711 hi\n".encode()
        assert read_exactly(s, len(expected)) == expected
        kept.append(s)
    assert daemon.exchange(v1() + b"hi\n") == b"NAK 0 too many connections\n"
    kept.pop(0).close()
    wait_until(lambda: daemon.exchange(v1() + b"hi\n") == b"192.0.2.7:4711 hi\n", "a free place")
    # A /64 counts as one client.
    for host in ("::1", "::2"):
        s = daemon.connect()
        s.sendall(v1("2001:db8:1:2" + host) + b"hi\n")
        assert s.recv(100).endswith(b"hi\n")
        kept.append(s)
    assert daemon.exchange(v1("2001:db8:1:2::3") + b"hi\n") == b"NAK 0 too many connections\n"
    assert daemon.exchange(v1("2001:db8:1:3::1") + b"hi\n").endswith(b"hi\n")
    for s in kept:
        s.close()


def test_connection_without_header_counts_towards_the_limit(ackd):
    daemon = ackd(CONFIG + " workers = 1; limits = { max_connections = 2; };")
    waiting = [daemon.connect() for _ in range(2)]
    with daemon.connect() as s:
        assert read_to_end(s) == b"NAK 0 too many connections\n"
    for s in waiting:
        s.close()
    wait_until(lambda: daemon.exchange(v1() + b"x\n").endswith(b"x\n"), "a free place")


def test_admitted_client_keeps_its_place(ackd):
    """The connection counts from the accept; a lower limit set meanwhile does not close it."""
    # one worker accepts in order: the waiting client first
    config = CONFIG + " workers = 1; limits = { max_connections = %d; };"
    daemon = ackd(config % 2)
    with daemon.connect() as waiting, daemon.connect() as other:
        other.sendall(v1("192.0.2.8") + b"x\n")
        assert read_exactly(other, 17).endswith(b"x\n")
        waiting.sendall(v1()[:10])
        daemon.write_config(config % 1)
        assert daemon.reload()
        waiting.sendall(v1()[10:] + b"hi\n")
        assert read_exactly(waiting, 18) == b"192.0.2.7:4711 hi\n"
        with daemon.connect() as third:
            assert read_to_end(third) == b"NAK 0 too many connections\n"
    daemon.write_config(config % 2)
    assert daemon.reload()
    wait_until(lambda: daemon.exchange(v1() + b"x\n").endswith(b" x\n"), "a free place")


def test_proxies_can_use_a_unix_socket(ackd, directory):
    daemon = ackd(
        f'path = "{directory}/s"; proxies = ["unix"]; framing = "line"; ack_prefix = "${{peer}} ";'
    )
    assert daemon.exchange(v1() + b"hi\n") == b"192.0.2.7:4711 hi\n"
    assert daemon.exchange(b"hi\n") == b""


def test_header_is_not_counted(ackd):
    """Offsets and byte counts include only the bytes of the client."""
    daemon = ackd(CONFIG + ' ack_suffix = " ${bytes}";')
    assert daemon.exchange(v2() + b"a\nb\xff\n") == (
        b"192.0.2.7:4711 a 1\nNAK 3 invalid start byte\n"
    )
    daemon.wait_for("; 2 messages, 5 bytes in")


def test_greeting_follows_the_header(ackd):
    daemon = ackd(CONFIG + ' greeting = "hello ${peer}\\n";')
    with daemon.connect() as s:
        s.sendall(v1())
        expected = b"hello 192.0.2.7:4711\n"
        assert read_exactly(s, len(expected)) == expected


def test_drain_closes_connections_without_header(ackd):
    daemon = ackd(CONFIG)
    with daemon.connect() as s:
        s.sendall(v1()[:10])
        daemon.exchange(v1() + b"x\n")
        daemon.stop()
        with contextlib.suppress(ConnectionResetError):
            assert read_to_end(s) == b""
