"""The tour of README.md: each command is run and must print the output shown there.

Only times, ports, the number of a connection and the number of workers may differ.
"""

import re
import shlex
import signal
import subprocess

import pytest

from harness import ROOT, SOON, build_directory, environment, have

LOG_LINE = re.compile(r"(error|warning|notice|info) \w+: ")
SIGNALS = {"-USR1": signal.SIGUSR1, "-HUP": signal.SIGHUP}


def tour():
    """Returns the commands of README.md, each with its expected output."""
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S)
    for command, shown in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", "".join(blocks), re.M):
        yield command, shown.splitlines()


FREE_NUMBERS = re.compile(
    r"\d+\.\d+(?=[/ ])|(?<=:)\d{4,5}\b|(?<=connection )\d+|\d+(?= workers)|(?<=time )\d+(?=ms)"
)


def pattern(line):
    """Returns a pattern for the line with any times, ports and spacing."""
    parts = []
    for part in re.split(r"(\s+)", FREE_NUMBERS.sub("\0", line.strip())):
        parts.append(r"\s+" if part.isspace() else re.escape(part).replace("\0", r"[\d.]+"))
    return r"^\s*" + "".join(parts) + r"\s*$"


class Visitor:
    """Runs the commands of the tour."""

    def __init__(self, ackd, directory):
        self.ackd = ackd
        self.directory = directory
        self.daemon = None
        self.config = None

    def command(self, command, shown):
        logged = [line for line in shown if LOG_LINE.match(line)]
        said = [line for line in shown if not LOG_LINE.match(line)]
        mark = self.daemon.mark() if self.daemon else 0
        words = shlex.split(command)
        if command == "cat tour.conf":
            self.config = "\n".join(said) + "\n"
        elif command == "ackd -c tour.conf &":
            config = re.sub(r"port = \d+", "port = 0", self.config)
            self.daemon = self.ackd(config, arguments=())
        elif words[0] == "kill":
            self.daemon.signal(SIGNALS.get(words[1], signal.SIGTERM))
        else:
            self.shell(command, said)
        for line in logged:
            line = pattern(line.replace("tour.conf", "TOUR")).replace("TOUR", r"\S*\.conf")
            self.daemon.wait_for(line, after=mark)

    def shell(self, command, said):
        """Runs a command with the built ackd and ackc in PATH, and checks its output."""
        for name in ("ackd", "ackc"):
            command = re.sub(rf"^{name}\b", str(build_directory() / "src" / name / name), command)
        if self.daemon:
            command = command.replace("tour.conf", str(self.daemon.config_path))
            for port, listener in (("10081", "ack"), ("10082", "lines"), ("10083", "latin")):
                command = command.replace(port, str(self.daemon.address(listener).port))
        else:
            (self.directory / "tour.conf").write_text(self.config)
        done = subprocess.run(["bash", "-c", command.replace("localhost", "127.0.0.1")],
                              cwd=self.directory, stdin=subprocess.DEVNULL, timeout=SOON,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                              env=environment({"LC_ALL": "C"}))
        lines = done.stdout.decode().splitlines()
        assert len(lines) == len(said), (command, lines)
        for line, shown in zip(lines, said):
            shown = shown.replace("localhost", "127.0.0.1")
            assert re.search(pattern(shown), line), (command, line, shown)


def test_tour_of_the_readme(ackd, tmp_path):
    if not (have("nc") and (build_directory() / "src/ackc/ackc").exists()):
        pytest.skip("the tour needs nc and ackc")
    visitor = Visitor(ackd, tmp_path)
    commands = list(tour())
    assert len(commands) >= 10
    for command, shown in commands:
        visitor.command(command, shown)
    assert visitor.daemon.wait() == 0
