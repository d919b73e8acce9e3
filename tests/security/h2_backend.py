"""A raw HTTP/2 server (prior knowledge) that answers as a test says, rule or no rule. Frames are those of h2_floods."""

import contextlib
import socket
import threading

import hpack

from h2_floods import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, PUSH_PROMISE, RST_STREAM,
                       SETTINGS, WINDOW_UPDATE, PING, fields, frame, literal)

HANG_UP = b"\xffHANG UP"  # as the end of an answer: the connection is closed behind it


def status(code, *more):
    return fields((b":status", code), *more)


def head(stream, block, end=False, flags=END_HEADERS):
    return frame(HEADERS, flags | (END_STREAM if end else 0), stream, block)


def data(stream, body, end=True):
    return frame(DATA, END_STREAM if end else 0, stream, body)


OK = status(b"200")

# name -> frames for stream s. The client must get 502, or a head and then a cut; never a whole answer.
MALFORMED = {
    "no_status": lambda s: head(s, fields((b"x", b"y")), True),
    "two_statuses": lambda s: head(s, OK + status(b"404"), True),
    "status_word": lambda s: head(s, status(b"OK"), True),
    "status_two_digits": lambda s: head(s, status(b"20"), True),
    "status_four_digits": lambda s: head(s, status(b"2000"), True),
    "status_101": lambda s: head(s, status(b"101"), True),
    "status_crlf": lambda s: head(s, status(b"200\r\nX: y"), True),
    "status_late": lambda s: head(s, fields((b"x", b"y")) + OK, True),
    "pseudo_unknown": lambda s: head(s, fields((b":evil", b"1")) + OK, True),
    "pseudo_of_a_request": lambda s: head(s, OK + fields((b":path", b"/")), True),
    "upper_case": lambda s: head(s, status(b"200", (b"X-Upper", b"y")), True),
    "value_crlf": lambda s: head(s, status(b"200", (b"x", b"a\r\nset-cookie: evil=1")), True),
    "value_nul": lambda s: head(s, status(b"200", (b"x", b"a\0b")), True),
    "value_lf": lambda s: head(s, status(b"200", (b"x", b"a\nset-cookie: evil=1")), True),
    "name_crlf": lambda s: head(s, status(b"200", (b"x\r\nset-cookie: evil=1\r\ny", b"z")), True),
    "name_empty": lambda s: head(s, status(b"200", (b"", b"z")), True),
    "name_colon": lambda s: head(s, status(b"200", (b"a:b", b"z")), True),
    "transfer_encoding": lambda s: head(s, status(b"200", (b"transfer-encoding", b"chunked"))) + data(s, b"0\r\n\r\n"),
    "connection": lambda s: head(s, status(b"200", (b"connection", b"keep-alive")), True),
    "length_shorter": lambda s: head(s, status(b"200", (b"content-length", b"2"))) + data(s, b"hello"),
    "length_longer": lambda s: head(s, status(b"200", (b"content-length", b"50"))) + data(s, b"hello"),
    "length_twice": lambda s: head(s, status(b"200", (b"content-length", b"5"), (b"content-length", b"6"))) + data(s, b"hello"),
    "length_plus": lambda s: head(s, status(b"200", (b"content-length", b"+5"))) + data(s, b"hello"),
    "length_and_no_body": lambda s: head(s, status(b"200", (b"content-length", b"5")), True),
    "data_first": lambda s: data(s, b"hello"),
    "interim_with_end": lambda s: head(s, status(b"103"), True),
    "trailers_without_end": lambda s: head(s, OK) + data(s, b"a", False) + head(s, fields((b"x", b"y"))),
    "trailers_status": lambda s: head(s, OK) + data(s, b"a", False) + head(s, OK, True),
    "headers_on_idle_stream": lambda s: head(s + 100, OK, True),
    "even_stream": lambda s: head(s + 1, OK, True),
    "push_promise": lambda s: frame(PUSH_PROMISE, END_HEADERS, s, b"\0\0\0\2" + fields((b":method", b"GET"))),
    "reset_at_once": lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\2"),
    "reset_in_the_body": lambda s: head(s, OK) + data(s, b"half", False) + frame(RST_STREAM, 0, s, b"\0\0\0\2"),
    "goaway": lambda s: frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\2") + HANG_UP,
    "closed_before_the_head": lambda s: HANG_UP,
    "closed_in_the_body": lambda s: head(s, OK) + data(s, b"half", False) + HANG_UP,
    "hpack_index": lambda s: head(s, b"\xff\xff\xff\x7f", True),
    "hpack_table_size": lambda s: head(s, b"\x3f\xff\xff\x7f" + OK, True),
    "window_overflow": lambda s: frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "frame_too_large": lambda s: frame(DATA, 0, s, bytes(20000)),
    "settings_cut": lambda s: frame(SETTINGS, 0, 0, bytes(5)),
    "continuation_alone": lambda s: frame(CONTINUATION, END_HEADERS, s, OK),
    "continuation_flood": lambda s: head(s, OK, flags=0) + b"".join(
        frame(CONTINUATION, 0, s, literal(b"x-%d" % i, b"y" * 1000)) for i in range(2000)),
    "head_huge": lambda s: head(s, OK, flags=0) + b"".join(
        frame(CONTINUATION, END_HEADERS if i == 99 else 0, s, literal(b"x-%d" % i, b"y" * 10000)) for i in range(100)) + data(s, b""),
    "interim_flood": lambda s: head(s, status(b"103")) * 10000,
    "http1": lambda s: b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


# name -> frames for stream s, the first time that it is asked for; afterwards it is answered well.
ONCE = {
    "refused": lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\7"),
    "going_away": lambda s: frame(GOAWAY, 0, 0, (s - 2 if s > 2 else 0).to_bytes(4, "big") + b"\0\0\0\0") + HANG_UP,
    "internal_error": lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\2"),
    "hung_up": lambda s: HANG_UP,
}


class Http2Backend:
    """Answers `/NAME` with MALFORMED[NAME], `/once/NAME/...` with ONCE[NAME] at first, and everything else well, with the method
    and path as its body."""

    def __init__(self, port):
        self.port, self.requests, self.heads = port, [], []
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(256)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError, EOFError, hpack.HPACKError), sock:
            self._speak(sock)

    def _speak(self, sock):
        decoder, block, buffer = hpack.Decoder(), b"", b""

        def exactly(count):
            nonlocal buffer
            while len(buffer) < count:
                more = sock.recv(65536)
                if not more:
                    raise EOFError
                buffer += more
            taken, buffer = buffer[:count], buffer[count:]
            return taken

        if exactly(len(PREFACE)) != PREFACE:
            return
        sock.sendall(frame(SETTINGS))
        while True:
            start = exactly(9)
            payload = exactly(int.from_bytes(start[:3], "big"))
            kind, flags, stream = start[3], start[4], int.from_bytes(start[5:], "big")
            if kind == SETTINGS and not flags & ACK:
                sock.sendall(frame(SETTINGS, ACK))
            elif kind == PING and not flags & ACK:
                sock.sendall(frame(PING, ACK, 0, payload))
            elif kind in (HEADERS, CONTINUATION):
                block += payload[5:] if kind == HEADERS and flags & 0x20 else payload
                if flags & END_HEADERS:
                    self.heads.append(decoder.decode(block, raw=True))
                    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.heads[-1]}
                    block = b""
                    answer = self.answer(stream, found)
                    sock.sendall(answer.removesuffix(HANG_UP))
                    if answer.endswith(HANG_UP):
                        return

    def answer(self, stream, request):
        self.requests.append(request)
        path = request.get(":path", "")
        if path.startswith("/once/") and [each[":path"] for each in self.requests].count(path) == 1:
            return ONCE[path.split("/")[2]](stream)
        if path[1:] in MALFORMED:
            return MALFORMED[path[1:]](stream)
        return head(stream, OK) + data(stream, f"{request.get(':method')} {path}".encode())

    def stop(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
