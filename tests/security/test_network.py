"""A network that swallows packets, and servers that do not take what they are offered.

Packets are dropped by taking the loopback device of a network namespace of our own down: whoever is connected then is
gone without a word. Needs root; says SKIP without.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
import traceback
import unittest

from harness import PATIENCE, Backend, Client, PeerTest, Plimsoll, base_config, free_port, wait_until

CLONE_NEWNET = 0x40000000


def loopback(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


def _too_long(*_):
    raise TimeoutError("the scenario did not end")


def in_own_network(scenario):
    """Runs `scenario` in a child process with a network of its own. Gives its failure as text, or ''."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        said = b""
        signal.signal(signal.SIGALRM, _too_long)
        signal.alarm(int(60 * PATIENCE))
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                said = b"SKIP"
            else:
                loopback("up")
                scenario()
        except BaseException:
            said = traceback.format_exc().encode()
        os.write(writing, said[-60000:])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


class Vanished(unittest.TestCase):
    def play(self, scenario):
        said = in_own_network(scenario)
        if said == "SKIP":
            self.skipTest("needs root for a network namespace")
        self.assertEqual(said, "")

    def test_two_hundred_clients_vanish(self):
        """Idle, in a head, in a body, waiting for an answer, reading one: descriptors are back after the time-outs."""
        self.play(self.clients_vanish)

    @staticmethod
    def clients_vanish():
        backend = Backend()

        def flood(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            for _ in range(1000):
                connection.send(b"x" * 100000)
            return True
        backend.on("/large", flood)
        backend.on("/never", lambda connection, request: connection.wait_for_end() and False)
        kinds = [b"", b"GET / HTTP/1.1\r\nHo", b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nab",
                 b"GET /never HTTP/1.1\r\nHost: t\r\n\r\n", b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"]
        large = b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n"
        config = base_config([backend.port], {
            "listeners": {"web": {"head_timeout": "1s", "body_idle_timeout": "1s", "idle_timeout": "1s"}},
            "pools": {"web": {"timeouts": {"per_try": "1s", "total": "1s", "idle": "1s"}, "retry": {"attempts": 1},
                              "limits": {"keepalive_idle": "1s"}}},
        })
        with Plimsoll(config) as server:
            before = server.descriptors_open()
            clients = []
            for index in range(200):
                client = Client(server.port, receive_buffer=4096)
                client.send(large if index % 20 == 0 else kinds[index % 5])
                clients.append(client)
            wait_until("they are all taken", lambda: server.descriptors_open() >= before + 200)
            loopback("down")
            begun = time.monotonic()
            try:
                wait_until("descriptors are back", lambda: server.descriptors_open() <= before + 3, 20)
            except AssertionError:
                where = f"/proc/{server.process.pid}/fd"
                raise AssertionError(f"{before} before, now: {sorted(os.readlink(f'{where}/{each}') for each in os.listdir(where))}\n"
                                     f"{server.log_lines()[-5:]}\n{server.stderr()[-2000:]}") from None
            took = time.monotonic() - begun
            print(f"      200 vanished clients: descriptors back after {took:.1f} s with time-outs of 1 s", flush=True)
            assert took < 10
            loopback("up")
            for client in clients:
                client.close()
            with Client(server.port) as good:
                assert good.get("/good").status == 200
        backend.stop()

    def test_backend_vanishes(self):
        """A backend in a black hole: requests end by time-out or elsewhere, and it serves when it is back."""
        self.play(self.backend_vanishes)

    @staticmethod
    def backend_vanishes():
        backend = Backend()
        config = base_config([backend.port], {"pools": {"web": {
            "timeouts": {"connect": "200ms", "per_try": "400ms", "total": "800ms"}}}})
        with Plimsoll(config) as server:
            with Client(server.port) as client:
                assert client.get("/before").status == 200  # leaves a kept connection
            before = server.descriptors_open()
            loopback("down")
            time.sleep(0.3)
            loopback("up")  # the kept connection is alive again: nothing was lost on it
            with Client(server.port) as client:
                assert client.get("/after").status == 200
            assert server.descriptors_open() <= before + 1
        backend.stop()


class BlackHole(PeerTest):
    """One server takes no connection: its queue is full and the kernel answers nothing."""

    backends = 2

    @classmethod
    def configure(cls, config):
        cls.hole = socket.socket()
        port = free_port()
        cls.hole.bind(("127.0.0.1", port))
        cls.hole.listen(0)
        cls.stuffing = []
        for _ in range(3):
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
            cls.stuffing.append(each)
        web = config["pools"]["web"]
        web["endpoints"].append({"name": "hole", "address": f"127.0.0.1:{port}"})
        web["timeouts"] = {"connect": "200ms"}
        web["ejection"] = {"enabled": True}

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        for each in [cls.hole, *cls.stuffing]:
            each.close()

    def test_no_get_is_lost(self):
        times = []
        with Client(self.server.port) as client:
            for number in range(150):
                begun = time.monotonic()
                self.assertEqual(client.get(f"/{number}").status, 200)
                times.append(time.monotonic() - begun)
                time.sleep(0.005)
        slow = [each for each in times if each > 0.1]
        print(f"      {len(times)} GETs beside a black hole: {len(slow)} waited, the longest {max(times) * 1000:.0f} ms")
        self.assertLessEqual(len(slow), 10, "it is asked again and again")
        self.assertLess(max(times), 1.0)


class Overload(PeerTest):
    """Every server at its limit: the next request is answered 503 `limited` at once, and there is room again after."""

    changes = {"pools": {"web": {"limits": {"max_in_flight_per_endpoint": 4}, "retry": {"attempts": 1}}}}

    def test_shed_at_once(self):
        def hold(connection, request):
            while not self.release:
                time.sleep(0.01)
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld")
            return True
        self.release = False
        self.backend.on("/hold", hold)
        held = [self.connect().send(b"GET /hold HTTP/1.1\r\nHost: t\r\n\r\n") for _ in range(4)]
        wait_until("they are at the backend", lambda: len(self.backend.requests) == 4)
        begun = time.monotonic()
        for _ in range(50):
            answer = self.connect().get("/more")
            self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (503, "limited"))
        self.assertLess(time.monotonic() - begun, 1.0)
        self.release = True
        for client in held:
            self.assertEqual(client.response().body, b"held")
        self.good_client_is_served()


if __name__ == "__main__":
    unittest.main()
