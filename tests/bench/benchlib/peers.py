"""The compared servers: how each is started, and what it supports."""

import os
import shutil
import subprocess
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

ACKD_MODES = {
    "echo": 'reply = "echo";\nframing = "stream";\n',
    "line-echo": 'reply = "echo";\nframing = "line";\n',
    "ack": 'reply = "ack";\nframing = "line";\n',
    "binary": 'reply = "echo";\nencoding = { charset = "binary"; };\n',
    "tls": 'reply = "echo";\nframing = "stream";\ntls = { certificate = "DIR/tls.crt"; '
           'key = "DIR/tls.key"; };\n',
    **{f"{framing}-{reply}": f'reply = "{reply}";\nframing = "{framing}";\nframe = {frame};\n'
       for framing, frame in (("delimited", "{ start = [0x0b]; end = [0x1c, 0x0d]; }"),
                              ("length", "{ length_bytes = 2; }"))
       for reply in ("echo", "ack")},
}

XINETD_CONF = """defaults
{{
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
}}
service bench-echo
{{
    type = INTERNAL UNLISTED
    id = echo-stream
    socket_type = stream
    protocol = tcp
    wait = no
    user = root
    bind = 127.0.0.1
    port = {port}
}}
"""

# Programs that end TLS and pass the bytes on to a server. Each gets one thread for its connections.
NGINX_CONF = """worker_processes 1;
daemon off;
error_log stderr crit;
pid {conf}.pid;
include /etc/nginx/modules-enabled/*-stream.conf;
events {{ worker_connections 65536; }}
worker_rlimit_nofile 140000;
stream {{
    server {{
        listen 127.0.0.1:{port} ssl backlog=4096;
        ssl_certificate {directory}/tls.crt;
        ssl_certificate_key {directory}/tls.key;
        ssl_protocols TLSv1.3;
        proxy_pass 127.0.0.1:{backend};
        proxy_timeout 1h;
    }}
}}
"""

HAPROXY_CONF = """global
    nbthread 1
    maxconn 5000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
listen bench
    bind 127.0.0.1:{port} ssl crt {directory}/tls.pem
    server echo 127.0.0.1:{backend}
"""

STUNNEL_CONF = """foreground = yes
pid =
debug = 0
syslog = no
[bench]
accept = 127.0.0.1:{port}
connect = 127.0.0.1:{backend}
cert = {directory}/tls.pem
"""


def make_certificate(directory):
    """Makes the certificate of all TLS servers, unless it exists: ECDSA with P-256."""
    path = os.path.join(directory, "tls")
    if os.path.exists(path + ".pem"):
        return
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-keyout", path + ".key",
                    "-out", path + ".crt", "-subj", "/CN=localhost", "-days", "30"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path + ".pem", "w", encoding="ascii") as out:
        for part in (".crt", ".key"):
            with open(path + part, encoding="ascii") as file:
                out.write(file.read())


@dataclass
class Peer:
    name: str
    title: str
    modes: tuple = ("echo", "line-echo", "binary")  # replies that it can give
    max_conns: int = 100000
    program: list = field(default_factory=list)  # started with the port, and for acks:
    ack: str = "ack"
    missing: str = ""  # why it cannot run on this machine
    ackd: str = ""  # for ackd: more configuration
    conf: str = ""  # the text of a configuration file, which is the last argument
    backend: str = ""  # the server that it passes the bytes on to

    def argv(self, directory, port, mode, backend=0):
        if mode in ("tls", "handshake"):
            make_certificate(directory)
        if self.conf:
            conf = os.path.join(directory, f"{self.name}-{port}.conf")
            with open(conf, "w", encoding="ascii") as out:
                out.write(self.conf.format(conf=conf, port=port, directory=directory,
                                           backend=backend))
            return [*self.program, conf]
        if self.name == "xinetd":
            conf = os.path.join(directory, f"xinetd-{port}.conf")
            with open(conf, "w", encoding="ascii") as out:
                out.write(XINETD_CONF.format(port=port).replace("bench-echo", "echo"))
            return [*self.program, "-dontfork", "-f", conf, "-pidfile", conf + ".pid"]
        if self.name == "socat":
            return [*self.program, f"TCP-LISTEN:{port},bind=127.0.0.1,backlog=4096,reuseaddr,"
                    "nodelay,fork", "PIPE"]
        if self.name.startswith("ackd"):
            conf = os.path.join(directory, f"{self.name}-{mode}.conf")
            with open(conf, "w", encoding="ascii") as out:
                out.write(ACKD_MODES[mode].replace("DIR", directory) + 'address = "127.0.0.1";\n' + self.ackd)
            return [*self.program, "-c", conf, "-p", str(port)]
        if self.name == "s_server":
            return [*self.program, "-accept", f"127.0.0.1:{port}", "-cert", "tls.crt", "-key",
                    "tls.key"]
        if mode == "tls":
            return [*self.program, str(port), "tls", directory]
        return [*self.program, str(port), *([self.ack] if mode == "ack" and self.ack else [])]


def find_peers(build, other=None):
    """Returns every peer, in the order of the table; missing is set for those that cannot run. @other
    is the path of another build of ackd, or None."""
    built = os.path.join(build, "tests", "bench")
    source = os.path.join(HERE, "peers")
    both = ("echo", "line-echo", "binary", "ack")
    ackd = os.path.join(build, "src", "ackd", "ackd")
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else "python3"

    peers = [
        Peer("epoll_echo", "raw epoll echo, checks nothing",
             program=[os.path.join(built, "epoll_echo")]),
        Peer("epoll_ack", "raw epoll line ack (memchr, one write)", modes=("ack",),
             ack="", program=[os.path.join(built, "epoll_ack")]),
        Peer("ackd", "ackd", modes=tuple(ACKD_MODES), program=[ackd]),
        *([Peer("ackd_other", f"ackd, {other}", modes=tuple(ACKD_MODES),
                program=[os.path.abspath(other)])] if other else []),
        Peer("ackd_nocheck", "ackd, its UTF-8 check left out", modes=("echo",),
             program=[os.path.join(built, "ackd_nocheck")]),
        Peer("ackd_busy", "ackd, busy_poll = 100 us", modes=("echo",), max_conns=1,
             program=[ackd], ackd='busy_poll = "100us";\n'),
        Peer("uv_careful", "libuv, careful", program=[os.path.join(built, "uv_careful")]),
        Peer("uv_usual", "libuv, as usual (allocate, uv_write)",
             program=[os.path.join(built, "uv_usual")]),
        Peer("uring_echo", "io_uring (multishot, buffer ring)",
             program=[os.path.join(built, "uring_echo")]),
        Peer("go", "Go (goroutines; bufio)", modes=(*both, "tls"), program=[os.path.join(built, "go_net")]),
        Peer("go_usual", "Go, as usual (Scanner, a write a line)", modes=("ack",), ack="scan",
             program=[os.path.join(built, "go_net")]),
        Peer("node", "node (net; readline)", modes=(*both, "tls"),
             program=["node", os.path.join(source, "node_net.js")]),
        Peer("node_usual", "node, as usual (readline, a write a line)", modes=("ack",),
             ack="ack-usual", program=["node", os.path.join(source, "node_net.js")]),
        Peer("asyncio", "Python asyncio (streams)", modes=both,
             program=[python, os.path.join(source, "asyncio_streams.py")]),
        Peer("asyncio_protocol", "Python asyncio (Protocol)", modes=both,
             program=[python, os.path.join(source, "asyncio_protocol.py")]),
        Peer("selectors", "Python selectors",
             program=[python, os.path.join(source, "selectors_echo.py")]),
        Peer("nginx", "nginx, ends TLS (its backend not counted)", modes=("tls",),
             program=["nginx", "-e", "stderr", "-c"], conf=NGINX_CONF, backend="epoll_echo"),
        Peer("haproxy", "HAProxy, ends TLS (its backend not counted)", modes=("tls",),
             program=["haproxy", "-db", "-q", "-f"], conf=HAPROXY_CONF, backend="epoll_echo"),
        Peer("stunnel", "stunnel (its backend not counted)", modes=("tls",),
             program=["stunnel"], conf=STUNNEL_CONF, backend="epoll_echo"),
        Peer("s_server", "openssl s_server", modes=("handshake",),
             program=["openssl", "s_server", "-quiet", "-www", "-num_tickets", "0"]),
        Peer("xinetd", "xinetd's echo (a process each)", max_conns=50, program=["xinetd"]),
        Peer("socat", "socat (a process each)", max_conns=50, program=["socat"]),
    ]
    for peer in peers:
        program = peer.program[0]
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        found = os.access(program, os.X_OK) if "/" in program else shutil.which(program, path=path)
        if not found:
            peer.missing = f"{os.path.basename(program)} is not installed"
        elif isinstance(found, str):
            peer.program[0] = found
    return peers
