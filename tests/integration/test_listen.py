"""Addresses: which are bound, and the errors if that fails."""

import ctypes
import os
import pathlib
import re
import socket
import stat
import subprocess

import pytest

from harness import Address, ackd_binary, converse, environment, free_port, have, is_portable, run_ackd
from prom import is_built

IN_ATTRIB = 0x4


def refusal(config_file, text, **options):
    """Returns the stderr of an ackd that must not start, because its address is unavailable."""
    done = run_ackd("-c", config_file(text), **options)
    assert done.returncode == 69, done
    return done.stderr


def is_without_systemd():
    return "systemd none" in run_ackd("--version").stdout


# ---- addresses ----


def test_port_chosen_by_the_kernel_is_logged(ackd):
    daemon = ackd('address = "127.0.0.1";')
    address = daemon.address("ackd")
    assert address.family == socket.AF_INET and address.port > 0
    assert daemon.exchange(b"x") == b"Got x"


def test_localhost_is_both_loopbacks_with_one_port(ackd):
    daemon = ackd()
    addresses = daemon.addresses()
    assert sorted(a.sockaddr[0] for a in addresses) == ["127.0.0.1", "::1"]
    assert len({a.port for a in addresses}) == 1
    for address in addresses:
        with address.connect() as s:
            assert converse(s, b"x") == b"Got x"


def test_asterisk_binds_every_address(ackd):
    daemon = ackd('address = "*";')
    assert sorted(a.sockaddr[0] for a in daemon.addresses()) == ["0.0.0.0", "::"]
    port = daemon.address().port
    for host in ("127.0.0.1", "127.1.2.3", "::1"):
        with socket.create_connection((host, port), timeout=10) as s:
            assert converse(s, b"x") == b"Got x"


def test_default_address_is_not_external(ackd):
    daemon = ackd()
    assert {a.sockaddr[0] for a in daemon.addresses()} <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("address", [
    "192.0.2.1",
    "ff02::1",
    "fe80::1",  # without a zone
])
def test_address_that_the_host_lacks_is_an_error(config_file, address):
    said = refusal(config_file, f'address = "{address}"; port = 0;')
    assert address in said and "address not available" in said.lower()


def test_freebind_binds_a_missing_address(ackd, config_file):
    config = 'address = "192.0.2.1"; freebind = true;'
    if is_portable():
        assert "this system does not support freebind" in refusal(config_file, config)
        return
    daemon = ackd(config)
    assert daemon.address().sockaddr[0] == "192.0.2.1"


def test_name_without_address_is_an_error(config_file):
    said = refusal(config_file, 'address = "no-such-host.invalid";')
    assert "no-such-host.invalid" in said and "resolve" in said


def test_port_option_overrides_the_top_level_port(ackd):
    port = free_port()
    daemon = ackd('port = 1; address = "127.0.0.1";', arguments=["-p", port])
    assert daemon.address().port == port


@pytest.mark.parametrize("workers", [1, 3])
def test_several_listeners_with_different_replies(ackd, directory, workers):
    daemon = ackd(
        f"""
        workers = {workers};
        ack_suffix = "!";
        listeners = (
            {{ name = "ack"; }},
            {{ name = "echo"; address = "127.0.0.1"; reply = "echo"; }},
            {{ name = "lines"; address = "::1"; framing = "line"; ack_prefix = "${{listener}}: "; }},
            {{ name = "local"; path = "{directory}/s"; greeting = "hello\\n"; }},
            {{ name = "sink"; address = "127.0.0.2"; reply = "discard"; }}
        );
        """
    )
    assert daemon.exchange(b"x", "ack") == b"Got x!"
    assert daemon.exchange(b"x", "echo") == b"x"
    assert daemon.exchange(b"x\ny\n", "lines") == b"lines: x!\nlines: y!\n"
    assert daemon.exchange(b"x", "local") == b"hello\nGot x!"
    assert daemon.exchange(b"x", "sink") == b""
    assert len(daemon.addresses()) == 6


# ---- addresses in use ----


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_port_in_use_by_another_program_is_an_error(config_file, host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        for address in (host, "localhost"):
            said = refusal(config_file, f'address = "{address}"; port = {port};')
            shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            assert shown in said and "address already in use" in said.lower()


def test_port_in_use_with_so_reuseport_is_an_error(config_file):
    """SO_REUSEPORT of the other program does not permit sharing."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = refusal(config_file, f'address = "127.0.0.1"; port = {other.getsockname()[1]};')
        assert "address already in use" in said.lower()


@pytest.mark.parametrize("workers", [1, 2])
def test_port_in_use_by_another_ackd_is_an_error(ackd, config_file, workers):
    first = ackd(f"workers = {workers};")
    port = first.address().port
    said = refusal(config_file, f"workers = {workers}; port = {port};")
    assert f":{port}" in said and "address already in use" in said.lower()
    for _ in range(20):
        assert first.exchange(b"mine") == b"Got mine"


def test_port_of_a_drained_daemon_is_free_immediately(ackd):
    for _ in range(5):
        daemon = ackd('address = "127.0.0.1";')
        port = daemon.address().port
        with daemon.connect() as s:
            s.sendall(b"\xff")  # the daemon closes first, so it has the TIME_WAIT
            assert s.recv(100)
        daemon.stop()
        again = ackd('address = "127.0.0.1";', arguments=["-p", port])
        assert again.exchange(b"x") == b"Got x"
        again.stop()


def test_two_listeners_on_one_port_are_rejected(config_file):
    """The check of the configuration detects it."""
    done = run_ackd(
        "-c",
        config_file(
            'address = "127.0.0.1"; port = 10080;\n'
            'listeners = ({ name = "first"; },\n{ name = "second"; });'
        ),
    )
    assert done.returncode == 78
    said = r': listeners\[1\]\S*: .*10080 on "127.0.0.1", which overlaps with "127.0.0.1" of listener 0'
    assert re.search(said, done.stderr), done


def test_same_port_under_different_names_is_rejected(config_file, faults):
    """Binding detects it."""
    faults.lookup_finds = 1
    port = free_port("127.1.0.1")
    said = refusal(
        config_file,
        f'port = {port}; listeners = ({{ name = "first"; address = "127.1.0.1"; }},'
        ' { name = "second"; address = "a.example"; });',
        env=environment(faults.environment()),
    )
    assert (
        f'listener "second": cannot listen on 127.1.0.1:{port}: address already in use by listener'
        f' "first" on 127.1.0.1:{port}\n'
    ) in said


def test_everything_is_closed_when_one_listener_fails(config_file):
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        refusal(
            config_file,
            f'listeners = ({{ name = "a"; address = "127.0.0.1"; port = {port}; }},'
            f' {{ name = "b"; address = "127.0.0.1"; port = {other.getsockname()[1]}; }});',
        )
    with pytest.raises(ConnectionRefusedError):
        Address(f"127.0.0.1:{port}").connect()


# ---- UNIX sockets ----


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mode, expected", [(None, 0o660), ("0600", 0o600), ("0666", 0o666)])
def test_mode_of_a_unix_socket_is_set(ackd, directory, mode, expected):
    config = f'path = "{directory}/s";' + (f' mode = "{mode}";' if mode else "")
    old = os.umask(0o077)  # must not matter
    try:
        daemon = ackd(config)
    finally:
        os.umask(old)
    assert mode_of(f"{directory}/s") == expected
    assert stat.S_ISSOCK(os.stat(f"{directory}/s").st_mode)
    assert daemon.address().text == f"unix:{directory}/s"
    assert daemon.exchange("да".encode()) == "Got да".encode()


def test_unix_socket_is_created_with_its_mode(ackd, directory):
    """The file has its mode from its creation; no later call changes it by name."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(directory), IN_ATTRIB) >= 0
    ackd(f'path = "{directory}/s"; mode = "0666";')
    assert mode_of(f"{directory}/s") == 0o666
    with pytest.raises(BlockingIOError):
        os.read(watch, 4096)
    os.close(watch)


def test_file_of_a_unix_socket_is_removed_at_exit(ackd, directory):
    daemon = ackd(f'path = "{directory}/s";')
    daemon.stop()
    assert not os.path.lexists(f"{directory}/s")


def test_stale_unix_socket_is_replaced(ackd, directory):
    path = f"{directory}/s"
    daemon = ackd(f'path = "{path}";')
    daemon.kill()
    assert os.path.lexists(path)
    again = ackd(f'path = "{path}";')
    assert again.exchange(b"x") == b"Got x"


def test_path_in_use_by_a_daemon_is_an_error(ackd, directory, config_file):
    path = f"{directory}/s"
    first = ackd(f'path = "{path}";')
    said = refusal(config_file, f'path = "{path}";')
    assert path in said and "address already in use" in said.lower()
    assert first.exchange(b"x") == b"Got x"


@pytest.mark.parametrize("backlog", [None, 0])
def test_path_in_use_by_another_program_is_an_error(config_file, directory, backlog):
    """The program notices nothing. It may not listen yet, and on BSD a full queue would look alike."""
    path = f"{directory}/s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        if backlog is not None:
            other.listen(backlog)
        other.setblocking(False)
        said = refusal(config_file, f'path = "{path}";')
        assert path in said and "address already in use" in said.lower()
        assert os.path.lexists(path)
        with pytest.raises(BlockingIOError if backlog is not None else OSError):
            other.accept()


def test_path_of_another_file_is_an_error(config_file, directory):
    path = f"{directory}/file"
    with open(path, "w") as f:
        f.write("precious")
    said = refusal(config_file, f'path = "{path}";')
    assert path in said and "not a socket" in said
    with open(path) as f:
        assert f.read() == "precious"


@pytest.mark.skipif(is_portable(), reason="the portable files know no abstract names")
def test_abstract_socket(ackd, directory, config_file):
    name = f"@{directory}"
    daemon = ackd(f'path = "{name}";')
    assert daemon.address().text == f"unix:{name}"
    assert daemon.exchange(b"x") == b"Got x"
    assert not os.path.lexists(daemon.directory / name)
    said = refusal(config_file, f'path = "{name}";')
    assert f"unix:{name}: address already in use" in said
    done = run_ackd("-t", "-c", config_file('path = "@name"; mode = "0600";'))
    assert done.returncode == 78 and "mode: cannot be combined with an abstract socket" in done.stderr
    daemon.write_config(f'''reply = "echo"; listeners = ( {{ name = "ackd"; path = "{name}"; }},
                                                         {{ name = "b"; path = "{name}2"; }} );''')
    assert daemon.reload()
    for address in daemon.addresses():
        address.connect().close()
    assert daemon.exchange(b"x") == b"x"


@pytest.mark.skipif(not is_portable(), reason="abstract names are known")
def test_abstract_socket_is_an_error_elsewhere(config_file, directory):
    done = run_ackd("-t", "-c", config_file('path = "@name";'))
    assert done.returncode == 78 and 'found the string "@name"' in done.stderr and "in Linux" in done.stderr


def test_two_spellings_of_one_path_are_rejected(config_file, directory):
    """The second listener must not replace the socket of the first."""
    directory = pathlib.Path(directory)
    (directory / "link").symlink_to(directory)
    for other in (f"{directory}/./s", f"{directory}/link/s"):
        error = refusal(config_file, f'''listeners = ( {{ name = "a"; path = "{directory}/s"; }},
                                                    {{ name = "b"; path = "{other}"; }} );''')
        assert f'"b": cannot listen on unix:{other}: address already in use by listener "a"' in error
        assert not (directory / "s").exists()


def test_reload_with_another_spelling_keeps_the_socket(ackd, directory):
    path = pathlib.Path(directory, "s")
    daemon = ackd(f'path = "{path}";')
    inode = path.stat().st_ino
    daemon.write_config(f'path = "{directory}/./s";')
    assert daemon.reload()
    assert path.stat().st_ino == inode
    assert daemon.exchange(b"x") == b"Got x"


def test_path_in_a_missing_directory_is_an_error(config_file, directory):
    said = refusal(config_file, f'path = "{directory}/no/s";')
    assert f"{directory}/no/s" in said and "no such file or directory" in said.lower()


def test_replaced_file_is_not_removed(ackd, directory):
    path = f"{directory}/s"
    daemon = ackd(f'path = "{path}"; mode = "0666";')
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        os.chmod(path, 0o600)
        assert daemon.reload()
        assert mode_of(path) == 0o600
        daemon.stop()
        assert os.path.lexists(path)


# ---- advice ----

FREEBIND = "; freebind = true listens on an address that the host does not have yet"


@pytest.mark.parametrize("address, advice", [
    ("192.0.2.1", FREEBIND),
    ("2001:db8::1", FREEBIND),
    ("fe80::1", "; a link-local address needs its zone, as in fe80::1%eth0"),
])
def test_freebind_is_advised_for_a_missing_address(config_file, address, advice):
    said = refusal(config_file, f'address = "{address}"; port = 7001;')
    assert f": address not available{advice}\n" in said


def test_freebind_is_not_advised_if_it_is_set(config_file):
    said = refusal(config_file, 'address = "fe80::1"; port = 7001; freebind = true;')
    assert "fe80::1" in said and FREEBIND not in said


def test_capability_is_advised_for_a_privileged_port(directory):
    """ackd runs as another user, in a network namespace where that port is privileged."""
    if os.geteuid() != 0 or not have("unshare", "setpriv"):
        pytest.skip("no root, unshare or setpriv")
    os.chmod(directory, 0o755)
    with open(f"{directory}/ackd.conf", "w") as f:
        f.write('address = "127.0.0.1"; port = 7;')
    done = subprocess.run(
        ["unshare", "--net", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
         "--bounding-set=-all", str(ackd_binary()), "-c", f"{directory}/ackd.conf"],
        capture_output=True, text=True, timeout=30, check=False, env=environment(),
    )
    if "cannot read" in done.stderr or done.returncode in (126, 127):
        pytest.skip("another user cannot run this build")
    assert done.returncode == 69, done
    assert (
        "127.0.0.1:7: permission denied; a port below 1024 needs CAP_NET_BIND_SERVICE, or a socket"
        ' unit: see "A port below 1024" in ackd(8)\n'
    ) in done.stderr


def test_runtime_directory_is_advised_for_a_missing_directory(config_file, directory):
    env = environment({"RUNTIME_DIRECTORY": "/run/ackd"})
    text = f'path = "{directory}/no/s";'
    assert (
        "no such file or directory; the service can create sockets in /run/ackd, and a socket unit"
        ' can anywhere: see "A UNIX socket that every user reaches" in ackd(8)\n'
    ) in refusal(config_file, text, env=env)
    assert "/run/ackd" not in refusal(config_file, text)


def test_path_in_a_private_directory_is_a_warning(ackd, directory):
    """The mount has a name as those of PrivateTmp=yes."""
    if os.geteuid() != 0 or not have("unshare", "mount") or is_without_systemd():
        pytest.skip("no root, unshare, mount or libsystemd")
    private, seen = f"{directory}/systemd-private-1-ackd.service-x/tmp", f"{directory}/tmp"
    os.makedirs(private)
    os.makedirs(seen)
    mount = f'mount --bind "{private}" "{seen}" && exec "$@"'
    wrapper = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    warned = "cannot be reached from outside of the service"
    daemon = ackd(f'path = "{seen}/s";', wrapper=wrapper)
    daemon.wait_for(f"unix:{seen}/s {warned}")
    daemon = ackd(f'path = "{directory}/s";', wrapper=wrapper)
    assert warned not in daemon.log


# ---- names ----


@pytest.mark.parametrize("n", [64, 65, 70])
def test_first_64_addresses_of_a_name_are_bound(ackd, faults, n):
    """A notice reports the number of addresses that are not bound."""
    faults.lookup_finds = n
    daemon = ackd('address = "many.example"; workers = 1;', env=faults.environment())
    assert [a.sockaddr[0] for a in daemon.addresses()] == [f"127.1.0.{i}" for i in range(1, 65)]
    said = f'"many.example" has {n} addresses; listening on the first 64, {n - 64} left out'
    assert (said in daemon.log) == (n > 64)


def test_ipv4_mapped_address_equals_the_ipv4_address(ackd):
    daemon = ackd('address = "::ffff:127.0.0.1";')
    assert daemon.address().sockaddr[0] == "127.0.0.1"
    assert daemon.exchange(b"x") == b"Got x"


def test_metrics_at_the_address_of_a_listener_are_rejected(config_file):
    """The check detects it for every spelling of the address."""
    if not is_built(config_file):
        pytest.skip("this ackd has no metrics")
    for listener, metrics, clash in (
        ("localhost", "127.0.0.1", True),
        ("::ffff:127.0.0.1", "localhost", True),
        ("127.0.0.1", "*", True),
        ("127.0.0.2", "localhost", False),
        ("127.0.0.1", "::", False),
    ):
        text = (
            f'address = "{listener}"; port = 10090;\n'
            f'metrics = {{ address = "{metrics}";\nport = 10090; }};'
        )
        done = run_ackd("-t", "-c", config_file(text))
        assert done.returncode == (78 if clash else 0), (listener, metrics, done)
        said = (
            f':3: metrics.port: found port 10090 on "{metrics}", which overlaps with'
            f' "{listener}"'
        )
        assert (said in done.stderr) == clash, done


# ---- without IPv6 ----


def in_namespace(*command):
    """Runs a command in a separate network namespace without IPv6."""
    return [
        "unshare",
        "--net",
        "sh",
        "-c",
        "ip link set lo up && sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && "
        'if [ "$#" -gt 0 ]; then exec "$@"; fi',
        "sh",
        *command,
    ]


def without_ipv6():
    if not have("unshare", "ip", "sysctl", "nsenter"):
        pytest.skip("no unshare, ip, sysctl or nsenter")
    tried = subprocess.run(in_namespace(), capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no network namespace without IPv6: {tried.stderr.strip()}")


@pytest.mark.parametrize("address", ["localhost", "*"])
def test_missing_ipv6_is_skipped(ackd, address):
    without_ipv6()
    daemon = ackd(f'address = "{address}";', wrapper=in_namespace())
    if address == "localhost":  # "::" can still be bound
        assert [a.sockaddr[0] for a in daemon.addresses()] == ["127.0.0.1"]
        daemon.wait_for(r"not listening on \[::1\]\S*: address not available")
    client = (
        "import socket, sys; s = socket.create_connection(('127.0.0.1', int(sys.argv[1])), 10);"
        "s.sendall(b'x'); s.shutdown(1); sys.stdout.write(s.recv(100).decode())"
    )
    done = subprocess.run(
        ["nsenter", "--net", "-t", str(daemon.pid), "/usr/bin/python3", "-c", client]
        + [str(daemon.address().port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.stdout == "Got x", done


def test_ipv6_address_without_ipv6_is_an_error(config_file):
    without_ipv6()
    done = subprocess.run(
        in_namespace(ackd_binary(), "-c", config_file('address = "::1"; port = 0;')),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 69
    assert "[::1]" in done.stderr


# ---- backlog and workers ----


def test_backlog_is_set(ackd):
    """The backlog of the sockets is the configured one."""
    daemon = ackd('address = "127.0.0.1"; backlog = 17; workers = 1;')
    sockets = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=False)
    if sockets.returncode != 0:
        pytest.skip("no ss")
    line = next(l for l in sockets.stdout.splitlines() if f":{daemon.address().port} " in l)
    assert re.split(r"\s+", line)[2] == "17"


def test_workers_are_threads_and_each_connection_is_served(ackd):
    daemon = ackd("workers = 3;")
    clients = [daemon.connect() for _ in range(60)]
    for s in clients:
        s.sendall(b"x")
    for s in clients:
        assert converse(s, b"") == b"Got x"
        s.close()
    assert len(os.listdir(f"/proc/{daemon.pid}/task")) >= 4
