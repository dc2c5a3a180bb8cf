"""The functions of the script for OpenRC, in a shell without OpenRC."""

import subprocess

import pytest

from harness import ROOT, ackd_binary

SCRIPT = ROOT / "packaging/openrc/ackd"


@pytest.fixture
def openrc(tmp_path):
    """openrc("commands", NAME="value") reads the script, then runs the commands in a temporary directory."""
    def run(commands, **variables):
        return subprocess.run(["sh", "-c", f". '{SCRIPT}'\n{commands}"], check=False, cwd=tmp_path, text=True,
                              env={"PATH": "/usr/bin:/bin", "RC_SVCNAME": "ackd", **variables},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    return run


def test_instance_has_paths_of_its_own(openrc):
    paths = 'echo "$config $pidfile $runtime $error_log"'
    assert openrc(paths).stdout == "/etc/ackd.conf /run/ackd.pid /run/ackd /var/log/ackd.log\n"
    assert openrc(paths, RC_SVCNAME="ackd.blue").stdout == \
        "/etc/ackd/blue.conf /run/ackd.blue.pid /run/ackd.blue /var/log/ackd.blue.log\n"


def test_start_ends_when_a_stop_can_find_the_supervisor(openrc):
    """The supervisor creates its file first, and writes the pid later."""
    done = openrc("pidfile=pid; : >pid; (sleep 0.3; echo 7 >pid) & start_post && cat pid")
    assert (done.returncode, done.stdout) == (0, "7\n")


@pytest.mark.parametrize("command, text, status", [
    ("restart", "port = 7001;\n", 0),
    ("restart", "prt = 7001;\n", 78),
    ("stop", "prt = 7001;\n", 0),
])
def test_restart_with_an_error_stops_nothing(openrc, config_file, command, text, status):
    done = openrc(f"command='{ackd_binary()}'; stop_pre", RC_CMD=command, config=str(config_file(text)))
    assert done.returncode == status, done.stdout
