"""Rules about paths, hosts and headers: what was matched is what is forwarded, and values cannot hide behind each other."""

import unittest

from harness import PeerTest, schema_has, variants


def second_pool(config, route):
    """The second backend gets a pool of its own and a route before the others."""
    pool = config["pools"]["web"]
    config["pools"]["internal"] = dict(pool, endpoints=pool["endpoints"][1:])
    pool["endpoints"] = pool["endpoints"][:1]
    config["routes"].insert(0, dict(route, pool="internal"))


class Paths(PeerTest):
    """No normalisation, neither before matching nor after: a rule sees the very bytes that the backend will see."""

    backends = 2

    @classmethod
    def configure(cls, config):
        second_pool(config, {"name": "internal", "match": {"path_prefix": "/internal"}})

    def arrived(self, target):
        """(number of the backend, target as it arrived there)"""
        self.connect().send(b"GET " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n").response()
        found = [(number, request.second) for number, backend in enumerate(self.all_backends) for request in backend.take()]
        self.assertEqual(len(found), 1)
        return found[0]

    @variants(("itself", b"/internal"), ("below", b"/internal/x"), ("query", b"/internal?x"), ("slash", b"/internal/"),
              ("dots_below", b"/internal/../x"), ("encoded_slash_below", b"/internal/%2e%2e%2fx"), ("absolute", b"http://t/internal"))
    def test_matches(self, target):
        self.assertEqual(self.arrived(target), (1, target.removeprefix(b"http://t")))

    @variants(("longer_word", b"/internalx"), ("upper", b"/INTERNAL"), ("double_slash", b"//internal"), ("dot", b"/./internal"),
              ("dots", b"/x/../internal"), ("encoded_letter", b"/%69nternal"), ("encoded_slash", b"/%2finternal"),
              ("encoded_slash_after", b"/internal%2fx"), ("semicolon", b"/internal;a=b"), ("encoded_dots", b"/x/%2e%2e/internal"),
              ("double_encoded", b"/%2569nternal"), ("query_only", b"/?/internal"))
    def test_does_not_match_and_arrives_as_it_is(self, target):
        """A backend that normalises reads some of these as /internal: who relies on a path rule must know (docs/security.md)."""
        self.assertEqual(self.arrived(target), (0, target))

    @variants(("nul", b"/internal%00"), ("nul_in_the_middle", b"/inter%00nal"), ("backslash", b"/\\internal"), ("cut_escape", b"/internal%2"))
    def test_refused(self, target):
        self.refused(b"GET " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n", 400)


class Hosts(PeerTest):
    backends = 2

    @classmethod
    def configure(cls, config):
        second_pool(config, {"name": "internal", "match": {"host": "internal.example"}})

    def backend_for(self, head):
        self.connect().send(b"GET " + head + b"\r\n\r\n").response()
        found = [number for number, backend in enumerate(self.all_backends) for _ in backend.take()]
        self.assertEqual(len(found), 1)
        return found[0]

    @variants(("plain", b"/ HTTP/1.1\r\nHost: internal.example"), ("case", b"/ HTTP/1.1\r\nHost: INTERNAL.Example"),
              ("port", b"/ HTTP/1.1\r\nHost: internal.example:8080"), ("absolute", b"http://internal.example/ HTTP/1.1\r\nHost: t"))
    def test_matches(self, head):
        self.assertEqual(self.backend_for(head), 1)

    @variants(("absolute_form_wins", b"http://t/ HTTP/1.1\r\nHost: internal.example"), ("longer", b"/ HTTP/1.1\r\nHost: xinternal.example"),
              ("below", b"/ HTTP/1.1\r\nHost: a.internal.example"), ("forwarded_host", b"/ HTTP/1.1\r\nHost: t\r\nX-Forwarded-Host: internal.example"))
    def test_does_not_match(self, head):
        self.assertEqual(self.backend_for(head), 0)


class HeaderRules(PeerTest):
    """Envoy CVE-2026-26308: a rule sees each value of a field and the joined one."""

    backends = 2

    @classmethod
    def configure(cls, config):
        if not schema_has("path_regex"):
            for backend in cls.all_backends:
                backend.stop()
            raise unittest.SkipTest("this version has no rules about headers")
        second_pool(config, {"name": "internal", "match": {"headers": [{"name": "x-role", "exact": "admin"}]}})

    def backend_for(self, headers):
        self.connect().send(b"GET / HTTP/1.1\r\nHost: t\r\n" + headers + b"\r\n").response()
        return [number for number, backend in enumerate(self.all_backends) for _ in backend.take()]

    @variants(("one", b"X-Role: admin\r\n"), ("first_of_two", b"X-Role: admin\r\nX-Role: user\r\n"),
              ("second_of_two", b"X-Role: user\r\nX-Role: admin\r\n"), ("case_of_the_name", b"x-ROLE: admin\r\n"),
              ("blanks", b"X-Role: \t admin \r\n"), ("empty_first", b"X-Role:\r\nX-Role: admin\r\n"))
    def test_matches(self, headers):
        self.assertEqual(self.backend_for(headers), [1])

    @variants(("none", b""), ("other", b"X-Role: user\r\n"), ("other_name", b"X-Roles: admin\r\n"), ("case_of_the_value", b"X-Role: Admin\r\n"))
    def test_does_not_match(self, headers):
        self.assertEqual(self.backend_for(headers), [0])


if __name__ == "__main__":
    unittest.main()
