"""`make observe`: real Prometheus and real Jaeger see what the service does, and one leads to the other."""
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from support import BUILD, ROOT, program_path, wait_until


def fetch(url, headers=None):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=20) as answer:
        return answer.read().decode()


class Observed:
    def __init__(self):
        self.process = subprocess.Popen([sys.executable, ROOT / "tools" / "observe", "--build", BUILD, "--json"],
                                        stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line, f"tools/observe ended with {self.process.wait()}"
        self.__dict__.update(json.loads(line))

    def need(self, name):
        url = getattr(self, name)
        if not url:
            pytest.skip(next(text for text in self.missing if text.lower().startswith(name)))
        return url

    def query(self, expression):
        url = f"{self.need('prometheus')}/api/v1/query?query={urllib.parse.quote(expression)}"
        return json.loads(fetch(url))["data"]["result"]

    def trace(self, trace_id, *names):
        """The spans of a trace by name, once there are those (a span may come with a later batch than those below it)."""
        url = f"{self.need('jaeger')}/api/traces/{trace_id}"

        def get():
            try:
                spans = json.loads(fetch(url))["data"][0]["spans"]
            except (urllib.error.HTTPError, IndexError, TypeError, KeyError):
                return None
            found = {span["operationName"]: {**span, "tags": {tag["key"]: tag["value"] for tag in span["tags"]}} for span in spans}
            return found if set(names) <= set(found) else None

        return wait_until(get, 20, f"trace {trace_id}", every=0.2)


@pytest.fixture(scope="module")
def observed():
    if not program_path("users").exists():
        pytest.skip(f"users is not built in {BUILD}")
    if not shutil.which("prometheus") and not shutil.which("jaeger") and not (
            Path(os.environ.get("PROA_TOOLS", "/nonexistent")) / "jaeger.xz").exists():
        pytest.skip("no Prometheus (apt-get install prometheus) and no Jaeger (PATH or PROA_TOOLS)")
    observed = Observed()
    yield observed
    observed.process.send_signal(signal.SIGINT)
    assert observed.process.wait(40) == 0
    assert not Path(observed.log).exists()  # nothing is left behind


def test_prometheus_has_real_data(observed):
    wait_until(lambda: observed.query('up{job="users"} == 1'), 20, "a scrape", every=0.2)
    total = wait_until(lambda: observed.query('sum(http_requests_total{route="/users",method="POST",status="201"})'), 20,
                       "requests", every=0.2)
    assert float(total[0]["value"][1]) > 0
    # Both names of the one instrument, with equal counts.
    short = 'sum(http_request_duration_seconds_count{route="/users/{id}",method="GET",status="404"})'
    long = ('sum(http_server_request_duration_seconds_count{http_route="/users/{id}",http_request_method="GET",'
            'http_response_status_code="404"})')
    assert wait_until(lambda: observed.query(f"{short} == {long}"), 20, "equal counts", every=0.2)
    assert wait_until(lambda: observed.query('db_client_operation_duration_seconds_count{db_operation_name="SELECT"} > 0'),
                      20, "statements", every=0.2)
    for name in ("process_resident_memory_bytes", "proa_loop_lag_seconds_count", "http_server_limit", "readiness_check"):
        assert observed.query(name), name


def test_an_exemplar_leads_to_its_trace(observed):
    """Prometheus scrapes OpenMetrics, and stores the exemplars."""
    prometheus, now, _ = observed.need("prometheus"), time.time(), observed.need("jaeger")
    url = (f"{prometheus}/api/v1/query_exemplars?query=http_server_request_duration_seconds_bucket"
           f"&start={now - 60}&end={now + 120}")
    series = wait_until(lambda: json.loads(fetch(url))["data"], 20, "exemplars", every=0.3)
    trace_id = series[0]["exemplars"][-1]["labels"]["trace_id"]
    spans = observed.trace(trace_id)
    assert any(name.startswith((series[0]["seriesLabels"]["http_request_method"], "SELECT")) for name in spans)


def test_a_callers_trace_goes_down_to_its_statement(observed):
    observed.need("jaeger")
    trace_id, caller = secrets.token_hex(16), secrets.token_hex(8)
    fetch(f"{observed.users}/users?limit=1", {"traceparent": f"00-{trace_id}-{caller}-01", "tracestate": "vendor=1"})
    spans = observed.trace(trace_id, "GET /users", "SELECT users")
    server, statement = spans["GET /users"], spans["SELECT users"]
    assert server["references"][0]["spanID"] == caller
    assert statement["references"][0]["spanID"] == server["spanID"]
    expected = {"http.request.method": "GET", "url.path": "/users", "http.route": "/users", "http.response.status_code": 200,
                "server.address": "127.0.0.1", "client.address": "127.0.0.1", "network.protocol.version": "1.1",
                "url.scheme": "http", "span.kind": "server"}
    assert {key: server["tags"].get(key) for key in expected} == expected
    assert server["tags"]["user_agent.original"].startswith("Python-urllib")
    assert server["tags"]["server.port"] == int(observed.users.rsplit(":", 1)[1])
    assert statement["tags"]["db.system.name"] == "sqlite" and statement["tags"]["db.operation.name"] == "SELECT"
    assert re.search(r"FROM users WHERE id > \$1", statement["tags"]["db.query.text"])
    assert statement["tags"]["span.kind"] == "client" and statement["tags"]["db.namespace"].endswith("users.db")
    assert server["startTime"] <= statement["startTime"]
    assert statement["startTime"] + statement["duration"] <= server["startTime"] + server["duration"] + 1


def test_a_caller_that_does_not_sample_is_heeded(observed):
    observed.need("jaeger")
    trace_id = secrets.token_hex(16)
    fetch(f"{observed.users}/users?limit=1", {"traceparent": f"00-{trace_id}-{secrets.token_hex(8)}-00"})
    later = secrets.token_hex(16)
    fetch(f"{observed.users}/users?limit=1", {"traceparent": f"00-{later}-{secrets.token_hex(8)}-01"})
    observed.trace(later)  # so the earlier would be there
    with pytest.raises(urllib.error.HTTPError):
        fetch(f"{observed.need('jaeger')}/api/traces/{trace_id}")


def test_a_log_line_leads_to_its_trace(observed):
    observed.need("jaeger")

    def line():
        for text in Path(observed.log).read_text().splitlines():
            entry = json.loads(text) if text.endswith("}") else {}
            if entry.get("url.path") == "/users" and entry.get("http.response.status_code") == 201:
                return entry
        return None

    entry = wait_until(line, 20, "an access line", every=0.2)
    spans = observed.trace(entry["trace_id"], "POST /users", "INSERT users", "COMMIT")
    assert spans["POST /users"]["spanID"] == entry["span_id"]
    assert entry["deployment.environment.name"] == "observe"


def test_all_spans_arrived(observed):
    observed.need("jaeger")
    metrics = fetch(f"{observed.users}/metrics")
    counts = {match[1]: float(match[2]) for match in re.finditer(r'proa_otlp_spans_total\{outcome="(\w+)"\} (\S+)', metrics)}
    assert counts["sent"] > 0 and counts["failed"] == counts["rejected"] == counts["dropped"] == 0
