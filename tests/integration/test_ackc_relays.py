"""ackc send through real relays that do not support half-close: no reply may be lost.

Each relay closes both directions when the client half-closes, so a reply that arrives later is lost.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import ackc_peers
from ackc_peers import ackc
from harness import SOON, environment, free_port, have, spawn, wait_until, within
from manager import PASS

peer = ackc_peers.peer

STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
SOCKET_PROXYD = "/lib/systemd/systemd-socket-proxyd"

NGINX = """daemon off; master_process off; pid {directory}/pid; error_log stderr;
load_module {module};
events {{ worker_connections 64; }}
stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{server_port}; }} }}
"""


class Relay:
    """A relay in front of a server on 127.0.0.1; start_NAME() returns its port."""

    def __init__(self, directory):
        self.directory = directory
        self.process = None

    def _run(self, *command, env=None, **options):
        # A separate process group, because children of ncat outlive it.
        self.process = spawn(command, stdin=subprocess.DEVNULL, env=environment(env),
                             start_new_session=True, **options)

    def start_nginx(self, server_port):
        if not have("nginx") or not os.path.exists(STREAM_MODULE):
            pytest.skip("nginx with its stream module (libnginx-mod-stream) is not installed")
        port = free_port()
        config = pathlib.Path(self.directory, "nginx.conf")
        config.write_text(NGINX.format(directory=self.directory, module=STREAM_MODULE, port=port,
                                       server_port=server_port))
        self._run("nginx", "-e", "stderr", "-p", self.directory, "-c", config)
        wait_until(lambda: self._listens(port), "nginx")
        return port

    def start_socket_proxyd(self, server_port):
        if not os.path.exists(SOCKET_PROXYD):
            pytest.skip("systemd-socket-proxyd is not installed")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            fd = listener.fileno()
            self._run(sys.executable, "-c", PASS, str(fd), SOCKET_PROXYD, f"127.0.0.1:{server_port}",
                      env={"LISTEN_FDS": "1"}, pass_fds=[fd])
            return listener.getsockname()[1]

    def start_ncat(self, server_port):
        ncat = shutil.which("ncat")
        if not ncat:
            pytest.skip("ncat is not installed")
        port = free_port()
        self._run(ncat, "-l", "-k", "127.0.0.1", str(port), "-c",
                  f"exec {ncat} 127.0.0.1 {server_port}")
        wait_until(lambda: self._listens(port), "ncat")
        return port

    def _listens(self, port):
        assert self.process.poll() is None
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", port)) == 0

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(SOON)


@pytest.fixture(params=["nginx", "socket_proxyd", "ncat"])
def relayed(request, directory):
    """relayed(port) is the port of a relay in front of a server's port."""
    relay = Relay(directory)
    yield getattr(relay, f"start_{request.param}")
    relay.stop()


def is_ncat(relayed):
    return relayed.__name__ == "start_ncat"


def linger_of(relayed):
    """Returns the linger time for a relay.

    ncat starts two processes per connection, and ends neither when the server closes. With other
    relays, the server's close ends ackc before the linger time.
    """
    return min(within(4), SOON / 2) if is_ncat(relayed) else SOON


def answer_and_close(n, delay=0.0):
    """A server that echoes the first @n bytes after a delay, and closes."""
    def handle(s):
        while n > handle.returned and (data := s.recv(65536)):
            time.sleep(delay)
            s.sendall(data)
            handle.returned += len(data)

    handle.returned = 0
    return handle


def test_no_reply_is_lost(peer, relayed):
    handler = answer_and_close(7, delay=0.1)
    port = relayed(peer(handler).port)
    for i in range(1 if is_ncat(relayed) else 5):
        handler.returned = 0
        done = ackc("--linger", linger_of(relayed), "127.0.0.1", port, f"text {i}")
        assert (done.status, done.out, done.err) == (0, f"text {i}\n", ""), done


def test_file_is_echoed_completely(peer, relayed):
    # ncat and its child deadlock if much more data is in flight both ways.
    data = os.urandom(100_000 if is_ncat(relayed) else 5_000_000)
    port = relayed(peer(answer_and_close(len(data))).port)
    done = ackc("--linger", linger_of(relayed), "127.0.0.1", port, data=data)
    assert (done.status, done.raw == data, done.err) == (0, True, "")


def test_lost_reply_is_reported(peer, relayed):
    """A half-close before the reply loses the reply, which must be an error."""
    port = relayed(peer(answer_and_close(5, delay=1)).port)
    done = ackc("--linger", "0", "127.0.0.1", port, "text")
    assert (done.status, done.out) == (1, "")
    assert re.match(f"ackc: 127.0.0.1:{port}: (no reply: .*5 bytes sent|connection reset)", done.err)
