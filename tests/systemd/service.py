"""ackd as an installed service: its unit, its configuration, its journal, its clients.

Every wait has a time bound; exceeding it is an error.

Tests may rely on these orders:
- systemd reads notifications as they were sent, all of them before it handles the end of a process, and
  this before a request of systemctl. It runs queued jobs when nothing else waits.
- ackd stores its sockets before READY=1.
- "journalctl --sync" returns when the journal has handled everything that was sent before.

They wait for a state where there is no order:
- Different threads of ackd send notifications, write the log, and answer clients.
- ackd-handover.service may become active after "systemctl start" has returned. In a restart, the end of
  its ExecStop= may come before or after the STOPPING=1 and the end of ackd.
- systemctl status, and journalctl without --sync, may miss lines.
"""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import time

SOON = 30.0
PORT = 10080
CONFIG = pathlib.Path("/etc/ackd.conf")
DROP_INS = pathlib.Path("/run/systemd/system")
EDITED = pathlib.Path("/etc/systemd/system")  # written by systemctl edit


def wait_until(condition, what, timeout=SOON):
    """Waits for condition() to be true; returns its value."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(0.02)


def run(*command, check=True, timeout=SOON, **options):
    """Runs a command to its end, in the C locale; returns a CompletedProcess with text."""
    done = subprocess.run(
        list(map(str, command)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
             "LC_ALL": "C", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""},
        **options,
    )
    assert not check or done.returncode == 0, (command, done.returncode, done.stdout)
    return done


def systemctl(*arguments, **options):
    return run("systemctl", *arguments, **options)


class Unit:
    """A unit and its drop-ins."""

    def __init__(self, name="ackd.service"):
        self.name = name

    def __getattr__(self, verb):
        """unit.start(), unit.restart(check=False), and so on."""
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda *arguments, **options: systemctl(verb.replace("_", "-"), *arguments,
                                                       self.name, **options)

    def show(self, what):
        return systemctl("show", "-P", what, self.name).stdout.strip()

    @property
    def state(self):
        return self.show("ActiveState")

    @property
    def pid(self):
        return int(self.show("MainPID"))

    @property
    def restarts(self):
        return int(self.show("NRestarts"))

    def wait_for_exit_status(self, status):
        """Waits for a start to fail with @status. While the next start runs, systemd shows 0."""
        wait_until(lambda: self.show("ExecMainStatus") == str(status), f"exit status {status}")

    def drop_in(self, text, name="test.conf"):
        directory = DROP_INS / (self.name + ".d")
        directory.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        systemctl("daemon-reload")

    def wait_for_state(self, state, timeout=SOON):
        wait_until(lambda: self.state == state, f"{self.name} to be {state}", timeout)


class Journal:
    """The journal entries since this object was created."""

    def __init__(self):
        shown = run("journalctl", "--sync")
        shown = run("journalctl", "-n", "1", "--show-cursor", "-o", "cat")
        self.cursor = shown.stdout.rsplit("-- cursor: ", 1)[1].strip()

    def all_entries(self):
        """Returns the entries of all services, as dictionaries."""
        run("journalctl", "--sync")
        # Matches combined with --after-cursor lose the first entry, or all, if the cursor's own entry
        # does not match.
        shown = run("journalctl", "--after-cursor", self.cursor, "-o", "json", "--all")
        return [json.loads(line) for line in shown.stdout.splitlines()]

    def messages(self):
        """Returns all lines of ackd.service, also of its commands, and of systemd about it."""
        return [e["MESSAGE"] for e in self.all_entries()
                if "ackd.service" in (e.get("_SYSTEMD_UNIT"), e.get("UNIT"))]

    def entries(self, **fields):
        """Returns ackd's structured entries that have these fields."""
        return [e for e in self.all_entries() if "ACKD_EVENT" in e and fields.items() <= e.items()]

    def events(self, event, **fields):
        return self.entries(ACKD_EVENT=event, **fields)

    def wait_for(self, event, condition=lambda entry: True, timeout=SOON):
        def found():
            return next(filter(condition, self.events(event)), None)

        return wait_until(found, f"an entry of the kind {event}", timeout)

    def explained(self):
        """Returns the output of journalctl -x."""
        run("journalctl", "--sync")
        return run("journalctl", "--after-cursor", self.cursor, "-x").stdout


def connect(address=("127.0.0.1", PORT)):
    if isinstance(address, str):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        s.settimeout(SOON)
        s.connect(address)
        return s
    return socket.create_connection(address, timeout=SOON)


def receive(s, n):
    """Returns @n bytes, or fewer if the data ends before."""
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            break
        data += more
    return data


def receive_all(s):
    with contextlib.closing(s):
        data = b""
        while more := s.recv(65536):
            data += more
        return data


def exchange(text=b"hello", address=("127.0.0.1", PORT)):
    """Sends @text, half-closes, and returns the whole answer."""
    s = connect(address)
    s.sendall(text)
    s.shutdown(socket.SHUT_WR)
    return receive_all(s)


def serves(address=("127.0.0.1", PORT)):
    try:
        return exchange(b"up?", address) == b"Got up?"
    except OSError:
        return False


def revert(names, config):
    """Restores the state after the installation: stops the units, removes drop-ins, restores @config."""
    for name in names:
        systemctl("stop", "--no-block", name, check=False)
        systemctl("kill", "--signal=KILL", name, check=False)  # it may drain for hours
        systemctl("stop", name, check=False, timeout=60)
        systemctl("reset-failed", name, check=False)
        systemctl("disable", "--no-reload", name, check=False)
        for directory in DROP_INS, EDITED:
            shutil.rmtree(directory / (name + ".d"), ignore_errors=True)
    CONFIG.write_bytes(config)
    systemctl("daemon-reload")
