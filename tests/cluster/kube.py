"""kubectl, and the operator as a process with the manifests' service account."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PROA_BUILD", ROOT / "build" / "test"))
LSAN = f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0"


def binary():
    return str(BUILD / "apps" / "database-operator" / "database-operator")


def eventually(check, seconds=20, what=""):
    """The first truthy value of check(). What is waited for is a text or, for what is known only at the end, a function."""
    end = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {what() if callable(what) else what or check}"
        time.sleep(0.1)


class Kubectl:
    def __init__(self, kubeconfig, lab=None):
        self.kubeconfig = kubeconfig
        self.lab = lab  # the folder of a kubelab of ours
        cached = Path.home() / ".cache" / "kubelab" / "kubectl"
        self.program = shutil.which("kubectl") or str(cached)

    def run(self, *arguments, text=None):
        return subprocess.run([self.program, "--kubeconfig", self.kubeconfig, *arguments], input=text, text=True,
                              capture_output=True, timeout=60, check=False)

    def __call__(self, *arguments, text=None):
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def apply(self, text):
        return self("apply", "-f", "-", text=text)

    def get(self, *arguments):
        """The object, None when there is none. An API server that is busy is asked again."""
        end = time.monotonic() + 20
        while True:
            done = self.run("get", *arguments, "-o", "json")
            if done.returncode == 0:
                return json.loads(done.stdout)
            if "(NotFound)" in done.stderr:
                return None
            assert time.monotonic() < end, f"kubectl get {' '.join(arguments)}: {done.stderr}"
            time.sleep(0.5)

    def signal_api_server(self, number):
        os.kill(int((self.lab / "pids" / "apiserver").read_text().split()[0]), number)

    def set_status(self, kind, namespace, name, status):
        self("patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", "-p",
             json.dumps({"status": status}))

    def serve(self, namespace, name, ready=None):
        """What the StatefulSet controller would say."""
        kind = self.get("statefulset", name, "-n", namespace)
        replicas = kind["spec"]["replicas"]
        self.set_status("statefulset", namespace, name,
                        {"observedGeneration": kind["metadata"]["generation"], "replicas": replicas,
                         "readyReplicas": replicas if ready is None else ready})


def database(name, namespace, **spec):
    whole = {"engine": "postgres", "version": "17", "replicas": 2, "storageSize": "1Gi"} | spec
    return json.dumps({"apiVersion": "database.example.com/v1", "kind": "Database",
                       "metadata": {"name": name, "namespace": namespace},
                       "spec": {key: value for key, value in whole.items() if value is not None}})


class Operator:
    def __init__(self, kubectl, folder, *settings):
        self.kubectl = kubectl
        self.settings = settings
        self.folder = folder
        self.log_file = folder / "operator.log"
        config = json.loads(kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        token = kubectl("create", "token", "database-operator", "-n", "database-operator").strip()
        config["users"][0]["user"] = {"token": token}
        config["contexts"][0]["context"]["namespace"] = "database-operator"
        self.kubeconfig = folder / "operator.kubeconfig"
        self.kubeconfig.write_text(json.dumps(config))
        self.process = None
        self.start()

    def start(self):
        env = {"PATH": os.environ["PATH"], "KUBECONFIG": str(self.kubeconfig), "THREADS": "1", "PORT": "0", "LSAN_OPTIONS": LSAN}
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [binary(), "run", "--http.address=127.0.0.1", *self.settings], env=env, stdout=log, stderr=log)

    def log(self):
        return self.log_file.read_text()

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=40) in (0, -signal.SIGKILL), self.log()[-3000:]
        # What RBAC refuses reads: User "…" cannot patch resource "pods" in API group …
        found = re.search(r"AddressSanitizer|LeakSanitizer|runtime error|cannot \w+ resource", self.log())
        assert not found, self.log()[max(0, found.start() - 500):][:3000]
