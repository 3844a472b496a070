"""What the tests on nodes have in common: the cluster and its power switches, the Database under test, the writer beside it."""
import base64
import contextlib
import json
import os
import random
import re
import secrets
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

from kube import Operator, database

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["containerd", "runc", "iptables", "iproute2", "containernetworking-plugins", "openssl", "curl"]
ARCHIVES = [ROOT / "build" / "images" / f"{name}.tar" for name in ("database-operator", "postgres-17", "mariadb-10.11")]
RELEASE = ROOT / "build" / "bin" / "database-operator"
ENGINE_IMAGE = "localhost/proa/postgres:17"
ENGINE_SETTING = "--images.postgres=localhost/proa/postgres:{version}"
SYSTEM = "database-operator"  # the operator's namespace
CONNECTION = "host=%s dbname=app user=app connect_timeout=10"
# The writer's: what is gone is given up soon.
IMPATIENT = ("host=%s dbname=app user=app connect_timeout=2 keepalives_idle=1 keepalives_interval=1 keepalives_count=2 "
             "tcp_user_timeout=2000")

# One row each tenth of a second, over one connection as long as it lasts. psql prints a key once its commit is acknowledged.
WRITER = """
attempt=0
while :; do
    attempt=$((attempt + 1))
    export PGPASSWORD="$(cat /etc/credentials/password)"
    n=0
    while :; do
        n=$((n + 1))
        echo "insert into kept values ('$attempt.$n') returning key;"
        sleep 0.1
    done | psql "%s" -XAtq -v ON_ERROR_STOP=1
    sleep 0.2
done
"""


def until(check, seconds, what, pause=0.4):
    """The first truthy value of check()."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what}"
        time.sleep(pause)


def is_first(process):
    """Whether it is process 1 of its container."""
    return (process / "status").read_text().split("NSpid:")[1].split("\n")[0].split()[-1] == "1"


def processes(program, **environment):
    """Processes 1 of containers of this machine, also those inside the lab's nodes, by their program and environment. What they have
    forked looks the same until it executes another program."""
    wanted = [f"{key}={value}".encode() for key, value in environment.items()]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(program.replace(" ", "\0").encode()):
                told = (folder / "environ").read_bytes().split(b"\0")
                if all(pair in told for pair in wanted) and is_first(folder):
                    yield int(folder.name)


class Cluster:
    def __init__(self, kubectl, kubelab):
        self.kubectl = kubectl
        self.kubelab = kubelab  # None: somebody's own cluster, whose power is not ours to switch

    def power(self, node, switch):
        subprocess.run([self.kubelab, "node", str(self.kubectl.lab), node.removeprefix("node"), switch], check=True,
                       capture_output=True, timeout=120)

    def node_of(self, namespace, pod):
        return (self.kubectl.get("pod", pod, "-n", namespace) or {}).get("spec", {}).get("nodeName")

    def is_node_ready(self, node):
        conditions = self.kubectl.get("node", node)["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def kill(self, program, **environment):
        """SIGKILL, from outside, to a process 1 in a container."""
        found = until(lambda: list(processes(program, **environment)), 30, f"{program} runs")
        assert len(found) == 1, found
        os.kill(found[0], signal.SIGKILL)


def restricted(spec):
    """A pod's spec with what Pod Security "restricted" asks for."""
    for container in spec["containers"]:
        container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return spec | {"securityContext": {"runAsNonRoot": True, "runAsUser": 999, "runAsGroup": 999, "fsGroup": 999,
                                       "seccompProfile": {"type": "RuntimeDefault"}}, "terminationGracePeriodSeconds": 1}


# Pods of the test stay on a node that is switched off: nobody would make them anew.
STAY = [{"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute"} for what in ("not-ready", "unreachable")]


@contextlib.contextmanager
def forwarded(story, pod, port):
    process = subprocess.Popen([story.kubectl.program, "--kubeconfig", story.kubectl.kubeconfig, "port-forward", "-n", story.namespace,
                                "--address=127.0.0.1", f"pod/{pod}", f":{port}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    try:
        told = process.stdout.readline()
        local = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) ", told)
        assert local, told
        yield f"http://127.0.0.1:{local[1]}"
    finally:
        process.kill()
        process.wait()


def fetch(url, token=None):
    """(status, body); the status is 0 when there is no answer."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


class Dying:
    """An operator outside, under the sanitizers, that is killed again and again at a moment that chance picks."""

    def __init__(self, operator, chance):
        self.operator = operator
        self.chance = chance
        self.deaths = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(self.chance.uniform(1, 6)):
            self.operator.kill()
            self.deaths += 1
            self.operator.start()

    def end(self):
        self.over.set()
        self.thread.join()


class Story:
    def __init__(self, cluster, folder):
        self.cluster = cluster
        self.kubectl = cluster.kubectl
        self.folder = folder
        self.seed = int(os.environ.get("PROA_NODES_SEED") or secrets.randbelow(10**6))
        self.namespace = f"nodes-{secrets.token_hex(3)}"
        self.name = "shop"
        self.spec = {"replicas": 3, "storageSize": "1Gi", "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}}}
        self.figures = {}   # what else is printed: seconds by name
        self.writers_node = self.old_password = None
        self.dying_deaths = 0
        self.chapters = []  # (what, from, to), for the times without a writer
        self.operator = self.dying = None
        self.kubectl("create", "namespace", self.namespace)
        self.kubectl("label", "namespace", self.namespace, "pod-security.kubernetes.io/enforce=restricted")

    # -- The Database ---------------------------------------------------------------------------------------------------

    def apply(self, **changes):
        self.spec |= changes
        self.kubectl.apply(database(self.name, self.namespace, **self.spec))

    def get(self, *what):
        return self.kubectl.get(*what, "-n", self.namespace)

    def status(self):
        found = self.get("db", self.name) or {}
        status = found.get("status", {})
        return status if status.get("observedGeneration") == found.get("metadata", {}).get("generation") else {}

    def is_ready(self):
        """By its status, which may tell of a moment ago, and by its pods."""
        status = self.status()
        return (status.get("phase") == "Ready" and status["replicasReady"] == self.spec["replicas"] and
                all(self.is_pod_ready(i) for i in range(self.spec["replicas"])))

    def wait_ready(self, seconds, what):
        until(self.is_ready, seconds, f"Ready: {what}")

    def pod(self, index):
        return self.get("pod", f"{self.name}-{index}")

    def is_pod_ready(self, index):
        pod = self.pod(index)
        return pod and not pod["metadata"].get("deletionTimestamp") and any(
            c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))

    def uid(self, index):
        return (self.pod(index) or {}).get("metadata", {}).get("uid")

    def restarts(self, pod):
        return sum(c["restartCount"] for c in self.get("pod", pod)["status"].get("containerStatuses", []))

    def password(self, name=None):
        return base64.b64decode(self.get("secret", f"{name or self.name}-credentials")["data"]["password"]).decode()

    def token(self):
        return base64.b64decode(self.get("secret", f"{self.name}-credentials")["data"]["agentToken"]).decode()

    def conditions(self):
        return {c["type"]: c for c in self.status().get("conditions", [])}

    # -- SQL ------------------------------------------------------------------------------------------------------------

    def try_sql(self, sql, service="rw", password=None):
        return self.kubectl.run("exec", "client", "-n", self.namespace, "--", "env", f"PGPASSWORD={password or self.password()}",
                                "psql", CONNECTION % f"{self.name}-{service}", "-XAtq", "-c", sql)

    def sql(self, sql, service="rw"):
        done = self.try_sql(sql, service)
        assert done.returncode == 0, f"{sql} by -{service}: {done.stderr}"
        return done.stdout.strip()

    def wait_sql(self, sql, answer, seconds, what, service="rw", password=None):
        until(lambda: self.try_sql(sql, service, password).stdout.strip() == answer, seconds, what)

    def local_sql(self, index, sql):
        """As the instance's superuser, who comes by its socket only."""
        return self.kubectl("exec", f"{self.name}-{index}", "-n", self.namespace, "-c", "database", "--", "psql", "-h",
                            "/var/run/database", "-U", "postgres", "-XAtq", "-d", "app", "-c", sql).strip()

    # -- Pods beside it -------------------------------------------------------------------------------------------------

    def start_client(self):
        """A pod for single statements."""
        self.pod_of_ours("client", {"containers": [{"name": "client", "image": ENGINE_IMAGE, "command": ["sleep", "86400"]}]})

    def start_writer(self, node):
        secret = {"secretName": f"{self.name}-credentials", "items": [{"key": "password", "path": "password"}]}
        self.pod_of_ours("writer", {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "containers": [{"name": "writer", "image": ENGINE_IMAGE,
                            "command": ["sh", "-c", WRITER % (IMPATIENT % f"{self.name}-rw")],
                            "volumeMounts": [{"name": "credentials", "mountPath": "/etc/credentials"}]}],
            "volumes": [{"name": "credentials", "secret": secret}]})
        until(lambda: len(self.acknowledged()) > 5, 30, "the writer's first rows")

    def pod_of_ours(self, name, spec):
        self.kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod", "spec": restricted(spec | {"tolerations": STAY}),
                                       "metadata": {"name": name, "namespace": self.namespace}}))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", self.namespace, "--timeout=50s")

    def acknowledged(self):
        """(time, key) of each row whose commit the writer was told of."""
        lines = self.kubectl("logs", "writer", "-n", self.namespace, "--timestamps").splitlines()
        told = [re.fullmatch(r"(\S+?)(\.\d+)?Z (\d+\.\d+)", line) for line in lines]
        return [(datetime.fromisoformat(m[1] + "+00:00").timestamp() + float(m[2] or 0), m[3]) for m in told if m]

    def wait_written(self, seconds=30):
        """Until rows are acknowledged that were sent from now on."""
        start = time.time()
        until(lambda: sum(at > start for at, _ in self.acknowledged()[-5:]) >= 2, seconds, "rows are written")

    @contextlib.contextmanager
    def chapter(self, what):
        """Something happens while the writer writes; at the end all is well again."""
        start = time.time()
        yield
        self.wait_written()
        self.chapters.append((what, start, time.time()))

    def times_without_writer(self):
        """The longest gap between two acknowledged rows in each chapter."""
        times = [at for at, _ in self.acknowledged()]
        gaps = list(zip(times, times[1:]))
        return [(what, max((b - a for a, b in gaps if b > start and a < end), default=0)) for what, start, end in self.chapters]

    # -- The operator ---------------------------------------------------------------------------------------------------

    def install_operator(self):
        """In the cluster, from its manifests, in place of one outside."""
        self.stop_outside()
        done = subprocess.run([RELEASE, "manifests", "--", ENGINE_SETTING], check=True, capture_output=True, text=True)
        self.kubectl.apply(done.stdout)
        self.kubectl("rollout", "status", f"deployment/{SYSTEM}", "-n", SYSTEM, "--timeout=50s")

    def start_outside(self):
        """From now on the operator runs here, under the sanitizers, and dies at random."""
        self.kubectl("scale", "deployment", SYSTEM, "-n", SYSTEM, "--replicas=0")
        self.operator = Operator(self.kubectl, self.folder, ENGINE_SETTING, "--no-leader.elect")
        self.dying = Dying(self.operator, random.Random(self.seed))

    def stop_dying(self):
        if self.dying:
            self.dying.end()
            self.dying_deaths = self.dying.deaths
            self.dying = None

    def stop_outside(self):
        self.stop_dying()
        operator, self.operator = self.operator, None
        if operator:
            operator.stop()

    def end(self):
        try:
            self.stop_outside()
        finally:
            if not self.cluster.kubelab:
                self.kubectl.run("delete", "db", "--all", "-n", self.namespace, "--timeout=50s")
                self.kubectl.run("delete", "namespace", self.namespace, "--wait=false")

    # -- When something failed ------------------------------------------------------------------------------------------

    def scene(self):
        """What a person would look at first."""
        looks = [("get", "db,pods,pvc", "-o", "wide"), ("describe", "db"), ("get", "events", "--sort-by=.lastTimestamp")]
        looks += [("logs", f"{self.name}-{i}", "-c", "database", "--tail=40") for i in range(3)]
        looks += [("logs", f"{self.name}-{i}", "-c", "database", "--tail=15", "--previous") for i in range(3)]
        looks += [("logs", "writer", "--tail=15"), ("logs", "-l", "app.kubernetes.io/name=mysql", "-c", "database", "--tail=40")]
        told = [f"seed {self.seed} (PROA_NODES_SEED)"]
        for look in looks:
            done = self.kubectl.run(*look, "-n", self.namespace)
            told.append(f"$ kubectl {' '.join(look)}\n{(done.stdout + done.stderr)[-6000:]}")
        if self.operator:
            told.append("operator:\n" + self.operator.log()[-3000:])
        else:
            told.append(self.kubectl.run("logs", f"deployment/{SYSTEM}", "-n", SYSTEM, "--tail=30").stdout)
        return "\n".join(told)
