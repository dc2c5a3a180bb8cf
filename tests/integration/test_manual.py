"""Code, --help and manual pages agree. (tests/unit/check_settings.py checks the settings.)"""

import re
import signal
import subprocess

import pytest

from harness import ROOT, Daemon, ackd_binary, free_port, have, run_ackd
from test_command import OPTIONS

def settings():
    """Returns the settings from the table in the code."""
    table = (ROOT / "src/ackd/config/settings.def").read_text()
    table = re.sub(r"/\*.*?\*/", "", table, flags=re.S)
    found = re.findall(r'SETTING\(\s*(\w+),\s*"([\w.]+)"', table)
    assert len(found) > 25
    return [name for _, name in found]


def page(name):
    return (ROOT / "man" / name).read_text()


def plain(mdoc):
    """Replaces the escapes of mdoc."""
    for escape, text in ((r"\e", "\\"), (r"\-", "-"), (r"\(dq", '"'), (r"\&", "")):
        mdoc = mdoc.replace(escape, text)
    return mdoc


def settings_of_libconfig(text):
    """Returns {dotted name: value} of top-level settings and groups with one setting per line."""
    found = {}
    group = None
    for line in text.splitlines():
        line = re.sub(r"\s#.*", "", line).strip()
        opened = re.fullmatch(r"(\w+) = \{", line)
        setting = re.fullmatch(r"(\w+) = (.*);", line)
        if opened:
            group = opened[1]
        elif line == "};":
            group = None
        elif setting:
            found[f"{group}.{setting[1]}" if group else setting[1]] = setting[2]
    return found


def test_dump_has_every_setting(config_file):
    dumped = settings_of_libconfig(run_ackd("-T", "-c", config_file("")).stdout)
    assert set(dumped) <= set(settings())
    unset = {"path", "mode", "metrics.address", "metrics.port"}
    assert set(settings()) - unset <= set(dumped)


def options_in(text):
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))


def test_help_and_manual_have_the_same_options():
    every = {option for pair in OPTIONS.items() for option in pair if option}
    said = run_ackd("--help").stdout
    items = re.findall(r"^ {2,6}(?:-\w, )?--[\w-]+", said, re.M)
    assert options_in(" ".join(items)) == every
    listed = page("ackd.8").split(".Bl -tag", 1)[1].split(".El", 1)[0]
    documented = re.findall(r"Fl (\S+)", "\n".join(re.findall(r"^\.It (Fl .*)$", listed, re.M)))
    assert {"-" + plain(option) for option in documented} == every
    for option in every:  # the code accepts them: this ends with --version, or as an error
        value = {"-c": ["x"], "--config": ["x"], "-p": ["1"], "--port": ["1"]}.get(option, [])
        done = run_ackd(option, *value, "--version")
        assert done.returncode == 0, done


def test_manual_has_every_exit_status():
    status = page("ackd.8").split(".Sh EXIT STATUS", 1)[1].split(".Sh", 1)[0]
    assert re.findall(r"^\.It (\d+)$", status, re.M) == ["0", "64", "69", "71", "78"]


def test_manual_has_every_signal():
    signals = page("ackd.8").split(".Sh SIGNALS", 1)[1].split(".Sh", 1)[0]
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        assert name in signals


def literal_examples(name):
    """Returns the literal displays in EXAMPLES of a page."""
    examples = page(name).split(".Sh EXAMPLES", 1)[1].split(".Sh ", 1)[0]
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", examples, re.M | re.S)
    found += re.findall(r"^\.Dl (.*\n)", examples, re.M)
    return [plain(text) for text in found]


def commands_of(example):
    """Returns (command, expected output) pairs of a session with "$ " prompts."""
    sessions = re.split(r"^\$ ", example, flags=re.M)[1:]
    return [tuple(session.split("\n", 1)) for session in sessions]


@pytest.mark.parametrize("name", ["ackd.8", "ackd-protocol.7"])
def test_command_examples_of_the_manual(directory, name):
    """The commands of a page print the output shown there, with ackd found in PATH."""
    if not have("nc"):
        pytest.skip("no nc")
    path = f"{ackd_binary().parent}:/usr/sbin:/usr/bin:/sbin:/bin"
    port = str(free_port())  # the default port may be in use on this machine
    ran = 0
    for example in (text.replace("7007", port) for text in literal_examples(name)):
        background = []
        try:
            for command, output in commands_of(example):
                if command.rstrip().endswith("&"):
                    arguments = command.rstrip(" &").split()
                    assert arguments.pop(0) == "ackd"
                    daemon = Daemon(directory, "", arguments=arguments).start()
                    background.append(daemon)
                    continue
                if "ackd.conf.new" in command:
                    with open(f"{directory}/ackd.conf.new", "w") as f:
                        f.write("port = 1;\n")
                done = subprocess.run(
                    ["sh", "-c", command],
                    capture_output=True,
                    text=True,
                    timeout=30,
                    cwd=directory,
                    env={"PATH": path},
                    check=False,
                )
                assert done.returncode == 0, (command, done)
                if output.strip():
                    assert done.stdout.rstrip("\n") == output.rstrip("\n"), command
                ran += 1
        finally:
            for daemon in background:
                daemon.signal(signal.SIGTERM)
                daemon.wait()
    assert ran
