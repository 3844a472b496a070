"""Fixtures: programs that are ended and checked, databases of both kinds."""
import sys
import uuid
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True
from support import BUILD, Program, postgres_module, program_path, with_setting  # noqa: E402


@pytest.fixture
def start(request):
    """Starts programs; those still running at the end are ended by SIGINT and must exit 0, all without a sanitizer's word."""
    programs = []

    def start_program(name, *arguments, **options):
        if not program_path(name).exists():
            pytest.skip(f"{name} is not built in {BUILD}")
        program = Program(name, *arguments, **options)
        programs.append(program)
        return program

    yield start_program
    failure = None
    for program in programs:
        try:
            if program.process.poll() is None:
                program.stop()
            else:
                program.wait()
                program.check_clean()
        except AssertionError as error:
            failure = failure or error
        finally:
            program.kill()
    if failure:
        raise failure


@pytest.fixture
def hello(start):
    return start("hello").wait_ready()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL for all tests of the session."""
    module = postgres_module()
    try:
        server = module.PostgresServer()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install postgresql")
    with server:
        yield server


def new_postgres_database(server):
    """An empty schema of its own (made faster than a database); its URL."""
    import psycopg
    name = "t" + uuid.uuid4().hex[:12]
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return with_setting(server.url, "search_path", name)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path}/users.db"
    return new_postgres_database(request.getfixturevalue("postgres"))


@pytest.fixture
def postgres_url(postgres):
    return new_postgres_database(postgres)


@pytest.fixture
def users(start, database_url):
    """The users service on an empty database of each kind."""
    return start("users", env={"DATABASE_URL": database_url}).wait_ready()
