"""What a backend answers: splitting, desync, truncation, early and unread bodies, Expect.

An answer that could be read in two ways becomes a 502 or a cut, and its connection is never used again: otherwise the
next client gets somebody else's answer.
"""

import threading
import time

from harness import Malformed, PeerTest, plain_answer, variants, wait_until

QUICK = {
    "listeners": {"web": {"head_timeout": "2s", "body_idle_timeout": "1s", "idle_timeout": "5s"}},
    "pools": {"web": {"timeouts": {"per_try": "1s", "total": "2s", "idle": "500ms"},
                      "retry": {"attempts": 1}}},
}
STALE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"


class Answers(PeerTest):
    changes = QUICK

    def answered(self, raw, path="/bad", method="GET"):
        """One request whose answer is `raw`. Gives (answer or None, everything after it, how the connection ended)."""
        self.backend.on(path, raw)
        client = self.connect().send(f"{method} {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
        try:
            answer = client.response(method)
        except (EOFError, OSError, Malformed):
            answer = None
        if answer is not None and answer.complete and answer.get("Connection") != "close":
            rest, end = b"", "open"
        else:
            rest, end = client.rest(1.0)
        return answer, rest, end, client

    def used(self, path="/bad"):
        """The backend's connection on which `path` was asked for."""
        return [c for c in self.backend.connections if f" {path} ".encode() in c.received][-1]

    def never_reused(self, path="/bad"):
        before = len(self.used(path).received)
        for _ in range(3):
            self.good_client_is_served()
        self.assertEqual(len(self.used(path).received), before, "its connection was used again")

    @variants(
        ("both_framings", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("te_obfuscated", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("te_gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("te_twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("te_in_http10", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("cl_twice", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("cl_twice_same", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
        ("cl_list", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"),
        ("cl_plus", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ("cl_minus", b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
        ("cl_empty", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello"),
        ("cl_overflow", b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551621\r\n\r\nhello"),
        ("nul_in_value", b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n"),
        ("bare_cr_in_value", b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n"),
        ("bare_lf", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
        ("bare_lf_in_value", b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n"),
        ("obs_fold", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("blank_before_colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("empty_name", b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n"),
        ("no_colon", b"HTTP/1.1 200 OK\r\nfoo\r\nContent-Length: 0\r\n\r\n"),
        ("status_word", b"HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status_two_digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status_four_digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
        ("status_000", b"HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n"),
        ("status_600", b"HTTP/1.1 600 X\r\nContent-Length: 0\r\n\r\n"),
        ("status_999", b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n"),
        ("status_negative", b"HTTP/1.1 -20 X\r\nContent-Length: 0\r\n\r\n"),
        ("version_2", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("version_lower", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("icy", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("http09", b"<html>hello</html>\r\n\r\n"),
        ("a_request", b"GET / HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("tls_alert", b"\x15\x03\x03\x00\x02\x02\x28"),
        ("h2_settings", b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        ("reason_control", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n"),
        ("reason_nul", b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n"),
        ("head_endless", b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (i, b"y" * 200) for i in range(2000))),
        ("one_header_huge", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200000 + b"\r\n\r\n"),
        ("interim_flood", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100 + STALE),
        ("interim_with_length", b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + STALE),
    )
    def test_malformed_head_is_502(self, raw):
        answer, rest, _, client = self.answered(raw)
        self.assertIsNotNone(answer)
        self.assertEqual((answer.status, rest), (502, b""), answer.raw[:300])
        self.assertIn(answer.get("X-Plimsoll-Cause"), ("upstream_protocol", "upstream_reset"))
        self.assertNotIn(b"evil", answer.raw)
        self.assertEqual(client.get("/next").body, b"GET /next")
        self.never_reused()

    @variants(
        ("a_second_answer", plain := b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + STALE, b"ok", "GET"),
        ("one_byte_more", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX", b"ok", "GET"),
        ("crlf_more", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n", b"ok", "GET"),
        ("after_chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + STALE, b"ok", "GET"),
        ("body_to_head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"", "HEAD"),
        ("answer_after_head", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + STALE, b"", "HEAD"),
        ("chunks_to_head", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", b"", "HEAD"),
        ("body_with_204", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", b"", "GET"),
        ("chunks_with_204", b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"", "GET"),
        ("body_with_304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", b"", "GET"),
        ("answer_after_304", b"HTTP/1.1 304 Not Modified\r\n\r\n" + STALE, b"", "GET"),
    )
    def test_surplus_never_reaches_anybody(self, raw, body, method):
        """Bytes behind an answer are nobody's: not this client's next answer, not another client's."""
        answer, _, _, client = self.answered(raw, method=method)
        self.assertEqual((answer.body, answer.complete), (body, True), answer.raw)
        after = client.get("/next") if answer.get("Connection") != "close" else self.connect().get("/next")
        self.assertEqual(after.body, b"GET /next")
        for _ in range(4):
            self.good_client_is_served()
        self.never_reused()

    def test_late_surplus(self):
        """An unasked answer on a kept connection, sent after the right one: a queue poisoned in advance."""
        def poison(connection, request):
            connection.reader.request_body(request)
            connection.send(plain_answer(request))
            time.sleep(0.1)
            connection.send(STALE)
            return True
        self.backend.on("/poison", poison)
        self.assertEqual(self.connect().get("/poison").body, b"GET /poison")
        self.used("/poison")
        time.sleep(0.2)
        self.never_reused("/poison")

    @variants(
        ("length", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "close"),
        ("length_reset", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "reset"),
        ("length_stall", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", "stall"),
        ("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "close"),
        ("chunked_in_chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello", "close"),
        ("chunked_reset", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "reset"),
        ("chunked_stall", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "stall"),
        ("chunked_last_crlf", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "close"),
        ("until_close_reset", b"HTTP/1.1 200 OK\r\n\r\nhello", "reset"),
    )
    def test_truncated(self, raw, how):
        """The client must see that the answer is not whole, and the cut is counted."""
        def cut(connection, request):
            connection.send(raw)
            time.sleep(0.05)
            if how == "reset":
                connection.reset()
            elif how == "stall":
                connection.wait_for_end()
            return False
        self.backend.on("/cut", cut)
        client = self.connect().send(b"GET /cut HTTP/1.1\r\nHost: t\r\n\r\n")
        data, end = client.rest(2.0)
        self.assertEqual(end, "reset", data)
        self.assertFalse(data.endswith(b"0\r\n\r\n"), data)
        line = self.server.log_line(lambda each: each["path"] == "/cut")
        self.server.access_log.write_text("")
        self.assertEqual(line["cause"], "upstream_idle" if how == "stall" else "upstream_truncated")
        self.good_client_is_served()

    @variants(
        ("size", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"),
        ("size_negative", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n-1\r\n"),
        ("size_overflow", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nfffffffffffffffff\r\n"),
        ("bare_lf", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\nworld\r\n0\r\n\r\n"),
        ("too_long", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX\r\n0\r\n\r\n"),
        ("trailer_nul", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: \x00\r\n\r\n"),
    )
    def test_malformed_chunks(self, raw):
        answer, rest, end, _ = self.answered(raw)
        if answer is not None and answer.complete:
            self.assertEqual(answer.status, 502)
        else:
            self.assertEqual(end, "reset")
        self.never_reused()

    def test_trailers_and_extensions_of_an_answer_are_dropped(self):
        answer, *_ = self.answered(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   b"5;a=b\r\nhello\r\n0;c\r\nSet-Cookie: evil=1\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual((answer.body, answer.trailers), (b"hello", []))
        self.assertNotIn(b"evil", answer.raw)

    @variants(
        ("connection_lists", b"Connection: X-Hop\r\nX-Hop: 1\r\n", "X-Hop"),
        ("keep_alive", b"Keep-Alive: timeout=100\r\n", "Keep-Alive"),
        ("proxy_authenticate", b"Proxy-Authenticate: Basic\r\n", "Proxy-Authenticate"),
        ("upgrade", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", "Upgrade"),
        ("trailer", b"Trailer: X\r\n", "Trailer"),
    )
    def test_hop_by_hop(self, header, gone):
        answer, *_ = self.answered(b"HTTP/1.1 200 OK\r\n" + header + b"Content-Length: 2\r\n\r\nok")
        self.assertEqual((answer.status, answer.body, answer.values(gone)), (200, b"ok", []))

    def test_content_length_cannot_be_listed_away(self):
        answer, _, _, client = self.answered(b"HTTP/1.1 200 OK\r\nConnection: content-length\r\nContent-Length: 2\r\n\r\nok")
        self.assertEqual(answer.body, b"ok")
        self.assertEqual(client.get("/next").body, b"GET /next")

    @variants(("at_once", b""), ("half_a_line", b"HTTP/1.1 2"), ("half_a_head", b"HTTP/1.1 200 OK\r\nX: y\r\n"))
    def test_closed_before_the_head_ends(self, raw):
        self.backend.on("/gone", lambda connection, request: connection.send(raw) or False)
        answer = self.connect().get("/gone")
        self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (502, "upstream_reset"))
        self.good_client_is_served()

    def test_silent_backend(self):
        self.backend.on("/silent", lambda connection, request: connection.wait_for_end() and False)
        answer = self.connect().get("/silent")
        self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (504, "try_timeout"))
        self.good_client_is_served()

    def test_half_closed_backend_still_answers(self):
        def half(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
            connection.half_close()
            connection.wait_for_end()
            return False
        self.backend.on("/half", half)
        self.assertEqual(self.connect().get("/half").body, b"all of it")
        self.never_reused("/half")


class EarlyAnswers(PeerTest):
    """An answer before the body ends: the rest is drained within a bound, or both sides close (0.CL, unread bodies)."""

    changes = QUICK

    def setUp(self):
        super().setUp()
        self.backend.on("/early", self.early)
        self.backend.on("/early-close", lambda connection, request: connection.send(self.refusal) or False)
        self.backend.on("/careless", self.careless)
        self.refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"

    def early(self, connection, request):
        connection.send(self.refusal)
        connection.reader.request_body(request)  # as a sound server does before it takes another request
        return True

    def careless(self, connection, request):
        connection.send(self.refusal)  # and takes the body for the next request: the victim of 0.CL
        return True

    @variants(
        ("length", b"Content-Length: 35\r\n", b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("chunked", b"Transfer-Encoding: chunked\r\n", b"23\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n\r\n0\r\n\r\n"),
        ("rest_never_comes", b"Content-Length: 1000\r\n", b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("nothing_comes", b"Content-Length: 35\r\n", b""),
        ("large", b"Content-Length: 10000000\r\n", b"x" * 10000000),
    )
    def test_rest_of_the_body_is_never_a_request(self, header, body):
        for path in (b"/early", b"/early-close"):
            client = self.connect().send(b"POST " + path + b" HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n")
            sender = threading.Thread(target=client.send, args=(body,))
            sender.start()
            answer = client.response()
            self.assertIn((answer.status, answer.body), ((403, b"no"), (502, answer.body)))
            if answer.get("Connection") == "close":
                self.assertIn(client.rest(3.0)[1], ("closed", "reset"))
            sender.join()
            client.close()
            self.assertEqual([r.target for r in self.backend_got() if r.target == "/smuggled"], [])
            for _ in range(3):
                self.good_client_is_served()

    @variants(("length", b"Content-Length: 35\r\n", b""), ("chunked", b"Transfer-Encoding: chunked\r\n", b"23\r\n"),
              ("length_part", b"Content-Length: 37\r\n", b"xx"))
    def test_body_held_back_until_the_answer(self, header, first):
        """0.CL against a backend that ignores bodies: what comes after its answer must not reach it any more."""
        client = self.connect().send(b"POST /careless HTTP/1.1\r\nHost: t\r\n" + header + b"\r\n" + first)
        self.assertEqual(client.response().status, 403)
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n")
        client.rest(0.3)
        with self.backend.lock:
            self.backend.malformed = []  # a part of the body may have been on its way
        for _ in range(3):
            self.good_client_is_served()
        self.assertEqual([r.target for r in self.backend_got() if r.target == "/smuggled"], [])

    def test_pipelined_behind_an_unread_body(self):
        """Pingora CVE-2025-4366: the next request on the connection must not be eaten as, or made from, the body."""
        body = b"x" * 100
        client = self.connect().send(b"POST /early HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\n" + body[:50])
        self.assertEqual(client.response().status, 403)
        client.send(body[50:] + b"GET /after HTTP/1.1\r\nHost: t\r\n\r\n")
        data, _ = client.rest(0.5)
        if data:
            self.assertTrue(data.endswith(b"GET /after"), data)
        self.assertEqual([r.target for r in self.backend_got() if r.target not in ("/early", "/after")], [])

    def test_our_own_answer_with_the_body_still_coming(self):
        """404 by us: no backend; the body is drained or the connection closes, it is never read as a request."""
        client = self.connect().send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5, 5\r\n\r\n")
        self.assertEqual(client.response().status, 400)
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertEqual(client.rest(2.0)[0], b"")
        self.assertEqual(self.backend_got(), [])


class Expect(PeerTest):
    changes = QUICK

    def post(self, headers, target=b"/x", version=b"1.1", method=b"POST"):
        return self.connect().send(method + b" " + target + b" HTTP/" + version + b"\r\nHost: t\r\n" + headers + b"\r\n")

    @variants(("plain", b"100-continue"), ("upper", b"100-CONTINUE"))
    def test_continue(self, value):
        client = self.post(b"Expect: " + value + b"\r\nContent-Length: 3\r\n")
        self.assertEqual(client.response().status, 100)
        client.send(b"abc")
        self.assertEqual(client.response().body, b"POST /x")
        request, = self.backend_got()
        self.assertEqual((request.body, request.values("Expect")), (b"abc", []))
        self.assertEqual(client.get("/again").body, b"GET /again")

    @variants(
        ("other", b"Expect: 200-ok\r\n"), ("list", b"Expect: 100-continue, x\r\n"),
        ("twice", b"Expect: 100-continue\r\nExpect: 100-continue\r\n"), ("obfuscated", b"Expect: y 100-continue\r\n"),
        ("empty", b"Expect:\r\n"), ("quoted", b"Expect: \"100-continue\"\r\n"), ("prefix", b"Expect: 100-continuex\r\n"),
        ("parameter", b"Expect: 100-continue;a=b\r\n"),
    )
    def test_other_expectations(self, header):
        self.refused(b"POST /x HTTP/1.1\r\nHost: t\r\n" + header + b"Content-Length: 3\r\n\r\nabc", 400, 417)

    @variants(("folded", b"Expect:\r\n 100-continue\r\n"), ("space_before_colon", b"Expect : 100-continue\r\n"))
    def test_obfuscated(self, header):
        self.refused(b"POST /x HTTP/1.1\r\nHost: t\r\n" + header + b"Content-Length: 3\r\n\r\nabc", 400)

    def test_body_without_waiting(self):
        client = self.post(b"Expect: 100-continue\r\nContent-Length: 3\r\n").send(b"abc")
        answer = client.response()
        if answer.status == 100:
            answer = client.response()
        self.assertEqual(answer.body, b"POST /x")
        self.assertEqual([r.body for r in self.backend_got()], [b"abc"])

    @variants(("get", b"GET"), ("head", b"HEAD"), ("post", b"POST"))
    def test_without_a_body_nothing_is_expected(self, method):
        client = self.post(b"Expect: 100-continue\r\n", method=method)
        answer = client.response(method.decode())
        if answer.status == 100:
            answer = client.response(method.decode())
        self.assertEqual(answer.status, 200)
        again = client.get("/again")
        self.assertEqual(again.body, b"GET /again")
        self.assertEqual([r.target for r in self.backend_got()], ["/x", "/again"])

    def test_http10_expects_nothing(self):
        client = self.post(b"Expect: 100-continue\r\nContent-Length: 3\r\n", version=b"1.0").send(b"abc")
        self.assertEqual(client.response().status, 200)
        self.assertEqual([r.values("Expect") for r in self.backend_got()], [[]])

    def test_refused_after_expect_then_body_or_request(self):
        """0.CL by Expect: the backend refuses at once; the client's next bytes may be the body or a request."""
        def refuse(connection, request):
            connection.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")
            return True
        self.backend.on("/auth", refuse)
        for then in (b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n", b""):
            client = self.post(b"Expect: 100-continue\r\nContent-Length: 35\r\n", b"/auth")
            answer = client.response()
            while answer.status == 100:
                answer = client.response()
            self.assertEqual(answer.status, 401)
            client.send(then)
            client.rest(0.3)
            client.close()
            self.assertEqual([r.target for r in self.backend_got() if r.target == "/smuggled"], [])
            for _ in range(3):
                self.good_client_is_served()

    def test_backends_own_continue_is_not_doubled(self):
        def impatient(connection, request):
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.reader.request_body(request)
            connection.send(plain_answer(request))
            return True
        self.backend.on("/impatient", impatient)
        client = self.post(b"Expect: 100-continue\r\nContent-Length: 3\r\n", b"/impatient")
        self.assertEqual(client.response().status, 100)
        client.send(b"abc")
        self.assertEqual(client.response().body, b"POST /impatient")
        self.assertEqual(client.get("/again").body, b"GET /again")


if __name__ == "__main__":
    import unittest
    unittest.main()
