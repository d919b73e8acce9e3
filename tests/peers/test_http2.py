"""HTTP/2 and HTTP/1.1 with other people's clients, load generators and servers: curl, nghttp, h2load, wrk, nghttpd, NGINX."""

import collections
import re
import socket
import unittest

from harness import Peer, PeerTest, Plimsoll, base_config, free_port, needs, needs_module
from tools import ask, certificates, nginx, run

COUNTED = "return 200 'hello from @NAME@\\n';"


def hello(name):
    return nginx(f"location / {{ default_type text/plain; {COUNTED.replace('@NAME@', name)} }}", server="keepalive_requests 1000000;")


@needs("curl")
class Curl(PeerTest):
    """One client, every way in; the backend speaks HTTP/1.1."""

    @classmethod
    def configure(cls, config):
        chain, key = certificates().leaf("curl", "shop.example", "localhost")
        config["certificates"] = certificates().section(shop=(chain, key))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["shop"]}}

    def secure(self, *arguments, path="/"):
        port = self.server.port_of("secure")
        return ask("--cacert", certificates().ca, "--resolve", f"shop.example:{port}:127.0.0.1", *arguments,
                   f"https://shop.example:{port}{path}")

    def plain(self, *arguments, path="/"):
        return ask(*arguments, f"http://127.0.0.1:{self.server.port}{path}")

    def ways(self):
        return [(self.plain, "1.1", ["--http1.1"]), (self.plain, "2", ["--http2-prior-knowledge"]),
                (self.secure, "1.1", ["--http1.1"]), (self.secure, "2", ["--http2"])]

    def test_get(self):
        for way, version, arguments in self.ways():
            answer = way(*arguments, path="/a/b?c=d")
            self.assertEqual((answer.status, answer.version, answer.body), (200, version, "GET /a/b?c=d"), answer)

    def test_head(self):
        for way, version, arguments in self.ways():
            answer = way(*arguments, "--head", path="/h")
            self.assertEqual((answer.status, answer.version, answer.code), (200, version, 0), answer)
            self.assertIn("content-length: 7", answer.body.lower())

    def test_post_of_a_megabyte_arrives_whole(self):
        file = self.server.directory / "megabyte"
        file.write_bytes(bytes(range(256)) * 4096)
        for way, version, arguments in self.ways():
            self.backend.take()
            answer = way(*arguments, "--data-binary", f"@{file}", path="/up")
            self.assertEqual((answer.status, answer.version), (200, version), answer)
            bodies = [request.body for request in self.backend.take()]
            self.assertEqual([len(body) for body in bodies], [1 << 20])
            self.assertEqual(bodies[0], file.read_bytes())

    def test_unknown_length_upload(self):
        for way, _, arguments in self.ways():
            self.backend.take()
            url = way("--head", path="/")  # warm
            self.assertEqual(url.code, 0)
            self.backend.take()
            file = self.server.directory / "fifo"
            file.write_bytes(b"abc" * 1000)
            answer = way(*arguments, "-X", "POST", "-H", "Transfer-Encoding: chunked" if "--http1.1" in arguments else "X-T: 1", "-T", file,
                         path="/chunks")
            self.assertEqual(answer.status, 200, answer)
            self.assertEqual([request.body for request in self.backend.take()], [b"abc" * 1000])

    def test_large_download_in_every_framing(self):
        body = b"0123456789abcdef" * 131072  # 2 MiB
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[i:i + 50000] for i in range(0, len(body), 50000)))
        self.backend.on("/length", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        self.backend.on("/chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")

        def until_close(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
            return False
        self.backend.on("/close", until_close)
        for way, version, arguments in self.ways():
            for path in ("/length", "/chunked", "/close"):
                answer = way(*arguments, path=path)
                self.assertEqual((answer.status, answer.version, len(answer.body), answer.code), (200, version, len(body), 0), path)

    def test_answer_cut_short_is_an_error_to_every_client(self):
        def cut(connection, request):
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50000)
            return False
        self.backend.on("/cut", cut)
        for way, _, arguments in self.ways():
            self.assertIn(way(*arguments, path="/cut").code, (18, 56, 92), "curl takes half an answer for a whole one")

    def test_connection_is_kept(self):
        for way, version, arguments in self.ways():
            secure = way == self.secure
            if version == "2" and not secure:
                continue  # curl 7.88 cannot use such a connection again, whoever the server is (nghttpd too)
            second = f"https://shop.example:{self.server.port_of('secure')}/2" if secure else f"http://127.0.0.1:{self.server.port}/2"
            answer = way(*arguments, second, path="/1")
            self.assertEqual((answer.code, answer.body.splitlines()), (0, ["GET /2", f"@@200 {version} 1GET /1"]), answer)
            self.assertEqual(answer.connects, 0, f"a second connection over HTTP/{version}")

    def test_expect_continue(self):
        answer = self.plain("--http1.1", "-H", "Expect: 100-continue", "--data-binary", "hello", path="/e")
        self.assertEqual(answer.status, 200, answer)
        self.assertLess(float(run("curl", "-s", "-o", "/dev/null", "-w", "%{time_total}", "-H", "Expect: 100-continue", "-d", "x",
                                  f"http://127.0.0.1:{self.server.port}/e").stdout), 0.9, "curl gave up waiting for a 100")

    def test_resolved_name_without_certificate_is_not_trusted(self):
        port = self.server.port_of("secure")
        answer = ask("--cacert", certificates().ca, "--resolve", f"other.example:{port}:127.0.0.1", f"https://other.example:{port}/")
        self.assertEqual(answer.code, 60, answer)

    @needs("nghttp")
    def test_nghttp(self):
        for url in (f"http://127.0.0.1:{self.server.port}/n", f"https://localhost:{self.server.port_of('secure')}/n"):
            done = run("nghttp", "-v", "--no-verify-peer", "-H", "x-test: 1", url)
            self.assertIn(":status: 200", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout), done.stdout[-1500:] + done.stderr)
            self.assertIn("GET /n", done.stdout)


class Load(unittest.TestCase):
    """Many requests, none lost."""

    @classmethod
    def setUpClass(cls):
        cls.peers = [hello(f"n{i}").start() for i in range(3)]
        cls.addClassCleanup(lambda: [peer.stop() for peer in cls.peers])
        chain, key = certificates().leaf("load", "localhost")
        config = base_config([peer.port for peer in cls.peers], {"pools": {"web": {"policy": "least_request"}}})
        config["certificates"] = certificates().section(load=(chain, key))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["load"]}}
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def h2load(self, url, requests=20000, clients=10, streams=100, *more):
        done = run("h2load", "-n", requests, "-c", clients, "-m", streams, *more, url, seconds=60)
        told = re.search(r"requests: (\d+) total, .* (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
        self.assertTrue(told, done.stdout + done.stderr)
        self.assertEqual([int(told[i]) for i in range(1, 7)], [requests, requests, requests, 0, 0, 0], done.stdout)
        codes = re.search(r"status codes: (\d+) 2xx", done.stdout)
        self.assertEqual(int(codes[1]), requests, done.stdout)
        rate = re.search(r"([0-9.]+) req/s", done.stdout)[1]
        print(f"      h2load {url.split(':')[0]} -c{clients} -m{streams}: {rate} requests/s")

    @needs("h2load")
    @needs("nginx")
    def test_h2load_prior_knowledge(self):
        self.h2load(f"http://127.0.0.1:{self.server.port}/")

    @needs("h2load")
    @needs("nginx")
    def test_h2load_tls(self):
        self.h2load(f"https://localhost:{self.server.port_of('secure')}/")

    @needs("h2load")
    @needs("nginx")
    def test_h2load_http1(self):
        self.h2load(f"http://127.0.0.1:{self.server.port}/", 20000, 20, 1, "--h1")

    @needs("h2load")
    @needs("nginx")
    def test_one_long_connection_does_not_pin_load(self):
        """Requests are balanced, not connections: one connection's requests are spread over the endpoints (envoy#7831)."""
        def counts():
            return [len((peer.directory / "access.log").read_text().splitlines()) for peer in self.peers]
        before = counts()
        self.h2load(f"http://127.0.0.1:{self.server.port}/", 3000, 1, 10)
        took = [after - before for after, before in zip(counts(), before)]
        self.assertEqual(sum(took), 3000)
        self.assertGreater(min(took), 3000 * 0.25, took)

    @needs("wrk")
    @needs("nginx")
    def test_wrk(self):
        for url in (f"http://127.0.0.1:{self.server.port}/", f"https://localhost:{self.server.port_of('secure')}/"):
            done = run("wrk", "-t1", "-c32", "-d2s", url)
            self.assertNotRegex(done.stdout, "Socket errors|Non-2xx", done.stdout)
            self.assertGreater(int(re.search(r"(\d+) requests in", done.stdout)[1]), 1000, done.stdout)
            print("      wrk " + url.split(":")[0] + ": " + re.search(r"Requests/sec: +([0-9.]+)", done.stdout)[1] + " requests/s")


@needs("nghttpd")
class Upstream(unittest.TestCase):
    """HTTP/2 to servers: nghttpd, plain and with TLS; few connections carry many streams."""

    TLS = False

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        argv = ["nghttpd", "-d", "@DIR@", "-v", "--echo-upload"]
        chain, key = certificates().leaf("nghttpd", "h2.internal", "127.0.0.1")
        argv += [str(cls.port), str(key), str(chain)] if cls.TLS else ["--no-tls", str(cls.port)]
        cls.peer = Peer(argv, {"index.html": "hello", "large": "x" * 3000000}, cls.port).start()
        cls.addClassCleanup(cls.peer.stop)
        config = base_config([cls.port], {"pools": {"web": {"protocol": "http2", "limits": {"max_streams": 100}}}})
        if cls.TLS:
            config["pools"]["web"]["tls"] = {"server_name": "h2.internal", "ca": str(certificates().ca)}
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def connections(self):
        """Connections that nghttpd has taken so far, ours and the harness's look at its port."""
        return len(set(re.findall(r"\[id=(\d+)\]", re.sub(r"\x1b\[[0-9;]*m", "", self.peer.text()))))

    def url(self, path="/index.html"):
        return f"http://127.0.0.1:{self.server.port}{path}"

    def test_get_and_large(self):
        for version in ("--http1.1", "--http2-prior-knowledge"):
            self.assertEqual(ask(version, self.url()).body, "hello")
            self.assertEqual(len(ask(version, self.url("/large")).body), 3000000)
            self.assertEqual(ask(version, self.url("/missing")).status, 404)

    def test_upload_comes_back(self):
        for version in ("--http1.1", "--http2-prior-knowledge"):
            file = self.server.directory / "up"
            file.write_bytes(b"0123456789" * 30000)
            answer = ask(version, "--data-binary", f"@{file}", self.url("/echo"))
            self.assertEqual((answer.status, len(answer.body)), (200, 300000), answer)

    @needs("h2load")
    def test_many_streams_on_few_connections(self):
        before = self.connections()
        for more in (["-m", "20", "-c", "5"], ["-m", "1", "-c", "50", "--h1"]):
            done = run("h2load", "-n", "5000", *more, self.url(), seconds=60)
            self.assertIn("5000 succeeded, 0 failed, 0 errored", done.stdout, done.stdout)
        opened = self.connections() - before
        self.assertGreater(self.connections(), 0, self.peer.text()[-500:])
        self.assertLessEqual(opened, 4, "100 requests at once need one or two connections of 100 streams")
        print(f"      10,000 requests, up to 100 at once: {opened} more connections to nghttpd")


class UpstreamTls(Upstream):
    TLS = True


@needs_module("h2")
class PythonH2(PeerTest):
    """hyper-h2, an implementation that shares no code with nghttp2."""

    def talk(self, requests):
        import h2.config
        import h2.connection
        import h2.events
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=5)
        self.addCleanup(sock.close)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        for index, (fields, body) in enumerate(requests):
            connection.send_headers(1 + 2 * index, fields, end_stream=not body)
            if body:
                connection.send_data(1 + 2 * index, body, end_stream=True)
        sock.sendall(connection.data_to_send())
        answers, ended = collections.defaultdict(lambda: [None, b""]), set()
        while len(ended) < len(requests):
            data = sock.recv(65536)
            if not data:
                self.fail("the connection ended")
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    answers[event.stream_id][0] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    answers[event.stream_id][1] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    ended.add(event.stream_id)
            sock.sendall(connection.data_to_send())
        return [answers[1 + 2 * index] for index in range(len(requests))]

    def test_a_hundred_streams_at_once(self):
        requests = [([(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", f"/s/{i}"), ("cookie", "a=1"), ("cookie", "b=2")],
                     b"") for i in range(100)]
        answers = self.talk(requests)
        self.assertEqual([body for _, body in answers], [f"GET /s/{i}".encode() for i in range(100)])
        self.assertEqual({request.get("Cookie") for request in self.backend.take()}, {"a=1; b=2"})

    def test_bodies_do_not_mix(self):
        requests = [([(":method", "POST"), (":scheme", "http"), (":authority", "t"), (":path", f"/p/{i}")], b"%d " % i * 500) for i in range(20)]
        self.talk(requests)
        self.assertEqual({request.target: request.body for request in self.backend.take()}, {f"/p/{i}": b"%d " % i * 500 for i in range(20)})


if __name__ == "__main__":
    unittest.main()
