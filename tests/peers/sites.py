"""What tests of changes share: NGINX as several servers, and an operator who applies, looks, restarts and keeps wrk running."""

import contextlib
import json
import re
import signal
import subprocess

from harness import base_config, binary, free_port
from tools import EASY, ask, nginx, run


class Site:
    """One NGINX that is several servers, each on its port: it says its name, and /healthz is well unless `sick`."""

    def __init__(self, *names, sick=(), locations=""):
        self.ports = {name: free_port() for name in names}
        self.peer = nginx(http="keepalive_requests 1000000; default_type text/plain; " + "".join(
            f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 {name}; }} {locations} "
            f"location /healthz {{ return {500 if name in sick else 200} {name}; }} }}" for name, port in self.ports.items()),
            log="$server_port $request_uri")
        self.peer.port = next(iter(self.ports.values()))

    def endpoints(self, *names, **more):
        return [dict({"name": name, "address": f"127.0.0.1:{self.ports[name]}"}, **more) for name in names or self.ports]

    def took(self, name):
        """Requests that this server has had, without health checks."""
        lines = (self.peer.directory / "access.log").read_text().splitlines()
        return len([line for line in lines if line.startswith(f"{self.ports[name]} ") and not line.endswith(" /healthz")])

    def __enter__(self):
        self.peer.start()
        return self

    def __exit__(self, *_):
        self.peer.stop()


def config_of(site, *names, **changes):
    config = base_config([], {"guard": EASY, **changes})
    config["pools"]["web"]["endpoints"] = config["pools"]["web"]["endpoints"] or site.endpoints(*names)
    return config


def propose(server, config, *options, seconds=60):
    """`plimsoll apply` of a configuration as an operator runs it; nothing is expected of it."""
    file = server.directory / "change.yaml"
    file.write_text(config if isinstance(config, str) else json.dumps(config, indent=1))
    return run(binary(), "apply", "--server", server.admin_socket, "-m", "a test", *options, file, seconds=seconds)


def status(server):
    return json.loads(server.admin(path="/v1/status")[2])


def name_at(server, path="/", **headers):
    return ask("--noproxy", "*", *(each for name, value in headers.items() for each in ("-H", f"{name}: {value}")),
               f"http://127.0.0.1:{server.port}{path}")


def restarted(server):
    """The same state after kill -9, without the file of the first start: nothing but the state can be served."""
    server.process.kill()
    server.process.wait()
    server.config_file.unlink(missing_ok=True)
    return server.start()


@contextlib.contextmanager
def wrk(server, path="/traffic", connections=4, listener="web"):
    """wrk beside what happens; afterwards `said` has its report."""
    class Load:
        said = ""
    process = subprocess.Popen(["wrk", "-t1", f"-c{connections}", "-d300s", "--latency", f"http://127.0.0.1:{server.port_of(listener)}{path}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    load = Load()
    try:
        yield load
    finally:
        process.send_signal(signal.SIGINT)  # it reports what it has
        load.said = process.communicate(timeout=30)[0]


def served(load):
    """Requests that wrk was given an answer 2xx or 3xx for; fails if any other happened."""
    if re.search("Socket errors|Non-2xx", load.said) or not re.search(r"(\d+) requests in", load.said):
        raise AssertionError(load.said)
    return int(re.search(r"(\d+) requests in", load.said)[1])
