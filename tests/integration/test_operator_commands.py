"""What database-operator prints without a cluster."""
import subprocess

import pytest

from support import BUILD

OPERATOR = BUILD / "apps" / "database-operator" / "database-operator"


def run(*arguments):
    return subprocess.run([OPERATOR, *arguments], capture_output=True, text=True, timeout=60)


def test_manifests_take_options_in_both_spellings():
    apart = run("manifests", "--namespace", "dbs", "--image", "registry/operator:1", "--", "--log.level=debug")
    joined = run("manifests", "--namespace=dbs", "--image=registry/operator:1", "--", "--log.level=debug")
    assert (apart.returncode, apart.stderr) == (0, "")
    assert "namespace: dbs" in apart.stdout and "image: registry/operator:1" in apart.stdout and "--log.level=debug" in apart.stdout
    assert (joined.returncode, joined.stdout) == (0, apart.stdout)


@pytest.mark.parametrize("arguments, complaint", [
    (["--namespace"], "a value is missing after --namespace"),
    (["--image=registry/operator:1", "--image"], "a value is missing after --image"),
    (["--namespaces=dbs"], "manifests does not know --namespaces=dbs"),
    (["dbs"], "manifests does not know dbs"),
])
def test_manifests_say_what_they_do_not_understand(arguments, complaint):
    done = run("manifests", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"database-operator: {complaint}\n") and "Usage:" in done.stderr
