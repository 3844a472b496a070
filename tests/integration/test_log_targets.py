"""LOG_LEVEL chooses by target: each part of the kit speaks under the target that docs/guide/observability.md lists."""
import pytest
from support import ask


def lines(program, **fields):
    return [line for line in program.log() if all(line.get(key) == value for key, value in fields.items())]


def ask_and_stop(program):
    assert ask(program.port, "GET", "/api/users/1").status == 200
    program.stop()
    return program


def test_access_lines_have_a_target(start):
    hello = ask_and_stop(start("hello", "--http.access-log").wait_ready())
    assert [line["target"] for line in lines(hello, **{"message": "request", "url.path": "/api/users/1"})] == ["http.access"]
    assert {line["target"] for line in lines(hello, message="ready")} == {"app"}


@pytest.mark.parametrize("level", ["info,db=debug,http.access=off", "info,http=off", "warn,app=info"])
def test_access_lines_are_turned_off_alone(start, level):
    hello = ask_and_stop(start("hello", "--http.access-log", env={"LOG_LEVEL": level}).wait_ready())
    assert not lines(hello, message="request") and lines(hello, message="ready")


def test_a_server_that_is_away_is_told_by_the_database(start):
    url = "postgres://nobody:secret@127.0.0.1:1/none"
    users = start("users", env={"DATABASE_URL": url})
    assert "PostgreSQL cannot be reached" in users.wait_for_line('"target":"db.pg"')
    silent = start("users", env={"DATABASE_URL": url, "LOG_LEVEL": "info,db=off"})
    silent.wait_for_line("waiting for the database")
    silent.stop()
    assert not lines(silent, target="db.pg")


@pytest.mark.parametrize("level, is_told", [("info,db=debug", True), ("info,db.pg=debug", True), ("info,http=debug", False)])
def test_connections_are_told_in_debug(start, postgres_url, level, is_told):
    users = start("users", env={"DATABASE_URL": postgres_url, "LOG_LEVEL": level}).wait_ready()
    users.stop()
    assert bool(lines(users, target="db.pg", level="debug", message="connected")) == is_told
