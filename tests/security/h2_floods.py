#!/usr/bin/python3
"""A raw HTTP/2 client that breaks every rule it can, against any server that takes HTTP/2 by prior knowledge.

    tests/security/h2_floods.py HOST:PORT [--pid PID] [-k PATTERN]... [--path /]

Two kinds of pattern. A *malformed* one sends something that RFC 9113 or 7541 forbids: it must end in a stream error, a
connection error or a 4xx answer, never in success. A *flood* sends much of what is allowed: it must be cut off, or
absorbed at a bounded price, while another client is served and memory does not grow (with --pid).
Frames and HPACK are written by hand, so that nothing stands between a pattern and the wire; only answers are decoded by
python3-hpack. Sources: RFC 9113, RFC 7541, CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316, CVE-2025-8671.
"""

import argparse
import contextlib
import re
import socket
import struct
import sys
import time

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, HAS_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
ERRORS = ["NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
          "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
          "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED"]


def error_name(code):
    return ERRORS[code] if code < len(ERRORS) else str(code)


# ------------------------------------------------------------------------------------------------------ frames, HPACK


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value, bits, first=0):
    """RFC 7541 5.1."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytes([first | most]), value - most
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


def text(value):
    return integer(len(value), 7) + value


def literal(name, value, indexing=False):
    """A literal field with a literal name: any byte goes."""
    return (b"\x40" if indexing else b"\x00") + text(name) + text(value)


def fields(*pairs):
    return b"".join(literal(name, value) for name, value in pairs)


def request(*more, method=b"GET", path=b"/", authority=b"t", scheme=b"http"):
    """A header block: the four pseudo-headers (None leaves one out) and `more`."""
    given = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
    return fields(*[pair for pair in given if pair[1] is not None], *more)


def headers(stream, block, end_stream=True, end_headers=True):
    return frame(HEADERS, (END_STREAM if end_stream else 0) | (END_HEADERS if end_headers else 0), stream, block)


def post(stream, *more, path=b"/"):
    return headers(stream, request(*more, method=b"POST", path=path), end_stream=False)


# --------------------------------------------------------------------------------------------------------- the client


class Connection:
    """One connection; remembers what the server said."""

    def __init__(self, address, settings=b"", timeout=3.0, receive_buffer=None, handshake=True):
        self.sock = socket.socket()
        if receive_buffer:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(address)
        self.decoder = hpack.Decoder()
        self.buffer, self.block, self.limits = b"", b"", {}
        self.goaway, self.closed, self.settings_acked, self.pings = None, False, False, 0
        self.resets, self.status, self.bodies, self.ended, self.other_frames = {}, {}, {}, set(), 0
        self.reset_count = 0
        if handshake:
            self.send(PREFACE + frame(SETTINGS, payload=settings))

    def send(self, data):
        """False when the server takes no more."""
        if self.closed:
            return False
        try:
            self.sock.sendall(data)
            return True
        except TimeoutError:
            return False
        except OSError:
            self.read_what_is_there()
            self.closed = True
            return False

    def read_what_is_there(self):
        with contextlib.suppress(OSError):
            self.sock.settimeout(0.05)
            while data := self.sock.recv(65536):
                self.buffer += data
                self._take_frames()

    def pump(self, until, seconds=2.0):
        """Reads frames until `until()` holds, the connection ends or time is up. Gives until()."""
        end = time.monotonic() + seconds
        while not until() and not self.closed and time.monotonic() < end:
            self.sock.settimeout(max(0.01, end - time.monotonic()))
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                break
            except OSError:
                data = b""
            if not data:
                self.closed = True
            self.buffer += data
            self._take_frames()
        return until()

    def _take_frames(self):
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                return
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
            self._take(kind, flags, stream, payload)

    def _take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload) - 5, 6):
                key, value = struct.unpack(">HI", payload[at:at + 6])
                self.limits[key] = value
            with contextlib.suppress(OSError):
                self.sock.sendall(frame(SETTINGS, ACK))
        elif kind == SETTINGS:
            self.settings_acked = True
        elif kind == PING and flags & ACK:
            self.pings += 1
        elif kind == GOAWAY and self.goaway is None:
            self.goaway = struct.unpack(">I", payload[4:8])[0]
        elif kind == GOAWAY:
            self.goaway = max(self.goaway, struct.unpack(">I", payload[4:8])[0])
        elif kind == RST_STREAM:
            self.resets[stream] = struct.unpack(">I", payload)[0]
            self.reset_count += 1
            self.ended.add(stream)
        elif kind in (HEADERS, CONTINUATION):
            self.block += payload
            if flags & END_HEADERS:
                block, self.block = self.block, b""
                found = dict(self.decoder.decode(block))
                if ":status" in found:
                    self.status[stream] = int(found[":status"])
            if kind == HEADERS and flags & END_STREAM:
                self.ended.add(stream)
        elif kind == DATA:
            self.bodies[stream] = self.bodies.get(stream, b"") + payload
            if flags & END_STREAM:
                self.ended.add(stream)
        else:
            self.other_frames += 1

    def over(self):
        return self.closed or bool(self.goaway)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def speaks_http2(address):
    """Whether the server answers the preface with SETTINGS."""
    with contextlib.suppress(OSError):
        with Connection(address, timeout=1.0) as client:
            return client.pump(lambda: bool(client.settings_acked), 1.0)
    return False


def get(address, path=b"/", seconds=2.0):
    """(status, body) of one GET on a connection of its own; (0, b"") when there is no answer."""
    with contextlib.suppress(OSError):
        with Connection(address) as client:
            client.send(headers(1, request(path=path)))
            client.pump(lambda: 1 in client.ended, seconds)
            return client.status.get(1, 0), client.bodies.get(1, b"")
    return 0, b""


# ------------------------------------------------------------------------------------------- malformed: must be refused

MALFORMED = {}  # name -> frames after the handshake; stream 1 unless `judge` names another


def malformed(name, *frames):
    MALFORMED[name] = b"".join(frames)


def _pseudo_headers():
    bad = {
        "no_method": request(method=None), "no_path": request(path=None), "no_scheme": request(scheme=None),
        "empty_path": request(path=b""), "path_without_slash": request(path=b"a"), "path_absolute": request(path=b"http://t/"),
        "path_blank": request(path=b"/a b"), "path_fragment": request(path=b"/a#b"),
        "path_crlf": request(path=b"/ HTTP/1.1\r\nHost: evil\r\n\r\nGET /smuggled"), "path_nul": request(path=b"/\x00"),
        "method_blank": request(method=b"GET /x HTTP/1.1\r\nX:"), "method_empty": request(method=b""),
        "method_crlf": request(method=b"GET / HTTP/1.1\r\nHost: t\r\n\r\nGET"),
        "scheme_odd": request(scheme=b"http://evil/?"), "scheme_crlf": request(scheme=b"http\r\nX: y"),
        "two_methods": request() + b"", "two_paths": fields((b":path", b"/b")) + request(),
        "two_authorities": fields((b":authority", b"evil")) + request(), "two_schemes": fields((b":scheme", b"https")) + request(),
        "unknown": fields((b":evil", b"1")) + request(), "of_an_answer": fields((b":status", b"200")) + request(),
        "after_a_field": request((b"x", b"y"), (b":path", b"/b")), "late_authority": request((b"x", b"y"), (b":authority", b"u")),
        "authority_crlf": request(authority=b"t\r\nX: y"), "authority_userinfo": request(authority=b"user@t"),
        "authority_path": request(authority=b"t/evil"), "authority_blank": request(authority=b"t evil"),
        "authority_and_two_hosts": request((b"host", b"a"), (b"host", b"b")),
        "protocol_without_connect": fields((b":protocol", b"websocket")) + request(),
        "empty_name": request((b"", b"x")), "colon_name": request((b":", b"x")),
        "star_with_get": request(path=b"*"),
    }
    bad["two_methods"] = fields((b":method", b"POST")) + request()
    for name, block in bad.items():
        malformed(f"pseudo_{name}", headers(1, block))
    malformed("connect_with_path", headers(1, request(method=b"CONNECT")))
    malformed("connect_without_port", headers(1, fields((b":method", b"CONNECT"), (b":authority", b"t")), end_stream=False))


def _fields():
    values = {"crlf": b"a\r\nX-Evil: 1", "lf": b"a\nb", "cr": b"a\rb", "nul": b"a\x00b",
              "request": b"a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"}
    for name, value in values.items():
        malformed(f"value_{name}", headers(1, request((b"x", value))))
    for name, value in {"leading_blank": b" a", "trailing_blank": b"a ", "leading_tab": b"\ta"}.items():
        malformed(f"value_{name}", headers(1, request((b"x", value))))
    names = {"upper_case": b"X-Upper", "one_upper": b"hosT", "crlf": b"x\r\nx-evil: 1\r\ny", "colon": b"x: y", "blank": b"x y",
             "nul": b"x\x00", "high": b"x\xe9", "delete": b"x\x7f", "tab": b"x\t"}
    for name, value in names.items():
        malformed(f"name_{name}", headers(1, request((value, b"1"))))
    for name, pair in {
        "te_chunked": (b"transfer-encoding", b"chunked"), "te_identity": (b"transfer-encoding", b"identity"),
        "connection": (b"connection", b"x-hop"), "connection_close": (b"connection", b"close"),
        "keep_alive": (b"keep-alive", b"timeout=5"), "proxy_connection": (b"proxy-connection", b"keep-alive"),
        "upgrade": (b"upgrade", b"h2c"), "te_not_trailers": (b"te", b"chunked"), "te_list": (b"te", b"trailers, deflate"),
    }.items():
        malformed(f"connection_field_{name}", headers(1, request(pair)))


def _lengths():
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
    malformed("h2cl_zero_with_body", post(1, (b"content-length", b"0")), frame(DATA, END_STREAM, 1, smuggled))
    malformed("h2cl_shorter", post(1, (b"content-length", b"5")), frame(DATA, END_STREAM, 1, b"hello" + smuggled))
    malformed("h2cl_longer", post(1, (b"content-length", b"50")), frame(DATA, END_STREAM, 1, b"hello"))
    malformed("h2cl_end_stream_at_once", headers(1, request((b"content-length", b"5"), method=b"POST")))
    malformed("h2cl_on_get_end_stream", headers(1, request((b"content-length", b"35"))))
    malformed("h2cl_two_different", post(1, (b"content-length", b"5"), (b"content-length", b"6")), frame(DATA, END_STREAM, 1, b"hello"))
    for name, value in {"plus": b"+5", "minus": b"-5", "hex": b"0x5", "list": b"5, 5", "empty": b"", "word": b"five",
                        "overflow": b"18446744073709551621"}.items():
        malformed(f"h2cl_{name}", post(1, (b"content-length", value)), frame(DATA, END_STREAM, 1, b"hello"))
    malformed("h2te_chunked_body", post(1, (b"transfer-encoding", b"chunked")), frame(DATA, END_STREAM, 1, b"0\r\n\r\n" + smuggled))
    malformed("h2te_and_cl", post(1, (b"transfer-encoding", b"chunked"), (b"content-length", b"5")), frame(DATA, END_STREAM, 1, b"0\r\n\r\n"))


def _trailers():
    body = post(1) + frame(DATA, 0, 1, b"abc")
    malformed("trailers_without_end_stream", body, headers(1, fields((b"x", b"y")), end_stream=False))
    malformed("trailers_pseudo", body, headers(1, fields((b":path", b"/b"))))
    malformed("trailers_status", body, headers(1, fields((b":status", b"200"))))
    malformed("trailers_upper_case", body, headers(1, fields((b"X-Upper", b"y"))))
    malformed("trailers_crlf", body, headers(1, fields((b"x", b"a\r\nb: c"))))
    malformed("trailers_transfer_encoding", body, headers(1, fields((b"transfer-encoding", b"chunked"))))
    malformed("headers_after_end", headers(1, request()), headers(1, request()))
    malformed("data_after_end", headers(1, request()), frame(DATA, END_STREAM, 1, b"x"))


def _hpack():
    good = request()
    malformed("hpack_index_0", headers(1, good + b"\x80"))
    malformed("hpack_index_beyond", headers(1, good + integer(4000, 7, 0x80)))
    malformed("hpack_name_index_beyond", headers(1, good + integer(4000, 4) + text(b"x")))
    malformed("hpack_integer_endless", headers(1, good + b"\xff" + b"\x80" * 200 + b"\x01"))
    malformed("hpack_integer_overflow", headers(1, good + b"\xff" + b"\xff" * 10 + b"\x7f"))
    malformed("hpack_integer_cut", headers(1, good + b"\xff\x80"))
    malformed("hpack_string_longer_than_block", headers(1, good + b"\x00\x01x" + integer(10000, 7)))
    malformed("hpack_string_huge", headers(1, good + b"\x00\x01x" + integer(1 << 40, 7)))
    malformed("hpack_table_size_too_large", headers(1, integer(1 << 20, 5, 0x20) + good))
    malformed("hpack_table_size_late", headers(1, good + integer(0, 5, 0x20)))
    malformed("hpack_huffman_eos", headers(1, good + b"\x00\x01x\x84\xff\xff\xff\xff"))
    malformed("hpack_huffman_padding", headers(1, good + b"\x00\x01x\x82\x1f\xff"))
    malformed("hpack_cut", headers(1, good + b"\x00"))


def _frames():
    malformed("stream_even", headers(2, request()))
    malformed("stream_zero_headers", headers(0, request()))
    malformed("stream_zero_data", frame(DATA, 0, 0, b"x"))
    malformed("stream_backwards", headers(5, request()), headers(3, request()))
    malformed("stream_idle_data", frame(DATA, 0, 1, b"x"))
    malformed("stream_idle_reset", frame(RST_STREAM, 0, 1, bytes(4)))
    malformed("stream_idle_window", frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\1"))
    malformed("window_zero", frame(WINDOW_UPDATE, 0, 0, bytes(4)))
    malformed("window_overflow", frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2)
    malformed("window_zero_on_stream", post(1), frame(WINDOW_UPDATE, 0, 1, bytes(4)))
    malformed("window_overflow_on_stream", post(1), frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff") * 2)
    malformed("size_settings", frame(SETTINGS, 0, 0, bytes(5)))
    malformed("size_settings_ack", frame(SETTINGS, ACK, 0, bytes(6)))
    malformed("size_ping", frame(PING, 0, 0, bytes(7)))
    malformed("size_window", frame(WINDOW_UPDATE, 0, 0, bytes(3)))
    malformed("size_reset", post(1), frame(RST_STREAM, 0, 1, bytes(3)))
    malformed("size_goaway", frame(GOAWAY, 0, 0, bytes(4)))
    malformed("size_priority", post(1), frame(PRIORITY, 0, 1, bytes(4)))
    malformed("size_beyond_the_limit", post(1), frame(DATA, 0, 1, bytes(16385)))
    malformed("size_announced_16_mib", post(1), frame(DATA, 0, 1, b"x", length=(1 << 24) - 1))
    malformed("settings_on_a_stream", frame(SETTINGS, 0, 1))
    malformed("settings_window_too_large", frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)))
    malformed("settings_frame_size_too_small", frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 100)))
    malformed("settings_push_2", frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)))
    malformed("ping_on_a_stream", frame(PING, 0, 1, bytes(8)))
    malformed("goaway_on_a_stream", frame(GOAWAY, 0, 1, bytes(8)))
    malformed("push_promise", post(1), frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + request()))
    malformed("continuation_alone", frame(CONTINUATION, END_HEADERS, 1, request()))
    malformed("continuation_of_another", headers(1, request()[:10], end_headers=False), frame(CONTINUATION, END_HEADERS, 3, request()[10:]))
    malformed("headers_interrupted", headers(1, request()[:10], end_headers=False), frame(PING, 0, 0, bytes(8)))
    malformed("padding_too_long_data", post(1), frame(DATA, PADDED, 1, b"\x05abc"))
    malformed("padding_too_long_headers", frame(HEADERS, PADDED | END_HEADERS | END_STREAM, 1, b"\xff" + request()))
    malformed("padding_missing", post(1), frame(DATA, PADDED, 1, b""))
    malformed("depends_on_itself", frame(HEADERS, HAS_PRIORITY | END_HEADERS | END_STREAM, 1, b"\0\0\0\1\x10" + request()))
    malformed("preface_twice", PREFACE)
    malformed("http1_instead", b"GET / HTTP/1.1\r\nHost: t\r\n\r\n")


_pseudo_headers()
_fields()
_lengths()
_trailers()
_hpack()
_frames()

# RFC 9113 5.3.1 made priority signals advisory: ignoring these is as right as refusing them.
MAY_BE_IGNORED = {"depends_on_itself", "size_priority"}

# Here one request is sound and may be answered; the fault must end the stream or the connection all the same.
SOUND_BESIDE = {"stream_backwards", "headers_after_end", "data_after_end", "hpack_table_size_late"}


def run_malformed(address, name):
    """(refused, what happened) for one malformed pattern."""
    with Connection(address) as client:
        client.send(MALFORMED[name])
        client.send(frame(PING, 0, 0, b"12345678"))
        client.pump(lambda: client.over() or bool(client.ended) or bool(client.status))
        client.pump(lambda: client.over() or bool(client.resets), 1.0 if name in SOUND_BESIDE else 0.02)
        if client.resets:
            stream, code = next(iter(client.resets.items()))
            if client.status.get(stream, 400) < 400 and (code == 0 or name not in SOUND_BESIDE):
                return False, f"answered {client.status[stream]}, then {error_name(code)}"
            return True, f"stream error {error_name(code)}"
        if client.goaway:
            return True, f"connection error {error_name(client.goaway)}"
        if client.status:
            status = next(iter(client.status.values()))
            return 400 <= status <= 431 or status in (501, 505), f"answered {status}"
        if client.closed:
            return True, "connection closed"
        return name in MAY_BE_IGNORED, "ignored"


# --------------------------------------------------------------------------------------------------------------- floods

FLOODS = {}


def flood(function):
    FLOODS[function.__name__] = function
    return function


def batches(client, make, count, batch=200, read=True):
    """Sends make(i) for i < count until the server ends it. Gives how many were taken."""
    sent = 0
    while sent < count and not client.over():
        if not client.send(b"".join(make(i) for i in range(sent, min(count, sent + batch)))):
            break
        sent = min(count, sent + batch)
        if read:
            client.pump(client.over, 0.002)
    client.pump(client.over, 0.3)
    return sent


@flood
def rapid_reset(address, path):
    """CVE-2023-44487: requests taken back at once."""
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path)) +
                               frame(RST_STREAM, 0, 2 * i + 1, struct.pack(">I", 8)), 20000)


@flood
def made_you_reset_window_zero(address, path):
    """CVE-2025-8671: the server is made to reset, by a window update of nothing."""
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path)) +
                               frame(WINDOW_UPDATE, 0, 2 * i + 1, bytes(4)), 20000)


@flood
def made_you_reset_window_overflow(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path)) +
                               frame(WINDOW_UPDATE, 0, 2 * i + 1, b"\x7f\xff\xff\xff"), 20000)


@flood
def made_you_reset_data_after_end(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path)) +
                               frame(DATA, 0, 2 * i + 1, b"x"), 20000)


@flood
def reset_flood_malformed(address, path):
    """CVE-2019-9514: every request draws a reset."""
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request((b"UPPER", b"x"), path=path)), 20000)


@flood
def continuation_flood(address, path):
    """CVE-2024-27316: a header block that never ends."""
    with Connection(address) as client:
        client.send(headers(1, request(path=path), end_headers=False))
        return client, batches(client, lambda i: frame(CONTINUATION, 0, 1, literal(b"x-%d" % i, b"y" * 4000)), 20000, 20)


@flood
def continuation_empty(address, path):
    with Connection(address) as client:
        client.send(headers(1, request(path=path), end_headers=False))
        return client, batches(client, lambda i: frame(CONTINUATION, 0, 1), 100000, 1000)


@flood
def continuation_byte_by_byte(address, path):
    with Connection(address) as client:
        block = request((b"x", b"y" * 200000), path=path)
        client.send(headers(1, block[:1], end_headers=False))
        return client, batches(client, lambda i: frame(CONTINUATION, 0, 1, block[i + 1:i + 2]), len(block) - 1, 1000)


@flood
def hpack_bomb(address, path):
    """One large entry in the table, referred to by one byte each: 16 KiB become 64 MiB."""
    with Connection(address) as client:
        client.send(headers(1, request(path=path) + literal(b"x", b"y" * 4000, indexing=True)))
        reference = bytes([0x80 | 62]) * 16000
        return client, batches(client, lambda i: headers(2 * i + 3, request(path=path) + reference), 100, 1)


@flood
def cookie_bomb(address, path):
    """CVE-2026-49975: crumbs of Cookie, a byte each, count more than they weigh."""
    with Connection(address) as client:
        client.send(headers(1, request(path=path) + literal(b"cookie", b"", indexing=True)))
        crumbs = bytes([0x80 | 62]) * 16000
        return client, batches(client, lambda i: headers(2 * i + 3, request(path=path) + crumbs), 200, 1)


@flood
def tiny_fields(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path) + literal(b"a", b"") * 3000), 200, 1)


@flood
def empty_names(address, path):
    """CVE-2019-9516: fields without a name or a value."""
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path) + literal(b"", b"") * 1000), 500, 5)


@flood
def settings_flood(address, path):
    """CVE-2019-9515, answers never read."""
    with Connection(address, receive_buffer=4096) as client:
        return client, batches(client, lambda i: frame(SETTINGS), 500000, 5000, read=False)


@flood
def settings_many_values(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100) * 2700), 500, 5)


@flood
def settings_table_size_dance(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 1, i % 2 * 4096)), 50000, 1000)


@flood
def settings_window_dance(address, path):
    with Connection(address) as client:
        client.send(b"".join(headers(2 * i + 1, request(path=path), end_stream=False) for i in range(50)))
        return client, batches(client, lambda i: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 - i % 2 * 1000)), 50000, 1000)


@flood
def ping_flood(address, path):
    """CVE-2019-9512, answers never read."""
    with Connection(address, receive_buffer=4096) as client:
        return client, batches(client, lambda i: frame(PING, 0, 0, b"01234567"), 500000, 5000, read=False)


@flood
def empty_data(address, path):
    """CVE-2019-9518: DATA frames with nothing in them."""
    with Connection(address) as client:
        client.send(headers(1, request(method=b"POST", path=path), end_stream=False))
        return client, batches(client, lambda i: frame(DATA, 0, 1), 200000, 2000)


@flood
def padding_only_data(address, path):
    with Connection(address) as client:
        client.send(headers(1, request(method=b"POST", path=path), end_stream=False))
        return client, batches(client, lambda i: frame(DATA, PADDED, 1, b"\xff" + bytes(255)), 20000, 200)


@flood
def priority_flood(address, path):
    """CVE-2019-9513: the dependency tree is shuffled."""
    with Connection(address) as client:
        return client, batches(client, lambda i: frame(PRIORITY, 0, 2 * (i % 5000) + 1, struct.pack(
            ">IB", 2 * ((i * 7) % 5000) + 3, 16)), 300000, 3000)


@flood
def window_update_flood(address, path):
    with Connection(address) as client:
        client.send(headers(1, request(method=b"POST", path=path), end_stream=False))
        return client, batches(client, lambda i: frame(WINDOW_UPDATE, 0, i % 2, b"\0\0\0\1"), 300000, 3000)


@flood
def unknown_frames(address, path):
    with Connection(address) as client:
        return client, batches(client, lambda i: frame(0x42, 0xFF, i, b"x" * 100), 100000, 1000)


@flood
def streams_without_limit(address, path):
    """Streams opened and never ended, far beyond what the server allows at once."""
    with Connection(address) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(method=b"POST", path=path), end_stream=False), 20000)


@flood
def answers_never_taken(address, path):
    """CVE-2019-9511/9517: a window of nothing, requests without end."""
    with Connection(address, settings=struct.pack(">HI", 4, 0)) as client:
        return client, batches(client, lambda i: headers(2 * i + 1, request(path=path)), 5000, 50)


@flood
def answers_by_the_byte(address, path):
    with Connection(address, settings=struct.pack(">HI", 4, 0)) as client:
        client.send(b"".join(headers(2 * i + 1, request(path=path)) for i in range(50)))
        return client, batches(client, lambda i: frame(WINDOW_UPDATE, 0, 2 * (i % 50) + 1, b"\0\0\0\1"), 20000)


def run_flood(address, name, path=b"/", rss=None):
    """{'taken', 'ended', 'resets', 'served', 'growth_kib', 'seconds'} of one flood. `rss()` gives KiB."""
    before = rss() if rss else 0
    begun = time.monotonic()
    client, taken = FLOODS[name](address, path)
    took = time.monotonic() - begun
    ended = f"GOAWAY {error_name(client.goaway)}" if client.goaway else "closed" if client.closed else "absorbed"
    status, _ = get(address, path)
    return {"taken": taken, "ended": ended, "resets": client.reset_count, "served": status == 200,
            "growth_kib": (rss() - before) if rss else 0, "seconds": took}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("--pid", type=int, help="the server's process, to watch its memory")
    parser.add_argument("--path", default="/")
    parser.add_argument("-k", action="append", default=[], help="only patterns whose name contains it")
    options = parser.parse_args()
    host, port = options.address.rsplit(":", 1)
    address = (host, int(port))
    if not speaks_http2(address):
        print(f"{options.address} does not speak HTTP/2 by prior knowledge")
        return 69

    def rss():
        with open(f"/proc/{options.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def chosen(names):
        return [name for name in names if not options.k or any(part in name for part in options.k)]

    wrong = 0
    for name in chosen(MALFORMED):
        refused, what = run_malformed(address, name)
        wrong += not refused
        print(f"{'ok   ' if refused else 'WRONG'} {name}: {what}", flush=True)
    for name in chosen(FLOODS):
        result = run_flood(address, name, options.path.encode(), rss if options.pid else None)
        good = result["served"] and result["growth_kib"] < 20 * 1024
        wrong += not good
        print(f"{'ok   ' if good else 'WRONG'} {name}: {result['ended']} after {result['taken']}, {result['resets']} resets, "
              f"{result['growth_kib']} KiB more, {result['seconds']:.2f} s", flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
