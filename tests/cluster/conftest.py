"""A real API server for tests: KUBECONFIG's when PROA_CLUSTER_TESTS is set, else one started by the kubelab of PROA_KUBERNETES."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.dont_write_bytecode = True
from kube import Kubectl, Operator, binary  # noqa: E402


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory):
    lab = os.environ.get("PROA_KUBERNETES")
    if os.environ.get("PROA_CLUSTER_TESTS") and os.environ.get("KUBECONFIG"):
        yield Kubectl(os.environ["KUBECONFIG"])
        return
    if not lab:
        pytest.skip("no API server: set PROA_KUBERNETES (tests/README.md, An API server), or KUBECONFIG and PROA_CLUSTER_TESTS=1")
    folder = tmp_path_factory.mktemp("api") / "lab"
    subprocess.run([f"{lab}/kubelab", "api-up", str(folder)], check=True, stdout=subprocess.DEVNULL)
    try:
        yield Kubectl(str(folder / "admin.kubeconfig"), folder)
    finally:
        subprocess.run([f"{lab}/kubelab", "api-down", str(folder)], check=False, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="session")
def manifests(kubectl):
    """The manifests, applied, and the kubeconfig of their service account."""
    text = subprocess.run([binary(), "manifests"], check=True, capture_output=True, text=True).stdout
    kubectl.apply(text)
    kubectl("wait", "--for=condition=Established", "crd/databases.database.example.com", "--timeout=20s")
    return text


@pytest.fixture
def namespace(kubectl, request):
    name = "t-" + request.node.name.removeprefix("test_").replace("_", "-").split("[")[0][:50]
    kubectl("create", "namespace", name)
    return name


@pytest.fixture
def operator(kubectl, manifests, tmp_path):
    """The operator with the rights of its manifests and no others; it must end cleanly."""
    running = Operator(kubectl, tmp_path)
    yield running
    running.stop()
