"""Code, --help and manual pages agree. (tests/unit/check_settings.py checks the settings.)"""

import pathlib
import re

import pytest

from displays import displays, plain
from harness import ROOT, build_directory, have, run_ackd
from sessions import Sessions
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
    unset = {"path", "mode", "metrics.address", "metrics.port", "reply_text", "nak_text", "quit"}
    unset.add("limits.max_line")  # an older name
    unset |= {name for name in settings() if name.startswith(("frame.", "tls."))}
    assert set(settings()) - unset <= set(dumped)


def options_in(text):
    return set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text))


def test_help_and_manual_have_the_same_options():
    every = {option for pair in OPTIONS for option in pair if option}
    said = run_ackd("--help").stdout
    items = re.findall(r"^ {2,6}(?:-\w, )?--[\w-]+", said, re.M)
    assert options_in(" ".join(items)) == every
    listed = page("ackd.8").split(".Bl -tag", 1)[1].split(".El", 1)[0]
    documented = re.findall(r"Fl (\S+)", "\n".join(re.findall(r"^\.It (Fl .*)$", listed, re.M)))
    assert {"-" + plain(option) for option in documented} == every
    for option in every:  # the code accepts them: this ends with --version, or as an error
        values = {"-c": "x", "--config": "x", "-p": "1", "--port": "1", "--set": "port=1"}
        done = run_ackd(option, *([values[option]] if option in values else []), "--version")
        assert done.returncode == 0, done


def test_manual_has_every_exit_status():
    status = page("ackd.8").split(".Sh EXIT STATUS", 1)[1].split(".Sh", 1)[0]
    assert re.findall(r"^\.It (\d+)$", status, re.M) == ["0", "64", "69", "71", "78"]


def test_manual_has_every_signal():
    signals = page("ackd.8").split(".Sh SIGNALS", 1)[1].split(".Sh", 1)[0]
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        assert name in signals


@pytest.mark.parametrize("name", ["README.md", "ackd.8", "ackd-protocol.7", "ackd-course.7"])
def test_shown_sessions(directory, name):
    """The commands print the output that is shown, with ackd and ackc in PATH."""
    if not (have("bash", "nc") and (build_directory() / "src/ackc/ackc").exists()):
        pytest.skip("the sessions need bash, nc and ackc")
    (pathlib.Path(directory) / "ackd.conf.new").write_text("port = 1;\n")
    with Sessions(directory) as sessions:
        for display in sessions_of(name):
            sessions.run(display)
        assert sessions.n_commands >= 2


def sessions_of(name):
    """Returns the displays that begin with a prompt."""
    if name == "README.md":
        text = (ROOT / name).read_text(encoding="utf-8")
        return ["".join(re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S))]
    return [display for display in displays(name) if re.match(r"\$ |>>> ", display)]


@pytest.mark.usefixtures("own_network")
def test_sessions_that_change_routes(directory):
    """The sessions of ackd-course(7) that change routes."""
    with Sessions(directory) as sessions:
        for display in displays("ackd-course.7", "ERRORS OF CONNECT"):
            if re.match(r"# |\$ cat", display):
                sessions.run(display)
        assert sessions.n_commands >= 8
