"""Python's selectors: the epoll loop written in Python."""

import selectors
import socket
import sys

READ_BYTES = 64 * 1024

selector = selectors.DefaultSelector()
unsent = {}


def accept(listener):
    try:
        conn, _ = listener.accept()
    except BlockingIOError:
        return
    conn.setblocking(False)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(conn, selectors.EVENT_READ, serve)


def drop(conn):
    unsent.pop(conn, None)
    selector.unregister(conn)
    conn.close()


def serve(conn):
    data = unsent.pop(conn, None)
    resumed = data is not None
    try:
        if not resumed:
            data = conn.recv(READ_BYTES)
            if not data:
                drop(conn)
                return
        sent = conn.send(data)
    except BlockingIOError:
        sent = 0
    except OSError:
        drop(conn)
        return
    if data and sent < len(data):
        unsent[conn] = data[sent:]
        if not resumed:
            selector.modify(conn, selectors.EVENT_WRITE, serve)
    elif resumed:
        selector.modify(conn, selectors.EVENT_READ, serve)


def main(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ, accept)
    while True:
        for key, _ in selector.select():
            key.data(key.fileobj)


main(int(sys.argv[1]))
