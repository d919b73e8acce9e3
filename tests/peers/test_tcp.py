"""TCP listeners and the PROXY protocol: openssl behind by server name, HAProxy and NGINX in front and behind."""

import re
import socket
import ssl
import struct
import threading
import unittest

from harness import PATIENCE, Backend, Client, Peer, PeerTest, Plimsoll, VariantTest, base_config, free_port, needs, variants, wait_until
from tools import STREAM_MODULE, certificates, haproxy, nginx, run


def tcp_config(pools, routes, **listener):
    """One TCP listener `web`; `pools` from name to port."""
    config = base_config([])
    config["listeners"]["web"].update({"protocol": "tcp", "tcp": routes}, **listener)
    config.pop("routes")
    base = config["pools"].pop("web")
    for name, port in pools.items():
        config["pools"][name] = dict(base, endpoints=[{"name": name, "address": f"127.0.0.1:{port}"}])
    return config


def echo_until_end(backend, connection):
    """Repeats what it hears in capitals; says goodbye when the other side has ended."""
    while data := connection.sock.recv(65536):
        connection.send(data.upper())
    connection.send(b"goodbye")


class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.backend = Backend(echo_until_end)
        cls.addClassCleanup(cls.backend.stop)
        config = tcp_config({"echo": cls.backend.port}, [{"pool": "echo"}])
        config["pools"]["echo"]["timeouts"] = {"tunnel_idle": "2s"}
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def test_echo_and_half_close(self):
        with Client(self.server.port) as client:
            for word in (b"hello", b"\x00\xff", b"GET / HTTP/1.1\r\n\r\n"):
                client.send(word)
                self.assertEqual(client.sock.recv(100), word.upper())
            client.half_close()
            self.assertEqual(client.rest(), (b"goodbye", "closed"))

    def test_much(self):
        data = b"0123456789abcdef" * (1 << 18)  # 4 MiB
        with Client(self.server.port) as client:
            sender = threading.Thread(target=lambda: (client.sock.sendall(data), client.half_close()))
            sender.start()
            got, end = client.rest()
            sender.join()
            self.assertEqual((len(got), got == data.upper() + b"goodbye", end), (len(data) + 7, True, "closed"))

    def test_server_ends_first(self):
        closing = Backend(lambda backend, connection: connection.send(b"banner"))
        self.addCleanup(closing.stop)
        with Plimsoll(tcp_config({"x": closing.port}, [{"pool": "x"}])) as server, Client(server.port) as client:
            self.assertEqual(client.rest(), (b"banner", "closed"))

    def test_tunnels_are_seen_where_they_are(self):
        """Open connections count as in flight at their server: in metrics and status, and no longer when they have ended."""
        def there():
            return sum(value for name, value in self.server.metrics().items() if name.startswith("plimsoll_endpoint_in_flight{pool=\"echo\""))
        wait_until("those of other tests are gone", lambda: there() == 0)
        with Client(self.server.port) as one, Client(self.server.port) as other:
            for client in (one, other):
                client.send(b"x")
                self.assertEqual(client.sock.recv(10), b"X")
            wait_until("both are counted", lambda: there() == 2)
        wait_until("none is", lambda: there() == 0)

    def test_idle_tunnel_is_closed(self):
        with Client(self.server.port) as client:
            client.send(b"x")
            self.assertEqual(client.sock.recv(10), b"X")
            self.assertIn(client.rest(6 * PATIENCE)[1], ("closed", "reset"))

    def test_nobody_there(self):
        with Plimsoll(tcp_config({"x": free_port()}, [{"pool": "x"}])) as server, Client(server.port) as client:
            self.assertEqual(client.send(b"x").rest(5)[0], b"")

    def test_log_tells_bytes(self):
        with Client(self.server.port) as client:
            client.send(b"12345")
            client.sock.recv(10)
            client.half_close()
            client.rest()
        self.assertTrue(self.server.log_line(lambda line: line["request_bytes"] == 5 and line["response_bytes"] == 12))


@needs("openssl")
class ByServerName(VariantTest):
    """TLS is passed on, not ended: each name reaches its own openssl s_server with its own certificate."""

    @classmethod
    def setUpClass(cls):
        made, cls.ports, cls.peers = certificates(), {}, []
        for name in ("mail.example", "shop.example", "rest.example"):
            chain, key = made.leaf("sni-" + name, name, "*." + name)
            cls.ports[name] = free_port()
            cls.peers.append(Peer(["openssl", "s_server", "-accept", f"127.0.0.1:{cls.ports[name]}", "-cert", str(chain), "-key", str(key),
                                   "-www", "-quiet"], port=cls.ports[name]).start())
        cls.addClassCleanup(lambda: [peer.stop() for peer in cls.peers])
        config = tcp_config({name.split(".")[0]: port for name, port in cls.ports.items()}, [
            {"sni": "mail.example", "pool": "mail"}, {"sni": "*.shop.example", "pool": "shop"}, {"pool": "rest"}], head_timeout="1s")
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    @variants(("exact", "mail.example", "mail.example"), ("case", "MAIL.example", "mail.example"),
              ("wildcard", "a.shop.example", "shop.example"), ("not_below", "a.mail.example", "rest.example"),
              ("not_itself", "shop.example", "rest.example"), ("none", None, "rest.example"))
    def test_name(self, name, server):
        asked = ["-servername", name] if name else ["-noservername"]
        done = run("openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}", *asked, stdin="")
        self.assertRegex(done.stdout, f"subject=CN ?= ?{re.escape(server)}")

    @variants(("tls12", ssl.TLSVersion.TLSv1_2), ("tls13", ssl.TLSVersion.TLSv1_3))
    def test_data_flows(self, version):
        context = ssl.create_default_context(cafile=str(certificates().ca))
        context.minimum_version = context.maximum_version = version
        with socket.create_connection(("127.0.0.1", self.server.port), timeout=5) as plain:
            with context.wrap_socket(plain, server_hostname="mail.example") as wrapped:
                wrapped.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"200", wrapped.recv(100))

    def test_greeting_byte_by_byte(self):
        context = ssl.create_default_context(cafile=str(certificates().ca))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_hostname="mail.example")
        with self.assertRaises(ssl.SSLWantReadError):
            session.do_handshake()
        with Client(self.server.port) as client:
            for byte in outgoing.read():
                client.send(bytes([byte]))
            self.assertEqual(client.sock.recv(1), b"\x16")

    def test_not_tls_goes_to_the_rest_or_nowhere(self):
        with Client(self.server.port) as client:
            data, end = client.send(b"GET / HTTP/1.1\r\nHost: mail.example\r\n\r\n").rest(5)
            self.assertIn(end, ("closed", "reset"))
            self.assertNotIn(b"200 ok", data)

    def test_silent_client_is_let_go(self):
        with Client(self.server.port) as client:
            self.assertIn(client.send(b"\x16\x03").rest(4 * PATIENCE)[1], ("closed", "reset"))


def v2(source, port, command=0x21, more=b""):
    body = socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", port, 80) + more
    return b"\r\n\r\n\x00\r\nQUIT\n" + bytes([command, 0x11]) + struct.pack(">H", len(body)) + body


class ProxyIn(PeerTest):
    """A PROXY header names the client, from trusted networks only, and only at the beginning."""

    changes = {"listeners": {"web": {"proxy_protocol_from": ["127.0.0.1/32"], "head_timeout": "1s"}}}

    def client_seen(self, raw, path):
        client = self.connect().send(raw + b"GET /" + path.encode() + b" HTTP/1.1\r\nHost: t\r\n\r\n")
        answer = client.response()
        self.assertEqual(answer.body, b"GET /" + path.encode())
        [request] = [each for each in self.backend.take() if each.target == f"/{path}"]
        line = self.server.log_line(lambda line: line["path"] == f"/{path}")
        self.assertEqual(line["client"], request.get("X-Forwarded-For"))
        return line["client"]

    def good_client_is_served(self):
        raise NotImplementedError("every connection here begins with a header")

    @variants(("v1", b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n", "192.0.2.7"),
              ("v1_ipv6", b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n", "2001:db8::7"), ("v1_unknown", b"PROXY UNKNOWN\r\n", "127.0.0.1"),
              ("v1_unknown_more", b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n", "127.0.0.1"),
              ("v2", v2("192.0.2.9", 99), "192.0.2.9"), ("v2_local", v2("192.0.2.9", 99, 0x20), "127.0.0.1"),
              ("v2_with_fields", v2("192.0.2.10", 99, more=b"\x04\x00\x03abc\xe0\x00\x01x"), "192.0.2.10"))
    def test_taken(self, raw, client):
        self.assertEqual(self.client_seen(raw, "in" + str(abs(hash(raw)))), client)

    @variants(("none", b""), ("v1_bad_address", b"PROXY TCP4 999.0.2.7 127.0.0.1 1 2\r\n"), ("v1_lf", b"PROXY TCP4 192.0.2.7 127.0.0.1 1 2\n"),
              ("v1_leading_zero_port", b"PROXY TCP4 192.0.2.7 127.0.0.1 01 2\r\n"), ("v1_port", b"PROXY TCP4 192.0.2.7 127.0.0.1 70000 2\r\n"),
              ("v1_long", b"PROXY TCP4 " + b"1" * 200 + b"\r\n"), ("v1_lower", b"proxy TCP4 192.0.2.7 127.0.0.1 1 2\r\n"),
              ("v1_families_mixed", b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n"), ("v2_version", v2("192.0.2.9", 1, 0x31)),
              ("v2_command", v2("192.0.2.9", 1, 0x2f)), ("v2_short", v2("192.0.2.9", 1)[:14] + b"\x00\x04" + b"1234"),
              ("v2_signature", b"\r\n\r\n\x00\r\nQUIX\n" + v2("192.0.2.9", 1)[12:]))
    def test_refused(self, raw):
        client = self.connect().send(raw + b"GET /refused HTTP/1.1\r\nHost: t\r\n\r\n")
        data, end = client.rest(4 * PATIENCE)
        self.assertIn(end, ("closed", "reset"))
        self.assertNotIn(b"200 OK", data)
        self.assertEqual(self.backend.take(), [])

    def test_a_second_header_is_no_header(self):
        line = b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"
        client = self.connect().send(line + line + b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")
        self.assertEqual(client.response().status, 400)
        self.assertEqual(self.backend.take(), [])

    def test_byte_by_byte(self):
        client = self.connect()
        for byte in v2("192.0.2.33", 5):
            client.send(bytes([byte]))
        self.assertEqual(client.get("/slow").status, 200)
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/slow")["client"], "192.0.2.33")

    @needs("haproxy")
    def test_haproxy_in_front(self):
        for word in ("send-proxy", "send-proxy-v2", "send-proxy-v2-ssl"):
            with haproxy(f"listen l\n  bind 127.0.0.1:@PORT@\n  mode tcp\n  server s 127.0.0.1:{self.server.port} {word}\n") as front:
                with Client(front.port, source="127.0.0.5") as client:
                    self.assertEqual(client.get("/" + word).status, 200)
                self.assertEqual(self.server.log_line(lambda line: line["path"] == "/" + word)["client"], "127.0.0.5")

    @needs("nginx")
    @unittest.skipUnless(STREAM_MODULE.exists(), "needs NGINX's stream module: Debian package libnginx-mod-stream")
    def test_nginx_in_front(self):
        stream = f"stream {{ server {{ listen 127.0.0.1:@PORT@; proxy_pass 127.0.0.1:{self.server.port}; proxy_protocol on; }} }}"
        with nginx(stream=stream) as front:
            with Client(front.port, source="127.0.0.6") as client:
                self.assertEqual(client.get("/nginx").status, 200)
            self.assertEqual(self.server.log_line(lambda line: line["path"] == "/nginx")["client"], "127.0.0.6")


class ProxyInFromStrangers(PeerTest):
    """From others a PROXY header is not HTTP: 400, and nobody is believed."""

    changes = {"listeners": {"web": {"proxy_protocol_from": ["203.0.113.0/24"], "head_timeout": "1s"}}}

    @variants(("v1", b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 80\r\n"), ("v2", v2("192.0.2.9", 99)))
    def test_refused(self, header):
        client = self.connect().send(header + b"GET /stranger HTTP/1.1\r\nHost: t\r\n\r\n")
        data, end = client.rest(3)
        self.assertIn(end, ("closed", "reset"))
        self.assertNotIn(b"200 OK", data)
        self.assertEqual(self.backend.take(), [])

    def test_without_a_header_they_are_served(self):
        self.good_client_is_served()


class ProxyOut(unittest.TestCase):
    """Servers that want a PROXY header get one, for HTTP and for TCP: HAProxy and NGINX tell the client's address."""

    def seen(self, peer_port, version, tcp):
        if tcp:
            config = tcp_config({"p": peer_port}, [{"pool": "p"}])
        else:
            config = base_config([peer_port])
        for pool in config["pools"].values():
            pool["proxy_protocol"] = version
        with Plimsoll(config) as server:
            found = []
            for source in ("127.0.0.7", "127.0.0.8", "127.0.0.7"):
                with Client(server.port, source=source) as client:
                    found.append(client.get("/who").body.decode())
            return found

    @needs("nginx")
    def test_nginx_behind(self):
        with nginx("location / { return 200 $proxy_protocol_addr; }", listen="listen 127.0.0.1:@PORT@ proxy_protocol;") as behind:
            for tcp in (False, True):
                for version in ("v1", "v2"):
                    self.assertEqual(self.seen(behind.port, version, tcp), ["127.0.0.7", "127.0.0.8", "127.0.0.7"], (tcp, version))

    @needs("haproxy")
    def test_haproxy_behind(self):
        with haproxy("frontend f\n  bind 127.0.0.1:@PORT@ accept-proxy\n"
                     "  http-request return status 200 content-type text/plain lf-string %[src]\n") as behind:
            for tcp in (False, True):
                for version in ("v1", "v2"):
                    self.assertEqual(self.seen(behind.port, version, tcp), ["127.0.0.7", "127.0.0.8", "127.0.0.7"], (tcp, version))


if __name__ == "__main__":
    unittest.main()
