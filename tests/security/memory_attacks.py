#!/usr/bin/python3
"""Clients that make a server use memory, and a backend that lets them. A process of its own, so that a test's clients are timed right.

    memory_attacks.py KIND PORT COUNT    keeps COUNT connections of that kind open until standard input ends
    memory_attacks.py backend PORT       answers "ok"; reads no body of /upload; /large is 2 MiB

Kinds: heads (15,000 bytes of a head that never ends), uploads (128 KiB of a body that nobody reads), readers (large answers that nobody reads),
http2_readers (a hundred of them a connection), tls (handshake, then silence). A connection that the server ends is opened again.
When it ends, one line of JSON: connections opened, and how many of them the server ended.
"""

import asyncio
import errno
import json
import os
import pathlib
import selectors
import socket
import ssl
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

BLOCK = b"x" * 65_536
HEAD = b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"a" * 15_000
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\n" + BLOCK * 2
READER = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n"
UNDER_WAY = 64  # connections at a time that are not open yet: a backlog is no place to wait in


def http2_opening(streams=100):
    import h2_floods as h2
    window = h2.struct.pack(">HI", 4, 1 << 20)
    return (h2.PREFACE + h2.frame(h2.SETTINGS, payload=window) + h2.frame(h2.SETTINGS, h2.ACK) +
            h2.frame(h2.WINDOW_UPDATE, payload=h2.struct.pack(">I", 1 << 30)) +
            b"".join(h2.headers(2 * i + 1, h2.request(path=b"/large")) for i in range(streams)))


class Attack:
    def __init__(self, kind, port, count):
        self.kind, self.port, self.count = kind, port, count
        self.selector = selectors.DefaultSelector()
        self.opening = {"heads": HEAD, "uploads": UPLOAD, "readers": READER, "tls": b""}.get(kind) or (
            http2_opening() if kind == "http2_readers" else b"")
        self.live, self.not_open, self.opened, self.ended = 0, 0, 0, 0
        self.parked = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def open_one(self):
        sock = socket.socket()
        if "readers" in self.kind:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        if sock.connect_ex(("127.0.0.1", self.port)) not in (0, errno.EINPROGRESS):
            sock.close()
            return
        self.live += 1
        self.not_open += 1
        self.selector.register(sock, selectors.EVENT_WRITE, {"step": self.connected})

    def drop(self, sock, state):
        self.selector.unregister(sock)
        sock.close()
        self.live -= 1
        self.not_open -= state["step"] != self.hold
        self.ended += 1

    def connected(self, sock, state):
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
            return self.drop(sock, state)
        self.opened += 1
        if self.kind == "tls":
            self.selector.unregister(sock)
            try:
                sock = self.context.wrap_socket(sock, do_handshake_on_connect=False, server_hostname="t")
            except OSError:
                sock.close()
                self.live, self.not_open, self.ended = self.live - 1, self.not_open - 1, self.ended + 1
                return None
            state["step"] = self.shake
            self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, state)
            return self.shake(sock, state)
        state["left"], state["step"] = self.opening, self.write
        return self.write(sock, state)

    def shake(self, sock, state):
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            return self.selector.modify(sock, selectors.EVENT_READ, state)
        except ssl.SSLWantWriteError:
            return self.selector.modify(sock, selectors.EVENT_WRITE, state)
        except OSError:
            return self.drop(sock, state)
        return self.settle(sock, state)

    def write(self, sock, state):
        try:
            state["left"] = state["left"][sock.send(state["left"]):]
        except BlockingIOError:
            return None
        except OSError:
            return self.drop(sock, state)
        if state["left"]:
            return None
        return self.settle(sock, state)

    def settle(self, sock, state):
        self.not_open -= 1
        state["step"] = self.hold
        if "readers" in self.kind:  # would be reported readable for ever: looked at now and then instead
            self.selector.unregister(sock)
            self.parked.append(sock)
        else:
            self.selector.modify(sock, selectors.EVENT_READ, state)

    def hold(self, sock, state):
        try:
            if not sock.recv(4096):
                self.drop(sock, state)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except OSError:
            self.drop(sock, state)

    def look_at_parked(self):
        for sock in self.parked[:]:
            if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0:
                self.parked.remove(sock)
                sock.close()
                self.live -= 1
                self.ended += 1

    def run(self):
        looked = 0.0
        self.selector.register(sys.stdin, selectors.EVENT_READ, None)
        while True:
            while self.live < self.count and self.not_open < UNDER_WAY:
                before = self.live
                self.open_one()
                if self.live == before:
                    break
            for key, _ in self.selector.select(0.05):
                if key.data is None:
                    return {"opened": self.opened, "ended": self.ended}
                key.data["step"](key.fileobj, key.data)
            if time.monotonic() - looked > 0.1:
                self.look_at_parked()
                looked = time.monotonic()


async def serve(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1]
            if path == b"/upload":
                await asyncio.sleep(60)
            elif path == b"/large":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BLOCK) * 32))
                for _ in range(32):
                    writer.write(BLOCK)
                    await writer.drain()
            else:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def backend(port):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # inherited by its connections: they are to be full soon
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    listener.bind(("127.0.0.1", port))
    server = await asyncio.start_server(serve, sock=listener, limit=4096, backlog=4096)
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    os._exit(0)  # thousands of connections that wait are not worth an orderly end


if __name__ == "__main__":
    if sys.argv[1] == "backend":
        asyncio.run(backend(int(sys.argv[2])))
    else:
        print(json.dumps(Attack(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])).run()), flush=True)
