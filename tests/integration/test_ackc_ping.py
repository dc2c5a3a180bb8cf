"""ackc ping: output and conventions of ping(8), thresholds for monitoring, JSON."""

import itertools
import json
import re
import resource
import subprocess
import sys
import threading
import time
from datetime import datetime

import pytest

import ackc_peers
from ackc_peers import ackc, can_unshare, each_line, echo, lines_of, reset
from harness import SOON, environment, free_port, sanitizer, within

peer = ackc_peers.peer

RFC_3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
TIMES = r"\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3}/\d+\.\d{3} ms"


def test_output_resembles_ping(peer):
    server = peer(echo)
    done = ackc("ping", "-c", "3", "-i", "0.01", "localhost", "-4", server.port)
    where = re.escape(f"127.0.0.1:{server.port}")
    probe = rf"64 bytes from {where}: seq=%d time=\d+\.\d{{3}} ms( kernel=\d+\.\d{{3}} ms)?\n"
    assert done.status == 0
    assert done.err == ""
    assert re.fullmatch(
        rf"PING localhost:{server.port} \({where}\) 64 bytes of data\.\n"
        + "".join(probe % i for i in (1, 2, 3))
        + rf"\n--- localhost:{server.port} ping statistics ---\n"
        + r"3 probes transmitted, 3 received, 0% loss, time \d+ms\n"
        + rf"rtt min/avg/max/mdev = {TIMES}\n"
        + rf"rtt p50/p90/p99/p99\.9 = {TIMES}\n"
        + rf"(kernel rtt min/avg/max/mdev = {TIMES}\n)?"
        + rf"connect min/avg/max/mdev = {TIMES}\n", done.out), done


def test_quiet_prints_only_the_summary(peer):
    done = ackc("ping", "-q", "-c", "2", "-i", "0", "127.0.0.1", peer(echo).port)
    assert "seq=" not in done.out
    assert "2 probes transmitted, 2 received" in done.out
    port = free_port()
    done = ackc("ping", "-q", "-c", "3", "-i", "0", "127.0.0.1", port)
    assert done.err == f"ackc: 127.0.0.1:{port}: connection refused\n"
    assert "3 probes transmitted, 0 received, +3 errors, 100% loss" in done.out
    assert done.status == 1


def test_quiet_prints_the_first_failure_of_each_kind(peer):
    """Kinds that alternate are not printed again."""
    replies = itertools.cycle([
        lambda s, line: False,
        lambda s, line: reset(s),
        lambda s, line: s.sendall(bytes([line[0] ^ 1]) + line[1:]),
        lambda s, line: s.sendall(b"NAK 0 invalid UTF-8\n"),
    ])
    server = peer(each_line(lambda s, line: next(replies)(s, line), honest=2))
    done = ackc("ping", "-q", "-c", "8", "-i", "0", "127.0.0.1", server.port)
    prefix = f"ackc: 127.0.0.1:{server.port}: "
    lines = done.err.splitlines()
    assert [line.removeprefix(prefix).split(" at byte")[0] for line in lines] == [
        "connection closed early", "connection reset", "wrong reply to probe 3: bit flipped",
        "NAK 0 invalid UTF-8"], done
    assert "8 probes transmitted, 0 received, +4 wrong, +4 errors, 100% loss" in done.out
    assert done.status == 2


def test_interval_is_kept(peer):
    server = peer(echo)
    began = time.monotonic()
    assert ackc("ping", "-c", "4", "-i", "0.2", "127.0.0.1", server.port).status == 0
    assert time.monotonic() - began >= 0.6
    # One connection for learning, one for the probes.
    assert server.accepted == 2


@pytest.mark.parametrize("size", [2, 3, 9, 19, 20, 100, 4096, 200_000, "1MiB"])
def test_message_sizes_are_exact(peer, size):
    done = ackc("ping", "-c", "2", "-i", "0", "-s", size, "--json", "127.0.0.1", peer(echo).port)
    summary = json.loads(done.out.splitlines()[-1])
    assert done.status == 0, done
    assert summary["size"] == (1 << 20 if size == "1MiB" else size)
    assert summary["received"] == 2


def test_new_connection_per_probe(peer):
    server = peer(echo)
    done = ackc("ping", "--new-connection", "-c", "3", "-i", "0", "--json", "127.0.0.1",
                server.port)
    events = [json.loads(line) for line in done.out.splitlines()]
    assert server.accepted == 4
    assert all(e["connect_ms"] > 0 for e in events[:-1])
    assert events[-1]["connect_ms"]["count"] == 3
    assert done.status == 0


def test_time_of_a_slow_server_is_separate(peer):
    def slow(s):
        for line in lines_of(s):
            threading.Event().wait(0.1)
            s.sendall(line)

    done = ackc("ping", "-c", "2", "-i", "0", "--json", "127.0.0.1", peer(slow).port)
    summary = json.loads(done.out.splitlines()[-1])
    assert 100 <= summary["rtt_ms"]["min"] <= summary["rtt_ms"]["avg"] <= summary["rtt_ms"]["max"]
    # The time is attributed to the server, not to the network.
    if summary["kernel_rtt_ms"]:
        assert summary["kernel_rtt_ms"]["min"] < 50


def test_reply_in_pieces_is_accepted(peer):
    def pieces(s):
        for line in lines_of(s):
            for i in range(0, len(line), 7):
                s.sendall(line[i:i + 7])
                threading.Event().wait(0.001)

    done = ackc("ping", "-c", "2", "-i", "0", "127.0.0.1", peer(pieces).port)
    assert done.status == 0, done


@pytest.mark.parametrize("greeting", [b"hello\n", b"two\nlines\n", b"no line end: ", b"Got \n",
                                      "grüß 1 2 3\r\n".encode()])
@pytest.mark.parametrize("prefix, suffix", [(b"", b""), (b"Got ", b""), (b"<", b">")])
def test_greetings_are_skipped(peer, greeting, prefix, suffix):
    def handle(s):
        s.sendall(greeting)
        for line in lines_of(s):
            s.sendall(prefix + line[:-1] + suffix + b"\n")

    for more in ((), ("--new-connection",)):
        done = ackc("ping", "-c", "2", "-i", "0", *more, "127.0.0.1", peer(handle).port)
        assert done.status == 0, done
        assert greeting.decode().rstrip("\r\n") in done.out
    done = ackc("load", "-n", "100", "-p", "3", "127.0.0.1", peer(handle).port)
    assert done.status == 0, done


def test_greeting_with_a_connection_number_is_skipped(peer):
    numbers = iter(range(8, 1000))

    def handle(s):
        s.sendall(b"connection %d\n" % next(numbers))
        echo(s)

    done = ackc("ping", "--new-connection", "-c", "5", "-i", "0", "127.0.0.1", peer(handle).port)
    assert done.status == 0, done


@pytest.mark.parametrize("command", [("ping", "-c", "12", "-i", "0"), ("load", "-n", "500")])
def test_counters_in_replies_are_learnt(peer, command):
    """The replies are those of ack_prefix = "${message} ${bytes} "."""
    def handle(s):
        for i, line in enumerate(lines_of(s), 1):
            s.sendall(b"%d %d %s #%d\n" % (i, len(line) - 1, line[:-1], i + 99))

    done = ackc(*command, "127.0.0.1", peer(handle).port)
    assert done.status == 0, done


def test_close_after_each_reply_is_reported(peer):
    def once(s):
        s.sendall(s.recv(65536))

    # ackc cannot learn the form of a second reply.
    done = ackc("ping", "-c", "1", "127.0.0.1", peer(once).port)
    assert done.status == 1
    assert "connection closed early" in done.err


# ---- a path that cuts idle connections ----


def cutting(end, replies=1, learners=1):
    """A server that closes each connection after @replies replies, except the first @learners."""
    connections = iter(range(1 << 60))

    def handle(s):
        cut = next(connections) >= learners
        for i, line in enumerate(lines_of(s), 1):
            s.sendall(line)
            if cut and i == replies:
                threading.Event().wait(0.05)  # the reply must arrive before the reset
                return end(s)
        return None

    return handle


CUTS = {"fin": (lambda s: None, "connection closed by peer"),
        "rst": (ackc_peers.reset, "connection reset by peer")}


@pytest.mark.parametrize("cut", CUTS)
def test_reconnect_between_probes_is_reported(peer, cut):
    """Each reconnect is reported and counted, and is not a loss; the exit status is 1."""
    end, kind = CUTS[cut]
    server = peer(cutting(end))
    done = ackc("ping", "-c", "3", "-i", "1", "127.0.0.1", server.port)
    assert done.status == 1, done
    line = rf"ackc: 127\.0\.0\.1:{server.port}: {kind} after \d+\.\d s idle\n"
    assert re.fullmatch(line * 2, done.err), done
    assert "\n3 probes transmitted, 3 received, +2 cuts while idle, 0% loss, 2 reconnects, time " in done.out
    assert [" connect=" in l for l in done.out.splitlines() if "seq=" in l] == [False, True, True]


def test_reconnect_is_in_json(peer):
    done = ackc("ping", "-c", "2", "-i", "1", "--json", "127.0.0.1",
                peer(cutting(lambda s: None)).port)
    first, cut, second, summary = [json.loads(line) for line in done.out.splitlines()]
    assert (first["event"], second["event"]) == ("reply", "reply")
    assert (cut["event"], cut["seq"], cut["kind"]) == ("cut", 1, "connection closed by peer")
    assert re.fullmatch(r"connection closed by peer after \d+\.\d s idle", cut["error"])
    assert (summary["cuts"], summary["reconnects"], summary["received"]) == (1, 1, 2)
    assert (summary["loss_percent"], summary["status"], done.status) == (0, 1, 1)


def test_quiet_reports_each_kind_of_reconnect_once(peer):
    ends = itertools.cycle(end for end, _ in CUTS.values())
    done = ackc("ping", "-q", "-c", "5", "-i", "1", "127.0.0.1",
                peer(cutting(lambda s: next(ends)(s))).port)
    assert [done.err.count(kind) for _, kind in CUTS.values()] == [1, 1], done
    assert done.err.count("\n") == 2
    assert "+4 cuts while idle" in done.out


def test_no_reconnect_option_ends_ping(peer):
    server = peer(cutting(lambda s: None, replies=2))
    done = ackc("ping", "--no-reconnect", "-i", "1", "127.0.0.1", server.port)
    assert done.status == 1, done
    assert "\n2 probes transmitted, 2 received, +1 cut while idle, 0% loss, time " in done.out
    assert server.accepted == 2


def test_no_reconnect_option_after_a_lost_probe(peer):
    server = peer(each_line(lambda s, line: None, honest=4))
    done = ackc("ping", "--no-reconnect", "-i", "0", "-W", within(0.5), "127.0.0.1", server.port)
    assert done.status == 1, done
    assert "\n3 probes transmitted, 2 received, +1 error, 33.3333% loss, time " in done.out
    assert server.accepted == 2


def test_no_reconnect_option_permits_the_first_connection():
    """A failed first connect is not a reconnect."""
    port = free_port()
    done = ackc("ping", "--no-reconnect", "-c", "3", "-i", "0", "127.0.0.1", port)
    assert "3 probes transmitted, 0 received, +3 errors" in done.out


def test_plugin_warns_of_a_reconnect(peer):
    done = ackc("ping", "--plugin", "-i", "1", "--count", "2", "127.0.0.1",
                peer(cutting(lambda s: None)).port)
    assert done.status == 1, done
    assert done.out.startswith("ACKC WARNING - ")
    assert "2 of 2 probes answered" in done.out
    assert ", connection closed by peer after " in done.out


def test_reconnect_after_a_lost_probe_is_counted(peer):
    drop = iter([True, False])
    server = peer(each_line(lambda s, line: None if next(drop, False) else s.sendall(line), honest=3))
    done = ackc("ping", "-c", "3", "-i", "0", "-W", within(0.5), "--json", "127.0.0.1", server.port)
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["cuts"], summary["reconnects"], summary["received"]) == (0, 1, 2)


def test_new_connection_does_not_count_as_reconnect(peer):
    drop = iter([True, False])
    server = peer(each_line(lambda s, line: None if next(drop, False) else s.sendall(line), honest=3))
    done = ackc("ping", "--new-connection", "-c", "3", "-i", "0", "-W", within(0.5), "--json", "127.0.0.1",
                server.port)
    summary = json.loads(done.out.splitlines()[-1])
    assert (summary["received"], summary["reconnects"]) == (2, 0)


def test_wall_clock_is_printed(peer):
    def handle(s):
        s.sendall(b"hello\n")
        echo(s)

    done = ackc("ping", "-D", "-c", "2", "-i", "0", "127.0.0.1", peer(handle).port)
    assert done.status == 0
    lines = done.out.splitlines()
    assert [re.sub(r"[: ].*", "", re.sub(rf"^{RFC_3339} ", "@", line)) for line in lines[1:4]] == [
        "@greeting", "@64", "@64"]
    done = ackc("ping", "-D", "-c", "1", "127.0.0.1", free_port())
    assert re.match(rf"{RFC_3339} ackc: 127", done.err), done


def test_retransmissions_are_reported(tmp_path):
    """The interface of the namespace is down for a while."""
    if not can_unshare("--net"):
        pytest.skip("no network namespaces here")
    script = tmp_path / "run"
    script.write_text(RETRANSMITTING, encoding="ascii")
    done = subprocess.run(["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
                           sys.executable, ackc_peers.__file__, "7007", sys.executable, script,
                           *ackc_peers.ackc_command()],
                          capture_output=True, timeout=2 * SOON, check=False, env=environment())
    assert done.returncode == 0, done
    *replies, summary = [json.loads(line) for line in done.stdout.splitlines()]
    assert replies[0]["retransmissions"] == 0
    assert replies[1]["retransmissions"] == summary["retransmissions"] >= 1
    assert summary["received"] == 2


# Takes the interface down after the first reply, long before the next probe, and up when the socket of
# ackc has sent something again. The server may do so earlier, if the acknowledgement of its reply is lost.
RETRANSMITTING = """
import subprocess, sys, time

def retransmitted():
    done = subprocess.run(["ss", "-tinH", "state", "established", "dport = :7007"],
                          stdout=subprocess.PIPE, check=True)
    return b"retrans:" in done.stdout

ping = subprocess.Popen([sys.argv[1], "ping", "-c", "2", "-i", "5", "-w", "30", "--json",
                         "127.0.0.1", "7007"], stdout=subprocess.PIPE)
sys.stdout.buffer.write(ping.stdout.readline())
subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
end = time.monotonic() + 20
while not retransmitted() and time.monotonic() < end:
    time.sleep(0.01)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
sys.stdout.buffer.write(ping.stdout.read())
sys.exit(ping.wait())
"""


# ---- monitoring ----


def plugin(*arguments):
    done = ackc("ping", "--plugin", "-i", "0", *arguments)
    assert done.err == ""
    assert done.out.count("\n") == 1
    words, performance = done.out.rstrip("\n").split(" | ")
    return done.status, words, performance


def test_plugin_reports_ok(peer):
    port = peer(echo).port
    status, words, performance = plugin("-w", "5000,20%", "-c", "9000,60%", "127.0.0.1", port)
    assert status == 0
    assert words.startswith(f"ACKC OK - 127.0.0.1:{port}: 5 of 5 probes answered, mean ")
    assert re.fullmatch(r"rta=\d+\.\d+ms;5000;9000;0 rtmin=\d+\.\d+ms;;;0 rtmax=\d+\.\d+ms;;;0 "
                        r"pl=0%;20;60;0;100", performance)


def test_plugin_without_thresholds(peer):
    status, _, performance = plugin("--count", "2", "127.0.0.1", peer(echo).port)
    assert status == 0
    assert re.search(r"rta=\d+\.\d+ms;;;0 ", performance)


def test_thresholds_imply_plugin(peer):
    done = ackc("ping", "--count", "1", "--crit", "5000", "127.0.0.1", peer(echo).port)
    assert done.out.startswith("ACKC OK")


def slow(s):
    for line in lines_of(s):
        threading.Event().wait(0.05)
        s.sendall(line)


def test_plugin_reports_slow_replies(peer):
    port = peer(slow).port
    for warn, crit, expected, word in (("20", "9000", 1, "WARNING"), ("10", "20", 2, "CRITICAL")):
        status, words, _ = plugin("--count", "2", "--warn", warn, "-c", crit, "127.0.0.1", port)
        assert status == expected
        assert words.startswith(f"ACKC {word} - ")


def test_plugin_without_server_is_critical():
    port = free_port()
    status, words, performance = plugin("--count", "2", "127.0.0.1", port)
    assert status == 2
    assert words == (f"ACKC CRITICAL - 127.0.0.1:{port}: 0 of 2 probes answered, "
                     "connection refused")
    assert performance == "pl=100%;0;100;0;100"


def test_plugin_with_unknown_host():
    status, words, performance = plugin("nosuch.invalid")
    assert status == 2
    assert words.startswith("ACKC CRITICAL - nosuch.invalid:10080: no probe sent, ")
    assert performance == "pl=100%;0;100;0;100"


def test_no_transmitted_probe_is_total_loss():
    done = ackc("ping", "-c", "1", "nosuch.invalid")
    assert "\n0 probes transmitted, 0 received, +1 error, 100% loss, " in done.out
    assert done.status == 1
    summary = json.loads(ackc("ping", "-c", "1", "--json", "nosuch.invalid").out.splitlines()[-1])
    assert (summary["transmitted"], summary["loss_percent"], summary["status"]) == (0, 100, 1)


def test_plugin_reports_loss(peer):
    # Two probes for learning, then every other one is lost.
    def lossy():
        count = iter(range(1 << 60))

        def answer(s, line):
            if next(count) % 2 == 1:
                return False
            s.sendall(line)
            return None

        return each_line(answer, honest=2)

    for arguments, expected in (((), 1), (("-w", "9000,60%"), 0),
                                (("-w", "9000,10%", "-c", "9000,20%"), 2)):
        status, _, performance = plugin("--count", "4", *arguments, "127.0.0.1", peer(lossy()).port)
        assert "pl=50%" in performance
        assert status == expected


def test_plugin_reports_a_wrong_reply(peer):
    server = peer(each_line(lambda s, line: s.sendall(line.upper()), honest=3))
    status, words, _ = plugin("--count", "2", "127.0.0.1", server.port)
    assert status == 2
    assert "wrong reply to probe 2" in words


def test_plugin_escapes_a_bar_in_a_nak(peer):
    """A bar in the text of the server must not begin the performance data."""
    server = peer(each_line(lambda s, line: s.sendall(b"NAK 0 a|b\n"), honest=3))
    status, words, _ = plugin("--count", "2", "127.0.0.1", server.port)
    assert status == 2
    assert "NAK 0 a/b" in words


@pytest.mark.parametrize("arguments, words", [
    (("--plugin",), "HOST is missing"),
    (("--count", "0", "--plugin", "host"), "--count: '0' is not a number"),
    (("-c", "x", "--plugin", "host"), "--critical: 'x' is not MS[,LOSS%]"),
    (("-w", "10:5", "--plugin", "host"), "--warning: '10:5' is not MS[,LOSS%]"),
    (("--plugin", "-t", "0", "host"), "--deadline: '0' is not a duration"),
    (("--plugin", "-i", "0.2", "--count", "51", "host"),
     "51 probes every 0.2 s do not fit into the 10 s of -t"),
    (("--plugin", "--nosuch", "host"), "unknown option '--nosuch'"),
    (("--plugin", "host", "0"), "0: a PORT is a number from 1 to 65535"),
    (("--warn",), "option '--warn' needs a value"),
    (("-w", "5,20%", "-c", "10,10%", "--plugin", "host"), "--warning is above --critical"),
    (("host", "1", "2", "--cri", "5"), "'2': too many arguments"),
    (("--warn", "2", "--crit", "1", "host"), "--warning is above --critical"),
], ids=lambda a: " ".join(a) if isinstance(a, tuple) else None)
def test_plugin_usage_error_goes_to_standard_output(arguments, words):
    """Monitoring reads the standard output, wherever --plugin is on the command line."""
    done = ackc("ping", *arguments)
    assert done.status == 3
    assert done.out.startswith(f"ACKC UNKNOWN - ackc: {words}")
    assert done.err == ""


def test_plugin_help_is_printed():
    assert ackc("ping", "--plugin", "--help").status == 3


def test_plugin_escapes_a_bar_in_the_target(directory):
    status, words, _ = plugin("--count", "1", f"unix:{directory}/a|b\nc")
    assert status == 2
    assert words.startswith(f"ACKC CRITICAL - unix:{directory}/a/b\\x0ac: 0 of 1 probe answered, ")


# name: (options, state), for a server that answers within 9 s and loses nothing
RANGES = {
    "below": (("-w", "9000", "-c", "9000"), 0),
    "below, with a unit": (("-w", "9s", "-c", "9s"), 0),
    "above": (("-w", "0.000001", "-c", "9000"), 1),
    "far above": (("-w", "0.000001", "-c", "0.000002"), 2),
    "at least": (("-w", "9000:", "-c", "0:"), 1),
    "from minus infinity": (("-w", "~:9000", "-c", "~:9000"), 0),
    "outside": (("-w", "9000:9001"), 1),
    "inside": (("-w", "@0:9000"), 1),
    "inside, critical": (("-c", "@0:9000"), 2),
    "not inside": (("-w", "@9000:9001", "-c", "@9000:"), 0),
    "loss": (("-w", "9000,0%", "-c", "9000,0%"), 0),
    "loss, at least": (("-w", "9000,1:%"), 1),
    "loss, inside": (("-c", "9000,@0:0%"), 2),
}


@pytest.mark.parametrize("case", RANGES)
def test_plugin_thresholds_set_the_state(peer, case):
    """-w and -c are thresholds in the format of the plugin guidelines."""
    options, expected = RANGES[case]
    status, words, _ = plugin("--count", "2", *options, "127.0.0.1", peer(echo).port)
    assert status == expected
    assert words.startswith(f"ACKC {('OK', 'WARNING', 'CRITICAL')[expected]} - ")


def test_performance_data_has_ranges(peer):
    _, _, performance = plugin("-w", "@10ms:1s,5:20%", "-c", "~:9000,@50:%", "127.0.0.1",
                               peer(echo).port)
    assert re.fullmatch(r"rta=\d+\.\d+ms;@10:1000;~:9000;0 rtmin=\S+ rtmax=\S+ pl=0%;5:20;@50:;0;100",
                        performance)


def test_options_have_ping_meaning_without_plugin(peer):
    """Without --plugin, -w is the timeout, -c the count, and -t ends like ^C."""
    server = peer(echo)
    done = ackc("ping", "-w", "10", "-c", "2", "-i", "0", "127.0.0.1", server.port)
    assert "\n2 probes transmitted, 2 received, 0% loss" in done.out
    done = ackc("ping", "-t", "0.5", "-i", "0.01", "127.0.0.1", server.port)
    assert done.status == 0, done
    assert " 0% loss, " in done.out


def dripping(s):
    """Sends a byte from time to time, forever."""
    while True:
        s.sendall(b"z")
        threading.Event().wait(0.02)


def deadline(*arguments, **options):
    """Runs a plugin that does not finish within its deadline; returns its output."""
    began = time.monotonic()
    done = ackc("ping", "--plugin", "-W", "60", *arguments, **options)
    assert done.status == 2, done
    assert done.err == ""
    words, performance = done.out.rstrip("\n").split(" | ")
    assert performance == "pl=100%;0;100;0;100"
    return words, time.monotonic() - began


@pytest.mark.parametrize("handler", [ackc_peers.silent, dripping], ids=lambda h: h.__name__)
def test_plugin_deadline_is_kept(peer, handler):
    words, took = deadline("-t", "1", "127.0.0.1", peer(handler).port)
    assert words.endswith(": 0 of 1 probe answered, not finished after 1 s")
    assert 1 <= took < SOON


def test_plugin_deadline_covers_connecting():
    with ackc_peers.deaf_port() as port:
        words, took = deadline("--timeout", "1", "127.0.0.1", port)
    assert words.endswith(": 0 of 1 probe answered, not finished after 1 s")
    assert 1 <= took < SOON


def test_default_plugin_deadline_is_10_s(peer):
    words, took = deadline("127.0.0.1", peer(ackc_peers.silent).port, timeout=2 * SOON)
    assert words.endswith(", not finished after 10 s")
    assert 10 <= took < 10 + SOON


def test_plugin_evaluates_replies_before_the_deadline(peer):
    done = ackc("ping", "--plugin", "-W", "60", "-t", "2", "127.0.0.1",
                peer(each_line(lambda s, line: None, honest=4)).port)
    assert done.status == 2, done
    assert ": 2 of 3 probes answered, mean " in done.out
    assert ", not finished after 2 s | rta=" in done.out


def test_plugin_without_descriptors_is_unknown():
    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (6, 6))

    if sanitizer():
        pytest.skip("the sanitizer itself needs descriptors")
    done = ackc("ping", "--plugin", "127.0.0.1", free_port(), preexec_fn=limit)
    assert done.status == 3, done
    assert done.out == "ACKC UNKNOWN - too many open files in this process (see ulimit -n)\n"


# ---- JSON: the schema of the manual page ----


def test_json_has_the_documented_schema(peer):
    def handle(s):
        s.sendall(b"hello\n")
        echo(s)

    done = ackc("ping", "-c", "2", "-i", "0", "--json", "127.0.0.1", peer(handle).port)
    greeting, *replies, summary = [json.loads(line) for line in done.out.splitlines()]
    assert greeting == {"event": "greeting", "time": greeting["time"], "text": "hello\n"}
    assert [(r["event"], r["seq"], r["bytes"]) for r in replies] == [("reply", 1, 64),
                                                                    ("reply", 2, 64)]
    assert set(summary) == {
        "event", "command", "target", "address", "size", "transmitted", "received", "wrong",
        "errors", "cuts", "reconnects", "retransmissions", "loss_percent", "time", "time_ms",
        "rtt_ms", "kernel_rtt_ms", "connect_ms", "handshake_ms", "tls", "error", "status"}
    now = time.time()
    for event in greeting, *replies, summary:
        assert re.fullmatch(RFC_3339, event["time"])
        assert abs(datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp() - now) < SOON
    assert set(summary["rtt_ms"]) == {"count", "min", "avg", "max", "mdev", "p50", "p75", "p90",
                                      "p99", "p99_9", "p99_99"}


def test_json_reports_failures():
    port = free_port()
    done = ackc("ping", "-c", "2", "-i", "0", "--json", "127.0.0.1", port)
    *failures, summary = [json.loads(line) for line in done.out.splitlines()]
    assert [{**f, "time": None} for f in failures] == [
        {"event": "failure", "time": None, "seq": i, "kind": "connection refused",
         "error": "connection refused"} for i in (1, 2)]
    assert summary["rtt_ms"] is None
    assert (summary["loss_percent"], summary["error"], summary["status"]) == (
        100, "connection refused", 1)
