"""Servers that fail, come, go and are found: levels, checks, panic, slow start, ejection, drain; DNS by dnsmasq."""

import collections
import re
import signal
import socket
import threading
import time
import unittest

from harness import PATIENCE, Client, Peer, Plimsoll, base_config, binary, free_port, needs, wait_until
from sites import Site, config_of, name_at, served, status, wrk
from tools import apply, ask, certificates, nginx, run


@needs("nginx")
@needs("wrk")
class Failover(unittest.TestCase):
    CHECK = {"path": "/healthz", "interval": "100ms", "timeout": "1s", "rise": 2, "fall": 2}

    def health(self, server, name):
        return next((each["health"] for each in status(server)["endpoints"] if each["name"] == name), None)

    def out_by(self, server, name):
        return next((each["out_by"] for each in status(server)["endpoints"] if each["name"] == name), None)

    def told(self, server, name, by, word, why, line):
        """status, metrics, explain and the log say who takes no requests, although no check holds it down, and why."""
        wait_until("the log says it", lambda: line in server.stderr())
        self.assertRegex(server.stderr(), rf"endpoint {name} of pool web {line}")
        told = status(server)
        self.assertEqual(self.out_by(server, name), by, told["text"])
        self.assertNotIn("share", [each["kind"] for each in told["signals"]], "who is out is not missed")
        self.assertRegex(told["text"], rf"web +{name} .* {word} \d+s")
        for labels, wanted in ((f'plimsoll_endpoint_out{{pool="web",endpoint="{name}"}}', 1), (f'plimsoll_endpoint_ejections_total{{pool="web",endpoint="{name}",by="{by}"}}', 1)):
            self.assertEqual(server.metrics().get(labels), wanted, labels)
        explained = run(binary(), "explain", "--server", server.admin_socket, f"http://127.0.0.1:{server.port}/").stdout
        self.assertRegex(explained, rf"{name} +- .*{why}")

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
                self.told(server, "bad", "failures", "EJECTED", "ejected after failures", "is ejected for 10s after failures in a row")
            self.assertEqual(statuses, {200: 395, 500: 5})
            self.assertEqual(len((bad.directory / "access.log").read_text().splitlines()), 5)

    def test_ejection_by_success_rate(self):
        """One of five fails half of the time, never ten times in a row: out, because the others do not."""
        with Site(*(f"good{i}" for i in range(4))) as good, nginx(
                "location / { if ($coin) { return 500; } return 200 flaky; }", http='split_clients "$request_id" $coin { 50% 1; * 0; }', log="$request_uri") as flaky:
            config = config_of(good, pools={"web": {"policy": "round_robin", "ejection": {
                "enabled": True, "consecutive": 1000, "success_rate": True, "min_requests": 20, "interval": "500ms"}}})
            config["pools"]["web"]["endpoints"].append({"name": "flaky", "address": f"127.0.0.1:{flaky.port}"})
            with Plimsoll(config) as server:
                with wrk(server, connections=2):
                    wait_until("it is out", lambda: self.out_by(server, "flaky") == "success_rate", 10 * PATIENCE)
                wait_until("nothing is on its way", lambda: sum(each["in_flight"] for each in status(server)["endpoints"]) == 0)
                before = len((flaky.directory / "access.log").read_text().splitlines())
                self.assertEqual(collections.Counter(name_at(server).status for _ in range(40)), {200: 40})
                self.assertEqual(len((flaky.directory / "access.log").read_text().splitlines()), before)
                self.assertEqual({self.out_by(server, f"good{i}") for i in range(4)}, {""})

    @needs("h2load")
    def test_zones_spill_in_proportion(self):
        """Two zones that send alike. Ours has a third of the healthy servers, so two thirds of ours stay; it has none, all go."""
        with Site("near", "far0", "far1") as site, Site("ill", sick=("ill",)) as ill:
            config = config_of(site, zone="a", pools={"web": {"zone_aware": True, "health": self.CHECK, "policy": "round_robin"}})
            config["pools"]["web"]["endpoints"] = [*site.endpoints("near", zone="a"), *ill.endpoints(zone="a"), *site.endpoints("far0", "far1", zone="b")]
            with Plimsoll(config) as server:
                wait_until("checked", lambda: (self.health(server, "ill"), self.health(server, "near")) == ("DOWN", "up"), 10)
                done = run("h2load", "--h1", "-n", 3000, "-c", 4, f"http://127.0.0.1:{server.port}/", seconds=60)
                self.assertIn("status codes: 3000 2xx", done.stdout)
                took = {name: site.took(name) for name in site.ports}
                print(f"      of 3,000: {took}")
                self.assertNotIn("share", [each["kind"] for each in status(server)["signals"]], "that is where they should go")
                self.assertEqual(sum(took.values()), 3000)
                self.assertTrue(1850 < took["near"] < 2150, took)
                self.assertTrue(400 < min(took["far0"], took["far1"]), took)

    def test_retry_after_of_an_answer_that_is_not_passed_on(self):
        """A server that says Retry-After: 20 is left alone, although its 503 was retried elsewhere and nobody saw it."""
        with Site("good") as good, nginx("location / { add_header Retry-After 20 always; return 503; }") as busy:
            config = config_of(good, pools={"web": {"policy": "round_robin", "ejection": {"enabled": True, "max_fraction": 0.5},
                                                    "retry": {"attempts": 2, "on": ["status_5xx"]}}})
            config["pools"]["web"]["endpoints"].append({"name": "busy", "address": f"127.0.0.1:{busy.port}"})
            with Plimsoll(config) as server, Client(server.port) as client:
                self.assertEqual({client.get("/").status for _ in range(100)}, {200})
                self.told(server, "busy", "retry_after", "PAUSED", "asked to be left alone", "is left alone for 20s")
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


def dnsmasq(hosts, *more):
    """dnsmasq as a Peer that knows @DIR@/hosts (read again at SIGHUP) and nothing else."""
    port = free_port()
    return Peer(["dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces",
                 "--addn-hosts=@DIR@/hosts", "--local-ttl=1", "--auth-ttl=1", "--user=root", "--pid-file=@DIR@/pid", "--local=/test/", *more], {"hosts": hosts}, port)


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@needs("dnsmasq")
@needs("nginx")
class Dns(unittest.TestCase):
    """Discovery by dnsmasq: A, AAAA and SRV, more and fewer of them, and a name server that goes away."""

    @unittest.skipUnless(has_ipv6(), "this machine has no IPv6 loopback")
    def test_aaaa(self):
        """A name with both kinds of address is all of them; a listener of version 6 serves them, by curl -6."""
        port = free_port()
        behind = nginx(http=f"server {{ listen 127.0.0.1:{port}; return 200 four; }} server {{ listen [::1]:{port}; return 200 six; }}")
        behind.port = port
        with behind, dnsmasq("127.0.0.1 both.test\n::1 both.test\n::1 six.test\n") as dns:
            def found(name):
                return {"policy": "round_robin", "endpoints": None, "discovery": {"type": "dns", "name": name, "port": port, "resolvers": [f"127.0.0.1:{dns.port}"]}}
            config = base_config([], {"pools": {"web": found("both.test")}})
            config["pools"]["six"] = dict(config["pools"]["web"], discovery=found("six.test")["discovery"])
            config["routes"].insert(0, {"name": "six", "match": {"path": "/six"}, "pool": "six"})
            config["listeners"]["six"] = {"address": f"[::1]:{free_port()}"}
            with Plimsoll(config) as server:
                def at(path):
                    return collections.Counter(ask("-6", "--noproxy", "*", f"http://[::1]:{server.port_of('six')}{path}").body for _ in range(8))
                wait_until("both are found", lambda: at("/") == {"four": 4, "six": 4})
                self.assertEqual(at("/six"), {"six": 8})

    def test_a_and_srv(self):
        port = free_port()
        addresses = [f"127.0.0.{i}" for i in range(2, 6)]
        servers = "".join(f"server {{ listen {each}:{port}; location / {{ return 200 {each[-1]}; }} }}" for each in addresses)
        behind = nginx(http=f"server {{ listen 127.0.0.1:{port}; return 200 1; }} {servers}")
        behind.port = port
        behind.start()
        self.addCleanup(behind.stop)
        names = "127.0.0.2 two.test\n127.0.0.3 three.test\n"
        with dnsmasq(names + "127.0.0.4 web.test\n127.0.0.5 web.test\n", f"--srv-host=_web._tcp.test,two.test,{port},0,3",
                     f"--srv-host=_web._tcp.test,three.test,{port},0,1") as peer:
            config = base_config([], {"pools": {"web": {"policy": "round_robin", "endpoints": None, "discovery": {
                "type": "dns", "name": "web.test", "port": port, "refresh": "200ms", "resolvers": [f"127.0.0.1:{peer.port}"]}}}})
            config["pools"]["srv"] = {"policy": "round_robin", "health": "off", "discovery": {
                "type": "srv", "name": "_web._tcp.test", "refresh": "200ms", "resolvers": [f"127.0.0.1:{peer.port}"]}}
            config["routes"].insert(0, {"name": "srv", "match": {"path": "/srv"}, "pool": "srv"})
            with Plimsoll(config) as server:
                def at(path="/", count=8):
                    return collections.Counter(name_at(server, path).body for _ in range(count))
                self.assertEqual(at(), {"4": 4, "5": 4})
                self.assertEqual(at("/srv"), {"2": 6, "3": 2}, "by the weights of SRV")
                explained = run(binary(), "explain", "--server", server.admin_socket, f"http://127.0.0.1:{server.port}/srv").stdout
                self.assertRegex(explained, rf"75.0% +127.0.0.2:{port}|127.0.0.2:{port} +75.0%", explained)
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
