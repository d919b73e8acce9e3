"""HTTP/2 backends that break the rules: 502, or a cut; never a whole answer, and the next request is served."""

import subprocess
import unittest

from harness import Client, Plimsoll, VariantTest, base_config, free_port, needs, needs_module, schema_has, variants

try:
    import h2_backend
except ImportError:  # python3-hpack is missing; the tests below say so
    h2_backend = None

MALFORMED = list(h2_backend.MALFORMED) if h2_backend else []
# What libnghttp2, and so curl of Debian 12, lets pass, waits for without end, or has another word for.
CURL_TAKES = {"goaway", "interim_flood"}


@needs("curl")
@needs_module("hpack")
class Tool(unittest.TestCase):
    """The answers are as malformed as they claim: curl does not take them either."""

    def test_curl_refuses_them(self):
        backend = h2_backend.Http2Backend(free_port())
        self.addCleanup(backend.stop)

        def curl(path):
            return subprocess.run(["curl", "-s", "-m", "0.5", "--http2-prior-knowledge", f"http://127.0.0.1:{backend.port}/{path}"],
                                  capture_output=True, check=False)
        self.assertEqual(curl("fine").stdout, b"GET /fine")
        taken = {name for name in MALFORMED if curl(name).returncode == 0}
        self.assertLessEqual(taken, CURL_TAKES)


@needs_module("hpack")
class Http2Backend(VariantTest):
    @classmethod
    def setUpClass(cls):
        if not schema_has("http2"):
            raise unittest.SkipTest(f"{len(MALFORMED)} tests: this version does not speak HTTP/2 to backends")
        cls.backend = h2_backend.Http2Backend(free_port())
        config = base_config([cls.backend.port], {"pools": {"web": {
            "protocol": "http2", "retry": {"attempts": 1}, "timeouts": {"per_try": "500ms", "total": "1s", "idle": "500ms"}}}})
        cls.server = Plimsoll(config).start()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.backend.stop()

    def served(self):
        with Client(self.server.port) as client:
            self.assertEqual(client.get("/fine").body, b"GET /fine")

    def not_taken(self, name):
        with Client(self.server.port) as client:
            client.send(f"GET /{name} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
            try:
                answer = client.response()
            except (EOFError, OSError):
                answer = None
            if answer is not None and answer.complete:
                self.assertIn(answer.status, (502, 504), answer.raw)
                self.assertNotIn(b"evil", answer.raw)
        self.served()


    @variants(
        ("of_the_connection", b"GET /into/1 HTTP/1.1\r\nHost: t\r\nX-Upper: A\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"
                              b"Proxy-Connection: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\n\r\n", 200),
        ("chunked", b"POST /into/2 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n:path: /evil\r\nX: y\r\n\r\n", None),
        ("absolute", b"GET http://other.example/into/3 HTTP/1.1\r\nHost: t\r\n\r\n", 200),
        ("high_bytes", b"GET /into/4 HTTP/1.1\r\nHost: t\r\nX: a\x80\xff\tb\r\n\r\n", 200),
        ("pseudo", b"GET /into/5 HTTP/1.1\r\nHost: t\r\n:path: /evil\r\n\r\n", 400),
        ("nul", b"GET /into/6 HTTP/1.1\r\nHost: t\r\nX: a\0b\r\n\r\n", 400),
        ("cr", b"GET /into/7 HTTP/1.1\r\nHost: t\r\nX: a\rb: c\r\n\r\n", 400),
        ("lf", b"GET /into/8 HTTP/1.1\r\nHost: t\r\nX: a\nb: c\r\n\r\n", 400),
        ("name", b"GET /into/9 HTTP/1.1\r\nHost: t\r\nX\x80: a\r\n\r\n", 400),
        ("path", b"GET /into/10\x0bevil HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        ("method", b"G@T /into/11 HTTP/1.1\r\nHost: t\r\n\r\n", 400),
        ("host", b"GET /into/12 HTTP/1.1\r\nHost: t evil\r\n\r\n", 400))
    def test_only_valid_fields_go_into_http2(self, raw, wanted):
        """A request of HTTP/1.1 becomes one of HTTP/2 field by field (nginx CVE-2026-42926): what reaches the server is valid there."""
        before = len(self.backend.heads)
        with Client(self.server.port) as client:
            client.send(raw)
            status = client.response().status
        if wanted is not None:
            self.assertEqual(status, wanted)
        if status == 400:
            self.assertEqual(len(self.backend.heads), before)
        for fields in self.backend.heads[before:]:
            pseudo = [name for name, _ in fields if name.startswith(b":")]
            self.assertEqual(sorted(pseudo), [b":authority", b":method", b":path", b":scheme"])
            self.assertEqual([name for name, _ in fields][:len(pseudo)], pseudo, "before all others")
            for name, value in fields[len(pseudo):]:
                self.assertRegex(name, rb"\A[!#$%&'*+.^_`|~0-9a-z-]+\Z")
                self.assertNotRegex(value, rb"[\0\r\n]|\A[ \t]|[ \t]\Z")
                self.assertNotIn(name, (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"x-hop", b"host"))
                self.assertTrue(name != b"te" or value == b"trailers")

    def once(self, method, name):
        """The status, and how often the server was asked: on a connection that has served before, one attempt a request."""
        path = f"/once/{name}/{method}"
        self.served()
        with Client(self.server.port) as client:
            client.send(f"{method} {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc".encode())
            answer = client.response()
        return answer.status, [each[":path"] for each in self.backend.requests].count(path)

    def test_what_a_server_has_not_begun_is_sent_again(self):
        """REFUSED_STREAM, and a GOAWAY that leaves the stream out, say that nothing was done: POST too is sent once more."""
        for name in ("refused", "going_away"):
            for method in ("POST", "PUT"):
                self.assertEqual(self.once(method, name), (200, 2), (method, name))

    def test_what_a_server_may_have_done_is_not_done_twice(self):
        for name in ("internal_error", "hung_up"):
            self.assertEqual(self.once("POST", name), (502, 1), name)


for each in MALFORMED:
    setattr(Http2Backend, f"test_malformed__{each}", lambda self, name=each: self.not_taken(name))


if __name__ == "__main__":
    unittest.main()
