"""Clients that break the rules, dawdle or flood: each is answered as RFC 9110 and 9112 want, within its limit, and harms nobody else."""
import socket
import struct
import threading
import time

import pytest
from support import ASAN_SMALL, Client, Gone, ask, expect_problem, wait_until

GET = "GET /api/users/1 HTTP/1.1\r\n"
POST = "POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"


def is_alive(program):
    assert ask(program.port, "GET", "/health").status == 200


# Whatever two readers could understand differently: 400 and the connection closed, nothing behind it looked at.
AMBIGUOUS = {
    "no host": GET + "\r\n",
    "two hosts": GET + "Host: a\r\nHost: b\r\n\r\n",
    "two equal hosts": GET + "Host: a\r\nHost: a\r\n\r\n",
    "host with a path": GET + "Host: a/b\r\n\r\n",
    "host with a space": GET + "Host: a b\r\n\r\n",
    "host with user": GET + "Host: u@a\r\n\r\n",
    "host with bad port": GET + "Host: a:8x\r\n\r\n",
    "lengths differ": POST + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
    "lengths in a list differ": POST + "Content-Length: 2, 3\r\n\r\n{}x",
    "length and chunked": POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked and length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "negative length": POST + "Content-Length: -1\r\n\r\n",
    "signed length": POST + "Content-Length: +2\r\n\r\n{}",
    "hexadecimal length": POST + "Content-Length: 0x2\r\n\r\n{}",
    "length of words": POST + "Content-Length: two\r\n\r\n{}",
    "empty length": POST + "Content-Length: \r\n\r\n",
    "length too large for 64 bits": POST + "Content-Length: 18446744073709551618\r\n\r\n{}",
    "length with space inside": POST + "Content-Length: 1 2\r\n\r\n",
    "doubled chunked": POST + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "doubled chunked in two lines": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunked not last": POST + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked misspelt": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "identity": POST + "Transfer-Encoding: identity\r\n\r\n",
    "chunked in HTTP/1.0": "POST /users HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": GET + "Host : a\r\n\r\n",
    "space before colon of a length": POST + "Content-Length : 2\r\n\r\n{}",
    "folded line": GET + "Host: a\r\nX-Y: 1\r\n 2\r\n\r\n",
    "first header folded": GET + " Host: a\r\n\r\n",
    "bare LF between lines": "GET /api/users/1 HTTP/1.1\nHost: a\n\n",
    "bare LF at the head's end": GET + "Host: a\r\n\n",
    "bare CR in a value": GET + "Host: a\r\nX: a\rb\r\n\r\n",
    "bare CR as a line's end": GET + "Host: a\rX: b\r\n\r\n",
    "NUL in a value": GET + "Host: a\r\nX: a\0b\r\n\r\n",
    "control character in a value": GET + "Host: a\r\nX: a\x01b\r\n\r\n",
    "NUL in a name": GET + "Host: a\r\nX\0: a\r\n\r\n",
    "empty name": GET + "Host: a\r\n: a\r\n\r\n",
    "name with a separator": GET + "Host: a\r\nX(y): a\r\n\r\n",
    "no colon": GET + "Host: a\r\nX\r\n\r\n",
    "bad chunk size": POST + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "chunk size with a sign": POST + "Transfer-Encoding: chunked\r\n\r\n+2\r\n{}\r\n0\r\n\r\n",
    "chunk size with 0x": POST + "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "chunk size too large": POST + "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n",
    "chunk longer than told": POST + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n",
    "chunk ended by a bare LF": POST + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\n0\r\n\r\n",
    "chunk size ended by a bare LF": POST + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
    "bare CR in a chunk extension": POST + "Transfer-Encoding: chunked\r\n\r\n2;a\rb\r\n{}\r\n0\r\n\r\n",
    "two spaces in the request line": "GET  /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "tab in the request line": "GET\t/api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the target": "GET /api/users/ 1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "no version": "GET /api/users/1\r\nHost: a\r\n\r\n",
    "lower-case version": "GET /api/users/1 http/1.1\r\nHost: a\r\n\r\n",
    "broken version": "GET /api/users/1 HTTP/1.x\r\nHost: a\r\n\r\n",
    "relative target": "GET api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "fragment": "GET /api/users/1#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "asterisk with GET": "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "broken escape": "GET /users/%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "garbage": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "empty method": " /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n",
}
KEEPS_CONNECTION = {"broken escape"}  # unmistakable as a message: only its target is wrong


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One users service for all that must leave it unharmed."""
    from support import Program, program_path
    if not program_path("users").exists():
        pytest.skip("users is not built")
    program = Program("users", env={"DATABASE_URL": f"sqlite:{tmp_path_factory.mktemp('db')}/u.db"}).wait_ready()
    yield program
    program.stop()


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_ambiguous_is_400_and_close(shared, name):
    with Client(shared.port) as client:
        client.send(AMBIGUOUS[name] + "GET /health HTTP/1.1\r\nHost: smuggled\r\n\r\n")
        answer = client.answer()
        expect_problem(answer, 400)
        if name in KEEPS_CONNECTION:
            return
        assert answer.closes()
        # What was smuggled behind it gets no answer.
        assert client.rest() == b""


UNUSUAL_BUT_RIGHT = {
    "an empty line before": ("\r\n" + GET + "Host: a\r\n\r\n", 404),
    "absolute form": ("GET http://a/health HTTP/1.1\r\nHost: a\r\n\r\n", 200),
    "host in another case": ("GET /health HTTP/1.1\r\nhOSt:a\r\n\r\n", 200),
    "empty host": ("GET /health HTTP/1.1\r\nHost:\r\n\r\n", 200),
    "tabs around a value": ("GET /health HTTP/1.1\r\nHost: \t a \t\r\n\r\n", 200),
    "a byte above 127 in a value": ("GET /health HTTP/1.1\r\nHost: a\r\nX: \xe4\r\n\r\n", 200),
    "options for the server": ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", (200, 204)),
    "equal lengths": (POST + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", (400, 422)),
    "chunk extensions": (POST + "Transfer-Encoding: chunked\r\n\r\n2;a=b;c=\"d\"\r\n{}\r\n0\r\nX-Trailer: 1\r\n\r\n", 422),
    "chunked in another case": (POST + "Transfer-Encoding: Chunked\r\n\r\n2\r\n{}\r\n000\r\n\r\n", 422),
    "unknown coding": (POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "unknown method": ("BREW /users HTTP/1.1\r\nHost: a\r\n\r\n", (405, 501)),
    "newer minor version": ("GET /health HTTP/1.9\r\nHost: a\r\n\r\n", 200),
    "other major version": ("GET /health HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "HTTP/1.0 without host": ("GET /health HTTP/1.0\r\n\r\n", 200),
    "expectation that is unknown": ("GET /health HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", 417),
}


@pytest.mark.parametrize("name", UNUSUAL_BUT_RIGHT)
def test_unusual(shared, name):
    text, status = UNUSUAL_BUT_RIGHT[name]
    with Client(shared.port) as client:
        answer = client.send(text).answer()
        assert answer.status in (status if isinstance(status, tuple) else (status,)), (answer.status, answer.body)


def test_every_byte_on_its_own(shared):
    message = (POST + "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"nam\r\n7\r\ne\":\"x\"}\r\n0\r\n\r\n").encode()
    with Client(shared.port) as client:
        for i in range(len(message)):
            client.send(message[i:i + 1])
        expect_problem(client.answer(), 422)
        assert client.ask("GET", "/health").status == 200


def test_pipelining_keeps_the_order(shared):
    created = ask(shared.port, "POST", "/users", {"Content-Type": "application/json"},
                  '{"name":"p","email":"pipeline@example.org"}')
    location = created.header("Location")
    with Client(shared.port) as client:
        for i in range(50):
            client.request("GET", location if i % 2 else "/health")
        for i in range(50):
            answer = client.answer()
            assert answer.status == 200
            assert (answer.body == b"healthy") == (i % 2 == 0)


def test_pipelining_after_close(shared):
    with Client(shared.port) as client:
        client.request("GET", "/health", {"Connection": "close"}).request("GET", "/health")
        assert client.answer().closes()
        assert client.rest() == b""


def test_half_close_gets_its_answers(shared, hello):
    """What needs no waiting is answered; a request that waits is cancelled, as for a client that has gone, and told so."""
    with Client(hello.port) as client:
        client.request("GET", "/api/users/1").request("GET", "/api/users/2")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().body == b"User 1"
        assert client.answer().body == b"User 2"
        assert client.is_closed()
    with Client(shared.port) as client:
        client.request("GET", "/users")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer().status in (200, 503)
        assert client.is_closed()


def test_half_a_request_then_the_end(shared):
    for text in ("GET /hea", GET + "Host: a\r\n", POST + "Content-Length: 10\r\n\r\n{", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\n{"):
        with Client(shared.port) as client:
            client.send(text)
            client.socket.shutdown(socket.SHUT_WR)
            data = client.rest()
            assert data == b"" or data.startswith(b"HTTP/1.1 400 "), data
    is_alive(shared)


def test_expect_continue(shared):
    body = '{"name":"e","email":"expect@example.org"}'
    with Client(shared.port) as client:
        client.send(POST + f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n")
        assert client.answer().status == 100
        assert client.send(body).answer().status == 201
    with Client(shared.port) as client:
        # What is refused anyway is refused without the body.
        client.send(f"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
                    "Expect: 100-continue\r\n\r\n")
        assert client.answer().status == 415


def test_reset_in_the_middle(shared):
    for text in ("GET /hea", POST + "Content-Length: 10\r\n\r\n{", "GET /users HTTP/1.1\r\nHost: a\r\n\r\n"):
        for _ in range(10):
            client = Client(shared.port)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(text)
            client.close()
    is_alive(shared)
    wait_until(lambda: shared.metric("http_server_requests_in_flight") <= 1, what="aborted requests to end")


def test_random_garbage(shared):
    import random
    source = random.Random(7)
    for _ in range(100):
        with Client(shared.port) as client:
            try:
                client.send(source.randbytes(source.randrange(1, 3000)))
                client.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            data = client.rest()
            assert data == b"" or data.startswith(b"HTTP/1.1 4") or data.startswith(b"HTTP/1.1 5"), data[:100]
    is_alive(shared)


# Limits of size.

def test_head_too_large(shared):
    with Client(shared.port) as client:
        client.send("GET /health HTTP/1.1\r\nHost: a\r\nX: " + "x" * 17000 + "\r\n\r\n")
        answer = client.answer()
        expect_problem(answer, 431)
        assert answer.closes()


def test_too_many_fields(shared):
    fields = "".join(f"X-{i}: {i}\r\n" for i in range(99))
    with Client(shared.port) as client:
        assert client.send("GET /health HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n").answer().status == 200
        answer = client.send("GET /health HTTP/1.1\r\nHost: a\r\nY: 1\r\n" + fields + "\r\n").answer()
        expect_problem(answer, 431)


def test_target_too_long(shared):
    assert ask(shared.port, "GET", "/" + "x" * 8000).status == 404
    expect_problem(ask(shared.port, "GET", "/" + "x" * 8300), 414)


@pytest.mark.parametrize("form", ["length", "chunked"])
def test_body_too_large(shared, form):
    with Client(shared.port) as client:
        if form == "length":
            client.send(POST + f"Content-Length: {2 << 20}\r\n\r\n")
        else:
            client.send(POST + "Transfer-Encoding: chunked\r\n\r\n")
            try:
                for _ in range(20):
                    client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except OSError:
                pass  # answered and closed before all was sent
        expect_problem(client.answer(), 413)


def test_limits_are_counted(shared):
    metrics = shared.metrics()
    for name, value in {"connections": None, "requests_in_flight": 1000, "streams": 10000, "head_bytes": 16384, "fields": 100,
                        "target_bytes": 8192, "body_bytes": 1 << 20, "head_ms": 10000, "body_ms": 30000, "write_stall_ms": 10000,
                        "idle_ms": 60000, "request_ms": 20000, "drain_delay_ms": 5000, "drain_ms": 25000}.items():
        shown = metrics[f'http_server_limit{{limit="{name}"}}']
        assert value is None or shown == value, name
    for name in ("head_bytes", "fields", "target_bytes", "body_bytes"):
        before = shared.metric("http_server_limit_hits_total", limit=name)
        {"head_bytes": test_head_too_large, "fields": test_too_many_fields, "target_bytes": test_target_too_long,
         "body_bytes": lambda p: test_body_too_large(p, "length")}[name](shared)
        assert shared.metric("http_server_limit_hits_total", limit=name) == before + 1, name


# Limits of time and number.

@pytest.fixture
def hasty(start, tmp_path):
    """With limits that a test can wait for."""
    return start("users", "--threads=1", "--http.head-ms=1000", "--http.body-ms=1000", "--http.idle-ms=1000", "--http.write-stall-ms=400",
                 env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db", "ASAN_OPTIONS": ASAN_SMALL}).wait_ready()


def test_slow_head(hasty):
    begin = time.monotonic()
    with Client(hasty.port) as client:
        client.send("GET /health HT")
        expect_problem(client.answer(), 408)
        assert 0.95 < time.monotonic() - begin < 10
        assert client.is_closed()
    assert hasty.metric("http_server_limit_hits_total", limit="head_ms") == 1


def test_slow_head_byte_by_byte(hasty):
    """Progress does not buy time: the limit is for the whole head."""
    begin = time.monotonic()
    with Client(hasty.port) as client:
        try:
            for byte in b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 1000:
                client.send(bytes([byte]))
                time.sleep(0.02)
                assert time.monotonic() - begin < 10
        except OSError:
            pass
        assert client.rest().startswith(b"HTTP/1.1 408 ") or time.monotonic() - begin < 10


def test_slow_body(hasty):
    with Client(hasty.port) as client:
        client.send(POST + "Content-Length: 100\r\n\r\n{")
        expect_problem(client.answer(), 408)
        assert client.is_closed()
    assert hasty.metric("http_server_limit_hits_total", limit="body_ms") == 1


def test_idle_connection_is_closed(hasty):
    with Client(hasty.port) as fresh, Client(hasty.port) as used:
        assert used.ask("GET", "/health").status == 200
        assert fresh.is_closed() and used.is_closed()


def test_slow_readers(hasty):
    """A client that asks and asks and never reads: its answers stop, it is reset, and memory stays bounded."""
    for i in range(100):
        body = '{"name":"%s","email":"u%d@example.org"}' % ("n" * 100, i)
        assert ask(hasty.port, "POST", "/users", {"Content-Type": "application/json"}, body).status == 201
    before = hasty.rss_kib()
    clients = []
    for _ in range(8):
        client = Client(hasty.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.settimeout(0.2)
        try:
            for _ in range(2000):
                client.request("GET", "/users?limit=100")
        except OSError:
            pass  # the server has stopped reading, or the connection was reset
        clients.append(client)
    wait_until(lambda: hasty.metric("http_server_limit_hits_total", limit="write_stall_ms") >= 8, 60, "stalled writes to be given up")
    assert hasty.rss_kib() - before < 64 * 1024
    is_alive(hasty)
    for client in clients:
        client.close()


def test_requests_in_flight(start, tmp_path):
    users = start("users", "--threads=1", "--http.requests-in-flight=3", env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    held = []
    for _ in range(3):
        client = Client(users.port)
        client.send(POST + "Content-Length: 100\r\n\r\n{")
        held.append(client)
    wait_until(lambda: users.metric("http_server_requests_in_flight") >= 3, what="three requests to be at work")
    answer = ask(users.port, "GET", "/users")
    expect_problem(answer, 503)
    assert int(answer.header("Retry-After")) >= 1
    # Probes are exempt.
    for path in ("/health", "/livez", "/readyz", "/metrics"):
        assert ask(users.port, "GET", path).status == 200
    assert users.metric("http_server_limit_hits_total", limit="requests_in_flight") >= 1
    held.pop().close()
    wait_until(lambda: ask(users.port, "GET", "/users").status == 200, what="room for a request")
    for client in held:
        client.close()


def test_connections(start):
    """At the limit the oldest idle connection goes; when none is idle, the new one is refused with 503."""
    hello = start("hello", "--threads=1", "--http.connections=4").wait_ready()
    idle = [Client(hello.port) for _ in range(4)]
    for client in idle:
        assert client.ask("GET", "/health").status == 200
    with Client(hello.port) as one_more:
        assert one_more.ask("GET", "/health").status == 200
        assert idle[0].is_closed()
        assert idle[1].ask("GET", "/health").status == 200
    for client in idle:
        client.close()
    busy = []

    def busy_to_the_limit():
        client = Client(hello.port)
        client.send("GET /health HTTP/1.1\r\nHos")
        busy.append(client)
        return connection_refused(hello.port)

    wait_until(busy_to_the_limit, what="a refused connection")
    for client in busy:
        client.close()
    wait_until(lambda: not connection_refused(hello.port), what="room for a connection")
    assert hello.metric("http_server_limit_hits_total", limit="connections") >= 2


def connection_refused(port):
    try:
        with Client(port) as client:
            answer = client.ask("GET", "/health")
            if answer.status == 503:
                assert answer.closes()
                return True
            return False
    except (Gone, OSError):
        return False


def test_request_deadline(start, postgres_url, postgres):
    """A request whose database does not answer ends with 504 at its deadline."""
    import psycopg
    users = start("users", "--http.request-ms=400", env={"DATABASE_URL": postgres_url}).wait_ready()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("LOCK TABLE users")
        begin = time.monotonic()
        answer = ask(users.port, "GET", "/users")
        assert answer.status in (503, 504), answer.body
        assert 0.3 < time.monotonic() - begin < 10
    wait_until(lambda: ask(users.port, "GET", "/users").status == 200, what="an answer in time")
    assert users.metric("http_server_limit_hits_total", limit="request_ms") >= 1


def test_a_crowd_of_slow_clients_does_not_keep_others_from_being_served(start):
    hello = start("hello", "--threads=2").wait_ready()
    slow = []
    for i in range(400):
        client = Client(hello.port)
        client.send("GET /api/users/1 HTTP/1.1\r\nHost: a\r\nX: "[: 10 + i % 30])
        slow.append(client)
    times = []
    for _ in range(50):
        begin = time.monotonic()
        assert ask(hello.port, "GET", "/api/users/1").status == 200
        times.append(time.monotonic() - begin)
    assert sorted(times)[25] < 0.5
    for client in slow:
        client.close()


def test_many_connections_at_once(start):
    hello = start("hello", "--threads=2").wait_ready()
    failures = []

    def work():
        try:
            for _ in range(20):
                assert ask(hello.port, "GET", "/api/users/5").body == b"User 5"
        except BaseException as error:  # noqa: B902
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    # Connections are spread evenly over the loops and all given back.
    wait_until(lambda: hello.metric("http_server_connections") <= 1, what="connections to be given back")
