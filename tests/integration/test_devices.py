"""HL7 clients that others have written, with the configuration that the manual shows, and a server."""

import asyncio
import contextlib
import re
import subprocess

import pytest

from displays import displays
from harness import SOON, build_directory, have

hl7 = pytest.importorskip("hl7", reason="no HL7 library (Debian: python3-hl7)")
import hl7.client  # noqa: E402
import hl7.mllp  # noqa: E402

MESSAGE = ("MSH|^~\\&|LAB|WEST|HIS|EAST|20261129||ADT^A01|{id}|P|2.5\r"
           "PID|1||1234||Müller^Jürgen\r")


@pytest.fixture
def server(ackd):
    """Returns the address of a listener for HL7 as ackd-protocol(7) configures it."""
    display, = [d for d in displays("ackd-protocol.7") if "cat hl7.conf" in d]
    config = re.search(r"^\$ cat hl7\.conf\n((?:[^$].*\n)+)", display, re.M)[1]
    return ackd(re.sub(r"port = \d+;", "", config)).address()


def acknowledged(reply):
    """Returns MSH-10 of the message that an acknowledgement is for."""
    parsed = hl7.parse(reply.decode("iso-8859-1") if isinstance(reply, bytes) else reply)
    assert str(parsed.segment("MSA")(1)) == "AA"
    assert str(parsed.segment("MSH")(5)) == "LAB"
    return str(parsed.segment("MSA")(2))


def test_blocking_client_of_hl7(server):
    with hl7.client.MLLPClient(*server.sockaddr, encoding="iso-8859-1") as client:
        for number in range(50):
            reply = client.send_message(hl7.parse(MESSAGE.format(id=number)))
            assert reply.startswith(b"\x0b") and reply.endswith(b"\x1c\r")
            assert acknowledged(reply[1:-2]) == str(number)


def test_asynchronous_client_of_hl7(server):
    """Many messages are under way before the first acknowledgement is read."""
    async def client():
        reader, writer = await hl7.mllp.open_hl7_connection(*server.sockaddr, encoding="iso-8859-1")
        for number in range(50):
            writer.writemessage(hl7.parse(MESSAGE.format(id=number)))
        await writer.drain()
        ids = [acknowledged(str(await reader.readmessage())) for _ in range(50)]
        writer.close()
        await writer.wait_closed()
        return ids

    assert asyncio.run(asyncio.wait_for(client(), SOON)) == [str(number) for number in range(50)]


def test_command_line_client_of_hl7(server, tmp_path):
    if not have("mllp_send"):
        pytest.skip("no mllp_send")
    batch = tmp_path / "messages.hl7"
    batch.write_bytes("".join(MESSAGE.format(id=id) for id in ("A1", "B2")).encode("iso-8859-1"))
    done = subprocess.run(["mllp_send", "--loose", "-f", batch, "-p", str(server.port), "127.0.0.1"],
                          stdout=subprocess.PIPE, timeout=SOON, check=True)
    replies = re.findall(rb"\x0b(.*?)\x1c\r", done.stdout, re.S)
    assert [acknowledged(reply) for reply in replies] == ["A1", "B2"]


@pytest.mark.parametrize("arguments", ["ping -c 20 -i 0", "load -n 500 -c 5 -p 4"])
def test_server_of_hl7(arguments):
    """ackc verifies what a server of the library sends back."""
    program = build_directory() / "src/ackc/ackc"
    if not program.exists():
        pytest.skip("this build has no ackc")

    async def echo(reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                writer.writeblock(await reader.readblock())
        writer.close()

    async def run():
        server = await hl7.mllp.start_hl7_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(
            program, *arguments.split(), "--frame", "delimited:1c0d:0b", f"127.0.0.1:{port}",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = await asyncio.wait_for(client.communicate(), SOON)
        server.close()
        return client.returncode, said.decode()

    status, said = asyncio.run(run())
    assert status == 0, said
