"""Runs the sessions that the manual and the README show: each command must print what is shown there.

A command follows the prompt "$ " (or "# ", which needs root), and its output the command. The commands
run in one bash, except for these:

- "cat FILE" is not run; it makes the file that is shown.
- "ackd ... &" starts a Daemon, and waits until it is ready.
- "kill %N" signals a daemon by its job number; after SIGTERM it waits for the end.

Lines of ackd's log are searched in the log. Only times, ports, the number of a connection and the
number of workers may differ from what is shown. A display that begins with ">>> " is a doctest.
"""

import contextlib
import doctest
import os
import pathlib
import re
import selectors
import shlex
import signal
import subprocess

from harness import SOON, Daemon, build_directory, environment, free_port, wait_until

LOG_LINE = re.compile(r"(error|warning|notice|info) \w+: ")
PORT = re.compile(r"\b(?:700\d|100[89]\d)\b")  # the ports in the texts, all but ackd's default one
FREE_NUMBERS = re.compile(
    r"\d+\.\d+(?=[/ ])|(?<=:)\d{4,5}\b|(?<=connection )\d+|\d+(?= workers)|(?<=time )\d+(?=ms)"
)
# The texts that replace the ones shown where no name server can be reached.
WITHOUT_NAMES = {
    "no such host": "temporary failure of the name look-up",
    "[Errno -2] Name or service not known": "[Errno -3] Temporary failure in name resolution",
}
SIGNALS = {"-USR1": signal.SIGUSR1, "-HUP": signal.SIGHUP}


def pattern(line):
    """Returns a pattern for the line with any times, ports and spacing."""
    parts = []
    for part in re.split(r"(\s+)", FREE_NUMBERS.sub("\0", line.strip())):
        parts.append(r"\s+" if part.isspace() else re.escape(part).replace("\0", r"[\d.]+"))
    return (r"^\s*" + "".join(parts) + r"\s*$").replace("workers", "workers?")


def commands(display):
    """Yields (command, lines shown after it) pairs. All prompts are like the first one."""
    prompt = re.escape(display[:2])
    for command, shown in re.findall(rf"^{prompt}(.*)\n?((?:(?!{prompt}).*\n?)*)", display, re.M):
        yield command, shown.splitlines()


def listening_ports():
    """Returns the TCP ports of this network namespace on which a process listens."""
    found = set()
    for name in "tcp", "tcp6":
        with contextlib.suppress(FileNotFoundError), open(f"/proc/net/{name}", encoding="ascii") as f:
            for line in list(f)[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    found.add(int(fields[1].rsplit(":", 1)[1], 16))
    return found


class Shell:
    """A bash that runs one command after another, without a terminal."""

    def __init__(self, directory):
        programs = [build_directory() / "src" / name for name in ("ackd", "ackc")]
        path = ":".join(map(str, [*programs, "/usr/sbin:/usr/bin:/sbin:/bin"]))
        self.process = subprocess.Popen(
            ["bash", "--norc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, cwd=directory, start_new_session=True,
            env=environment({"PATH": path, "LC_ALL": "C", "RES_OPTIONS": "attempts:1 timeout:1"}))
        os.set_blocking(self.process.stdout.fileno(), False)

    def run(self, command):
        """Returns what the command prints, within SOON."""
        self.process.stdin.write(f"{{ {command}\n}} </dev/null; printf '\\1\\n'\n".encode())
        self.process.stdin.flush()
        said = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not said.endswith(b"\1\n"):
                assert selector.select(SOON), f"{command}: no end after {said[-1000:]!r}"
                more = self.process.stdout.read()
                assert more, f"{command}: the shell ended after {said[-1000:]!r}"
                said += more
        return said[:-2].decode("utf-8", "surrogateescape")

    def close(self):
        """Kills the shell and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SOON)
        self.process.stdin.close()
        self.process.stdout.close()


class Sessions:
    """Runs displays, one after another, in a directory. Use it in a with statement."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.shell = Shell(directory)
        self.ports = {}
        self.daemons = []
        self.jobs = {}  # the daemons that have not been stopped, by their job numbers
        self.n_commands = 0

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.shell.close()
        try:
            for daemon in self.daemons:
                if kind is None:
                    daemon.stop()
        finally:
            for daemon in self.daemons:
                daemon.kill()
                print(daemon.log[-5000:])  # pytest shows it if the test has failed

    def run(self, display):
        """Runs all commands of a display."""
        display = PORT.sub(lambda match: str(self.port(match[0])), display)
        display = display.replace("localhost", "127.0.0.1")  # a minimal system may lack the name
        if display.startswith(">>> "):
            self.doctest(display)
            return
        for command, shown in commands(display):
            self.command(command, shown)
            self.n_commands += 1

    def port(self, shown):
        """Returns the port to use for the one that is shown."""
        if shown not in self.ports:
            self.ports[shown] = free_port()
        return self.ports[shown]

    def doctest(self, display):
        test = doctest.DocTestParser().get_doctest(display + "\n", {}, "manual", None, 0)
        said = []
        doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(
            test, out=said.append)
        assert not said, "".join(said)
        self.n_commands += len(test.examples)

    def command(self, command, shown):
        logged = [line for line in shown if LOG_LINE.match(line)]
        said = [line for line in shown if not LOG_LINE.match(line)]
        marks = [daemon.mark() for daemon in self.daemons]
        words = shlex.split(command)
        if words[0] == "cat" and len(words) == 2:
            (self.directory / words[1]).write_text("\n".join(said) + "\n", encoding="utf-8")
        elif words[0] == "ackd" and words[-1] == "&":
            daemon = Daemon(self.directory, "", arguments=words[1:-1])
            self.daemons.append(daemon)
            self.jobs[max(self.jobs, default=0) + 1] = daemon.start()
            marks.append(0)
        elif words[0] == "kill" and re.fullmatch(r"%\d+", words[-1]):
            self.kill(int(words[-1][1:]), words[1])
        else:
            self.shell_command(command, said)
        for line in logged:
            wait_until(lambda: self.has_logged(pattern(line), marks), line)

    def has_logged(self, line, marks):
        """Returns whether a daemon has logged the line since its mark."""
        return any(re.search(line, found) for daemon, mark in zip(self.daemons, marks)
                   for found in daemon.log.splitlines()[mark:])

    def kill(self, job, option):
        if option in SIGNALS:
            self.jobs[job].signal(SIGNALS[option])
        else:
            self.jobs.pop(job).stop()

    def shell_command(self, command, shown):
        before = listening_ports()
        output = self.shell.run(command)
        lines = output.splitlines()
        assert len(lines) == len(shown), (command, output)
        for line, expected in zip(lines, shown):
            for text, other in WITHOUT_NAMES.items():
                line = line.replace(other, text)
            assert re.search(pattern(expected), line), (command, line, expected)
        if re.fullmatch(r"python3 .* &", command):
            wait_until(lambda: listening_ports() - before, f"{command} to listen")
