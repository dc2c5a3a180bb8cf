"""The compared servers: how each is started, and what it supports."""

import os
import shutil
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

ACKD_MODES = {
    "echo": 'reply = "echo";\nframing = "stream";\n',
    "line-echo": 'reply = "echo";\nframing = "line";\n',
    "ack": 'reply = "ack";\nframing = "line";\n',
    "binary": 'reply = "echo";\nencoding = { charset = "binary"; };\n',
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

    def argv(self, directory, port, mode):
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
                out.write(ACKD_MODES[mode] + 'address = "127.0.0.1";\n' + self.ackd)
            return [*self.program, "-c", conf, "-p", str(port)]
        return [*self.program, str(port), *([self.ack] if mode == "ack" and self.ack else [])]


def find_peers(build):
    """Returns every peer, in the order of the table; missing is set for those that cannot run."""
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
        Peer("ackd_nocheck", "ackd, its UTF-8 check left out", modes=("echo",),
             program=[os.path.join(built, "ackd_nocheck")]),
        Peer("ackd_busy", "ackd, busy_poll = 100 us", modes=("echo",), max_conns=1,
             program=[ackd], ackd='busy_poll = "100us";\n'),
        Peer("uv_careful", "libuv, careful", program=[os.path.join(built, "uv_careful")]),
        Peer("uv_usual", "libuv, as usual (allocate, uv_write)",
             program=[os.path.join(built, "uv_usual")]),
        Peer("uring_echo", "io_uring (multishot, buffer ring)",
             program=[os.path.join(built, "uring_echo")]),
        Peer("go", "Go (goroutines; bufio)", modes=both, program=[os.path.join(built, "go_net")]),
        Peer("go_usual", "Go, as usual (Scanner, a write a line)", modes=("ack",), ack="scan",
             program=[os.path.join(built, "go_net")]),
        Peer("node", "node (net; readline)", modes=both,
             program=["node", os.path.join(source, "node_net.js")]),
        Peer("node_usual", "node, as usual (readline, a write a line)", modes=("ack",),
             ack="ack-usual", program=["node", os.path.join(source, "node_net.js")]),
        Peer("asyncio", "Python asyncio (streams)", modes=both,
             program=[python, os.path.join(source, "asyncio_streams.py")]),
        Peer("asyncio_protocol", "Python asyncio (Protocol)", modes=both,
             program=[python, os.path.join(source, "asyncio_protocol.py")]),
        Peer("selectors", "Python selectors",
             program=[python, os.path.join(source, "selectors_echo.py")]),
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
