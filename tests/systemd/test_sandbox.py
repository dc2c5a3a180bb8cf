"""Each sandbox setting forbids something, and nothing that ackd needs."""

import collections
import json
import os
import pathlib
import re
import resource
import shutil
import signal

import pytest

import probes
from service import (CONFIG, PORT, SOON, Unit, connect, exchange, receive, run, serves, systemctl,
                     wait_until)

PROBES = "/run/ackd-probes.py"  # where every sandbox sees it

# probe: fails with the setting; needs: properties that the probe needs to succeed without it.
Line = collections.namedtuple("Line", "probe needs", defaults=[()])
FORBID = "SystemCallFilter=~ptrace"
LINES = {
    "DynamicUser=yes": Line("be_root"),
    "CapabilityBoundingSet=": Line("have_capabilities"),
    "NoNewPrivileges=yes": Line("gain_privileges"),
    "LockPersonality=yes": Line("change_personality"),
    "MemoryDenyWriteExecute=yes": Line("run_what_it_wrote"),
    "RestrictRealtime=yes": Line("take_the_processor"),
    "RestrictSUIDSGID=yes": Line("make_setuid_file"),
    "RestrictNamespaces=yes": Line("make_namespace"),
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX": Line("use_netlink"),
    "SystemCallArchitectures=native": Line("use_32_bit_calls"),
    "SystemCallFilter=@system-service": Line("debug"),
    "SystemCallFilter=~@privileged @resources": Line("change_priority"),
    "SystemCallErrorNumber=EPERM": Line("die_of_a_forbidden_call", (FORBID,)),
    "UMask=0077": Line("make_files_for_others"),
    "KeyringMode=private": Line("share_keys", ("KeyringMode=inherit",)),
    "DevicePolicy=closed": Line("open_device"),
    "PrivateDevices=yes": Line("see_device"),
    "PrivateMounts=yes": Line("mount_for_others"),
    "PrivateTmp=yes": Line("see_tmp"),
    "PrivateUsers=yes": Line("know_other_users"),
    "ProtectSystem=strict": Line("write_to_the_system"),
    "ReadOnlyPaths=/run": Line("write_to_run"),
    "ProtectHome=yes": Line("see_home"),
    "ProtectProc=invisible": Line("see_processes_of_others", ("User=nobody",)),
    "ProcSubset=pid": Line("see_the_kernel"),
    "ProtectClock=yes": Line("touch_the_clock"),
    "ProtectHostname=yes": Line("set_hostname"),
    "ProtectControlGroups=yes": Line("make_cgroup"),
    "ProtectKernelLogs=yes": Line("read_the_kernel_log"),
    "ProtectKernelModules=yes": Line("see_modules"),
    "ProtectKernelTunables=yes": Line("write_to_the_kernel"),
    "RemoveIPC=yes": Line(None),  # tested separately below
}
# Probes that may fail on this machine without any sandbox, so that the setting cannot be tested.
MAY_LACK = {
    "use_32_bit_calls": "this machine runs no 32-bit code",
    "take_the_processor": "this machine does not permit real-time scheduling",
    "share_keys": "there are no keyrings here",
}


@pytest.fixture(scope="module", autouse=True)
def marks():
    """The paths that probes look for."""
    shutil.copy(probes.__file__, PROBES)
    os.chmod(PROBES, 0o755)
    for name, path in probes.MARKED.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == "device":
            os.mknod(path, 0o20666, os.makedev(1, 11))  # the log of the kernel
        else:
            path.touch()
    yield
    for path in probes.MARKED.values():
        path.unlink()


def could(*names, properties=()):
    """Returns {probe: whether it succeeded} in a service with these properties."""
    arguments = [x for text in properties for x in ("-p", text)]
    said = run("systemd-run", "--quiet", "--wait", "--pipe", "--collect", *arguments,
               "/usr/bin/python3", "-B", PROBES, *names)
    return json.loads(said.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def in_the_open():
    """The results of all probes without a sandbox."""
    return could()


def test_every_sandbox_setting_is_tested(unit):
    """Each sandbox setting of the unit is in the table of this file."""
    text = unit.cat().stdout
    sandbox = text[text.index("DynamicUser="):text.index("[Install]")]
    assert [x for x in sandbox.splitlines() if x and x[0] != "#"] == list(LINES)


@pytest.mark.parametrize("line", [line for line in LINES if LINES[line].probe])
def test_sandbox_setting(line, in_the_open):
    """The probe fails with this setting alone, and succeeds without it."""
    probe, needs = LINES[line]
    without = could(probe, properties=needs) if needs else in_the_open
    if not without[probe] and probe in MAY_LACK:
        pytest.skip(MAY_LACK[probe])
    assert without[probe]
    assert not could(probe, properties=(*needs, line))[probe]


def test_remove_ipc():
    """System V shared memory of a service is removed when it ends."""
    segments = pathlib.Path("/proc/sysvipc/shm")
    for properties, remains in (("RemoveIPC=no",), 1), (("RemoveIPC=yes",), 0):
        options = [x for text in ("User=games", *properties) for x in ("-p", text)]
        run("systemd-run", "--quiet", "--wait", *options, "/usr/bin/ipcmk", "--shmem", "4096")
        wait_until(lambda: len(segments.read_text().splitlines()) - 1 == remains,
                   f"{remains} segments to remain after {properties}")
        run("ipcrm", "--all=shm")


def test_all_probes_fail_in_the_unit(unit, journal):
    """All probes fail in the unit, and ackd serves."""
    unit.drop_in(f"[Service]\nExecStartPre=/usr/bin/python3 -B {PROBES}\n")
    unit.start()
    said, = [m for m in journal.messages() if m.startswith("{")]
    assert json.loads(said) == dict.fromkeys(probes.PROBES, False)
    assert serves()


def status(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_privileges_of_the_daemon(unit):
    """Checks the status of the daemon in /proc."""
    unit.start()
    now = status(unit.pid)
    for field in "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
        assert int(now[field], 16) == 0
    assert (now["NoNewPrivs"], now["Seccomp"], now["Umask"]) == ("1", "2", "0077")
    users = {int(x) for x in now["Uid"].split() + now["Gid"].split()}
    assert len(users) == 1 and 61184 <= users.pop() <= 65519  # systemd's range of dynamic users
    # systemd sets the requested limit, or its own if that is lower.
    most = min(524288, resource.prlimit(1, resource.RLIMIT_NOFILE)[1])
    assert resource.prlimit(unit.pid, resource.RLIMIT_NOFILE) == (most, most)
    for namespace in "mnt", "user", "uts":
        inside, outside = (os.readlink(f"/proc/{pid}/ns/{namespace}") for pid in (unit.pid, 1))
        assert inside != outside


def test_mounts_of_the_daemon(unit):
    unit.start()
    mounts = {}
    for line in pathlib.Path(f"/proc/{unit.pid}/mountinfo").read_text().splitlines():
        fields, _, what = line.partition(" - ")
        mounts[fields.split()[4]] = fields.split()[5].split(",")
        if what.startswith("proc "):
            assert {"hidepid=invisible", "subset=pid"} <= set(what.split()[2].split(","))
    assert "ro" in mounts["/"]
    for path in "/home", "/root":
        assert "ro" in mounts[path] and not os.listdir(f"/proc/{unit.pid}/root{path}")
    for path in "/tmp", "/var/tmp":
        assert not os.listdir(f"/proc/{unit.pid}/root{path}")
    # Mounts below /tmp and /var/tmp, such as a checkout, are hidden: the directories are empty. Since
    # version 254, systemd lets each service watch the memory pressure of its own group.
    writable = {path for path, options in mounts.items() if "rw" in options
                and not path.startswith(("/dev/", "/proc", "/tmp/", "/var/tmp/"))
                and not path.endswith("/system.slice/ackd.service/memory.pressure")}
    assert writable == {"/run/private/ackd", "/tmp", "/var/tmp"}


COURSE = """framing = "line"; workers = 2; log: { level = "debug"; };
metrics: { port = 9100; };
listeners = ( { name = "tcp"; address = "*"; },
              { name = "local"; path = "/run/ackd/socket"; } );
"""


def test_daemon_makes_no_forbidden_call(unit):
    """Exercises ackd while a forbidden system call is fatal."""
    CONFIG.write_text(COURSE)
    unit.drop_in("[Service]\nSystemCallErrorNumber=kill\n")
    unit.start()
    with connect() as kept:
        kept.sendall(b"a\nbad \xff\n")
        expected = b"Got a\nNAK 6 invalid start byte\n"
        assert receive(kept, len(expected)) == expected
        for address in ("127.0.0.1", PORT), ("::1", PORT), "/run/ackd/socket":
            assert exchange(b"x\n", address) == b"Got x\n"
        CONFIG.write_text(COURSE.replace("name = \"local\"; path = \"/run/ackd/socket\"",
                                         "name = \"more\"; address = \"localhost\"; port = 7001"))
        unit.reload()
        assert exchange(b"x\n", ("::1", 7001)) == b"Got x\n"
        unit.kill("--signal=USR1")
        run("ackc", "load", "-c", "200", "-d", "1", "-q", "--lines", "localhost", timeout=60)
        metrics = exchange(b"GET /metrics HTTP/1.0\r\n\r\n", ("127.0.0.1", 9100))
        assert b"ackd_open_connections" in metrics
        unit.restart()
        kept.sendall(b"b\n")
        assert receive(kept, 6) == b"Got b\n"
        assert unit.restarts == 0
        unit.stop()
        assert kept.recv(1) == b""
    assert unit.show("Result") == "success"


def test_forbidden_call_is_detected(unit):
    """The test above can fail: a forbidden call ends the unit, which is detected."""
    unit.drop_in("[Service]\nSystemCallErrorNumber=kill\n"
                 "ExecStartPre=/usr/bin/python3 -c 'import os; os.setpriority(0, 0, 1)'\n")
    assert unit.start(check=False, timeout=SOON).returncode != 0
    assert unit.show("Result") in ("signal", "core-dump")
    shown = systemctl("show", "-P", "ExecStartPre", "ackd.service").stdout
    assert f"status={signal.SIGSYS.value}" in shown


def exposure(name):
    shown = run("systemd-analyze", "security", name, "--no-pager").stdout
    return float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)[1])


def test_exposure_rating(unit):
    unit.start()
    assert exposure("ackd.service") <= 1.1


def test_exposure_rating_without_network(unit):
    """With the sockets of the socket unit, the service needs no network access."""
    unit.drop_in("[Service]\nPrivateNetwork=yes\nIPAddressDeny=any\n"
                 "RestrictAddressFamilies=\nRestrictAddressFamilies=AF_UNIX\n")
    Unit("ackd.socket").start()
    assert serves()
    assert exposure("ackd.service") <= 0.4
