"""The command line of programs: help, version, settings and their mistakes."""
import os
import re
import socket
import subprocess

import pytest
from support import PROGRAMS, ROOT, ask, program_path


def run(name, *arguments, env=None, **options):
    if not program_path(name).exists():
        pytest.skip(f"{name} is not built")
    return subprocess.run([program_path(name), *arguments], capture_output=True, text=True, timeout=20,
                          env={**{k: v for k, v in os.environ.items() if not k.startswith(("PORT", "HTTP_", "LOG_"))}, **(env or {})},
                          **options)


@pytest.mark.parametrize("name", PROGRAMS)
def test_help(name):
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    for word in (f"Usage: {name}", "--port <integer>   [PORT]", "--http.body-bytes", "--threads", "--log.level", "--health-check",
                 "--print-config", "--process.address-space-bytes", "--http.drain-delay-ms"):
        assert word in done.stdout
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_help_of_the_program_s_own_settings():
    done = run("users", "--help")
    assert "--database-url" in done.stdout and "DATABASE_URL_FILE" in done.stdout


def test_version():
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    for program in ("hello", "users"):
        done = run(program, "--version")
        assert done.returncode == 0 and done.stdout == f"{program} {version}\n"


def test_port_in_use():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("hello", "--http.address=127.0.0.1", f"--port={port}")
    assert done.returncode == 1
    assert f"the HTTP server: listening on 127.0.0.1:{port}: Address already in use" in done.stdout


def test_help_wins_over_mistakes():
    assert run("hello", "--nonsense", "--help").returncode == 0


def test_all_mistakes_at_once():
    done = run("hello", "--prot=1", "--port=99999", "--log.format", "xml", "stray", env={"HTTP_IDLE_MS": "0", "THREADS": "many"})
    assert done.returncode == 2
    assert done.stdout == ""
    for word in ("flag --prot is not known; did you mean --port?", "flag --port: ", "flag --log.format: ", "argument stray",
                 "environment variable HTTP_IDLE_MS: ", "environment variable THREADS: ", "see --help"):
        assert word in done.stderr, done.stderr


def test_a_log_filter_that_cannot_be():
    for env, flags in (({"LOG_LEVEL": "info,db=loud"}, ()), ({}, ("--log.level=loud", "--print-config"))):
        done = run("hello", *flags, "--port=0", env=env)
        assert (done.returncode, done.stdout) == (2, "")
        assert 'hello: log.level: log filter: "loud" is not a level' in done.stderr and "see --help" in done.stderr


@pytest.mark.parametrize("flags, words", [
    (["--http.address=nowhere.example"], "nowhere.example"),
    (["--http.address=203.0.113.7"], "203.0.113.7"),
])
def test_what_only_the_start_finds(flags, words):
    done = run("hello", *flags, "--port=0")
    assert done.returncode == 1
    assert words in done.stderr + done.stdout


def test_config_file(tmp_path, start):
    file = tmp_path / "hello.yaml"
    file.write_text("http:\n  port: 1\n  access_log: true\n  head_bytes: 4Ki\nlog:\n  format: text\n")
    done = run("hello", "--print-config", "--config", str(file), "--port=0", env={"HTTP_FIELDS": "50"})
    assert done.returncode == 0, done.stderr
    for line in ("  port: 0  # flag --port", "  access_log: true  # file", "  head_bytes: 4096  # file",
                 "  fields: 50  # environment HTTP_FIELDS", "  idle_ms: 60000  # default", '  format: "text"  # file'):
        assert line in done.stdout.splitlines(), done.stdout
    bad = tmp_path / "bad.yaml"
    bad.write_text("http:\n  prot: 1\nlog: loud\n")
    done = run("hello", env={"CONFIG_FILE": str(bad)})
    assert done.returncode == 2
    assert "http.prot is not known; did you mean http.port?" in done.stderr
    assert "log: must be a mapping" in done.stderr
    assert run("hello", "--config=/nonexistent.yaml").returncode == 2


def test_secrets_are_masked(tmp_path):
    secret = tmp_path / "url"
    secret.write_text("postgres://u:hush@127.0.0.1/db\n")
    done = run("users", "--print-config", env={"DATABASE_URL_FILE": str(secret)})
    assert done.returncode == 0
    assert '# database_url: "***"  # environment DATABASE_URL_FILE' in done.stdout.splitlines()
    assert "hush" not in done.stdout + done.stderr


def test_printed_configuration_reads_back(tmp_path):
    printed = run("hello", "--print-config", "--http.body-bytes=3Mi", "--threads=2").stdout
    file = tmp_path / "printed.yaml"
    file.write_text(printed)
    again = run("hello", "--print-config", env={"CONFIG_FILE": str(file)})
    assert again.returncode == 0, again.stderr
    assert "  body_bytes: 3145728  # file" in again.stdout.splitlines()


def test_what_was_printed_starts_a_program(tmp_path, start):
    """Secrets, set or not, are no values in it: it is the same configuration where they are given as before."""
    env = {"DATABASE_URL": f"sqlite:{tmp_path}/users.db", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}
    file = tmp_path / "printed.yaml"
    file.write_text(run("users", "--print-config", "--threads=1", env=env).stdout)
    assert "\n  headers: \"\"  # default\n" in file.read_text()
    users = start("users", "--config", str(file), env={"DATABASE_URL": env["DATABASE_URL"]}).wait_ready()
    assert '"loops":1' in users.wait_for_line('"message":"ready"')


def test_default_port_and_address():
    printed = run("hello", "--print-config").stdout.splitlines()
    assert '  address: "0.0.0.0"  # default' in printed
    assert "  port: 8080  # default" in printed


def test_port_in_use(start):
    hello = start("hello").wait_ready()
    done = run("hello", "--http.address=127.0.0.1", f"--port={hello.port}")
    assert done.returncode == 1
    assert "cannot start" in done.stdout and str(hello.port) in done.stdout


def test_empty_variables_count_as_not_set(start):
    hello = start("hello", env={"LOG_LEVEL": "", "THREADS": ""}).wait_ready()
    assert ask(hello.port, "GET", "/health").status == 200


def test_log_level(start):
    quiet = start("hello", env={"LOG_LEVEL": "info"}).wait_ready()
    quiet.stop()
    assert any(line["message"] == "stopped" for line in quiet.log())
    silent = start("hello", "--log.level=error", listen=("--http.address=127.0.0.1", f"--port={quiet.port}"))
    silent._address = quiet._address
    silent.wait_ready()
    silent.stop()
    assert silent.log() == []


def test_guide_has_every_setting():
    """The reference table of docs/guide/app.md is what --help says; OpenTelemetry's variables have their own in observability.md."""
    help_text = run("hello", "--help").stdout
    guide = (ROOT / "docs" / "guide" / "app.md").read_text()
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=  --)", help_text.partition("over defaults.")[2])]
    settings = [re.match(r"(--[a-z.-]+)[^[]*\[([A-Z_]+)[^]]*\].*?(?: Default: (.*)\.)?$", entry).groups() for entry in entries if entry]
    assert len(settings) > 20
    variables = (ROOT / "docs" / "guide" / "observability.md").read_text()
    for flag, variable, default in settings:
        if flag.startswith("--otel."):
            assert variable.removeprefix("OTEL_EXPORTER_OTLP") in variables, variable
            continue
        shown = f"`{default}`" if default else ""
        assert f"| `{flag}` | `{variable}` | {shown} |" in guide, flag
    others = [flag for flag, _, _ in settings if not flag.startswith("--otel.")]
    assert len(re.findall(r"^\| .* \| `--(?!otel)", guide, re.MULTILINE)) == len(others)
