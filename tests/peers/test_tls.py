"""TLS with other people's tools: openssl s_client and s_server, curl, NGINX, sslscan, testssl.sh."""

import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import threading
import time
import unittest

from harness import PATIENCE, Client, Peer, PeerTest, Plimsoll, base_config, binary, free_port, needs, variants, wait_until
from tools import EASY, apply, ask, certificates, nginx, run


def s_client(port, *arguments, stdin="", seconds=10):
    """Everything that `openssl s_client` says of one connection."""
    done = run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments, stdin=stdin, seconds=seconds)
    return done.stdout + done.stderr


def subject(text):
    found = re.search(r"subject=.*?CN ?= ?([^\s,]+)", text)
    return found[1] if found else None


@needs("openssl")
class Listener(PeerTest):
    changes = {"guard": EASY}

    @classmethod
    def configure(cls, config):
        made = certificates()
        config["certificates"] = made.section(
            first=made.leaf("first", "first.example"), shop=made.leaf("shop", "shop.example", "www.shop.example", rsa=True),
            wild=made.leaf("wild", "*.wild.example"))
        tls = {"certificates": ["first", "shop", "wild"]}
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": tls}
        config["listeners"]["only13"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["first"], "min_version": "1.3"}}
        config["listeners"]["no_h2"] = {"address": f"127.0.0.1:{free_port()}", "http2": False, "tls": {"certificates": ["first"]}}

    @property
    def secure(self):
        return self.server.port_of("secure")

    @variants(("12", "-tls1_2", "TLSv1.2"), ("13", "-tls1_3", "TLSv1.3"))
    def test_versions(self, flag, name):
        text = s_client(self.secure, flag, "-servername", "first.example", "-CAfile", certificates().ca)
        self.assertRegex(text, f"New, {name}, Cipher is (TLS_|ECDHE-)", text[-1500:])
        self.assertIn("Verify return code: 0 (ok)", text)

    @variants(("tls_10", "-tls1"), ("tls_11", "-tls1_1"))
    def test_old_versions_are_refused(self, flag):
        text = s_client(self.secure, flag, "-cipher", "ALL:@SECLEVEL=0")
        self.assertIn("Cipher is (NONE)", text, text[-1500:])
        self.assertNotIn("BEGIN CERTIFICATE", text)

    def test_min_version(self):
        port = self.server.port_of("only13")
        self.assertIn("Cipher is (NONE)", s_client(port, "-tls1_2"))
        self.assertIn("New, TLSv1.3", s_client(port, "-tls1_3"))

    @variants(("exact", "shop.example", "shop.example"), ("second_name", "www.shop.example", "shop.example"),
              ("case", "SHOP.Example", "shop.example"), ("wildcard", "a.wild.example", "*.wild.example"),
              ("wildcard_is_one_label", "a.b.wild.example", "first.example"), ("wildcard_is_not_itself", "wild.example", "first.example"),
              ("unknown", "other.example", "first.example"))
    def test_certificate_by_name(self, name, common):
        self.assertEqual(subject(s_client(self.secure, "-servername", name)), common)

    def test_no_name(self):
        self.assertEqual(subject(s_client(self.secure, "-noservername")), "first.example")

    @variants(("h2_first", "h2,http/1.1", "h2"), ("only_http1", "http/1.1", "http/1.1"), ("http1_first", "http/1.1,h2", "h2"))
    def test_alpn(self, offered, chosen):
        self.assertIn(f"ALPN protocol: {chosen}", s_client(self.secure, "-alpn", offered))

    def test_alpn_without_http2(self):
        self.assertIn("ALPN protocol: http/1.1", s_client(self.server.port_of("no_h2"), "-alpn", "h2,http/1.1"))

    def test_alpn_that_nobody_speaks(self):
        """RFC 7301: no_application_protocol; or no ALPN at all. Never a protocol that was not offered."""
        text = s_client(self.secure, "-alpn", "spdy/3")
        self.assertRegex(text, "no application protocol|No ALPN negotiated|Cipher is .NONE.")

    def resumed(self, version, file, between=lambda: None):
        if version == "-tls1_3":  # tickets come after the handshake: wait for an answer
            request = "GET / HTTP/1.1\r\nHost: first.example\r\nConnection: close\r\n\r\n"
        else:
            request = ""
        options = [version, "-servername", "first.example", "-alpn", "http/1.1", "-ign_eof"] if request else [version, "-servername", "first.example"]
        first = s_client(self.secure, *options, "-sess_out", file, stdin=request)
        self.assertIn("New, ", first)
        between()
        again = s_client(self.secure, *options, "-sess_in", file, stdin=request)
        return "Reused, TLS" in again

    @variants(("12", "-tls1_2"), ("13", "-tls1_3"))
    def test_resumption(self, version):
        self.assertTrue(self.resumed(version, self.server.directory / "session"))

    @variants(("12", "-tls1_2"), ("13", "-tls1_3"))
    def test_resumption_across_a_change(self, version):
        def change():
            name = f"changed-{version[-1]}"
            apply(self.server, {}, replace={"routes": [{"name": name, "pool": "web"}]})
        self.assertTrue(self.resumed(version, self.server.directory / "session2", change), "a change costs every client a handshake")

    def test_renegotiation_is_refused(self):
        """A client that asks for another handshake gets none, and no second answer to pay for."""
        process = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.secure}", "-tls1_2", "-servername", "first.example",
                      stdin="R\n", seconds=10)
        text = process.stdout + process.stderr
        self.assertRegex(text, "no renegotiation|RENEGOTIATING")
        self.assertNotRegex(text.split("RENEGOTIATING")[-1], "verify return:1")
        with ssl_client(self.secure, "first.example") as client:
            client.sendall(b"GET /after HTTP/1.1\r\nHost: first.example\r\n\r\n")
            self.assertIn(b"GET /after", client.recv(65536))

    def test_misdirected(self):
        """A connection opened for one certificate's names is not taken for those of another: 421, and it goes on."""
        with ssl_client(self.secure, "shop.example") as client:
            for host, status in ((b"shop.example", b"200"), (b"www.shop.example", b"200"), (b"a.wild.example", b"421"), (b"shop.example", b"200")):
                client.sendall(b"GET /m HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
                answer = client.recv(65536)
                self.assertEqual(answer.split()[1], status, answer)

    def test_plain_http_on_a_tls_port(self):
        with Client(self.secure) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
            data, end = client.rest(3)
            self.assertIn(end, ("closed", "reset"))
            self.assertNotIn(b"200", data[:20])
        self.assertEqual(self.backend.take(), [])

    def test_handshake_that_stalls(self):
        """A client that never ends its greeting is let go after head_timeout; others do not wait."""
        with socket.create_connection(("127.0.0.1", self.secure)) as slow:
            slow.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            with ssl_client(self.secure, "first.example") as client:
                client.sendall(b"GET /beside HTTP/1.1\r\nHost: first.example\r\n\r\n")
                self.assertIn(b"GET /beside", client.recv(65536))

    def test_listener_and_scheme_are_told(self):
        with ssl_client(self.secure, "shop.example") as client:
            client.sendall(b"GET /logged HTTP/1.1\r\nHost: shop.example\r\n\r\n")
            client.recv(65536)
        line = self.server.log_line(lambda line: line["path"] == "/logged")
        self.assertEqual(line["listener"], "secure")
        arrived = [request for request in self.backend.take() if request.target == "/logged"]
        self.assertEqual([request.get("X-Forwarded-Proto") for request in arrived], ["https"])

    @needs("sslscan")
    def test_sslscan(self):
        text = re.sub(r"\x1b\[[0-9;]*m", "", run("sslscan", f"127.0.0.1:{self.secure}", seconds=60).stdout)
        for line in ("SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled", "TLSv1.2   enabled",
                     "TLSv1.3   enabled", "TLS Fallback SCSV"):
            self.assertIn(line, text)
        self.assertRegex(text, r"Session renegotiation not supported|Secure session renegotiation supported")
        self.assertNotRegex(text, r"(?m)^TLSv1.[23] .*vulnerable(?<!not vulnerable)")
        accepted = re.findall(r"(?:Accepted|Preferred)\s+\S+\s+(\d+) bits\s+(\S+)", text)
        self.assertTrue(accepted, text)
        weak = [name for bits, name in accepted if int(bits) < 128 or re.search(r"CBC|RC4|3DES|NULL|EXP|MD5|anon", name, re.I)
                or not re.match(r"TLS_|ECDHE-", name)]
        self.assertEqual(weak, [])

    @needs("testssl")
    @unittest.skipUnless(os.environ.get("PLIMSOLL_SLOW"), "takes a minute: PLIMSOLL_SLOW=1")
    def test_testssl(self):
        text = run("testssl", "--fast", "--color", "0", "--quiet", "--warnings", "off", "-U", "-p", "-s", "-f",
                   f"127.0.0.1:{self.secure}", seconds=300).stdout
        self.assertGreaterEqual(len(re.findall(r"not vulnerable", text)), 5, text)
        self.assertNotRegex(text, r"(?m)VULNERABLE(?<!not VULNERABLE).*\(NOT ok\)", text)
        self.assertNotRegex(text, r"(?m)^ .*offered \(NOT ok\)", text)


@contextlib.contextmanager
def ssl_client(port, name, alpn=("http/1.1",), certificate=None, verify=True):
    context = ssl.create_default_context(cafile=str(certificates().ca))
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn))
    if certificate:
        context.load_cert_chain(*map(str, certificate))
    with socket.create_connection(("127.0.0.1", port), timeout=5 * PATIENCE) as plain:
        with context.wrap_socket(plain, server_hostname=name) as wrapped:
            yield wrapped


@needs("curl")
class ClientCertificates(PeerTest):
    @classmethod
    def configure(cls, config):
        made = certificates()
        made.authority("people")
        made.authority("strangers")
        config["certificates"] = made.section(web=made.leaf("mtls", "mtls.example"))
        cls.person = made.leaf("person", "alice", ca="people", client=True)
        cls.stranger = made.leaf("stranger", "mallory", ca="strangers", client=True)
        cls.server_purpose = made.leaf("purpose", "not-a-client", ca="people")
        for auth in ("required", "optional"):
            config["listeners"][auth] = {"address": f"127.0.0.1:{free_port()}", "tls": {
                "certificates": ["web"], "client_auth": auth, "client_ca": str(made.directory / "people.pem")}}

    def get(self, listener, certificate=None, *more):
        port = self.server.port_of(listener)
        shown = ["--cert", certificate[0], "--key", certificate[1]] if certificate else []
        return ask("--cacert", certificates().ca, "--resolve", f"mtls.example:{port}:127.0.0.1", *shown, *more, f"https://mtls.example:{port}/m")

    @variants(("12", "--tls-max", "1.2"), ("13", "--tlsv1.3"))
    def test_required(self, *version):
        self.assertEqual(self.get("required", self.person, *version).status, 200)
        self.assertEqual(self.get("required", None, *version).status, 0)
        self.assertEqual(self.get("required", self.stranger, *version).status, 0)
        self.assertEqual(self.get("required", self.server_purpose, *version).status, 0)
        self.assertEqual([request.target for request in self.backend.take()], ["/m"])

    def test_optional(self):
        self.assertEqual(self.get("optional", self.person).status, 200)
        self.assertEqual(self.get("optional").status, 200)
        self.assertEqual(self.get("optional", self.stranger).status, 0)


@needs("openssl")
class Swap(PeerTest):
    """Certificate files change on disk: new handshakes have the new one within seconds, open connections notice nothing."""

    @classmethod
    def configure(cls, config):
        made = certificates()
        cls.chain, cls.key = made.leaf("swapped", "old.example")
        config["certificates"] = made.section(swapped=(cls.chain, cls.key))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["swapped"]}}

    def test_files_are_swapped_under_open_connections(self):
        port = self.server.port_of("secure")
        with ssl_client(port, "old.example") as open_before:
            def still_served():
                open_before.sendall(b"GET /open HTTP/1.1\r\nHost: old.example\r\n\r\n")
                self.assertIn(b"GET /open", open_before.recv(65536))
            still_served()
            good = self.chain.read_bytes(), self.key.read_bytes()
            self.key.write_text("half a key")  # as seen when files are written one after the other
            chain, key = certificates().leaf("new", "new.example")
            shutil.copy(key, self.key)
            shutil.copy(chain, self.chain)
            wait_until("the new certificate is served", lambda: subject(s_client(port, "-servername", "x")) == "new.example", 16 * PATIENCE, 0.3)
            still_served()
            self.chain.write_bytes(good[0])  # a chain without its key: refused, what is served stays
            still_served()
        self.assertEqual(subject(s_client(port, "-servername", "x")), "new.example")


@needs("openssl")
class Stapling(PeerTest):
    """OCSP responses from files: what s_client is handed, and that a bad one is never an outage."""
    changes = {"guard": EASY}

    @classmethod
    def configure(cls, config):
        made = certificates()
        cls.pairs, section = {}, {}
        for name in ("good", "foreign", "missing", "revoked"):
            cls.pairs[name] = made.leaf(f"staple-{name}", f"{name}.example", chain_too=True)
            section[name] = dict(zip(("chain", "key"), map(str, cls.pairs[name])), ocsp=str(made.directory / f"staple-{name}.ocsp"))
        made.ocsp("staple-good", cls.pairs["good"][0])
        made.ocsp("staple-foreign", cls.pairs["good"][0])
        made.ocsp("staple-revoked", cls.pairs["revoked"][0], revoked=True)
        config["certificates"] = section
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": list(section)}}

    def status(self, name, *more):
        """What s_client says of the response, and of the connection."""
        return s_client(self.server.port_of("secure"), "-servername", f"{name}.example", "-status", "-CAfile", certificates().ca, *more)

    @variants(("12", "-tls1_2"), ("13", "-tls1_3"))
    def test_good(self, version):
        text = self.status("good", version)
        self.assertIn("OCSP Response Status: successful", text)
        self.assertIn("Cert Status: good", text)
        self.assertIn("Verify return code: 0 (ok)", text)

    @variants(("foreign", "foreign"), ("revoked", "revoked"))
    def test_bad_is_not_sent(self, name):
        text = self.status(name)
        self.assertIn("OCSP response: no response sent", text)
        self.assertIn("Verify return code: 0 (ok)", text)

    def test_renewed_with_its_file(self):
        self.assertIn("no response sent", self.status("missing"))
        certificates().ocsp("staple-missing", self.pairs["missing"][0])
        wait_until("the new response is stapled", lambda: "Cert Status: good" in self.status("missing"), 16 * PATIENCE, 0.3)
        certificates().ocsp("staple-missing", self.pairs["missing"][0], revoked=True)
        wait_until("a response that says revoked is not", lambda: "no response sent" in self.status("missing"), 16 * PATIENCE, 0.3)

    def test_findings(self):
        chain, key = certificates().leaf("staple-must", "must.example", must_staple=True, chain_too=True)
        config = self.server.directory / "stapled.json"
        ends = certificates().directory / "staple-revoked.ocsp"
        section = {"must": {"chain": str(chain), "key": str(key)},
                   "revoked": dict(zip(("chain", "key"), map(str, self.pairs["revoked"])), ocsp=str(ends)),
                   "foreign": dict(zip(("chain", "key"), map(str, self.pairs["foreign"])), ocsp=str(certificates().directory / "staple-foreign.ocsp"))}
        text = base_config([9])
        text["certificates"] = section
        text["listeners"]["secure"] = {"address": "127.0.0.1:1", "tls": {"certificates": list(section)}}
        config.write_text(json.dumps(text))
        said = run(binary(), "check", config).stdout
        for code, path in (("P420-must-staple", "certificates.must"), ("P420-certificate-revoked", "certificates.revoked.ocsp"),
                           ("P420-ocsp-unusable", "certificates.foreign.ocsp")):
            self.assertRegex(said, rf"{code}: {re.escape(path)}: ")


class Backends(unittest.TestCase):
    """TLS towards servers: verified unless told otherwise, by name and authority; a certificate of ours when asked for."""

    @classmethod
    def setUpClass(cls):
        made = certificates()
        made.authority("elsewhere")
        made.authority("inside")
        right, wrong = made.leaf("right", "app.internal"), made.leaf("wrong", "other.internal")
        unknown = made.leaf("unknown", "app.internal", ca="elsewhere")
        nul = made.leaf("nul", "x", alternative=b"app.internal\0.evil.example")  # Envoy CVE-2026-47778
        ours = made.leaf("ours", "plimsoll", ca="inside", client=True)

        def site(pair, more=""):
            port = free_port()
            return (port, f"server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate {pair[0]}; ssl_certificate_key {pair[1]}; {more} "
                    "location / { default_type text/plain; return 200 'sni=$ssl_server_name verify=$ssl_client_verify proto=$server_protocol'; } }")
        sites = {"right": site(right), "wrong": site(wrong), "unknown": site(unknown), "nul": site(nul),
                 "asks": site(right, f"ssl_client_certificate {made.directory / 'inside.pem'}; ssl_verify_client on;")}
        plain = free_port()
        sites["plain"] = (plain, f"server {{ listen 127.0.0.1:{plain}; return 200 plain; }}")
        cls.peer = nginx(http="".join(text for _, text in sites.values()))
        cls.peer.port = plain
        cls.peer.start()
        cls.addClassCleanup(cls.peer.stop)
        config = base_config([plain])
        config["certificates"] = made.section(ours=ours)
        tls = {"server_name": "app.internal", "ca": str(made.ca)}

        def pool(name, port, tls, **more):
            base = config["pools"]["web"]
            config["pools"][name] = dict(base, endpoints=[{"name": name, "address": f"127.0.0.1:{port}"}], tls=tls, retry={"attempts": 1}, **more)
            config["routes"].insert(0, {"name": name, "match": {"path": f"/{name}"}, "pool": name})
        pool("right", sites["right"][0], tls)
        pool("right2", sites["right"][0], tls, protocol="http2")
        pool("wrong", sites["wrong"][0], tls)
        pool("unknown", sites["unknown"][0], tls)
        pool("nul", sites["nul"][0], tls)
        pool("system", sites["right"][0], {"server_name": "app.internal"})
        pool("unverified", sites["unknown"][0], {"server_name": "app.internal", "verify": False})
        pool("asks", sites["asks"][0], dict(tls, certificate="ours"))
        pool("asks_bare", sites["asks"][0], tls)
        pool("plaintext", plain, tls)
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def get(self, name):
        with Client(self.server.port) as client:
            return client.get(f"/{name}")

    @needs("nginx")
    def test_taken(self):
        self.assertEqual(self.get("right").body, b"sni=app.internal verify=NONE proto=HTTP/1.1")
        self.assertEqual(self.get("right2").body, b"sni=app.internal verify=NONE proto=HTTP/2.0")
        self.assertEqual(self.get("unverified").status, 200)

    @needs("nginx")
    def test_not_taken(self):
        for name in ("wrong", "unknown", "nul", "system", "plaintext"):
            answer = self.get(name)
            self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (502, "upstream_tls"), (name, answer.raw))

    @needs("nginx")
    def test_our_certificate(self):
        self.assertEqual(self.get("asks").body, b"sni=app.internal verify=SUCCESS proto=HTTP/1.1")
        self.assertEqual(self.get("asks_bare").status, 400)  # NGINX's answer to a client that shows none

    @needs("nginx")
    def test_connections_are_kept(self):
        for _ in range(50):
            self.assertEqual(self.get("right").status, 200)
        lines = wait_until("the log", lambda: [each for each in self.server.log_lines() if each["path"] == "/right"][49:]
                           and self.server.log_lines())
        reused = [attempt["reused"] for line in lines for attempt in line["attempts"] if attempt["endpoint"] == "right"]
        self.assertGreater(sum(reused), 45)


def name_server(answer="127.0.0.1"):
    """A UDP socket that says `answer` to every question for A, and nothing to others, until it is closed."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                asked, client = server.recvfrom(4096)
                end = asked.index(b"\0", 12) + 5  # name, type, class
                found = asked[end - 4:end - 2] == b"\0\1"
                record = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4" + socket.inet_aton(answer) if found else b""
                server.sendto(asked[:2] + b"\x81\x80\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0" + asked[12:end] + record, client)
    threading.Thread(target=serve, daemon=True).start()
    return server


@needs("nginx")
class FoundByName(unittest.TestCase):
    """Endpoints that DNS has found are asked for and verified by the name that was written, by requests and by checks."""

    @classmethod
    def setUpClass(cls):
        made = certificates()
        chain, key = made.leaf("found", "found.internal")
        port, plain = free_port(), free_port()
        cls.peer = nginx(http=f"server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key}; "
                         f"location / {{ return 200 'sni=$ssl_server_name'; }} }} server {{ listen 127.0.0.1:{plain}; return 200 plain; }}")
        cls.peer.port = plain
        cls.peer.start()
        cls.addClassCleanup(cls.peer.stop)
        names = name_server()
        cls.addClassCleanup(names.close)
        config = base_config([plain])
        for name, host in (("right", "found.internal"), ("wrong", "other.internal")):
            config["pools"][name] = {
                "discovery": {"type": "dns", "name": host, "port": port, "resolvers": [f"127.0.0.1:{names.getsockname()[1]}"]},
                "tls": {"ca": str(made.ca)}, "retry": {"attempts": 1}}
            config["routes"].insert(0, {"name": name, "match": {"path": f"/{name}"}, "pool": name})
        config["pools"]["right"]["health"] = {"path": "/", "interval": "100ms", "timeout": "2s"}
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def get(self, name):
        with Client(self.server.port) as client:
            return client.get(f"/{name}")

    def test_the_name_that_was_asked_for(self):
        self.assertEqual(wait_until("it is found", lambda: self.get("right").status == 200 and self.get("right"), 10 * PATIENCE).body,
                         b"sni=found.internal")
        for _ in range(10):  # checks that ask for another name would have taken it out by now
            time.sleep(0.1)
            self.assertEqual(self.get("right").status, 200)

    def test_somebody_else(self):
        answer = wait_until("it is found", lambda: self.get("wrong").status == 502 and self.get("wrong"), 10 * PATIENCE)
        self.assertEqual(answer.get("X-Plimsoll-Cause"), "upstream_tls", answer.raw)


class EarlyBytes(unittest.TestCase):
    """Bytes before the handshake of a backend are not taken for its answer (STARTTLS injection): 502."""

    def test_answer_before_tls(self):
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
                        peer.settimeout(1)
                        with contextlib.suppress(OSError):
                            while peer.recv(65536):
                                pass
        threading.Thread(target=serve, daemon=True).start()
        config = base_config([listener.getsockname()[1]], {"pools": {"web": {"tls": {"server_name": "x.example"}, "retry": {"attempts": 1}}}})
        with Plimsoll(config) as server, Client(server.port) as client:
            answer = client.get("/")
            self.assertEqual((answer.status, answer.get("X-Plimsoll-Cause")), (502, "upstream_tls"), answer.raw)
        listener.close()


if __name__ == "__main__":
    unittest.main()
