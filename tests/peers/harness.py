"""End-to-end tests of the real binary: a server under test, scripted backends, raw clients, other people's peers.

Python 3.11, standard library only. Each test module is `tests/peers/test_*.py` or `tests/security/test_*.py`, plain
unittest, run by `tests/peers/run`. A module starts what it needs, on loopback, and stops it by process id.

Environment: PLIMSOLL_BUILD is the build directory whose `plimsoll` is tested (default build/dev of this tree).
"""

import contextlib
import copy
import http.client
import itertools
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE = float(os.environ.get("PLIMSOLL_TEST_PATIENCE", "1"))  # factor on waits: larger under sanitizers
WAIT_S = 5.0 * PATIENCE  # the longest wait for something that must happen


def build_dir():
    chosen = pathlib.Path(os.environ.get("PLIMSOLL_BUILD", "build/dev"))
    return chosen if chosen.is_absolute() else ROOT / chosen


def binary():
    path = build_dir() / "plimsoll"
    if not path.exists():
        raise RuntimeError(f"{path} is not built; PLIMSOLL_BUILD names the build directory")
    return str(path)


# ------------------------------------------------------------------------------------------------------------- ports

_next_port = itertools.count(20000 + os.getpid() * 211 % 12000)  # far from those of a process beside us


def free_port():
    """A loopback port nobody listens on, below the range from which the kernel takes clients' ports."""
    for port in _next_port:
        port = 20000 + (port - 20000) % 12000
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def wait_until(what, condition, seconds=WAIT_S, step=0.01):
    """Polls until `condition()` is true and gives its value; fails with `what` when it never is."""
    until = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds:.1f} s in vain: {what}")
        time.sleep(step)


# ------------------------------------------------------------------------------------------------------------ config


def merged(base, changes):
    """`base` with `changes` laid over it: sections are merged, everything else is replaced, None removes."""
    out = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merged(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


def base_config(backend_ports, changes=None):
    """The configuration every test starts from; the one place to follow when keys change. JSON is YAML."""
    config = {
        "listeners": {"web": {"address": f"127.0.0.1:{free_port()}"}},
        "routes": [{"name": "everything", "pool": "web"}],
        "pools": {
            "web": {
                "policy": "round_robin",
                "endpoints": [
                    {"name": f"b{i}", "address": f"127.0.0.1:{port}"} for i, port in enumerate(backend_ports)
                ],
                "health": "off",  # so that backends see the tests' bytes and nothing else
                "ejection": {"enabled": False},  # they misbehave on purpose
            }
        },
        "admin": {"address": f"127.0.0.1:{free_port()}"},
        "recording": {"enabled": False},
        "workers": 1,
    }
    return merged(config, changes or {})


_schema = None


def schema_has(key):
    """Whether the binary under test knows a configuration key; for features that come and go with versions."""
    global _schema
    if _schema is None:
        _schema = subprocess.run([binary(), "schema"], capture_output=True, text=True, check=True).stdout
    return f'"{key}"' in _schema


def trusting_peers(networks):
    """Listener settings that believe X-Forwarded-For when it comes from these networks."""
    return {"trusted_proxies": networks} if schema_has("trusted_proxies") else {"trust_forwarded": bool(networks)}


# ------------------------------------------------------------------------------------------------- server under test

_report = re.compile(r"Sanitizer|runtime error:|PLIMSOLL_ENSURE|terminate called|Assertion .* failed")


class Plimsoll:
    """One `plimsoll serve` with its own state directory."""

    def __init__(self, config, descriptors=None, address_space_mib=None, cgroup_procs=None):
        self.config = config
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll-test-"))
        self.state = self.directory / "state"
        self.access_log = self.directory / "access.log"
        self.config.setdefault("access_log", str(self.access_log))
        self.config_file = self.directory / "plimsoll.yaml"
        self.config_file.write_text(json.dumps(config, indent=1))
        self.descriptors = descriptors
        self.address_space_mib = address_space_mib
        self.cgroup_procs = cgroup_procs  # cgroup.procs of the group to live in, from the first byte of memory on
        self.process = None
        self.port = self.port_of("web") if "web" in config["listeners"] else None
        self.admin_port = int(config["admin"]["address"].rsplit(":", 1)[1])

    def port_of(self, listener):
        return int(self.config["listeners"][listener]["address"].rsplit(":", 1)[1])

    @property
    def admin_socket(self):
        return str(self.state / "admin.sock")

    def start(self):
        env = dict(os.environ)
        env["ASAN_OPTIONS"] = "exitcode=86:detect_leaks=1:" + env.get("ASAN_OPTIONS", "")
        env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1:exitcode=87:" + env.get("UBSAN_OPTIONS", "")
        env["TSAN_OPTIONS"] = "exitcode=88:" + env.get("TSAN_OPTIONS", "")

        def limits():  # in the child: a limit is easier to be born with than to be given
            if self.descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))
            if self.address_space_mib:
                resource.setrlimit(resource.RLIMIT_AS, (self.address_space_mib << 20,) * 2)
            if self.cgroup_procs:
                pathlib.Path(self.cgroup_procs).write_text(str(os.getpid()))

        with open(self.directory / "stdout", "wb") as out, open(self.directory / "stderr", "wb") as err:
            self.process = subprocess.Popen(
                [binary(), "serve", *(["-c", str(self.config_file)] if self.config_file.exists() else []), "--state", str(self.state)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, preexec_fn=limits,
            )
        wait_until("the server serves", self._serves, 20 * PATIENCE)
        return self

    def _serves(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.stderr()}")
        if not re.search(r"admin on ", self.stderr()):
            return False
        return all(can_connect(self.port_of(name), "::1" if listener["address"].startswith("[::") else "127.0.0.1")
                   for name, listener in self.config["listeners"].items())

    def stderr(self):
        return (self.directory / "stderr").read_text(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self):
        """Stops it in the orderly way. Fails if it had crashed, reported something or does not stop."""
        process, self.process = self.process, None
        if process is None:
            return
        died = process.poll()
        try:
            if died is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20 * PATIENCE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    raise AssertionError("the server did not stop within 20 s of SIGTERM") from None
            text = self.stderr()
            if died is not None:
                raise AssertionError(f"the server died during the test with {died}:\n{text[-4000:]}")
            if _report.search(text):
                raise AssertionError(f"the server reported a fault:\n{text[-8000:]}")
            if process.returncode != 0:
                raise AssertionError(f"the server ended with {process.returncode}:\n{text[-4000:]}")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.kill()

    # -- looking at it

    def admin(self, method="GET", path="/healthz", body=None, headers=None, timeout=WAIT_S):
        """(status, headers, body) of one call on the admin listener."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def admin_by_socket(self, path):
        """The body of a GET on the Unix socket, whose file's mode is the secret's."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(WAIT_S)
            connection.connect(self.admin_socket)
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        return answer.partition(b"\r\n\r\n")[2].decode()

    def metrics(self):
        """Prometheus page as {'name{labels}': value}."""
        values = {}
        for line in self.admin(path="/metrics")[2].decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def log_lines(self):
        """Access log so far: one dict a request. Written within 100 ms of the request's end."""
        if not self.access_log.exists():
            return []
        return [json.loads(line) for line in self.access_log.read_text().splitlines()]

    def log_line(self, condition):
        """The first line for which `condition` holds, as soon as it is written."""
        return wait_until("a line in the access log", lambda: next(filter(condition, self.log_lines()), None))

    def rss_kib(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def descriptors_open(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def can_connect(port, host="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


# ---------------------------------------------------------------------------------- an independent, strict HTTP/1 eye

_token = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_request_line = re.compile(rb"(" + _token + rb") ([\x21-\x7e]+) HTTP/1\.1")
_status_line = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
_field = re.compile(rb"(" + _token + rb"):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?)[ \t]*")
_chunk_size = re.compile(rb"[0-9A-Fa-f]{1,16}")


class Malformed(Exception):
    """What a strict reader would not take, or might read otherwise than its neighbour."""


class Message:
    """One HTTP/1.1 message: `raw` are its exact bytes; `complete` is false when its sender broke off."""

    def __init__(self, first, second, headers, body, raw, complete=True, trailers=()):
        self.first, self.second, self.headers, self.body = first, second, headers, body
        self.raw, self.complete, self.trailers = raw, complete, list(trailers)
        self.connection = None

    method = property(lambda self: self.first.decode())
    target = property(lambda self: self.second.decode())
    status = property(lambda self: self.first)

    def values(self, name):
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == name.lower().encode()]

    def get(self, name, default=None):
        values = self.values(name)
        return values[0] if values else default

    def __repr__(self):
        return f"<{self.raw[:300]!r}>"


def _parse_fields(lines):
    headers = []
    for line in lines:
        match = _field.fullmatch(line)
        if not match:
            raise Malformed(f"a header line {line!r}")
        headers.append((match[1], match[2]))
    return headers


def _framing(headers):
    """('length', n), ('chunked', 0) or (None, 0)."""
    lengths = [value for name, value in headers if name.lower() == b"content-length"]
    codings = [value for name, value in headers if name.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1:
        raise Malformed(f"framed twice: {lengths} {codings}")
    if codings:
        if codings != [b"chunked"]:
            raise Malformed(f"Transfer-Encoding {codings[0]!r}")
        return "chunked", 0
    if lengths:
        if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
            raise Malformed(f"Content-Length {lengths[0]!r}")
        return "length", int(lengths[0])
    return None, 0


class Reader:
    """Reads well-framed messages, and nothing else, from a socket. Raises Malformed; EOFError where one may end."""

    def __init__(self, sock, taken=None):
        self.sock, self.buffer, self.taken = sock, b"", taken

    def more(self):
        data = self.sock.recv(65536)
        if not data:
            raise EOFError
        if self.taken is not None:
            self.taken(data)
        self.buffer += data

    def _line(self):
        while b"\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\n", 1)
        self._raw += line + b"\n"
        if not line.endswith(b"\r"):
            raise Malformed(f"a line without CR: {line!r}")
        return line[:-1]

    def _exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        self._raw += data
        return data

    def _head(self, pattern):
        self._raw = b""
        first = self._line()
        match = pattern.fullmatch(first)
        if not match:
            raise Malformed(f"a first line {first!r}")
        lines = []
        while line := self._line():
            lines.append(line)
        return match, _parse_fields(lines)

    def _chunked(self):
        body = b""
        while True:
            size = self._line()
            if not _chunk_size.fullmatch(size):
                raise Malformed(f"a chunk size {size!r}")
            if int(size, 16) == 0:
                break
            body += self._exactly(int(size, 16))
            if self._line() != b"":
                raise Malformed("a chunk longer than its size")
        trailers = []
        while line := self._line():
            trailers.append(line)
        return body, trailers

    def request_head(self):
        match, headers = self._head(_request_line)
        if len([1 for name, _ in headers if name.lower() == b"host"]) != 1:
            raise Malformed("not exactly one Host")
        return Message(match[1], match[2], headers, b"", self._raw)

    def request_body(self, message):
        kind, length = _framing(message.headers)
        try:
            if kind == "length":
                message.body = self._exactly(length)
            elif kind == "chunked":
                message.body, message.trailers = self._chunked()
        except (EOFError, OSError):
            message.complete = False
            message.raw = self._raw + self.buffer
            raise
        message.raw = self._raw
        return message

    def request(self):
        return self.request_body(self.request_head())

    def response(self, method="GET"):
        """The next response, interim ones included. Without framing it is read to the end of the connection."""
        match, headers = self._head(_status_line)
        status = int(match[1])
        message = Message(status, match[2], headers, b"", self._raw)
        kind, length = _framing(headers)
        if method == "HEAD" or status < 200 or status in (204, 304):
            return message
        try:
            if kind == "length":
                message.body = self._exactly(length)
            elif kind == "chunked":
                message.body, message.trailers = self._chunked()
            else:
                with contextlib.suppress(EOFError):
                    while True:
                        self.more()
                message.body, self.buffer = self.buffer, b""
        except (EOFError, OSError):
            message.complete = False
        message.raw = self._raw
        return message


# ---------------------------------------------------------------------------------------------------------- backends


class Backend:
    """A scripted HTTP/1 server that remembers what it received.

    `on(path, answer)` says what a request for `path` (without its query) gets: bytes as they are, after the whole
    request was read; or a callable (connection, request head) that reads and writes by itself and returns True when the
    connection goes on. Everything else gets 200 and a body that names the method and the target, so that an answer
    which reached the wrong request is seen.
    """

    def __init__(self, script=None):
        self.script = script or Backend.serve_http
        self.answers = {}
        self.lock = threading.Lock()
        self.requests, self.malformed, self.connections = [], [], []
        self.open = set()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = free_port()
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(1024)
        self.closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def on(self, path, answer):
        self.answers[path] = answer

    def _accept(self):
        while not self.closing:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            connection = BackendConnection(self, sock)
            with self.lock:
                self.connections.append(connection)
                self.open.add(connection)
            threading.Thread(target=connection.run, daemon=True).start()

    def serve_http(self, connection):
        while True:
            request = connection.reader.request_head()
            request.connection = connection
            answer = self.answers.get(request.target.split("?")[0])
            if callable(answer):
                with self.lock:
                    self.requests.append(request)
                if not answer(connection, request):
                    return
                continue
            try:
                connection.reader.request_body(request)
            finally:
                with self.lock:
                    self.requests.append(request)
            connection.send(answer if answer is not None else plain_answer(request))

    def take(self):
        """Requests since the last call (well-framed by the strict reader). Raises if anything else arrived."""
        with self.lock:
            requests, self.requests = self.requests, []
            malformed, self.malformed = self.malformed, []
        if malformed:
            raise AssertionError(f"the backend received what is not one well-framed request: {malformed}")
        return requests

    def close_connections(self):
        with self.lock:
            connections = list(self.open)
        for connection in connections:
            connection.close()

    def stop(self):
        self.closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.close_connections()


class BackendConnection:
    def __init__(self, backend, sock):
        self.backend, self.sock, self.received = backend, sock, b""
        sock.settimeout(30 * PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(sock, self._taken)

    def _taken(self, data):
        self.received += data

    def run(self):
        try:
            self.backend.script(self.backend, self)
        except (EOFError, OSError):
            pass
        except Malformed as wrong:
            with self.backend.lock:
                self.backend.malformed.append((str(wrong), self.received[-2000:]))
        finally:
            self.close()

    def send(self, data):
        self.sock.sendall(data)

    def reset(self):
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def wait_for_end(self):
        """Reads until the peer ends the connection; gives the bytes."""
        rest = self.reader.buffer
        with contextlib.suppress(OSError):
            while data := self.sock.recv(65536):
                rest += data
        return rest

    def close(self):
        with self.backend.lock:
            self.backend.open.discard(self)
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self.sock.close()


def plain_answer(request, extra=b""):
    body = b"%s %s" % (request.first, request.second)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n" + extra
    if request.first == b"HEAD":
        return head + b"Content-Length: %d\r\n\r\n" % len(body)
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


# ----------------------------------------------------------------------------------------------------------- clients


class Client:
    """A raw client connection. Every wait has an end."""

    def __init__(self, port, timeout=WAIT_S, receive_buffer=None, source=None):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.sock.bind((source, 0))
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", port))
        self.reader = Reader(self.sock)

    def send(self, data):
        """Sends what the peer still takes: a refusal may come before the end of `data`."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.sock.sendall(data)
        return self

    def response(self, method="GET"):
        return self.reader.response(method)

    def get(self, target, headers=b""):
        self.send(b"GET %s HTTP/1.1\r\nHost: t\r\n%s\r\n" % (target.encode(), headers))
        return self.response()

    def rest(self, seconds=None):
        """(bytes, end): all that still comes; end is 'closed', 'reset' or 'open' if it did not end in time."""
        data, end = self.reader.buffer, "closed"
        self.reader.buffer = b""
        if seconds is not None:
            self.sock.settimeout(seconds)
        try:
            while more := self.sock.recv(65536):
                data += more
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "open"
        return data, end

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ------------------------------------------------------------------------------------------------------------- peers

PACKAGES = {  # command -> Debian package
    "haproxy": "haproxy", "nginx": "nginx", "nghttpd": "nghttp2-server", "nghttp": "nghttp2-client",
    "h2load": "nghttp2-client", "varnishtest": "varnish", "slowhttptest": "slowhttptest", "sslscan": "sslscan",
    "openssl": "openssl", "gnutls-cli": "gnutls-bin", "testssl": "testssl.sh", "wrk": "wrk", "dnsmasq": "dnsmasq-base",
    "prlimit": "util-linux",
}


def needs(command):
    """Class or method decorator: skipped, with the package's name, where the command is not installed."""
    found = shutil.which(command) or shutil.which(command, path="/usr/sbin:/sbin")
    return unittest.skipUnless(found, f"needs {command}: Debian package {PACKAGES.get(command, command)}")


def needs_module(module):
    """The same for a Python module; its package is python3-MODULE."""
    try:
        __import__(module)
        return lambda test: test
    except ImportError:
        return unittest.skip(f"needs {module}: Debian package python3-{module}")


def judged(test):
    """Class or method decorator: lets changes in whose newcomers are servers that start just then. On a busy machine they
    are slow enough for the judge to send the change back, rightly; so `run --short` leaves these tests out."""
    return unittest.skipIf(os.environ.get("PLIMSOLL_SHORT"), "its changes are judged: not with --short")(test)


class Peer:
    """Somebody else's server or client as a child process, with files of its own in a temporary directory."""

    def __init__(self, argv, files=None, port=None, env=None):
        self.env = env
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll-peer-"))
        for name, text in (files or {}).items():
            (self.directory / name).write_text(text.replace("@DIR@", str(self.directory)))
        self.port = port
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        self.argv = [arg.replace("@DIR@", str(self.directory)) for arg in argv]
        self.argv[0] = shutil.which(self.argv[0], path=path) or self.argv[0]

    def start(self):
        self.output = open(self.directory / "output", "wb")
        self.process = subprocess.Popen(self.argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=self.output, env=self.env)
        if self.port is not None:
            def up():
                if self.process.poll() is not None:
                    raise AssertionError(f"{self.argv[0]} ended at once:\n{self.text()}")
                return can_connect(self.port)
            wait_until(f"{self.argv[0]} listens", up, 10 * PATIENCE)
        return self

    def text(self):
        return (self.directory / "output").read_text(errors="replace")

    def whole_lines(self):
        """Of JSON; a line may be half written, and a library may have its say beside."""
        return [line for line in self.text().rpartition("\n")[0].splitlines() if line.startswith("{")]

    def wait(self, seconds):
        return self.process.wait(seconds)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


# ------------------------------------------------------------------------------------------------------------- tests


class Case:
    """One variant of a test: its name, the arguments, and why the server does not do it yet, if so."""

    def __init__(self, name, *args, deviates=None):
        self.name, self.args, self.deviates = name, args, deviates


def variants(*cases):
    """Makes one test a variant: `(name, argument...)` or a Case. Names become part of the test's name."""
    def mark(function):
        function.variants = [case if isinstance(case, Case) else Case(*case) for case in cases]
        return function
    return mark


def deviates(reason):
    """The server does not do this yet: the test says what is right, is expected to fail, and fails once it passes."""
    def mark(test):
        test = unittest.expectedFailure(test)
        test.deviates = reason
        return test
    return mark


class VariantTest(unittest.TestCase):
    """A class whose tests may have `@variants`."""

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        for name, function in list(vars(cls).items()):
            for case in getattr(function, "variants", ()):
                label = name + "__" + re.sub(r"[^0-9A-Za-z]+", "_", case.name).strip("_")
                if hasattr(cls, label):
                    raise TypeError(f"two variants are called {label}")

                def test(self, function=function, case=case):
                    function(self, *case.args)

                test.__name__ = label
                if reason := case.deviates or getattr(function, "deviates", None):
                    test = deviates(reason)(test)
                setattr(cls, label, test)
            if hasattr(function, "variants"):
                delattr(cls, name)


class PeerTest(VariantTest):
    """A server under test in front of one backend, shared by the tests of a class.

    `changes` is laid over base_config; `backends` is how many there are. After the last test the server must stop
    cleanly and must have reported nothing.
    """

    changes = {}
    backends = 1
    plimsoll_options = {}
    _canary = itertools.count(1)

    @classmethod
    def setUpClass(cls):
        if cls is PeerTest or not any(name.startswith("test") for name in dir(cls)):
            raise unittest.SkipTest("no tests of its own")
        cls.all_backends = [Backend() for _ in range(cls.backends)]
        cls.backend = cls.all_backends[0]
        config = base_config([backend.port for backend in cls.all_backends], cls.changes)
        cls.configure(config)
        try:
            cls.server = Plimsoll(config, **cls.plimsoll_options).start()
        except BaseException:
            for backend in cls.all_backends:
                backend.stop()
            raise

    @classmethod
    def configure(cls, config):
        """For what `changes` cannot say, such as several pools. May raise SkipTest."""

    @classmethod
    def tearDownClass(cls):
        try:
            cls.server.stop()
        finally:
            for backend in cls.all_backends:
                backend.stop()

    def setUp(self):
        for backend in self.all_backends:
            with backend.lock:
                backend.requests, backend.malformed = [], []

    def connect(self, **options):
        client = Client(self.server.port, **options)
        self.addCleanup(client.close)
        return client

    def good_client_is_served(self):
        """A well-behaved client on a connection of its own gets its own answer. Gives its request as it arrived."""
        target = f"/canary/{next(self._canary)}"
        with Client(self.server.port) as client:
            answer = client.get(target)
        self.assertEqual((answer.status, answer.body), (200, b"GET " + target.encode()), "a good client was not served")
        return target

    def backend_got(self):
        """What arrived at the backend before a good client's request, which is asked for now."""
        target = self.good_client_is_served()
        requests = [request for backend in self.all_backends for request in backend.take()]
        self.assertIn(target, [request.target for request in requests])
        return [request for request in requests if request.target != target]

    def refused(self, raw, *statuses, cause="bad_request"):
        """`raw` gets one answer with one of `statuses`, the connection closes, and no backend hears of it."""
        client = self.connect().send(raw)
        try:
            answer = client.response()
        except (EOFError, OSError, Malformed) as wrong:
            self.fail(f"no proper answer but {wrong!r}; the backend got {self.backend_got()}")
        rest, end = client.rest(1.0 * PATIENCE if answer.status in statuses else 0.2)
        arrived = self.backend_got()
        seen = (f"answer {answer.raw[:200]!r}, then {rest[:200]!r}, connection {end}; "
                f"the backend got {arrived}")
        self.assertIn(answer.status, statuses, seen)
        self.assertEqual((rest, arrived), (b"", []), seen)
        self.assertIn(end, ("closed", "reset"), seen)
        if cause is not None:
            self.assertEqual(answer.get("X-Plimsoll-Cause"), cause, seen)
        return answer

    def forwarded(self, raw, method="GET", status=200):
        """`raw` is answered, reaches the backend as exactly one well-framed request, and the connection goes on.
        Gives (request as it arrived, answer)."""
        client = self.connect().send(raw)
        try:
            answer = client.response(method)
            while answer.status == 100:
                answer = client.response(method)
        except (EOFError, OSError, Malformed) as wrong:
            self.fail(f"no proper answer but {wrong!r}; the backend got {self.backend_got()}")
        arrived = self.backend_got()
        seen = f"answer {answer.raw[:300]!r}; the backend got {arrived}"
        self.assertEqual(answer.status, status, seen)
        self.assertEqual(len(arrived), 1, seen)
        again = client.get("/again")
        self.assertEqual((again.status, again.body), (200, b"GET /again"), f"the next request: {again.raw!r}; {seen}")
        self.backend_got()
        return arrived[0], answer
