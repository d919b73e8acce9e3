"""Rows of docs/features.md that no other file shows: somebody else's client before, somebody else's server behind."""

import collections
import json
import re
import threading
import time
import unittest

from harness import PATIENCE, ROOT, Backend, Client, Plimsoll, VariantTest, base_config, binary, free_port, merged, needs, needs_module, plain_answer, variants, wait_until
from sites import Site, config_of, name_at, propose, served, status, wrk
from tools import apply, ask, certificates, nginx, run


class SiteTest(VariantTest):
    """Servers n0 to n4 behind; each test starts the Plimsoll that it needs."""

    @classmethod
    def setUpClass(cls):
        cls.site = Site(*(f"n{i}" for i in range(5)), locations=cls.locations if hasattr(cls, "locations") else "")
        cls.site.__enter__()
        cls.addClassCleanup(cls.site.__exit__)

    def serve(self, config):
        server = Plimsoll(config).start()
        self.addCleanup(server.stop)
        return server

    def pool(self, *names, **pool):
        return self.serve(config_of(self.site, *names, pools={"web": pool}))

    def load(self, server, requests=2000, clients=4, streams=1, path="/", headers=(), failed=False):
        """h2load, and who served how many of its requests."""
        before = {name: self.site.took(name) for name in self.site.ports}
        more = [] if streams > 1 else ["--h1"]
        for header in headers:
            more += ["-H", header]
        done = run("h2load", "-n", requests, "-c", clients, "-m", streams, *more, f"http://127.0.0.1:{server.port}{path}", seconds=60)
        if not failed:
            self.assertRegex(done.stdout, rf"status codes: {requests} 2xx", done.stdout)
        wait_until("NGINX has logged", lambda: sum(self.site.took(name) - before[name] for name in before) >= requests or failed, 5)
        return {name: self.site.took(name) - before[name] for name in before}


@needs("nginx")
@needs("curl")
class Routing(SiteTest):
    def test_conditions(self):
        """Host, path, prefix, pattern, header, query, method, each by curl; the first route that holds wins."""
        config = config_of(self.site, "n0")
        for name in ("n1", "n2", "n3", "n4"):
            config["pools"][name] = dict(config["pools"]["web"], endpoints=self.site.endpoints(name))

        def route(pool, **match):
            return {"name": f"to-{pool}-{len(config['routes'])}", "match": match, "pool": pool}
        config["routes"] = []
        for each in (("n1", {"host": "a.example", "path": "/exact"}), ("n2", {"path_prefix": "/pre"}), ("n3", {"path_regex": "/v[0-9]+/.*"}),
                     ("n1", {"headers": [{"name": "X-Canary", "exact": "yes"}]}), ("n2", {"headers": [{"name": "Accept", "regex": ".*json.*"}]}),
                     ("n4", {"path": "/private", "headers": [{"name": "Authorization", "invert": True}]}),
                     ("n3", {"query": [{"name": "beta", "regex": "1|true"}]}), ("n4", {"methods": ["DELETE", "PUT"]}),
                     ("n1", {"host": "*.wild.example"}), ("web", {})):
            config["routes"].append(route(each[0], **each[1]))
        server = self.serve(config)
        for wanted, path, *arguments in (
                ("n1", "/exact", "-H", "Host: A.example:80"), ("n0", "/exact"), ("n0", "/exact/", "-H", "Host: a.example"),
                ("n2", "/pre/x"), ("n2", "/pre"), ("n0", "/prefix"), ("n3", "/v12/x"), ("n0", "/vx/x"),
                ("n1", "/", "-H", "X-Canary: yes"), ("n0", "/", "-H", "X-Canary: yes!"), ("n2", "/", "-H", "Accept: application/json"),
                ("n4", "/private"), ("n0", "/private", "-H", "Authorization: Basic eA=="),
                ("n3", "/?a&beta=true"), ("n0", "/?beta=2"), ("n4", "/", "-X", "DELETE"), ("n0", "/", "-X", "POST"),
                ("n1", "/", "-H", "Host: b.wild.example")):
            for version in ("--http1.1", "--http2-prior-knowledge"):
                got = ask(version, *arguments, f"http://127.0.0.1:{server.port}{path}")
                self.assertEqual(got.body, wanted, (path, arguments, version))

    def test_connect(self):
        """CONNECT as curl asks for it: to the pool's server where a route allows it, 405 elsewhere."""
        config = config_of(self.site, "n0")
        config["routes"] = [{"name": "tunnels", "match": {"host": "inner.example"}, "pool": "web", "connect": True}, {"name": "rest", "pool": "web"}]
        server = self.serve(config)
        through = ["-p", "-x", f"http://127.0.0.1:{server.port}"]
        answer = ask(*through, "http://inner.example:8080/a", "http://inner.example:8080/b")
        self.assertEqual((answer.code, answer.status, answer.body[-2:]), (0, 200, "n0"), answer)
        refused = ask(*through, "http://other.example:8080/")
        self.assertEqual(refused.code, 56)
        self.assertIn("405", refused.done.stderr)

    def test_interim_answers(self):
        """103 and 102 before the answer: the client gets the answer, whole, over both versions."""
        def hints(connection, request):
            connection.reader.request_body(request)
            connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + plain_answer(request))
            return True
        backend = Backend()
        self.addCleanup(backend.stop)
        backend.on("/h", hints)
        server = self.serve(base_config([backend.port]))
        for version in ("--http1.1", "--http2-prior-knowledge"):
            answer = ask(version, f"http://127.0.0.1:{server.port}/h", f"http://127.0.0.1:{server.port}/next" if version == "--http1.1" else "-sS")
            self.assertEqual((answer.code, answer.status), (0, 200), answer)
            self.assertIn("GET /h", answer.done.stdout)

    def test_host_with_a_port_finds_its_certificate(self):
        """Every client on another port than 443 writes it into Host: that is not another host (was answered 421)."""
        made = certificates()
        config = config_of(self.site, "n0")
        config["certificates"] = made.section(one=made.leaf("port1", "one.example"), two=made.leaf("port2", "two.example", "*.two.example"))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["one", "two"]}}
        server = self.serve(config)
        port = server.port_of("secure")
        for version in ("--http1.1", "--http2"):
            for host in ("one.example", "two.example", "x.two.example"):
                answer = ask(version, "--cacert", made.ca, "--resolve", f"{host}:{port}:127.0.0.1", f"https://{host}:{port}/")
                self.assertEqual((answer.status, answer.body), (200, "n0"), (version, host))
            other = ask(version, "--cacert", made.ca, "--resolve", f"one.example:{port}:127.0.0.1", "-H", f"Host: two.example:{port}", f"https://one.example:{port}/")
            self.assertEqual(other.status, 421, "another certificate's host is still refused")


@needs("nginx")
@needs("h2load")
class Balancing(SiteTest):
    locations = "location /large { return 200 '" + "x" * 1500 + "'; limit_rate 1k; }"

    def sequence(self, server, count, headers=b"", path="/"):
        with Client(server.port) as client:
            return [client.get(path, headers).body.decode() for _ in range(count)]

    def test_weighted_round_robin_is_exact_and_smooth(self):
        server = self.pool("n0", "n1", "n2", policy="round_robin", endpoints=[dict(each, weight=weight) for each, weight in
                                                                              zip(self.site.endpoints("n0", "n1", "n2"), (5, 1, 1))])
        got = self.sequence(server, 70)
        self.assertEqual(collections.Counter(got), {"n0": 50, "n1": 10, "n2": 10})
        runs = max(len(each) for each in re.findall(r"0+", "".join(name[1] for name in got)))
        self.assertLessEqual(runs, 4, "a burst of as many as the weight: " + "".join(name[1] for name in got))

    @variants(("cookie", {"by": "cookie", "name": "user"}, lambda key: ("-b", f"other={key % 3}; user={key}")),
              ("client", {"by": "client"}, lambda key: ("--interface", f"127.0.3.{key + 1}")),
              ("header", {"by": "header", "name": "X-User"}, lambda key: ("-H", f"x-user: {key}")))
    def test_a_key_has_its_server(self, hashed, says):
        """curl says the key as a client would; the same key finds the same server, and the keys are spread."""
        server = self.pool(policy="maglev", hash=hashed)
        found = [{ask(*says(key), f"http://127.0.0.1:{server.port}/?{i}").body for i in range(3)} for key in range(12)]
        self.assertEqual({len(each) for each in found}, {1}, found)
        self.assertGreater(len(set.union(*found)), 2, found)

    @variants(("least_request", "least_request"), ("peak_ewma", "peak_ewma"), ("prequal", "prequal"))
    def test_the_slow_one_gets_less(self, policy):
        """One of two takes about a second for each, the other next to nothing."""
        slow = nginx("location / { root @DIR@; limit_rate 1500; } location /healthz { return 200; }", files={"big": "x" * 2000})
        quick = nginx("location / { root @DIR@; }", files={"big": "x" * 2000})
        with slow as slow, quick as quick:
            config = base_config([slow.port, quick.port], {"pools": {"web": {"policy": policy}}})
            server = self.serve(config)
            done = run("wrk", "-t1", "-c8", "-d5s", "--timeout", "10s", f"http://127.0.0.1:{server.port}/big", check=True)
            self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")
            took, other = (len((each.directory / "access.log").read_text().splitlines()) for each in (slow, quick))
            print(f"      {policy}: the slow one of two had {took} of {took + other}")
            self.assertGreater(other, 2 * took)

    @variants(("least_request", "least_request"), ("peak_ewma", "peak_ewma"), ("random", "random"), ("round_robin", "round_robin"))
    def test_equals_get_equal_parts(self, policy):
        server = self.pool(policy=policy)
        took = self.load(server, 5000, 10)
        self.assertEqual(sum(took.values()), 5000)
        for name, count in took.items():
            self.assertTrue(700 < count < 1350, (policy, took, name))

    @variants(("maglev", "maglev", 0.03), ("ring_hash", "ring_hash", 0), ("rendezvous", "rendezvous", 0))
    def test_only_the_keys_of_one_that_goes_move(self, policy, may_move):
        server = self.pool(policy=policy, hash={"by": "header", "name": "X-User"})

        def homes():
            with Client(server.port) as client:
                return {user: client.get("/", b"X-User: user-%d\r\n" % user).body.decode() for user in range(300)}
        before = homes()
        self.assertEqual(homes(), before)
        self.assertGreater(min(collections.Counter(before.values()).values()), 25)
        apply(server, {"pools": {"web": {"endpoints": self.site.endpoints("n0", "n1", "n2", "n3")}}})
        after = homes()
        moved = [user for user in before if before[user] != "n4" and after[user] != before[user]]
        self.assertLessEqual(len(moved), may_move * 300)
        self.assertGreater(len({after[user] for user in before if before[user] == "n4"}), 2, "they spread")

    def test_a_hot_key_is_bounded(self):
        share = {}
        for bound in (0, 1.25):
            server = self.pool("n0", "n1", "n2", "n3", policy="maglev", hash={"by": "header", "name": "x-user", "bounded_load": bound})
            took = self.load(server, 120, 16, headers=["x-user: hot"], path="/large")
            share[bound] = max(took.values()) / 120
        print(f"      one key, four servers: the busiest had {share[0]:.0%}, with bounded_load 1.25 {share[1.25]:.0%}")
        self.assertEqual(share[0], 1)
        self.assertLess(share[1.25], 0.45)

    def test_our_zone_first(self):
        ends = self.site.endpoints("n0", "n1", "n2", "n3")
        near = [dict(each, zone="a" if index < 2 else "b") for index, each in enumerate(ends)]
        server = self.serve(config_of(self.site, zone="a", pools={"web": {"zone_aware": True, "endpoints": near}}))
        took = self.load(server, 400)
        self.assertEqual(took["n0"] + took["n1"], 400, "our zone can carry its part")


@needs("nginx")
@needs("h2load")
class Limits(SiteTest):
    locations = "location /left { return 200 $http_x_left_ms; }"

    def slow_backend(self):
        """Counts how many requests it holds at once, each for 20 ms."""
        backend, lock = Backend(), threading.Lock()
        backend.now = backend.most = 0

        def held(connection, request):
            connection.reader.request_body(request)
            with lock:
                backend.now += 1
                backend.most = max(backend.most, backend.now)
            time.sleep(0.02)
            with lock:
                backend.now -= 1
            connection.send(plain_answer(request))
            return True
        backend.on("/held", held)
        self.addCleanup(backend.stop)
        return backend

    def ask_many(self, server, requests=200, clients=20):
        return run("h2load", "-n", requests, "-c", clients, "-m", 1, f"http://127.0.0.1:{server.port}/held", seconds=60).stdout

    @variants(("per_endpoint", {"max_in_flight_per_endpoint": 3}), ("pool", {"max_in_flight": 3}))
    def test_queue(self, limit):
        backend = self.slow_backend()
        server = self.serve(base_config([backend.port], {"pools": {"web": {"limits": dict(limit, queue=100, queue_timeout="20s")}}}))
        self.assertIn("status codes: 200 2xx", self.ask_many(server))
        self.assertEqual(backend.most, 3)

    def test_without_a_queue_the_rest_is_refused_at_once(self):
        backend = self.slow_backend()
        server = self.serve(base_config([backend.port], {"pools": {"web": {"limits": {"max_in_flight_per_endpoint": 3}, "retry": {"attempts": 1}}}}))
        said = self.ask_many(server)
        self.assertLessEqual(backend.most, 3)
        self.assertRegex(said, r" [1-9]\d* 5xx", "20 at once do not fit")

    def test_who_waits_for_a_stream_is_woken(self):
        """HTTP/2 to NGINX over one connection of two streams: 30 at once wait their turn, and all are served."""
        with nginx("location / { return 200 two; }", listen="listen 127.0.0.1:@PORT@ http2;", log="$connection $request_uri") as behind:
            server = self.serve(base_config([behind.port], {"pools": {"web": {"protocol": "http2", "limits": {
                "max_connections_per_endpoint": 1, "max_streams": 2}, "timeouts": {"per_try": "10s", "total": "15s"}}}}))
            begun = time.monotonic()
            done = run("h2load", "-n", 2000, "-c", 3, "-m", 10, f"http://127.0.0.1:{server.port}/", seconds=60)
            took = time.monotonic() - begun
            self.assertRegex(done.stdout, "status codes: 2000 2xx", done.stdout)
            self.assertLess(took, 10 * PATIENCE, "somebody slept")
            lines = (behind.directory / "access.log").read_text().splitlines()
            # NGINX ends a connection after 1,000 requests; then there is another.
            self.assertLessEqual(len({line.split()[0] for line in lines}), 4)

    def test_connections_end_after_their_time(self):
        """max_requests_per_connection on both sides, seen by curl and by NGINX."""
        with nginx("location / { return 200 x; }", log="$connection $connection_requests") as behind:
            config = base_config([behind.port], {"pools": {"web": {"limits": {"max_requests_per_connection": 5}}}})
            config["listeners"]["web"]["limits"] = {"max_requests_per_connection": 10}
            server = self.serve(config)
            done = run("curl", "-sS", "-w", "%{num_connects}\n", *[part for i in range(40) for part in (
                f"http://127.0.0.1:{server.port}/{i}", "-o", "/dev/null")])
            self.assertEqual(sum(int(each) for each in done.stdout.split()), 4, done.stdout)
            requests = collections.Counter(line.split()[0] for line in (behind.directory / "access.log").read_text().splitlines())
            self.assertEqual((sum(requests.values()), max(requests.values())), (40, 5))

    @needs("nghttpd")
    def test_connections_end_after_their_time_in_http2(self):
        """The same over HTTP/2, where both ends say GOAWAY: h2load before, NGINX behind, and no request is lost."""
        with nginx("location / { return 200 x; }", listen="listen 127.0.0.1:@PORT@ http2;", log="$connection $request_uri") as behind:
            config = base_config([behind.port], {"pools": {"web": {"protocol": "http2", "limits": {"max_requests_per_connection": 50}}}})
            config["listeners"]["web"]["limits"] = {"max_requests_per_connection": 100}
            server = self.serve(config)
            before = server.metrics().get("plimsoll_connections_accepted_total", 0)
            for _ in range(10):
                done = run("nghttp", "-n", "-m", "100", f"http://127.0.0.1:{server.port}/", seconds=30)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            requests = collections.Counter(line.split()[0] for line in (behind.directory / "access.log").read_text().splitlines())
            self.assertEqual(sum(requests.values()), 1000)
            self.assertLessEqual(max(requests.values()), 50)
            wait_until("counted", lambda: server.metrics()["plimsoll_connections_accepted_total"] - before >= 10)

    @variants(("http1", "http1", "--http1.1"), ("http2", "http2", "--http2-prior-knowledge"))
    def test_connections_end_at_their_age(self, protocol, version):
        """max_connection_age on both sides: an idle connection to a server does not outlive it either."""
        listen = "listen 127.0.0.1:@PORT@" + (" http2;" if protocol == "http2" else ";")
        with nginx("location / { return 200 x; }", listen=listen, log="$connection $request_uri") as behind:
            config = base_config([behind.port], {"pools": {"web": {"protocol": protocol, "limits": {
                "max_connection_age": "1s", "keepalive_idle": "60s"}}}})
            config["listeners"]["web"]["limits"] = {"max_connection_age": "1s"}
            server = self.serve(config)
            used = []
            for _ in range(3):
                self.assertEqual(ask(version, f"http://127.0.0.1:{server.port}/").status, 200)
                wait_until("NGINX has logged", lambda: len((behind.directory / "access.log").read_text().splitlines()) > len(used), 5)
                used.append((behind.directory / "access.log").read_text().splitlines()[-1].split()[0])
                time.sleep(1.3)
            self.assertEqual(len(set(used)), 3, used)
            done = run("curl", "-sS", version, "--rate", "2/s", "-w", "%{num_connects}\n", *[part for i in range(6) for part in (
                f"http://127.0.0.1:{server.port}/{i}", "-o", "/dev/null")], seconds=30)
            self.assertGreaterEqual(sum(int(each) for each in done.stdout.split()), 2, done.stdout)

    def test_a_line_that_is_full_or_too_slow_says_so(self):
        backend = Backend()
        self.addCleanup(backend.stop)
        release = threading.Event()

        def held(connection, request):
            connection.reader.request_body(request)
            release.wait(20)
            connection.send(plain_answer(request))
            return True
        backend.on("/held", held)
        server = self.serve(base_config([backend.port], {"pools": {"web": {
            "limits": {"max_in_flight": 1, "queue": 2, "queue_timeout": "500ms"}, "retry": {"attempts": 1}}}}))
        said = run("h2load", "--h1", "-n", 12, "-c", 12, "-m", 1, "-T", "3s", f"http://127.0.0.1:{server.port}/held", seconds=30).stdout
        release.set()
        causes = collections.Counter(line["cause"] for line in server.log_lines())
        self.assertGreaterEqual(causes["queue_timeout"], 2, (said, causes))
        self.assertGreaterEqual(causes["queue_full"], 4, (said, causes))
        self.assertEqual({line["status"] for line in server.log_lines() if line["cause"].startswith("queue")}, {503})

    def test_a_rate_limit_knows_the_true_client(self):
        """By client, behind a proxy of ours: each of its clients has its own bucket; what a stranger claims counts for nothing."""
        for trusted, wanted in ((["127.0.0.0/8"], [200, 200, 200, 429]), ([], [200, 429, 429, 429])):
            config = config_of(self.site, "n0")
            config["listeners"]["web"]["trusted_proxies"] = trusted
            config["routes"] = [{"name": "all", "pool": "web", "rate_limits": [{"by": "client", "rate": 0.001, "burst": 1}]}]
            server = self.serve(config)
            got = [ask("-H", f"X-Forwarded-For: 192.0.2.{client}", f"http://127.0.0.1:{server.port}/").status for client in (1, 2, 3, 1)]
            self.assertEqual(got, wanted, trusted)

    def test_copies_are_bounded(self):
        """A pool that takes copies and never answers: 256 of them a worker, then none; nobody waits for one."""
        silent = Backend()
        self.addCleanup(silent.stop)
        silent.on("/", lambda connection, request: connection.wait_for_end() and False)
        config = config_of(self.site, "n0")
        config["pools"]["copy"] = dict(config["pools"]["web"], endpoints=[{"name": "silent", "address": f"127.0.0.1:{silent.port}"}])
        config["routes"] = [{"name": "all", "pool": "web", "mirror": {"pool": "copy", "share": 1}}]
        server = self.serve(config)
        took = self.load(server, 2000, 8)
        self.assertEqual(took["n0"], 2000)
        def counted(name):
            return server.metrics()["plimsoll_" + name]
        wait_until("all are counted", lambda: counted("mirrored_requests_total") + counted("mirrors_skipped_total") == 2000)
        self.assertLessEqual(counted("mirrors"), 256, "one worker")
        self.assertGreater(counted("mirrors_skipped_total"), 0)

    def test_subsets(self):
        """A route's subset is its whole pool: two servers of five. A change that leaves nobody in it is refused; where it is served
        all the same, it is a 503 instead of the other servers."""
        ends = self.site.endpoints()
        labelled = [dict(each, labels={"version": "2" if index < 2 else "1"}) for index, each in enumerate(ends)]
        config = config_of(self.site)
        config["pools"]["web"]["endpoints"] = labelled
        config["routes"] = [{"name": "new", "match": {"headers": [{"name": "X-New", "exact": "1"}]}, "pool": "web", "subset": {"version": "2"}},
                            {"name": "all", "pool": "web"}]
        server = self.serve(config)
        new = ["-H", "X-New: 1", f"http://127.0.0.1:{server.port}/"]
        self.assertEqual({ask(*new).body for _ in range(12)}, {"n0", "n1"})
        self.assertEqual({name_at(server).body for _ in range(40)}, {f"n{i}" for i in range(5)})
        config["pools"]["web"]["endpoints"] = [dict(each, labels={"version": "1"}) for each in ends]
        done = propose(server, config)
        self.assertEqual(done.returncode, 3)
        self.assertIn("P406-subset-empty", done.stdout)
        nobody = self.serve(dict(config, listeners={"web": {"address": f"127.0.0.1:{free_port()}"}}, admin={"address": f"127.0.0.1:{free_port()}"}))
        answer = ask("-i", "-H", "X-New: 1", f"http://127.0.0.1:{nobody.port}/")
        self.assertEqual(answer.status, 503)
        self.assertRegex(answer.body, "(?i)x-plimsoll-cause: no_endpoint")

    def test_adaptive_limits_follow_latency(self):
        """A server that is slower the more it has: the limit finds a number of requests well below what would come."""
        backend = self.slow_backend()
        lock = threading.Semaphore(1)

        def one_at_a_time(connection, request):
            connection.reader.request_body(request)
            with lock:
                time.sleep(0.004)
            connection.send(plain_answer(request))
            return True
        backend.on("/one", one_at_a_time)

        def p50(pool):
            server = self.serve(base_config([backend.port], {"pools": {"web": {"retry": {"attempts": 1}, **pool}}}))
            said = run("h2load", "--h1", "-n", 1200, "-c", 48, "-m", 1, f"http://127.0.0.1:{server.port}/one", seconds=60).stdout
            took = sorted(line["attempts"][-1]["first_byte_us"] for line in server.log_lines()[600:] if line["attempts"])
            return said, took[len(took) // 2]
        _, without = p50({})
        said, limited = p50({"adaptive": {"min": 1, "max": 100, "tolerance": 2}, "limits": {"queue": 1000, "queue_timeout": "30s"}})
        print(f"      48 clients at a server that does one request at a time: {without / 1000:.0f} ms there, {limited / 1000:.0f} ms with adaptive")
        self.assertIn("status codes: 1200 2xx", said)
        self.assertLess(limited, without / 2)

    def test_cookie_affinity_with_a_cookie_jar(self):
        server = self.pool(policy="round_robin", affinity={"cookie": "stay", "secret": "long enough for a secret"})
        jar = server.directory / "jar"
        with_jar = [ask("-c", jar, "-b", jar, f"http://127.0.0.1:{server.port}/").body for _ in range(10)]
        self.assertEqual(len(set(with_jar)), 1, with_jar)
        self.assertEqual({name_at(server).body for _ in range(15)}, {f"n{i}" for i in range(5)})

    @variants(("per_try", "/silent", {"per_try": "300ms"}, 504, "try_timeout"), ("total", "/silent", {"total": "300ms"}, 504, "total_timeout"))
    def test_timeouts(self, path, timeouts, wanted, cause):
        backend = Backend()
        self.addCleanup(backend.stop)

        def silent(connection, request):
            connection.wait_for_end()
            return False
        backend.on("/silent", silent)
        server = self.serve(base_config([backend.port], {"pools": {"web": {"timeouts": timeouts, "retry": {"attempts": 1}}}}))
        begun = time.monotonic()
        answer = ask("-i", f"http://127.0.0.1:{server.port}{path}")
        self.assertEqual(answer.status, wanted)
        self.assertRegex(answer.body, f"(?i)x-plimsoll-cause: {cause}")
        self.assertTrue(0.29 < time.monotonic() - begun < 2 * PATIENCE)

    def test_a_server_is_told_its_deadline(self):
        server = self.pool(timeouts={"per_try": "2s", "total": "5s", "deadline_header": "X-Left-Ms"})
        for version in ("--http1.1", "--http2-prior-knowledge"):
            told = ask(version, "-H", "X-Left-Ms: 999999", f"http://127.0.0.1:{server.port}/left").body
            self.assertTrue(1000 < int(told) <= 2000, told)


@needs("nginx")
@needs("curl")
class Operating(SiteTest):
    def test_curl_is_client_enough(self):
        """Status, the running configuration and a change by curl over the Unix socket; the answer's last line is the result."""
        config = config_of(self.site, "n0")
        server = self.serve(config)
        socket_ = ["--unix-socket", server.admin_socket]
        told = json.loads(ask(*socket_, "http://admin/v1/status").body)
        self.assertEqual((told["active"], [each["name"] for each in told["endpoints"]]), (1, ["n0"]))
        self.assertEqual(ask(*socket_, f"http://admin/v1/revisions/{told['active']}").body, server.config_file.read_text())
        body = server.directory / "body.json"
        changed = merged(config, {"pools": {"web": {"endpoints": self.site.endpoints("n1")}}})
        body.write_text(json.dumps({"text": json.dumps(changed), "file": "by-curl.yaml", "author": "curl", "reason": "n0 goes", "base": told["digest"]}))
        post = [*socket_, "-H", "Content-Type: application/json", "-H", "X-Plimsoll-Request: 1", "--data-binary", f"@{body}"]
        with wrk(server) as load:
            lines = ask(*post, "http://admin/v1/apply", seconds=30).body.splitlines()
        served(load)
        result = json.loads(lines[-1])
        self.assertEqual((result["ending"], result["exit"]), ("completed", 0), lines)
        self.assertEqual(name_at(server).body, "n1")
        self.assertEqual(json.loads(ask(*socket_, f"http://admin/v1/revisions/{result['revision']}").body), changed)
        stale = ask(*post, "http://admin/v1/apply")
        self.assertEqual((stale.status, json.loads(stale.body)["exit"]), (409, 6), "the base is not active any more")

    @needs("wrk")
    def test_rolled_back_by_hand_and_again(self):
        """Twice is not there and back: what somebody has left by hand is no place to return to."""
        config = config_of(self.site, "n0")
        server = self.serve(config)
        with wrk(server):
            wait_until("the first is known to be good", lambda: status(server)["last_known_good"] == 1, 30)
        for names in ("n1", "n2"):
            apply(server, {"pools": {"web": {"endpoints": self.site.endpoints(names)}}})

        def rollback(*arguments):
            with wrk(server):
                return run(binary(), "rollback", *arguments, "--server", server.admin_socket, "-m", "it hurts", seconds=60)
        for serves in ("n1", "n0"):
            done = rollback()
            self.assertEqual((done.returncode, name_at(server).body), (0, serves), done.stdout + done.stderr)
        done = rollback()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("no earlier known good revision", done.stdout + done.stderr)
        self.assertEqual(name_at(server).body, "n0")

    def test_the_command_line_by_tcp(self):
        """--server HOST:PORT of the admin listener, as from a script on the same machine."""
        server = self.serve(config_of(self.site, "n0"))
        for command in ("status", "changes", "incidents"):
            done = run(binary(), command, "--server", f"127.0.0.1:{server.admin_port}")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    @needs("wrk")
    def test_recorded_traffic_is_what_a_plan_is_tested_with(self):
        config = config_of(self.site, "n0", "n1", recording={"enabled": True})
        config["pools"]["web"]["endpoints"] = self.site.endpoints("n0", "n1", capacity=100_000)
        server = self.serve(config)
        with wrk(server) as load:
            time.sleep(2.5)
        requests = served(load)
        time.sleep(1.2)
        file = server.directory / "planned.yaml"
        file.write_text(json.dumps(merged(config, {"routes": [{"name": "none", "match": {"path": "/other"}, "pool": "web"}]})))
        done = run(binary(), "plan", "--server", server.admin_socket, file)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn("P406-route-lost", done.stdout)
        replayed = re.search(r"replay of (\d+) recorded requests(?: \(one in (\d+)\))?", done.stdout)
        self.assertTrue(replayed and requests * 0.9 < int(replayed[1]) * int(replayed[2] or 1) < requests * 1.1,
                        f"{requests} asked: {done.stdout}")

    @needs_module("jsonschema")
    def test_the_schema_says_what_the_reader_says(self):
        """python3-jsonschema takes every example, and refuses what `plimsoll check` refuses for its form."""
        import jsonschema
        import yaml
        schema = json.loads(run(binary(), "schema", check=True).stdout)
        jsonschema.validators.validator_for(schema).check_schema(schema)
        validator = jsonschema.validators.validator_for(schema)(schema)
        for file in sorted((ROOT / "examples").glob("*.yaml")):
            self.assertEqual([error.message for error in validator.iter_errors(yaml.safe_load(file.read_text()))], [], file.name)
        good = config_of(self.site, "n0")
        self.assertTrue(validator.is_valid(good))
        for spoil in (lambda c: c.update(lisners={}), lambda c: c["routes"][0].pop("name"), lambda c: c["pools"]["web"].update(policy="fair"),
                      lambda c: c["pools"]["web"]["endpoints"][0].update(weight=-1), lambda c: c.update(workers="many")):
            bad = json.loads(json.dumps(good))
            spoil(bad)
            self.assertFalse(validator.is_valid(bad), bad)


@needs("slowhttptest")
@needs("nginx")
class Slow(SiteTest):
    """slowhttptest's attacks: every one of 300 connections is ended by us, and its own probe is served all the while."""

    @variants(("headers", ["-H"]), ("body", ["-B", "-s", "8192"]))
    def test_attack(self, mode):
        config = config_of(self.site, "n0")
        config["listeners"]["web"].update(head_timeout="2s", body_idle_timeout="2s")
        server = self.serve(config)
        done = run("slowhttptest", *mode, "-c", 300, "-r", 150, "-i", 5, "-l", 12, "-p", 2, "-u", f"http://127.0.0.1:{server.port}/", seconds=40)
        text = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
        self.assertIn("No open connections left", text, text[-1500:])
        self.assertNotRegex(text, "service available: +NO")
        self.assertRegex(text, "service available: +YES")


if __name__ == "__main__":
    unittest.main()
