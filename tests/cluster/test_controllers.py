"""The controller runtime's cases on a real API server; the program prints one TAP line each."""
import os
import subprocess
from pathlib import Path

PROGRAM = Path(os.environ["PROA_BUILD"]) / "tests" / "cluster" / "cluster_controllers"


def test_controllers(kubectl):
    run = subprocess.run([PROGRAM], env={**os.environ, "KUBECONFIG": kubectl.kubeconfig}, capture_output=True, text=True,
                         timeout=300)
    print(run.stdout + run.stderr)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-4000:]
    assert run.stdout.startswith("ok ") or "\nok " in run.stdout, "it ran no case"
