"""Command-line errors of ackc: messages and exit status 64."""

import re

import pytest

import ackc_peers
from ackc_peers import ackc, deaf_port, echo, silent
from harness import ROOT

peer = ackc_peers.peer


@pytest.mark.parametrize("arguments", [
    (), ("send",), ("ping",), ("load",),
    ("host", "0"), ("host", "65536"), ("host", "x"), ("host", ""), ("host", "-1"), ("host", "1x"),
    ("",), ("x" * 256,), ("[]", "1"), ("unix:",), ("unix:@",), ("unix:" + "x" * 108,),
    ("-z", "host"), ("--nosuch", "host"), ("-w", "0", "host"), ("-w", "x", "host"), ("-w",),
    ("-w", "1e3", "host"), ("-w", "inf", "host"), ("-w", "-1", "host"), ("--json=x", "host"),
    ("ping", "host", "1", "extra"), ("load", "host", "1", "extra"), ("ping", "unix:/x", "1"),
    ("ping", "-c", "0", "host"), ("ping", "-c", "99999999999", "host"), ("ping", "-s", "1", "host"),
    ("ping", "-s", "16777217", "host"), ("ping", "-s", "64kB", "host"), ("ping", "-i", "x", "host"),
    ("ping", "-c", "18446744073709551617", "host"),
    ("load", "-c", "0", "host"), ("load", "--threads", "0", "host"), ("load", "--rate", "0", "host"),
    ("load", "--depth", "70000", "host"), ("load", "--count", "1", "--duration", "1", "host"),
    ("load", "--prefix", "x" * 2000, "host"), ("load", "-s", "99999999999999999999", "host"),
    ("host:0",), ("host:",), (":1",), ("host:x",), ("[::1",), ("[::1]x",), ("[::1]:",), ("[]:1",),
    ("ping", "host:1", "1"), ("load", "[::1]:1", "1"), ("-w", "5x", "host"), ("-w", "1s2", "host"),
    ("-w", "12d", "host"), ("ping", "-s", "1TiB", "host"), ("ping", "-s", "1.5KiB", "host"),
], ids=lambda a: " ".join(x[:20] for x in a))
def test_usage_errors_are_rejected(arguments):
    done = ackc(*arguments)
    assert done.status == 64
    assert done.out == ""
    assert re.fullmatch(r"ackc: .+\nTry 'ackc --help' for more information\.\n", done.err)


@pytest.mark.parametrize("arguments, words", [
    (("-z", "host"), "unknown option '-z'"),
    (("-4z", "host"), "unknown option '-z'"),
    (("--timeout=1", "-z4", "host"), "unknown option '-z'"),
    (("--nosuch", "host"), "unknown option '--nosuch'"),
    (("ping", "--depth", "1", "host"), "unknown option '--depth'"),
    (("load", "--co", "1", "host"), "option '--co' is ambiguous"),
    (("--json=x", "host"), "option '--json=x' takes no value"),
    (("--timeout",), "option '--timeout' needs a value"),
    (("ping", "-c"), "option '-c' needs a value"),
    (("ping", "host", "-c"), "option '-c' needs a value"),
    (("-w", "0", "host"),
     "--timeout: '0' is not a duration from 0.001 to 1000000 seconds; examples: 2, 0.5, 500ms, 2min"),
    (("load", "-s", "1", "host"),
     "--size: '1' is not a size from 2 to 16777216 bytes; examples: 1000, 64KiB, 1MiB"),
    (("--jsn", "host"), "unknown option '--jsn'; did you mean '--json'?"),
    (("load", "--conections=5", "host"),
     "unknown option '--conections=5'; did you mean '--connections'?"),
    (("pign", "localhost"), "unknown command 'pign'; did you mean 'ping'?"),
    (("laod", "-c", "5", "localhost"), "unknown command 'laod'; did you mean 'load'?"),
    (("pign", "localhost:10080"), "unknown command 'pign'; did you mean 'ping'?"),
    (("host:0",), "host:0: a PORT is a number from 1 to 65535"),
    (("[::1]x",), "[::1]x: write an IPv6 address as [ADDRESS] or [ADDRESS]:PORT"),
    (("ping", "localhost:1", "1"), "'1': too many arguments"),
    (("load", "--rate", "0", "host"),
     "--rate: '0' is not a number from 0.001 to 1000000000"),
    (("-4", "-6", "host"), "'-4' cannot be combined with '-6'"),
    (("ping", "-64", "host"), "'-4' cannot be combined with '-6'"),
    (("-6", "unix:/x"), "'-6' cannot be combined with the UNIX socket unix:/x"),
    (("load", "-n", "1", "-d", "1", "host"), "'--count' cannot be combined with '--duration'"),
    (("load", "--json", "--histogram", "host"),
     "'--histogram' cannot be combined with '--json'"),
    (("load", "--lines", "--file", "/x", "-s", "100", "host"),
     "'--size' cannot be combined with '--lines' and '--file'"),
    (("unix:",), "unix:: the PATH of a socket is missing"),
], ids=lambda a: " ".join(a) if isinstance(a, tuple) else None)
def test_usage_error_messages(arguments, words):
    assert ackc(*arguments).err.splitlines()[0] == f"ackc: {words}"


@pytest.mark.parametrize("arguments", [
    ("send", "pign", "x"), ("ping", "pign", "x"), ("far-away", "x"), ("-4", "--", "host", "x"),
])
def test_no_command_is_suggested(arguments):
    """With a given command, or without a similar one, the message is about PORT."""
    assert "did you mean" not in ackc(*arguments).err
    assert "a PORT is a number" in ackc(*arguments).err


def test_misspelt_command_is_suggested_after_the_look_up():
    """The word is a valid HOST, so it is looked up first."""
    done = ackc("pign")
    assert done.status == 1
    assert re.fullmatch(r"ackc: pign:10080: [a-z -]+; did you mean 'ackc ping'\?\n", done.err)
    assert "did you mean" not in ackc("send", "pign").err


def test_host_and_port_may_be_one_argument(peer):
    server = peer(echo)
    target = f"127.0.0.1:{server.port}"
    assert ackc(target, "one", "2").out == "one\n2\n"
    assert ackc("send", f"localhost:{server.port}", data=b"x").out == "x"
    done = ackc("ping", "-c", "1", target)
    assert (done.status, f"PING {target}" in done.out) == (0, True)
    assert ackc("load", "-n", "10", target).status == 0


def test_ipv6_address_and_port_may_be_one_argument():
    with deaf_port() as port:  # any port number
        for host in (f"[::1]:{port}", "[::1]"):
            assert re.fullmatch(r"ackc: \[::1\]:\d+: .*\n", ackc("-w", "0.1", host).err)


@pytest.mark.parametrize("wait", ["300ms", "0.3s", "300000us", "0.3"])
def test_durations_accept_units(peer, wait):
    server = peer(silent)
    done = ackc("ping", "-c", "1", "-i", "10ms", "-W", wait, "127.0.0.1", server.port)
    assert (done.status, "timed out" in done.err + done.out) == (1, True)


@pytest.mark.parametrize("size", ["2KiB", "2048B", "2048"])
def test_sizes_accept_units(peer, size):
    server = peer(echo)
    done = ackc("ping", "-c", "1", "-s", size, "127.0.0.1", server.port)
    assert "2048 bytes" in done.out, done


def test_text_requires_a_port():
    assert "TEXT needs a PORT" in ackc("host", "hello").err


@pytest.mark.parametrize("arguments", [
    ("ping", "--plugin"), ("ping", "--warn", "x", "host"), ("ping", "--warn", "2", "--crit", "1", "h"),
    ("ping", "--crit", "1,2", "host"), ("ping", "--crit", "1,101%", "host"),
    ("ping", "--plugin", "--json", "host"), ("ping", "--json", "--warn", "1", "host"),
])
def test_plugin_with_usage_error_is_unknown(arguments):
    assert ackc(*arguments).status == 3


def options_in(text):
    return {o for o in re.findall(r"--[a-z][a-z-]+", text)}


def test_help_and_version_are_printed():
    for command in ((), ("send",), ("ping",), ("load",)):
        done = ackc(*command, "--help")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("Usage: ackc")
        done = ackc(*command, "-V")
        assert re.fullmatch(r"ackc \S+\nlibuv \S+\nopenssl \S+\n", done.out)


def test_help_manual_and_completions_agree():
    """Help, manual and completions have the same options."""
    shown = options_in(ackc("--help").out)
    manual = (ROOT / "man/ackc.1").read_text(encoding="utf-8")
    documented = {f"--{o}" for o in re.findall(r"Fl \\-([a-z-]+)", manual)}
    assert documented == shown
    for path, pattern in (("bash/ackc", r"--([a-z-]+)"), ("zsh/_ackc", r"--([a-z-]+)"),
                          ("fish/ackc.fish", r"complete .* -l ([a-z-]+)")):
        text = (ROOT / "packaging/completions" / path).read_text(encoding="utf-8")
        assert {f"--{o}" for o in re.findall(pattern, text)} == shown, path
