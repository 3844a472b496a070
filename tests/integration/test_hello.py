"""examples/hello as a client sees it."""
import threading

import httpx
import pytest
from support import Client, ask, expect_problem


def test_health(hello):
    answer = ask(hello.port, "GET", "/health")
    assert (answer.status, answer.body) == (200, b"healthy")
    assert answer.header("Content-Type").startswith("text/plain")


@pytest.mark.parametrize("user", ["0", "7", "18446744073709551615"])
def test_user(hello, user):
    response = httpx.get(f"{hello.url}/api/users/{user}")
    assert response.status_code == 200
    assert response.text == f"User {user}"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("user", ["abc", "-1", "1.5", "18446744073709551616", "1%20", "0x10", "+1", "%31a"])
def test_user_that_is_no_number(hello, user):
    problem = expect_problem(ask(hello.port, "GET", f"/api/users/{user}"), 400)
    assert "id" in problem["detail"]
    assert problem["instance"] == f"/api/users/{user}"


def test_percent_encoded_number(hello):
    assert ask(hello.port, "GET", "/api/users/%31%32").body == b"User 12"


def test_methods(hello):
    head = ask(hello.port, "HEAD", "/api/users/1")
    assert (head.status, head.body, head.header("Content-Length")) == (200, b"", "6")
    options = ask(hello.port, "OPTIONS", "/api/users/1")
    assert options.status in (200, 204)
    assert {"GET", "HEAD", "OPTIONS"} <= {m.strip() for m in options.header("Allow").split(",")}
    answer = ask(hello.port, "DELETE", "/api/users/1")
    expect_problem(answer, 405)
    assert {"GET", "HEAD"} <= {m.strip() for m in answer.header("Allow").split(",")}


def test_unknown_path(hello):
    expect_problem(ask(hello.port, "GET", "/nothing"), 404)


def test_date_and_keep_alive(hello):
    with Client(hello.port) as client:
        for _ in range(3):
            answer = client.ask("GET", "/api/users/1")
            assert answer.header("Date").endswith(" GMT")
            assert not answer.closes()


def test_metrics_formats(hello):
    text = ask(hello.port, "GET", "/metrics")
    assert text.header("Content-Type").startswith("text/plain; version=0.0.4")
    assert b"# TYPE requests_total counter" in text.body
    openmetrics = ask(hello.port, "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.header("Content-Type").startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")


def test_count_is_exact_across_loops(start):
    hello = start("hello", "--threads=4").wait_ready()
    before = hello.metric("requests_total")
    clients, requests = 16, 50

    def work():
        with Client(hello.port) as client:
            for i in range(requests):
                assert client.ask("GET", f"/api/users/{i}").status == 200

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The first scrape was counted after it was written, and the last one before.
    assert hello.metric("requests_total") - before in (clients * requests + 1, clients * requests + 0)
    assert hello.metric("http_requests_total", route="/api/users/{id}") == clients * requests


def test_probes(hello):
    for path in ("/livez", "/readyz", "/startupz"):
        assert ask(hello.port, "GET", path).status == 200
    verbose = ask(hello.port, "GET", "/readyz?verbose")
    assert verbose.body == b"[+]serving ok\n"


def test_traceparent_joins_the_log(start):
    hello = start("hello", "--http.access-log").wait_ready()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    ask(hello.port, "GET", "/api/users/1", {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    hello.wait_for_line(trace)


def test_admin_listener(start):
    hello = start("hello", "--admin.address=127.0.0.1:0").wait_ready()
    admin = int(hello.wait_for_line(r'"listener":"admin"').split("127.0.0.1:")[1].split('"')[0])
    assert ask(admin, "GET", "/metrics").status == 200
    assert ask(admin, "GET", "/health").body == b"healthy"
    assert ask(admin, "GET", "/api/users/1").status == 404
    assert ask(hello.port, "GET", "/metrics").status == 404
    assert ask(hello.port, "GET", "/health").status == 200


def test_no_metrics(start):
    hello = start("hello", "--no-metrics").wait_ready()
    assert ask(hello.port, "GET", "/metrics").status == 404
    assert ask(hello.port, "GET", "/api/users/1").status == 200
