"""HTTP/2 from a client that breaks the rules (h2_floods.py): against a known server, to test the tool, and against ours."""

import struct
import time
import unittest

from harness import PATIENCE, Peer, PeerTest, deviates, free_port, needs, needs_module, wait_until

try:
    import h2_floods
except ImportError:  # python3-hpack is missing; the tests below say so
    h2_floods = None

MALFORMED = list(h2_floods.MALFORMED) if h2_floods else []
FLOODS = list(h2_floods.FLOODS) if h2_floods else []

# Floods that nobody has a reason to take: they must be cut off. The others may also be absorbed at a bounded price.
MUST_END = {
    "rapid_reset", "made_you_reset_window_zero", "made_you_reset_window_overflow", "made_you_reset_data_after_end",
    "reset_flood_malformed", "continuation_flood", "continuation_empty", "continuation_byte_by_byte", "empty_names",
    "settings_flood", "ping_flood", "empty_data",
}
# Known of the server under test.
DEVIATES = {"stream_backwards": "a HEADERS frame on a lower stream that was skipped is decoded and ignored, as nghttp2 does; RFC 9113 5.1.1 "
                                "asks for the end of the connection"}
# What nghttpd of Debian 12 does otherwise than asked for here.
NGHTTPD = {"pseudo_authority_userinfo", "connect_without_port", "stream_backwards"}


@needs("nghttpd")
@needs_module("hpack")
class Tool(unittest.TestCase):
    """The patterns are what they say they are: nghttpd refuses them too."""

    def test_nghttpd_refuses_what_is_malformed(self):
        port = free_port()
        with Peer(["nghttpd", "--no-tls", "-d", "@DIR@", str(port)], {"index.html": "hello"}, port):
            address = ("127.0.0.1", port)
            self.assertEqual(h2_floods.get(address, b"/index.html")[0], 200)
            taken = [name for name in MALFORMED if not h2_floods.run_malformed(address, name)[0]]
            self.assertLessEqual(set(taken), NGHTTPD)
            self.assertEqual(h2_floods.run_flood(address, "continuation_flood")["ended"][:6], "closed")


@needs_module("hpack")
class Http2(PeerTest):
    changes = {"listeners": {"web": {"head_timeout": "2s", "body_idle_timeout": "2s", "idle_timeout": "5s"}}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.address = ("127.0.0.1", cls.server.port)
        if not h2_floods.speaks_http2(cls.address):
            cls.tearDownClass()
            raise unittest.SkipTest(f"{len(MALFORMED) + len(FLOODS)} tests: no HTTP/2 by prior knowledge in this version")

    def refused_by_us(self, name):
        refused, what = h2_floods.run_malformed(self.address, name)
        # What announced itself as empty was whole with its head; what was sent beside it never arrives.
        whole = [request for request in self.backend_got()
                 if request.complete and not (name == "h2cl_zero_with_body" and request.get("Content-Length") == "0")]
        self.assertTrue(refused, f"{what}; the backend got {whole}")
        if name not in h2_floods.SOUND_BESIDE:
            self.assertEqual(whole, [], what)

    def survived(self, name):
        for _ in range(20):  # caches and buffers reach their size
            h2_floods.get(self.address, b"/warm")
        result = h2_floods.run_flood(self.address, name, b"/flood", self.server.rss_kib)
        wait_until("its streams are let go", lambda: len(self.backend.open) < 100, 5)
        reached = len([request for request in self.backend.take() if request.target == "/flood"])
        seen = f"{result}; {reached} requests reached the backend"
        print(f"      {name}: {result['ended']} after {result['taken']}, {result['growth_kib']} KiB more, {reached} at the backend")
        self.assertTrue(result["served"], seen)
        self.assertLess(result["growth_kib"], 20 * 1024, seen)
        self.assertLess(result["seconds"], 20 * PATIENCE, seen)
        if name in MUST_END:
            self.assertNotEqual(result["ended"], "absorbed", seen)
        if "reset" in name:
            self.assertLess(reached, 2000, seen)
        self.good_client_is_served()


for each in MALFORMED:
    def malformed(self, name=each):
        self.refused_by_us(name)
    setattr(Http2, f"test_malformed__{each}", deviates(DEVIATES[each])(malformed) if each in DEVIATES else malformed)
for each in FLOODS:
    setattr(Http2, f"test_flood__{each}", lambda self, name=each: self.survived(name))


@needs_module("hpack")
class StalledStreams(PeerTest):
    """A stream that takes nothing of its answer ends by time-out, and gives back what it held."""

    changes = {"listeners": {"web": {"head_timeout": "500ms", "body_idle_timeout": "500ms", "idle_timeout": "1s"}}}

    def test_answers_that_nobody_takes(self):
        address = ("127.0.0.1", self.server.port)
        if not h2_floods.speaks_http2(address):
            self.skipTest("this version does not take HTTP/2 by prior knowledge")
        body = b"x" * 100000
        self.backend.on("/large", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body)
        with h2_floods.Connection(address, settings=struct.pack(">HI", 4, 0)) as client:
            client.send(b"".join(h2_floods.headers(2 * i + 1, h2_floods.request(path=b"/large")) for i in range(50)))
            begun = time.monotonic()
            client.pump(lambda: client.over() or len(client.resets) >= 50, 4)
            self.assertTrue(client.over() or len(client.resets) >= 50, f"{len(client.resets)} streams ended")
            self.assertLess(time.monotonic() - begun, 4)
        self.good_client_is_served()


if __name__ == "__main__":
    unittest.main()
