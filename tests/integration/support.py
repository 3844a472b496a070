"""What the end-to-end tests share: programs under test, raw HTTP over sockets, waiting."""
import importlib.machinery
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("PROA_BUILD", ROOT / "build" / "test"))
SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "runtime error:", "ThreadSanitizer", "UndefinedBehaviorSanitizer")
# For tests that look at memory: what is freed is not kept aside for long.
ASAN_SMALL = "quarantine_size_mb=4:thread_local_quarantine_size_kb=64"
PROGRAMS = {"hello": "examples/hello", "users": "apps/users"}


def program_path(name, build=BUILD):
    return Path(build) / PROGRAMS[name]


def wait_until(condition, seconds=20, what="the condition", every=0.01):
    """Waits for a condition, never for a fixed time. Returns what it gave."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


class Program:
    """A program under test, on a free loopback port. Its end is checked: exit code and no word of a sanitizer."""

    def __init__(self, name, *arguments, env=None, build=BUILD, listen=("--http.address=127.0.0.1", "--port=0")):
        self.name = name
        self.lines = []
        self.changed = threading.Condition()
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("HTTP_", "LOG_", "PORT", "DATABASE_"))}
        environment.update({"LOG_FORMAT": "json", **(env or {})})
        self.process = subprocess.Popen([program_path(name, build), *listen, *arguments], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True,
                                        errors="replace")
        self.readers = [threading.Thread(target=self._read, args=(stream, kind), daemon=True)
                        for stream, kind in ((self.process.stdout, "out"), (self.process.stderr, "err"))]
        for reader in self.readers:
            reader.start()
        self._address = None

    def _read(self, stream, kind):
        for line in stream:
            with self.changed:
                self.lines.append((kind, line.rstrip("\n")))
                self.changed.notify_all()

    def wait_for_line(self, pattern, seconds=20, since=0):
        """The first line that matches (a regular expression), from line number `since` on."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                for _, line in self.lines[since:]:
                    if re.search(pattern, line):
                        return line
                left = end - time.monotonic()
                if left <= 0 or (self.process.poll() is not None and not any(r.is_alive() for r in self.readers)):
                    raise AssertionError(f"{self.name} never said {pattern!r}; exit {self.process.poll()}:\n{self.text()}")
                self.changed.wait(min(left, 0.1))

    def text(self):
        return "\n".join(line for _, line in self.lines)

    def log(self):
        """The log lines as objects."""
        return [json.loads(line) for kind, line in self.lines if kind == "out" and line.startswith("{")]

    @property
    def port(self):
        if self._address is None:
            line = self.wait_for_line(r'"listening".*"listener":"http"')
            self._address = json.loads(line)["address"]
        return int(self._address.rsplit(":", 1)[1])

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def wait_ready(self, seconds=20):
        wait_until(lambda: self._asked("/readyz") == 200, seconds, f"{self.name} to be ready:\n{self.text()}")
        return self

    def _asked(self, path):
        try:
            return ask(self.port, "GET", path, timeout=2).status
        except OSError:
            assert self.process.poll() is None, f"{self.name} ended with {self.process.poll()}:\n{self.text()}"
            return None

    def send_signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=40):
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join(10)
        return code

    def check_clean(self):
        text = self.text()
        assert not any(mark in text for mark in SANITIZER_MARKS), text

    def stop(self, number=signal.SIGINT, expect=0, seconds=40):
        """Ends the program (SIGINT has no drain delay) and checks how it ended."""
        if self.process.poll() is None:
            self.send_signal(number)
        try:
            code = self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.wait(10)
            raise AssertionError(f"{self.name} did not end:\n{self.text()}")
        self.check_clean()
        assert code == expect, f"{self.name} exited {code}:\n{self.text()}"

    def kill(self):
        """For clean-up after a failure."""
        if self.process.poll() is None:
            self.process.kill()
            self.wait(10)

    def rss_kib(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def metrics(self):
        """All samples of /metrics: {'name{labels}': value}."""
        samples = {}
        for line in ask(self.port, "GET", "/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def metric(self, name, /, **labels):
        """The sum of all series of a name that have these labels."""
        total = 0.0
        for sample, value in self.metrics().items():
            if sample.split("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += value
        return total


# Raw HTTP/1.1: what httpx hides is what these tests look at.

class Answer:
    def __init__(self, status, headers, body, version="HTTP/1.1"):
        self.status = status
        self.headers = headers
        self.body = body
        self.version = version

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def closes(self):
        return (self.header("Connection") or "").lower() == "close"


class Gone(OSError):
    """The connection ended where an answer, or its rest, was expected."""


class Client:
    """One connection, read and written by hand."""

    def __init__(self, port=None, path=None, timeout=20, host="127.0.0.1"):
        if path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(path))
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data):
        self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        return self

    def request(self, method, target, headers=(), body=None):
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in dict(headers).items()]
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        if not data:
            raise Gone("the connection ended: " + repr(self.buffer[:200]))
        self.buffer += data

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode("latin-1")

    def _exactly(self, count):
        while len(self.buffer) < count:
            self._more()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def _chunks(self):
        body = b""
        while True:
            size = int(self._line().split(";")[0], 16)
            if size == 0:
                while self._line():
                    pass
                return body
            body += self._exactly(size)
            assert self._line() == ""

    def head(self):
        version, status, *_ = self._line().split(" ")
        headers = []
        while line := self._line():
            name, value = line.split(":", 1)
            headers.append((name, value.strip()))
        return Answer(int(status), headers, b"", version)

    def answer(self, method="GET"):
        answer = self.head()
        if 100 <= answer.status < 200:
            return answer
        if method == "HEAD" or answer.status in (204, 304):
            return answer
        if (answer.header("Transfer-Encoding") or "").lower() == "chunked":
            answer.body = self._chunks()
        elif answer.header("Content-Length") is not None:
            answer.body = self._exactly(int(answer.header("Content-Length")))
        else:
            answer.body = self.rest()
        return answer

    def ask(self, method, target, headers=(), body=None):
        self.request(method, target, headers, body)
        return self.answer(method)

    def rest(self):
        """All until the connection's end."""
        try:
            while True:
                self._more()
        except Gone:
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_closed(self, seconds=20):
        """Whether the other side ends the connection within the time, sending nothing more."""
        self.socket.settimeout(seconds)
        try:
            return self.buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def ask(port, method, target, headers=(), body=None, timeout=20, host="127.0.0.1"):
    """One request on a connection of its own."""
    with Client(port, timeout=timeout, host=host) as client:
        return client.ask(method, target, {**dict(headers), "Connection": "close"}, body)


def expect_problem(answer, status, **fields):
    """A problem document (RFC 9457) of this status."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.header("Content-Type") == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == status and problem["title"], problem
    for name, value in fields.items():
        assert problem.get(name) == value, problem
    return problem


def with_setting(url, name, value):
    """The URL with a setting of the server's for its sessions."""
    return f"{url}{'&' if '?' in url else '?'}options=-c{name}%3D{value}"


def postgres_module():
    path = ROOT / "tests" / "support" / "postgres"
    loader = importlib.machinery.SourceFileLoader("proa_postgres", str(path))
    spec = importlib.util.spec_from_loader("proa_postgres", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
