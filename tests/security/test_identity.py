"""Who the client is said to be, and what an attacker can write into our logs."""

import re

from harness import Client, PeerTest, trusting_peers, variants, wait_until

LOOPBACK = ["127.0.0.0/8"]


class NobodyIsTrusted(PeerTest):
    """X-Forwarded-For and kin are replaced: a client cannot say who it is."""

    @variants(
        ("one", b"X-Forwarded-For: 10.0.0.1\r\n"), ("list", b"X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\n"),
        ("lines", b"X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 10.0.0.2\r\n"), ("case", b"x-FORWARDED-for: 10.0.0.1\r\n"),
        ("listed", b"Connection: X-Forwarded-For\r\nX-Forwarded-For: 10.0.0.1\r\n"), ("empty", b"X-Forwarded-For:\r\n"),
        ("port", b"X-Forwarded-For: 10.0.0.1:1234\r\n"), ("script", b"X-Forwarded-For: <script>\r\n"),
    )
    def test_forwarded_for(self, header):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n")
        self.assertEqual(request.values("X-Forwarded-For"), ["127.0.0.1"])

    @variants(
        ("forwarded", b"Forwarded: for=10.0.0.1;proto=https;host=evil\r\n", "Forwarded"),
        ("forwarded_twice", b"Forwarded: for=10.0.0.1\r\nForwarded: for=\"[::1]\"\r\n", "Forwarded"),
        ("proto", b"X-Forwarded-Proto: https\r\n", "X-Forwarded-Proto"),
        ("host", b"X-Forwarded-Host: evil\r\n", "X-Forwarded-Host"),
        ("port", b"X-Forwarded-Port: 443\r\n", "X-Forwarded-Port"),
        ("real_ip", b"X-Real-IP: 10.0.0.1\r\n", "X-Real-IP"),
    )
    def test_kin(self, header, name):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n")
        joined = " ".join(request.values(name))
        self.assertNotRegex(joined, "10\\.0\\.0|evil|https|443|::1")

    @variants(*[(f"{number}", name) for number, name in enumerate((
        b"X_Forwarded_For", b"X-Forwarded_For", b"X_Real_IP", b"X_Forwarded_Proto", b"X_Forwarded_Host"))])
    def test_underscores(self, name):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + name + b": 10.0.0.1\r\n\r\n")
        self.assertEqual(request.values(name.decode()), [])

    @variants(("cause", "X-Plimsoll-Cause"), ("any", "X-Plimsoll-Anything"))
    def test_our_own_names_are_stripped(self, name):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + name.encode() + b": 1\r\n\r\n")
        self.assertEqual(request.values(name), [])

    def test_log_names_the_peer(self):
        self.forwarded(b"GET /who HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/who")["client"], "127.0.0.1")


class PeersAreTrusted(PeerTest):
    """Behind a proxy of ours: its word is kept and the peer is added."""

    changes = {"listeners": {"web": trusting_peers(LOOPBACK)}}

    def test_appended(self):
        request, _ = self.forwarded(b"GET /a HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n"
                                    b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n\r\n")
        self.assertEqual(re.split(r"\s*,\s*", ", ".join(request.values("X-Forwarded-For"))),
                         ["10.0.0.1", "10.0.0.2", "192.0.2.7", "127.0.0.1"])
        self.assertEqual(request.values("X-Forwarded-Proto"), ["https"])
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/a")["client"], "192.0.2.7")

    @variants(("name", b"evil.example"), ("script", b"<script>alert(1)</script>"), ("quote", b"1\"2"), ("empty", b","),
              ("unknown", b"unknown"), ("too_many_parts", b"1.2.3.4.5"), ("overflow", b"256.0.0.1"))
    def test_nonsense_is_not_an_address(self, value):
        self.forwarded(b"GET /b HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: " + value + b"\r\n\r\n")
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/b")["client"], "127.0.0.1")

    @variants(("two_protos", b"X-Forwarded-Proto: https, http\r\n", "X-Forwarded-Proto"),
              ("two_lines", b"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", "X-Forwarded-Proto"))
    def test_one_value_each(self, header, name):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n")
        self.assertEqual(len(request.values(name)), 1)


class TrustHasANetwork(PeerTest):
    """A peer outside the trusted networks is nobody's proxy."""

    changes = {"listeners": {"web": trusting_peers(["192.0.2.0/24"])}}

    def test_peer_outside(self):
        if "trusted_proxies" not in self.changes["listeners"]["web"]:
            self.skipTest("this version trusts everybody or nobody: trusted_proxies is not there yet")
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n")
        self.assertEqual(request.values("X-Forwarded-For"), ["127.0.0.1"])


class ChainOfProxies(PeerTest):
    """The client is the last address that is not a proxy of ours: what stands before it is its own claim."""

    changes = {"listeners": {"web": trusting_peers(["127.0.0.0/8", "10.0.0.0/8"])}}

    @variants(("one_proxy", b"192.0.2.7", "192.0.2.7"), ("two_proxies", b"192.0.2.7, 10.0.0.2", "192.0.2.7"),
              ("a_claim_before", b"203.0.113.1, 192.0.2.7, 10.0.0.2", "192.0.2.7"),
              ("a_trusted_claim_before", b"10.9.9.9, 192.0.2.7", "192.0.2.7"), ("ipv6", b"2001:db8::1, 10.0.0.3", "2001:db8::1"))
    def test_client(self, chain, client):
        if "trusted_proxies" not in self.changes["listeners"]["web"]:
            self.skipTest("trusted_proxies is not there yet")
        self.server.access_log.write_bytes(b"")
        self.forwarded(b"GET /chain HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: " + chain + b"\r\n\r\n")
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/chain")["client"], client)


class Logs(PeerTest):
    """One line of plain ASCII JSON a request, whatever the request says."""

    FORGED = b'{"time":"forged"}'

    def lines_for(self, raw):
        earlier = self.good_client_is_served()
        self.server.log_line(lambda line: line["path"] == earlier)  # and with it all before it
        self.server.access_log.write_bytes(b"")
        with Client(self.server.port) as client:
            client.send(raw)
            client.response()
        self.server.log_line(lambda line: True)
        text = self.server.access_log.read_bytes()
        self.assertNotRegex(text, rb"[^\x20-\x7e\n]", "a byte that a terminal might obey")
        lines = self.server.log_lines()  # each line parses
        self.assertEqual(len(lines), 1, text)
        self.assertNotEqual(lines[0]["time"], "forged")
        return lines[0]

    @variants(
        ("encoded_newline", b"/%0a" + FORGED.replace(b'"', b"%22")), ("quote", b'/"},{"a":"b'), ("query", b"/?\\\"\\n"),
        ("escape_encoded", b"/%1b[2J"), ("angle", b"/<script>"), ("backslash_in_query", b"/?\\u000a"), ("long", b"/" + b"\"" * 4000),
        ("braces", b"/{}[]"), ("percent_s", b"/%25s%25n"), ("jndi", b"/${jndi:ldap://t/a}"),
    )
    def test_target(self, target):
        line = self.lines_for(b"GET " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        if line["status"] == 200:
            self.assertEqual(line["path"].encode(), target.split(b"?")[0])

    @variants(("newline", b"GET /a\nb HTTP/1.1\r\nHost: t\r\n\r\n"), ("control", b"GET /\x1b[31m HTTP/1.1\r\nHost: t\r\n\r\n"),
              ("high", b"GET /\xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n"), ("host", b"GET / HTTP/1.1\r\nHost: \"t\r\n\r\n"),
              ("method", b"\"{}' / HTTP/1.1\r\nHost: t\r\n\r\n"))
    def test_refused_requests(self, raw):
        self.assertEqual(self.lines_for(raw)["cause"], "bad_request")

    @variants(("quotes", b"a\"b"), ("utf8", b"\xc3\xa9"), ("blank", b"a b"), ("long", b"a" * 200), ("tab", b"a\tb"),
              ("brace", b"{}"), ("angle", b"<b>"), ("empty", b""))
    def test_request_id_that_is_not_one_is_replaced(self, value):
        line = self.lines_for(b"GET / HTTP/1.1\r\nHost: t\r\nX-Request-Id: " + value + b"\r\n\r\n")
        self.assertRegex(line["request_id"], "^[0-9a-f]{32}$")

    def test_request_id_is_one(self):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n")
        self.assertEqual(len(request.values("X-Request-Id")), 1)

    def test_standard_error_says_nothing_of_theirs(self):
        self.lines_for(b"GET /stderr-marker HTTP/1.1\r\nHost: stderr-marker\r\n\r\n")
        self.assertNotIn("stderr-marker", self.server.stderr())

    def test_metrics_say_nothing_of_theirs(self):
        self.lines_for(b"GET /metrics-marker HTTP/1.1\r\nHost: metrics-marker\r\n\r\n")
        self.assertNotIn(b"metrics-marker", self.server.admin(path="/metrics")[2])


class TextLogs(PeerTest):
    """The same for the log that people read: fourteen fields a line, whatever the request says."""

    changes = {"access_log_format": "text"}
    LINE = re.compile(
        rb'\S+Z \S+ \S+ \S*/\S*/\S* [0-9.]+(/[0-9.]+){4} \d+(/grpc=\d+)? \S+ \d+/\d+ tries=\d(\+panic)? r\d+(/candidate)? '
        rb'http[12](\+tunnel)? "[!-~]* [!-~]* [!-~]*" \S+\n')

    def lines_for(self, raw):
        marker = b"/marker-%d" % next(self._canary)
        with Client(self.server.port) as client:
            client.send(raw)
            client.response()
        with Client(self.server.port) as client:
            client.get(marker.decode())
        wait_until("both are written", lambda: marker in self.server.access_log.read_bytes())
        lines = self.server.access_log.read_bytes().splitlines(keepends=True)
        self.server.access_log.write_bytes(b"")
        for line in lines:
            self.assertRegex(line, rb"\A" + self.LINE.pattern + rb"\Z")
        self.assertEqual(len(lines), 2, lines)
        return lines[0]

    @variants(
        ("encoded_newline", b"GET /%0a2026-11-22T10:23:04.310Z HTTP/1.1\r\nHost: t\r\n\r\n"), ("quote", b'GET /"%20-%20" HTTP/1.1\r\nHost: t\r\n\r\n'),
        ("backslash", b"GET /\\x22\\ HTTP/1.1\r\nHost: t\r\n\r\n"), ("newline", b"GET /a\nb HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("control", b"GET /\x1b[31m HTTP/1.1\r\nHost: t\r\n\r\n"), ("high", b"GET /\xff\xfe HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("host", b'GET / HTTP/1.1\r\nHost: "t\r\n\r\n'), ("method", b'"{}\' / HTTP/1.1\r\nHost: t\r\n\r\n'),
        ("long", b"GET /" + b'"' * 4000 + b" HTTP/1.1\r\nHost: t\r\n\r\n"), ("request_id", b"GET / HTTP/1.1\r\nHost: t\r\nX-Request-Id: a b\r\n\r\n"))
    def test_no_field_can_be_added(self, raw):
        self.lines_for(raw)


if __name__ == "__main__":
    import unittest
    unittest.main()
