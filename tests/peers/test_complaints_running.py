"""Complaints about servers that run on and on, by number: many changes, open sockets, health, retries, edits that race, large files."""

import asyncio
import json
import os
import re
import subprocess
import threading
import time
import unittest

from harness import PATIENCE, Backend, Client, Plimsoll, binary, free_port, merged, needs, needs_module, plain_answer, wait_until
from sites import Site, config_of, name_at, propose, served, status, wrk
from test_websocket import EchoServer, websockets
from tools import EASY, apply, certificates, run

CHANGES = int(os.environ.get("PLIMSOLL_CHANGES", "110"))  # nginx-gateway-fabric#5524 had 136 reloads in ten minutes
SOCKETS = 40


@needs("nginx")
@needs("wrk")
@needs_module("websockets")
class ManyChanges(unittest.TestCase):
    """5 and 6: 110 changes, one more WebSocket after each, with certificates and 500 routes that every revision has."""

    def site(self, site, echo):
        config = config_of(site, workers=2)
        config["pools"]["echo"] = dict(config["pools"]["web"], endpoints=[{"name": "echo", "address": f"127.0.0.1:{echo.port}"}])
        config["routes"] = [{"name": "ws", "match": {"path": "/ws"}, "pool": "echo", "upgrades": ["websocket"]}]
        config["routes"] += [{"name": f"r{i}", "match": {"host": f"h{i}.example", "path_prefix": f"/{i}"}, "pool": "web"} for i in range(500)]
        config["routes"] += [{"name": "rest", "pool": "web"}]
        config["certificates"] = certificates().section(many=certificates().leaf("many", "many.example"))
        config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["many"]}}
        return config

    def test_complaint_05_06_old_revisions_go_and_sockets_stay(self):
        echo = EchoServer("echo")
        self.addCleanup(echo.stop)
        with Site("n0", "n1") as site, Plimsoll(self.site(site, echo)) as server:
            asyncio.run(self.live(server, site, echo))

    async def live(self, server, site, echo):
        async def connect():
            ws = await websockets.connect(f"ws://127.0.0.1:{server.port}/ws", ping_interval=None, open_timeout=30 * PATIENCE)
            await ws.recv()
            return ws

        async def all_speak(word):
            for index, ws in enumerate(sockets):
                await ws.send(f"{word} {index}")
            for index, ws in enumerate(sockets):
                self.assertEqual(await asyncio.wait_for(ws.recv(), 20 * PATIENCE), f"{word} {index}")
        sockets = [await connect() for _ in range(SOCKETS)]
        first, threads, rss = len(sockets), self.threads(server), []
        begun = time.monotonic()
        with wrk(server) as load:
            for number in range(CHANGES):
                weights = [1 + number % 3, 1 + number % 2]
                endpoints = [dict(each, weight=weight) for each, weight in zip(site.endpoints(), weights)]
                await asyncio.to_thread(apply, server, {"pools": {"web": {"endpoints": endpoints}},
                                                        "routes": [dict(server.config["routes"][0]), *server.config["routes"][1:-1],
                                                                   {"name": f"rest{number % 2}", "pool": "web"}]}, False)
                sockets.append(await connect())
                rss.append(server.rss_kib())
                if number % 20 == 0:
                    await all_speak(number)
        seconds = time.monotonic() - begun
        requests = served(load)
        await all_speak("last")
        self.assertEqual(echo.open, first + CHANGES)
        self.assertEqual(self.threads(server), threads)
        # Every revision held would cost its 500 routes, about 0.3 MiB in all, on top of its share of certificates.
        settled, last = max(rss[CHANGES // 6:CHANGES // 3]), max(rss[-CHANGES // 6:])
        print(f"      {CHANGES} changes in {seconds:.0f} s under {len(sockets)} sockets, {requests} requests: "
              f"{settled >> 10} MiB after a third of them, {last >> 10} MiB after the last")
        self.assertLess(last - settled, 16 << 10, rss)
        for ws in sockets:
            self.assertTrue(ws.open, "a socket was closed")
        await asyncio.gather(*(ws.close() for ws in sockets))
        self.assertEqual({ws.close_code for ws in sockets}, {1000})

    def threads(self, server):
        with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"Threads:\s+(\d+)", file.read())[1])

    def test_complaint_05_certificates_of_old_revisions_go(self):
        """Each change brings a certificate of its own: those of the revisions before do not stay in memory."""
        made = certificates()
        pairs = [made.leaf(f"turn{i}", *[f"t{i}-{j}.turn.example" for j in range(400)]) for i in range(2)]
        with Site("n0") as site:
            config = config_of(site)
            names = [f"c{i}" for i in range(20)]
            for turn in range(2):
                config["certificates"] = made.section(**{name: pairs[turn] for name in names})
                config["listeners"]["secure"] = {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": names}}
            with Plimsoll(config) as server, wrk(server) as load:
                rss = []
                for number in range(18):
                    apply(server, {"certificates": made.section(**{name: pairs[number % 2] for name in names})}, False)
                    rss.append(server.rss_kib())
            served(load)
        settled, last = max(rss[4:9]), max(rss[-5:])
        print(f"      20 certificates exchanged 18 times: {settled >> 10} MiB after 9 changes, {last >> 10} MiB after the last")
        self.assertLess(last - settled, 8 << 10, rss)


class Held:
    """A server whose health check is answered only when told so; what else it is asked is answered and counted."""

    def __init__(self, name):
        self.name, self.may_answer, self.well = name, threading.Event(), True
        self.server = Backend()
        self.server.on("/healthz", self.health)
        self.endpoint = {"name": name, "address": f"127.0.0.1:{self.server.port}"}

    def health(self, connection, request):
        connection.reader.request_body(request)
        self.may_answer.wait(60)
        connection.send(plain_answer(request) if self.well else b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n")
        return True

    def took(self):
        return len([request for request in self.server.requests if request.target != "/healthz"])

    def probed(self):
        return len([request for request in self.server.requests if request.target == "/healthz"])

    def stop(self):
        self.may_answer.set()
        self.server.stop()


@needs("nginx")
@needs("wrk")
class Health(unittest.TestCase):
    """7: what is known of a server stays known over changes, and who is new gets nothing before its first check."""

    CHECK = {"path": "/healthz", "interval": "200ms", "timeout": "20s", "rise": 2, "fall": 2}

    def health_of(self, server, name):
        return next((each["health"] for each in status(server)["endpoints"] if each["name"] == name), None)

    def test_complaint_07_the_sick_one_gets_nothing_over_twelve_changes(self):
        with Site("n0", "n1", "bad", sick=("bad",)) as site:
            config = config_of(site, pools={"web": {"health": self.CHECK}})
            with Plimsoll(config) as server:
                wait_until("the checks have spoken", lambda: self.health_of(server, "bad") == "DOWN" and self.health_of(server, "n1") == "up", 20)
                before = site.took("bad")
                with wrk(server) as load:
                    for number in range(12):
                        endpoints = site.endpoints()
                        endpoints[0]["weight"] = 1 + number % 2
                        changes = {"pools": {"web": {"endpoints": endpoints if number % 3 else endpoints[::-1]}}}
                        if number % 4 == 3:
                            changes["pools"]["web"]["policy"] = ("round_robin", "least_request", "random")[number // 4]
                        apply(server, changes, False)
                        self.assertEqual(self.health_of(server, "bad"), "DOWN")
                        self.assertEqual(self.health_of(server, "n0"), "up")
                requests = served(load)
                self.assertEqual(site.took("bad") - before, 0, f"of {requests} requests")
                print(f"      12 changes, {requests} requests, none at the one that is down")

    def test_complaint_07_new_ones_get_nothing_before_their_first_check(self):
        """haproxy#3298, traefik#4544: three at once, whose first answer is slow; one of them is sick."""
        new = [Held("h0"), Held("h1"), Held("sick")]
        new[2].well = False
        self.addCleanup(lambda: [each.stop() for each in new])
        with Site("n0", "n1") as site:
            config = config_of(site, pools={"web": {"health": self.CHECK}})
            with Plimsoll(config) as server:
                wait_until("the checks have spoken", lambda: self.health_of(server, "n1") == "up", 20)
                with wrk(server) as load:
                    apply(server, {"pools": {"web": {"endpoints": site.endpoints() + [each.endpoint for each in new]}}}, False)
                    wait_until("they are being checked", lambda: all(each.probed() for each in new))
                    before = site.took("n0") + site.took("n1")
                    wait_until("a few thousand requests", lambda: site.took("n0") + site.took("n1") > before + 2000, 30 * PATIENCE)
                    self.assertEqual([each.took() for each in new], [0, 0, 0], "before the first check")
                    for each in new:
                        each.may_answer.set()
                    wait_until("those that are well have their part", lambda: min(new[0].took(), new[1].took()) > 20, 20 * PATIENCE)
                served(load)
                self.assertEqual(new[2].took(), 0, "the sick one never")


@needs("nginx")
@needs("h2load")
class Retries(unittest.TestCase):
    """18: retries cannot become the storm, and the budget does not die in it."""

    FAILING = "location /fails { return 503; }"

    def server(self, site, **retry):
        return Plimsoll(config_of(site, pools={"web": {"retry": {"attempts": 4, "on": ["status_5xx"], "min_per_second": 0, **retry}, "timeouts": {"connect": "5s"}}}))

    def load(self, server, requests, clients, streams):
        done = run("h2load", "-n", requests, "-c", clients, "-m", streams, f"http://127.0.0.1:{server.port}/fails", seconds=90)
        self.assertIn(f"{requests} done", done.stdout, done.stdout)
        self.assertRegex(done.stdout, rf" {requests} 5xx")

    def test_complaint_18_four_hundred_at_once_are_not_eight_hundred(self):
        """envoy#30205: 1,000 requests that fail at the same time all passed the budget, since each waited to retry."""
        with Site("n0", "n1", locations=self.FAILING) as site, self.server(site) as server:
            self.load(server, 400, 10, 40)
            sent = site.took("n0") + site.took("n1")
            print(f"      400 failing requests at once: {sent} attempts")
            self.assertLessEqual(sent, 480)
            self.assertGreaterEqual(sent, 400)

    def test_complaint_18_the_budget_lasts_while_failures_do(self):
        """envoy-mobile#811: the budget shrank as failures rose. A fifth is a fifth also when everything fails."""
        with Site("n0", "n1", locations=self.FAILING) as site, self.server(site) as server:
            last = 0
            for turn in range(3):
                self.load(server, 3000, 4, 4)
                sent = site.took("n0") + site.took("n1")
                extra, last = sent - last - 3000, sent
                print(f"      3,000 failing requests, turn {turn + 1}: {extra} retries")
                self.assertLessEqual(extra, 600 + 15)
                self.assertGreaterEqual(extra, 600 - 60)


@needs("nginx")
@needs("wrk")
class Races(unittest.TestCase):
    """19: an edit that races a change is refused or kept, never lost; what a change says beats what was carried over."""

    def test_complaint_19_two_at_once(self):
        with Site("n0", "n1") as site, Plimsoll(config_of(site, "n0")) as server:
            configs = [merged(server.config, {"routes": [{"name": f"by{i}", "pool": "web", "response_headers": {"set": {"X-By": str(i)}}}]}) for i in range(4)]
            for i, config in enumerate(configs):
                (server.directory / f"by{i}.yaml").write_text(json.dumps(config))
            with wrk(server) as load:
                running = [subprocess.Popen([binary(), "apply", "--server", server.admin_socket, "-m", "a race", server.directory / f"by{i}.yaml"],
                                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for i in range(4)]
                said = [each.communicate(timeout=60)[0] for each in running]
            served(load)
            codes = [each.returncode for each in running]
            self.assertEqual(sorted(set(codes)), [0, 6], said)
            with Client(server.port) as client:
                by = client.get("/").get("X-By")
            self.assertEqual(codes[int(by)], 0, f"{by} serves, but was told {codes}")

    def test_complaint_19_a_stale_base_is_refused(self):
        with Site("n0", "n1") as site, Plimsoll(config_of(site, "n0")) as server:
            base = status(server)["digest"]
            mine = merged(server.config, {"routes": [{"name": "mine", "pool": "web"}]})
            apply(server, {"pools": {"web": {"endpoints": site.endpoints()}}})
            theirs = status(server)["digest"]
            done = propose(server, mine, "--base", base)
            self.assertEqual(done.returncode, 6, done.stdout + done.stderr)
            self.assertRegex(done.stdout + done.stderr, "stale")
            self.assertEqual(status(server)["digest"], theirs)
            with wrk(server):
                self.assertEqual(propose(server, dict(mine, pools=server.config["pools"]), "--base", theirs).returncode, 0)

    def test_complaint_19_what_the_change_says_beats_what_was_known(self):
        """haproxy#2103: state that was carried over put an old port back. Another port, weight 0, and a new check count at once."""
        with Site("old", "new", "n1") as site:
            config = config_of(site, "old", "n1")
            with Plimsoll(config) as server:
                moved = dict(site.endpoints("new")[0], name="old")  # the same name, another port
                apply(server, {"pools": {"web": {"endpoints": [moved, *site.endpoints("n1")]}}})
                before = site.took("old")
                self.assertEqual({name_at(server).body for _ in range(12)}, {"new", "n1"})
                self.assertEqual(site.took("old"), before)
                apply(server, {"pools": {"web": {"endpoints": [moved, *site.endpoints("n1", weight=0)]}}})
                self.assertEqual({name_at(server).body for _ in range(12)}, {"new"})

    def test_complaint_19_found_servers_change_while_a_change_is_under_way(self):
        """jcmoraisjr/haproxy-ingress#1243: the edit landed in the process that was dying. ray#66157: a stale list came back."""
        slow = dict(EASY, min_step="1500ms")
        with Site("n0", "n1", "n2") as site:
            config = config_of(site, "n0", guard=slow)
            with Plimsoll(config) as server:
                found = server.directory / "found.yaml"
                found.write_text(json.dumps(site.endpoints("n1")))
                apply(server, {"pools": {"web": {"discovery": {"type": "file", "file": str(found), "refresh": "100ms"}}}})
                self.assertEqual({name_at(server).body for _ in range(12)}, {"n0", "n1"})
                with wrk(server) as load:
                    config = merged(server.config, {"routes": [{"name": "next", "pool": "web"}]})
                    change = threading.Thread(target=lambda: said.append(propose(server, config)))
                    said = []
                    change.start()
                    wait_until("it is under way", lambda: status(server)["share"] > 0, 20)
                    found.write_text(json.dumps(site.endpoints("n2")))  # in the middle of it
                    change.join(60)
                served(load)
                self.assertEqual(said[0].returncode, 0, said[0].stdout)
                wait_until("n2 has come and n1 is gone", lambda: {name_at(server).body for _ in range(12)} == {"n0", "n2"}, 20)
                server.process.kill()
                server.process.wait()
                server.start()
                self.assertEqual({name_at(server).body for _ in range(12)}, {"n0", "n2"}, "after a restart too")


@needs("nginx")
@needs("wrk")
class Cost(unittest.TestCase):
    """20: a change of a thousand routes is no event for those who are being served, and is in force when it says so."""

    ROUTES = 1000

    def large(self, config, count, pool):
        routes = [{"name": f"r{i}", "match": {"host": f"h{i}.example"}, "pool": pool} for i in range(count)]
        return merged(config, {"routes": routes + [{"name": "rest", "pool": "web"}]})

    def test_complaint_20_a_thousand_routes_under_load(self):
        with Site("n0", "n1") as site:
            config = config_of(site, "n0", workers=2)
            config["pools"]["other"] = dict(config["pools"]["web"], endpoints=site.endpoints("n1"))
            with Plimsoll(config) as server:
                with wrk(server) as quiet:
                    time.sleep(4)
                took = []
                with wrk(server) as busy:
                    for pool in ("other", "web", "other"):
                        begun = time.monotonic()
                        done = propose(server, self.large(server.config, self.ROUTES, pool), seconds=90)
                        took.append(time.monotonic() - begun)
                        self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr)
                        with Client(server.port) as client:  # at once: 0 means in force
                            client.send(b"GET / HTTP/1.1\r\nHost: h%d.example\r\n\r\n" % (self.ROUTES - 1))
                            self.assertEqual(client.response().body.decode(), "n1" if pool == "other" else "n0")
                    self.assertEqual(status(server)["candidate"], 0)
                p99 = [re.search(r"99%\s+(\S+)", load.said)[1] for load in (quiet, busy)]
                longest = [re.search(r"Latency\s+\S+\s+\S+\s+(\S+)", load.said)[1] for load in (quiet, busy)]
                print(f"      {self.ROUTES} routes, three times: {', '.join(f'{each:.1f} s' for each in took)}; {served(quiet)} and {served(busy)} requests, "
                      f"none failed; p99 {p99[0]} without and {p99[1]} with, longest {longest[0]} and {longest[1]}")

                def milliseconds(text):
                    return float(re.match(r"[0-9.]+", text)[0]) * {"us": 0.001, "ms": 1, "s": 1000}[re.search("[a-z]+$", text)[0]]
                self.assertLess(milliseconds(p99[1]), milliseconds(p99[0]) + 250 * PATIENCE, "the change steals from those who are served")


if __name__ == "__main__":
    unittest.main()
