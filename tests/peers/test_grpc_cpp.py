"""gRPC by libgrpc++, a client and servers of their own process (grpc/words.cpp): every kind of call, trailers and status
details, deadlines, balancing of one channel's calls, and connections that end by age without a lost call."""

import fcntl
import json
import pathlib
import shlex
import shutil
import subprocess
import threading
import unittest

from harness import PATIENCE, ROOT, Peer, Plimsoll, VariantTest, base_config, build_dir, free_port, variants, wait_until, judged
from tools import EASY, apply, certificates, run

SOURCE = ROOT / "tests/peers/grpc/words.cpp"
OK, DEADLINE_EXCEEDED, UNIMPLEMENTED = 0, 4, 12
COMPILER = shutil.which("clang++-19") or shutil.which("g++")


def words():
    """The program, compiled when the source is newer; SkipTest says what is missing."""
    if not COMPILER or not shutil.which("pkg-config") or run("pkg-config", "--exists", "grpc++").returncode != 0:
        raise unittest.SkipTest("needs grpc++: Debian package libgrpc++-dev, pkg-config and a compiler")
    where = build_dir() / "peers-grpc"
    where.mkdir(parents=True, exist_ok=True)
    program = where / "words"
    with open(where / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # modules run beside each other
        if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
            libraries = shlex.split(run("pkg-config", "--cflags", "--libs", "grpc++", check=True).stdout)
            run(COMPILER, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", where / "new", *libraries,
                seconds=300, check=True)
            (where / "new").rename(program)
    return program


def server(name, tls=False, max_age_ms=None):
    port = free_port()
    options = []
    if tls:
        chain, key = certificates().leaf(f"words-{name}", "words.internal")
        options += ["--chain", str(chain), "--key", str(key)]
    if max_age_ms:
        options += ["--max-age", str(max_age_ms)]
    return Peer([str(words()), "serve", f"127.0.0.1:{port}", name, *options], port=port)


def events(servers, kind):
    """What servers have printed of a kind."""
    return [told for each in servers for told in map(json.loads, each.whole_lines()) if told["event"] == kind]


def established(port):
    """The other ends' ports of the connections that `port` of loopback has."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(remote.split(":")[1], 16) for _, local, remote, state, *_ in rows
            if state == "01" and local == f"0100007F:{port:04X}"}


class Load:
    """Calls without a pause on one channel, until told() ends them."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([str(words()), "load", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def told(self):
        out, _ = self.process.communicate("", timeout=30 * PATIENCE)
        return json.loads(out)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


class Case(VariantTest):
    """Servers, and Plimsoll before them on a plain and a TLS port."""

    servers_tls = False
    settings, listener, count = {}, {}, 3

    @classmethod
    def setUpClass(cls):
        cls.servers = [server(f"w{i}", cls.servers_tls, cls.settings.get("max_age_ms")) for i in range(cls.count)]
        for each in cls.servers:
            each.start()
            cls.addClassCleanup(each.stop)
        pool = {"protocol": "http2", "policy": "round_robin", "timeouts": {"per_try": "10s", "total": "20s"}}
        if cls.servers_tls:
            pool["tls"] = {"server_name": "words.internal", "ca": str(certificates().ca)}
        config = base_config([each.port for each in cls.servers], {"pools": {"web": pool}, "guard": EASY})
        chain, key = certificates().leaf("grpc-cpp", "grpc.example")
        config["certificates"] = certificates().section(grpc=(chain, key))
        config["listeners"]["web"].update(cls.listener)
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["grpc"]}, **cls.listener}
        cls.plimsoll = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.plimsoll.stop())

    def target(self, tls):
        if not tls:
            return [f"127.0.0.1:{self.plimsoll.port}"]
        return [f"127.0.0.1:{self.plimsoll.port_of('secure')}", "--ca", str(certificates().ca), "--host", "grpc.example"]

    def ask(self, method, *messages, tls=False):
        address, *options = self.target(tls)
        done = run(words(), "call", address, method, *messages, *options, seconds=30, check=True)
        return json.loads(done.stdout)

    def load(self, *options, tls=False):
        address, *more = self.target(tls)
        load = Load(address, *more, *options)
        self.addCleanup(load.stop)
        return load

    def clients(self, tls=False):
        """Ports of the clients that are connected to Plimsoll now."""
        return established(self.plimsoll.port_of("secure") if tls else self.plimsoll.port)

    def served(self):
        return sum(value for name, value in self.plimsoll.metrics().items() if name.startswith("plimsoll_requests_total"))

    def connects_anew(self, times, tls=False):
        """Waits until clients have come from so many more ports."""
        seen = set()
        wait_until(f"clients have connected {times} times", lambda: len(seen.update(self.clients(tls)) or seen) > times, 20 * PATIENCE)


BOTH = [("h2c", False), ("tls", True)]


class Calls(Case):
    @variants(*BOTH)
    def test_unary(self, tls):
        answer = self.ask("Unary", "hello", "--metadata", "x-asked=a b", "--metadata", "x-asked-bin=\x01\x7f~", tls=tls)
        self.assertEqual((answer["code"], answer["messages"]), (OK, ["HELLO"]))
        self.assertIn(["x-first", "1"], answer["initial"])
        trailing = dict(answer["trailing"])
        self.assertEqual((trailing["x-back-asked"], trailing["x-back-asked-bin"]), ("a b", "\x01\x7f~"))
        self.assertIn(trailing["x-server"], ("w0", "w1", "w2"))

    @variants(*BOTH)
    def test_large_messages(self, tls):
        for size in (0, 1, 16384, 1000000, 3000000):
            answer = self.ask("Unary", "--size", size, tls=tls)
            self.assertEqual((answer["code"], answer["messages"]), (OK, ["X" * size]))

    @variants(*BOTH)
    def test_server_stream(self, tls):
        answer = self.ask("Stream", "500", tls=tls)
        self.assertEqual((answer["code"], answer["messages"]), (OK, [str(i) for i in reversed(range(500))]))
        self.assertEqual(self.ask("Stream", "0", tls=tls)["messages"], [])

    @variants(*BOTH)
    def test_client_stream(self, tls):
        answer = self.ask("Sum", *["--size", 1000] * 300, tls=tls)
        self.assertEqual((answer["code"], answer["messages"]), (OK, ["300000"]))

    @variants(*BOTH)
    def test_both_ways_in_step(self, tls):
        """Each message is answered before the next is sent: nothing waits in a buffer for more."""
        messages = [f"message {i}" for i in range(50)]
        answer = self.ask("Reverse", "--in-step", *messages, tls=tls)
        self.assertEqual((answer["code"], answer["messages"]), (OK, [each[::-1] for each in messages]))

    @variants(*BOTH)
    def test_status_with_details(self, tls):
        """The status, its text with what needs percent-encoding, and grpc-status-details-bin, which is bytes."""
        for code in (3, 5, 7, 8, 13, 14, 16):
            answer = self.ask("Fail", f"{code} as asked: 100% \u00fc", tls=tls)
            text = answer["text"].encode("latin-1").decode()
            self.assertEqual((answer["code"], text, answer["details"]), (code, "as asked: 100% \u00fc", "\x08\x05\x00\xff!"))
            self.assertIn(["x-why", "because"], answer["trailing"])

    def test_unknown_method(self):
        self.assertEqual(self.ask("Nobody", "x")["code"], UNIMPLEMENTED)

    @variants(*BOTH)
    def test_deadline_reaches_the_server(self, tls):
        """Less what has passed, and never more than the client gave."""
        answer = self.ask("Remaining", "", "--deadline", 5000, tls=tls)
        self.assertEqual(answer["code"], OK)
        self.assertLessEqual(int(answer["messages"][0]), 5000)
        self.assertGreater(int(answer["messages"][0]), 0)

    @variants(*BOTH)
    def test_deadline_exceeded(self, tls):
        """When it is over both sides hear of it, long before the server would have answered."""
        late, cancelled = (len(events(self.servers, kind)) for kind in ("late", "cancelled"))
        answer = self.ask("Late", "60000", "--deadline", 700, tls=tls)
        self.assertEqual((answer["code"], answer["messages"]), (DEADLINE_EXCEEDED, []))
        self.assertEqual(len(events(self.servers, "late")), late + 1, "the server was asked once")
        remaining = [each["remaining_ms"] for each in events(self.servers, "late")]
        self.assertLessEqual(max(remaining), 700)
        wait_until("the server hears that it works for nobody", lambda: len(events(self.servers, "cancelled")) > cancelled)

    @variants(*BOTH)
    def test_calls_of_one_channel_are_spread(self, tls):
        """One connection carries all of them, and each endpoint gets its third."""
        wait_until("earlier clients have gone", lambda: not self.clients(tls))
        before, load = self.served(), self.load("--threads", "6", tls=tls)
        [one] = wait_until("it is connected", lambda: self.clients(tls))
        wait_until("it has made 300 calls", lambda: self.served() - before >= 300, 20 * PATIENCE)
        self.assertEqual(self.clients(tls), {one})
        told = load.told()
        self.assertEqual((told["wrong"], sorted(told["right"])), ({}, ["w0", "w1", "w2"]))
        self.assertLessEqual(max(told["right"].values()) - min(told["right"].values()), 6, "one call of each thread")


class CallsWithTlsBehind(Calls):
    """The same with servers that speak TLS themselves."""

    servers_tls = True


@judged
class Changes(Case):
    """A channel that stays open, while endpoints come and go."""

    def test_a_new_endpoint_gets_its_share_of_an_old_channel(self):
        wait_until("earlier clients have gone", lambda: not self.clients())
        load = self.load("--threads", "4")
        [one] = wait_until("it is connected", lambda: self.clients())
        new = server("new").start()
        self.addCleanup(new.stop)
        added = {"name": "new", "address": f"127.0.0.1:{new.port}"}
        old = self.plimsoll.config["pools"]["web"]["endpoints"]
        apply(self.plimsoll, {}, False, {"pools.web.endpoints": [*old, added]})
        apply(self.plimsoll, {}, False, {"pools.web.endpoints": [*old[1:], added]})
        self.assertEqual(self.clients(), {one})
        told = load.told()
        self.assertEqual((told["wrong"], sorted(told["right"])), ({}, ["new", "w0", "w1", "w2"]))
        told = self.load("--calls", "300").told()  # what is so now, without what was before
        self.assertEqual((told["wrong"], sorted(told["right"])), ({}, ["new", "w1", "w2"]))
        self.assertLessEqual(max(told["right"].values()) - min(told["right"].values()), 6)


class Age(Case):
    """Servers that end their connections every 300 ms with GOAWAY, and a listener that does the same to clients."""

    settings = {"max_age_ms": 300}
    listener = {"limits": {"max_connection_age": "300ms"}}

    @variants(*BOTH)
    def test_no_call_is_lost(self, tls):
        load = self.load("--threads", "4", tls=tls)
        self.connects_anew(8, tls)
        told = load.told()
        # gRPC's core says so of calls whose turn on a connection had not come when the GOAWAY did: it does not send them.
        # Now and then one; were it us, it would be each connection's.
        self.assertLessEqual(told["wrong"].pop("14 GOAWAY received", 0), 2)
        self.assertEqual((told["wrong"], sorted(told["right"])), ({}, ["w0", "w1", "w2"]))

    def test_a_call_outlives_its_connection(self):
        """One that is under way when the age is over goes on to its end, on both sides."""
        got = {}
        late = threading.Thread(target=lambda: got.update(self.ask("Late", "1500")))
        late.start()
        load = self.load("--threads", "2")
        self.connects_anew(4)
        late.join()
        self.assertEqual((got.get("code"), got.get("messages")), (OK, ["late"]))
        wrong = load.told()["wrong"]
        self.assertLessEqual(wrong.pop("14 GOAWAY received", 0), 2)
        self.assertEqual(wrong, {})


class Servers(unittest.TestCase):
    def test_nobody_there_is_unavailable(self):
        """A client of gRPC must see UNAVAILABLE, which it may retry, not UNKNOWN."""
        with Plimsoll(base_config([free_port()], {"pools": {"web": {"protocol": "http2"}}})) as plimsoll:
            done = run(words(), "call", f"127.0.0.1:{plimsoll.port}", "Unary", "x", check=True)
            self.assertEqual(json.loads(done.stdout)["code"], 14)


if __name__ == "__main__":
    unittest.main()
