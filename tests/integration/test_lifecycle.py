"""Start, signals, drain: with real signals and clients that count what was acknowledged."""
import asyncio
import os
import re
import signal
import socket
import subprocess
import time

import pytest
from support import Client, Gone, ask, program_path, wait_until


async def read_answer(reader):
    """Status, whether the connection closes, or None when it ended before the first byte of an answer."""
    line = await reader.readline()
    if not line:
        return None
    status = int(line.split()[1])
    closes, length = False, 0
    while (line := await reader.readline()) != b"\r\n":
        if not line:
            raise AssertionError("cut within a head")
        name, value = line.decode().split(":", 1)
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() == "connection":
            closes = value.strip().lower() == "close"
    body = await reader.readexactly(length)
    return status, closes, body


class Counted:
    """What a crowd of clients saw."""

    def __init__(self):
        self.acknowledged = 0
        self.unacknowledged = []
        self.refused = 0
        self.other = []


async def one_client(port, number, counted, stop):
    """Requests on keep-alive connections, a new one whenever the server closes, until it can no longer be reached.
    A request on a kept-alive connection that the server closed at the same moment may be repeated (RFC 9110 section 9.2.2);
    one that was the first of its connection has been accepted: it must be answered, when it comes within the second that a drain waits
    for it."""
    while not stop.is_set():
        began = time.monotonic()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            counted.refused += 1
            return
        first = True
        try:
            while True:
                writer.write(b"GET /api/users/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
                if first and time.monotonic() - began > 0.9:
                    first = False  # on a machine that is very busy it was sent too late
                await writer.drain()
                answer = await read_answer(reader)
                if answer is None:
                    if first:
                        counted.unacknowledged.append("ended without an answer")
                    break
                status, closes, body = answer
                if status == 200 and body == b"User %d" % number:
                    counted.acknowledged += 1
                else:
                    counted.other.append((status, body))
                first = False
                if closes:
                    break
        except (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError) as error:
            if first:
                counted.unacknowledged.append(repr(error))
        finally:
            writer.close()


async def crowd(hello, clients, signal_after):
    counted = Counted()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(one_client(hello.port, i, counted, stop)) for i in range(clients)]
    while counted.acknowledged < signal_after:
        await asyncio.sleep(0.005)
    hello.send_signal(signal.SIGTERM)
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    return counted


@pytest.mark.parametrize("delay_ms", [300, 0])
def test_sigterm_loses_no_accepted_request(start, delay_ms):
    hello = start("hello", "--threads=2", f"--http.drain-delay-ms={delay_ms}").wait_ready()
    counted = asyncio.run(crowd(hello, 256, 2000))
    assert hello.wait() == 0
    assert counted.other == []
    assert counted.unacknowledged == []
    assert counted.refused == 256  # each found the listener closed in the end
    assert counted.acknowledged >= 2000
    hello.check_clean()


def test_readiness_goes_first(start):
    hello = start("hello", "--http.drain-delay-ms=4000").wait_ready()
    with Client(hello.port) as kept:
        assert not kept.ask("GET", "/api/users/1").closes()
        hello.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(hello.port, "GET", "/readyz").status == 503, 3, "readiness to go")
        health = ask(hello.port, "GET", "/health")
        assert health.status == 503 and b"draining" in health.body
        assert ask(hello.port, "GET", "/livez").status == 200
        assert ask(hello.port, "GET", "/startupz").status == 200
        # The listener is open, requests are served, and connections told to close.
        answer = kept.ask("GET", "/api/users/2")
        assert (answer.status, answer.body) == (200, b"User 2") and answer.closes()
        assert kept.is_closed()
    assert hello.wait() == 0
    names = [line["message"] for line in hello.log()]
    assert names.index("listening") < names.index("ready") < names.index("stopping") < names.index("stopped")
    assert any(line.get("signal") == "SIGTERM" for line in hello.log())


def test_interrupt_has_no_delay(start):
    hello = start("hello", "--http.drain-delay-ms=20000").wait_ready()
    begin = time.monotonic()
    hello.stop(signal.SIGINT, seconds=10)
    assert time.monotonic() - begin < 10
    assert any(line.get("signal") == "SIGINT" for line in hello.log())


def test_further_sigterms_change_nothing(start):
    hello = start("hello", "--http.drain-delay-ms=700").wait_ready()
    begin = time.monotonic()
    for _ in range(5):
        hello.send_signal(signal.SIGTERM)
        time.sleep(0.02)
    assert hello.wait() == 0
    assert time.monotonic() - begin >= 0.7


def test_second_interrupt_exits_at_once(start, tmp_path):
    users = start("users", "--http.drain-ms=20000", env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    with Client(users.port) as client:
        # A request that is under way holds the drain up.
        client.send(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        wait_until(lambda: users.metric("http_server_requests_in_flight") >= 1, what="the request to be at work")
        users.send_signal(signal.SIGINT)
        users.wait_for_line('"stopping"')
        assert users.process.poll() is None
        users.send_signal(signal.SIGINT)
        assert users.wait(15) == 130


def test_signal_before_ready(start):
    for number in (signal.SIGTERM, signal.SIGINT):
        hello = start("hello", "--http.drain-delay-ms=0")
        # As early as can be: whether it is held back, or comes while the program starts.
        wait_until(lambda: "SigCgt" in open(f"/proc/{hello.pid}/status").read(), 5)
        blocked = lambda: int([line for line in open(f"/proc/{hello.pid}/status") if line.startswith("SigBlk")][0].split()[1], 16)
        caught = lambda: int([line for line in open(f"/proc/{hello.pid}/status") if line.startswith("SigCgt")][0].split()[1], 16)
        bit = 1 << (number - 1)
        wait_until(lambda: hello.process.poll() is not None or (blocked() | caught()) & bit, 10, "the program to mind signals", 0)
        hello.send_signal(number)
        assert hello.wait(20) == 0, hello.text()


def test_in_flight_requests_finish(start, tmp_path):
    """A request whose body is still coming when the signal comes is answered."""
    users = start("users", "--http.drain-delay-ms=0", env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    body = b'{"name":"Ada","email":"ada@example.org"}'
    with Client(users.port) as client:
        client.send(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
        client.send(body[:10])
        wait_until(lambda: users.metric("http_server_requests_in_flight") >= 1, what="the request to be at work")
        users.send_signal(signal.SIGTERM)
        users.wait_for_line('"stopping"')
        wait_until(lambda: not can_connect(users.port), what="the listener to close")
        client.send(body[10:])
        answer = client.answer()
        assert answer.status == 201 and answer.closes()
    assert users.wait() == 0


def is_ready_at(path):
    """The socket's file is there a moment before somebody listens."""
    try:
        with Client(path=path) as client:
            return client.ask("GET", "/readyz").status == 200
    except OSError:
        return False


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def test_drain_deadline_cuts_what_is_stuck(start, tmp_path):
    users = start("users", "--http.drain-delay-ms=0", "--http.drain-ms=300",
                  env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    with Client(users.port) as client:
        client.send(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        wait_until(lambda: users.metric("http_server_requests_in_flight") >= 1, what="the request to be at work")
        begin = time.monotonic()
        users.send_signal(signal.SIGTERM)
        assert users.wait(20) == 1
        assert 0.3 <= time.monotonic() - begin < 10
        users.check_clean()
        assert "drain_ms" in users.text()


def test_idle_connections_are_closed(start):
    hello = start("hello", "--http.drain-delay-ms=0").wait_ready()
    with Client(hello.port) as idle, Client(hello.port) as used:
        assert used.ask("GET", "/api/users/1").status == 200
        hello.send_signal(signal.SIGTERM)
        assert idle.is_closed() and used.is_closed()
    assert hello.wait() == 0


def test_backlog_is_served_at_the_end(start):
    """Connections that the kernel has accepted when the listener closes are answered."""
    hello = start("hello", "--threads=1", "--http.drain-delay-ms=0").wait_ready()
    port = hello.port
    hello.send_signal(signal.SIGSTOP)
    clients = [Client(port) for _ in range(64)]
    for client in clients:
        client.request("GET", "/api/users/1")
    hello.send_signal(signal.SIGTERM)
    hello.send_signal(signal.SIGCONT)
    for client in clients:
        assert client.answer().status == 200
        client.close()
    assert hello.wait() == 0


def test_a_standard_output_that_is_full(tmp_path):
    """Nobody empties it, from before the program's first line on: it serves all the same, counts the lines it loses, and ends."""
    if not program_path("hello").exists():
        pytest.skip("hello is not built")
    path = tmp_path / "socket"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"\n" * 512)
    except BlockingIOError:
        os.set_blocking(writer, True)  # of the open file, which the program shares
    process = subprocess.Popen([program_path("hello"), f"--http.address=unix:{path}", "--http.access-log", "--threads=2"],
                               stdin=subprocess.DEVNULL, stdout=writer)
    try:
        wait_until(lambda: is_ready_at(path), what="the program to serve")
        with Client(path=path, timeout=10) as client:
            lost = re.compile(r"^log_lines_lost_total (\d+)$", re.M)
            assert lost.findall(client.ask("GET", "/metrics").body.decode()) == ["0"]
            for _ in range(3000):  # more than the queue takes
                assert client.ask("GET", "/nowhere?" + 1000 * "x").status == 404
            assert int(lost.findall(client.ask("GET", "/metrics").body.decode())[0]) > 100
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(reader)
        os.close(writer)


def test_without_standard_descriptors(tmp_path):
    """Started with none of the three: no file or socket of the program takes their numbers, and so gets its log lines."""
    if not program_path("hello").exists():
        pytest.skip("hello is not built")
    path = tmp_path / "socket"
    # Only then, as Popen gives each of them a descriptor.
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", program_path("hello"), f"--http.address=unix:{path}",
                                "--http.access-log"])
    try:
        wait_until(lambda: is_ready_at(path), what="the program to serve")
        with Client(path=path, timeout=10) as client:
            assert client.ask("GET", "/api/users/3").body == b"User 3"
        assert [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)] == 3 * ["/dev/null"]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_unix_socket(start, tmp_path):
    path = tmp_path / "hello.sock"
    hello = start("hello", listen=(f"--http.address=unix:{path}",))
    hello.wait_for_line('"ready"')
    with Client(path=path) as client:
        assert client.ask("GET", "/api/users/3").body == b"User 3"
    done = subprocess.run([program_path("hello"), "--health-check", f"--http.address=unix:{path}"], timeout=40)
    assert done.returncode == 0
    hello.stop()
    assert not path.exists()
    # A file that a killed instance left does not keep the next one from starting.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    again = start("hello", listen=(f"--http.address=unix:{path}",))
    again.wait_for_line('"ready"')


def health_check(port, *flags, env=None):
    begin = time.monotonic()
    done = subprocess.run([program_path("hello"), "--health-check", *flags], capture_output=True, text=True, timeout=40,
                          env={**os.environ, "PORT": str(port), **(env or {})})
    assert time.monotonic() - begin < 10  # 3 s and what a sanitized program takes to start and to end on a busy machine
    return done


def test_health_check(start):
    hello = start("hello", "--http.drain-delay-ms=5000").wait_ready()
    port = hello.port
    done = health_check(port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    hello.send_signal(signal.SIGSTOP)
    try:
        done = health_check(port)
    finally:
        hello.send_signal(signal.SIGCONT)
    assert done.returncode == 1 and "timed out" in done.stderr
    hello.send_signal(signal.SIGTERM)
    hello.wait_for_line('"stopping"')
    done = health_check(port)
    assert done.returncode == 1 and "503" in done.stderr
    assert hello.wait() == 0
    done = health_check(port)
    assert done.returncode == 1 and "refused" in done.stderr.lower()
    assert health_check(port, "--no-such-flag").returncode == 1
    assert health_check(0).returncode == 1


def test_second_interrupt_works_when_a_loop_hangs(start):
    """Also a stopped loop cannot keep a second Ctrl+C from ending the process: the handler does it."""
    hello = start("hello").wait_ready()
    hello.send_signal(signal.SIGSTOP)
    hello.send_signal(signal.SIGINT)
    hello.send_signal(signal.SIGCONT)
    hello.send_signal(signal.SIGINT)
    assert hello.wait(20) in (0, 130)


def test_probes_while_starting(start, tmp_path):
    """users waits for its database before it is started: the probes tell, other routes are 503."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts by the kernel only and never answers
        url = f"postgres://u:p@127.0.0.1:{silent.getsockname()[1]}/db"
        users = start("users", env={"DATABASE_URL": url})
        assert ask(users.port, "GET", "/startupz").status == 503
        health = ask(users.port, "GET", "/health")
        assert health.status == 503 and b"starting" in health.body
        assert ask(users.port, "GET", "/livez").status == 200
        assert ask(users.port, "GET", "/readyz").status == 503
        answer = ask(users.port, "GET", "/users")
        assert answer.status == 503 and answer.header("Retry-After")
        users.send_signal(signal.SIGTERM)
        assert users.wait(20) == 0


def test_connection_reset_by_client_harms_nobody(start):
    hello = start("hello").wait_ready()
    for _ in range(20):
        client = Client(hello.port)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.request("GET", "/api/users/1")
        client.close()
    assert ask(hello.port, "GET", "/health").status == 200
    with pytest.raises(Gone):
        with Client(hello.port) as client:
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.answer()
            client.socket.shutdown(socket.SHUT_WR)
            client.answer()
