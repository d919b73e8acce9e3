"""No descriptor is left, or hardly any: the server lives, idles, says why, and serves again when there are some."""

import time
import unittest

from harness import Backend, Client, Malformed, Plimsoll, base_config, wait_until


class Descriptors(unittest.TestCase):
    LIMIT = 200

    def setUp(self):
        self.backend = Backend()
        self.addCleanup(self.backend.stop)
        config = base_config([self.backend.port], {"listeners": {"web": {"idle_timeout": "60s", "head_timeout": "60s"}}})
        self.server = Plimsoll(config, descriptors=self.LIMIT).start()
        self.addCleanup(self.server.kill)

    def served(self):
        try:
            with Client(self.server.port, timeout=1) as client:
                return client.get("/canary").body == b"GET /canary"
        except (OSError, EOFError, Malformed):
            return False

    def test_alive_idle_and_back(self):
        self.assertTrue(self.served())
        clients = []
        for _ in range(600):
            clients.append(Client(self.server.port))
        self.addCleanup(lambda: [client.close() for client in clients])
        time.sleep(0.5)
        cpu = self.server.cpu_seconds()
        time.sleep(2.0)
        used = (self.server.cpu_seconds() - cpu) / 2.0
        self.assertTrue(self.server.alive())
        self.assertLess(used, 0.25, "share of a core used while nothing can be done")
        for client in clients:
            client.close()
        begun = time.monotonic()
        wait_until("it serves again", self.served, 5)
        print(f"      600 connections at {self.LIMIT} descriptors: {used * 100:.0f} % CPU, served again after "
              f"{(time.monotonic() - begun) * 1000:.0f} ms")
        self.server.stop()

    def test_none_left_for_backends(self):
        """Clients took all: requests are answered 503 with the cause, not left hanging, and admin still answers."""
        clients = []
        for _ in range(600):
            clients.append(Client(self.server.port))
        self.addCleanup(lambda: [client.close() for client in clients])
        time.sleep(0.3)
        answers = []
        for client in clients[:20]:
            client.send(b"GET /x HTTP/1.1\r\nHost: t\r\n\r\n")
        for client in clients[:20]:
            answers.append(client.response())
        self.assertTrue(all(a.status in (200, 503) for a in answers), answers[:3])
        for answer in answers:
            if answer.status == 503:
                self.assertEqual(answer.get("X-Plimsoll-Cause"), "limited")
        for client in clients:
            client.close()
        wait_until("it serves again", self.served, 5)
        paused = {name: value for name, value in self.server.metrics().items() if "accept_pause" in name}
        self.assertGreater(sum(paused.values()), 0, "that it could not accept is not counted")
        self.server.stop()

    def test_admin_answers_while_clients_hold_all(self):
        clients = [Client(self.server.port) for _ in range(600)]
        self.addCleanup(lambda: [client.close() for client in clients])
        time.sleep(0.3)
        try:
            self.assertEqual(self.server.admin(path="/healthz", timeout=1)[0], 200)
        except OSError as wrong:
            self.fail(f"admin does not answer: {wrong}")


if __name__ == "__main__":
    unittest.main()
