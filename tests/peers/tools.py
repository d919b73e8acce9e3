"""What tests with other people's peers share: certificates, changes to a running server, servers that name themselves."""

import contextlib
import functools
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import time

from harness import PATIENCE, Client, Peer, binary, free_port, merged

# A change passes with the evidence of a few hundred requests; these tests are about connections, not about judging.
EASY = {"steps": [0.5, 1], "harm_budget": 0.5, "alpha": 0.02, "min_step": "0s", "shadow": "0s", "shadow_decisions": 0,
        "soak": "0s", "hold_back": 0, "max_step": "30s", "recovery_window": "200ms"}


def run(*argv, stdin=None, seconds=20, check=False, text=True, **options):
    """One command of somebody else, to its end. `stdin` is text; none is /dev/null."""
    argv = [str(arg) for arg in argv]
    argv[0] = shutil.which(argv[0], path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin") or argv[0]
    how = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(argv, capture_output=True, text=text, timeout=seconds * PATIENCE, check=False, **how, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done


def alternative_names(name):
    """A subjectAltName of one DNS name with whatever bytes, as openssl's configuration has it. At most 100 bytes."""
    dns = bytes([0x82, len(name)]) + name  # GeneralName, [2] IA5String
    return "DER:" + (bytes([0x30, len(dns)]) + dns).hex()


class Certificates:
    """An authority in a temporary directory, and what it signs. One for a process."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="plimsoll-certificates-"))
        self.ca = self.authority("ca")

    def authority(self, name):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
            "-subj", f"/CN=test authority {name}", "-keyout", self.directory / f"{name}.key", "-out", self.directory / f"{name}.pem",
            "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign", check=True)
        return self.directory / f"{name}.pem"

    def leaf(self, file, *names, ca="ca", client=False, rsa=False, must_staple=False, chain_too=False,
             alternative=None):
        """(chain, key) of a new certificate for `names`; the first is its common name. `alternative`: the bytes of one DNS name to stand
        there instead."""
        chain, key, request = (self.directory / f"{file}.{end}" for end in ("pem", "key", "csr"))
        kind = ["rsa:2048"] if rsa else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        run("openssl", "req", "-newkey", *kind, "-nodes", "-subj", f"/CN={names[0]}", "-keyout", key, "-out", request, check=True)
        extensions = self.directory / f"{file}.ext"
        extensions.write_text(
            "subjectAltName=" + (alternative_names(alternative) if alternative else
                                 ",".join(("IP:" if name[0].isdigit() else "DNS:") + name for name in names)) +
            "\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature"
            f"\nextendedKeyUsage={'clientAuth' if client else 'serverAuth'}\n" + ("tlsfeature=status_request\n" if must_staple else ""))
        run("openssl", "x509", "-req", "-in", request, "-CA", self.directory / f"{ca}.pem", "-CAkey", self.directory / f"{ca}.key",
            "-CAcreateserial", "-days", "20", "-extfile", extensions, "-out", chain, check=True)
        if chain_too:
            chain.write_bytes(chain.read_bytes() + (self.directory / f"{ca}.pem").read_bytes())
        return chain, key

    def ocsp(self, file, chain, ca="ca", minutes=60, revoked=False):
        """A file with what the authority says of this certificate, as `openssl ocsp` answers as its responder."""
        base = self.directory / file
        issuer, request, index = self.directory / f"{ca}.pem", base.with_suffix(".ask"), base.with_suffix(".index")
        serial = run("openssl", "x509", "-in", chain, "-noout", "-serial", check=True).stdout.strip().partition("=")[2]
        state = "R\t400101000000Z\t240101000000Z" if revoked else "V\t400101000000Z\t"
        index.write_text(f"{state}\t{serial}\tunknown\t/CN=x\n")
        answer = base.with_suffix(".ocsp.new")
        run("openssl", "ocsp", "-issuer", issuer, "-cert", chain, "-reqout", request, "-no_nonce", check=True)
        run("openssl", "ocsp", "-index", index, "-rsigner", issuer, "-rkey", self.directory / f"{ca}.key", "-CA", issuer,
            "-reqin", request, "-respout", answer, "-nmin", minutes, check=True)
        return answer.rename(base.with_suffix(".ocsp"))

    def section(self, **files):
        """`certificates:` of a configuration, from name to (chain, key)."""
        return {name: {"chain": str(chain), "key": str(key)} for name, (chain, key) in files.items()}


@functools.cache
def certificates():
    import atexit
    made = Certificates()
    atexit.register(shutil.rmtree, made.directory, ignore_errors=True)
    return made


@contextlib.contextmanager
def traffic(get, every=0.001):
    """Calls `get()` over and over in a thread; gives the list of what went wrong."""
    stop, wrong = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                get()
            except Exception as error:  # whatever a client may meet
                wrong.append(error)
            time.sleep(every)
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield wrong
    finally:
        stop.set()
        thread.join()


def plain_get(server, path="/traffic"):
    """For `traffic`: a request, on a connection that is kept as long as it may be, that must be served."""
    kept = []

    def get():
        client = kept.pop() if kept else Client(server.port)
        answer = client.get(path)
        if answer.status != 200:
            raise AssertionError(f"status {answer.status}")
        if answer.get("Connection") is None:
            kept.append(client)
        else:
            client.close()
    return get


def apply(server, changes, get=None, replace=None):
    """Lets a change into a running server, with requests beside it as evidence (none: `get` is False). Fails unless it
    becomes last known good. On a busy machine, or with a server that has to warm up, a harmless change may look harmful;
    such a change is proposed again, and judged again. Returns the seconds it took."""
    server.config = merged(server.config, changes)
    for path, value in (replace or {}).items():
        place = server.config
        *parents, last = path.split(".")
        for each in parents:
            place = place[each]
        place[last] = value
    file = server.directory / "proposed.yaml"
    file.write_text(json.dumps(server.config, indent=1))
    begun = time.monotonic()
    with contextlib.ExitStack() as beside:
        if get is None and shutil.which("wrk"):  # much evidence, whatever the machine does beside it
            load = ["wrk", "-t1", "-c4", "-d120s", f"http://127.0.0.1:{server.port}/traffic"]
            process = subprocess.Popen(load, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            beside.callback(process.wait)
            beside.callback(process.terminate)
        elif get is not False:
            beside.enter_context(traffic(get or plain_get(server)))
        again = []
        for _ in range(3):
            done = run(binary(), "apply", "--server", server.admin_socket, "-m", "a test", *again, file, seconds=90)
            if done.returncode != 4:
                break
            again = ["--force"]  # it is frozen now
    if done.returncode != 0:
        raise AssertionError(f"the change ended with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr}")
    return time.monotonic() - begun


# --------------------------------------------------------------------------------------------------------- neighbours

STREAM_MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def nginx(locations="", server="", http="", listen=None, stream="", files=None, log="$remote_addr $request"):
    """NGINX as a Peer: `locations` go into one server that listens on its port (or on `listen`)."""
    port = free_port()
    listen = f"listen 127.0.0.1:{port};" if listen is None else listen.replace("@PORT@", str(port))
    site = f"server {{ {listen} {server} {locations} }}" if locations or server else ""
    text = f"""daemon off; master_process off; pid @DIR@/pid; error_log @DIR@/error.log;
{f"load_module {STREAM_MODULE};" if stream else ""}
events {{ worker_connections 1024; }}
http {{ log_format t '{log}'; access_log @DIR@/access.log t; client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy;
fastcgi_temp_path @DIR@/f; uwsgi_temp_path @DIR@/u; scgi_temp_path @DIR@/s; {http} {site} }}
{stream.replace("@PORT@", str(port))}
"""
    return Peer(["nginx", "-c", "@DIR@/nginx.conf", "-p", "@DIR@"], {"nginx.conf": text, **(files or {})}, port)


def haproxy(sections, port=None, files=None):
    """HAProxy as a Peer; @PORT@ in `sections` is its port. Its log goes to its output."""
    port = port or free_port()
    text = f"""global
    log stdout format raw local0
defaults
    log global
    mode http
    option httplog
    timeout connect 2s
    timeout client 20s
    timeout server 20s
{sections.replace("@PORT@", str(port))}
"""
    return Peer(["haproxy", "-db", "-f", "@DIR@/haproxy.cfg"], {"haproxy.cfg": text, **(files or {})}, port)


def curl(*arguments, seconds=10):
    """curl's run; `-w` of ours comes on the last line of stdout as (status, HTTP version, connections)."""
    return run("curl", "-sS", "-m", seconds, *arguments, seconds=seconds + 5)


class Answer:
    """What curl got."""

    def __init__(self, done):
        self.done, self.code = done, done.returncode
        text, _, told = done.stdout.rpartition("\n@@")
        self.body = text
        parts = told.split()
        self.status, self.version, self.connects = (int(parts[0]), parts[1], int(parts[2])) if len(parts) == 3 else (0, "", 0)

    def __repr__(self):
        return f"<{self.status} HTTP/{self.version} curl {self.code} {self.done.stderr.strip()} {self.body[:500]!r}>"


def ask(*arguments, seconds=10):
    return Answer(curl("-w", "\n@@%{http_code} %{http_version} %{num_connects}", *arguments, seconds=seconds))
