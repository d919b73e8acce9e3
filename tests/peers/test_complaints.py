"""What users of other balancers complain of when they change things, by its number in docs/complaints.md."""

import json
import re
import socket
import threading
import unittest

from harness import PATIENCE, Client, Plimsoll, VariantTest, binary, free_port, merged, needs, variants, wait_until
from sites import Site, config_of, name_at, propose, restarted, served, status, wrk
from tools import EASY, apply, ask, certificates, run


def check(config, directory):
    file = directory / "checked.yaml"
    file.write_text(json.dumps(config, indent=1))
    return run(binary(), "check", file)


@needs("nginx")
@needs("curl")
@needs("wrk")
class OneBadObject(VariantTest):
    """1 and 2: a change is applied as a whole or not at all, and the answer says which, and why, by file and line."""

    @classmethod
    def setUpClass(cls):
        cls.site = Site("n0", "n1", "n2")
        cls.site.__enter__()
        cls.addClassCleanup(cls.site.__exit__)
        cls.taken = socket.create_server(("127.0.0.1", 0))
        cls.addClassCleanup(cls.taken.close)
        config = config_of(cls.site, "n0")
        config["pools"]["shop"] = dict(config["pools"]["web"], endpoints=cls.site.endpoints("n1"))
        config["routes"].insert(0, {"name": "shop", "match": {"host": "shop.example"}, "pool": "shop"})
        cls.server = Plimsoll(config).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def old_serves(self):
        self.assertEqual((name_at(self.server).body, name_at(self.server, Host="shop.example").body), ("n0", "n1"))
        self.assertEqual((name_at(self.server, Host="new.example").body, name_at(self.server, "/new").body), ("n0", "n0"))

    def changed(self):
        """A good change of three objects: a route, a pool, and which pool a host has."""
        config = json.loads(json.dumps(self.server.config))
        config["pools"]["new"] = dict(config["pools"]["web"], endpoints=self.site.endpoints("n2"))
        config["routes"].insert(0, {"name": "new", "match": {"path": "/new"}, "pool": "new"})
        config["routes"].insert(0, {"name": "host", "match": {"host": "new.example"}, "pool": "new"})
        return config

    BAD = [
        ("port_name", "P108", lambda c: c["pools"]["new"]["endpoints"][0].update(address="127.0.0.1:http")),  # traefik#6614
        ("empty_host", "P108", lambda c: c["routes"].insert(0, {"name": "x", "match": {"host": ""}, "pool": "web"})),  # traefik#7679
        ("unknown_key", "P104", lambda c: c["routes"][0].update(retires=3)),
        ("unclosed_regex", "P108", lambda c: c["routes"].insert(0, {"name": "x", "match": {"path_regex": "/("}, "pool": "web"})),  # ingress-nginx#13351
        ("duplicate_name", "P201", lambda c: c["routes"].insert(0, dict(c["routes"][0]))),
        ("listener_without_routes_to", "P108", lambda c: c["listeners"].update(other={"address": "127.0.0.1"})),  # envoy#11096
        ("header_of_two_lines", "P108", lambda c: c["routes"][0].update(response_headers={"set": {"X": "a\r\nb"}})),
    ]

    @variants(*BAD)
    def test_complaint_01_one_bad_object(self, code, spoil):
        config = self.changed()
        spoil(config)
        before = status(self.server)
        done = propose(self.server, config)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, rf"change\.yaml:\d+(:\d+)?: error {code}-", "file, line and code")
        after = status(self.server)
        self.assertEqual((after["active"], after["digest"]), (before["active"], before["digest"]))
        self.old_serves()

    def test_complaint_01_a_bad_file_does_not_start_and_says_all(self):
        config = self.changed()
        config["admin"]["address"] = f"127.0.0.1:{free_port()}"
        config["listeners"]["web"]["address"] = f"127.0.0.1:{free_port()}"
        for _, _, spoil in self.BAD[:3]:
            spoil(config)
        file = self.server.directory / "bad.yaml"
        file.write_text(json.dumps(config, indent=1))
        done = run(binary(), "serve", "-c", file, "--state", self.server.directory / "other-state")
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(len(re.findall(r"bad\.yaml:\d+(?::\d+)?: error P1", done.stdout + done.stderr)), 3, done.stdout + done.stderr)

    @variants(("certificate_file", lambda self, c: c.update(
                  certificates={"x": {"chain": "/nowhere/x.pem", "key": "/nowhere/x.key"}},
                  listeners=dict(c["listeners"], tls={"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["x"]}})), "x.pem"),
              ("authority_file", lambda self, c: c["pools"]["new"].update(tls={"server_name": "n2", "ca": "/nowhere/ca.pem"}), "ca.pem"),
              ("port_that_is_taken", lambda self, c: c["listeners"].update(
                  other={"address": f"127.0.0.1:{self.taken.getsockname()[1]}"}), "other"))
    def test_complaint_02_all_or_nothing(self, spoil, named):
        """What only shows when it is applied: nothing of the change remains, and the answer is not success."""
        config = self.changed()
        spoil(self, config)
        before = status(self.server)
        with wrk(self.server) as load:
            done = propose(self.server, config)
        served(load)
        said = done.stdout + done.stderr
        self.assertIn(done.returncode, (3, 4), said)
        self.assertIn(named, said, "the object is named")
        self.assertRegex(said, "(?i)rejected|rolled back|undone|aborted", "what became of it")
        wait_until("the old revision is in force", lambda: status(self.server)["candidate"] == 0)
        after = status(self.server)
        self.assertEqual((after["active"], after["digest"]), (before["active"], before["digest"]))
        self.old_serves()

    def test_complaint_02_success_means_in_force_everywhere(self):
        """When apply says 0, every connection has all of it: old ones, new ones, on every worker."""
        kept = [Client(self.server.port) for _ in range(8)]
        for client in kept:
            self.addCleanup(client.close)
            self.assertEqual(client.get("/new").body, b"n0")
        for path in ("/new", "/gone"):
            config = self.changed()
            config["routes"][1]["match"]["path"] = path
            with wrk(self.server):
                done = propose(self.server, config)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertEqual({client.get(path).body for client in kept}, {b"n2"})
                for _ in range(20):
                    with Client(self.server.port) as client:
                        self.assertEqual(client.get(path).body, b"n2")
            self.assertIn("is last known good", done.stdout)
        apply(self.server, {})  # what the other tests begin with
        self.old_serves()


@needs("nginx")
@needs("wrk")
@needs("openssl")
class Restarts(unittest.TestCase):
    """3: what was accepted comes up again after kill -9, from the state alone; and 1 and 3 for files that change later."""

    def test_complaint_03_a_file_that_is_broken_later_stops_no_restart(self):
        """The unit names the file for ever; it is for the first start. A half-written one must not keep a server down."""
        with Site("n0") as site, Plimsoll(config_of(site, "n0")) as server:
            for broken in ("listeners: [", "pools: {web: {polciy: x}}", ""):
                server.process.kill()
                server.process.wait()
                server.config_file.write_text(broken)
                server.start()
                self.assertEqual(name_at(server).body, "n0")
                self.assertRegex(server.stderr(), r"plimsoll\.yaml was not taken; r1, which is active, serves")

    def test_complaint_03_accepted_changes_start_again(self):
        made = certificates()
        with Site("n0", "n1") as site, Plimsoll(config_of(site, "n0")) as server:
            found = server.directory / "found.yaml"
            found.write_text(json.dumps(site.endpoints("n1")))
            chain, key = made.leaf("restart", "restart.example")
            changes = [
                {"pools": {"web": {"endpoints": site.endpoints("n0", "n1")}}},
                {"routes": [{"name": "only", "pool": "web", "response_headers": {"set": {"X-Quote": "\"'\\: {}#%"}}}]},
                {"certificates": made.section(r=(chain, key)),
                 "listeners": {"tls": {"address": f"127.0.0.1:{free_port()}", "tls": {
                     "certificates": ["r"], "client_auth": "optional", "client_ca": str(made.ca)}}}},
                {"pools": {"web": {"discovery": {"type": "file", "file": str(found)}, "endpoints": site.endpoints("n0")}}},
                {"pools": {"inner": {"endpoints": site.endpoints("n1"), "health": "off",
                                     "tls": {"server_name": "inner", "ca": str(made.ca)}}}},
                {"access_log": str(server.directory / "another.log")},
            ]
            for change in changes:
                apply(server, change)
                before = status(server)
                restarted(server)
                after = status(server)
                self.assertEqual((after["digest"], after["active"]), (before["digest"], before["active"]), change)
                self.assertEqual(name_at(server).status, 200)
            self.assertIn("X-Quote", ask("-i", f"http://127.0.0.1:{server.port}/").body)
            secure = server.port_of("tls")
            self.assertEqual(ask("--cacert", made.ca, "--resolve", f"restart.example:{secure}:127.0.0.1", f"https://restart.example:{secure}/").status, 200)

    def test_complaint_03_what_is_refused_is_not_met_at_the_restart(self):
        """gateway#9198: new instances could not load what old ones had refused. What was refused is not in the state."""
        with Site("n0") as site, Plimsoll(config_of(site)) as server:
            bad = merged(server.config, {"certificates": {"x": {"chain": "/nowhere/x.pem", "key": "/nowhere/x.key"}}})
            for config in (bad, "routes: [", merged(server.config, {"routes": [{"name": "a", "pool": "nobody"}]})):
                self.assertEqual(propose(server, config).returncode, 3)
            digest = status(server)["digest"]
            restarted(server)
            self.assertEqual((status(server)["digest"], name_at(server).body), (digest, "n0"))

    def test_complaint_03_a_change_under_way_does_not_come_back_by_a_restart(self):
        slow = dict(EASY, min_step="60s", max_step="120s")
        with Site("n0", "n1") as site, Plimsoll(config_of(site, "n0", guard=slow)) as server:
            digest = status(server)["digest"]
            config = merged(server.config, {"pools": {"web": {"endpoints": site.endpoints("n1")}}})
            with wrk(server):
                worker = threading.Thread(target=propose, args=(server, config), daemon=True)
                worker.start()
                wait_until("it is under way", lambda: status(server)["share"] > 0, 20)
                restarted(server)
                worker.join(20)
            self.assertEqual((status(server)["digest"], status(server)["candidate"]), (digest, 0))
            self.assertEqual({name_at(server).body for _ in range(10)}, {"n0"})

    def test_complaint_03_a_first_start_that_failed_binds_nobody(self):
        """What could not serve is not what the next start must serve: the mended file is."""
        with Site("n0") as site, socket.create_server(("127.0.0.1", 0)) as taken:
            config = config_of(site)
            config["listeners"]["other"] = {"address": f"127.0.0.1:{taken.getsockname()[1]}"}
            server = Plimsoll(config)
            done = run(binary(), "serve", "-c", server.config_file, "--state", server.state)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, "listener other: ")
            config["listeners"].pop("other")
            server.config_file.write_text(json.dumps(config))
            with server:
                self.assertEqual((name_at(server).body, status(server)["digest"] != ""), ("n0", True))
                self.assertNotIn("other", name_at(server, "/").body + server.admin(path=f"/v1/revisions/{status(server)['active']}")[2].decode())

    def test_complaint_01_one_bad_renewal_does_not_stop_the_others(self):
        """Two certificates of one listener: the renewal of one is broken, that of the other is taken; then a restart."""
        made = certificates()
        pairs = {name: made.leaf(f"renewed-{name}", f"{name}.example") for name in ("broken", "good")}
        with Site("n0") as site:
            config = config_of(site)
            config["certificates"] = made.section(**pairs)
            config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": list(pairs)}}
            with Plimsoll(config) as server:
                def serial(name):
                    said = run("openssl", "s_client", "-connect", f"127.0.0.1:{server.port_of('secure')}", "-servername", f"{name}.example", stdin="").stdout
                    return run("openssl", "x509", "-noout", "-subject", "-serial", stdin=said).stdout if "BEGIN CERTIFICATE" in said else ""
                before = {name: serial(name) for name in pairs}
                pairs["broken"][1].write_text("half a key")
                made.leaf("renewed-good", "good.example")  # the same files
                wait_until("the good one is renewed", lambda: serial("good") != before["good"], 25 * PATIENCE, 0.3)
                self.assertEqual(serial("broken"), before["broken"], "and what serves stays")
                restarted(server)
                self.assertIn("good.example", serial("good"))
                made.leaf("renewed-broken", "broken.example")  # mended: it comes back by itself
                wait_until("the other one too", lambda: "broken.example" in serial("broken"), 25 * PATIENCE, 0.3)

    def lost(self, lose):
        """A server whose accepted configuration has one file that is lost afterwards, after a restart."""
        made = certificates()
        pairs = {name: made.leaf(f"lost-{name}", f"{name}.example") for name in ("kept", "lost")}
        with Site("n0") as site:
            config = config_of(site)
            config["certificates"] = made.section(**pairs)
            for name in pairs:
                config["listeners"][name] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": [name]}}
            with Plimsoll(config) as server:
                lose(*pairs["lost"])
                server.config["listeners"].pop("lost")  # start() waits for the others
                restarted(server)
                self.assertEqual(name_at(server).body, "n0")
                kept = server.port_of("kept")
                self.assertEqual(ask("--cacert", made.ca, "--resolve", f"kept.example:{kept}:127.0.0.1", f"https://kept.example:{kept}/").body, "n0")
                self.assertRegex(server.stderr(), "lost", "and it is said")

    def test_complaint_03_a_certificate_lost_since_does_not_stop_the_others(self):
        self.lost(lambda chain, key: chain.unlink())

    def test_complaint_03_half_a_renewal_does_not_stop_the_others(self):
        self.lost(lambda chain, key: key.write_text("half a key"))


def of_pool(change):
    return lambda c: c["pools"]["web"].update(change)


@needs("nginx")
@needs("curl")
class ValidButWrong(VariantTest):
    """4: what is syntactically right and cannot be meant is refused with the place; what is unusual and right serves as written."""

    @classmethod
    def setUpClass(cls):
        cls.site = Site("n0", "n1", "n2")
        cls.site.__enter__()
        cls.addClassCleanup(cls.site.__exit__)
        cls.server = Plimsoll(config_of(cls.site)).start()
        cls.addClassCleanup(lambda: cls.server.stop())

    def split(self, *weights):
        config = json.loads(json.dumps(self.server.config))
        for name in ("n0", "n1", "n2"):
            config["pools"][name] = dict(config["pools"]["web"], endpoints=self.site.endpoints(name))
        config["routes"] = [{"name": "split", "split": [{"pool": f"n{i}", "weight": weight} for i, weight in enumerate(weights)]}]
        return config

    def refused(self, config, code, place):
        checked = check(config, self.server.directory)
        self.assertNotEqual(checked.returncode, 0)
        self.assertRegex(checked.stdout + checked.stderr, rf"checked\.yaml:\d+:\d+: error {code}\S*: {re.escape(place)}")
        digest = status(self.server)["digest"]
        done = propose(self.server, config)
        self.assertEqual(done.returncode, 3, done.stdout + done.stderr)
        self.assertIn(code, done.stdout + done.stderr)
        self.assertEqual(status(self.server)["digest"], digest)

    @variants(("negative", (1000, -200), "P107", "routes[0].split[1].weight"),  # osm#3615, smi-spec#235
              ("total_zero", (0, 0), "P205", "routes[0].split"),  # osm#2121
              ("beyond_the_largest", (1, 1000001), "P107", "routes[0].split[1].weight"),
              ("not_a_number", (1, "many"), "P106", "routes[0].split[1].weight"))
    def test_complaint_04_split_weights_refused(self, weights, code, place):
        self.refused(self.split(*weights), code, place)

    @variants(("negative", -1, "P107"), ("all_zero", 0, "P205"))
    def test_complaint_04_endpoint_weights_refused(self, weight, code):
        config = json.loads(json.dumps(self.server.config))
        for endpoint in config["pools"]["web"]["endpoints"]:
            endpoint["weight"] = weight
        self.refused(config, code, "pools.web.endpoints")

    @variants(("route", lambda c: c["routes"][0].update(pool="nobody"), "routes[0].pool"),  # contour#4834, consul#21587
              ("split", lambda c: c.update(routes=[{"name": "x", "split": [{"pool": "web"}, {"pool": "nobody"}]}]), "routes[0].split[1].pool"),
              ("mirror", lambda c: c["routes"][0].update(mirror={"pool": "nobody"}), "routes[0].mirror.pool"),
              ("tcp", lambda c: c["listeners"].update(raw={"address": "127.0.0.1:1", "protocol": "tcp", "tcp": [{"pool": "nobody"}]}),
               "listeners.raw.tcp[0].pool"),
              ("certificate", lambda c: c["pools"]["web"].update(tls={"certificate": "nobody"}), "pools.web.tls.certificate"),
              ("listener", lambda c: c["routes"][0].update(match={"listeners": ["nobody"]}), "routes[0].match.listeners[0]"))
    def test_complaint_04_dangling_reference(self, spoil, place):
        config = json.loads(json.dumps(self.server.config))
        spoil(config)
        self.refused(config, "P203", place)

    @variants(("not_dividing_10000", (3, 7, 11)), ("more_than_a_thousand", (1000, 200, 0)), ("tiny", (0.5, 0.25, 0.25)))  # consul#16455
    def test_complaint_04_any_weights_are_proportions(self, weights):
        config = self.split(*weights)
        config["admin"]["address"], config["listeners"]["web"]["address"] = (f"127.0.0.1:{free_port()}" for _ in range(2))
        config.pop("access_log")
        with Plimsoll(config) as server, Client(server.port) as client:
            got = [client.get("/").body.decode() for _ in range(3000)]
        for index, weight in enumerate(weights):
            wanted = 3000 * weight / sum(weights)
            self.assertLessEqual(abs(got.count(f"n{index}") - wanted), 5 * max(wanted, 1) ** 0.5 * (weight > 0), (weights, index))

    def test_complaint_04_a_rewrite_does_not_reach_the_choice_of_the_pool(self):
        """haproxy#2926: a path was rewritten before the rule that tests it. Here conditions see what the client sent."""
        config = self.split(1)
        config["routes"] = [
            {"name": "api", "match": {"path_prefix": "/api"}, "pool": "n1", "rewrite": {"path_prefix": "/v2"}},
            {"name": "v2", "match": {"path_prefix": "/v2"}, "pool": "n2"}, {"name": "rest", "pool": "n0"}]
        config["admin"]["address"], config["listeners"]["web"]["address"] = (f"127.0.0.1:{free_port()}" for _ in range(2))
        config.pop("access_log")
        with Plimsoll(config) as server:
            self.assertEqual([name_at(server, path).body for path in ("/api/x", "/v2/x", "/x")], ["n1", "n2", "n0"])
            told = run(binary(), "explain", "--server", server.admin_socket, f"http://127.0.0.1:{server.port}/api/x").stdout
            self.assertRegex(told, r"route +api")


if __name__ == "__main__":
    unittest.main()
