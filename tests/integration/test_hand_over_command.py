"""The command of ExecStop=, packaging/hand-over, with another systemctl and another ackd."""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness import ROOT, SOON, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may write to /run")

# Each command fails once if there is a directory $FAILURES.
SYSTEMCTL = """#!/bin/sh
[ -z "$FAILURES" ] || ! mkdir "$FAILURES/$1" 2>/dev/null || exit 1
case $1 in
list-jobs) echo "7 ackd.service restart running" ;;
cat) echo "LoadCredential=server.key:$CREDENTIAL" ;;
show) echo 0 ;;
esac
"""
# An error with the text of a setting, and one with the path of the key. It hangs if $HANGING is set.
ACKD = r"""#!/bin/sh
[ -z "$HANGING" ] || { echo "$CREDENTIALS_DIRECTORY" >"$HANGING"; exec sleep 60; }
key=$CREDENTIALS_DIRECTORY/server.key
[ -e "$key" ] || [ -h "$key" ] || exit 0
[ -e "$key" ] || { echo "no key"; exit 78; }
printf '%s\n' 'x.conf:1: greeting: found "\c\n"' "x.conf:2: tls.key: $key: cannot read"
exit 78
"""


@pytest.fixture
def hand_over(tmp_path):
    """hand_over(NAME="value") runs the command for a restart, and returns its lines."""
    for name, text in ("systemctl", SYSTEMCTL), ("ackd", ACKD):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)

    def start(**variables):
        return subprocess.Popen([ROOT / "packaging/hand-over", "ackd.service", tmp_path / "ackd"],
                                env={"PATH": f"{tmp_path}:/usr/bin:/bin", **variables}, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)

    def run(**variables):
        with start(**variables) as command:
            said = command.communicate(timeout=60)[0]
        assert command.returncode == 0, said
        return said.splitlines()

    run.start = start
    return run


def test_errors_of_the_next_process_are_warnings(hand_over, tmp_path):
    """Each line is one, and is unchanged: echo would end at a backslash and a c. /tmp may be full."""
    (tmp_path / "new.key").write_text("key")
    assert hand_over(CREDENTIAL=str(tmp_path / "new.key"), TMPDIR="/nonexistent") == [
        "<4>connections are drained, because ackd would not start again: "
        'x.conf:1: greeting: found "\\c\\n"',
        "<4>x.conf:2: tls.key: credential:server.key: cannot read",
    ]


def test_systemctl_fails_for_a_moment(hand_over, tmp_path):
    """As while systemd executes itself again. Only the settings name this credential."""
    (tmp_path / "failures").mkdir()
    lines = hand_over(CREDENTIAL=f"{tmp_path}/none", FAILURES=str(tmp_path / "failures"))
    assert [line for line in lines if "because ackd would not start again: no key" in line]


def test_next_process_lacks_a_credential(hand_over, tmp_path):
    lines = hand_over(CREDENTIAL=f"{tmp_path}/none")
    assert re.search("because ackd would not start again: .*no key", lines[0])


def test_credential_that_is_no_file(hand_over, tmp_path):
    """A directory or a relative name is left to systemd: there is nothing to check."""
    assert hand_over(CREDENTIAL=str(tmp_path)) == []
    assert hand_over(CREDENTIAL="relative") == []


def test_timeout_leaves_nothing_behind(hand_over, tmp_path):
    """At TimeoutStopSec=, systemd sends SIGTERM to all processes of the command."""
    hanging = tmp_path / "hanging"
    with hand_over.start(HANGING=str(hanging), CREDENTIAL="relative") as command:
        wait_until(lambda: hanging.exists() and hanging.read_text().endswith("\n"), "the check")
        credentials = pathlib.Path(hanging.read_text().strip())
        assert credentials.is_dir()
        os.killpg(command.pid, signal.SIGTERM)
        command.communicate(timeout=SOON)
    assert command.returncode == 143
    assert not credentials.exists()
