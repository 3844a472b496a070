#!/usr/bin/env python3
"""The operator's figures, for bench/figures: against a real API server (kubelab's, found by PROA_KUBERNETES) without nodes.

Beside it run kube_load, whose StatefulSet controller answers at once, and kube_raw, a bare watcher that patches the
StatefulSets of twin objects as soon as it sees a change. The operator has the rights of its manifests and a kubeconfig
with the cluster's own CA. Requests are counted by the API server's audit log and by the operator's metrics, which must
agree. Run alone it prints just this table.
"""
import collections
import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path


def load_figures():
    loader = SourceFileLoader("figures", str(Path(__file__).resolve().with_name("figures")))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("figures", loader))
    loader.exec_module(module)
    return module


figures = load_figures()
CannotRun, MIB, SMOKE = figures.CannotRun, figures.MIB, figures.SMOKE
OPERATOR, LOAD, RAW = figures.BIN / "database-operator", figures.TOOLS / "kube_load", figures.TOOLS / "kube_raw"
USER = "system:serviceaccount:database-operator:database-operator"
HOW = "PROA_KUBERNETES names none (tests/README.md, An API server)"

if SMOKE:
    DATABASES, NAMESPACES, CHANGES, PER_SECOND, REST_S, SETTLE_S, OUTAGE_S = 20, 2, 10, 20, 4, 2, 2
    SECRETS, CONFIG_MAPS, SETS = 50, 20, 20
else:
    DATABASES, NAMESPACES, CHANGES, PER_SECOND, REST_S, SETTLE_S, OUTAGE_S = 1000, 10, 400, 16, 60, 40, 15
    SECRETS, CONFIG_MAPS, SETS = 10000, 5000, 5000

OBJECTS = 11          # that the operator makes of a Database where there are no ServiceMonitors
EVENTS = 2            # of a Database
OTHERS = 3            # requests beside: the finalizer, the status at first, the status at last
BINARY_MIB, IDLE_MIB, FULL_MIB, FOREIGN_MIB = 6, 6, 12, 1
REST_PERCENT, CHANGE_RATIO, BACK_S = 0.5, 1.5, 2

AUDIT_POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
                "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}]}


class Api:
    """kubelab's API server, with an audit log of what the operator asks."""

    def __init__(self, folder):
        self.kubelab = Path(os.environ["PROA_KUBERNETES"]) / "kubelab"
        self.folder, self.audit = folder / "api", folder / "audit.log"
        policy = folder / "audit-policy"
        policy.write_text(json.dumps(AUDIT_POLICY))
        up = subprocess.run([self.kubelab, "api-up", self.folder, "--", f"--audit-policy-file={policy}",
                             f"--audit-log-path={self.audit}", "--audit-log-maxsize=1000"],
                            capture_output=True, text=True, check=False)
        if up.returncode:
            raise CannotRun(f"kubelab api-up: {up.stdout}{up.stderr}")
        self.env = dict(re.findall(r"(\w+)=(\S+)", (self.folder / "env").read_text()))
        self.kubeconfig = self.env["KUBECONFIG"]
        self.port = int(self.env["KUBELAB_SERVER"].rsplit(":", 1)[1])
        self.context = ssl.create_default_context(cafile=self.env["KUBELAB_CA"])
        self.command = Path(f"/proc/{self.pid()}/cmdline").read_bytes().decode().split("\0")[:-1]
        kubectl = Path.home() / ".cache" / "kubelab" / "kubectl"
        self.kubectl_program = shutil.which("kubectl") or str(kubectl)

    def pid(self):
        return int((self.folder / "pids" / "apiserver").read_text())

    def kubectl(self, *arguments, text=None):
        run = subprocess.run([self.kubectl_program, "--kubeconfig", self.kubeconfig, *arguments], input=text,
                             capture_output=True, text=True, check=False)
        if run.returncode:
            raise CannotRun(f"kubectl {' '.join(arguments)}: {run.stderr}")
        return run.stdout

    def ask(self, method, path, body=None, content_type="application/json", timeout=5):
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context)
        with contextlib.closing(connection):
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Authorization": f"Bearer {self.env['KUBELAB_TOKEN']}", "Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read().decode()
        if answer.status >= 300:
            raise CannotRun(f"{method} {path}: {answer.status} {text[:500]}")
        return json.loads(text) if text.startswith("{") else text

    def audited(self):
        """(verb, resource with subresource) of the operator's requests that have ended, discovery too."""
        lines = self.audit.read_text().splitlines() if self.audit.exists() else []
        found = []
        for line in lines:
            entry = json.loads(line)
            reference = entry.get("objectRef", {})
            resource = "/".join(filter(None, (reference.get("resource"), reference.get("subresource"))))
            found.append((entry["verb"], resource or entry["requestURI"].split("?")[0]))
        return found

    def kill(self):
        os.kill(self.pid(), signal.SIGKILL)

    def restart(self):
        """@returns when it said that it was ready."""
        log = open(self.folder / "log" / "apiserver-again.log", "ab")
        process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        threading.Thread(target=process.wait, daemon=True).start()
        (self.folder / "pids" / "apiserver").write_text(str(process.pid))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, CannotRun, http.client.HTTPException):
                if self.ask("GET", "/readyz", timeout=2) == "ok":
                    return time.monotonic()
            time.sleep(0.01)
        raise CannotRun("the API server did not come back")

    def down(self):
        subprocess.run([self.kubelab, "api-down", self.folder], capture_output=True, check=False)


class Operator:
    def __init__(self, api, folder):
        self.api, self.folder = api, folder
        config = json.loads(api.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        token = api.kubectl("create", "token", "database-operator", "-n", "database-operator", "--duration=4h").strip()
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = "database-operator"
        self.kubeconfig = folder / "operator.kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))
        self.process = None

    def start(self):
        self.port = figures.free_port()
        env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.kubeconfig), "THREADS": "1", "PORT": str(self.port)}
        with open(self.folder / "operator.log", "ab") as log:
            self.process = subprocess.Popen([OPERATOR, "run", "--http.address=127.0.0.1", "--http.drain-delay-ms=0"],
                                            env=env, stdout=log, stderr=log)
        self.pid = self.process.pid
        deadline = time.monotonic() + 60
        while self.get("/readyz")[0] != 200:
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "operator.log").read_text()
                raise CannotRun(f"the operator did not become ready: {log[-2000:]}")
            time.sleep(0.05)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def get(self, path):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            with contextlib.closing(connection):
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
        except OSError:
            return 0, ""

    def requests(self):
        """As it counts them itself."""
        counts = re.findall(r"^rest_client_requests_total\{.*\} (\d+)", self.get("/metrics")[1], re.M)
        return sum(map(int, counts))

    def cpu_s(self):
        """In nanoseconds of the scheduler, all threads."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def resident(self):
        return figures.resident_bytes(self.pid)


# -- The programs beside ---------------------------------------------------------------------------------------------

@contextlib.contextmanager
def beside(api, *command, ready=None):
    """A program that works until it is told to end."""
    process = subprocess.Popen([str(part) for part in command], env={**os.environ, "KUBECONFIG": api.kubeconfig},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if ready and ready not in process.stdout.readline():
            raise CannotRun(f"{command[0]} did not start")
        yield process
    finally:
        process.stdin.close()
        if ready:
            process.kill()
        process.wait(60)


def run_load(api, *command, text=""):
    run = subprocess.run([LOAD, *map(str, command)], input=text, capture_output=True, text=True, check=False,
                         env={**os.environ, "KUBECONFIG": api.kubeconfig})
    if run.returncode:
        raise CannotRun(f"kube_load {command[0]}: {run.stdout[-300:]} {run.stderr[-1000:]}")
    return json.loads(run.stdout)


def line(method, path, body, content_type="application/json"):
    return f"{method} {path} {content_type} {json.dumps(body)}\n"


def names():
    return [(f"bench-{i % NAMESPACES}", f"db-{i}") for i in range(DATABASES)]


def database(namespace, name, group="database.example.com"):
    return {"apiVersion": f"{group}/v1", "kind": "Database", "metadata": {"name": name, "namespace": namespace},
            "spec": {"engine": "postgres", "version": "17", "replicas": 1, "storageSize": "1Gi"}}


def databases_path(namespace, group="database.example.com"):
    return f"/apis/{group}/v1/namespaces/{namespace}/databases"


# -- The measurements ------------------------------------------------------------------------------------------------

def settle(api, operator):
    """Until it has verified all, and what it needed meanwhile is given back."""
    time.sleep(SETTLE_S)
    return operator.resident()


def is_counted(verb, resource):
    return verb not in ("watch", "list") and not resource.startswith(("leases", "events", "/"))


def make_databases(api, operator, table):
    text = "".join(line("POST", databases_path(namespace), database(namespace, name)) for namespace, name in names())
    before, metrics_before, cpu_before = len(api.audited()), operator.requests(), operator.cpu_s()
    with beside(api, LOAD, "answer") as answering, beside(api, LOAD, "await", DATABASES) as awaiting:
        time.sleep(1)
        began = time.monotonic()
        run_load(api, "send", text=text)
        took = json.loads(awaiting.stdout.readline())["at"] - began
        cpu = operator.cpu_s() - cpu_before
        time.sleep(2)  # the last events
        answering.stdin.close()
        answered = json.loads(answering.stdout.readline())
    if answered["failed"]:
        raise CannotRun(f"the StatefulSet controller: {answered}")
    metrics = operator.requests() - metrics_before
    audited = api.audited()[before:]
    # Watches, which are in the log when they end, are long; those of the metrics that run are in neither difference. What is just under
    # way when either is read is counted by one of them only.
    if abs(metrics - len(audited)) > 5 + len(audited) // 1000:
        raise CannotRun(f"the operator counts {metrics} requests, the API server {len(audited)}")
    counted = sum(is_counted(*entry) for entry in audited)
    events = sum(resource.startswith("events") for _, resource in audited)
    target = DATABASES * (OBJECTS + OTHERS)
    table.add(f"until {DATABASES:,} new Databases are Ready", f"{took:.1f} s, {cpu:.2f} s of CPU", "", "", "")
    table.add("requests meanwhile, without watches, lease and events", f"{counted:,}", "", f"at most {target:,}",
              figures.verdict(counted <= target))
    table.add("events meanwhile", f"{events:,}", "", f"at most {EVENTS * DATABASES:,}",
              figures.verdict(events <= EVENTS * DATABASES))
    figures.note(f"    {dict(collections.Counter(audited).most_common(40))}")


def rest(api, operator, table):
    before, cpu_before, began = len(api.audited()), operator.cpu_s(), time.monotonic()
    time.sleep(REST_S)
    seconds = time.monotonic() - began
    percent = 100 * (operator.cpu_s() - cpu_before) / seconds
    audited = api.audited()[before:]
    writes = [entry for entry in audited if entry[0] in ("create", "update", "patch", "delete") and entry[1] != "leases"]
    table.add(f"CPU at rest with {DATABASES:,} Databases, verified every 30 s", f"{percent:.2f} %", "",
              f"below {REST_PERCENT} %", figures.verdict(percent < REST_PERCENT))
    table.add("requests at rest", f"{len(audited) / seconds:.2f} per second, {len(writes)} writes but the lease's", "",
              "no writes", figures.verdict(not writes))


def make_twins(api):
    """Objects like the Databases, of another group, with StatefulSets like theirs, for the bare watcher."""
    crd = subprocess.run([OPERATOR, "crd"], capture_output=True, text=True, check=True).stdout
    api.kubectl("apply", "-f", "-", text=crd.replace("database.example.com", "raw.example.com"))
    api.kubectl("wait", "--for=condition=Established", "crd/databases.raw.example.com", "--timeout=30s")
    lines = []
    for namespace, name in names()[:CHANGES]:
        path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
        model = api.ask("GET", f"{path}/{name}")
        twin = {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": model["spec"],
                "metadata": {"name": f"raw-{name}", "namespace": namespace, "labels": {"bench": "twin"}}}
        lines += [line("POST", databases_path(namespace, "raw.example.com"), database(namespace, f"raw-{name}", "raw.example.com")),
                  line("POST", path, twin)]
    run_load(api, "send", text="".join(lines))


def changes(api, table):
    make_twins(api)
    text = "".join(f"{namespace} {name}\n" for namespace, name in names()[:CHANGES])
    with beside(api, LOAD, "answer"), \
            beside(api, RAW, api.port, api.env["KUBELAB_CA"], api.env["KUBELAB_TOKEN"], ready="watching"):
        time.sleep(2)  # the twins' StatefulSets are answered, all watches stand
        took = run_load(api, "change", CHANGES, PER_SECOND, text=text)
    ours, raw = took["databases"], took["twins"]
    for name, key in (("median", "p50_ms"), ("99th percentile", "p99_ms")):
        ratio = ours[key] / raw[key]
        table.add(f"change of spec.replicas until the StatefulSet's, {name}", f"{ours[key]:.1f} ms",
                  f"{raw[key]:.1f} ms by a bare watcher", f"ratio at most {CHANGE_RATIO}: {ratio:.2f}",
                  figures.verdict(ratio <= CHANGE_RATIO))


def outage(api, operator, table):
    namespace, name = names()[-1]
    path = f"{databases_path(namespace)}/{name}"
    api.kill()
    time.sleep(OUTAGE_S)
    ready = api.restart()
    replicas = 7
    api.ask("PATCH", path, {"spec": {"replicas": replicas}}, "application/merge-patch+json")
    deadline = time.monotonic() + 60
    while api.ask("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets/{name}")["spec"]["replicas"] != replicas:
        if time.monotonic() > deadline:
            raise CannotRun("the operator did not come back after the API server's outage")
        time.sleep(0.01)
    took = time.monotonic() - ready
    if operator.process.poll() is not None:
        raise CannotRun("the operator died while the API server was away")
    table.add(f"{OUTAGE_S} s without API server: first reconcile after its readiness", f"{took:.2f} s", "",
              f"at most {BACK_S} s", figures.verdict(took <= BACK_S))


def make_foreign(api):
    label = {"labels": {"bench": "foreign"}}
    lines = []
    for i in range(max(SECRETS, CONFIG_MAPS, SETS)):
        namespace, name = f"bench-{i % NAMESPACES}", f"foreign-{i}"
        core = f"/api/v1/namespaces/{namespace}"
        if i < SECRETS:
            lines.append(line("POST", f"{core}/secrets", {"metadata": {"name": name, **label},
                                                         "stringData": {"value": "x" * 4096}}))
        if i < CONFIG_MAPS:
            lines.append(line("POST", f"{core}/configmaps", {"metadata": {"name": name, **label}, "data": {"value": "x" * 100}}))
        if i < SETS:
            spec = {"serviceName": name, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}}
            lines.append(line("POST", f"/apis/apps/v1/namespaces/{namespace}/statefulsets",
                              {"metadata": {"name": name, **label}, "spec": spec}))
    run_load(api, "send", text="".join(lines))


def restarted(api, operator):
    operator.stop()
    operator.start()
    return settle(api, operator)


def measure_with(api, folder):
    table = figures.Table("database-operator", "measured", "beside it", "target", "met",
                          how=f"One run; {CHANGES} changes of spec.replicas, as many of the bare watcher's between them.")
    api.kubectl("apply", "-f", "-", text=subprocess.run([OPERATOR, "manifests"], capture_output=True, text=True,
                                                        check=True).stdout)
    api.kubectl("wait", "--for=condition=Established", "crd/databases.database.example.com", "--timeout=30s")
    for i in range(NAMESPACES):
        api.kubectl("create", "namespace", f"bench-{i}")
    operator = Operator(api, folder)
    try:
        size = OPERATOR.stat().st_size
        table.add("stripped static binary", f"{size / MIB:.2f} MiB", "", f"at most {BINARY_MIB} MiB",
                  figures.verdict(size <= BINARY_MIB * MIB))
        operator.start()
        time.sleep(3)
        idle = operator.resident()
        table.add("resident memory, idle", f"{idle / MIB:.2f} MiB", "", f"at most {IDLE_MIB} MiB",
                  figures.verdict(idle <= IDLE_MIB * MIB))
        make_databases(api, operator, table)
        grown = settle(api, operator)
        rest(api, operator, table)
        changes(api, table)
        outage(api, operator, table)
        # The larger of one that has seen them all made and one that finds them at its start.
        fresh = restarted(api, operator)
        full = max(grown, fresh)
        table.add(f"resident memory with {DATABASES:,} Databases in {NAMESPACES} namespaces",
                  f"{full / MIB:.2f} MiB; {fresh / MIB:.2f} MiB after a restart", "", f"at most {FULL_MIB} MiB",
                  figures.verdict(full <= FULL_MIB * MIB))
        make_foreign(api)
        above = max(settle(api, operator), restarted(api, operator)) - fresh
        table.add(f"the same with {SECRETS:,} foreign Secrets of 4 KiB, {CONFIG_MAPS:,} ConfigMaps and {SETS:,} StatefulSets",
                  f"{above / MIB:+.2f} MiB", "", f"at most +{FOREIGN_MIB} MiB", figures.verdict(above <= FOREIGN_MIB * MIB))
    finally:
        operator.stop()
    return table


def measure():
    for program in (OPERATOR, LOAD, RAW):
        if not program.exists():
            raise CannotRun(f"{program} is not built")
    folder = Path(tempfile.mkdtemp())
    api = Api(folder)
    try:
        return measure_with(api, folder)
    finally:
        api.down()
        if not os.environ.get("PROA_FIGURES_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)


def main():
    if not os.environ.get("PROA_KUBERNETES"):
        figures.note(f"figures: database-operator: skipped, no API server: {HOW}")
        return 0
    try:
        print(measure())
    except (CannotRun, OSError, subprocess.SubprocessError) as failure:
        figures.note(f"figures: database-operator: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
