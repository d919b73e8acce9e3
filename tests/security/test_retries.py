"""What is sent again, and what never: a POST reaches backends once, whatever becomes of its backend."""

import collections
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from harness import Client, Malformed, PeerTest, Plimsoll, base_config, can_connect, free_port, variants, wait_until


def close_at_once(connection, request):
    return False


def reset_at_once(connection, request):
    connection.reset()
    return False


def read_then_reset(connection, request):
    connection.reader.request_body(request)
    connection.reset()
    return False


def half_a_head(connection, request):
    connection.send(b"HTTP/1.1 200 OK\r\nX")
    return False


def read_then_close(connection, request):
    connection.reader.request_body(request)
    return False


def silent(connection, request):
    connection.wait_for_end()
    return False


def garbage(connection, request):
    connection.send(b"\x00\x01\x02garbage\r\n\r\n")
    return False


def error(connection, request):
    connection.reader.request_body(request)
    connection.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    return True


FAILURES = [close_at_once, reset_at_once, read_then_close, read_then_reset, half_a_head, silent, garbage, error]


class UnsafeRetries(PeerTest):
    """Three backends that all fail the same way, with the most eager retry settings there are."""

    backends = 3
    changes = {"pools": {"web": {
        "retry": {"attempts": 4, "on": ["connect_failure", "reset", "timeout", "status_5xx"], "budget": "300%",
                  "min_per_second": 1000},
        "timeouts": {"per_try": "300ms", "total": "2s"},
    }}}

    def sent(self, method, failure, body=b"abc", warm=True):
        """How often one request whose backends fail reached a backend."""
        for backend in self.all_backends:
            backend.on("/once", failure)
        if warm:  # so that there are kept connections, which may look stale
            for _ in range(3):
                self.good_client_is_served()
        self.setUp()
        client = self.connect().send(method + b" /once HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = client.response()
        self.assertGreaterEqual(answer.status, 500)
        time.sleep(0.05)
        return sum(len([r for r in backend.take() if r.target == "/once"]) for backend in self.all_backends)

    @variants(*[(failure.__name__, failure) for failure in FAILURES])
    def test_post_reaches_one_backend_once(self, failure):
        for warm in (False, True):
            self.assertEqual(self.sent(b"POST", failure, warm=warm), 1)

    @variants(("patch", b"PATCH"), ("unknown", b"FROBNICATE"), ("lower_case_get", b"get"))
    def test_nor_do_other_unsafe_methods(self, method):
        for failure in (close_at_once, reset_at_once, error):
            self.assertEqual(self.sent(method, failure), 1)

    @variants(*[(failure.__name__, failure) for failure in (close_at_once, reset_at_once, silent, error)])
    def test_get_is_tried_again_but_not_for_ever(self, failure):
        self.assertIn(self.sent(b"GET", failure, body=b""), (2, 3, 4, 5, 6, 7, 8))

    def test_large_body_is_never_repeated(self):
        """A body that is not kept cannot be sent again: even a PUT is not."""
        self.assertEqual(self.sent(b"PUT", read_then_reset, body=b"x" * 3_000_000), 1)


class RetryBudget(PeerTest):
    """Retries stay a fraction of requests: a failing pool is not stormed."""

    backends = 2
    changes = {"pools": {"web": {
        "retry": {"attempts": 2, "on": ["status_5xx"], "budget": "20%", "min_per_second": 0},
    }}}

    def test_at_most_a_fifth_extra(self):
        for backend in self.all_backends:
            backend.on("/fails", error)
        with Client(self.server.port) as client:
            for _ in range(500):
                self.assertEqual(client.get("/fails").status, 503)
        sent = sum(len(backend.take()) for backend in self.all_backends)
        self.assertLessEqual(sent, 500 * 1.2 + 20)
        self.assertGreaterEqual(sent, 500)


RECORDER = r"""
import os, socket, sys, threading
log = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def serve(sock):
    data = b""
    with sock:
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more: return
                data += more
            head, data = data.split(b"\r\n\r\n", 1)
            os.write(log, head.split(b" ", 2)[1] + b"\n")
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"): length = int(line[15:])
            while len(data) < length:
                more = sock.recv(65536)
                if not more: return
                data += more
            data = data[length:]
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(sys.argv[1])))
listener.listen(512)
while True:
    sock, _ = listener.accept()
    threading.Thread(target=serve, args=(sock,), daemon=True).start()
"""


class Recorder:
    """A backend in a process of its own, to be killed or stopped: notes each request's target before it answers."""

    def __init__(self, directory, name):
        self.port, self.file, self.process = free_port(), directory / name, None
        self.script = directory / "recorder.py"
        self.script.write_text(RECORDER)
        self.start()

    def start(self):
        self.process = subprocess.Popen([sys.executable, str(self.script), str(self.port), str(self.file)],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until("the backend listens", lambda: can_connect(self.port))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def targets(self):
        return self.file.read_text().split() if self.file.exists() else []


class Kills(unittest.TestCase):
    """Backends that die or stop under load."""

    lost_posts = None

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll-test-"))
        self.backends = [Recorder(self.directory, f"b{i}") for i in range(3)]
        self.addCleanup(self._clean)

    def _clean(self):
        for backend in self.backends:
            backend.process.send_signal(signal.SIGCONT)
            backend.kill()
        shutil.rmtree(self.directory)

    def load(self, server, method, seconds, clients=8):
        """Closed loop; gives [(target, status or 0, seconds)]."""
        results, stop = [], time.monotonic() + seconds

        def one(number):
            client, count = None, 0
            while time.monotonic() < stop:
                target, count = f"/{number}/{count}", count + 1
                begun = time.monotonic()
                status, cause = 0, ""
                try:
                    client = client or Client(server.port)
                    length = 100 if method == "POST" else 0
                    client.sock.sendall(f"{method} {target} HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n".encode()
                                        + b"x" * length)
                    answer = client.response()
                    status, cause = answer.status, answer.get("X-Plimsoll-Cause")
                    if answer.get("Connection") == "close":
                        client.close()
                        client = None
                except (OSError, EOFError, Malformed):
                    if client:
                        client.close()
                    client = None
                results.append((target, status, time.monotonic() - begun, cause))
                time.sleep(0.001)

        threads = [threading.Thread(target=one, args=(i,)) for i in range(clients)]
        for thread in threads:
            thread.start()
        return results, threads

    def under_load(self, method, seconds, disturb, changes=None):
        config = base_config([b.port for b in self.backends], changes)
        config["pools"]["web"]["ejection"]["enabled"] = True
        with Plimsoll(config) as server:
            results, threads = self.load(server, method, seconds)
            disturb(time.monotonic() + seconds)
            for thread in threads:
                thread.join()
        lost = [r for r in results if r[1] != 200]
        times = sorted(r[2] for r in results)
        causes = dict(collections.Counter(r[3] for r in lost))
        print(f"      {method}: {len(results)} requests, {len(lost)} lost {causes or ''}, p99 {times[len(times) * 99 // 100] * 1000:.1f} ms, "
              f"max {times[-1] * 1000:.0f} ms")
        return results, lost, times

    def kills(self, until):
        turn = 0
        while time.monotonic() < until - 0.5:
            time.sleep(0.25)
            backend = self.backends[turn % 3]
            turn += 1
            backend.kill()
            time.sleep(0.1)
            backend.start()
        self.killed = turn

    def test_sigkill_under_gets_loses_none(self):
        _, lost, _ = self.under_load("GET", 2, self.kills)
        self.assertGreater(self.killed, 2)
        self.assertEqual(len(lost), 0)

    def test_sigkill_under_gets_loses_none_without_a_budget(self):
        """The same when every failed request may be tried again: what is lost above is lost to the budget."""
        eager = {"pools": {"web": {"retry": {"budget": "300%", "min_per_second": 100000}}}}
        _, lost, _ = self.under_load("GET", 2, self.kills, eager)
        self.assertGreater(self.killed, 2)
        self.assertEqual(len(lost), 0)

    def test_sigkill_under_posts_repeats_none(self):
        results, lost, _ = self.under_load("POST", 2, self.kills)
        type(self).lost_posts = len(lost), self.killed
        seen = collections.Counter(target for backend in self.backends for target in backend.targets())
        self.assertEqual([t for t, times in seen.items() if times > 1], [], "a POST was sent twice")
        self.assertGreaterEqual(len(seen), len(results) - len(lost))

    def test_sigkill_under_posts_then_lost_are_those_in_flight(self):
        if self.lost_posts is None:  # run alone
            _, lost, _ = self.under_load("POST", 2, self.kills)
            type(self).lost_posts = len(lost), self.killed
        lost, kills = self.lost_posts
        self.assertLessEqual(lost, 8 * kills)

    def test_sigstop_loses_none(self):
        def stops(until):
            while time.monotonic() < until - 1.9:
                time.sleep(0.3)
                self.backends[0].process.send_signal(signal.SIGSTOP)
                time.sleep(1.5)
                self.backends[0].process.send_signal(signal.SIGCONT)
        _, lost, times = self.under_load("GET", 3, stops)
        self.assertEqual(lost, [])
        self.assertLess(times[-1], 2.0)


if __name__ == "__main__":
    unittest.main()
