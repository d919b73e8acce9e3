"""Memory is short: in a memory cgroup of its own, under clients that make it use memory, the server is never killed, says no by
name, and serves again as soon as they have left."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import unittest

from harness import PATIENCE, Client, Malformed, Plimsoll, base_config, free_port, wait_until
from tools import certificates

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_MIB = 128
ROUNDS = 3
ATTACK_S = 4.0  # and half as long after memory was short first
LONGEST_ATTACK_S = 20.0
HANG_S = 5.0 * PATIENCE  # a well-behaved client waits no longer for anything


class Group:
    """A memory cgroup with a limit, of whichever version can be written here. Raises SkipTest with the reason."""

    def __init__(self, limit):
        reasons = []
        for version, make in ((2, self._version2), (1, self._version1)):
            try:
                self.path, self.version = make(limit), version
                return
            except OSError as wrong:
                reasons.append(f"version {version}: {wrong}")
        raise unittest.SkipTest("no memory cgroup can be made: " + "; ".join(reasons))

    @staticmethod
    def _mounts(kind):
        for line in pathlib.Path("/proc/mounts").read_text().splitlines():
            _, where, what, options, *_ = line.split()
            if what == kind:
                yield pathlib.Path(where), options.split(",")

    @staticmethod
    def _own(pattern):
        return re.search(pattern, pathlib.Path("/proc/self/cgroup").read_text(), re.M)[1].lstrip("/")

    def _below(self, *parents):
        """Makes a group below the first of `parents` that takes one."""
        wrong = OSError("not mounted")
        for parent in parents:
            path = parent / f"plimsoll-test-{os.getpid()}"
            try:
                path.mkdir()
                return path
            except OSError as error:
                wrong = error
        raise wrong

    def _version2(self, limit):
        for root, _ in self._mounts("cgroup2"):
            if "memory" not in (root / "cgroup.controllers").read_text().split():
                raise OSError("the memory controller is not among cgroup.controllers")
            own = root / self._own(r"^0::(.*)$")
            for parent in (own.parent, own, root):
                with contextlib.suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text("+memory")
            path = self._below(own.parent, own, root)
            try:
                with contextlib.suppress(OSError):
                    (path / "memory.swap.max").write_text("0")
                (path / "memory.max").write_text(str(limit))
                return path
            except OSError:
                path.rmdir()
                raise
        raise OSError("not mounted")

    def _version1(self, limit):
        for root, options in self._mounts("cgroup"):
            if "memory" not in options:
                continue
            path = self._below(root / self._own(r"^\d+:(?:.*,)?memory(?:,.*)?:(.*)$"), root)
            try:
                (path / "memory.limit_in_bytes").write_text(str(limit))
                return path
            except OSError:
                path.rmdir()
                raise
        raise OSError("not mounted")

    @property
    def procs(self):
        return self.path / "cgroup.procs"

    def kills(self):
        file = self.path / ("memory.events" if self.version == 2 else "memory.oom_control")
        return int(re.search(r"^oom_kill (\d+)", file.read_text(), re.M)[1])

    def peak_mib(self):
        file = self.path / ("memory.peak" if self.version == 2 else "memory.max_usage_in_bytes")
        return int(file.read_text()) >> 20 if file.exists() else 0

    def usage_mib(self):
        return int((self.path / ("memory.current" if self.version == 2 else "memory.usage_in_bytes")).read_text()) >> 20

    def remove(self):
        wait_until("the group is empty", lambda: not self.procs.read_text(), 5)
        with contextlib.suppress(OSError):
            self.path.rmdir()


class GoodClient:
    """Asks every 50 ms, on a connection that it keeps for as long as it may. `seen`: (what it got, seconds)."""

    def __init__(self, port):
        self.port, self.seen, self.stop = port, [], threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        client = None
        while not self.stop.wait(0.05):
            begun = time.monotonic()
            try:
                client = client or Client(self.port, timeout=HANG_S)
                answer = client.get("/good")
                got = (answer.status, answer.get("X-Plimsoll-Cause"))
                if answer.get("Connection") == "close":
                    client = client.close()
            except TimeoutError:
                got, client = ("hang", None), client and client.close()
            except (OSError, EOFError) as error:
                got, client = ("ended", type(error).__name__), client and client.close()
            except Malformed as error:
                got, client = ("malformed", str(error)), client and client.close()
            self.seen.append((got, time.monotonic() - begun))

    def end(self):
        self.stop.set()
        self.thread.join()
        return self.seen


class Memory(unittest.TestCase):
    def serve(self, limit_mib, max_memory_mib=None):
        """A server in a group of `limit_mib`, or in ours with a limit of its own."""
        self.limit_mib = max_memory_mib or limit_mib
        self.allowed = max_memory_mib << 20 if max_memory_mib else (limit_mib << 20) - max((limit_mib << 20) // 10, min((limit_mib << 20) // 4, 16 << 20))
        self.group = None if max_memory_mib else Group(limit_mib << 20)
        if self.group:
            self.addCleanup(self.group.remove)
        ports = [free_port(), free_port()]  # the attackers', and one for the good client, so that it does not wait there
        for port in ports:
            self.assertEqual(self.start("backend", port).stdout.readline().strip(), "ready")
        section = certificates().section(site=certificates().leaf("memory", "t"))
        config = base_config(ports, {
            "workers": 2,
            "certificates": section,
            "listeners": {
                "web": {"idle_timeout": "60s", "head_timeout": "60s", "body_idle_timeout": "60s"},
                "secure": {"address": f"127.0.0.1:{free_port()}", "tls": {"certificates": ["site"]}, "idle_timeout": "60s"},
            },
            "pools": {"web": {"timeouts": {"per_try": "60s", "total": "60s", "idle": "60s"}}},
        })
        config["pools"]["good"] = {**config["pools"]["web"], "endpoints": config["pools"]["web"]["endpoints"][1:]}
        config["pools"]["web"]["endpoints"] = config["pools"]["web"]["endpoints"][:1]
        config["routes"] = [{"name": "good", "match": {"path": "/good"}, "pool": "good"}, {"name": "web", "pool": "web"}]
        if max_memory_mib:
            config["max_memory"] = f"{max_memory_mib}MiB"
        self.server = Plimsoll(config, cgroup_procs=self.group and self.group.procs).start()
        self.addCleanup(self.server.kill)
        self.pid = self.server.process.pid

    def start(self, *argv):
        process = subprocess.Popen([sys.executable, HERE / "memory_attacks.py", *map(str, argv)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        return process

    def peak_mib(self):
        if self.group:
            return self.group.peak_mib()
        return int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{self.pid}/status").read_text())[1]) >> 10

    def alive(self):
        if self.group:
            self.assertEqual(self.group.kills(), 0, f"the kernel killed it; the group's peak was {self.group.peak_mib()} MiB:\n{self.server.stderr()[-3000:]}")
        self.assertTrue(self.server.alive(), self.server.stderr()[-2000:])
        self.assertEqual(self.server.process.pid, self.pid)

    def serves_normally(self):
        try:
            with Client(self.server.port, timeout=HANG_S) as client:
                return all(client.get("/good").status == 200 for _ in range(20))
        except (OSError, EOFError):
            return False

    def attack(self, kind, count, limit_mib=LIMIT_MIB, listener="web", max_memory_mib=None):
        self.serve(limit_mib, max_memory_mib)
        for turn in range(ROUNDS):
            before = self.shed()
            good = GoodClient(self.server.port)
            attacker = self.start(kind, self.server.port_of(listener), count)
            begun = time.monotonic()
            until = begun + ATTACK_S
            while time.monotonic() < until:
                self.alive()
                time.sleep(0.1)
                if sum(self.shed()) == sum(before):  # a busy machine attacks slowly
                    until = min(time.monotonic() + ATTACK_S / 2, begun + LONGEST_ATTACK_S * PATIENCE)
            during = self.shed()
            attacker.stdin.close()
            told = json.loads(attacker.stdout.readline())
            attacker.wait()
            left = time.monotonic()
            self.alive()
            try:
                wait_until("it serves normally again", self.serves_normally, 5 * PATIENCE, 0.05)
            except AssertionError as wrong:
                raise AssertionError(f"{wrong}\n{self.server.stderr()[-3000:]}") from None
            back = time.monotonic() - left
            seen = good.end()
            self.alive()
            after = self.shed()
            words = [word for (word, _), _ in seen]
            print(f"      {kind} {turn + 1}: {told['opened']} connections, {told['ended']} ended by the server; good client "
                  f"{words.count(200)} served, {words.count(503)} refused, {words.count('ended')} ended, at most "
                  f"{max(took for _, took in seen) * 1000:.0f} ms; peak {self.peak_mib()} of {self.limit_mib} MiB; normal again "
                  f"after {back * 1000:.0f} ms; {[int(b - a) for a, b in zip(before, after)]}", flush=True)
            self.assertLessEqual({got for got, _ in seen} - {(200, None), (503, "overloaded")},
                                 {("ended", "ConnectionResetError"), ("ended", "EOFError"), ("ended", "BrokenPipeError")})
            self.assertGreater(sum(during), sum(before), "the attack did not make memory short: it proves nothing")
        self.told()
        self.server.stop()

    def shed(self):
        """What pressure has done so far: refused connections, refused requests, ended connections."""
        metrics = self.server.metrics()
        return [metrics[f"plimsoll_memory_{what}_total"] for what in
                ("connections_refused", "requests_refused", "connections_ended")]

    def told(self):
        """An operator can see it: gauges, log, access log."""
        metrics = self.server.metrics()
        self.assertEqual(metrics["plimsoll_memory_limit_bytes"], self.allowed)
        self.assertGreater(metrics["plimsoll_memory_in_use_bytes"], 0)
        self.assertEqual(metrics["plimsoll_memory_short"], 0)
        cut = [line for line in self.server.log_lines() if line["cause"] == "overloaded"]
        self.assertGreater(len(cut), 0, "nothing of it is in the access log")
        self.assertLessEqual({line["status"] for line in cut}, {503, 200, 0}, "answered, begun, or cut before it could be")
        text = self.server.stderr()
        self.assertRegex(text, r"memory is short: \d+ MiB in use, \d+ MiB allowed")
        self.assertRegex(text, r"memory is enough again: \d+ MiB in use.*\d+ connections and \d+ requests refused, \d+ connections ended")

    def test_half_sent_heads(self):
        self.attack("heads", 6000)

    def test_uploads(self):
        self.attack("uploads", 3000)

    def test_slow_readers(self):
        self.attack("readers", 3500, 72)

    def test_slow_readers_http2(self):
        self.attack("http2_readers", 90, 72)

    def test_idle_tls(self):
        self.attack("tls", 3000, 36, "secure")

    def test_a_limit_of_its_own(self):
        """`max_memory`, without a group: the same, and the kernel would let it grow."""
        self.attack("heads", 6000, max_memory_mib=72)

    def test_somebody_else_in_the_group_takes_it(self):
        """What is not ours to give back is no reason to refuse for good."""
        self.serve(96)
        good = GoodClient(self.server.port)
        eat = 96 * 93 // 100 - self.group.usage_mib() - 3  # with the eater itself
        eater = subprocess.Popen([sys.executable, "-c", f"x = b'x' * ({eat} << 20); print('full', flush=True); open(0).read()"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: self.group.procs.write_text(str(os.getpid())))
        self.addCleanup(eater.stdout.close)
        self.addCleanup(eater.wait)
        self.addCleanup(eater.kill)
        self.assertEqual(eater.stdout.readline().strip(), "full")
        wait_until("memory is short", lambda: self.server.metrics()["plimsoll_memory_shortages_total"] > 0, 2)
        wait_until("it serves all the same", self.serves_normally, 5 * PATIENCE, 0.05)
        eater.stdin.close()
        eater.wait()
        wait_until("the limit is as before", lambda: self.server.metrics()["plimsoll_memory_limit_bytes"] == self.allowed, 5)
        self.assertLessEqual({got for got, _ in good.end()} - {(200, None), (503, "overloaded")},
                             {("ended", "ConnectionResetError"), ("ended", "EOFError"), ("ended", "BrokenPipeError")})
        self.alive()
        self.assertIn("no connection holds the memory that is in use", self.server.stderr())
        self.server.stop()


if __name__ == "__main__":
    unittest.main()
