"""Servers that fail, come, go and are found: levels, checks, panic, slow start, ejection, drain; DNS by dnsmasq."""

import collections
import re
import signal
import threading
import time
import unittest

from harness import PATIENCE, Client, Peer, Plimsoll, base_config, free_port, needs, wait_until
from sites import Site, config_of, name_at, served, status, wrk
from tools import apply, ask, certificates, nginx


@needs("nginx")
@needs("wrk")
class Failover(unittest.TestCase):
    CHECK = {"path": "/healthz", "interval": "100ms", "timeout": "1s", "rise": 2, "fall": 2}

    def health(self, server, name):
        return next((each["health"] for each in status(server)["endpoints"] if each["name"] == name), None)

    @staticmethod
    def bodies(server, count=12):
        return {name_at(server).body for _ in range(count)}

    def test_priority(self):
        """Level 1 takes over when NGINX of level 0 is gone, without one failed request, and gives back."""
        with Site("first") as first, Site("second") as second:
            config = config_of(first, pools={"web": {"health": self.CHECK}})
            config["pools"]["web"]["endpoints"] += second.endpoints(priority=1)
            with Plimsoll(config) as server:
                wait_until("checked", lambda: self.health(server, "second") == "up")
                self.assertEqual(self.bodies(server), {"first"})
                with wrk(server) as load:
                    first.peer.process.terminate()
                    first.peer.process.wait()
                    wait_until("noticed", lambda: self.health(server, "first") == "DOWN", 10 * PATIENCE)
                    self.assertEqual(self.bodies(server), {"second"})
                served(load)
                first.peer.output.close()
                first.peer.start()
                wait_until("it is back", lambda: self.bodies(server, 4) == {"first"}, 20)

    def test_tcp_checks(self):
        with Site("a") as a, Site("b") as b:
            config = config_of(a, pools={"web": {"health": {"type": "tcp", "interval": "100ms", "fall": 2}}})
            config["pools"]["web"]["endpoints"] += b.endpoints()
            with Plimsoll(config) as server:
                wait_until("checked", lambda: (self.health(server, "a"), self.health(server, "b")) == ("up", "up"))
                b.peer.process.terminate()
                b.peer.process.wait()
                wait_until("noticed", lambda: self.health(server, "b") == "DOWN", 10)
                self.assertEqual(self.bodies(server), {"a"})

    def test_panic(self):
        """Everybody down: with a threshold all are used, visibly; with 0 it is a 503 that says so."""
        with Site("s0", "s1", sick=("s0", "s1")) as site:
            for threshold, wanted in ((0.5, 200), (0, 503)):
                with Plimsoll(config_of(site, pools={"web": {"health": self.CHECK, "panic_threshold": threshold}})) as server:
                    wait_until("noticed", lambda: self.health(server, "s0") == self.health(server, "s1") == "DOWN", 10)
                    answer = ask("-i", f"http://127.0.0.1:{server.port}/")
                    self.assertEqual(answer.status, wanted, answer)
                    if wanted == 503:
                        self.assertRegex(answer.body, "(?i)x-plimsoll-cause: no_endpoint")
                    else:
                        wait_until("counted", lambda: sum(value for name, value in server.metrics().items() if "panic_picks" in name) > 0)

    def test_slow_start(self):
        """A server that comes back begins with a tenth of its part."""
        with Site("n0", "n1") as site, Site("late") as late:
            config = config_of(site, pools={"web": {"health": self.CHECK, "slow_start": "8s", "policy": "round_robin"}})
            config["pools"]["web"]["endpoints"] += late.endpoints()
            with Plimsoll(config) as server:
                wait_until("checked", lambda: self.health(server, "late") == "up")
                late.peer.process.terminate()
                late.peer.process.wait()
                wait_until("noticed", lambda: self.health(server, "late") == "DOWN", 10)
                time.sleep(2)

                def share(seconds):
                    def picks():
                        return {name: value for name, value in server.metrics().items() if "endpoint_picks" in name}
                    before = picks()
                    time.sleep(seconds)
                    made = {name: value - before.get(name, 0) for name, value in picks().items()}
                    return sum(n for name, n in made.items() if '"late"' in name) / max(sum(made.values()), 1)
                with wrk(server, connections=2) as load:
                    late.peer.output.close()
                    late.peer.start()
                    wait_until("it is back", lambda: self.health(server, "late") != "DOWN", 20)
                    early = share(1)
                    time.sleep(9)
                    later = share(1)
                served(load)
                print(f"      slow start over 8 s: {early:.1%} of the requests in the first second, {later:.1%} after 10 s")
                self.assertLess(early, 0.20)
                self.assertTrue(0.28 < later < 0.38, later)

    def test_ejection(self):
        """Five failures in a row, then nothing for ten seconds; clients lose only those that told."""
        with Site("good") as good, nginx("location / { return 500; }", log="$request_uri") as bad:
            config = config_of(good, pools={"web": {"policy": "round_robin", "ejection": {"enabled": True, "consecutive": 5, "max_fraction": 0.5}}})
            config["pools"]["web"]["endpoints"].append({"name": "bad", "address": f"127.0.0.1:{bad.port}"})
            with Plimsoll(config) as server, Client(server.port) as client:
                statuses = collections.Counter(client.get("/").status for _ in range(400))
            self.assertEqual(statuses, {200: 395, 500: 5})
            self.assertEqual(len((bad.directory / "access.log").read_text().splitlines()), 5)

    def test_retry_after_of_an_answer_that_is_not_passed_on(self):
        """A server that says Retry-After: 20 is left alone, although its 503 was retried elsewhere and nobody saw it."""
        with Site("good") as good, nginx("location / { add_header Retry-After 20 always; return 503; }") as busy:
            config = config_of(good, pools={"web": {"policy": "round_robin", "ejection": {"enabled": True, "max_fraction": 0.5},
                                                    "retry": {"attempts": 2, "on": ["status_5xx"]}}})
            config["pools"]["web"]["endpoints"].append({"name": "busy", "address": f"127.0.0.1:{busy.port}"})
            with Plimsoll(config) as server, Client(server.port) as client:
                self.assertEqual({client.get("/").status for _ in range(100)}, {200})
            self.assertEqual(len((busy.directory / "access.log").read_text().splitlines()), 1)

    @needs("openssl")
    def test_tls_pools_are_probed_by_tls_from_the_start(self):
        made = certificates()
        chain, key = made.leaf("probed", "probed.internal")
        with nginx("location / { return 200 secure; }", listen="listen 127.0.0.1:@PORT@ ssl;", server=f"ssl_certificate {chain}; ssl_certificate_key {key};",
                   log="$status $ssl_protocol $request_uri") as secure:
            config = base_config([secure.port], {"pools": {"web": {"tls": {"server_name": "probed.internal", "ca": str(made.ca)}, "health": self.CHECK}}})
            with Plimsoll(config) as server:
                wait_until("checked", lambda: self.health(server, "b0") == "up")
                self.assertEqual(name_at(server).body, "secure")
            lines = (secure.directory / "access.log").read_text().splitlines()
            probes = [line for line in lines if line.endswith("/healthz")]
            self.assertTrue(probes)
            self.assertEqual([line for line in lines if not re.match(r"200 TLSv1\.[23] ", line)], [], "something came without TLS")

    def test_drain(self):
        """Weight 0 under load: nothing fails, a long answer ends, and then nobody is there any more."""
        slow = "location /long { root @DIR@; limit_rate 200k; }"
        with nginx(slow + "location / { return 200 going; }", files={"long": "x" * 600_000}, log="$request_uri") as going, Site("stays") as stays:
            config = config_of(stays, pools={"web": {"policy": "round_robin"}})
            end = {"name": "going", "address": f"127.0.0.1:{going.port}"}
            config["pools"]["web"]["endpoints"].append(end)
            config["pools"]["long"] = dict(config["pools"]["web"], endpoints=[end])
            config["routes"].insert(0, {"name": "long", "match": {"path": "/long"}, "pool": "long"})
            with Plimsoll(config) as server:
                got = []
                download = threading.Thread(target=lambda: got.append(ask(f"http://127.0.0.1:{server.port}/long", seconds=30)))
                download.start()
                with wrk(server) as load:
                    apply(server, {}, False, {"pools.web.endpoints": [*stays.endpoints(), dict(end, weight=0)]})
                    apply(server, {}, False, {"routes": [{"name": "rest", "pool": "web"}]})
                    count = len((going.directory / "access.log").read_text().splitlines())
                    time.sleep(0.5)
                    self.assertLessEqual(len((going.directory / "access.log").read_text().splitlines()) - count, 1, "the long one at most")
                served(load)
                download.join()
                self.assertEqual((got[0].code, len(got[0].body)), (0, 600_000))


@needs("dnsmasq")
@needs("nginx")
class Dns(unittest.TestCase):
    """Discovery by dnsmasq: A and SRV, more and fewer of them, and a name server that goes away."""

    def test_a_and_srv(self):
        port, dns = free_port(), free_port()
        addresses = [f"127.0.0.{i}" for i in range(2, 6)]
        servers = "".join(f"server {{ listen {each}:{port}; location / {{ return 200 {each[-1]}; }} }}" for each in addresses)
        behind = nginx(http=f"server {{ listen 127.0.0.1:{port}; return 200 1; }} {servers}")
        behind.port = port
        behind.start()
        self.addCleanup(behind.stop)
        argv = ["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", f"--port={dns}", "--listen-address=127.0.0.1", "--bind-interfaces",
                "--addn-hosts=@DIR@/hosts", "--local-ttl=1", "--auth-ttl=1", "--user=root", "--pid-file=@DIR@/pid", f"--srv-host=_web._tcp.test,two.test,{port},0,3",
                f"--srv-host=_web._tcp.test,three.test,{port},0,1", "--local=/test/"]
        names = "127.0.0.2 two.test\n127.0.0.3 three.test\n"
        with Peer(argv, {"hosts": names + "127.0.0.4 web.test\n127.0.0.5 web.test\n"}, dns) as peer:
            config = base_config([], {"pools": {"web": {"policy": "round_robin", "endpoints": None, "discovery": {
                "type": "dns", "name": "web.test", "port": port, "refresh": "200ms", "resolvers": [f"127.0.0.1:{dns}"]}}}})
            config["pools"]["srv"] = {"policy": "round_robin", "health": "off", "discovery": {
                "type": "srv", "name": "_web._tcp.test", "refresh": "200ms", "resolvers": [f"127.0.0.1:{dns}"]}}
            config["routes"].insert(0, {"name": "srv", "match": {"path": "/srv"}, "pool": "srv"})
            with Plimsoll(config) as server:
                def at(path="/", count=8):
                    return collections.Counter(name_at(server, path).body for _ in range(count))
                self.assertEqual(at(), {"4": 4, "5": 4})
                self.assertEqual(at("/srv"), {"2": 6, "3": 2}, "by the weights of SRV")
                hosts = peer.directory / "hosts"
                hosts.write_text(names + "127.0.0.4 web.test\n127.0.0.3 web.test\n")
                peer.process.send_signal(signal.SIGHUP)
                wait_until("dnsmasq's new list", lambda: set(at()) == {"3", "4"}, 15)
                peer.process.terminate()
                peer.process.wait()
                time.sleep(1.5)
                self.assertEqual(set(at()), {"3", "4"}, "nobody is lost with the name server")


if __name__ == "__main__":
    unittest.main()
