"""Upgrades that are allowed: a tunnel begins with the backend's 101 and not before, and only to what was asked for."""

import threading
import unittest

from harness import PeerTest, schema_has, variants

ASKED = (b"Host: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"


class Tunnels(PeerTest):
    changes = {"listeners": {"web": {"head_timeout": "2s", "body_idle_timeout": "2s"}},
               "pools": {"web": {"timeouts": {"per_try": "2s", "total": "3s"}, "retry": {"attempts": 1}}}}

    @classmethod
    def configure(cls, config):
        if not schema_has("upgrades"):
            for backend in cls.all_backends:
                backend.stop()
            raise unittest.SkipTest("this version has no tunnels")
        config["routes"][0]["upgrades"] = ["websocket"]

    def test_both_ways(self):
        def echo(connection, request):
            connection.send(SWITCH)
            while data := connection.sock.recv(65536):
                connection.send(data.upper())
            return False
        self.backend.on("/ws", echo)
        client = self.connect().send(b"GET /ws HTTP/1.1\r\n" + ASKED)
        self.assertEqual(client.response().status, 101)
        for word in (b"hello", b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff"):
            client.send(word)
            self.assertEqual(client.sock.recv(100), word.upper())
        client.half_close()
        self.assertEqual(client.rest(2.0), (b"", "closed"))
        self.good_client_is_served()

    def test_early_bytes_wait_for_the_101(self):
        """Pingora CVE-2026-2833: what follows the request is not the tunnel's until the backend has agreed."""
        seen, agree = [], threading.Event()

        def slow(connection, request):
            connection.sock.settimeout(0.3)
            try:
                seen.append(connection.reader.buffer + connection.sock.recv(100))
            except TimeoutError:
                seen.append(connection.reader.buffer)
            connection.sock.settimeout(5)
            connection.send(SWITCH)
            agree.set()
            connection.sock.recv(100)
            return False
        self.backend.on("/slow", slow)
        client = self.connect().send(b"GET /slow HTTP/1.1\r\n" + ASKED + SMUGGLED)
        agree.wait(3)
        self.assertEqual(seen, [b""], "bytes went on before the 101")
        client.close()

    @variants(("200", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"), ("403", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"),
              ("200_with_upgrade_fields", b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nno"))
    def test_without_a_101_there_is_no_tunnel(self, answer):
        """Envoy CVE-2024-23326: what was sent early is a request, judged like any other, or the connection ends."""
        self.backend.on("/no", answer)
        client = self.connect().send(b"GET /no HTTP/1.1\r\n" + ASKED + b"\x81\x85garbage\r\n\r\n")
        self.assertEqual(client.response().body, b"no")
        data, end = client.rest(3.0)
        self.assertTrue(data == b"" or data.startswith(b"HTTP/1.1 400 "), data)
        self.assertIn(end, ("closed", "reset"))
        self.assertEqual([request.target for request in self.backend_got()], ["/no"])

    @variants(
        ("other_protocol", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"),
        ("no_upgrade_field", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n"),
        ("with_length", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 5\r\n\r\nhello"),
    )
    def test_a_101_that_is_not_the_one(self, answer):
        self.backend.on("/odd", answer)
        client = self.connect().send(b"GET /odd HTTP/1.1\r\n" + ASKED)
        self.assertEqual(client.response().status, 502)
        self.good_client_is_served()

    @variants(("h2c", b"h2c"), ("list", b"websocket, h2c"), ("tls", b"TLS/1.2"), ("unknown", b"frob"))
    def test_only_what_the_route_allows(self, protocol):
        client = self.connect().send(b"GET /x HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n")
        self.assertIn(client.response().status, (200, 400))
        for request in self.backend_got():
            self.assertNotRegex(" ".join(request.values("Upgrade")).lower(), "h2c|tls|frob")

    @variants(("post", b"POST", b""), ("body", b"GET", b"Content-Length: 3\r\n"), ("chunked", b"GET", b"Transfer-Encoding: chunked\r\n"))
    def test_not_with_a_body(self, method, header):
        client = self.connect().send(method + b" /x HTTP/1.1\r\n" + header + ASKED + (b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in header else b"abc" if header else b""))
        self.assertIn(client.response().status, (200, 400))
        self.assertEqual([request.values("Upgrade") for request in self.backend_got() if header], [[]] if header else [])


if __name__ == "__main__":
    unittest.main()
