"""log.format and log.timestamps: each line on stderr can be parsed, whatever clients send."""

import json
import random
import re
import socket

import pytest

from harness import Address, read_to_end, wait_until
from test_log import NASTY
from test_proxy import v2

TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

HOSTILE = [
    *NASTY,
    b'"\\"}\\n{"time":"x"}',
    "\u2028\u2029\u0085\ufeff\u202e".encode(),
    b"\xed\xa0\x80\xf4\x90\x80\x80\xc0\x80\xfe",
    bytes(range(256)),
    b'"' * 5000,
    b"\\" * 5000,
]


def entries(daemon):
    """Returns the events logged so far, after checking each line."""
    found = []
    for line in list(daemon.lines):
        assert line.isprintable(), repr(line)
        entry = json.loads(line)
        assert list(entry)[:5] == ["time", "level", "event", "message", "message_id"], line
        assert TIME.fullmatch(entry["time"])
        assert entry["level"] in ("error", "warning", "notice", "info", "debug")
        found.append(entry)
    return found


def events(daemon, event):
    return [entry for entry in entries(daemon) if entry["event"] == event]


def address(daemon, listener="ackd"):
    for entry in events(daemon, "listen"):
        if entry["listener"] == listener:
            return Address(entry["address"])
    raise LookupError(daemon.log)


def test_each_line_is_json_under_a_flood_of_hostile_bytes(ackd, directory):
    daemon = ackd(
        f"""log = {{ format = "json"; level = "debug"; }}; log_messages = true;
        listeners = ( {{ name = "line"; framing = "line"; port = 0; }},
                      {{ name = "stream"; path = "{directory}/s"; }},
                      {{ name = "proxy"; port = 0; proxies = ["127.0.0.1", "::1"]; }} );"""
    )
    numbers = random.Random(1)
    hostile = HOSTILE + [numbers.randbytes(numbers.randrange(1, 600)) for _ in range(30)]
    with address(daemon, "line").connect() as s:
        for data in hostile:
            s.sendall(data + b"\n")
        s.shutdown(socket.SHUT_WR)
        read_to_end(s)
    for i, data in enumerate(hostile):
        name = f"{directory}/\x1b\"\\\n\x7f{i}"
        with Address(f"unix:{directory}/s").connect(source=name) as s:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            read_to_end(s)
        tlvs = b"\x05\0" + bytes([min(len(data), 128)]) + data[:128]
        tlvs += b"\x02\0" + bytes([min(len(data), 255)]) + data[:255]
        with address(daemon, "proxy").connect() as s:
            s.sendall(v2(tlvs=tlvs) + data)
            s.shutdown(socket.SHUT_WR)
            read_to_end(s)
    daemon.stop()
    kinds = {entry["event"] for entry in entries(daemon)}
    assert kinds >= {"start", "listen", "ready", "connect", "disconnect", "nak", "message", "stop"}
    assert any("\\xff" in entry["text"] for entry in events(daemon, "message"))
    assert any("authority" in entry for entry in events(daemon, "message"))


def test_fields_have_their_types(ackd):
    daemon = ackd("log_messages = true;", arguments=["--set", "port=0", "--set", "log.format=json"])
    with address(daemon).connect() as s:
        s.sendall(b'"\\\xff')
        read_to_end(s)
        peer = "%s:%d" % s.getsockname()
    wait_until(lambda: events(daemon, "nak") and events(daemon, "message"), "both events")
    message, nak = events(daemon, "message")[0], events(daemon, "nak")[0]
    assert (message["listener"], message["peer"], message["connection"]) == ("ackd", peer, 1)
    assert (message["message_number"], message["length"]) == (1, 3)
    assert message["text"] == repr(b'"\\\xff')
    assert (nak["offset"], nak["reason"], nak["level"]) == (2, "invalid start byte", "notice")


@pytest.mark.parametrize("options", [["--set", "log.format=json"], []])
def test_errors_in_the_configuration(ackd, options):
    """The command line decides how they are written."""
    daemon = ackd(
        'log = { format = "json"; }; port = 70000;', arguments=options, start=False, ready=False
    ).start(ready=False)
    assert daemon.wait() == 78
    if options:
        assert "port: found 70000" in entries(daemon)[0]["message"]
    else:
        assert re.match("error stop: .*port: found 70000", daemon.log)


def test_bind_error_is_json(ackd):
    taken = ackd().address()
    daemon = ackd(
        f'log = {{ format = "json"; }}; address = "127.0.0.1"; port = {taken.port};',
        arguments=(),
        start=False,
    ).start(ready=False)
    assert daemon.wait() == 69
    assert "cannot start" in entries(daemon)[-1]["message"]


def test_reload_changes_the_format(ackd):
    daemon = ackd('log = { format = "text"; };')
    for config, pattern in (
        ('format = "json";', r'^\{.*"reloaded the configuration'),
        ("timestamps = true;", f"^{TIME.pattern} notice reload: reloaded the configuration"),
        ("", "^notice reload: reloaded the configuration"),
    ):
        mark = daemon.mark()
        daemon.write_config(f"log = {{ {config} }};")
        daemon.reload()
        daemon.wait_for(pattern, after=mark)
    daemon.write_config('log = { format = "xml"; };')
    mark = daemon.mark()
    assert not daemon.reload()
    daemon.wait_for('log.format: found the string "xml"; allowed: "text" or "json"', after=mark)
