"""A restart between versions of the saved state, as in an upgrade or a downgrade."""

import os
import pathlib
import re
import shutil

import pytest

from service import CONFIG, connect, exchange, receive, run, wait_until

TOP = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = "/usr/local/sbin/ackd"
OTHER = "/usr/local/sbin/ackd-of-another-version"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """An ackd with the next version of the saved state."""
    tree = tmp_path_factory.mktemp("other") / "ackd"
    shutil.copytree(TOP, tree, symlinks=True,
                    ignore=shutil.ignore_patterns("build*", ".git", "__pycache__"))
    header = tree / "src/ackd/handover/state.h"
    text, n = re.subn(r"(#define STATE_VERSION )(\d+)",
                      lambda match: match[1] + str(int(match[2]) + 1), header.read_text())
    assert n == 1
    header.write_text(text)
    run(os.environ.get("ACKD_MESON", "meson"), "setup", "-Dsystemd=enabled", "-Dtests=disabled",
        "--buildtype=plain", tree / "build", tree, timeout=120)
    run("ninja", "-C", tree / "build", "src/ackd/ackd", timeout=300)
    shutil.copy(tree / "build/src/ackd/ackd", OTHER)
    return OTHER


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_restart_across_state_versions(unit, journal, other, direction):
    """Connections in an unknown state are closed without a reset, the log reports it, and ackd serves."""
    def run_from_now_on(program):
        unit.drop_in(f"[Service]\nExecStart=\nExecStart={program}\n")

    before, after = (SHIPPED, other) if direction == "upgrade" else (other, SHIPPED)
    CONFIG.write_text('framing = "line";\n')
    run_from_now_on(before)
    unit.start()
    clients = [connect() for _ in range(20)]
    for s in clients:
        s.sendall(b"a\nhalf a line")
        assert receive(s, 6) == b"Got a\n"
    wait_until(lambda: unit.show("NFileDescriptorStore") != "0", "the listening sockets stored")
    stored = unit.show("NFileDescriptorStore")

    run_from_now_on(after)
    unit.restart()
    for s in clients:
        assert s.recv(100) == b""  # the end, and no reset
        s.close()
    assert exchange(b"x\n") == b"Got x\n"
    entry = journal.wait_for("restore")
    assert (entry["PRIORITY"], unit.restarts) == ("3", 0)
    assert "version" in entry["MESSAGE"]
    wait_until(lambda: unit.show("NFileDescriptorStore") == stored, "the store without the state")

    # Later restarts keep connections.
    with connect() as s:
        s.sendall(b"b\nha")
        assert receive(s, 6) == b"Got b\n"
        unit.restart()
        s.sendall(b"lf\n")
        assert receive(s, 9) == b"Got half\n"
    assert len([e for e in journal.events("restore") if e["PRIORITY"] == "3"]) == 1
