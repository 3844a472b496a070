"""Instances of a Database on this machine: the agent as a process, real PostgreSQL below it, and a tiny API server.

Each instance has a loopback address of its own, so that all use their usual ports; an instance is a folder.
"""
import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support import BUILD, ROOT, SANITIZER_MARKS, ask, postgres_module, wait_until

NETWORKS = itertools.count(1)
PATH = "/apis/database.example.com/v1/namespaces/default/databases"
AGENT = BUILD / "apps" / "database-operator" / "database-operator"
LSAN = f"suppressions={ROOT}/tests/support/lsan.supp:print_suppressions=0"


class Api:
    """Serves one Database: get, list and watch, as far as the agent asks. Can be away."""

    def __init__(self, name, primary, replicas):
        self.version = 1
        self.object = {"apiVersion": "database.example.com/v1", "kind": "Database",
                       "metadata": {"name": name, "namespace": "default", "uid": "u1", "resourceVersion": "1"},
                       "spec": {"engine": "postgres", "version": "15", "storageSize": "1Gi", "replicas": replicas},
                       "status": {"currentPrimary": primary} if primary else {}}
        self.lock = threading.Lock()
        self.watchers = []
        self.requests = []
        self.server = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def up(self):
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                api.answer(self)

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request, address):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def down(self):
        """Refuses connections and cuts the watches."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
        with self.lock:
            watchers, self.watchers = self.watchers, []
        for watcher in watchers:
            watcher.put(None)

    def set(self, primary=None, replicas=None, **status):
        with self.lock:
            self.version += 1
            self.object["metadata"]["resourceVersion"] = str(self.version)
            if primary is not None:
                self.object["status"]["currentPrimary"] = primary
            if replicas is not None:
                self.object["spec"]["replicas"] = self.object["status"]["replicas"] = replicas
            self.object["status"].update(status)
            event = {"type": "MODIFIED", "object": json.loads(json.dumps(self.object))}
            for watcher in self.watchers:
                watcher.put(event)

    def answer(self, handler):
        target = urlsplit(handler.path)
        query = {key: values[0] for key, values in parse_qs(target.query).items()}
        self.requests.append(handler.path)
        wanted = f"metadata.name={self.object['metadata']['name']}"
        if target.path != PATH or query.get("fieldSelector") != wanted:
            self.send(handler, 403, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                                     "message": "not this one", "code": 403})
        elif query.get("sendInitialEvents"):
            self.send(handler, 422, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Invalid",
                                     "message": "no streaming lists", "code": 422})
        elif query.get("watch"):
            self.stream(handler, int(query.get("resourceVersion", "0")))
        else:
            with self.lock:
                body = {"kind": "DatabaseList", "apiVersion": "database.example.com/v1",
                        "metadata": {"resourceVersion": str(self.version)}, "items": [self.object]}
                self.send(handler, 200, body)

    @staticmethod
    def send(handler, status, body):
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def stream(self, handler, version):
        watcher = queue.Queue()
        with self.lock:
            self.watchers.append(watcher)
            if self.version > version:
                watcher.put({"type": "MODIFIED", "object": json.loads(json.dumps(self.object))})
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        while (event := watcher.get()) is not None:
            data = json.dumps(event).encode() + b"\n"
            handler.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)


class Instance:
    def __init__(self, cluster, ordinal):
        self.cluster = cluster
        self.ordinal = ordinal
        self.name = f"{cluster.name}-{ordinal}"
        self.address = f"{cluster.network}.1{ordinal}"
        self.folder = cluster.folder / self.name
        self.volume, self.run = self.folder / "volume", self.folder / "run"
        self.data = self.volume / "data"
        self.process = None
        self.output = None
        for folder in (self.folder, self.volume, self.run):
            folder.mkdir(mode=0o755)
            cluster.give(folder)

    def start(self, *arguments, wrapper=(), new_pod=True, **environment):
        """In a new pod, or as the container of the same pod that has ended."""
        assert self.process is None or self.process.poll() is not None
        if new_pod:
            (self.run / "engine.conf").unlink(missing_ok=True)
        kept = {key: value for key, value in os.environ.items()
                if key.split("_")[0] in ("PATH", "ASAN", "UBSAN", "LANG", "TSAN")}
        self.log = self.folder / "log"
        self.process = subprocess.Popen(
            [*wrapper, AGENT, "agent", f"--http.address={self.address}", f"--kubeconfig={self.cluster.kubeconfig}",
             f"--volume-dir={self.volume}", f"--run-dir={self.run}", f"--config-dir={self.cluster.config}",
             f"--credentials-dir={self.cluster.credentials}", f"--bin-dir={self.cluster.programs}",
             f"--listen={self.address}", f"--host={self.cluster.network}.1{{ordinal}}", "--log.format=json",
             *self.cluster.settings, *arguments],
            stdin=subprocess.DEVNULL, stdout=open(self.log, "ab"), stderr=subprocess.STDOUT, cwd="/",
            env={**kept, "LSAN_OPTIONS": LSAN, "PROA_ENGINE": self.cluster.engine, "PROA_DATABASE": self.cluster.name,
                 "PROA_HEADLESS": f"{self.cluster.name}-headless", "POD_NAME": self.name,
                 "POD_NAMESPACE": self.cluster.namespace,
                 **environment}, **self.cluster.run_as)
        return self

    def text(self):
        return self.log.read_text(errors="replace")

    def log_lines(self):
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def has_logged(self, text, since="", until=None):
        """After the first `since`, and before the next `until`."""
        log = self.text().split(since, 1)[-1] if since else self.text()
        return text in (log.split(until, 1)[0] if until else log) and since in self.text()

    def get(self, path, token=None, method="GET"):
        """The answer, None when the agent does not listen."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return ask(8008, method, path, headers, timeout=5, host=self.address)
        except OSError:
            return None

    def status(self):
        answer = self.get("/v1/status", self.cluster.secret["agentToken"])
        return answer.json() if answer and answer.status == 200 else None

    def says(self, path):
        answer = self.get(path)
        return answer.status if answer else None

    def is_ready(self):
        answer = self.get("/readyz")
        return answer is not None and answer.status == 200

    def wait_ready(self, seconds=60):
        def ready():
            assert self.process.poll() is None, f"{self.name} ended with {self.process.poll()}:\n{self.text()[-6000:]}"
            return self.is_ready()
        wait_until(ready, seconds, f"{self.name} to be ready; it says {self.status()}\n" , every=0.05)
        return self

    def wait_reason(self, text, seconds=60):
        wait_until(lambda: text in ((self.status() or {}).get("reason") or ""), seconds,
                   f"{self.name} to say {text!r}; it says {self.status()}", every=0.05)

    def connect(self, user=None, password=None, **options):
        import psycopg
        secret = self.cluster.secret
        return psycopg.connect(host=self.address, port=5432, dbname=options.pop("dbname", "app"),
                               user=user or secret["username"], password=password or secret["password"],
                               connect_timeout=10, autocommit=True, **options)

    def sql(self, statement, *values, **options):
        with self.connect(**options) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else None

    def superuser(self, statement, database="postgres"):
        """As somebody in the container would."""
        done = subprocess.run([self.cluster.programs / "psql", "-XAtq", "-h", self.run, "-U", "postgres", "-d", database,
                               "-c", statement], capture_output=True, text=True, timeout=60, **self.cluster.run_as)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def server_pid(self):
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (OSError, ValueError):
            return None

    def processes(self):
        """Of the engine: those that run in the data folder or below it."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    where = os.readlink(entry / "cwd")
                except OSError:
                    continue
                if where.startswith(str(self.volume)):
                    found.append(int(entry.name))
        return found

    def wait_exit(self, seconds=60):
        code = self.process.wait(seconds)
        self.check_clean()
        return code

    def check_clean(self):
        text = self.text()
        for mark in SANITIZER_MARKS:
            assert mark not in text, text[-8000:]

    def stop(self, expect=0, number=signal.SIGTERM, seconds=60):
        self.process.send_signal(number)
        code = self.wait_exit(seconds)
        assert code == expect, f"{self.name} exited {code}:\n{self.text()[-6000:]}"
        assert self.processes() == []

    def kill(self):
        """As when the container's process 1 is killed: all below it goes too."""
        self._kill_all()
        wait_until(lambda: not self.processes(), 20, "the engine's processes to be gone")

    def _kill_all(self):
        self.process.kill()
        self.process.wait(10)
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def interrupt(self, seconds, points):
        """Kills it at so many points of what it does in the first seconds after a start."""
        for step in range(points):
            self.start()
            time.sleep(seconds * (step + 0.5) / (points + 1))
            self.kill()

    def save(self, folder):
        """A copy of the volume, as a snapshot has it."""
        subprocess.run(["cp", "-a", self.volume, folder], check=True)

    def restore(self, folder):
        shutil.rmtree(self.volume)
        subprocess.run(["cp", "-a", folder, self.volume], check=True)

    def set_volume_aside(self):
        for child in self.volume.iterdir():
            child.rename(self.folder / f"first-{child.name}")

    def clean_up(self):
        if self.process:
            self._kill_all()


class Cluster:
    engine = "postgres"
    instance_type = Instance

    def __init__(self, replicas=1, settings=(), primary="shop-0", engine_conf="", kubeconfig=None, namespace="default"):
        """With a kubeconfig (its text) the agents ask a real API server."""
        self.name = "shop"
        self.namespace = namespace
        self.settings = ["--poll-ms=200", "--api-wait-ms=1000", "--duties-ms=1000", "--lock-ms=1500", *settings]
        self.programs = self.find_programs()
        self.run_as, self.owner = postgres_module().other_user()
        self.network = f"127.{os.getpid() % 200 + 20}.{next(NETWORKS)}"
        self.folder = Path(tempfile.mkdtemp(prefix="proa-agent-"))
        self.folder.chmod(0o755)
        self.config, self.credentials = self.folder / "config", self.folder / "credentials"
        self.config.mkdir()
        self.credentials.mkdir()
        self.secret = {"username": "app", "password": "first-password", "replicationPassword": "copy-that",
                       "agentToken": "agents-only"}
        self.write_credentials()
        self.write_config(engine_conf)
        self.api = None if kubeconfig else Api(self.name, primary, replicas).up()
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(kubeconfig or json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.api.port}"}}],
            "users": [{"name": "u", "user": {}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
        self.instances = [self.instance_type(self, ordinal) for ordinal in range(replicas)]

    @staticmethod
    def find_programs():
        programs = postgres_module().find_programs()
        if programs is None:
            raise FileNotFoundError("no PostgreSQL below /usr/lib/postgresql or on PATH")
        return programs

    def __getitem__(self, ordinal):
        return self.instances[ordinal]

    def give(self, path):
        if self.owner:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    def write_credentials(self, **changes):
        self.secret.update(changes)
        for key, value in self.secret.items():
            draft = self.credentials / f".{key}"
            draft.write_text(value)
            draft.rename(self.credentials / key)

    def write_config(self, more=""):
        """As the operator writes it, but small, and without waiting for the disk (what is tested is killed, not powered off)."""
        (self.config / "engine.conf").write_text(
            "listen_addresses = '*'\nport = 5432\nunix_socket_directories = '/var/run/database'\n"
            "password_encryption = 'scram-sha-256'\nwal_level = replica\nwal_log_hints = on\nhot_standby = on\n"
            "max_wal_senders = 20\nmax_replication_slots = 20\nrecovery_target_timeline = 'latest'\n"
            "logging_collector = off\nlog_destination = 'stderr'\nmax_slot_wal_keep_size = '1GB'\nwal_keep_size = '128MB'\n"
            "cluster_name = 'shop'\nshared_buffers = '16MB'\nmax_connections = '50'\nwal_retrieve_retry_interval = '200ms'\n"
            "dynamic_shared_memory_type = 'mmap'\n" + more)

    def save(self, template):
        """Keeps the first instance's volume, so that others need not make it again."""
        shutil.copytree(self[0].volume, template, symlinks=True)

    def use(self, template):
        shutil.rmtree(self[0].volume)
        subprocess.run(["cp", "-a", template, self[0].volume], check=True)
        if self.owner:
            subprocess.run(["chown", "-R", f"{self.owner.pw_uid}:{self.owner.pw_gid}", self[0].volume], check=True)
        return self

    def add_instance(self):
        self.instances.append(self.instance_type(self, len(self.instances)))
        return self.instances[-1]

    def start(self, *arguments):
        for instance in self.instances:
            instance.start(*arguments)
        for instance in self.instances:
            instance.wait_ready()
        return self

    def close(self):
        if self.api:
            self.api.down()
        for instance in self.instances:
            instance.clean_up()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def clusters():
    """A list for the clusters of a test: at its end no sanitizer has said anything, and no secret stands in a log."""
    made = []
    try:
        yield made
        for one in made:
            for instance in filter(lambda instance: instance.process, one.instances):
                instance.check_clean()
                for key, secret in one.secret.items():
                    assert key == "username" or secret not in instance.text(), (key, instance.name)
    finally:
        for one in made:
            one.close()


def first_volume(shop, folder, prepare=lambda instance: None):
    """The volume of a cluster's first instance, made once so that tests can begin with a copy of it."""
    try:
        prepare(shop[0].start().wait_ready())
        shop[0].stop()
        shop.save(folder)
    finally:
        shop.close()
    return folder
