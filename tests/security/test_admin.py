"""The operator's door: who may knock, what is refused, hostile bodies, and secrets that appear nowhere."""

import json
import os
import socket
import stat
import subprocess

from harness import Client, PeerTest, Plimsoll, base_config, binary, free_port, merged, variants, wait_until

WRITE = {"Content-Type": "application/json", "X-Plimsoll-Request": "1"}
SECRET = "s3cret-Zq81-do-not-show"


class AdminTest(PeerTest):
    def call(self, raw):
        """One raw request on the admin listener; gives the answer."""
        client = Client(self.server.admin_port)
        self.addCleanup(client.close)
        return client.send(raw).response()

    def write(self, path="/v1/plan", body=b"{}", headers=None):
        """(status, body) of a POST with the headers that writes need, or those given."""
        status, _, text = self.server.admin("POST", path, body, WRITE if headers is None else headers)
        return status, text

    def still_answers(self):
        self.assertEqual(self.server.admin(path="/healthz")[0], 200)
        self.good_client_is_served()


class Door(AdminTest):
    @variants(("name", b"evil.example"), ("name_port", b"evil.example:9900"), ("public", b"203.0.113.9"),
              ("looks_local", b"localhost.evil.example"), ("ip_name", b"127.0.0.1.nip.io"))
    def test_dns_rebinding(self, host):
        self.assertIn(self.call(b"GET /v1/status HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").status, (403, 421))

    def test_dns_rebinding_cannot_write(self):
        self.assertIn(self.call(b"POST /v1/thaw HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
                                b"X-Plimsoll-Request: 1\r\nContent-Length: 2\r\n\r\n{}").status, (403, 421))

    @variants(("address", b"127.0.0.1"), ("localhost", b"localhost"), ("localhost_port", b"localhost:9900"), ("ipv6", b"[::1]"))
    def test_own_names_are_taken(self, host):
        self.assertEqual(self.call(b"GET /healthz HTTP/1.1\r\nHost: " + host + b"\r\n\r\n").status, 200)

    @variants(("cross_site", b"Origin: http://evil.example\r\n"), ("null", b"Origin: null\r\n"),
              ("fetch_site", b"Sec-Fetch-Site: cross-site\r\n"))
    def test_cross_site_write(self, header):
        answer = self.call(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"X-Plimsoll-Request: 1\r\n" + header + b"Content-Length: 2\r\n\r\n{}")
        self.assertEqual(answer.status, 403)

    @variants(
        ("none", {}), ("json_only", {"Content-Type": "application/json"}), ("header_only", {"X-Plimsoll-Request": "1"}),
        ("text", {"Content-Type": "text/plain", "X-Plimsoll-Request": "1"}),
        ("form", {"Content-Type": "application/x-www-form-urlencoded", "X-Plimsoll-Request": "1"}),
        ("multipart", {"Content-Type": "multipart/form-data; boundary=x", "X-Plimsoll-Request": "1"}),
        ("text_pretending", {"Content-Type": "text/plain; application/json", "X-Plimsoll-Request": "1"}),
        ("blank_first", {"Content-Type": "text/application/json", "X-Plimsoll-Request": "1"}),
    )
    def test_simple_requests_cannot_write(self, headers):
        for path in ("/v1/apply", "/v1/plan", "/v1/rollback", "/v1/abort", "/v1/thaw", "/v1/incidents/INC-1/ack"):
            self.assertIn(self.write(path, headers=headers)[0], (403, 415))

    @variants(("jsonx", "application/jsonx"), ("json_patch", "application/json-patch+json"))
    def test_content_type_is_compared_whole(self, kind):
        self.assertEqual(self.write(headers={"Content-Type": kind, "X-Plimsoll-Request": "1"})[0], 415)

    @variants(*[(method.lower(), method) for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FROBNICATE")])
    def test_methods(self, method):
        status, headers, body = self.server.admin(method, "/v1/status")
        self.assertIn(status, (405, 501))
        self.assertNotIn("Access-Control-Allow-Origin", headers)

    def test_preflight_allows_nothing(self):
        answer = self.call(b"OPTIONS /v1/apply HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
                           b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-plimsoll-request\r\n\r\n")
        self.assertFalse([name for name, _ in answer.headers if name.lower().startswith(b"access-control")])
        self.assertGreaterEqual(answer.status, 400)

    def test_connect(self):
        self.assertIn(self.call(b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\n").status, (400, 405, 501))

    @variants(("apply", "/v1/apply"), ("rollback", "/v1/rollback"), ("abort", "/v1/abort"), ("thaw", "/v1/thaw"))
    def test_get_changes_nothing(self, path):
        self.assertIn(self.server.admin("GET", path)[0], (404, 405))

    @variants(("dots", "/v1/../../etc/passwd"), ("encoded", "/%2e%2e/%2e%2e/etc/passwd"), ("double", "//etc/passwd"),
              ("changes", "/v1/changes/../../x"), ("changes_nul", "/v1/changes/%00"), ("incident", "/v1/incidents/../x/postmortem"),
              ("incident_encoded", "/v1/incidents/%2e%2e%2fx/postmortem"), ("revision_negative", "/v1/revisions/-1"),
              ("revision_huge", "/v1/revisions/99999999999999999"), ("revision_r", "/v1/revisions/r"),
              ("revision_word", "/v1/revisions/rx"), ("long", "/" + "a" * 4000), ("script", "/<script>alert(1)</script>"))
    def test_paths(self, path):
        answer = self.call(b"GET " + path.encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(answer.status, (400, 404))
        self.assertNotIn(b"<script>", answer.body)
        self.still_answers()

    def test_loopback_by_default(self):
        shown = subprocess.run([binary(), "print", str(self.server.config_file)], capture_output=True, text=True, check=True)
        self.assertIn("127.0.0.1", shown.stdout)
        with open(f"/proc/{self.server.process.pid}/net/tcp") as table:
            ports = [line.split()[1] for line in table.readlines()[1:] if line.split()[3] == "0A"]
        mine = [each for each in ports if each.endswith(f":{self.server.admin_port:04X}")]
        self.assertEqual(mine, [f"0100007F:{self.server.admin_port:04X}"])

    def test_socket_is_the_owners(self):
        self.assertEqual(stat.S_IMODE(os.stat(self.server.admin_socket).st_mode), 0o600)

    @variants(("cl_te", b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), ("cl_twice", b"Content-Length: 2\r\nContent-Length: 2\r\n"),
              ("te", b"Transfer-Encoding: xchunked\r\n"), ("fold", b"X: a\r\n b\r\nContent-Length: 2\r\n"))
    def test_framing_is_as_strict_here(self, headers):
        answer = self.call(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"X-Plimsoll-Request: 1\r\n" + headers + b"\r\n{}")
        self.assertIn(answer.status, (400, 501))

    def test_silent_clients_do_not_shut_the_door(self):
        held = [socket.create_connection(("127.0.0.1", self.server.admin_port)) for _ in range(100)]
        self.addCleanup(lambda: [each.close() for each in held])
        for index, each in enumerate(held):
            each.sendall((b"", b"GET / HTTP/1.1\r\n", b"POST /v1/plan HTTP/1.1\r\nHost: l\r\nContent-Length: 9\r\n\r\n")[index % 3])
        self.still_answers()


class HostileBodies(AdminTest):
    """400 or 413, no recursion that ends the process, no exception that escapes."""

    @variants(
        ("empty", b""), ("blank", b"   "), ("array", b"[]"), ("number", b"1"), ("text", b'"x"'), ("null", b"null"), ("true", b"true"),
        ("cut", b'{"text":'), ("cut_string", b'{"text":"'), ("trailing", b'{"text":""}x'), ("two", b"{}{}"),
        ("comma", b'{"text":"",}'), ("single_quotes", b"{'text':''}"), ("comment", b'{/**/"text":""}'), ("bom_16", b"\xff\xfe{\x00}\x00"),
        ("nul", b'{"text":"\x00"}'), ("raw_newline", b'{"text":"\n"}'), ("invalid_utf8", b'{"text":"\xff"}'),
        ("overlong_utf8", b'{"text":"\xc0\xaf"}'), ("lone_surrogate", b'{"text":"\\ud800"}'), ("nan", b'{"to":NaN}'),
        ("infinity", b'{"to":Infinity}'), ("hex", b'{"to":0x10}'), ("leading_zero", b'{"to":01}'), ("plus", b'{"to":+1}'),
        ("overflow", b'{"to":1e999}'), ("deep_array", b'{"text":' + b"[" * 200000), ("deep_object", b'{"a":' * 200000),
        ("yaml", b"text: x"), ("binary", bytes(range(256))),
    )
    def test_malformed_json(self, body):
        for path in ("/v1/plan", "/v1/rollback"):
            status, text = self.write(path, body)
            self.assertEqual(status, 400, text[:200])
        self.still_answers()

    @variants(
        ("deep_and_closed", b'{"x":' + b"[" * 100000 + b"]" * 100000 + b"}"),
        ("deep_objects_closed", b'{"a":' * 50000 + b"1" + b"}" * 50000),
        ("many_members", b"{" + b",".join(b'"k%d":1' % i for i in range(200000)) + b"}"),
        ("same_member_often", b"{" + b",".join([b'"text":"x"'] * 100000) + b"}"),
        ("long_name", b'{"' + b"k" * 5000000 + b'":1}'),
        ("wrong_types", b'{"text":1,"file":{},"author":[],"reason":null,"force":"yes","at_once":1,"to":-1,"base":true}'),
        ("numbers", b'{"to":18446744073709551615}'), ("number_large", b'{"to":1e300}'), ("number_fraction", b'{"to":1.5}'),
        ("escapes", b'{"text":"\\u0000\\u001b[2J\\n"}'),
    )
    def test_odd_but_json(self, body):
        for path in ("/v1/plan", "/v1/rollback", "/v1/thaw"):
            status, text = self.write(path, body)
            self.assertIn(status, (200, 400, 404, 409), text[:200])
        self.still_answers()

    def test_too_large(self):
        answer = self.call(b"POST /v1/plan HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                           b"X-Plimsoll-Request: 1\r\nContent-Length: 99999999999\r\n\r\n")
        self.assertEqual(answer.status, 413)
        self.still_answers()

    @variants(
        ("deep_flow", "a: " + "[" * 50000), ("deep_flow_closed", "a: " + "[" * 5000 + "]" * 5000),
        ("deep_maps", "a: " + "{b: " * 50000), ("deep_block", "".join(" " * i + "a:\n" for i in range(1500))),
        ("deep_sequence", "- " * 50000 + "x"),
        ("bomb", "x-a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"x-{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(20))),
        ("self_reference", "a: &a [*a]"), ("tag", "!!python/object/apply:os.system ['x']"), ("documents", "---\na: 1\n---\nb: 2\n" * 100),
        ("control", "a: \x01\x02"), ("long_line", "a: " + "x" * 1000000), ("empty", ""), ("tabs", "\t\t\t"), ("anchors", "&a " * 10000),
        ("colons", ": " * 10000), ("questions", "? " * 10000), ("percent", "%YAML 9.9\n---\n"), ("quote", "a: \"" + "\\x" * 1000),
    )
    def test_hostile_configurations(self, text):
        status, answer = self.write("/v1/plan", json.dumps({"text": text}).encode())
        self.assertIn(status, (200, 400), answer[:300])
        if status == 200:
            self.assertEqual(json.loads(answer)["verdict"], "rejected")
        self.still_answers()


class Secrets(AdminTest):
    """A notification's signing secret and that of a session's cookie are in no page, log, plan, print or error."""

    changes = {"notify": [{"name": "pager", "url": "http://127.0.0.1:9/hook", "secret": SECRET}],
               "pools": {"web": {"affinity": {"cookie": "stay", "secret": SECRET + "-of-the-cookie"}}}}

    @variants(*[(path.strip("/").replace("/", "_"), path) for path in (
        "/metrics", "/v1/status", "/v1/changes", "/v1/changes/C1", "/v1/incidents")])
    def test_pages(self, path):
        self.assertNotIn(SECRET.encode(), self.server.admin(path=path)[2])

    def test_revision_text(self):
        status, _, text = self.server.admin(path="/v1/revisions/r1")
        self.assertEqual(status, 200)
        self.assertNotIn(SECRET.encode(), text)

    def test_standard_error(self):
        self.assertNotIn(SECRET, self.server.stderr())

    def test_access_log(self):
        self.good_client_is_served()
        self.assertNotIn(SECRET, json.dumps(self.server.log_lines()))

    @variants(("print", ["print"]), ("check", ["check"]), ("print_help", ["print", "--help"]))
    def test_command_line(self, arguments):
        ran = subprocess.run([binary(), *arguments, str(self.server.config_file)], capture_output=True, text=True)
        self.assertNotIn(SECRET, ran.stdout + ran.stderr)

    def test_plan(self):
        config = dict(self.server.config, notify=[{"name": "pager", "url": "http://127.0.0.1:9/x", "secret": SECRET + "2"}])
        _, text = self.write("/v1/plan", json.dumps({"text": json.dumps(config)}).encode())
        self.assertNotIn(SECRET.encode(), text)

    def test_errors(self):
        config = dict(self.server.config, notify=[{"name": "pager", "url": "nonsense", "secret": [SECRET]}])
        _, text = self.write("/v1/plan", json.dumps({"text": json.dumps(config)}).encode())
        self.assertNotIn(SECRET.encode(), text)

    def test_postmortem(self):
        """The files of a postmortem by TCP, as a change that went back leaves them."""
        config = merged(base_config([free_port(), self.backend.port], self.changes), {"pools": {"web": {"health": {"path": "/healthz", "interval": "100ms"}}}})
        with Plimsoll(config) as server:
            with Client(server.port) as client:
                for _ in range(20):
                    client.get("/")
            wait_until("a server that is down is an incident", lambda: b"INC-1" in server.admin(path="/v1/incidents")[2], 20)
            directory = server.state / "incidents" / "INC-1"
            directory.mkdir(parents=True, exist_ok=True)
            (directory / "before.yaml").write_text(json.dumps(server.config))
            (directory / "after.yaml").write_text("nonsense: " + SECRET)
            status, _, text = server.admin(path="/v1/incidents/INC-1/postmortem")
            self.assertEqual(status, 200)
            files = json.loads(text)["files"]
            self.assertLessEqual({"after.yaml", "before.yaml"}, set(files))
            self.assertIn("pager", files["before.yaml"], "the rest is there")
            self.assertNotIn(SECRET.encode(), text)
            told = server.admin_by_socket("/v1/incidents/INC-1/postmortem")
            self.assertIn(SECRET, told, "by the Unix socket it is as it was written")

    def test_files_are_the_owners(self):
        """Nothing in the state directory that holds the secret is readable by others."""
        for path in self.server.state.rglob("*"):
            if path.is_file() and SECRET.encode() in path.read_bytes():
                self.assertEqual(stat.S_IMODE(path.stat().st_mode) & 0o077, 0, f"{path} {oct(path.stat().st_mode)}")


if __name__ == "__main__":
    import unittest
    unittest.main()
