"""HTTP/2 backends that break the rules: 502, or a cut; never a whole answer, and the next request is served."""

import subprocess
import unittest

from harness import Client, Plimsoll, base_config, free_port, needs, needs_module, schema_has

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
class Http2Backend(unittest.TestCase):
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


for each in MALFORMED:
    setattr(Http2Backend, f"test_malformed__{each}", lambda self, name=each: self.not_taken(name))


if __name__ == "__main__":
    unittest.main()
