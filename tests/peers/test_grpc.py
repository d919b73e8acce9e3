"""gRPC by its own C core (python3-grpcio): every kind of call, errors, deadlines, trailers, balancing, health checks."""

import collections
import concurrent.futures
import threading
import time
import unittest

from harness import Plimsoll, PATIENCE, base_config, free_port, needs_module, wait_until
from tools import certificates

try:
    import grpc
except ImportError:  # the tests below say so
    grpc = None

SERVICE = "test.Words"


def words(name, seen):
    """A service without generated code: messages are bytes."""
    def unary(request, context):
        seen.append(("unary", dict(context.invocation_metadata())))
        context.send_initial_metadata((("x-first", "1"),))
        context.set_trailing_metadata((("x-server", name), ("x-last", "2")))
        return request.upper()

    def server_stream(request, context):
        for index in range(int(request)):
            yield b"%d" % index

    def client_stream(requests, context):
        return b"%d" % sum(len(each) for each in requests)

    def both(requests, context):
        for each in requests:
            yield each[::-1]

    def fails(request, context):
        context.set_trailing_metadata((("x-why", "because"),))
        context.abort(grpc.StatusCode[request.decode()], "as asked: 100% \u00fc")

    def slow(request, context):
        cancelled = threading.Event()
        context.add_callback(cancelled.set)
        seen.append(("deadline", context.time_remaining()))
        if cancelled.wait(float(request)):
            seen.append(("cancelled", None))
        return b"late"

    def ticks(requests, context):
        next(requests)
        for index in range(10):
            time.sleep(0.3)
            yield b"%d" % index

    def half_a_stream(request, context):
        yield b"one"
        context.abort(grpc.StatusCode.DATA_LOSS, "in the middle")

    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary), "ServerStream": grpc.unary_stream_rpc_method_handler(server_stream),
        "ClientStream": grpc.stream_unary_rpc_method_handler(client_stream), "Both": grpc.stream_stream_rpc_method_handler(both),
        "Fails": grpc.unary_unary_rpc_method_handler(fails), "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Ticks": grpc.stream_stream_rpc_method_handler(ticks),
        "HalfAStream": grpc.unary_stream_rpc_method_handler(half_a_stream),
    }
    return grpc.method_handlers_generic_handler(SERVICE, handlers)


class Health:
    """grpc.health.v1.Health by hand: SERVING is 1, NOT_SERVING 2."""

    def __init__(self):
        self.status, self.asked = 1, 0

    def handler(self):
        def check(request, context):
            self.asked += 1
            if request not in (b"", b"\x0a" + bytes([len(SERVICE)]) + SERVICE.encode()):
                context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            return b"\x08" + bytes([self.status])
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)})


class Server:
    def __init__(self, name):
        self.name, self.seen, self.health, self.port = name, [], Health(), free_port()
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(20), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((words(name, self.seen), self.health.handler()))
        self.server.add_insecure_port(f"127.0.0.1:{self.port}")
        self.server.start()

    def stop(self):
        self.server.stop(0).wait(5)  # an unfinished end makes the library abort with the process


@needs_module("grpc")
class Calls(unittest.TestCase):
    TLS = False

    @classmethod
    def setUpClass(cls):
        cls.servers = [Server(f"g{i}") for i in range(2)]
        cls.addClassCleanup(lambda: [each.stop() for each in cls.servers])
        config = base_config([each.port for each in cls.servers], {"pools": {"web": {
            "protocol": "http2", "policy": "round_robin", "timeouts": {"per_try": "10s", "total": "20s"}}}})
        chain, key = certificates().leaf("grpc", "grpc.example")
        config["certificates"] = certificates().section(grpc=(chain, key))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["grpc"]}}
        cls.plimsoll = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.plimsoll.stop())
        if cls.TLS:
            cls.channel = grpc.secure_channel(
                f"127.0.0.1:{cls.plimsoll.port_of('secure')}", grpc.ssl_channel_credentials(certificates().ca.read_bytes()),
                options=[("grpc.ssl_target_name_override", "grpc.example")])
        else:
            cls.channel = grpc.insecure_channel(f"127.0.0.1:{cls.plimsoll.port}")
        cls.addClassCleanup(lambda: cls.channel.close())

    def call(self, kind, method):
        return getattr(self.channel, kind)(f"/{SERVICE}/{method}")

    def test_unary_with_metadata(self):
        answer, call = self.call("unary_unary", "Unary").with_call(b"hello", metadata=(("x-asked", "a"), ("x-asked-bin", b"\x00\x01\xff")), timeout=5)
        self.assertEqual(answer, b"HELLO")
        self.assertIn(("x-first", "1"), call.initial_metadata())
        trailing = dict(call.trailing_metadata())
        self.assertEqual(trailing["x-last"], "2")
        [got] = [fields for each in self.servers for kind, fields in each.seen if kind == "unary" and "x-asked" in fields]
        self.assertEqual((got["x-asked"], got["x-asked-bin"]), ("a", b"\x00\x01\xff"))

    def test_empty_and_large_messages(self):
        for size in (0, 1, 16384, 1000000, 3000000):
            self.assertEqual(self.call("unary_unary", "Unary")(b"x" * size, timeout=10), b"X" * size)

    def test_server_stream(self):
        self.assertEqual(list(self.call("unary_stream", "ServerStream")(b"500", timeout=10)), [b"%d" % i for i in range(500)])

    def test_empty_server_stream(self):
        self.assertEqual(list(self.call("unary_stream", "ServerStream")(b"0", timeout=10)), [])

    def test_client_stream(self):
        self.assertEqual(self.call("stream_unary", "ClientStream")((b"x" * 1000 for _ in range(300)), timeout=10), b"300000")

    def test_both_ways_in_step(self):
        """Each message is answered before the next is sent: nothing waits in a buffer for more."""
        answered = threading.Semaphore(1)

        def ask():
            for index in range(50):
                self.assertTrue(answered.acquire(timeout=5))
                yield b"message %d" % index
        got = []
        for answer in self.call("stream_stream", "Both")(ask(), timeout=20):
            got.append(answer)
            answered.release()
        self.assertEqual(got, [(b"message %d" % i)[::-1] for i in range(50)])

    def test_error_status_and_message(self):
        for status in ("NOT_FOUND", "PERMISSION_DENIED", "UNAVAILABLE", "INTERNAL", "RESOURCE_EXHAUSTED"):
            with self.assertRaises(grpc.RpcError) as told:
                self.call("unary_unary", "Fails")(status.encode(), timeout=5)
            self.assertEqual((told.exception.code().name, told.exception.details()), (status, "as asked: 100% \u00fc"))
            self.assertIn(("x-why", "because"), told.exception.trailing_metadata())

    def test_error_in_the_middle_of_a_stream(self):
        call = self.call("unary_stream", "HalfAStream")(b"", timeout=5)
        self.assertEqual(next(call), b"one")
        with self.assertRaises(grpc.RpcError) as told:
            next(call)
        self.assertEqual(told.exception.code().name, "DATA_LOSS")

    def test_unknown_method(self):
        with self.assertRaises(grpc.RpcError) as told:
            self.call("unary_unary", "Nobody")(b"", timeout=5)
        self.assertEqual(told.exception.code().name, "UNIMPLEMENTED")

    def test_deadline(self):
        """The client's deadline reaches the server, less what has passed; when it is over both sides hear of it."""
        begun = time.monotonic()
        with self.assertRaises(grpc.RpcError) as told:
            self.call("unary_unary", "Slow")(b"5", timeout=0.5)
        self.assertEqual(told.exception.code().name, "DEADLINE_EXCEEDED")
        self.assertLess(time.monotonic() - begun, 2 * PATIENCE)
        seen = lambda what: [value for each in self.servers for kind, value in each.seen if kind == what]  # noqa: E731
        wait_until("the server hears that it works for nobody", lambda: seen("cancelled"), 3 * PATIENCE)
        self.assertLess(seen("deadline")[-1], 0.6)  # seconds; clocks and roundings differ by a little

    def test_cancel(self):
        before = sum(kind == "cancelled" for each in self.servers for kind, _ in each.seen)
        call = self.call("unary_unary", "Slow").future(b"5", timeout=10)
        time.sleep(0.1)
        call.cancel()
        wait_until("the server hears that it was cancelled", lambda: sum(
            kind == "cancelled" for each in self.servers for kind, _ in each.seen) > before, 3 * PATIENCE)

    def test_calls_of_one_channel_are_balanced(self):
        names = collections.Counter()
        for _ in range(100):
            _, call = self.call("unary_unary", "Unary").with_call(b"x", timeout=5)
            names[dict(call.trailing_metadata())["x-server"]] += 1
        self.assertGreater(min(names["g0"], names["g1"]), 40, names)

    def test_a_hundred_at_once(self):
        calls = [self.call("unary_unary", "Unary").future(b"%d" % i, timeout=10) for i in range(100)]
        self.assertEqual([call.result() for call in calls], [b"%d" % i for i in range(100)])


class CallsOverTls(Calls):
    TLS = True


@needs_module("grpc")
class Failures(unittest.TestCase):
    def config(self, ports, **pool):
        return base_config(ports, {"pools": {"web": {"protocol": "http2", **pool}}})

    def code(self, server, method="Unary", request=b"x"):
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            try:
                channel.unary_unary(f"/{SERVICE}/{method}")(request, timeout=5)
                return "OK"
            except grpc.RpcError as told:
                return told.code().name

    def test_nobody_there_is_unavailable(self):
        """A client of gRPC must see UNAVAILABLE, which it may retry, not UNKNOWN."""
        with Plimsoll(self.config([free_port()])) as server:
            self.assertEqual(self.code(server), "UNAVAILABLE")

    def test_a_client_may_only_listen(self):
        """A stream whose client says nothing for longer than a slow upload may take goes on while the server has something to say."""
        server = Server("ticks")
        self.addCleanup(server.stop)
        config = self.config([server.port])
        config["listeners"]["web"]["body_idle_timeout"] = "1s"
        with Plimsoll(config) as plimsoll, grpc.insecure_channel(f"127.0.0.1:{plimsoll.port}") as channel:
            quiet = threading.Event()

            def say():
                yield b"begin"
                quiet.wait(20)
            heard = list(channel.stream_stream(f"/{SERVICE}/Ticks")(say(), timeout=20))
            quiet.set()
        self.assertEqual(heard, [b"%d" % index for index in range(10)])

    def test_a_servers_status_counts(self):
        """UNAVAILABLE in an answer of HTTP status 200 is the failure that it is: in the log, in metrics, and for ejection."""
        good, bad = Server("good"), Server("bad")
        self.addCleanup(good.stop)
        self.addCleanup(bad.stop)
        with Plimsoll(self.config([bad.port], ejection={"enabled": True})) as server:
            for name, status in (("UNAVAILABLE", 503), ("DATA_LOSS", 500), ("NOT_FOUND", 404), ("UNIMPLEMENTED", 501)):
                self.assertEqual(self.told(server, "Fails", request=name.encode())[0], name)
                line = server.log_line(lambda line: line["grpc_status"] == grpc.StatusCode[name].value[0])
                self.assertEqual((line["status"], line["cause"]), (status, "-"), name)
            wait_until("counted", lambda: sum(value for name, value in server.metrics().items() if name.startswith("plimsoll_requests_failed_total")) == 3)
        config = self.config([bad.port, good.port], policy="round_robin", ejection={"enabled": True, "max_fraction": 0.5})
        with Plimsoll(config) as server:
            codes = collections.Counter(self.told(server, "Fails", request=b"INTERNAL")[0] for _ in range(6))
            self.assertEqual(codes, {"INTERNAL": 6})
            for _ in range(4):  # both have failed alike: one of them is out by now, and no more than one
                self.told(server, "Fails", request=b"INTERNAL")
            out = [value for name, value in server.metrics().items() if name.startswith("plimsoll_endpoint_out{")]
            self.assertEqual(sorted(out), [0, 1])

    def told(self, server, method="Unary", service=SERVICE, request=b"x", timeout=20):
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            try:
                channel.unary_unary(f"/{service}/{method}")(request, timeout=timeout)
            except grpc.RpcError as told:
                return told.code().name, told.details(), dict(told.initial_metadata() or ()) | dict(told.trailing_metadata() or ())
        return "OK", "", {}

    def test_our_own_answers(self):
        """The status by gRPC's table, and a message that names the cause; the log has it as the failure that it is."""
        server = Server("own")
        config = self.config([server.port], timeouts={"connect": "2s", "per_try": "2s", "total": "8s"}, retry={"attempts": 1})
        config["pools"]["gone"] = {"protocol": "http2", "health": "off", "endpoints": [{"name": "g", "address": f"127.0.0.1:{free_port()}"}]}
        config["pools"]["web"]["health"] = "off"

        def route(name, **what):
            return {"name": name, "match": {"path_prefix": f"/{name}"}, **what}
        config["routes"] = [
            {"name": "limited", "match": {"path_prefix": f"/{SERVICE}/Unary"}, "pool": "web", "rate_limits": [{"by": "route", "rate": 0.01, "burst": 1}]},
            {"name": "served", "match": {"path_prefix": f"/{SERVICE}"}, "pool": "web"},
            route("test.Gone", pool="gone"),
            route("test.Closed", respond={"status": 503, "body": "closed: 100% \u00fc"}),
            route("test.Forbidden", respond={"status": 403, "body": "no"}),
        ]
        try:
            with Plimsoll(config) as plimsoll:
                self.assertEqual(self.told(plimsoll)[0], "OK")
                code, details, metadata = self.told(plimsoll)
                self.assertEqual((code, details.split(":")[0], metadata["x-plimsoll-cause"]), ("RESOURCE_EXHAUSTED", "rate_limited", "rate_limited"))
                self.assertGreater(int(metadata["grpc-retry-pushback-ms"]), 1000)
                for service, method, request, expected in (
                        ("test.Gone", "Unary", b"x", ("UNAVAILABLE", "connect_refused: the server refused the connection")),
                        ("test.Nobody", "Unary", b"x", ("UNIMPLEMENTED", "no_route: no route matches this request")),
                        (SERVICE, "Slow", b"4", ("DEADLINE_EXCEEDED", "try_timeout: the server did not answer in time")),
                        ("test.Closed", "Unary", b"x", ("UNAVAILABLE", "closed: 100% \u00fc")),
                        ("test.Forbidden", "Unary", b"x", ("PERMISSION_DENIED", "no"))):
                    self.assertEqual(self.told(plimsoll, method, service, request)[:2], expected)
                for cause, status in (("rate_limited", 429), ("connect_refused", 502), ("no_route", 404), ("try_timeout", 504)):
                    self.assertEqual(plimsoll.log_line(lambda line, cause=cause: line["cause"] == cause)["status"], status)
        finally:
            server.stop()

    def test_health_checks(self):
        """A server that says NOT_SERVING gets nothing; when it serves again it is asked again."""
        servers = [Server(f"h{i}") for i in range(2)]
        health = {"type": "grpc", "service": SERVICE, "interval": "100ms", "timeout": "500ms", "rise": 2, "fall": 2}
        try:
            with Plimsoll(self.config([each.port for each in servers], health=health, policy="round_robin")) as plimsoll:
                wait_until("both are probed", lambda: min(each.health.asked for each in servers) >= 3)

                def taken():
                    before = [len(each.seen) for each in servers]
                    for _ in range(10):
                        self.assertEqual(self.code(plimsoll), "OK")
                    return [len(each.seen) - old for each, old in zip(servers, before)]
                wait_until("both take calls", lambda: min(taken()) > 0)
                servers[0].health.status = 2
                wait_until("the one that does not serve is left out", lambda: taken() == [0, 10])
                servers[0].health.status = 1
                wait_until("it is back", lambda: min(taken()) > 0)
        finally:
            for each in servers:
                each.stop()


if __name__ == "__main__":
    unittest.main()
