"""Real parsers read both text formats: prometheus_client, and promtool where it is found."""
import shutil
import subprocess

import pytest
from support import BUILD, ask, wait_until

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is missing: python3-prometheus-client")
from prometheus_client.openmetrics import parser as openmetrics_parser  # noqa: E402


def sample(kind):
    program = BUILD / "tests" / "metrics_sample"
    if not program.exists():
        pytest.skip(f"metrics_sample is not built in {BUILD}")
    return subprocess.run([program, kind], check=True, capture_output=True).stdout.decode()


def check_families(families):
    samples = {(s.name, tuple(sorted(s.labels.items()))): s for family in families for s in family.samples}

    def value(name, **labels):
        return samples[name, tuple(sorted(labels.items()))].value

    hostile = 'a"b\\c\nd\u00e9'
    assert value("sample_sent_bytes_total", to=hostile, why="") == 7
    assert value("sample_sent_bytes_total", to=hostile, why="x\ufffd") == 8
    assert value("sample_sent_bytes_total", overflow="true") == 9
    assert value("sample_level") == -0.125
    assert value("sample_duration_seconds_count", route="/users/{id}") == 100
    assert value("sample_duration_seconds_sum", route="/users/{id}") == sum(i * 0.25 for i in range(100))
    assert value("sample_duration_seconds_bucket", route="/users/{id}", le="1.0") == 5
    assert value("sample_duration_seconds_bucket", route="/users/{id}", le="+Inf") == 100
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds", "process_open_fds"):
        assert value(name) > 0
    assert value("proa_fibers", loop="1") == 0
    return samples


def test_text():
    families = list(parser.text_string_to_metric_families(sample("text")))
    check_families(families)
    by_name = {family.name: family for family in families}
    assert by_name["sample_sent_bytes"].type == "counter"
    assert by_name["sample_sent_bytes"].documentation == 'Sent\nwith \\ and "quotes"'
    assert by_name["sample_duration_seconds"].type == "histogram"


def test_openmetrics():
    text = sample("openmetrics")
    families = list(openmetrics_parser.text_string_to_metric_families(text))
    samples = check_families(families)
    by_name = {family.name: family for family in families}
    assert by_name["sample_sent_bytes"].unit == "bytes"
    assert by_name["sample_sent_bytes"].documentation == 'Sent\nwith \\ and "quotes"'
    exemplar = samples["sample_duration_seconds_bucket", (("le", "+Inf"), ("route", "/users/{id}"))].exemplar
    assert exemplar.labels == {"trace_id": "ab" + "0" * 30, "span_id": "cd" + "0" * 14}
    assert exemplar.value == 24.75
    assert float(exemplar.timestamp) > 1.7e9


def check_with_promtool(text):
    if not shutil.which("promtool"):
        pytest.skip("promtool is missing: package prometheus")
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True)
    assert (result.returncode, (result.stdout + result.stderr).decode()) == (0, "")


def test_promtool():
    check_with_promtool(sample("text").encode())


def test_a_services_own(hello):
    ask(hello.port, "GET", "/api/users/1", {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"})
    text = ask(hello.port, "GET", "/metrics").body.decode()
    assert {family.name for family in parser.text_string_to_metric_families(text)} >= {"requests", "process_cpu_seconds"}
    text = ask(hello.port, "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}).body.decode()
    assert {family.name for family in openmetrics_parser.text_string_to_metric_families(text)} >= {"requests"}
    check_with_promtool(ask(hello.port, "GET", "/metrics").body)


def test_a_service_with_a_database(users):
    """On SQLite and on PostgreSQL: what its pools and statements add."""
    assert ask(users.port, "POST", "/users", {"Content-Type": "application/json"}, '{"name": "A", "email": "a@b.example"}').status == 201
    assert ask(users.port, "GET", "/users").status == 200
    text = ask(users.port, "GET", "/metrics").body
    assert {"db_client_operation_duration_seconds", "db_client_connections_usage", "db_client_connection_max"} <= {
        family.name for family in parser.text_string_to_metric_families(text.decode())}
    check_with_promtool(text)


def test_connections_come_and_go_on_all_loops(start, database_url):
    """Loops count in cells of their own: what is taken is given back, and together they have what the pool may have."""
    users = start("users", "--threads=3", env={"DATABASE_URL": database_url}).wait_ready()

    def connections(state):
        return users.metric("db_client_connections_usage", db_client_connection_state=state)

    for _ in range(60):
        assert ask(users.port, "GET", "/users").status == 200
    wait_until(lambda: connections("used") == 0, what="the connections to be given back")
    assert 1 <= connections("idle") <= users.metric("db_client_connection_max")
    assert users.metric("db_client_connection_pending_requests") == 0


@pytest.mark.parametrize("setting, there", [
    ("both", {"http_request_duration_seconds", "http_server_request_duration_seconds"}),
    ("http_request_duration_seconds", {"http_request_duration_seconds"}),
    ("http_server_request_duration_seconds", {"http_server_request_duration_seconds"})])
def test_names_of_the_duration(start, setting, there):
    hello = start("hello", f"--http.duration-metric={setting}").wait_ready()
    assert ask(hello.port, "GET", "/api/users/1").status == 200
    families = {family.name: family for family in
                parser.text_string_to_metric_families(ask(hello.port, "GET", "/metrics").body.decode())}
    assert {name for name in families if name.endswith("request_duration_seconds")} == there
    labels = {"http_request_duration_seconds": {"method": "GET", "route": "/api/users/{id}", "status": "200"},
              "http_server_request_duration_seconds": {
                  "http_request_method": "GET", "http_route": "/api/users/{id}", "http_response_status_code": "200"}}
    for name in there:
        assert [sample.value for sample in families[name].samples
                if sample.name.endswith("_count") and labels[name].items() <= sample.labels.items()] == [1], families[name].samples
