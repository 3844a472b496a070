"""A real OpenTelemetry collector receives the spans and the log lines."""
import json
import lzma
import os
import re
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from support import BUILD, ROOT, ask, wait_until


def collector_program(folder):
    """otelcol-mini of PROA_TOOLS, unpacked, or a collector of the PATH."""
    packed = Path(os.environ.get("PROA_TOOLS", "/nonexistent")) / "otelcol-mini.xz"
    if packed.exists():
        program = folder / "otelcol-mini"
        with lzma.open(packed) as source, open(program, "wb") as target:
            shutil.copyfileobj(source, target)
        program.chmod(stat.S_IRWXU)
        return program
    for name in ("otelcol", "otelcol-contrib"):
        if shutil.which(name):
            return shutil.which(name)
    pytest.skip("no OpenTelemetry collector: put otelcol into the PATH, or otelcol-mini.xz into a folder named by PROA_TOOLS")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    """A running collector: its URL for traces, and the file it writes what it received to."""
    folder = tmp_path_factory.mktemp("collector")
    program, port, received = collector_program(folder), free_port(), folder / "received.json"
    config = folder / "config.yaml"
    config.write_text(json.dumps({
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"file": {"path": str(received)}, "file/logs": {"path": str(folder / "logs.json")}},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]},
                                  "logs": {"receivers": ["otlp"], "exporters": ["file/logs"]}},
                    "telemetry": {"metrics": {"level": "none"}}},
    }))
    process = subprocess.Popen([program, "--config", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def listens():
        assert process.poll() is None, "the collector ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, 30, "the collector to listen")
    yield f"http://127.0.0.1:{port}/v1/traces", received
    process.terminate()
    process.wait(20)


def spans_of(received, trace_id):
    spans = []
    for line in received.read_text().splitlines() if received.exists() else []:
        try:
            batch = json.loads(line)
        except ValueError:  # just being written
            continue
        for resource in batch["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                spans += [(resource["resource"], span) for span in scope["spans"] if span["traceId"] == trace_id]
    return spans


def attributes(of):
    return {item["key"]: next(iter(item["value"].values())) for item in of.get("attributes", [])}


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_arrive(collector, compression):
    program = BUILD / "tests" / "otlp_sample"
    if not program.exists():
        pytest.skip(f"otlp_sample is not built in {BUILD}")
    url, received = collector
    trace_id, counts = subprocess.run([program, url, compression], check=True, capture_output=True, text=True,
                                      timeout=60).stdout.splitlines()
    assert counts == "sent 602 rejected 0 failed 0 dropped 0"
    spans = wait_until(lambda: (found := spans_of(received, trace_id)) and len(found) == 2 and found, 20, "the spans")
    resource, client = next(item for item in spans if item[1]["name"] == "SELECT users")
    _, server = next(item for item in spans if item[1]["name"] == "GET /users/{id}")
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    assert attributes(resource) == {"service.name": "sample", "service.version": "1", "telemetry.sdk.name": "proa",
                                    "telemetry.sdk.language": "c", "telemetry.sdk.version": version,
                                    "deployment.environment.name": "test"}
    assert client["parentSpanId"] == server["spanId"] and "parentSpanId" not in server
    assert (server["kind"], client["kind"]) == (2, 3)
    assert attributes(client) == {"db.system.name": "postgresql", "weight": 0.5, "prepared": True,
                                  "error.type": "PROA_EUNAVAILABLE"}
    assert client["status"] == {"message": "gone", "code": 2}
    assert client["events"][0]["name"] == "retry" and attributes(client["events"][0]) == {"try": "2"}
    assert int(server["startTimeUnixNano"]) <= int(client["startTimeUnixNano"]) <= int(client["endTimeUnixNano"])


def log_records(received, wanted):
    """Resource and record of each log line that has come, those whose body is wanted."""
    records = []
    for line in received.read_text().splitlines() if received.exists() else []:
        try:
            batch = json.loads(line)
        except ValueError:  # just being written
            continue
        for resource in batch.get("resourceLogs", []):
            for scope in resource["scopeLogs"]:
                records += [(resource["resource"], record) for record in scope["logRecords"]
                            if record["body"]["stringValue"] == wanted]
    return records


def test_log_lines_arrive(collector, start, tmp_path):
    url, received = collector
    logs = received.parent / "logs.json"
    users = start("users", "--http.access-log", env={
        "DATABASE_URL": f"sqlite:{tmp_path}/users.db", "OTEL_LOGS_EXPORTER": "otlp", "ENVIRONMENT": "test",
        "OTEL_TRACES_EXPORTER": "none", "OTEL_BLRP_SCHEDULE_DELAY": "100",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url.removesuffix("/v1/traces")}).wait_ready()
    trace = "0af7651916cd43dd8448eb211c80319c"
    assert ask(users.port, "GET", "/users/7", {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}).status == 404
    found = wait_until(lambda: [item for item in log_records(logs, "request") if item[1].get("traceId") == trace], 20, "the record")
    resource, record = found[0]
    assert attributes(resource)["service.name"] == "users" and attributes(resource)["deployment.environment.name"] == "test"
    assert (record["severityNumber"], record["severityText"], record["spanId"]) == (9, "info", "b7ad6b7169203331")
    fields = attributes(record)
    assert fields["http.route"] == "/users/{id}" and fields["http.response.status_code"] == "404" and fields["target"] == "http.access"
    assert "service.name" not in fields and int(record["timeUnixNano"]) > 0
    line = wait_until(lambda: next((line for line in users.log() if line.get("trace_id") == trace), None))  # and written as ever
    assert line["message"] == "request" and line["level"] == "info"
    wait_until(lambda: users.metric("proa_otlp_log_records_total", outcome="sent") >= 1, what="the collector's answer to be counted")
    assert users.metric("proa_otlp_log_records_total", outcome="dropped") == 0


def test_a_dead_collector_costs_log_records_only(start, tmp_path):
    users = start("users", "--http.access-log", env={
        "DATABASE_URL": f"sqlite:{tmp_path}/users.db", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_BLRP_MAX_QUEUE_SIZE": "5",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"http://127.0.0.1:{free_port()}/v1/logs"}).wait_ready()
    for _ in range(30):
        assert ask(users.port, "GET", "/users").status == 200
    assert users.metric("proa_otlp_log_records_total", outcome="dropped") > 0
    wait_until(lambda: sum(line.get("http.route") == "/users" for line in users.log()) == 30, what="all lines")


def test_nobody_listens():
    program = BUILD / "tests" / "otlp_sample"
    if not program.exists():
        pytest.skip(f"otlp_sample is not built in {BUILD}")
    url = f"http://127.0.0.1:{free_port()}/v1/traces"
    output = subprocess.run([program, url, "none"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert output.splitlines()[1] == "sent 0 rejected 0 failed 602 dropped 0"
