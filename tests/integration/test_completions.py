"""Completions of command lines by bash, fish and zsh themselves."""

import os
import pty
import re
import select
import subprocess
import time

import pytest

from harness import ROOT, SOON, environment, have

COMPLETIONS = ROOT / "packaging/completions"

# Takes the index of all completions from a file, which ZSH_INDEX makes. ^T lists the choices, then
# prints a marker at their end.
ZSH_INDEX = f'fpath=({COMPLETIONS}/zsh $fpath) && autoload -U compinit && compinit -u -d "$ZSH_DUMP"'
ZSH_SETUP = f"""
PS1= fpath=({COMPLETIONS}/zsh $fpath)
autoload -U compinit && compinit -C -d "$ZSH_DUMP"
tell() {{ zle list-choices; zle -R; zle -M "ENDS"HERE }}
zle -N tell; bindkey '^T' tell
print "ENDS"HERE
"""

COMMANDS = {"send", "ping", "load"}
OF_ALL = {"--timeout", "--proxy", "--frame", "--json", "--help"}
OF_SEND = {"--linger", "--whole"}
OF_PING = {"--interval", "--new-connection", "--no-reconnect", "--plugin", "--warning", "--size"}
OF_LOAD = {"--depth", "--file", "--rate", "--size"}

# (line, expected offers, offers that must be missing)
CASES = [
    ("ackc ", COMMANDS, {"some.conf"}),
    ("ackc --", OF_ALL | OF_SEND, OF_PING | OF_LOAD),
    ("ackc send --", OF_ALL | OF_SEND, OF_PING | OF_LOAD),
    ("ackc ping --", OF_ALL | OF_PING, (OF_LOAD | OF_SEND) - OF_PING),
    ("ackc load --", OF_ALL | OF_LOAD, (OF_PING | OF_SEND) - OF_LOAD),
    ("ackc ping localhost --", OF_ALL | OF_PING, OF_LOAD - OF_PING),
    # A command is the first word.
    ("ackc -4 ", set(), COMMANDS),
    ("ackc load ", set(), COMMANDS),
    # The text follows the host.
    ("ackc localhost --", set(), OF_ALL),
    ("ackc localhost 10080 ping --", set(), OF_ALL | OF_PING),
    ("ackc send -w 3 localhost --", set(), OF_ALL),
    ("ackc -w 3 --", OF_ALL - {"--timeout"}, set()),
    ("ackc load --count=5 --", OF_LOAD, set()),
    ("ackc load --file s", {"some.conf"}, OF_ALL),
    ("ackc load --file=s", {"some.conf"}, OF_ALL),
    ("ackc load --frame ", {"delimited:", "length:", "fixed:"}, {"some.conf"}),
    ("ackc load --depth ", set(), {"some.conf"} | OF_ALL),
    (
        "ackd --",
        {"--config", "--port", "--set", "--check-config", "--dump-config", "--reload"},
        OF_ALL - {"--help"},
    ),
    ("ackd --reload --", {"--config"}, {"--port", "--set", "--check-config", "--dump-config"}),
    ("ackd -c s", {"some.conf"}, set()),
    ("ackd --config=s", {"some.conf"}, set()),
    ("ackd --set l", {"limits.max_memory", "log.format"}, {"some.conf", "--config", "port"}),
    ("ackd --set=log.f", {"log.format"}, {"some.conf", "--config", "log.level"}),
    ("ackd --set log.format=", set(), {"some.conf", "--config", "log.level"}),
    ("ackd --set log.format=j", set(), {"some.conf", "--config", "log.level"}),
    ("ackd --set log.format=json --", {"--set", "--port"}, {"some.conf", "log.level"}),
    ("ackd -p ", set(), {"some.conf", "--config"}),
]


def run(directory, *command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=True,
                          cwd=directory, env=environment({"HOME": directory}))
    assert done.stderr == ""
    return done.stdout


def fish(directory, line):
    said = run(directory, "fish", "-N", "-c",
               f"source {COMPLETIONS}/fish/{line.split()[0]}.fish; complete -C '{line}'")
    return " ".join(offer.split("\t")[0] for offer in said.splitlines())


def bash(directory, line):
    words = re.findall(r"=|[^= ]+|(?<= )$", line)  # as bash splits it
    return run(directory, "bash", "--norc", "-c",
               f'. {COMPLETIONS}/bash/{words[0]}; COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); '
               f'_{words[0]}; echo "${{COMPREPLY[@]}}"', "bash", *words)


def read_to_the_end(terminal):
    said = b""
    deadline = time.monotonic() + SOON
    while b"ENDSHERE" not in said:
        assert select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0], said
        said += os.read(terminal, 65536)
    return said.decode()


def zsh(directory, line):
    """Runs zsh on a terminal, which its completion requires."""
    if not os.path.exists(os.environ["ZSH_DUMP"]):
        run(directory, "zsh", "-f", "-c", ZSH_INDEX)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(directory)
        os.execvpe("zsh", ["zsh", "-f", "-i"],
                   environment({"HOME": directory, "TERM": "dumb", "COLUMNS": "200"}))
    try:
        os.write(terminal, ZSH_SETUP.encode())
        read_to_the_end(terminal)
        os.write(terminal, line.encode() + b"\x14")
        return read_to_the_end(terminal).replace(line, "")
    finally:
        os.close(terminal)
        os.waitpid(pid, 0)


@pytest.fixture(scope="module", autouse=True)
def zsh_dump(tmp_path_factory):
    """The runs of zsh share an index, because making it takes 0.3 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZSH_DUMP", str(tmp_path_factory.mktemp("zsh") / "dump"))
        yield


@pytest.mark.parametrize("shell", [bash, fish, zsh], ids=lambda f: f.__name__)
@pytest.mark.parametrize("line, wanted, unwanted", CASES, ids=[case[0] for case in CASES])
def test_completions_are_offered(directory, shell, line, wanted, unwanted):
    if not have(shell.__name__):
        pytest.skip(f"{shell.__name__} is not installed")
    with open(f"{directory}/some.conf", "w", encoding="ascii"):
        pass
    # fish offers "--file=some.conf"; other shells offer the part after "=", or both forms.
    offered = {word.rstrip("=").rpartition("=")[2] for word in shell(directory, line).split()}
    assert wanted <= offered
    assert not unwanted & offered
