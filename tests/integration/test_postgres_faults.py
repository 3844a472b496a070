"""PostgreSQL that hangs, dies and comes back under load: requests end by their deadline, nothing grows, the service heals by itself."""
import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support import ASAN_SMALL, ask, expect_problem, postgres_module, wait_until, with_setting
from test_lifecycle import read_answer

DEADLINE_MS = 1000
SLACK_S = 6.0  # for a sanitized program on a busy machine


@pytest.fixture(scope="module")
def server():
    """A server of its own, since it is stopped and killed."""
    module = postgres_module()
    try:
        made = module.PostgresServer()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install postgresql")
    with made:
        yield made


@pytest.fixture
def faulty(server, start):
    """The service on it, and one user."""
    program = start("users", f"--http.request-ms={DEADLINE_MS}", env={"DATABASE_URL": server.url, "ASAN_OPTIONS": ASAN_SMALL})
    program.wait_ready()
    answer = ask(program.port, "GET", "/users?email=ada@example.org")
    if answer.body in (b"[]", b'{"users":[]}') or b"ada@" not in answer.body:
        assert ask(program.port, "POST", "/users", {"Content-Type": "application/json"},
                   '{"name":"Ada","email":"ada@example.org"}').status == 201
    found = json.loads(ask(program.port, "GET", "/users?email=ada@example.org").body)
    program.user = (found["users"] if isinstance(found, dict) else found)[0]["id"]
    return program


def processes(server):
    """The postmaster and all its children."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    family = {server.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def signal_all(server, number):
    """The postmaster first: it then makes no more."""
    os.kill(server.process.pid, number)
    for pid in processes(server) - {server.process.pid}:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


class Load:
    """Clients that ask all the time, in a thread of their own, and what they were answered."""

    def __init__(self, port, target, clients=32):
        self.port, self.target, self.clients = port, target, clients
        self.answers = []  # (when, how long, status)
        self.stopping = False

    async def client(self):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while not self.stopping:
            begin = time.monotonic()
            writer.write(f"GET {self.target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            answer = await read_answer(reader)
            assert answer, "a request was not answered"
            self.answers.append((begin, time.monotonic() - begin, answer[0]))
            await asyncio.sleep(0.005)
            if answer[1]:
                writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.close()

    def __enter__(self):
        import threading
        self.failure = None

        async def all_clients():
            await asyncio.gather(*[self.client() for _ in range(self.clients)])

        def run():
            try:
                asyncio.run(all_clients())
            except BaseException as error:  # noqa: B902
                self.failure = error

        self.thread = threading.Thread(target=run)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.stopping = True
        self.thread.join(30)
        if self.failure and not exception[0]:
            raise self.failure

    def since(self, moment):
        return [(how_long, status) for begin, how_long, status in list(self.answers) if begin >= moment]

    def succeeds_again(self, moment):
        wait_until(lambda: len([1 for _, status in self.since(moment) if status == 200]) >= self.clients * 3, 40,
                   "the service to resume")


def check_answers(answers):
    assert {status for _, status in answers} <= {200, 503, 504}
    assert max(how_long for how_long, _ in answers) < DEADLINE_MS / 1000 + SLACK_S


def test_stopped_for_5_s_under_load(server, faulty):
    with Load(faulty.port, f"/users/{faulty.user}") as load:
        wait_until(lambda: len(load.since(0)) > 500, what="the load to run")
        assert [status for _, status in load.since(0)].count(200) > 400
        before_kib = faulty.rss_kib()
        signal_all(server, signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            wait_until(lambda: ask(faulty.port, "GET", "/readyz").status == 503, 20, "readiness to go")
            assert ask(faulty.port, "GET", "/health").status == 200
            assert ask(faulty.port, "GET", "/livez").status == 200
            time.sleep(max(0, 5 - (time.monotonic() - stopped)))  # the 5 s are what is tested
            during = load.since(stopped + 0.1)
            grown_kib = faulty.rss_kib() - before_kib
        finally:
            signal_all(server, signal.SIGCONT)
        resumed = time.monotonic()
        load.succeeds_again(resumed)
        wait_until(lambda: ask(faulty.port, "GET", "/readyz").status == 200, 30, "readiness to come back")
    check_answers(load.since(0))
    assert {status for _, status in during} <= {503, 504}
    assert len(during) > faulty.metric("http_server_limit", limit="requests_in_flight") / 1000
    assert grown_kib < 16 * 1024, f"grew by {grown_kib} KiB"


def test_problem_of_a_lost_database(server, faulty):
    (server.folder / "hold").touch()
    try:
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: ask(faulty.port, "GET", "/readyz").status == 503, 15, "readiness to go")
        answer = ask(faulty.port, "GET", f"/users/{faulty.user}")
        assert answer.status in (503, 504)
        problem = expect_problem(answer, answer.status)
        # Nothing of the server's address or account is told to clients.
        assert str(server.port) not in json.dumps(problem) and server.password not in json.dumps(problem)
        if answer.status == 503:
            assert int(answer.header("Retry-After")) >= 1
        assert ask(faulty.port, "GET", "/health").status == 200
        verbose = ask(faulty.port, "GET", "/readyz?verbose")
        assert b"[-]database" in verbose.body and b"[+]serving ok" in verbose.body
        assert faulty.metric("readiness_check", name="database") == 0
    finally:
        (server.folder / "hold").unlink()
    wait_until(lambda: ask(faulty.port, "GET", "/readyz").status == 200, 30, "readiness to come back")
    assert ask(faulty.port, "GET", f"/users/{faulty.user}").status == 200
    assert faulty.metric("readiness_check", name="database") == 1
    assert server.password not in faulty.text()


def test_killed_and_restarted_under_load(server, faulty):
    with Load(faulty.port, f"/users/{faulty.user}") as load:
        wait_until(lambda: len(load.since(0)) > 200, what="the load to run")
        for _ in range(2):
            killed = server.process.pid
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda: server.process.pid != killed, 30, "the server to be started again")
            load.succeeds_again(time.monotonic())
    check_answers(load.since(0))


def test_backends_terminated_under_load(server, faulty):
    """Connections that the server closes one by one cost at most the requests on them."""
    import psycopg
    with Load(faulty.port, f"/users/{faulty.user}") as load:
        wait_until(lambda: len(load.since(0)) > 200, what="the load to run")
        with psycopg.connect(server.url, autocommit=True) as connection:
            for _ in range(5):
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                                   " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")
                load.succeeds_again(time.monotonic())
    check_answers(load.since(0))


def test_writes_are_not_repeated(server, start):
    """Each create that was acknowledged is there once; one whose outcome is unknown is there at most once."""
    import threading
    acknowledged, unknown = [], []
    # The server of the tests would otherwise acknowledge what it has not written.
    faulty = start("users", f"--http.request-ms={DEADLINE_MS}",
                   env={"DATABASE_URL": with_setting(server.url, "synchronous_commit", "on")}).wait_ready()

    def work(number):
        for i in range(20):
            email = f"w{number}-{i}-{os.getpid()}@example.org"
            answer = ask(faulty.port, "POST", "/users", {"Content-Type": "application/json"},
                         json.dumps({"name": "w", "email": email}))
            assert answer.status in (201, 503, 504), answer.body
            (acknowledged if answer.status == 201 else unknown).append(email)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 10, what="some writes")
    os.kill(server.process.pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    wait_until(lambda: ask(faulty.port, "GET", "/readyz").status == 200, 30, "readiness to come back")

    import psycopg
    with psycopg.connect(server.url) as connection:
        rows = [email for (email,) in connection.execute("SELECT email FROM users WHERE name = 'w'")]
    assert len(rows) == len(set(rows))
    assert set(acknowledged) <= set(rows) <= set(acknowledged) | set(unknown)


def test_starts_before_its_database(server, start):
    """The service waits for a server that is not there yet: not ready, but healthy; then it migrates and serves."""
    (server.folder / "hold").touch()
    try:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(10)
        users = start("users", env={"DATABASE_URL": server.url})
        wait_until(lambda: ask(users.port, "GET", "/startupz").status == 200, 20, "the program to start")
        assert ask(users.port, "GET", "/health").status == 200
        assert ask(users.port, "GET", "/readyz").status == 503
        assert ask(users.port, "GET", "/users").status in (503, 504)
    finally:
        (server.folder / "hold").unlink()
    users.wait_ready(30)
    assert ask(users.port, "GET", "/users").status == 200


def test_drain_does_not_wait_for_a_hung_database(server, faulty):
    signal_all(server, signal.SIGSTOP)
    try:
        faulty.send_signal(signal.SIGINT)
        assert faulty.wait(20) in (0, 1)
    finally:
        signal_all(server, signal.SIGCONT)
    faulty.check_clean()


@pytest.mark.parametrize("url, words", [("mysql://u:hush@h/db", "scheme"), ("sqlite:/nonexistent/folder/u.db", "nonexistent")])
def test_urls_that_never_work_end_the_program(start, url, words):
    users = start("users", env={"DATABASE_URL": url})
    assert users.wait(20) == 1
    users.check_clean()
    assert words in users.text()
    assert "hush" not in users.text()


def test_database_that_is_made_later(server, start):
    """What an administrator can still mend is waited for, saying why."""
    import psycopg
    users = start("users", env={"DATABASE_URL": re.sub(r"/postgres(?=$|\?)", "/later", server.url)})
    users.wait_for_line("does not exist")
    assert ask(users.port, "GET", "/readyz").status == 503
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE later")
    users.wait_ready(30)
    assert ask(users.port, "GET", "/users").status == 200
    assert server.password not in users.text()
