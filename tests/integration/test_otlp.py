"""A real OpenTelemetry collector receives the spans."""
import json
import lzma
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path

import pytest
from support import BUILD, wait_until


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
        "exporters": {"file": {"path": str(received)}},
        "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
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
    assert attributes(resource) == {"service.name": "sample", "service.version": "1", "telemetry.sdk.name": "proa",
                                    "telemetry.sdk.language": "c", "deployment.environment.name": "test"}
    assert client["parentSpanId"] == server["spanId"] and "parentSpanId" not in server
    assert (server["kind"], client["kind"]) == (2, 3)
    assert attributes(client) == {"db.system.name": "postgresql", "weight": 0.5, "prepared": True,
                                  "error.type": "PROA_EUNAVAILABLE"}
    assert client["status"] == {"message": "gone", "code": 2}
    assert client["events"][0]["name"] == "retry" and attributes(client["events"][0]) == {"try": "2"}
    assert int(server["startTimeUnixNano"]) <= int(client["startTimeUnixNano"]) <= int(client["endTimeUnixNano"])


def test_nobody_listens():
    program = BUILD / "tests" / "otlp_sample"
    if not program.exists():
        pytest.skip(f"otlp_sample is not built in {BUILD}")
    url = f"http://127.0.0.1:{free_port()}/v1/traces"
    output = subprocess.run([program, url, "none"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert output.splitlines()[1] == "sent 0 rejected 0 failed 602 dropped 0"
