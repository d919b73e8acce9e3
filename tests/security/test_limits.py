"""Sizes, counts and time: oversize requests, slow and silent peers, slow readers, and what is left for a good client."""

import contextlib
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import Client, PeerTest, can_connect, free_port, variants, wait_until

TCP_REPAIR = 19


class Sizes(PeerTest):
    changes = {"listeners": {"web": {"limits": {"max_head_bytes": "8KiB", "max_headers": 50, "max_body_bytes": "64KiB"},
                                     "head_timeout": "2s", "body_idle_timeout": "2s"}}}

    @variants(
        ("fields", b"".join(b"X-%d: y\r\n" % i for i in range(50))),
        ("fields_many", b"".join(b"a:\r\n" for i in range(1500))),
        ("fields_one_byte", b"a:\r\n" * 50),
        ("cookies", b"Cookie: a=b\r\n" * 200),
        ("one_value", b"X: " + b"y" * 8192 + b"\r\n"),
        ("one_value_huge", b"X: " + b"y" * 1000000 + b"\r\n"),
        ("sum", b"".join(b"X-%d: %s\r\n" % (i, b"y" * 300) for i in range(40))),
        ("never_ending_value", b"X: " + b"y" * 20000),
        ("never_ending_name", b"X" * 20000),
    )
    def test_head_431(self, headers):
        self.refused(b"GET / HTTP/1.1\r\nHost: t\r\n" + headers + b"\r\n", 431)

    @variants(("long", 9000), ("longer", 70000), ("huge", 3000000))
    def test_target_414(self, size):
        self.refused(b"GET /" + b"a" * size + b" HTTP/1.1\r\nHost: t\r\n\r\n", 414)

    @variants(("query", b"GET /?" + b"a" * 20000), ("no_blank", b"GET /" + b"a" * 20000), ("absolute", b"GET http://t/" + b"a" * 20000))
    def test_line_without_end(self, raw):
        self.refused(raw, 414)

    def test_method_without_end(self):
        self.refused(b"A" * 20000, 400, 414, 501)

    def test_largest_head_that_is_taken(self):
        padding = 8 * 1024 - len(b"GET / HTTP/1.1\r\nHost: t\r\nX: \r\n\r\n")
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"y" * padding + b"\r\n\r\n")
        self.assertEqual(len(request.get("X")), padding)
        self.refused(b"GET / HTTP/1.1\r\nHost: t\r\nX: " + b"y" * (padding + 1) + b"\r\n\r\n", 431)

    def test_most_fields_that_are_taken(self):
        self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 49 + b"\r\n")

    def test_body_413_by_its_length(self):
        self.refused(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 65537\r\n\r\n", 413)

    def test_body_413_when_expected(self):
        self.refused(b"POST / HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413)

    def test_body_413_in_chunks(self):
        client = self.connect().send(b"POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" +
                                     b"1000\r\n" + b"x" * 4096 + b"\r\n")
        sender = threading.Thread(target=lambda: client.send((b"1000\r\n" + b"x" * 4096 + b"\r\n") * 30 + b"0\r\n\r\n"))
        sender.start()
        answer = client.response()
        sender.join()
        self.assertEqual(answer.status, 413)
        self.assertFalse([r for r in self.backend_got() if r.complete])

    def test_largest_body_that_is_taken(self):
        request, _ = self.forwarded(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536)
        self.assertEqual(len(request.body), 65536)

    def test_memory_stays_flat(self):
        """A thousand refused monsters leave nothing behind."""
        monster = b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 5000
        def storm(count):
            for _ in range(count):
                with Client(self.server.port) as client:
                    client.send(monster)
                    self.assertEqual(client.response().status, 431)
        storm(100)
        before = self.server.rss_kib()
        storm(900)
        self.assertLess(self.server.rss_kib() - before, 4096)


class Connections(PeerTest):
    changes = {"listeners": {"web": {"limits": {"max_connections": 20}, "idle_timeout": "60s", "head_timeout": "10s"}}}

    def test_beyond_the_limit_they_are_refused_and_counted(self):
        held = [self.connect() for _ in range(20)]
        for client in held:
            self.assertEqual(client.get("/held").status, 200)
        try:
            extra = self.connect().send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            self.assertEqual(extra.rest(2.0), (b"", "reset"))
        except ConnectionResetError:
            pass  # so early that connecting already tells
        for client in held:
            self.assertEqual(client.get("/held").status, 200)
        refused = wait_until("the refusal is counted", lambda: sum(
            value for name, value in self.server.metrics().items() if "refused" in name), 3)
        self.assertGreaterEqual(refused, 1)
        held.pop().close()
        wait_until("a place is free again", self._served)

    def _served(self):
        with Client(self.server.port) as client:
            try:
                return client.get("/again").status == 200
            except (OSError, EOFError):
                return False


class Slow(PeerTest):
    """Every wait ends: head, body, answer, idle. Times here are small so that the test is quick."""

    changes = {
        "listeners": {"web": {"head_timeout": "400ms", "body_idle_timeout": "400ms", "idle_timeout": "500ms"}},
        "pools": {"web": {"timeouts": {"per_try": "2s", "total": "3s", "idle": "400ms"}}},
    }
    SOON = 2.0  # s: more than any time-out above, with room for a busy machine

    def ends(self, client, seconds=SOON):
        begun = time.monotonic()
        data, end = client.rest(seconds)
        self.assertIn(end, ("closed", "reset"), f"still open after {seconds} s: {data!r}")
        return data, time.monotonic() - begun

    def test_silent_connection(self):
        data, took = self.ends(self.connect())
        self.assertGreater(took, 0.2)
        self.assertNotIn(b"200 OK", data)

    @variants(("in_the_line", b"GET / HT"), ("in_a_field", b"GET / HTTP/1.1\r\nHost: t\r\nX: y"),
              ("before_the_empty_line", b"GET / HTTP/1.1\r\nHost: t\r\n"))
    def test_half_a_head(self, raw):
        data, _ = self.ends(self.connect().send(raw))
        self.assertTrue(data.startswith(b"HTTP/1.1 408 "), data)
        self.assertEqual(self.backend_got(), [])

    def test_a_byte_at_a_time(self):
        """The clock runs from the first byte: bytes that trickle do not buy time."""
        client = self.connect()
        begun = time.monotonic()
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: t\r\n" + b"X: y\r\n" * 100:
                client.sock.sendall(bytes([byte]))
                time.sleep(0.03)
                if time.monotonic() - begun > self.SOON:
                    self.fail("still taken")
        except OSError:
            pass
        self.assertEqual(self.backend_got(), [])

    @variants(("length", b"Content-Length: 100\r\n", b"abc"), ("chunked", b"Transfer-Encoding: chunked\r\n", b"5\r\nab"),
              ("nothing", b"Content-Length: 100\r\n", b""))
    def test_stalled_body(self, header, body):
        data, _ = self.ends(self.connect().send(b"POST / HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n" + body))
        self.assertTrue(data.startswith(b"HTTP/1.1 408 "), data)
        self.assertFalse([r for r in self.backend_got() if r.complete])

    def test_reader_that_does_not_read(self):
        def flood(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1000):
                connection.send(b"x" * 100000)
            return True
        self.backend.on("/large", flood)
        client = self.connect(receive_buffer=4096).send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        line = self.server.log_line(lambda each: each["path"] == "/large")
        self.assertEqual(line["cause"], "client_timeout")
        data, end = client.rest(3.0)
        self.assertEqual(end, "reset")
        self.assertLess(len(data), 20_000_000)
        self.good_client_is_served()

    def test_idle_between_requests(self):
        client = self.connect()
        self.assertEqual(client.get("/x").status, 200)
        data, _ = self.ends(client)
        self.assertEqual(data, b"")

    def test_half_closed_client_is_answered(self):
        """A client that has shut its sending side still gets the answer to what it sent."""
        client = self.connect().send(b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n")
        client.half_close()
        self.assertEqual(client.response().body, b"GET /x")
        self.assertEqual(self.ends(client)[0], b"")

    def test_half_closed_in_the_head(self):
        client = self.connect().send(b"GET /x HTTP/1.1\r\nHost:")
        client.half_close()
        self.ends(client)
        self.assertEqual(self.backend_got(), [])

    def test_half_closed_in_the_body(self):
        client = self.connect().send(b"POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nab")
        client.half_close()
        self.ends(client)
        self.assertFalse([r for r in self.backend_got() if r.complete])

    def test_descriptors_come_back_from_vanished_clients(self):
        """Clients that vanish without a word (TCP_REPAIR closes without FIN): idle, in a head, in a body, reading."""
        before = self.server.descriptors_open()
        clients = [Client(self.server.port) for _ in range(80)]
        for index, client in enumerate(clients):
            client.send((b"", b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nab",
                         b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n")[index % 4])
        wait_until("they are all taken", lambda: self.server.descriptors_open() >= before + 80)
        for client in clients:
            try:
                client.sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            except PermissionError:
                self.skipTest("needs root to vanish")
            client.close()
        wait_until("descriptors are back", lambda: self.server.descriptors_open() <= before + 25, 4)
        self.good_client_is_served()


class FiveHundredSlowClients(PeerTest):
    """Slow clients cost a place, not time: a good client beside 500 of them keeps its p99."""

    changes = {
        "listeners": {"web": {"head_timeout": "4s", "body_idle_timeout": "4s", "idle_timeout": "4s"}},
        "pools": {"web": {"timeouts": {"per_try": "30s", "total": "30s", "idle": "30s"}}},
    }
    KINDS = [b"", b"GET / HTTP/1.1\r\nHost: t\r\nX", b"POST /slow HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\nx"]
    READS = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n"

    def measure(self, seconds):
        """(p99, worst, count) of a good client's requests, in seconds."""
        times, until = [], time.monotonic() + seconds
        with Client(self.server.port) as good:
            while time.monotonic() < until:
                begun = time.monotonic()
                self.assertEqual(good.get("/good").status, 200)
                times.append(time.monotonic() - begun)
                time.sleep(0.002)
        return sorted(times)[len(times) * 99 // 100], max(times), len(times)

    def test_good_client_beside_them(self):
        def flood(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n")
            for _ in range(100):
                connection.send(b"x" * 100000)
            return True
        self.backend.on("/large", flood)
        alone = self.measure(0.5)[0]  # a busy machine is slow without slow clients, too
        slow = []
        for index in range(500):
            slow.append(Client(self.server.port, receive_buffer=4096))
            slow[-1].send(self.READS if index % 16 == 0 else self.KINDS[index % 3])
        self.addCleanup(lambda: [client.close() for client in slow])
        with Client(self.server.port) as good:
            wait_until("the readers' buffers are full", lambda: self._quick(good, alone), 3, 0.1)
        p99, worst, count = self.measure(1.5)
        print(f"      good client beside 500 slow ones: {count} requests, p99 {p99 * 1000:.1f} ms (alone {alone * 1000:.1f}), "
              f"max {worst * 1000:.1f} ms")
        self.assertLess(p99, max(0.050, 3 * alone))
        for index, client in enumerate(slow):
            if index % 16 != 0:
                client.sock.settimeout(5.0)
                self.assertIn(client.rest()[1], ("closed", "reset"))
        wait_until("readers are cut too", lambda: self.server.descriptors_open() < 60, 10)

    @staticmethod
    def _quick(client, alone):
        begun = time.monotonic()
        return all(client.get("/settle").status == 200 for _ in range(10)) and time.monotonic() - begun < 10 * max(0.005, 2 * alone)


FLOODER = r"""
import os, socket, sys, threading
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(64)
block = os.memfd_create("block")
os.ftruncate(block, 4 << 20)
def serve(sock):
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
    try:
        while True: os.sendfile(sock.fileno(), block, 0, 4 << 20)
    except OSError: pass
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""

DOWNLOADER = r"""
import mmap, os, socket, struct, sys
count = mmap.mmap(os.open(sys.argv[2], os.O_RDWR), 4096)
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(b"GET / HTTP/1.1\r\nHost: large\r\n\r\n")
buffer, total, at = bytearray(1 << 20), 0, 8 * int(sys.argv[3])
while received := sock.recv_into(buffer, 1 << 20, socket.MSG_TRUNC):  # thrown away by the kernel: nobody is faster
    total += received
    count[at:at + 8] = struct.pack("<Q", total)
"""


@contextlib.contextmanager
def at_once():
    """This thread runs as soon as it can: a client that waits for the processor must not count for the server."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        raise unittest.SkipTest("needs root for a real-time priority") from None
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class FastDownloads(PeerTest):
    """Downloads as fast as both ends can share the worker with a good client. Told in bytes, not in time: how much the
    downloads move while one small request is answered (404, by us: nobody else is waited for), whatever else the machine does."""

    STREAMS = 16

    @classmethod
    def configure(cls, config):
        port = free_port()
        cls.flooder = subprocess.Popen([sys.executable, "-c", FLOODER, str(port)], stdin=subprocess.DEVNULL)
        config["pools"]["large"] = dict(config["pools"]["web"], endpoints=[{"name": "large", "address": f"127.0.0.1:{port}"}])
        config["routes"] = [{"name": "large", "match": {"host": "large"}, "pool": "large"},
                            {"name": "small", "match": {"host": "small"}, "pool": "web"}]
        wait_until("the flooder listens", lambda: can_connect(port))

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.flooder.kill()
        cls.flooder.wait()

    def test_small_request_beside_them(self):
        with tempfile.NamedTemporaryFile() as shared:
            shared.truncate(4096)
            readers = [subprocess.Popen([sys.executable, "-c", DOWNLOADER, str(self.server.port), shared.name, str(each)],
                                        stdin=subprocess.DEVNULL) for each in range(self.STREAMS)]
            try:
                count = mmap.mmap(shared.fileno(), 4096)

                def moved():
                    return struct.unpack(f"<{self.STREAMS}Q", count[:8 * self.STREAMS])
                wait_until("most of them run", lambda: sorted(moved())[self.STREAMS // 2] > 1 << 20, 10)
                costs, until = [], time.monotonic() + 4
                with at_once(), Client(self.server.port, timeout=8) as good:
                    while len(costs) < 30 and time.monotonic() < until:
                        before = sum(moved())
                        self.assertEqual(good.get("/good").status, 404)
                        if (cost := sum(moved()) - before) > 1 << 18:  # else the downloads had no turn of the processor
                            costs.append(cost)
            finally:
                for reader in readers:
                    reader.kill()
                    reader.wait()
        most = sorted(costs)[len(costs) * 9 // 10]
        print(f"      {self.STREAMS} downloads move {most / 2**20:.0f} MiB while a small request is answered (90 % of {len(costs)})")
        self.assertLess(most, 128 << 20)


if __name__ == "__main__":
    unittest.main()
