"""The examples of the manual: each is run as written, while the installed service runs.

A display of a page that is neither run nor listed in NO_RECIPES makes test_every_display_is_tested fail.
"""

import os
import pathlib
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys

import pytest

from service import (CONFIG, PORT, Journal, Unit, connect, exchange, receive, run, serves, systemctl,
                     wait_until)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from displays import MAN, displays, plain  # noqa: E402  (needs the path)

BOTH = ["ackd.socket", "ackd.service"]

# Displays that are not run: output, syntax, and commands that need the sources.
NO_RECIPES = {
    "ackc.1": ["bit flipped at byte 30: expected 'hovc', received 'lovc'",
               "difference in the length of the frame: expected 64, received 65",
               "the certificate of the server expired at 2026-11-01T12:00:00Z",
               "the certificate of the server is for a.example, b.example, not for localhost",
               "the certificate of the server has an unknown issuer: CN=Test CA",
               "the certificate of the server is self-signed (CN=localhost) and not trusted",
               "the server demands a client certificate (--cert)",
               r"the server does not speak TLS: it sent b'NAK 0 invalid start byte\n'",
               "connection closed without close_notify",
               "ackc: localhost:8080: connection refused"],
    "ackd-course.7": [],
    "ackd-protocol.7": ["NAK offset reason"],
    "ackd-scaling.7": ["tests/bench/run --peers ackd --workloads 64x5000 --costs idle"],
    "ackd.8": ["ackd --set limits.max_memory=64MiB --set allow=10.0.0.0/8",
               "ackd -c my.conf --set reply=echo --set listeners.web.port=80",
               """ackd --set 'listeners=({name="a"; port=7;}, {name="b"; port=8;})'""",
               r"info message: ackd: message 2 from 127.0.0.1:4711, connection 1: 5 bytes: b'caf\xc3\xa9'",
               '{"time":"2026-11-29T08:15:00.250000Z","level":"info","event":"listen",\n'
               ' "message":"ackd: listening on 127.0.0.1:10080",\n'
               ' "message_id":"636242d5ea5b4051815726c5f727d70e",\n'
               ' "listener":"ackd","address":"127.0.0.1:10080"}',
               "podman run --read-only -p 10080:10080 localhost/ackd:1.0.0 \\\n"
               "  --set limits.max_connections=2000"],
    "ackd.conf.5": ['@include "FILE"', "NAK OFFSET REASON",
                    "/etc/ackd.conf:3: port: found 70000; allowed: an integer from 0 to 65535"],
}


def matching(name, pattern):
    return [display for display in displays(name) if re.match(pattern, display)]


def commands(display):
    """Returns the commands after the prompts, or all lines if there are none."""
    prompted = re.findall(r"^[#$] (.*)$", display, re.M)
    return prompted or display.splitlines()


DROP_INS = matching("ackd.8", r"\[")
TLS_DROP_IN, = [d for d in DROP_INS if "LoadCredential" in d]
SOCKET_COMMANDS, = [commands(d) for d in matching("ackd.8", "# ") if "ackd.socket" in d]
RENEWAL_COMMANDS, = [commands(d) for d in matching("ackd.8", "# ") if "CREDENTIALS_DIRECTORY" in d]
SERVICE_COMMANDS = ["systemctl edit ackd.service", *[
    c for d in matching("ackd.8", "# systemctl restart") for c in commands(d)]]
CONFIGURATIONS = dict(re.findall(r'^\.\\" example: (\S+)\n\.Bd [^\n]*\n(.*?)^\.Ed$',
                                 (MAN / "ackd.conf.5").read_text(), re.M | re.S))
CONFIGURATIONS = {name: plain(text) for name, text in CONFIGURATIONS.items()}


def edit(command, text):
    """Runs systemctl edit, which requires a terminal, with an editor that writes @text."""
    recipe = pathlib.Path("/run/recipe")
    recipe.write_text(text + "\n")
    editor = pathlib.Path("/run/editor")
    editor.write_text(f'#!/bin/sh\nfor file; do :; done\nexec cp {recipe} "$file"\n')
    editor.chmod(0o755)
    main, side = pty.openpty()
    try:
        subprocess.run(command, shell=True, check=True, timeout=30, stdin=side, stdout=side,
                       stderr=side, env={**os.environ, "SYSTEMD_EDITOR": str(editor)})
    finally:
        os.close(main)
        os.close(side)


def administrate(lines, drop_in):
    """Runs the commands of the manual; the one that opens an editor gets the drop-in."""
    for line in lines:
        if " edit " in line:
            edit(line, drop_in)
        else:
            run("sh", "-ec", line, timeout=60)


@pytest.fixture
def addresses():
    """The addresses used in the manual, on the loopback device of the lab."""
    used = ["192.0.2.1", "192.0.2.11"]
    for address in used:
        run("ip", "address", "add", f"{address}/32", "dev", "lo")
    yield
    for address in used:
        run("ip", "address", "delete", f"{address}/32", "dev", "lo")


def addresses_of(drop_in):
    """Returns the addresses of the sockets of a drop-in."""
    found = []
    for stream in re.findall(r"^ListenStream=(.+)$", drop_in, re.M):
        if stream.startswith("/"):
            found.append(stream)
        else:
            host, _, port = stream.rpartition(":")
            found.append((host.strip("[]") or "127.0.0.1", int(port)))
    return found or [("127.0.0.1", 10080), ("::1", 10080)]


def open_to_all():
    """Returns the listening TCP sockets that other hosts can reach."""
    lines = run("ss", "-Hltn").stdout.splitlines()
    return [line for line in lines if re.search(r" (0\.0\.0\.0|\[::\]|\*):(7|10080) ", line)]


@pytest.mark.parametrize("drop_in", [d for d in DROP_INS if d != TLS_DROP_IN],
                         ids=lambda d: " ".join(d.split()[1:])[:40])
@pytest.mark.usefixtures("addresses")
def test_drop_in(unit, drop_in):
    """The drop-in takes effect by the commands of the manual, and systemd-analyze reports nothing."""
    if "FileDescriptorName=one" in drop_in:
        CONFIG.write_text('listeners = ( { name = "one"; }, { name = "two"; port = 7002; } );\n')
    unit.start()
    if drop_in.startswith("[Socket]"):
        administrate(SOCKET_COMMANDS, drop_in)
        assert Unit("ackd.socket").show("UnitFileState") == "enabled"
    else:
        administrate(SOCKET_COMMANDS, "")  # one of them is about a service with the socket unit
        with connect() as s:
            s.sendall(b"a")
            assert receive(s, 5) == b"Got a"
            administrate(SERVICE_COMMANDS, drop_in)
            s.sendall(b"b")
            assert receive(s, 5) == b"Got b"
    assert (unit.state, Unit("ackd.socket").state) == ("active", "active")
    for address in addresses_of(drop_in):
        assert serves(address), address
    assert open_to_all() == []
    for line in drop_in.splitlines()[1:]:
        name, value = line.split("=", 1)
        if value and name not in ("ListenStream", "CPUQuota"):
            shown = systemctl("show", "-P", name, *BOTH).stdout
            assert value.replace("1G", "1073741824").replace("any", "0.0.0.0/0") in shown, shown
    files = [Unit(name).show("FragmentPath") for name in BOTH]
    verified = run("systemd-analyze", "verify", *files).stdout
    assert [line for line in verified.splitlines() if "ackd" in line or "override" in line] == []


def test_socket_commands_can_be_repeated(unit):
    """They also replace sockets that are in use: the installed ones, then those of a drop-in."""
    unit.start()
    for drop_in in "[Socket]", "[Socket]\nListenStream=\nListenStream=127.0.0.1:7", "[Socket]":
        administrate(SOCKET_COMMANDS, drop_in)
        for address in addresses_of(drop_in):
            assert serves(address)


HL7 = "MSH|^~\\&|LAB||||20261129||ORU^R01|4711|P|2.5\r"
# For each example of ackd.conf(5): addresses, texts sent there, and patterns of the whole answers.
ANSWERS = {
    "acknowledgements": [(PORT, "one\n", "1 3 one\n")],
    "listeners": [(10007, b"caf\xe9",
                   r"Hello 127\.0\.0\.1:\d+, you are connection \d+\.\n" "caf\ufffd"),
                  ("/run/ackd/ackd.sock", "x", "Got x")],
    "quit": [(10013, "", r"Hello 127\.0\.0\.1:\d+, this is 127\.0\.0\.1:10013\.\n"),
             (10014, "a\nexit\nb\n", "Got a\nGot exit\n")],
    "latin-1": [(PORT, "ÿ–", b"Got \xff&#8211;")],
    "hl7": [(PORT, f"\x0b{HL7}\x1c\r",
             r"\x0bMSH\|\^~\\&\|ACKD\|\|LAB\|\|20261129\|\|ACK\|\d+\.1\|P\|2\.5\rMSA\|AA\|4711\r\x1c\r")],
    "frames": [(7001, "\x02a\x03", "\x02Got a\x03"), (7002, "a\r", "Got a\r"),
               (7003, "a\0", "Got a\0"), (7004, "\0\1a", "\0\5Got a"),
               (7005, "a" * 128, "Got " + "a" * 128)],
}


def octets(text):
    return text if isinstance(text, bytes) else text.encode()


@pytest.mark.parametrize("name", [name for name in CONFIGURATIONS if name != "tls"])
def test_configuration(unit, name):
    """The configuration takes effect by a reload."""
    unit.start()
    CONFIG.write_text(CONFIGURATIONS[name])
    unit.reload()
    for address, text, pattern in ANSWERS[name]:
        if isinstance(address, int):
            address = ("127.0.0.1", address)
        answer = exchange(octets(text), address)
        assert re.fullmatch(octets(pattern), answer), (address, answer)


def make_certificate(directory, name, host):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out",
        f"{name}.crt", "-days", "90", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}",
        cwd=directory)


def connect_tls(host, port):
    """Connects, and verifies that the server has the certificate for @host."""
    context = ssl.create_default_context(cafile="/etc/ackd/tls/server.crt")
    return context.wrap_socket(connect(("127.0.0.1", port)), server_hostname=host)


def says(s, text):
    s.sendall(text)
    return receive(s, len(text) + 4) == b"Got " + text


def test_tls_keys(unit):
    """Only root can read the files. A restart renews them and keeps connections.

    If the next process could not use them, it drains the connections.
    """
    if not shutil.which("openssl"):
        pytest.skip("the command openssl is not installed")
    if "openssl none" in run("ackd", "--version").stdout:
        pytest.skip("this ackd has no TLS")
    files = pathlib.Path("/etc/ackd/tls")
    files.mkdir(mode=0o700, parents=True)
    make_certificate(files, "server", "one.example")
    try:
        unit.start()
        with connect() as plain:
            assert says(plain, b"a")
            CONFIG.write_text(CONFIGURATIONS["tls"])
            administrate(SERVICE_COMMANDS, TLS_DROP_IN)
            assert receive(plain, 1) == b""  # it is not encrypted
        with connect_tls("one.example", 10443) as s:
            assert says(s, b"a")
            make_certificate(files, "server", "two.example")
            unit.reload()
            assert says(s, b"b")
            administrate(RENEWAL_COMMANDS, "")
            assert says(s, b"c")
            with connect_tls("two.example", 10443) as new:
                assert says(new, b"a")
            assert (files / "server.key").stat().st_mode & 0o77 == 0
            assert os.stat(f"/proc/{unit.pid}").st_uid != 0
            journal = Journal()
            (files / "server.key").write_text("no key\n")
            assert unit.restart(check=False).returncode != 0
            assert receive(s, 1) == b""
        assert unit.show("ExecMainStatus") == "78"
        assert journal.events("drain") and not journal.events("handover")
        assert [e for e in journal.all_entries() if re.search(
            r"connections are drained, .*tls\.key: credential:server\.key: ", e["MESSAGE"])]
    finally:
        shutil.rmtree("/etc/ackd")


def until(command, pattern, number):
    """Runs a command until its output matches @pattern, then sends it the signal."""
    child = subprocess.Popen(["timeout", "-s", "KILL", "60", *command.split()], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = ""
    for line in child.stdout:
        said += line
        if re.search(pattern, said):
            break
    child.send_signal(number)
    said += child.communicate(timeout=30)[0]
    assert re.search(pattern, said), said


ACKC_COMMANDS = [c for d in matching("ackc.1", r"\$ ") for c in commands(d)]


@pytest.mark.parametrize("command", [c for c in ACKC_COMMANDS if "--tls" not in c])
def test_ackc_examples(unit, tmp_path, command):
    """Runs the examples of ackc(1) against the service, with a listener for each port."""
    CONFIG.write_text("""listeners = (
        { name = "ackd"; },
        { name = "mllp"; port = 2575; framing = "delimited"; frame = { start = [11]; end = [28, 13]; }; },
        { name = "stx"; port = 4001; framing = "delimited"; frame = { start = [2]; end = [3]; }; },
        { name = "iso8583"; port = 8583; framing = "length"; frame = { length_bytes = 2; }; }
    );\n""")
    unit.start()
    for name in "text", "messages", "message":
        (tmp_path / name).write_text("good morning\n" * 1000)
    if "localhost 7 " in command:  # the echo service has a port below 1024
        CONFIG.write_text('reply = "echo";\n')
        administrate(SOCKET_COMMANDS, matching("ackd.8", r"\[Socket\](?s:.*):7$")[0])
    if re.fullmatch(r"ackc ping \S+", command):
        until(command, r"seq=\d.*\n.*seq=\d", signal.SIGINT)
    else:
        # a busy machine may exceed the limits of the plugin's example
        done = run("sh", "-ec", command, cwd=tmp_path, timeout=120, check="--plugin" not in command)
        said = done.stdout
        if "--plugin" in command:
            assert re.match(r"ACKC (OK|WARNING|CRITICAL) - localhost:10080: 5 of 5 probes", said), said
        if "good morning" in command:
            assert said == "Got good morning\n"
        if "GLU" in command:
            assert said == "Got R|1|GLU|98\n"
        if "< messages" in command:
            assert said == "Got good morning\n" * 1000
        if "--whole" in command:
            assert said == "Got " + "good morning\n" * 1000 + "\n"
        if "load" in command:
            assert "errors: none" in said


@pytest.mark.parametrize("command", [c for c in ACKC_COMMANDS if "--tls" in c])
def test_ackc_examples_of_tls(tmp_path, command):
    if not shutil.which("openssl"):
        pytest.skip("the command openssl is not installed")
    if "--tls" not in run("ackc", "--help").stdout:
        pytest.skip("this ackc has no TLS")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "ca.pem",
        "-days", "90", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", cwd=tmp_path)
    (tmp_path / "tls.conf").write_text(
        'port = 10443; framing = "line"; tls = { certificate = "ca.pem"; key = "key.pem"; };\n')
    server = subprocess.Popen(["ackd", "-c", "tls.conf"], cwd=tmp_path, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: re.search(r":10443 ", run("ss", "-Hltn").stdout), "the server")
        # the certificate takes the place of the system's authorities, for the command without --ca
        said = run("sh", "-ec", "export SSL_CERT_FILE=ca.pem; " +
                   command.replace("echo.example", "localhost"), cwd=tmp_path).stdout
    finally:
        server.kill()
        server.wait()
    if "ping" in command:
        assert said.startswith("ACKC OK - ")
        assert re.search(r"certificate expires in (89\.9|90\.0) days", said)
    else:
        assert said == "Got hello\n"


def test_scaling(unit):
    """Runs the commands of ackd-scaling(7) that put the address of a director on lo."""
    unit.start()
    network, = matching("ackd-scaling.7", "sysctl")
    # the lab keeps /proc/sys read-only; the network is its own
    run("unshare", "-m", "sh", "-ec", "mount -o remount,bind,rw /proc/sys\n" + network)
    CONFIG.write_text('address = "192.0.2.100";\n')
    unit.reload()
    assert exchange(b"x", ("192.0.2.100", 10080)) == b"Got x"
    run("ip", "address", "delete", "192.0.2.100/32", "dev", "lo")


@pytest.mark.parametrize("command", matching("ackd-scaling.7", "ackc ping"))
@pytest.mark.usefixtures("addresses")
def test_scaling_ping(unit, command):
    if "--proxy" in command:
        CONFIG.write_text('address = "192.0.2.11"; proxies = [ "192.0.2.0/24", "127.0.0.0/8" ];\n')
    unit.start()
    until(command.replace("HOST", "localhost"), r"seq\W+\d", signal.SIGINT)


def test_ipvs(unit):
    commands_, = matching("ackd-scaling.7", "ipvsadm")
    if not pathlib.Path("/proc/net/ip_vs").exists():
        pytest.skip("the kernel has no IPVS")
    run("sh", "-ec", commands_)


def serves_on(port, answer):
    try:
        return exchange(b"x", ("127.0.0.1", port)) == answer
    except OSError:
        return False


def test_commands_of_ackd(unit, tmp_path):
    """Runs the examples of ackd(8) with the installed daemon in PATH."""
    for display in matching("ackd.8", r"\$ "):
        (tmp_path / "ackd.conf.new").write_text("port = 1;\n")
        child = None
        for line, shown in re.findall(r"^\$ (.*)\n?((?:[^$].*\n?)*)", display, re.M):
            if line.endswith("&"):
                child = subprocess.Popen(["sh", "-c", "exec " + line.rstrip("& ")],
                                         cwd=tmp_path)
                wait_until(lambda: serves(("127.0.0.1", 7007)), "ackd to be ready")
            else:
                said = run("sh", "-ec", line, cwd=tmp_path).stdout
                assert not shown or said.strip() == shown.strip()
        if child:
            child.terminate()
            assert child.wait(30) == 0
    for display in matching("ackd.8", "MAINPID="):
        unit.start()
        (tmp_path / "my.conf").write_text('port = 7070; ack_prefix = "one ";\n')
        child = subprocess.Popen(["ackd", "-c", "my.conf"], cwd=tmp_path)
        wait_until(lambda: serves_on(7070, b"one x"), "ackd to be ready")
        (tmp_path / "my.conf").write_text('port = 7070; ack_prefix = "two ";\n')
        run("sh", "-ec", display.replace("4711", str(child.pid)), cwd=tmp_path)
        assert serves_on(7070, b"two x")
        child.terminate()
        assert child.wait(30) == 0


def test_every_display_is_tested():
    """Each display is run by a test above or in the integration tests, or listed in NO_RECIPES."""
    tested = {
        "ackc.1": r"\$ ",
        "ackd-course.7": r"[$#] |>>> ",
        "ackd-protocol.7": r"\$ ",
        "ackd-scaling.7": "ipvsadm|sysctl|ackc ping",
        "ackd.8": r"\[|# |\$ |MAINPID=",
        "ackd.conf.5": r"\w+ = ",
    }
    assert {path.name for path in MAN.glob("*.[1-8]")} == set(tested)
    for name, pattern in tested.items():
        left = [d for d in displays(name) if not re.match(pattern, d)]
        assert left == NO_RECIPES[name], name
    assert len(DROP_INS) >= 6
    assert len(CONFIGURATIONS) >= 3
