"""The document at /openapi.json: valid, complete, and true of what the service really answers."""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import ROOT, ask

EXAMPLES = os.environ.get("PROA_SCHEMATHESIS_EXAMPLES", "40")


def tool(name):
    """A program of build/venv (tools/test-venv) or of the PATH."""
    path = ROOT / "build" / "venv" / "bin" / name
    if path.exists():
        return path
    if shutil.which(name):
        return shutil.which(name)
    pytest.skip(f"no {name}: run tools/test-venv, which puts it into build/venv")


@pytest.fixture
def users(start, tmp_path):
    return start("users", env={"DATABASE_URL": f"sqlite:{tmp_path}/users.db"}).wait_ready()


def strict(document):
    """Without `default` answers, so that only statuses which are documented one by one pass."""
    for path in document["paths"].values():
        for operation in path.values():
            del operation["responses"]["default"]
    return document


def test_document(users):
    answer = ask(users.port, "GET", "/openapi.json")
    assert answer.status == 200 and answer.header("Content-Type") == "application/json"
    document = answer.json()
    operations = {f"{method} {path}": operation for path, item in document["paths"].items()
                  for method, operation in item.items()}
    assert set(operations) == {"post /users", "get /users", "get /users/{id}", "put /users/{id}", "patch /users/{id}",
                               "delete /users/{id}"}
    assert len({operation["operationId"] for operation in operations.values()}) == 6
    fields = {name: {parameter["name"] for parameter in operation["parameters"]} for name, operation in operations.items()}
    assert fields["post /users"] == {"Idempotency-Key"} and fields["get /users"] == {"limit", "cursor", "email"}
    assert fields["get /users/{id}"] == {"id", "If-None-Match"} and fields["patch /users/{id}"] == {"id", "If-Match"}
    created = operations["post /users"]["responses"]["201"]
    assert created["headers"]["Location"]["required"] and created["headers"]["ETag"]["required"]
    assert "Link" in operations["get /users"]["responses"]["200"]["headers"]
    for operation in operations.values():
        assert "Retry-After" in operation["responses"]["503"]["headers"]
        for status, reply in operation["responses"].items():
            assert reply["description"]
            if status == "default" or int(status) >= 400:
                assert reply["content"]["application/problem+json"]["schema"]["$ref"] == "#/components/schemas/problem"


def test_document_is_valid(users, tmp_path):
    program = tool("openapi-spec-validator")
    file = tmp_path / "openapi.json"
    file.write_bytes(ask(users.port, "GET", "/openapi.json").body)
    done = subprocess.run([program, file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# schemathesis' coverage phase does not heed the patterns of header fields, so what it takes for valid is not.
@pytest.mark.parametrize("phases", [["--phases=examples,fuzzing,stateful"],
                                    ["--phases=coverage", "--exclude-checks=positive_data_acceptance"]],
                         ids=["fuzzing", "coverage"])
def test_service_answers_as_documented(users, tmp_path, phases):
    program = tool("schemathesis")
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(strict(ask(users.port, "GET", "/openapi.json").json())))
    done = subprocess.run([program, "--config-file", Path(__file__).parent / "schemathesis.toml", "run", file,
                           f"--url={users.url}", f"--max-examples={EXAMPLES}", "--seed=1", "--continue-on-failure",
                           "--no-color", *phases], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert users.metric("http_requests_total", status="500") == 0
