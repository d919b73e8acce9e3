"""WebSockets with other people's ends: python3-websockets, npm's ws, hyper-h2 for RFC 8441. Changes do not touch open ones."""

import asyncio
import fcntl
import http
import json
import os
import pathlib
import shutil
import socket
import ssl
import subprocess
import threading
import unittest

from harness import (PATIENCE, Client, Peer, Plimsoll, VariantTest, base_config, build_dir, free_port, judged, needs, needs_module,
                     variants, wait_until)
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
    def make_echo(cls):
        return EchoServer("e0")

    @classmethod
    def setUpClass(cls):
        cls.echo = cls.make_echo()
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


# ------------------------------------------------------------------------------------------------------------ npm's ws

ENDS = pathlib.Path(__file__).resolve().parent / "websocket"


def node_environment():
    """Where node finds ws, which `npm ci` brings into the build directory when its lock file is new; SkipTest says why not."""
    if not shutil.which("npm"):
        raise unittest.SkipTest("needs npm: Debian package npm")
    where, wanted = build_dir() / "peers-websocket", (ENDS / "package-lock.json").read_text()
    where.mkdir(parents=True, exist_ok=True)
    with open(where / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = where / "installed"
        if not done.exists() or done.read_text() != wanted:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(ENDS / name, where)
            try:
                run("npm", "ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", cwd=where,
                    seconds=90, check=True)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                raise unittest.SkipTest(f"needs npm's ws, and npm cannot fetch it here: {str(error).strip()[-200:]}") from None
            done.write_text(wanted)
    return dict(os.environ, NODE_PATH=str(where / "node_modules"))


class NodeServer(Peer):
    """ws as EchoServer is."""

    def __init__(self, name):
        super().__init__(["node", str(ENDS / "ends.js"), "serve", str(port := free_port()), name], port=port, env=node_environment())
        self.name = name

    def events(self, kind):
        return [told for told in map(json.loads, self.whole_lines()) if told["event"] == kind]

    @property
    def open(self):
        return len(self.events("open")) - len(self.events("close"))


class SocketsToNode(Sockets):
    """The same clients, with ws behind Plimsoll."""

    @classmethod
    def make_echo(cls):
        return NodeServer("e0").start()


class NodeClients(VariantTest):
    """ws before Plimsoll, plain and over TLS, with ws and with python3-websockets behind it."""

    @classmethod
    def setUpClass(cls):
        cls.environment = dict(node_environment(), WS_CA=str(certificates().ca))
        cls.behind = {"ws": NodeServer("ws").start()}
        if websockets is not None:
            cls.behind["websockets"] = EchoServer("websockets")
        cls.addClassCleanup(lambda: [each.stop() for each in cls.behind.values()])
        cls.servers = {name: Plimsoll(web([each])).start() for name, each in cls.behind.items()}
        cls.addClassCleanup(lambda: [each.stop() for each in cls.servers.values()])

    def ask(self, what, behind, tls):
        if behind not in self.servers:
            self.skipTest("needs websockets: Debian package python3-websockets")
        server = self.servers[behind]
        url = f"wss://ws.example:{server.port_of('secure')}/a?b" if tls else f"ws://127.0.0.1:{server.port}/a?b"
        return json.loads(run("node", ENDS / "ends.js", "ask", url, what, env=self.environment, check=True).stdout)

    EACH = [(f"{behind}_{scheme}", behind, scheme == "wss") for behind in ("ws", "websockets") for scheme in ("ws", "wss")]

    @variants(*EACH)
    def test_messages(self, behind, tls):
        told = self.ask("messages", behind, tls)
        self.assertEqual(told, {"greeting": f"{behind} /a?b", "echoes": [[5, True], [2, True], [0, True], [2000, True], [3000000, True]]})

    @variants(*EACH)
    def test_fragments(self, behind, tls):
        """Three parts of one message with a ping between them, which is answered."""
        self.assertEqual(self.ask("fragments", behind, tls), {"whole": "abc", "pong": "between"})

    @variants(("plain", False), ("tls", True))
    def test_fragments_and_pings_of_the_server(self, tls):
        self.assertEqual(self.ask("parts", "ws", tls), {"whole": ["first second", "pong "], "answered": "pong are you there"})

    @variants(*EACH)
    def test_ping(self, behind, tls):
        self.assertEqual(self.ask("pings", behind, tls), {"pong": "are you there"})

    @variants(*EACH)
    def test_close_code_of_the_server(self, behind, tls):
        self.assertEqual(self.ask("asked_to_close", behind, tls), {"code": 4321, "reason": "as asked"})

    @variants(*EACH)
    def test_close_code_of_the_client(self, behind, tls):
        """The client's code reaches the server, and the server's echo of it the client."""
        self.assertEqual(self.ask("closes", behind, tls)["code"], 4000)
        if behind == "ws":
            wait_until("the server hears the code", lambda: any(
                told["code"] == 4000 and told["reason"] == "have seen enough" for told in self.behind["ws"].events("close")))

    @variants(("plain", False), ("tls", True))
    def test_a_client_that_vanishes(self, tls):
        """Cut without a close frame: the server sees a cut (1006), not an orderly end."""
        before = len(self.behind["ws"].events("close"))
        self.assertEqual(self.ask("vanishes", "ws", tls)["code"], 1006)
        wait_until("the server hears of it", lambda: len(self.behind["ws"].events("close")) > before)
        self.assertEqual(self.behind["ws"].events("close")[-1]["code"], 1006)

    @variants(*EACH)
    def test_deflate(self, behind, tls):
        """permessage-deflate is agreed between the ends and passes as it is: two megabytes travel as a few kilobytes."""
        told = self.ask("deflate", behind, tls)
        self.assertTrue(told["extensions"].startswith("permessage-deflate"), told)
        self.assertEqual(told["echoes"], [[1000000, True], [1000000, True], [5, True], [0, True]])
        self.assertLess(max(told["sent"], told["received"]), 50000, told)

    @judged
    @needs("wrk")
    def test_changes_under_open_sockets(self):
        """Fifty sockets, half of them compressed, over three changes, the last of which takes their server away."""
        first, second = NodeServer("first").start(), NodeServer("second").start()
        self.addCleanup(lambda: [first.stop(), second.stop()])
        config = web([first], guard=EASY)
        with Plimsoll(config) as server:
            url = f"ws://127.0.0.1:{server.port}/stay"
            process = subprocess.Popen(["node", ENDS / "ends.js", "ask", url, "stay"], env=self.environment, text=True, bufsize=1,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self.addCleanup(process.stdout.close)
            self.addCleanup(process.kill)
            heard = lambda: json.loads(process.stdout.readline())  # noqa: E731
            self.assertEqual(heard(), {"open": ["first /stay"] * 50})
            old = server.config["pools"]["web"]["endpoints"][0]
            new = {"name": "second", "address": f"127.0.0.1:{second.port}"}
            for round_, endpoints in enumerate(([dict(old, weight=2)], [old, new], [new])):
                apply(server, {}, None, {"pools.web.endpoints": endpoints})
                process.stdin.write(f"round {round_}\n")
                self.assertEqual(heard(), {"said": f"round {round_}", "same": 50, "closed": 0})
            process.stdin.close()
            self.assertEqual(heard(), {"codes": [1000] * 50})
            self.assertEqual(process.wait(5 * PATIENCE), 0)
            wait_until("the server has seen them close", lambda: first.open == 0)
            self.assertEqual({told["code"] for told in first.events("close")}, {1000})


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
