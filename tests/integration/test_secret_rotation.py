"""The database's password changes under load: the service takes the new one from its mounted file, and no request fails for it."""
import os
import secrets
import socket

import pytest
from support import ASAN_SMALL, ask, postgres_module, wait_until
from test_reload import Load, reloads


@pytest.fixture
def server():
    """A server of its own, whose password is changed."""
    try:
        made = postgres_module().PostgresServer()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install postgresql")
    with made:
        yield made


def write_secret(path, text):
    """As a mounted Secret changes: at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text + "\n")
    os.rename(fresh, path)


def sql(server, text):
    import subprocess
    done = subprocess.run([server.programs / "psql", server.socket_url, "-AtXc", text], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def connections(server):
    return set(sql(server, "SELECT pid FROM pg_stat_activity WHERE client_addr IS NOT NULL AND datname = 'postgres'"))


def test_a_new_password_under_load(server, start, tmp_path):
    secret = tmp_path / "url"
    write_secret(secret, server.url)
    users = start("users", env={"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret), "ASAN_OPTIONS": ASAN_SMALL})
    users.wait_ready()
    load = Load(users.port)
    for round in range(2):
        before = wait_until(lambda: connections(server), what="connections")
        old, fresh = server.url, secrets.token_hex(8)
        sql(server, f"ALTER ROLE proa PASSWORD '{fresh}'")
        server.password = fresh
        assert server.url != old
        write_secret(secret, server.url)
        wait_until(lambda: reloads(users, "done") == round + 1, what="the reload")
        wait_until(lambda: (now := connections(server)) and not now & before, what="new connections")
    load.end()
    wait_until(lambda: users.metric("db_client_connections_usage", db_client_connection_pool_name="shared",
                                    db_client_connection_state="idle") >= 1, what="connections without work")
    assert all(word not in line for line in users.text().splitlines() for word in (server.password, fresh))


def test_a_wrong_password_keeps_the_old_connections(server, start, tmp_path):
    secret = tmp_path / "url"
    write_secret(secret, server.url)
    users = start("users", env={"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret), "ASAN_OPTIONS": ASAN_SMALL})
    users.wait_ready()
    load = Load(users.port)
    before = wait_until(lambda: connections(server), what="connections")
    write_secret(secret, server.url.replace(server.password, "wrong"))
    wait_until(lambda: reloads(users, "done") == 1, what="the reload")
    # It is told, with the server's words, and counted; the service stays ready.
    wait_until(lambda: "does not take the new URL" in users.text(), what="the warning")
    assert "password authentication failed" in users.text()
    assert users.metric("db_client_connection_failures_total") > 0
    assert ask(users.port, "GET", "/readyz").status == 200
    write_secret(secret, "sqlite:other.db")
    wait_until(lambda: reloads(users, "failed") == 1, what="the refusal")
    assert connections(server) & before
    assert "another kind" in users.text()
    load.end()


def test_sqlite_refuses(start, tmp_path):
    secret = tmp_path / "url"
    write_secret(secret, f"sqlite:{tmp_path}/a.db")
    users = start("users", env={"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret)})
    users.wait_ready()
    write_secret(secret, f"sqlite:{tmp_path}/b.db")
    wait_until(lambda: reloads(users, "failed") == 1, what="the refusal")
    users.wait_for_line("needs a restart")
    assert not (tmp_path / "b.db").exists()


@pytest.mark.parametrize("wrong,says", [("password", "password authentication failed"), ("database", "does not exist")])
def test_a_wrong_url_at_start_heals(server, start, tmp_path, wrong, says):
    """What the server refuses may be put right, by another secret or on the server: it is told, and waited for."""
    url = server.url.replace(server.password, "wrong") if wrong == "password" else server.url.replace("/postgres?", "/nowhere?")
    secret = tmp_path / "url"
    write_secret(secret, url)
    users = start("users", env={"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret), "ASAN_OPTIONS": ASAN_SMALL})

    def failing_check():
        return [line for line in users.log() if line["message"] == "a readiness check fails" and says in line["error"]]
    wait_until(failing_check, 20, "the readiness check to tell why")
    assert ask(users.port, "GET", "/health").status == 200
    assert b"[-]database" in ask(users.port, "GET", "/readyz?verbose").body
    assert users.metric("readiness_check", name="database") == 0
    assert users.metric("db_client_connection_failures_total") > 0
    assert any(line["message"] == "PostgreSQL cannot be reached" and says in line["error"] for line in users.log())
    # said again now and then, not with each attempt
    assert sum(line["message"] == "bringing the schema up to date" for line in users.log()) <= 2
    write_secret(secret, server.url)
    users.wait_ready()
    assert server.password not in users.text()


def test_a_url_that_cannot_be_read_ends_the_start(start):
    users = start("users", env={"DATABASE_URL": "postgres://proa:hidden@host:port/x"})
    assert users.wait() != 0
    assert "cannot start" in users.text() and "port" in users.text() and "hidden" not in users.text()


def test_a_secret_that_changes_while_the_program_starts(postgres_url, start, tmp_path):
    """A database that does not answer keeps `start` waiting; the secret that is put right meanwhile is not overlooked."""
    secret = tmp_path / "url"
    with socket.create_server(("127.0.0.1", 0), backlog=16) as silent:
        write_secret(secret, f"postgres://proa:x@127.0.0.1:{silent.getsockname()[1]}/postgres?sslmode=disable")
        users = start("users", env={"DATABASE_URL": "", "DATABASE_URL_FILE": str(secret), "ASAN_OPTIONS": ASAN_SMALL})
        assert ask(users.port, "GET", "/startupz").status == 503
        write_secret(secret, postgres_url)
        assert ask(users.port, "GET", "/startupz").status == 503
        users.wait_for_line('"message":"ready"')
        assert reloads(users, "done") <= 1
        users.wait_ready()
    assert reloads(users, "done") == 1
