"""What routes do, seen by curl: redirects, answers, rewrites, headers, error pages, splits, mirrors, faults, limits, sessions."""

import collections
import re
import time
import unittest

from harness import Client, PeerTest, needs, wait_until
from tools import EASY, apply, ask

SECRET = "a secret of the tests, long enough"


def route(name, **what):
    return {"name": name, "match": {"path_prefix": f"/{name}"}, **({} if {"split", "redirect", "respond"} & set(what) else {"pool": "web"}), **what}


@needs("curl")
class Actions(PeerTest):
    backends = 3

    @classmethod
    def configure(cls, config):
        web = config["pools"]["web"]
        ends = web["endpoints"]
        web["endpoints"] = ends[:1]
        config["pools"]["other"] = dict(web, endpoints=ends[1:2])
        config["pools"]["copy"] = dict(web, endpoints=ends[2:])
        config["pools"]["empty"] = dict(web, endpoints=[dict(ends[0], name="gone", address="127.0.0.1:1")], retry={"attempts": 1})
        config["error_pages"] = [{"status": 502, "body": "<p>global page</p>"}]
        config["routes"] = [
            route("https", redirect={"scheme": "https", "status": 301}),
            route("moved", redirect={"host": "new.example", "path_prefix": "/here", "status": 307}),
            route("teapot", respond={"status": 418, "body": "short and stout", "content_type": "text/x-tea"}),
            route("rewritten", rewrite={"path_prefix": "/to", "host": "inner.example"}),
            route("pattern", rewrite={"regex": "^/pattern/([0-9]+)/([a-z]+)", "substitution": "/\\2/\\1"}),
            route("edited", request_headers={"remove": ["X-Bad"], "set": {"X-Set": "ours"}, "add": {"X-Add": "too"}},
                  response_headers={"remove": ["X-Server"], "set": {"X-Answer": "set"}}),
            route("page", pool="empty", error_pages=[{"status": 502, "body": "<h1>own page</h1>"}]),
            route("global", pool="empty"),
            route("split", split=[{"pool": "web", "weight": 3}, {"pool": "other", "weight": 1}]),
            route("mirrored", mirror={"pool": "copy", "share": 1}, rewrite={"path_prefix": "/inside", "host": "in.example"},
                  request_headers={"set": {"X-From": "edge"}, "remove": ["X-Secret"]}),
            route("half", mirror={"pool": "copy", "share": 0.5}),
            route("delayed", fault={"delay": "300ms", "delay_share": 1}),
            route("aborted", fault={"abort_status": 429, "abort_share": 1}),
            route("sometimes", fault={"abort_status": 599, "abort_share": 0.2}),
            route("limited", rate_limits=[{"by": "client", "rate": 1, "burst": 5}]),
            route("keyed", rate_limits=[{"by": "header", "header": "X-Key", "rate": 1, "burst": 2}]),
            dict(route("query"), match={"path": "/query", "query": [{"name": "a", "exact": "b"}], "methods": ["GET"]}, pool="other"),
            dict(route("hosts"), match={"host": "*.far.example"}, pool="other"),
            {"name": "rest", "pool": "web"},
        ]

    def get(self, path, *arguments):
        return ask("-i", *arguments, f"http://127.0.0.1:{self.server.port}{path}")

    def header(self, answer, name):
        found = re.search(rf"(?im)^{name}: (.*?)\r?$", answer.body)
        return found[1] if found else None

    def last(self, backend=0):
        return self.all_backends[backend].take()[-1]

    def test_redirects(self):
        answer = self.get("/https/a?b=c", "-H", "Host: shop.example:8080")
        self.assertEqual((answer.status, self.header(answer, "location")), (301, "https://shop.example/https/a?b=c"))
        answer = self.get("/moved/a?b=c", "-H", "Host: shop.example")
        self.assertEqual((answer.status, self.header(answer, "location")), (307, "http://new.example/here/a?b=c"))
        self.assertEqual(self.backend.take(), [])

    def test_respond(self):
        for version in ("--http1.1", "--http2-prior-knowledge"):
            answer = self.get("/teapot", version)
            self.assertEqual((answer.status, self.header(answer, "content-type")), (418, "text/x-tea"))
            self.assertTrue(answer.body.endswith("short and stout"))

    def test_rewrite(self):
        self.get("/rewritten/a/b?c=d")
        request = self.last()
        self.assertEqual((request.target, request.get("Host")), ("/to/a/b?c=d", "inner.example"))
        self.get("/pattern/12/ab?x")
        self.assertEqual(self.last().target, "/ab/12?x")

    def test_header_edits(self):
        self.backend.on("/edited", b"HTTP/1.1 200 OK\r\nX-Server: secret\r\nX-Answer: theirs\r\nContent-Length: 0\r\n\r\n")
        for version in ("--http1.1", "--http2-prior-knowledge"):
            answer = self.get("/edited", "-H", "X-Bad: 1", "-H", "X-Set: theirs", "-H", "X-Add: one", version)
            request = self.last()
            self.assertEqual((request.get("X-Bad"), request.values("X-Set"), request.values("X-Add")), (None, ["ours"], ["one", "too"]))
            self.assertEqual((self.header(answer, "x-server"), self.header(answer, "x-answer")), (None, "set"))

    def test_error_pages(self):
        self.assertIn("<h1>own page</h1>", self.get("/page").body)
        answer = self.get("/global")
        self.assertEqual((answer.status, answer.body.splitlines()[-1]), (502, "<p>global page</p>"))
        self.backend.on("/theirs", b"HTTP/1.1 502 Bad\r\nContent-Length: 6\r\n\r\ntheirs")
        self.assertTrue(self.get("/theirs").body.endswith("theirs"), "a server's own answer is passed on")

    def many(self, path, count):
        statuses = collections.Counter()
        with Client(self.server.port) as client:
            for _ in range(count):
                statuses[client.get(path).status] += 1
        return statuses

    def test_split_by_weight(self):
        """2,000 requests over 3:1; chi-square with one degree of freedom, one false alarm in 10,000."""
        self.assertEqual(self.many("/split", 2000), {200: 2000})
        took = [len(each.take()) for each in self.all_backends[:2]]
        chi = (took[0] - 1500) ** 2 / 1500 + (took[1] - 500) ** 2 / 500
        self.assertLess(chi, 15.14, took)

    def test_mirror(self):
        answer = self.get("/mirrored", "--data-binary", "body of it", "-H", "X-Secret: 1", "-H", "X-Plimsoll-Mirror: forged")
        self.assertEqual(answer.status, 200)
        original = self.last()
        copies = wait_until("the copy arrives", lambda: self.all_backends[2].take())
        self.assertEqual([(each.method, each.target, each.body) for each in copies], [("POST", "/inside", b"body of it")])
        self.assertEqual((copies[0].get("Host"), copies[0].get("X-From"), copies[0].get("X-Secret")), ("in.example", "edge", None))
        self.assertEqual([line for line in copies[0].headers if line != (b"X-Plimsoll-Mirror", b"true")], original.headers)
        self.assertEqual((copies[0].values("X-Plimsoll-Mirror"), original.values("X-Plimsoll-Mirror")), (["true"], []))
        self.all_backends[2].on("/inside", b"nonsense\r\n\r\n")
        self.assertEqual(self.many("/mirrored", 20), {200: 20}, "nobody waits for a copy")
        self.many("/half", 400)
        wait_until("copies", lambda: 120 < len([each for each in self.all_backends[2].requests if each.target == "/half"]) < 280)

    def test_faults(self):
        begun = time.monotonic()
        self.assertEqual(self.get("/delayed").status, 200)
        self.assertGreaterEqual(time.monotonic() - begun, 0.3)
        answer = self.get("/aborted")
        self.assertEqual((answer.status, self.header(answer, "x-plimsoll-cause")), (429, "fault_injected"))
        failed = self.many("/sometimes", 1000)[599]
        self.assertTrue(140 < failed < 260, failed)  # 0.2 +- 4.7 standard deviations

    def test_rate_limit(self):
        answers = [self.get("/limited") for _ in range(8)]
        statuses = [answer.status for answer in answers]
        self.assertEqual(statuses[:5], [200] * 5)
        self.assertIn(429, statuses)
        refused = next(answer for answer in answers if answer.status == 429)
        self.assertGreaterEqual(int(self.header(refused, "retry-after")), 1)
        self.assertEqual(self.header(refused, "x-plimsoll-cause"), "rate_limited")

    def test_rate_limit_by_header(self):
        for key in ("a", "b"):
            statuses = [self.get("/keyed", "-H", f"X-Key: {key}").status for _ in range(4)]
            self.assertEqual(statuses[:2], [200, 200], key)
            self.assertIn(429, statuses)

    def test_conditions(self):
        def backend_of(*arguments):
            self.get(*arguments)
            return [index for index, each in enumerate(self.all_backends) if each.take()]
        self.assertEqual(backend_of("/query?x=1&a=b"), [1])
        self.assertEqual(backend_of("/query?a=c"), [0])
        self.assertEqual(backend_of("/query?a=b", "-X", "DELETE"), [0])
        self.assertEqual(backend_of("/", "-H", "Host: very.FAR.example"), [1])
        self.assertEqual(backend_of("/", "-H", "Host: far.example"), [0])


class Sessions(PeerTest):
    backends = 4
    changes = {"guard": EASY, "pools": {"web": {"affinity": {"cookie": "sid", "secret": SECRET}, "policy": "round_robin"},
                                        "hashed": {"policy": "maglev", "hash": {"by": "header", "name": "X-User"}, "health": "off",
                                                   "ejection": {"enabled": False}}}}

    @classmethod
    def configure(cls, config):
        config["pools"]["hashed"]["endpoints"] = config["pools"]["web"]["endpoints"]
        config["routes"].insert(0, {"name": "hashed", "match": {"path_prefix": "/hashed"}, "pool": "hashed"})

    def who(self, client, path="/s", headers=b""):
        """(index of the backend, cookie that was set or None)"""
        answer = client.get(path, headers)
        self.assertEqual(answer.status, 200)
        took = [index for index, each in enumerate(self.all_backends) for request in each.take() if request.target == path]
        self.assertEqual(len(took), 1)
        return took[0], answer.get("Set-Cookie")

    def test_cookie(self):
        """It stays; over a change too; and moves only when its endpoint goes."""
        with Client(self.server.port) as client:
            sessions = {}
            for _ in range(8):
                at, cookie = self.who(client)
                self.assertRegex(cookie, r"^sid=[\w-]+; Path=/; HttpOnly; SameSite=Lax$")
                sessions[b"Cookie: " + cookie.split(";")[0].encode() + b"\r\n"] = at
            self.assertEqual(set(sessions.values()), {0, 1, 2, 3})
            for _ in range(3):
                for cookie, at in sessions.items():
                    self.assertEqual(self.who(client, "/s", cookie), (at, None))
            forged = b"Cookie: sid=" + b"A" * 39 + b"\r\n"
            self.assertIsNotNone(self.who(client, "/s", forged)[1], "a forged cookie is replaced")
        endpoints = self.server.config["pools"]["web"]["endpoints"]
        apply(self.server, {}, replace={"pools.web.endpoints": endpoints[1:] + [dict(endpoints[1], name="twin", address="127.0.0.1:1", weight=0)]})
        for each in self.all_backends:
            each.take()
        with Client(self.server.port) as client:
            for cookie, at in sessions.items():
                now, replaced = self.who(client, "/s", cookie)
                if at == 0:
                    self.assertNotEqual(now, 0)
                    self.assertIsNotNone(replaced)
                else:
                    self.assertEqual((now, replaced), (at, None))

    def test_hash(self):
        with Client(self.server.port) as client:
            users = {b"X-User: u%d\r\n" % i: None for i in range(40)}
            for user in users:
                users[user] = self.who(client, "/hashed", user)[0]
            self.assertEqual(set(users.values()), {0, 1, 2, 3})
            for user, at in users.items():
                self.assertEqual(self.who(client, "/hashed", user)[0], at)
        with Client(self.server.port) as other:
            for user, at in users.items():
                self.assertEqual(self.who(other, "/hashed", user)[0], at)


if __name__ == "__main__":
    unittest.main()
