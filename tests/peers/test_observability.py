"""What a server tells, read by others: promtool, an OpenMetrics reader, an OTLP collector, a log that people read."""

import http.server
import json
import re
import shutil
import subprocess
import threading
import unittest

from harness import PeerTest, free_port, wait_until

PROMTOOL = shutil.which("promtool")
OPEN = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5"
SAMPLE = re.compile(r'^([a-z_0-9]+)(\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (-?[0-9.e+-]+|\+Inf|NaN)( # \{trace_id="([0-9a-f]{32})"\} '
                    r'([0-9.e-]+) ([0-9.]+))?$')


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes OTLP/HTTP in JSON."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


def attributes(of):
    return {each["key"]: next(iter(each["value"].values())) for each in of["attributes"]}


class Observability(PeerTest):
    @classmethod
    def configure(cls, config):
        cls.collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
        cls.collector.got = []
        threading.Thread(target=cls.collector.serve_forever, daemon=True).start()
        config["tracing"] = {"url": f"http://127.0.0.1:{cls.collector.server_address[1]}/v1/traces", "sample": 1, "service": "edge"}
        config["pools"]["dead"] = {"health": "off", "endpoints": [{"name": "gone", "address": f"127.0.0.1:{free_port()}"}]}
        config["routes"].insert(0, {"name": "dead", "match": {"path_prefix": "/dead"}, "pool": "dead"})

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.collector.shutdown()
        cls.collector.server_close()

    def page(self, accept=None):
        _, headers, body = self.server.admin(path="/metrics", headers={"Accept": accept} if accept else {})
        return headers["Content-Type"], body.decode()

    def requests(self):
        for _ in range(5):
            self.good_client_is_served()
        self.assertEqual(self.connect().get("/dead").status, 502)
        wait_until("they are counted", lambda: self.server.metrics().get('plimsoll_requests_ended_total{cause="connect_refused"}', 0) > 0)

    @unittest.skipUnless(PROMTOOL, "needs promtool: Debian package prometheus")
    def test_promtool_finds_nothing(self):
        self.requests()
        ran = subprocess.run([PROMTOOL, "check", "metrics"], input=self.page()[1], capture_output=True, text=True)
        self.assertEqual((ran.returncode, ran.stdout + ran.stderr), (0, ""))

    def test_prometheus_is_the_default(self):
        kind, text = self.page()
        self.assertEqual(kind, "text/plain; version=0.0.4; charset=utf-8")
        self.assertIn("# TYPE plimsoll_requests_total counter\n", text)
        self.assertNotIn("# EOF", text)

    def test_openmetrics(self):
        self.requests()
        kind, text = self.page(OPEN)
        self.assertEqual(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.assertTrue(text.endswith("\n# EOF\n"))
        families, family, seen, exemplars = {}, None, set(), []
        for line in text.splitlines()[:-1]:
            if line.startswith("# HELP "):
                family = line.split()[2]
                self.assertNotIn(family, families, "a family comes twice")
                families[family] = None
                continue
            if line.startswith("# TYPE "):
                self.assertEqual(line.split()[2], family)
                families[family] = line.split()[3]
                continue
            sample = SAMPLE.match(line)
            self.assertTrue(sample, line)
            suffixes = {"counter": ["_total"], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}[families[family]]
            self.assertIn(sample[1], [family + each for each in suffixes])
            self.assertNotIn((sample[1], sample[3]), seen, "a series comes twice")
            seen.add((sample[1], sample[3]))
            if sample[5]:
                exemplars.append((sample[3], float(sample[7])))
        self.assertTrue(exemplars, "no bucket has the trace of a request")
        for labels, took in exemplars:
            le = re.search(r'le="([^"]+)"', labels)[1]
            self.assertLess(took, float(le.replace("+Inf", "inf")), labels)

    def test_every_documented_name_is_there_and_no_other(self):
        _, text = self.page()
        names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        documented = set()
        root = __file__.rsplit("/tests/", 1)[0]
        with open(f"{root}/docs/observability.md") as file:
            for line in file:
                if not line.startswith("| `plimsoll_"):
                    continue
                first = ""
                for word in re.findall(r"`(\w+)`", line.split("|")[1]):
                    if word.startswith("plimsoll_"):
                        first = word
                        documented.add(word)
                    else:  # "_4xx_total": the same with another end
                        matching = [each for each in names if each.endswith(word) and each[:8] == first[:8] and
                                    each[:len(each) - len(word)] and first.startswith(each[:len(each) - len(word)])]
                        self.assertTrue(matching, f"{word} after {first}")
                        documented.update(matching)
        self.assertEqual(names, documented)

    def test_spans_reach_a_collector(self):
        self.requests()

        def servers():
            return [(span, spans) for _, _, body in self.collector.got for resource in body["resourceSpans"]
                    for scope in resource["scopeSpans"] for spans in [scope["spans"]] for span in spans
                    if span["kind"] == 2 and attributes(span).get("url.path") == "/dead"]
        wait_until("the spans are there", servers, 10)
        span, spans = servers()[0]
        path, kind, body = self.collector.got[0]
        self.assertEqual((path, kind), ("/v1/traces", "application/json"))
        self.assertEqual(attributes(body["resourceSpans"][0]["resource"])["service.name"], "edge")
        told = attributes(span)
        self.assertEqual((told["plimsoll.route"], told["plimsoll.pool"], told["plimsoll.cause"], told["http.response.status_code"]),
                         ("dead", "dead", "connect_refused", "502"))
        self.assertTrue([each for each in spans if each["kind"] == 3 and each.get("parentSpanId") == span["spanId"]])

    def test_the_endpoint_is_sent_the_attempts_span(self):
        trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
        with_trace = self.connect().send(f"GET /traced HTTP/1.1\r\nHost: t\r\ntraceparent: 00-{trace}-{parent}-01\r\n\r\n".encode())
        self.assertEqual(with_trace.response().status, 200)
        got = next(each for each in self.backend_got() if each.target == "/traced")
        sent = dict((name.lower(), value) for name, value in got.headers)[b"traceparent"].decode().split("-")
        self.assertEqual(sent[1], trace)

        def spans():
            return [span for _, _, body in self.collector.got for span in body["resourceSpans"][0]["scopeSpans"][0]["spans"]
                    if span["traceId"] == trace]
        wait_until("both spans are there", lambda: len(spans()) == 2, 10)
        server = next(each for each in spans() if each["kind"] == 2)
        attempt = next(each for each in spans() if each["kind"] == 3)
        self.assertEqual(server["parentSpanId"], parent)
        self.assertEqual(attempt["parentSpanId"], server["spanId"])
        self.assertEqual(attempt["spanId"], sent[2])

    def test_log(self):
        self.requests()
        line = self.server.log_line(lambda each: each["path"] == "/dead")  # lines come up to 100 ms late
        self.assertEqual((line["protocol"], line["cause"], line["route"]), ("http1", "connect_refused", "dead"))
        self.assertRegex(line["trace_id"], "^[0-9a-f]{32}$")
        self.assertEqual(line["attempts"][0]["endpoint"], "gone")


if __name__ == "__main__":
    unittest.main()
