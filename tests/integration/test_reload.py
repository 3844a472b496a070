"""The configuration changes under a running, busy program: by a swapped file as Kubernetes mounts it, and by SIGHUP."""
import json
import os
import re
import signal
import threading

import pytest
from support import Client, ask, wait_until


class Mount:
    """A mounted ConfigMap: the file is a link through `..data`, which is swapped by a rename."""

    def __init__(self, folder):
        self.folder, self.version = folder, 0
        folder.mkdir()
        os.symlink("..data/config.yaml", folder / "config.yaml")
        self.path = folder / "config.yaml"

    def write(self, text):
        self.version += 1
        data = self.folder / f"..version{self.version}"
        data.mkdir()
        (data / "config.yaml").write_text(text)
        os.symlink(data.name, self.folder / "..data_new")
        os.rename(self.folder / "..data_new", self.folder / "..data")
        return self


class Load:
    """Clients that ask all the time; any answer but 200 is a failure."""

    def __init__(self, port, clients=4):
        self.port, self.failures, self.answers, self.over = port, [], 0, threading.Event()
        self.threads = [threading.Thread(target=self._ask) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _ask(self):
        with Client(self.port) as client:
            while not self.over.is_set():
                try:
                    answer = client.ask("GET", "/users?limit=1")
                    if answer.status != 200:
                        self.failures.append(answer.body)
                    self.answers += 1
                except OSError as error:
                    self.failures.append(error)
                    return

    def end(self):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert self.failures == [] and self.answers > 50


BEFORE = "log: {level: info}\nhttp: {body_bytes: 1Mi, request_ms: 20000}\n"
AFTER = "log: {level: 'info,http=debug'}\nhttp: {body_bytes: 1Ki, access_log: true, idle_ms: 30000, fields: 90}\n"


@pytest.fixture
def mount(tmp_path):
    return Mount(tmp_path / "mount").write(BEFORE)


@pytest.fixture
def users(start, tmp_path, mount):
    return start("users", "--config", str(mount.path), env={"DATABASE_URL": f"sqlite:{tmp_path}/users.db"}).wait_ready()


def reloads(program, outcome):
    return program.metric("config_reloads_total", outcome=outcome)


def large_body(program):
    return ask(program.port, "POST", "/users", {"Content-Type": "application/json"}, '{"name": "' + 2000 * "x" + '"}').status


def test_a_swapped_file_under_load(users, mount):
    load = Load(users.port)
    assert large_body(users) == 422
    mount.write(AFTER)
    users.wait_for_line("the configuration was reloaded")
    assert large_body(users) == 413
    assert users.metric("http_server_limit", limit="body_bytes") == 1024
    assert users.metric("http_server_limit", limit="idle_ms") == 30000
    users.wait_for_line('"message":"request"')  # access lines are on
    assert '"http.fields"' in users.wait_for_line("it needs a restart")

    # A bad file keeps all as it is, and says why.
    mount.write("htpp: {body_bytes: 5}\nlog: {level: shouting}\n")
    assert "htpp is not known" in users.wait_for_line("was not reloaded"), users.text()
    assert large_body(users) == 413 and reloads(users, "failed") == 1
    mount.write("log: {level: 'info,http=shouting'}\nhttp: {body_bytes: 2Ki}\n")
    wait_until(lambda: reloads(users, "failed") == 2, 20, "the second refusal")
    assert users.metric("http_server_limit", limit="body_bytes") == 1024

    mount.write(BEFORE)
    wait_until(lambda: reloads(users, "done") == 2, 20, "the reload")
    assert large_body(users) == 422
    load.end()


def test_hangups_under_load(users, mount):
    load = Load(users.port)
    for round in range(1, 31):
        mount.path.resolve().write_text(AFTER if round % 2 else BEFORE)  # in place
        users.send_signal(signal.SIGHUP)
        # The file may be seen to change before the signal comes, and even half written: there are more reloads than rounds then.
        wait_until(lambda: large_body(users) == (413 if round % 2 else 422) and reloads(users, "done") >= round, 20, f"reload {round}")
    load.end()


def test_a_hangup_without_a_file(start, tmp_path):
    users = start("users", env={"DATABASE_URL": f"sqlite:{tmp_path}/users.db"}).wait_ready()
    users.send_signal(signal.SIGHUP)
    users.wait_for_line("the configuration was reloaded")
    assert ask(users.port, "GET", "/health").status == 200


def test_limits_beside_the_server_s(start, mount, tmp_path):
    """Those of the drain are the frame's own; and the listener of probes has limits too."""
    hello = start("hello", "--config", str(mount.path), "--admin.address=127.0.0.1:0").wait_ready()
    admin = int(json.loads(hello.wait_for_line(r'"listening".*"listener":"admin"'))["address"].rsplit(":", 1)[1])

    def limit(name):
        text = ask(admin, "GET", "/metrics").body.decode()
        return float(re.search(rf'^http_server_limit{{limit="{name}"}} (\S+)$', text, re.M)[1])

    assert (limit("drain_ms"), limit("drain_delay_ms")) == (25000, 5000)
    mount.write("http: {drain_ms: 1500, drain_delay_ms: 20, idle_ms: 100}\n")
    hello.wait_for_line("the configuration was reloaded")
    assert (limit("drain_ms"), limit("drain_delay_ms"), limit("idle_ms")) == (1500, 20, 100)
    for port in (admin, hello.port):
        with Client(port) as client:
            assert client.ask("GET", "/livez").status == 200
            assert client.is_closed(10), port
