"""ackc's command line: what is refused, in words, with 64."""

import re

import pytest

from ackc_peers import ackc
from harness import ROOT


@pytest.mark.parametrize("arguments", [
    (), ("send",), ("ping",), ("load",),
    ("host", "0"), ("host", "65536"), ("host", "x"), ("host", ""), ("host", "-1"), ("host", "1x"),
    ("",), ("x" * 256,), ("[]", "1"), ("unix:",), ("unix:" + "x" * 108,),
    ("-z", "host"), ("--nosuch", "host"), ("-w", "0", "host"), ("-w", "x", "host"), ("-w",),
    ("-w", "1e3", "host"), ("-w", "inf", "host"), ("-w", "-1", "host"), ("--json=x", "host"),
    ("ping", "host", "1", "extra"), ("load", "host", "1", "extra"), ("ping", "unix:/x", "1"),
    ("ping", "-c", "0", "host"), ("ping", "-c", "99999999999", "host"), ("ping", "-s", "1", "host"),
    ("ping", "-s", "16777217", "host"), ("ping", "-s", "64kB", "host"), ("ping", "-i", "x", "host"),
    ("ping", "-c", "18446744073709551617", "host"),
    ("load", "-c", "0", "host"), ("load", "--threads", "0", "host"), ("load", "--rate", "0", "host"),
    ("load", "--depth", "70000", "host"), ("load", "--count", "1", "--duration", "1", "host"),
    ("load", "--prefix", "x" * 2000, "host"), ("load", "-s", "99999999999999999999", "host"),
], ids=lambda a: " ".join(x[:20] for x in a))
def test_refused(arguments):
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
    (("--json=x", "host"), "option '--json=x': it takes no value"),
    (("--timeout",), "option '--timeout' needs a value"),
    (("ping", "-c"), "option '-c' needs a value"),
    (("-w", "0", "host"), "-w: '0' is not a number of seconds from 0.001 to 1000000"),
    (("load", "--rate", "0", "host"),
     "--rate: '0' is not a number of messages a second from 0.001 to 1000000000"),
    (("-4", "-6", "host"), "options '-4' and '-6' do not go together"),
    (("ping", "-64", "host"), "options '-4' and '-6' do not go together"),
    (("-6", "unix:/x"), "unix:/x: a UNIX socket, which '-4' and '-6' do not go with"),
    (("load", "-n", "1", "-d", "1", "host"), "options '--count' and '--duration' do not go together"),
    (("load", "--json", "--histogram", "host"),
     "options '--histogram' and '--json' do not go together"),
    (("load", "--lines", "--file", "/x", "-s", "100", "host"),
     "option '--size' does not go with the lines of a file"),
    (("unix:",), "unix:: the PATH of a socket is missing"),
], ids=lambda a: " ".join(a) if isinstance(a, tuple) else None)
def test_words(arguments, words):
    assert ackc(*arguments).err.splitlines()[0] == f"ackc: {words}"


def test_text_needs_a_port():
    assert "TEXT needs a PORT" in ackc("host", "hello").err


@pytest.mark.parametrize("arguments", [
    ("ping", "--plugin"), ("ping", "--warn", "x", "host"), ("ping", "--warn", "2", "--crit", "1", "h"),
    ("ping", "--crit", "1,2", "host"), ("ping", "--crit", "1,101%", "host"),
    ("ping", "--plugin", "--json", "host"), ("ping", "--json", "--warn", "1", "host"),
])
def test_a_plugin_that_cannot_run_says_unknown(arguments):
    assert ackc(*arguments).status == 3


def options_in(text):
    return {o for o in re.findall(r"--[a-z][a-z-]+", text)}


def test_help_and_version():
    for command in ((), ("send",), ("ping",), ("load",)):
        done = ackc(*command, "--help")
        assert (done.status, done.err) == (0, "")
        assert done.out.startswith("Usage: ackc")
        done = ackc(*command, "-V")
        assert re.fullmatch(r"ackc \S+\nlibuv \S+\n", done.out)


def test_help_manual_and_completions_agree():
    """Every option of the help is in the manual and the completions, and the other way round."""
    shown = options_in(ackc("--help").out)
    manual = (ROOT / "man/ackc.1").read_text(encoding="utf-8")
    documented = {f"--{o}" for o in re.findall(r"Fl \\-([a-z-]+)", manual)}
    assert documented == shown
    for path, pattern in (("bash/ackc", r"--([a-z-]+)"), ("zsh/_ackc", r"--([a-z-]+)"),
                          ("fish/ackc.fish", r"complete .* -l ([a-z-]+)")):
        text = (ROOT / "packaging/completions" / path).read_text(encoding="utf-8")
        assert {f"--{o}" for o in re.findall(pattern, text)} == shown, path
