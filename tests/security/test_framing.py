"""HTTP/1 requests that two parsers could read in two ways: refused and closed, or forwarded as one plain request.

Threats: docs/security.md. Each variant says what the client gets, what the backend receives, whether the connection
goes on, and that a good client is served right after.
"""

from harness import PeerTest, variants

QUICK = {"listeners": {"web": {"head_timeout": "2s", "body_idle_timeout": "2s", "idle_timeout": "5s"}}}
HOST = b"Host: t\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"


def post(headers, body=b"", target=b"/upload", version=b"1.1"):
    return b"POST " + target + b" HTTP/" + version + b"\r\n" + HOST + headers + b"\r\n" + body


def chunked(body):
    return post(b"Transfer-Encoding: chunked\r\n", body)


class TwoFramings(PeerTest):
    """CL.TE and TE.CL: both headers are a refusal, in each order and whatever they say."""

    changes = QUICK

    @variants(
        ("cl_then_te", b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\nG"),
        ("te_then_cl", b"Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", b"0\r\n\r\nG"),
        ("cl_te_smuggle", b"Content-Length: 41\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
        ("te_cl_smuggle", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
         b"26\r\n" + SMUGGLED + b"\r\n0\r\n\r\n"),
        ("cl_0", b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("cl_right", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("cl_bad", b"Content-Length: x\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("cl_empty", b"Content-Length:\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("te_identity", b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n", b"abc"),
        ("te_empty", b"Content-Length: 3\r\nTransfer-Encoding:\r\n", b"abc"),
        ("te_unknown", b"Content-Length: 3\r\nTransfer-Encoding: x\r\n", b"abc"),
        ("te_gzip_chunked", b"Content-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n", b"abc"),
        ("lower_case", b"content-length: 6\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\nG"),
        ("mixed_case", b"cOnTeNt-LeNgTh: 6\r\ntRaNsFeR-eNcOdInG: cHuNkEd\r\n", b"0\r\n\r\nG"),
        ("te_twice_and_cl", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
         b"0\r\n\r\n"),
        ("listed_in_connection", b"Connection: content-length\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
         b"0\r\n\r\n"),
        ("te_listed_in_connection",
         b"Connection: transfer-encoding\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    )
    def test_both(self, headers, body):
        self.refused(post(headers, body), 400)

    def test_both_on_get(self):
        self.refused(b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                     400)


class TransferEncoding(PeerTest):
    """Only one final `chunked`, written plainly, is taken."""

    changes = QUICK
    END = b"0\r\n\r\n"

    @variants(
        ("plain", b"Transfer-Encoding: chunked\r\n"),
        ("lower_case_name", b"transfer-encoding: chunked\r\n"),
        ("upper_case_value", b"Transfer-Encoding: CHUNKED\r\n"),
        ("no_blank", b"Transfer-Encoding:chunked\r\n"),
        ("blanks_around", b"Transfer-Encoding:  \t chunked \t\r\n"),
    )
    def test_taken(self, header):
        request, _ = self.forwarded(post(header, b"3\r\nabc\r\n0\r\n\r\n"))
        self.assertEqual(request.body, b"abc")
        self.assertEqual(request.values("Transfer-Encoding"), ["chunked"])
        self.assertEqual(request.values("Content-Length"), [])

    @variants(
        ("xchunked", b"Transfer-Encoding: xchunked\r\n"),
        ("chunkedx", b"Transfer-Encoding: chunkedx\r\n"),
        ("chunk", b"Transfer-Encoding: chunk\r\n"),
        ("chunked_quoted", b"Transfer-Encoding: \"chunked\"\r\n"),
        ("chunked_single_quoted", b"Transfer-Encoding: 'chunked'\r\n"),
        ("chunked_parameter", b"Transfer-Encoding: chunked;q=1\r\n"),
        ("chunked_semicolon", b"Transfer-Encoding: chunked;\r\n"),
        ("chunked_comma", b"Transfer-Encoding: chunked,\r\n"),
        ("comma_chunked", b"Transfer-Encoding: ,chunked\r\n"),
        ("commas", b"Transfer-Encoding: , ,\r\n"),
        ("empty", b"Transfer-Encoding:\r\n"),
        ("blank", b"Transfer-Encoding: \t \r\n"),
        ("identity", b"Transfer-Encoding: identity\r\n"),
        ("gzip", b"Transfer-Encoding: gzip\r\n"),
        ("deflate", b"Transfer-Encoding: deflate\r\n"),
        ("compress", b"Transfer-Encoding: compress\r\n"),
        ("gzip_chunked", b"Transfer-Encoding: gzip, chunked\r\n"),
        ("identity_chunked", b"Transfer-Encoding: identity, chunked\r\n"),
        ("chunked_identity", b"Transfer-Encoding: chunked, identity\r\n"),
        ("chunked_gzip", b"Transfer-Encoding: chunked, gzip\r\n"),
        ("chunked_chunked", b"Transfer-Encoding: chunked, chunked\r\n"),
        ("cow", b"Transfer-Encoding: cow\r\n"),
        ("cow_chunked", b"Transfer-Encoding: cow, chunked\r\n"),
        ("two_lines_same", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("two_lines_identity", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("two_lines_identity_first", b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("two_lines_gzip", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),
        ("two_lines_empty", b"Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
        ("two_lines_cow", b"Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"),
        ("vertical_tab_before", b"Transfer-Encoding: \x0bchunked\r\n"),
        ("vertical_tab_after", b"Transfer-Encoding: chunked\x0b\r\n"),
        ("form_feed", b"Transfer-Encoding: \x0cchunked\r\n"),
        ("nul_after", b"Transfer-Encoding: chunked\x00\r\n"),
        ("nul_before", b"Transfer-Encoding: \x00chunked\r\n"),
        ("del_after", b"Transfer-Encoding: chunked\x7f\r\n"),
        ("backspace", b"Transfer-Encoding: \x08chunked\r\n"),
        ("nbsp_before", b"Transfer-Encoding: \xa0chunked\r\n"),
        ("nbsp_after", b"Transfer-Encoding: chunked\xa0\r\n"),
        ("high_byte", b"Transfer-Encoding: \xffchunked\r\n"),
        ("utf8_blank", b"Transfer-Encoding: \xe2\x80\x83chunked\r\n"),
        ("long_s", b"Transfer-Encoding: chunk\xc5\xbfed\r\n"),
        ("cr_inside", b"Transfer-Encoding: chu\rnked\r\n"),
        ("cr_before", b"Transfer-Encoding:\rchunked\r\n"),
        ("cr_after", b"Transfer-Encoding: chunked\r\r\n"),
        ("lf_before", b"Transfer-Encoding:\nchunked\r\n"),
        ("folded_space", b"Transfer-Encoding:\r\n chunked\r\n"),
        ("folded_tab", b"Transfer-Encoding:\r\n\tchunked\r\n"),
        ("folded_after", b"Transfer-Encoding: chunked\r\n \r\n"),
        ("folded_previous", b"X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("space_before_colon", b"Transfer-Encoding : chunked\r\n"),
        ("tab_before_colon", b"Transfer-Encoding\t: chunked\r\n"),
        ("space_before_name", b" Transfer-Encoding: chunked\r\n"),
        ("tab_before_name", b"\tTransfer-Encoding: chunked\r\n"),
        ("nul_in_name", b"Transfer\x00-Encoding: chunked\r\n"),
        ("nul_after_name", b"Transfer-Encoding\x00: chunked\r\n"),
        ("vt_before_colon", b"Transfer-Encoding\x0b: chunked\r\n"),
        ("cr_before_colon", b"Transfer-Encoding\r: chunked\r\n"),
        ("high_byte_in_name", b"Transfer\xadEncoding: chunked\r\n"),
        ("blank_in_name", b"Transfer Encoding: chunked\r\n"),
        ("equals", b"Transfer-Encoding= chunked\r\n"),
        ("no_colon", b"Transfer-Encoding chunked\r\n"),
        ("bracketed_name", b"[Transfer-Encoding]: chunked\r\n"),
        ("quoted_name", b"\"Transfer-Encoding\": chunked\r\n"),
        ("behind_bare_lf", b"X: y\nTransfer-Encoding: chunked\r\n"),
        ("behind_bare_cr", b"X: y\rTransfer-Encoding: chunked\r\n"),
        ("space_inside", b"Transfer-Encoding: chunked chunked\r\n"),
        ("comment", b"Transfer-Encoding: chunked (x)\r\n"),
        ("encoded_word", b"Transfer-Encoding: =?UTF-8?Q?chunked?=\r\n"),
        ("percent_encoded", b"Transfer-Encoding: %63hunked\r\n"),
    )
    def test_obfuscated(self, header):
        self.refused(post(header, self.END), 400, 501)

    @variants(
        ("underscore", b"Transfer_Encoding: chunked\r\n"),
        ("prefix", b"X-Transfer-Encoding: chunked\r\n"),
        ("suffix", b"Transfer-Encoding-X: chunked\r\n"),
        ("dot", b"Transfer.Encoding: chunked\r\n"),
    )
    def test_another_name_frames_nothing(self, header):
        """A different field is no framing: with a length beside it the length counts."""
        request, _ = self.forwarded(post(b"Content-Length: 5\r\n" + header, self.END))
        self.assertEqual(request.body, self.END)
        self.assertEqual(request.values("Transfer-Encoding"), [])

    @variants(
        ("te_trailers", b"TE: trailers\r\n"),
        ("te_chunked", b"TE: chunked\r\n"),
        ("te_in_connection", b"TE: trailers\r\nConnection: TE\r\n"),
    )
    def test_te_is_not_transfer_encoding(self, header):
        request, _ = self.forwarded(post(header + b"Content-Length: 3\r\n", b"abc"))
        self.assertEqual(request.values("TE"), [])

    @variants(
        ("chunked", b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("chunked_keep_alive", b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("identity", b"Transfer-Encoding: identity\r\n", b""),
        ("with_length", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
        ("smuggle", b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n" + SMUGGLED),
    )
    def test_in_http10(self, headers, body):
        self.refused(post(headers, body, version=b"1.0"), 400)


class ContentLength(PeerTest):
    changes = QUICK

    @variants(
        ("empty", b"Content-Length:\r\n"),
        ("blank", b"Content-Length: \t\r\n"),
        ("plus", b"Content-Length: +3\r\n"),
        ("minus", b"Content-Length: -3\r\n"),
        ("minus_zero", b"Content-Length: -0\r\n"),
        ("hex", b"Content-Length: 0x3\r\n"),
        ("hex_digits", b"Content-Length: a\r\n"),
        ("dot", b"Content-Length: 3.0\r\n"),
        ("exponent", b"Content-Length: 3e0\r\n"),
        ("list_same", b"Content-Length: 3, 3\r\n"),
        ("list_different", b"Content-Length: 3, 4\r\n"),
        ("list_tail", b"Content-Length: 3,\r\n"),
        ("list_head", b"Content-Length: ,3\r\n"),
        ("two_lines_same", b"Content-Length: 3\r\nContent-Length: 3\r\n"),
        ("two_lines_different", b"Content-Length: 3\r\nContent-Length: 0\r\n"),
        ("two_lines_empty", b"Content-Length: 3\r\nContent-Length:\r\n"),
        ("two_lines_case", b"Content-Length: 3\r\ncontent-length: 4\r\n"),
        ("blank_inside", b"Content-Length: 3 3\r\n"),
        ("underscore", b"Content-Length: 1_0\r\n"),
        ("quoted", b"Content-Length: \"3\"\r\n"),
        ("semicolon", b"Content-Length: 3;\r\n"),
        ("over_63_bits", b"Content-Length: 9223372036854775808\r\n"),
        ("over_64_bits", b"Content-Length: 18446744073709551619\r\n"),
        ("wraps_to_3_in_32_bits_sign", b"Content-Length: -4294967293\r\n"),
        ("huge", b"Content-Length: " + b"9" * 200 + b"\r\n"),
        ("nul", b"Content-Length: 3\x00\r\n"),
        ("vertical_tab", b"Content-Length: \x0b3\r\n"),
        ("nbsp", b"Content-Length: \xa03\r\n"),
        ("arabic_digit", b"Content-Length: \xd9\xa3\r\n"),
        ("full_width_digit", b"Content-Length: \xef\xbc\x93\r\n"),
        ("space_before_colon", b"Content-Length : 3\r\n"),
        ("folded", b"Content-Length:\r\n 3\r\n"),
        ("cr_inside", b"Content-Length: 3\r4\r\n"),
        ("octal_0o", b"Content-Length: 0o3\r\n"),
        ("comment", b"Content-Length: 3 (three)\r\n"),
    )
    def test_forms(self, header):
        self.refused(post(header, b"abc"), 400)

    @variants(
        ("plain", b"Content-Length: 3\r\n"),
        ("no_blank", b"Content-Length:3\r\n"),
        ("blanks", b"Content-Length: \t 3 \t\r\n"),
        ("leading_zeros", b"Content-Length: 0003\r\n"),
        ("not_listed_away", b"Connection: content-length\r\nContent-Length: 3\r\n"),
    )
    def test_taken(self, header):
        request, _ = self.forwarded(post(header, b"abc"))
        self.assertEqual((request.values("Content-Length"), request.body), (["3"], b"abc"))

    def test_bytes_behind_the_length_are_the_next_request(self):
        client = self.connect().send(post(b"Content-Length: 3\r\n", b"abc" + b"GET /second HTTP/1.1\r\nHost: t\r\n\r\n"))
        self.assertEqual(client.response().body, b"POST /upload")
        self.assertEqual(client.response().body, b"GET /second")
        self.assertEqual([request.target for request in self.backend_got()], ["/upload", "/second"])

    def test_bytes_behind_the_length_are_judged_as_a_request(self):
        client = self.connect().send(post(b"Content-Length: 3\r\n", b"abcGARBAGE\x00\r\n\r\n"))
        self.assertEqual(client.response().body, b"POST /upload")
        self.assertEqual(client.response().status, 400)
        self.assertEqual(client.rest()[0], b"")
        self.assertEqual([request.target for request in self.backend_got()], ["/upload"])

    def test_get_with_a_body_is_forwarded_with_its_framing(self):
        request, _ = self.forwarded(b"GET /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc")
        self.assertEqual((request.values("Content-Length"), request.body), (["3"], b"abc"))

    def test_post_without_framing_has_no_body(self):
        client = self.connect().send(post(b"", SMUGGLED))
        self.assertEqual(client.response().body, b"POST /upload")
        self.assertEqual(client.response().body, b"GET /smuggled")
        self.assertEqual([request.body for request in self.backend_got()], [b"", b""])


class HeaderNames(PeerTest):
    changes = QUICK

    @variants(
        ("empty", b": x\r\n"),
        ("empty_with_blank", b" : x\r\n"),
        ("only_colon", b":\r\n"),
        ("two_colons", b"::x\r\n"),
        ("no_colon", b"foo\r\n"),
        ("blank_before_colon", b"X-A : b\r\n"),
        ("slash", b"X/A: b\r\n"),
        ("at", b"X@A: b\r\n"),
        ("parentheses", b"X(A): b\r\n"),
        ("high_byte", b"X\xe9: b\r\n"),
        ("control", b"X\x01: b\r\n"),
        ("request_line_again", b"GET / HTTP/1.1\r\n"),
    )
    def test_malformed(self, header):
        self.refused(b"GET / HTTP/1.1\r\n" + HOST + header + b"\r\n", 400)

    @variants(("first", b": x\r\nHost: t\r\n"), ("host_unnamed", b": t\r\n"), ("first_two", b":\r\n:\r\nHost: t\r\n"))
    def test_nameless_first(self, headers):
        self.refused(b"GET / HTTP/1.1\r\n" + headers + b"\r\n", 400)

    @variants(("257", 257), ("270_content_length_overflow", 270), ("4096", 4096), ("15000", 15000))
    def test_longer_than_the_limit(self, size):
        """CVE-2021-40346: a name whose length overflows eight bits hid a Content-Length."""
        name = b"Content-Length0" + b"a" * (size - 15)
        self.refused(post(name + b":\r\nContent-Length: 60\r\n", SMUGGLED), 400, 431)

    def test_longest_that_is_taken(self):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\n" + HOST + b"N" * 256 + b": x\r\n\r\n")
        self.assertEqual(request.get("N" * 256), "x")


class HeaderBytes(PeerTest):
    """Bare LF, bare CR, obs-fold and NUL: 400 for all four, wherever they stand."""

    changes = QUICK

    @variants(
        ("after_request_line", b"GET / HTTP/1.1\nHost: t\r\n\r\n"),
        ("after_field", b"GET / HTTP/1.1\r\nHost: t\n\r\n"),
        ("everywhere", b"GET / HTTP/1.1\nHost: t\n\n"),
        ("at_the_end", b"GET / HTTP/1.1\r\nHost: t\r\n\n"),
        ("lf_lf", b"GET / HTTP/1.1\r\nHost: t\r\nX: y\n\n" + SMUGGLED),
        ("first", b"\nGET / HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("in_value", b"GET / HTTP/1.1\r\nHost: t\r\nX: a\nb: c\r\n\r\n"),
    )
    def test_bare_lf(self, raw):
        self.refused(raw, 400)

    @variants(
        ("after_request_line", b"GET / HTTP/1.1\rHost: t\r\n\r\n"),
        ("after_field", b"GET / HTTP/1.1\r\nHost: t\rX: y\r\n\r\n"),
        ("in_value", b"GET / HTTP/1.1\r\nHost: t\r\nX: a\rb\r\n\r\n"),
        ("at_end_of_value", b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\r\n\r\n"),
        ("in_name", b"GET / HTTP/1.1\r\nHost: t\r\nX\rY: a\r\n\r\n"),
        ("before_empty_line", b"GET / HTTP/1.1\r\nHost: t\r\n\r\r\n\r\n"),
        ("in_target", b"GET /a\rb HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("first", b"\rGET / HTTP/1.1\r\nHost: t\r\n\r\n"),
    )
    def test_bare_cr(self, raw):
        self.refused(raw, 400)

    @variants(
        ("space", b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n"),
        ("tab", b"GET / HTTP/1.1\r\nHost: t\r\nX: a\r\n\tb\r\n\r\n"),
        ("first_field", b"GET / HTTP/1.1\r\n Host: t\r\n\r\n"),
        ("first_field_then_host", b"GET / HTTP/1.1\r\n X: y\r\nHost: t\r\n\r\n"),
        ("of_host", b"GET / HTTP/1.1\r\nHost:\r\n t\r\n\r\n"),
        ("blank_line_that_is_not_empty", b"GET / HTTP/1.1\r\nHost: t\r\n \r\n\r\n"),
    )
    def test_obs_fold(self, raw):
        self.refused(raw, 400)

    @variants(*[
        (f"{byte:02x}_{place}", raw.replace(b"@", bytes([byte])))
        for byte in (0x00, 0x01, 0x07, 0x08, 0x0b, 0x0c, 0x1b, 0x7f)
        for place, raw in (
            ("value", b"GET / HTTP/1.1\r\nHost: t\r\nX: a@b\r\n\r\n"),
            ("value_end", b"GET / HTTP/1.1\r\nHost: t\r\nX: a@\r\n\r\n"),
            ("name", b"GET / HTTP/1.1\r\nHost: t\r\nX@: a\r\n\r\n"),
            ("target", b"GET /@ HTTP/1.1\r\nHost: t\r\n\r\n"),
            ("query", b"GET /?@ HTTP/1.1\r\nHost: t\r\n\r\n"),
            ("method", b"GE@T / HTTP/1.1\r\nHost: t\r\n\r\n"),
            ("host", b"GET / HTTP/1.1\r\nHost: t@\r\n\r\n"),
        )
    ])
    def test_control(self, raw):
        self.refused(raw, 400)

    @variants(("tab", b"a\tb"), ("latin1", b"caf\xe9"), ("utf8", b"caf\xc3\xa9"), ("empty", b""), ("colons", b"a:b::c"),
              ("quotes", b"\"a, b\"; c='d'"), ("backslash", b"a\\b"))
    def test_harmless_values_pass(self, value):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\n" + HOST + b"X-Value: " + value + b"\r\n\r\n")
        self.assertEqual(request.get("X-Value"), value.decode("latin-1"))


class Host(PeerTest):
    changes = QUICK

    @variants(
        ("none", b""),
        ("empty", b"Host:\r\n"),
        ("blank", b"Host: \t\r\n"),
        ("twice_same", b"Host: t\r\nHost: t\r\n"),
        ("twice_different", b"Host: t\r\nHost: evil\r\n"),
        ("twice_empty_second", b"Host: t\r\nHost:\r\n"),
        ("twice_case", b"Host: t\r\nHOST: evil\r\n"),
        ("folded", b"Host: t\r\n evil\r\n"),
        ("space_before_colon", b"Host : t\r\n"),
        ("list", b"Host: t, evil\r\n"),
        ("two_words", b"Host: t evil\r\n"),
        ("path", b"Host: t/evil\r\n"),
        ("query", b"Host: t?evil\r\n"),
        ("fragment", b"Host: t#evil\r\n"),
        ("userinfo", b"Host: t@evil\r\n"),
        ("url", b"Host: http://t/\r\n"),
        ("backslash", b"Host: t\\evil\r\n"),
        ("port_word", b"Host: t:http\r\n"),
        ("port_too_large", b"Host: t:65536\r\n"),
        ("port_long", b"Host: t:000000080\r\n"),
        ("port_negative", b"Host: t:-80\r\n"),
        ("two_ports", b"Host: t:80:80\r\n"),
        ("only_port", b"Host: :80\r\n"),
        ("bracket_open", b"Host: [::1\r\n"),
        ("bracket_name", b"Host: [evil]\r\n"),
        ("bracket_behind", b"Host: [::1]evil\r\n"),
        ("nul", b"Host: t\x00evil\r\n"),
        ("high_byte", b"Host: t\xe9\r\n"),
        ("percent", b"Host: t%00evil\r\n"),
        ("quotes", b"Host: \"t\"\r\n"),
        ("angle", b"Host: <t>\r\n"),
        ("semicolon", b"Host: t;evil\r\n"),
        ("too_long", b"Host: " + b"a" * 300 + b"\r\n"),
    )
    def test_ambiguous(self, header):
        self.refused(b"GET / HTTP/1.1\r\n" + header + b"\r\n", 400)

    def test_twice_in_http10(self):
        self.refused(b"GET / HTTP/1.0\r\nHost: t\r\nHost: u\r\n\r\n", 400)

    @variants(
        ("same", b"http://t/p", b"t", "t"),
        ("other", b"http://shop.example/p", b"evil.example", "shop.example"),
        ("port", b"http://shop.example:8080/p", b"evil.example", "shop.example:8080"),
        ("upper_scheme", b"HTTP://shop.example/p", b"evil.example", "shop.example"),
    )
    def test_absolute_form_replaces_it(self, target, host, arrives):
        request, _ = self.forwarded(b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        self.assertEqual((request.target, request.values("Host")), ("/p", [arrives]))

    @variants(
        ("no_host_field", b"GET http://t/ HTTP/1.1\r\n\r\n"),
        ("two_host_fields", b"GET http://t/ HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n"),
        ("invalid_host_field", b"GET http://t/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("empty_authority", b"GET http:/// HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("userinfo", b"GET http://user@t/ HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("port", b"GET http://t:99999/ HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("ftp", b"GET ftp://t/ HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("file", b"GET file:///etc/passwd HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("no_scheme", b"GET //t/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
        ("backslash", b"GET http://t\\evil/ HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("fragment", b"GET http://t#evil/ HTTP/1.1\r\nHost: t\r\n\r\n"),
    )
    def test_absolute_form_malformed(self, raw):
        self.refused(raw, 400)

    def test_forwarded_host_is_ours(self):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-Host: evil\r\n"
                                    b"X-Host: kept\r\nX-Forwarded-Port: 1\r\n\r\n")
        self.assertEqual(request.values("X-Forwarded-Host"), ["t"])
        self.assertNotIn("1", request.values("X-Forwarded-Port"))


class RequestLine(PeerTest):
    changes = QUICK

    @variants(
        ("two_blanks", b"GET  / HTTP/1.1"),
        ("two_blanks_before_version", b"GET /  HTTP/1.1"),
        ("tab", b"GET\t/\tHTTP/1.1"),
        ("leading_blank", b" GET / HTTP/1.1"),
        ("trailing_blank", b"GET / HTTP/1.1 "),
        ("blank_in_target", b"GET /a b HTTP/1.1"),
        ("no_version", b"GET /"),
        ("no_target", b"GET HTTP/1.1"),
        ("only_method", b"GET"),
        ("empty_method", b" / HTTP/1.1"),
        ("lower_version", b"GET / http/1.1"),
        ("version_word", b"GET / HTTP/x.y"),
        ("version_short", b"GET / HTTP/1"),
        ("version_long", b"GET / HTTP/1.10"),
        ("version_plus", b"GET / HTTP/+1.1"),
        ("version_zero", b"GET / HTTP/01.1"),
        ("other_protocol", b"GET / HTCPCP/1.1"),
        ("method_bracket", b"G(T / HTTP/1.1"),
        ("method_colon", b"GET: / HTTP/1.1"),
        ("method_comma", b"GET,POST / HTTP/1.1"),
        ("fragment", b"GET /a#b HTTP/1.1"),
        ("relative", b"GET a HTTP/1.1"),
        ("dots", b"GET ../a HTTP/1.1"),
        ("query_only", b"GET ?a HTTP/1.1"),
        ("star_with_get", b"GET * HTTP/1.1"),
        ("vertical_tab", b"GET\x0b/ HTTP/1.1"),
        ("nbsp", b"GET\xa0/ HTTP/1.1"),
        ("high_byte_in_target", b"GET /caf\xe9 HTTP/1.1"),
        ("nul_in_target", b"GET /\x00 HTTP/1.1"),
        ("backslash_in_path", b"GET /a\\b HTTP/1.1"),
        ("percent_alone", b"GET /% HTTP/1.1"),
        ("percent_short", b"GET /%a HTTP/1.1"),
        ("percent_not_hex", b"GET /%zz HTTP/1.1"),
        ("percent_nul", b"GET /a%00b HTTP/1.1"),
        ("second_line", b"GET / HTTP/1.1 GET /b HTTP/1.1"),
        ("response", b"HTTP/1.1 200 OK"),
    )
    def test_malformed(self, line):
        self.refused(line + b"\r\nHost: t\r\n\r\n", 400)

    @variants(("0_9", b"GET / HTTP/0.9"), ("1_2", b"GET / HTTP/1.2"), ("2_0", b"GET / HTTP/2.0"),
              ("3_0", b"GET / HTTP/3.0"), ("9_9", b"GET / HTTP/9.9"))
    def test_other_versions(self, line):
        self.refused(line + b"\r\nHost: t\r\n\r\n", 505)

    def test_http09(self):
        self.refused(b"GET /\r\n", 400)

    @variants(
        ("binary", bytes(range(128, 256))),
        ("tls_client_hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 32),
        ("ssh", b"\x00\x00\x01\x9cSSH-2.0-OpenSSH_9.2\r\n"),
        ("proxy_v2", b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes(12)),
        ("redis", b"*1\r\n$4\r\nPING\r\n"),
        ("empty_lines", b"\r\n\r\n\r\n\r\n"),
    )
    def test_not_http(self, raw):
        self.refused(raw, 400)

    def test_one_empty_line_before_is_skipped(self):
        self.forwarded(b"\r\nGET /x HTTP/1.1\r\nHost: t\r\n\r\n")

    @variants(
        ("encoded_slash", b"/a%2fb"), ("encoded_slash_upper", b"/a%2Fb"), ("dots", b"/a/../b"), ("dot", b"/./a"),
        ("encoded_dots", b"/%2e%2e/a"), ("double_slash", b"//a//b"), ("encoded_percent", b"/a%252fb"),
        ("encoded_backslash", b"/a%5cb"), ("semicolon", b"/a;b=c/d"), ("query_all", b"/a?b=c&d=%zz\\{}|^`\"<>?/"),
        ("encoded_newline", b"/a%0d%0aX:%20y"), ("star_path", b"/*"), ("colon", b"/http://evil/"), ("at", b"/@evil"),
    )
    def test_target_is_forwarded_as_it_came(self, target):
        """What is routed is what is forwarded: no normalisation, so no second reading."""
        request, _ = self.forwarded(b"GET " + target + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertEqual(request.target.encode(), target)

    @variants(("long", b"A" * 40), ("very_long", b"A" * 4000))
    def test_unknown_method_too_long(self, method):
        self.refused(method + b" / HTTP/1.1\r\nHost: t\r\n\r\n", 400, 501)

    @variants(("delete", b"DELETE"), ("patch", b"PATCH"), ("lower", b"get"), ("own", b"FROBNICATE"))
    def test_methods_pass_as_they_are(self, method):
        request, _ = self.forwarded(method + b" /m HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertEqual(request.first, method)


class Connect(PeerTest):
    """No open proxy, whoever is asked for, and no crash."""

    changes = QUICK

    @variants(
        ("authority", b"CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n"),
        ("loopback_admin", b"CONNECT 127.0.0.1:9900 HTTP/1.1\r\nHost: 127.0.0.1:9900\r\n\r\n"),
        ("ipv6", b"CONNECT [::1]:22 HTTP/1.1\r\nHost: [::1]:22\r\n\r\n"),
        ("path", b"CONNECT / HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("absolute", b"CONNECT http://t/ HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("no_port", b"CONNECT t HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("star", b"CONNECT * HTTP/1.1\r\nHost: t\r\n\r\n"),
        ("http10", b"CONNECT t:443 HTTP/1.0\r\n\r\n"),
        ("no_host", b"CONNECT t:443 HTTP/1.1\r\n\r\n"),
        ("with_body", b"CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\nContent-Length: 3\r\n\r\nabc"),
        ("then_tls", b"CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n\x16\x03\x01\x02\x00"),
        ("then_request", b"CONNECT t:443 HTTP/1.1\r\nHost: t:443\r\n\r\n" + SMUGGLED),
        ("huge_port", b"CONNECT t:99999999999 HTTP/1.1\r\nHost: t\r\n\r\n"),
    )
    def test_refused(self, raw):
        answer = self.refused(raw, 400, 405, 501, cause=None)
        self.assertIn(answer.get("X-Plimsoll-Cause"), ("bad_request", "not_allowed"))


class Upgrades(PeerTest):
    """Bytes behind an Upgrade are HTTP until a 101; h2c is never forwarded."""

    changes = QUICK
    WEBSOCKET = b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

    @variants(
        ("rfc7540", b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"),
        ("upgrade_only", b"Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        ("settings_not_listed", b"Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("upper", b"Connection: upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("in_a_list", b"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("not_listed", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"),
        ("twice", b"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        ("h2", b"Connection: Upgrade\r\nUpgrade: h2\r\n"),
        ("tls", b"Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"),
    )
    def test_h2c_smuggling(self, headers):
        request, _ = self.forwarded(b"GET /h2c HTTP/1.1\r\n" + HOST + headers + b"\r\n")
        self.assertEqual(request.values("HTTP2-Settings"), [])
        self.assertNotRegex(" ".join(request.values("Upgrade")).lower(), "h2|tls")

    def test_upgrade_with_a_body_is_no_upgrade(self):
        request, _ = self.forwarded(post(b"Connection: Upgrade\r\n" + self.WEBSOCKET + b"Content-Length: 3\r\n", b"abc"))
        self.assertEqual((request.values("Upgrade"), request.body), ([], b"abc"))

    def test_upgrade_with_a_chunked_body_is_no_upgrade(self):
        request, _ = self.forwarded(
            post(b"Connection: Upgrade\r\n" + self.WEBSOCKET + b"Transfer-Encoding: chunked\r\n", b"1\r\nx\r\n0\r\n\r\n"))
        self.assertEqual((request.values("Upgrade"), request.body), ([], b"x"))

    def test_bytes_behind_a_refused_upgrade_are_http(self):
        """The backend answers 200: no tunnel, and what was sent early is the next request."""
        client = self.connect().send(b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\n" + self.WEBSOCKET +
                                     b"\r\n" + SMUGGLED)
        self.assertEqual(client.response().body, b"GET /ws")
        second = client.response()
        self.assertEqual(second.body, b"GET /smuggled")
        self.assertEqual([r.target for r in self.backend_got()], ["/ws", "/smuggled"])

    def test_garbage_behind_a_refused_upgrade(self):
        client = self.connect().send(b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\n" + self.WEBSOCKET +
                                     b"\r\n" + b"\x81\x85\x00\x00\x00\x00hello")
        self.assertEqual(client.response().body, b"GET /ws")
        answer = client.response()
        self.assertEqual(answer.status, 400)
        self.assertEqual([r.target for r in self.backend_got()], ["/ws"])

    @variants(("without_upgrade", b"GET", b""), ("for_post", b"POST", b"Content-Length: 0\r\n"),
              ("other_protocol", b"GET", b"Connection: Upgrade\r\nUpgrade: frob/1\r\n"))
    def test_101_unasked(self, method, headers):
        self.backend.on("/unasked", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                    b"Connection: Upgrade\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale")
        client = self.connect().send(method + b" /unasked HTTP/1.1\r\n" + HOST + headers + b"\r\n")
        answer = client.response()
        self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (502, "upstream_protocol"))
        self.assertNotIn(b"stale", answer.raw + client.rest(0.2)[0])
        self.good_client_is_served()

    def test_http10_cannot_upgrade(self):
        client = self.connect().send(b"GET /ws HTTP/1.0\r\n" + HOST + b"Connection: Upgrade\r\n" + self.WEBSOCKET + b"\r\n")
        self.assertEqual(client.response().status, 200)
        self.assertEqual([r.values("Upgrade") for r in self.backend_got()], [[]])


class HopByHop(PeerTest):
    changes = QUICK

    @variants(
        ("own", b"Connection: X-Hop\r\nX-Hop: 1\r\n", "X-Hop"),
        ("several", b"Connection: close, X-Hop , x-other\r\nX-Hop: 1\r\n", "X-Hop"),
        ("two_lines", b"Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\n", "X-Hop"),
        ("case", b"connection: x-hOP\r\nX-Hop: 1\r\n", "X-Hop"),
        ("every_line", b"Connection: X-Hop\r\nX-Hop: 1\r\nX-Hop: 2\r\n", "X-Hop"),
        ("keep_alive", b"Keep-Alive: timeout=5\r\n", "Keep-Alive"),
        ("proxy_connection", b"Proxy-Connection: keep-alive\r\n", "Proxy-Connection"),
        ("proxy_authorization", b"Proxy-Authorization: Basic eDp5\r\n", "Proxy-Authorization"),
        ("te", b"TE: trailers\r\n", "TE"),
        ("trailer", b"Trailer: X\r\n", "Trailer"),
        ("connection", b"Connection: keep-alive, X-Hop\r\n", "X-Hop"),
    )
    def test_listed_names_go(self, headers, gone):
        self.connect().send(b"GET / HTTP/1.1\r\n" + HOST + headers + b"\r\n").response()
        request, = self.backend_got()
        self.assertEqual(request.values(gone), [])
        self.assertNotIn("X-Hop", " ".join(request.values("Connection")))

    @variants(*[(name, name) for name in (
        "Host", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "X-Request-Id")])
    def test_never_what_we_set(self, name):
        request, _ = self.forwarded(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: " + name.encode() + b"\r\n\r\n")
        self.assertEqual(len(request.values(name)), 1)

    @variants(("length", b"content-length", b"Content-Length: 3\r\n", b"abc"),
              ("chunked", b"transfer-encoding", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"))
    def test_never_framing(self, listed, header, body):
        request, _ = self.forwarded(post(b"Connection: " + listed + b"\r\n" + header, body))
        self.assertEqual(request.body, b"abc")

    @variants(("not_a_token", b"Connection: x y\r\n"), ("flood", b"Connection: " + b"a," * 2000 + b"b\r\n"))
    def test_malformed_lists(self, header):
        self.refused(b"GET / HTTP/1.1\r\n" + HOST + header + b"\r\n", 400)


class Chunks(PeerTest):
    """Bodies are re-chunked: what arrives has sizes of ours, no extension and no trailer."""

    changes = QUICK
    REST = b"\r\nabc\r\n0\r\n\r\n"

    @variants(
        ("two", b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n", b"abcdefg"),
        ("leading_zeros", b"0003\r\nabc\r\n000\r\n\r\n", b"abc"),
        ("upper_hex", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("lower_hex", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("empty", b"0\r\n\r\n", b""),
        ("extension", b"3;a=b\r\nabc\r\n0;x\r\n\r\n", b"abc"),
        ("extension_quoted", b"3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("trailers", b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Other: 2\r\n\r\n", b"abc"),
        ("looks_like_the_end", b"7\r\n0\r\n\r\nab\r\n0\r\n\r\n", b"0\r\n\r\nab"),
        ("a_request_inside", b"26\r\n" + SMUGGLED + b"\r\n0\r\n\r\n", SMUGGLED),
    )
    def test_rechunked(self, body, data):
        if data == SMUGGLED:
            body = b"%x\r\n" % len(SMUGGLED) + body.split(b"\r\n", 1)[1]
        request, _ = self.forwarded(chunked(body))
        self.assertEqual((request.body, request.trailers), (data, []))
        self.assertNotIn(b";", request.raw.split(b"\r\n\r\n", 1)[1].split(data)[0] if data else b"")

    @variants(
        ("empty_size", b"\r\nabc\r\n0\r\n\r\n"),
        ("not_hex", b"g\r\nabc\r\n0\r\n\r\n"),
        ("prefix_0x", b"0x3" + REST),
        ("plus", b"+3" + REST),
        ("minus", b"-3" + REST),
        ("blank_before", b" 3" + REST),
        ("tab_before", b"\t3" + REST),
        ("blank_after", b"3 " + REST),
        ("tab_after", b"3\t" + REST),
        ("blank_before_extension", b"3 ;a" + REST),
        ("underscore", b"1_0" + REST),
        ("comma", b"3,3" + REST),
        ("dot", b"3.0" + REST),
        ("nul", b"3\x00" + REST),
        ("vertical_tab", b"3\x0b" + REST),
        ("quoted", b"\"3\"" + REST),
        ("over_64_bits", b"10000000000000003" + REST),
        ("max_64_bits", b"ffffffffffffffff" + REST),
        ("max_63_bits", b"7fffffffffffffff" + REST),
        ("wraps_32_bits", b"100000003" + b"0" * 8 + REST),
        ("wraps_64_bits_near", b"fffffffffffffffe" + REST),
        ("huge", b"f" * 100 + REST),
        ("zeros_for_ever", b"0" * 5000 + b"3" + REST),
    )
    def test_size(self, body):
        self.refused_body(body)

    @variants(
        ("bare_lf_after_size", b"3\nabc\r\n0\r\n\r\n"),
        ("bare_lf_after_data", b"3\r\nabc\n0\r\n\r\n"),
        ("bare_lf_after_last_size", b"3\r\nabc\r\n0\n\r\n"),
        ("bare_lf_at_end", b"3\r\nabc\r\n0\r\n\n"),
        ("bare_cr_after_size", b"3\rabc\r\n0\r\n\r\n"),
        ("bare_cr_after_data", b"3\r\nabc\r0\r\n\r\n"),
        ("cr_cr_lf", b"3\r\r\nabc\r\n0\r\n\r\n"),
        ("lf_lf", b"3\n\nabc"),
        ("data_too_long", b"3\r\nabcd\r\n0\r\n\r\n"),
        ("data_two_too_long", b"3\r\nabcXX0\r\n\r\n"),
        ("data_too_short", b"5\r\nabc\r\n0\r\n\r\n"),
        ("no_crlf_after_data", b"3\r\nabc0\r\n\r\n"),
        ("blank_line_between", b"3\r\nabc\r\n\r\n0\r\n\r\n"),
        ("extension_bare_lf", b"3;a\nabc\r\n0\r\n\r\n"),
        ("extension_bare_lf_smuggle", b"3;\nxx\r\nabc\r\n0\r\n\r\n"),
        ("extension_bare_cr", b"3;a\rb\r\nabc\r\n0\r\n\r\n"),
        ("extension_nul", b"3;a\x00\r\nabc\r\n0\r\n\r\n"),
        ("extension_quoted_lf", b"3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"),
        ("extension_quoted_crlf", b"3;a=\"\r\n\"\r\nabc\r\n0\r\n\r\n"),
        ("last_extension_bare_lf", b"3\r\nabc\r\n0;a\nGET / HTTP/1.1\r\n\r\n"),
        ("colon_extension", b"3:a\r\nabc\r\n0\r\n\r\n"),
    )
    def test_funky(self, body):
        self.refused_body(body)

    def refused_body(self, body):
        """400 and close; whatever of the request reached the backend is not a whole request and is taken back."""
        client = self.connect().send(chunked(body))
        answer = client.response()
        rest, end = client.rest(1.0)
        arrived = self.backend_got()
        seen = f"{answer.raw!r} {rest!r} {end}; the backend got {[(r.raw, r.complete) for r in arrived]}"
        self.assertEqual(answer.status, 400, seen)
        self.assertEqual(rest, b"", seen)
        self.assertIn(end, ("closed", "reset"), seen)
        self.assertFalse([r for r in arrived if r.complete], seen)

    def refused_late(self, first, then, *statuses):
        """The same when the head and a part went on to the backend before the fault was read."""
        arrived = []
        client = self.connect().send(chunked(first))
        while not arrived:
            arrived = [c for c in self.backend.connections if b"POST /upload" in c.received and c not in self.seen]
        self.seen.update(arrived)
        client.send(then)
        answer = client.response()
        rest, end = client.rest(1.0)
        others = self.backend_got()
        seen = f"{answer.raw!r} {rest!r} {end}; the backend got {[(r.raw, r.complete) for r in others]}"
        self.assertIn(answer.status, statuses, seen)
        self.assertIn(end, ("closed", "reset"), seen)
        self.assertFalse([r for r in others if r.complete], seen)

    def setUp(self):
        super().setUp()
        self.backend.close_connections()
        self.seen = set(self.backend.connections)

    @variants(
        ("bare_lf", b"3\nghi\r\n0\r\n\r\n"),
        ("not_hex", b"zz\r\n"),
        ("too_long", b"3\r\nghij\r\n"),
        ("overflow", b"fffffffffffffffff\r\n"),
        ("trailer_nul", b"0\r\nX: a\x00\r\n\r\n"),
        ("extension_control", b"3;\x01\r\nghi\r\n"),
    )
    def test_fault_after_the_head_went_on(self, then):
        self.refused_late(b"3\r\nabc\r\n", then, 400)

    @variants(("one_line", b"3;" + b"a" * 300 + REST),
              ("one_line_huge", b"3;" + b"a" * 100000 + REST),
              ("sum", b"1;" + b"a" * 200 + b"\r\nx\r\n", 200),
              ("one_byte_chunks", b"1;aaaaaaaaaaaaaaa\r\nx\r\n", 3000))
    def test_extension_flood(self, body, times=None):
        if times:
            body = body * times + b"0\r\n\r\n"
        self.refused_body(body)

    @variants(
        ("transfer_encoding", b"Transfer-Encoding: chunked\r\n"),
        ("content_length", b"Content-Length: 60\r\n"),
        ("host", b"Host: evil\r\n"),
        ("authorization", b"Authorization: Basic eDp5\r\n"),
        ("cookie", b"Cookie: admin=1\r\n"),
        ("x_forwarded_for", b"X-Forwarded-For: 10.0.0.1\r\n"),
        ("content_type", b"Content-Type: text/html\r\n"),
        ("ordinary", b"X-Checksum: 1\r\n"),
        ("empty_value", b"X-Empty:\r\n"),
        ("many", b"".join(b"X-%d: y\r\n" % i for i in range(20))),
    )
    def test_trailers_are_dropped(self, trailer):
        request, _ = self.forwarded(chunked(b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"))
        self.assertEqual((request.trailers, request.body), ([], b"abc"))
        self.assertEqual(request.values("Host"), ["t"])
        name = trailer.split(b":")[0].decode()
        if name not in ("Host", "Transfer-Encoding", "X-Forwarded-For"):
            self.assertEqual(request.values(name), [])
        self.assertNotIn("10.0.0.1", str(request.headers))

    @variants(
        ("bare_lf", b"X: y\n\r\n"), ("no_colon", b"foo\r\n\r\n"), ("empty_name", b": x\r\n\r\n"),
        ("folded", b"X: y\r\n z\r\n\r\n"), ("nul", b"X: \x00\r\n\r\n"), ("bare_cr", b"X: a\rb\r\n\r\n"),
        ("space_before_colon", b"X : y\r\n\r\n"), ("request_line", SMUGGLED),
        ("high_name", b"\xe9: x\r\n\r\n"), ("lf_lf", b"X: y\n\n"),
    )
    def test_malformed_trailers(self, trailer):
        self.refused_body(b"3\r\nabc\r\n0\r\n" + trailer)

    @variants(("many", b"".join(b"X-%d: y\r\n" % i for i in range(500))), ("long", b"X: " + b"y" * 20000 + b"\r\n"))
    def test_trailer_flood(self, trailer):
        client = self.connect().send(chunked(b"3\r\nabc\r\n0\r\n" + trailer + b"\r\n"))
        self.assertIn(client.response().status, (400, 431))
        self.assertFalse([r for r in self.backend_got() if r.complete])

    def test_broken_off(self):
        """A client that leaves in the middle of its body: the backend must see a broken request, not a whole one."""
        client = self.connect().send(chunked(b"5\r\nab"))
        client.half_close()
        client.rest(1.0)
        self.assertFalse([r for r in self.backend_got() if r.complete])


if __name__ == "__main__":
    import unittest
    unittest.main()
