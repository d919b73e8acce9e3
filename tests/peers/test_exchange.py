"""What passes beside heads and bodies, with other people's software: Early Hints (curl, nghttp, http.client) and trailers
(nghttp, nghttpd)."""

import http.client
import re
import unittest

from harness import Peer, PeerTest, free_port, needs
from tools import run

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\nSet-Cookie: a=b\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage"


class EarlyHints(PeerTest):
    changes = {"routes": [
        {"name": "all", "match": {"path_prefix": "/all"}, "pool": "web", "early_hints": "all"},
        {"name": "off", "match": {"path_prefix": "/off"}, "pool": "web", "early_hints": "off"},
        {"name": "everything", "pool": "web"},
    ]}

    def setUp(self):
        super().setUp()
        for path in ("/", "/all", "/off"):
            self.backend.on(path, HINT + PAGE)

    def url(self, path):
        return f"http://127.0.0.1:{self.server.port}{path}"

    def statuses(self, *arguments):
        done = run("curl", "-sS", "-i", "--max-time", "5", *arguments)
        return re.findall(r"(?m)^HTTP/\S+ (\d+)", done.stdout), done.stdout

    @needs("curl")
    def test_curl(self):
        for path, version, expected in (
                ("/", "--http2-prior-knowledge", ["103", "200"]), ("/", "--http1.1", ["200"]),
                ("/all", "--http2-prior-knowledge", ["103", "200"]), ("/all", "--http1.1", ["103", "200"]),
                ("/all", "--http1.0", ["200"]), ("/off", "--http2-prior-knowledge", ["200"]), ("/off", "--http1.1", ["200"])):
            got, text = self.statuses(version, self.url(path))
            self.assertEqual(got, expected, (path, version, text))
            self.assertTrue(text.endswith("page"), text)
            self.assertEqual("rel=preload" in text, "103" in expected, text)
            self.assertNotIn("ookie", text)

    @needs("nghttp")
    def test_nghttp(self):
        done = run("nghttp", "-v", self.url("/"))
        at = [done.stdout.find(text) for text in (":status: 103", "link: </style.css>", ":status: 200", "\npage")]
        self.assertTrue(-1 < at[0] < at[1] < at[2], done.stdout)

    def test_a_client_that_does_not_know_1xx(self):
        """Why HTTP/1.1 has to be asked for: Python's own client takes the hints for the answer."""
        def ask(path):
            client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=5)
            client.request("GET", path)
            status = client.getresponse().status
            client.close()
            return status
        self.assertEqual(ask("/"), 200)
        self.assertEqual(ask("/off"), 200)
        self.assertIn(ask("/all"), (103, 200))  # by its version

    def test_connection_goes_on(self):
        client = self.connect()
        for _ in range(3):
            client.send(b"GET /all HTTP/1.1\r\nHost: t\r\n\r\n")
            self.assertEqual([client.response().status, client.response().status], [103, 200])
        self.assertEqual(len({id(request.connection) for request in self.backend.take()}), 1)


class Trailers(PeerTest):
    changes = {"routes": [
        {"name": "pass", "match": {"path_prefix": "/pass"}, "pool": "web", "trailers": "pass"},
        {"name": "everything", "pool": "web"},
    ]}
    UPLOAD = (b" HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nConnection: TE, X-Hop\r\nTrailer: X-Sum\r\n\r\n"
              b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nAuthorization: a\r\n"
              b"X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Plimsoll-Mirror: 1\r\nX-Hop: 1\r\nIf-Match: a\r\n\r\n")
    ANSWER = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Content-Length\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n"
              b"Set-Cookie: a=b\r\nContent-Length: 5\r\nLocation: /evil\r\n\r\n")

    def setUp(self):
        super().setUp()
        for path in ("/", "/pass"):
            self.backend.on(path, self.ANSWER)

    def exchange(self, path):
        client = self.connect().send(b"POST " + path + self.UPLOAD)
        answer = client.response()
        self.assertEqual((answer.status, answer.body), (200, b"abc"))
        self.assertEqual(client.get("/again").body, b"GET /again")
        request = self.backend.take()[0]
        self.assertEqual(request.body, b"abc")
        return request, answer

    def test_over_http1(self):
        request, answer = self.exchange(b"/pass")
        self.assertEqual(list(request.trailers), [b"X-Sum: 1"])
        self.assertEqual(list(answer.trailers), [b"X-Sum: 1"])
        self.assertEqual((request.get("TE"), request.get("Connection"), request.get("Trailer")), ("trailers", "TE", "X-Sum"))
        self.assertEqual((answer.get("Trailer"), answer.get("X-Sum")), ("X-Sum", None))
        self.assertIsNone(request.get("X-Sum"))

    def test_off_by_default(self):
        request, answer = self.exchange(b"/")
        self.assertEqual((list(request.trailers), list(answer.trailers)), ([], []))
        self.assertEqual((request.get("TE"), request.get("Trailer"), answer.get("Trailer")), (None, None, None))

    def test_not_to_who_does_not_ask(self):
        client = self.connect()
        answer = client.get("/pass")
        self.assertEqual((answer.body, list(answer.trailers), answer.get("Trailer")), (b"abc", [], None))

    def test_flood_and_malformed_are_refused(self):
        for trailers in (b"X: 1\r\n" * 40, b"X: " + b"a" * 9000 + b"\r\n", b"X Y: 1\r\n", b" X: 1\r\n"):
            client = self.connect().send(b"POST /pass HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + trailers + b"\r\n")
            self.assertIn(client.response().status, (400, 431))
            self.assertEqual(self.backend_got(), [])

    @needs("nghttp")
    def test_from_nghttp(self):
        file = self.server.directory / "upload"
        file.write_bytes(b"x" * 100000)
        done = run("nghttp", "-v", "-d", str(file), "--no-content-length", "--trailer", "x-sum: 7", "-H", "te: trailers",
                   f"http://127.0.0.1:{self.server.port}/pass")
        request = self.backend.take()[0]
        self.assertEqual((len(request.body), list(request.trailers)), (100000, [b"x-sum: 7"]))
        self.assertRegex(done.stdout, r"(?s):status: 200.*abc.*x-sum: 1")


@needs("nghttpd")
class TrailersOfNghttpd(PeerTest):
    """An endpoint of HTTP/2 that announces its trailers beside a Content-Length; clients of both versions."""

    @classmethod
    def configure(cls, config):
        port = free_port()
        cls.peer = Peer(["nghttpd", "--no-tls", "-d", "@DIR@", "--trailer", "x-sum: 9", str(port)], {"page": "of nghttpd"}, port).start()
        cls.addClassCleanup(cls.peer.stop)
        config["pools"]["two"] = {"protocol": "http2", "health": "off", "endpoints": [{"name": "n", "address": f"127.0.0.1:{port}"}]}
        config["routes"] = [
            {"name": "pass", "match": {"path": "/page", "headers": [{"name": "X-Pass"}]}, "pool": "two", "trailers": "pass"},
            {"name": "drop", "match": {"path": "/page"}, "pool": "two"},
            {"name": "rest", "pool": "web"}]

    def test_to_http1(self):
        asks = b"TE: trailers\r\nConnection: TE\r\n"
        for headers, expected in ((b"X-Pass: 1\r\n" + asks, [b"x-sum: 9"]), (b"X-Pass: 1\r\n", []), (asks, [])):
            answer = self.connect().get("/page", headers)
            self.assertEqual((answer.status, answer.body, list(answer.trailers)), (200, b"of nghttpd", expected))
            # A length leaves no room for trailers.
            self.assertEqual((answer.get("Content-Length"), answer.get("Trailer")), (None, "x-sum") if expected else ("10", None))

    @needs("nghttp")
    def test_to_http2(self):
        for header in ("x-pass: 1", "x-other: 1"):
            done = run("nghttp", "-v", "-H", header, f"http://127.0.0.1:{self.server.port}/page")
            self.assertRegex(done.stdout, r"(?s):status: 200.*of nghttpd.*x-sum: 9")


if __name__ == "__main__":
    unittest.main()
