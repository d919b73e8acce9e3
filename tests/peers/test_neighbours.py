"""HAProxy and NGINX before and behind: HTTP/1.1, HTTP/2, TLS; large bodies, keep-alive, WebSocket, and who the client is."""

import unittest

from harness import Client, PeerTest, Plimsoll, base_config, free_port, needs, trusting_peers
from tools import ask, certificates, haproxy, nginx

BODY = b"0123456789abcdef" * 65536  # 1 MiB


class InFront(PeerTest):
    """Somebody else's balancer before ours; its X-Forwarded-For is believed."""

    @classmethod
    def configure(cls, config):
        config["listeners"]["web"].update(trusting_peers(["127.0.0.1/32"]))
        chain, key = certificates().leaf("front", "front.example")
        config["certificates"] = certificates().section(front=(chain, key))
        config["listeners"]["secure"] = dict(config["listeners"]["web"], address=f"127.0.0.1:{free_port()}", tls={"certificates": ["front"]})

    def works(self, port, client_is="127.0.0.9"):
        self.backend.on("/large", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
        self.backend.take()
        with Client(port, source="127.0.0.9") as client:
            for path in ("/a", "/b?c=d", "/%2f/e"):
                answer = client.get(path)
                self.assertEqual((answer.status, answer.body), (200, b"GET " + path.encode()))
            self.assertEqual(client.get("/large").body, BODY)
            client.send(b"POST /up HTTP/1.1\r\nHost: t\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)
            self.assertEqual(client.response().body, b"POST /up")
            client.send(b"POST /chunks HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            self.assertEqual(client.response().body, b"POST /chunks")
        requests = {request.target: request for request in self.backend.take()}
        self.assertEqual((requests["/up"].body, requests["/chunks"].body), (BODY, b"hello"))
        for request in requests.values():
            self.assertEqual(request.get("X-Forwarded-For").split(", ")[0], client_is)
        self.assertEqual(self.server.log_line(lambda line: line["path"] == "/a")["client"], client_is)

    @needs("haproxy")
    def test_haproxy(self):
        ca, secure = certificates().ca, self.server.port_of("secure")
        for server in (f"127.0.0.1:{self.server.port}", f"127.0.0.1:{self.server.port} proto h2",
                       f"127.0.0.1:{secure} ssl verify required ca-file {ca} sni str(front.example) verifyhost front.example alpn h2",
                       f"127.0.0.1:{secure} ssl verify required ca-file {ca} sni str(front.example) verifyhost front.example alpn http/1.1"):
            with self.subTest(server), haproxy(f"listen l\n  bind 127.0.0.1:@PORT@\n  option forwardfor\n  http-request set-header Host front.example\n"
                                               f"  server s {server}\n") as front:
                self.works(front.port)

    @needs("nginx")
    def test_nginx(self):
        common = ("proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header X-Forwarded-For $remote_addr; "
                  "proxy_set_header Host front.example; client_max_body_size 10m;")
        for to, more in ((f"http://127.0.0.1:{self.server.port}", ""),
                         (f"https://127.0.0.1:{self.server.port_of('secure')}", "proxy_ssl_verify on; proxy_ssl_server_name on; proxy_ssl_name front.example; "
                          f"proxy_ssl_trusted_certificate {certificates().ca};")):
            with self.subTest(to), nginx(f"location / {{ proxy_pass {to}; {common} {more} }}") as front:
                self.works(front.port)


class Behind(unittest.TestCase):
    """Somebody else's balancer behind ours, in front of a backend that writes down what arrives."""

    def works(self, port, **pool):
        config = base_config([port], {"pools": {"web": pool}})
        with Plimsoll(config) as server:
            for version in ("--http1.1", "--http2-prior-knowledge"):
                answer = ask(version, f"http://127.0.0.1:{server.port}/x", f"http://127.0.0.1:{server.port}/large" if version == "--http1.1" else "-sS")
                self.assertEqual((answer.code, answer.status), (0, 200), answer)
                large = ask(version, f"http://127.0.0.1:{server.port}/large")
                self.assertEqual((large.code, large.status, len(large.body)), (0, 200, 1 << 20), large.done.stderr)
                file = server.directory / "up"
                file.write_bytes(BODY)
                self.assertEqual(ask(version, "--data-binary", f"@{file}", f"http://127.0.0.1:{server.port}/size").body, str(len(BODY)))
            with Client(server.port) as client:
                for _ in range(20):
                    self.assertEqual(client.get("/x").status, 200)
            server.log_line(lambda line: line["path"] == "/x" and any(attempt["reused"] for attempt in line["attempts"]))

    def tls(self):
        chain, key = certificates().leaf("behind", "behind.example")
        both = chain.with_suffix(".both")
        both.write_bytes(chain.read_bytes() + key.read_bytes())
        return chain, key, both, {"server_name": "behind.example", "ca": str(certificates().ca)}

    @needs("nginx")
    def test_nginx(self):
        chain, key, _, tls = self.tls()
        locations = "location /x { return 200 x; } location /large { root @DIR@; } location /size { proxy_pass http://127.0.0.1:@SIZE@; }"
        size = free_port()
        length = f"server {{ listen 127.0.0.1:{size}; client_max_body_size 10m; location / {{ return 200 $http_content_length; }} }}"
        common = {"files": {"large": BODY.decode()}, "server": "client_max_body_size 10m;"}
        locations = locations.replace("@SIZE@", str(size))
        with nginx(locations, http=length, **common) as behind:
            self.works(behind.port)
        secure = dict(common, server=common["server"] + f"ssl_certificate {chain}; ssl_certificate_key {key};")
        with nginx(locations, http=length, listen="listen 127.0.0.1:@PORT@ ssl http2;", **secure) as behind:
            self.works(behind.port, tls=tls)
            self.works(behind.port, tls=tls, protocol="http2")
        with nginx(locations, http=length, listen="listen 127.0.0.1:@PORT@ http2;", **common) as behind:
            self.works(behind.port, protocol="http2")

    @needs("haproxy")
    @needs("nginx")
    def test_haproxy(self):
        _, _, both, tls = self.tls()
        size = free_port()
        with nginx("location /x { return 200 x; } location /large { root @DIR@; } location /size { proxy_pass http://127.0.0.1:%d; }" % size,
                   http=f"server {{ listen 127.0.0.1:{size}; client_max_body_size 10m; location / {{ return 200 $http_content_length; }} }}",
                   server="client_max_body_size 10m;", files={"large": BODY.decode()}) as last:
            sections = f"listen l\n  bind 127.0.0.1:@PORT@ @BIND@\n  server s 127.0.0.1:{last.port}\n"
            for bind, pool in (("", {}), ("proto h2", {"protocol": "http2"}), (f"ssl crt {both} alpn h2,http/1.1", {"tls": tls}),
                               (f"ssl crt {both} alpn h2,http/1.1", {"tls": tls, "protocol": "http2"})):
                with self.subTest(bind), haproxy(sections.replace("@BIND@", bind)) as behind:
                    self.works(behind.port, **pool)


if __name__ == "__main__":
    unittest.main()
