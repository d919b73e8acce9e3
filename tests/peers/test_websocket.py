"""WebSockets with other people's ends: python3-websockets, npm's ws, hyper-h2 for RFC 8441. Changes do not touch open ones."""

import asyncio
import http
import os
import pathlib
import socket
import ssl
import subprocess
import threading
import unittest

from harness import PATIENCE, Client, Peer, Plimsoll, base_config, build_dir, free_port, needs, needs_module, wait_until
from tools import EASY, apply, certificates, nginx, run

try:
    import websockets
    from websockets.exceptions import ConnectionClosed
except ImportError:  # the tests below say so
    websockets = None


class EchoServer:
    """A websockets server in a thread; it says who it is, then repeats what it hears. Plain requests get 200."""

    def __init__(self, name):
        self.name, self.port, self.open, self.asked = name, free_port(), 0, []
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        def work():
            asyncio.set_event_loop(self.loop)
            self.loop.run_until_complete(self.begin())
            ready.set()
            self.loop.run_forever()
        threading.Thread(target=work, daemon=True).start()
        ready.wait(5)

    async def begin(self):
        def plain(path, headers):
            return (http.HTTPStatus.OK, [("Content-Type", "text/plain")], b"plain") if "Upgrade" not in headers else None
        self.server = await websockets.serve(self.talk, "127.0.0.1", self.port, process_request=plain, subprotocols=["chat"],
                                             max_size=1 << 22, ping_interval=None)

    async def talk(self, ws):
        self.asked.append((ws.path, dict(ws.request_headers)))
        self.open += 1
        try:
            await ws.send(f"{self.name} {ws.path}")
            async for message in ws:
                if message == "close":
                    await ws.close(4321, "as asked")
                await ws.send(message)
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)


def web(servers, **changes):
    config = base_config([each.port for each in servers], changes)
    config["routes"][0]["upgrades"] = ["websocket"]
    chain, key = certificates().leaf("ws", "ws.example")
    config["certificates"] = certificates().section(ws=(chain, key))
    config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["ws"]}}
    return config


@needs_module("websockets")
class Sockets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.echo = EchoServer("e0")
        cls.addClassCleanup(cls.echo.stop)
        cls.server = Plimsoll(web([cls.echo])).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def ends(self):
        context = ssl.create_default_context(cafile=str(certificates().ca))
        return [(f"ws://127.0.0.1:{self.server.port}", {}),
                (f"wss://ws.example:{self.server.port_of('secure')}", {"ssl": context, "host": "127.0.0.1", "server_hostname": "ws.example"})]

    def each(self, talk):
        async def one(url, options):
            async with websockets.connect(url + "/chat?a=b", max_size=1 << 22, **options) as ws:
                self.assertEqual(await ws.recv(), "e0 /chat?a=b")
                await asyncio.wait_for(talk(ws), 10 * PATIENCE)
        for url, options in self.ends():
            asyncio.run(one(url, options))

    def test_messages(self):
        async def talk(ws):
            for message in ("hello", b"\x00\xff", "", "\u00fc" * 1000, b"x" * 3000000):
                await ws.send(message)
                self.assertEqual(await ws.recv(), message)
        self.each(talk)

    def test_fragments_and_pings(self):
        async def talk(ws):
            async def parts():
                for part in ("a", "b", "c"):
                    yield part
            await ws.send(parts())
            self.assertEqual(await ws.recv(), "abc")
            await asyncio.wait_for(await ws.ping(b"are you there"), 5)
        self.each(talk)

    def test_close_code_passes(self):
        async def talk(ws):
            await ws.send("close")
            with self.assertRaises(ConnectionClosed) as closed:
                await ws.recv()
            self.assertEqual((closed.exception.rcvd.code, closed.exception.rcvd.reason), (4321, "as asked"))
        self.each(talk)

    def test_subprotocol(self):
        async def talk():
            async with websockets.connect(self.ends()[0][0], subprotocols=["chat", "other"]) as ws:
                self.assertEqual(ws.subprotocol, "chat")
        asyncio.run(talk())

    def test_plain_requests_go_on(self):
        with Client(self.server.port) as client:
            self.assertEqual(client.get("/").body, b"plain")

    def test_gone_clients_end_the_other_side(self):
        wait_until("earlier ones ended", lambda: self.echo.open == 0)

        async def talk():
            return [await websockets.connect(self.ends()[0][0]) for _ in range(10)]

        async def vanish():
            for ws in await talk():
                self.assertTrue(await ws.recv())
                ws.transport.abort()
        asyncio.run(vanish())
        wait_until("the server hears of it", lambda: self.echo.open == 0)

    @needs_module("h2")
    def test_over_http2(self):
        """RFC 8441: one stream of an HTTP/2 connection is a WebSocket, others are requests as before."""
        import h2.config
        import h2.connection
        import h2.events
        import h2.settings
        sock = socket.create_connection(("127.0.0.1", self.server.port), timeout=5 * PATIENCE)
        self.addCleanup(sock.close)
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        sock.sendall(connection.data_to_send())
        heads, data = {}, {1: b"", 3: b""}

        def pump(until):
            while not until():
                more = sock.recv(65536)
                self.assertTrue(more, "the connection ended")
                for event in connection.receive_data(more):
                    if isinstance(event, h2.events.ResponseReceived):
                        heads[event.stream_id] = dict(event.headers)
                    elif isinstance(event, h2.events.DataReceived):
                        data[event.stream_id] += event.data
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        self.fail(str(event))
                sock.sendall(connection.data_to_send())
        pump(lambda: connection.remote_settings.enable_connect_protocol)
        connection.send_headers(1, [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "t"),
                                    (":path", "/h2"), ("sec-websocket-version", "13"), ("sec-websocket-protocol", "chat")])
        sock.sendall(connection.data_to_send())
        pump(lambda: 1 in heads and len(data[1]) >= 8)
        self.assertEqual(heads[1][":status"], "200")
        self.assertEqual(heads[1].get("sec-websocket-protocol"), "chat")
        self.assertEqual(data[1], b"\x81\x06e0 /h2")
        data[1] = b""
        connection.send_data(1, b"\x81\x85" + bytes(4) + b"hello")  # masked with zeros
        connection.send_headers(3, [(":method", "GET"), (":scheme", "http"), (":authority", "t"), (":path", "/")], end_stream=True)
        sock.sendall(connection.data_to_send())
        pump(lambda: data[1] == b"\x81\x05hello" and data[3] == b"plain")

    @needs("npm")
    def test_node(self):
        """npm's ws at both ends, if npm can fetch it."""
        where = build_dir() / "peers-node"
        if not (where / "node_modules" / "ws").exists():
            where.mkdir(exist_ok=True)
            try:
                run("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", where, "ws@8", cwd=where, seconds=60, check=True)
            except (AssertionError, subprocess.TimeoutExpired):
                self.skipTest("needs ws: npm cannot fetch it here")
        port = free_port()
        script = """const {WebSocket, WebSocketServer} = require('ws');
if (process.argv[2] === 'serve') {
  new WebSocketServer({port: +process.argv[3], host: '127.0.0.1', perMessageDeflate: true}).on('connection', ws => ws.on('message', (m, b) => ws.send(m, {binary: b})));
} else {
  const ws = new WebSocket(process.argv[3], {perMessageDeflate: true});
  let got = 0;
  ws.on('open', () => { for (let i = 0; i < 100; ++i) ws.send('x'.repeat(i * 1000)); });
  ws.on('message', m => { if (m.length !== got * 1000) process.exit(2); if (++got === 100) ws.close(4000); });
  ws.on('close', c => { console.log(got, c); process.exit(0); });
  ws.on('error', e => { console.log(e); process.exit(1); });
}"""
        env = dict(os.environ, NODE_PATH=str(where / "node_modules"))
        os.environ["NODE_PATH"] = env["NODE_PATH"]
        with Peer(["node", "@DIR@/t.js", "serve", str(port)], {"t.js": script}, port) as node:
            config = base_config([port])
            config["routes"][0]["upgrades"] = ["websocket"]
            with Plimsoll(config) as server:
                done = run("node", pathlib.Path(node.directory) / "t.js", "ask", f"ws://127.0.0.1:{server.port}/", env=env)
                self.assertEqual(done.stdout.split(), ["100", "4000"], done.stdout + done.stderr)


@needs_module("websockets")
class Changes(unittest.TestCase):
    """200 open WebSockets, five changes to the running server: every socket stays and speaks to the same server."""

    COUNT = 200

    @needs("nginx")
    def test_all_stay(self):
        servers = [EchoServer("e0"), EchoServer("e1"), EchoServer("e2")]
        self.addCleanup(lambda: [each.stop() for each in servers])
        # NGINX before them answers the requests by which changes are judged: Python would take too long.
        fronts = [free_port() for _ in servers]
        front = nginx(http="".join(
            f"server {{ listen 127.0.0.1:{port}; location /traffic {{ return 200 ok; }} location / {{ proxy_pass http://127.0.0.1:{each.port};"
            " proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; proxy_read_timeout 1h; } }"
            for port, each in zip(fronts, servers)))
        front.port = fronts[0]
        front.start()
        self.addCleanup(front.stop)
        config = web(servers[:2], guard=EASY, workers=2)
        first, second, third = ({"name": each.name, "address": f"127.0.0.1:{port}"} for port, each in zip(fronts, servers))
        config["pools"]["web"]["endpoints"] = [first, second]
        with Plimsoll(config) as server:
            asyncio.run(self.live(server, servers, [
                {"pools.web.endpoints": [dict(first, weight=2), second]},
                {"routes": [dict(config["routes"][0], name="renamed", request_headers={"set": {"X-New": "1"}})]},
                {"pools.web.endpoints": [second, third]},  # the first one is gone from the config
                {"routes": [{"name": "no-more", "match": {"path": "/other"}, "pool": "web", "upgrades": ["websocket"]},
                            {"name": "plain", "pool": "web"}]},  # nobody may upgrade here any more
                {"pools.web.timeouts": {"tunnel_idle": "1m"}},
            ]))
            page = server.metrics()
            self.assertTrue(page)

    async def live(self, server, servers, changes):
        url = f"ws://127.0.0.1:{server.port}/stay"
        sockets = await asyncio.gather(*(websockets.connect(url, ping_interval=None, open_timeout=30 * PATIENCE) for _ in range(self.COUNT)))
        names = [(await ws.recv()).split()[0] for ws in sockets]
        counts = [names.count("e0"), names.count("e1")]
        self.assertGreater(min(counts), self.COUNT // 4)

        async def all_speak(round_):
            for index, ws in enumerate(sockets):
                await ws.send(f"{round_} {index}")
            for index, ws in enumerate(sockets):
                self.assertEqual(await asyncio.wait_for(ws.recv(), 10 * PATIENCE), f"{round_} {index}")
        await all_speak("before")
        for number, change in enumerate(changes):
            took = await asyncio.to_thread(apply, server, {}, None, change)
            await all_speak(number)
            print(f"      change {number + 1} in {took:.1f} s, {len(sockets)} sockets open")
        self.assertEqual([each.open for each in servers[:2]], counts)
        await asyncio.gather(*(ws.close() for ws in sockets))
        self.assertEqual({ws.close_code for ws in sockets}, {1000})


if __name__ == "__main__":
    unittest.main()
