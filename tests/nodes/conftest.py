"""A cluster with nodes for tests: KUBECONFIG's when PROA_CLUSTER_TESTS is set, else one started by the kubelab of PROA_KUBERNETES."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "cluster")]
sys.dont_write_bytecode = True
from kube import Kubectl  # noqa: E402
from lab import ARCHIVES, PACKAGES, ROOT, Cluster, Story  # noqa: E402


def own_cluster():
    return bool(os.environ.get("PROA_CLUSTER_TESTS") and os.environ.get("KUBECONFIG"))


def why_not():
    if own_cluster():
        return None
    if not os.environ.get("PROA_KUBERNETES"):
        return "no nodes: set PROA_KUBERNETES (tests/README.md, An API server), or KUBECONFIG and PROA_CLUSTER_TESTS=1"
    if os.geteuid() != 0:
        return "no nodes: kubelab starts them as root only"
    missing = [archive.name for archive in ARCHIVES if not archive.exists()]
    return f"build/images lacks {', '.join(missing)}: make agent-image engine-images" if missing else None


def pytest_collection_modifyitems(items):
    """What a machine lacks is said once."""
    reason = why_not()
    if reason and items:
        items[:] = items[:1]
        items[0].add_marker(pytest.mark.skip(reason=f"{reason} (all tests on nodes)"))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    if own_cluster():
        yield Cluster(Kubectl(os.environ["KUBECONFIG"]), None)
        return
    kubelab = f"{os.environ['PROA_KUBERNETES']}/kubelab"
    folder = tmp_path_factory.mktemp("nodes") / "lab"
    images = [argument for archive in ARCHIVES for argument in ("--image", str(archive))]
    subprocess.run([ROOT / "tools" / "need", *PACKAGES], check=True)
    try:
        done = subprocess.run([kubelab, "up", str(folder), "--nodes", "2", "--no-metrics", *images], capture_output=True, text=True,
                              timeout=300, check=False)
        if "did not start" in done.stderr and "machine" in done.stderr:
            pytest.skip("no nodes: kubelab cannot start machines here (it compares paths that a chroot changes)")
        assert done.returncode == 0, done.stdout + done.stderr
        yield Cluster(Kubectl(str(folder / "admin.kubeconfig"), folder), kubelab)
    finally:
        if (folder / "conf").exists():
            subprocess.run([kubelab, "down", str(folder)], check=False, capture_output=True, timeout=120)


@pytest.fixture(scope="session")
def story(cluster, tmp_path_factory):
    """One Database, a writer that never rests, and an operator: what the tests of a module go through, in their order."""
    told = Story(cluster, tmp_path_factory.mktemp("story"))
    yield told
    told.end()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What a person would look at first, beside a failure."""
    report = (yield).get_result()
    if report.when == "call":
        item.report_of_call = report
    told = item.funcargs.get("story")
    if report.when == "call" and report.failed and told:
        report.sections.append(("cluster", told.scene()))
