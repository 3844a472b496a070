"""OpenTelemetry's variables as a stand-in for a collector sees them, which can be slow, and speak TLS with a certificate of its own."""
import gzip
import http.server
import os
import re
import signal
import ssl
import subprocess
import threading
import time
from email.utils import formatdate

import pytest
from support import ask, program_path, wait_until

OTLP = "OTEL_EXPORTER_OTLP_"
# Batches go out soon.
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50"}


class Collector:
    """Answers OTLP's requests by a script of (status, header), the last of which stands for all later ones; keeps what came."""

    def __init__(self, answers=((200, {}),), stall=None, context=None):
        self.requests, self.at = [], []
        self.answers, self.stall = list(answers), stall
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.at.append(time.monotonic())
                collector.requests.append((self.path, self.headers, body))
                if collector.stall:
                    collector.stall.wait(60)
                status, fields = collector.answers.pop(0) if len(collector.answers) > 1 else collector.answers[0]
                self.send_response(status)
                for name, value in fields.items():
                    self.send_header(name, value() if callable(value) else value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that leaves
                pass

            def get_request(self):
                client, address = super().get_request()
                return (context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) if context else client), address

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def of(self, path):
        return [(headers, body) for at, headers, body in self.requests if at == path]

    def close(self):
        if self.stall:
            self.stall.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def collect():
    """Makes collectors; those still there at the end are closed."""
    collectors = []

    def make(*arguments, **options):
        collectors.append(Collector(*arguments, **options))
        return collectors[-1]

    yield make
    for collector in collectors:
        collector.close()


def test_a_signal_s_own_variables_go_before_the_common_ones(collect, start):
    collector = collect()
    hello = start("hello", "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": collector.url, OTLP + "COMPRESSION": "gzip",
        OTLP + "LOGS_COMPRESSION": "none", OTLP + "HEADERS": "x-for=all", OTLP + "TRACES_HEADERS": "x-for=spans"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    (spans, zipped), (logs, plain) = (wait_until(lambda path=path: collector.of(path), what=path)[0]
                                      for path in ("/v1/traces", "/v1/logs"))
    assert (spans["Content-Encoding"], spans["x-for"]) == ("gzip", "spans") and b"http.route" in gzip.decompress(zipped)
    assert (logs["Content-Encoding"], logs["x-for"]) == (None, "all") and b"service.name" in plain


def test_the_other_way_round(collect, start):
    collector = collect()
    hello = start("hello", "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": collector.url, OTLP + "TRACES_COMPRESSION": "none",
        OTLP + "LOGS_COMPRESSION": "gzip", OTLP + "LOGS_HEADERS": "x-for=logs"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    spans, logs = (wait_until(lambda path=path: collector.of(path), what=path)[0][0] for path in ("/v1/traces", "/v1/logs"))
    assert (spans["Content-Encoding"], spans["x-for"]) == (None, None)
    assert (logs["Content-Encoding"], logs["x-for"]) == ("gzip", "logs")


@pytest.mark.parametrize("kind, path, metric, others", [
    ("TRACES", "/v1/traces", "proa_otlp_spans_total", {"OTEL_BSP_EXPORT_TIMEOUT": "2500", "OTEL_LOGS_EXPORTER": "none"}),
    ("LOGS", "/v1/logs", "proa_otlp_log_records_total",
     {"OTEL_BLRP_EXPORT_TIMEOUT": "2500", "OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "none"})])
def test_how_long_a_try_and_a_batch_take(collect, start, kind, path, metric, others):
    """Each try is ended after its time-out, so that there is a second one; the batch after its own, whatever a try may take."""
    collector = collect(stall=threading.Event())
    hello = start("hello", "--http.access-log", env={
        **SOON, **others, OTLP + "ENDPOINT": collector.url, OTLP + "TIMEOUT": "60000", OTLP + f"{kind}_TIMEOUT": "100"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    wait_until(lambda: hello.metric(metric, outcome="failed") > 0, what="the batch to be given up")
    wait_until(lambda: len(collector.of(path)) >= 2, what="a second try")
    collector.stall.set()


@pytest.mark.parametrize("variable, metric, others", [
    ("OTEL_BSP_EXPORT_TIMEOUT", "proa_otlp_spans_total", {"OTEL_LOGS_EXPORTER": "none"}),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "proa_otlp_log_records_total", {"OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "none"})])
def test_a_batch_ends_within_a_try(collect, start, variable, metric, others):
    collector = collect(stall=threading.Event())
    hello = start("hello", "--http.access-log", env={
        **SOON, **others, variable: "300", OTLP + "ENDPOINT": collector.url, OTLP + "TIMEOUT": "60000"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    wait_until(lambda: hello.metric(metric, outcome="failed") > 0, what="the batch to be given up")
    collector.stall.set()


def refused(name, env):
    if not program_path(name).exists():
        pytest.skip(f"{name} is not built")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "LOG_", "HTTP_", "PORT"))}
    done = subprocess.run([program_path(name), "--http.address=127.0.0.1", "--port=0"], capture_output=True, text=True,
                          timeout=20, env={**clean, **env})
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.mark.parametrize("variable, value", [
    *[(name, value) for name in ("OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT", OTLP + "TIMEOUT", OTLP + "TRACES_TIMEOUT",
                                 OTLP + "LOGS_TIMEOUT") for value in ("0", "-1", "soon", "99999999999")],
    *[(OTLP + name, "zstd") for name in ("COMPRESSION", "TRACES_COMPRESSION", "LOGS_COMPRESSION")],
    *[(OTLP + name, "grpc") for name in ("PROTOCOL", "TRACES_PROTOCOL", "LOGS_PROTOCOL")],
])
def test_bad_values(variable, value):
    assert f"environment variable {variable}: " in refused("hello", {variable: value})


@pytest.mark.parametrize("variable, value", [
    (OTLP + "ENDPOINT", "collector:4318"), (OTLP + "TRACES_ENDPOINT", "ftp://collector"), (OTLP + "LOGS_ENDPOINT", "//collector"),
    (OTLP + "ENDPOINT", "http://"), (OTLP + "TRACES_ENDPOINT", "http://collector:99999"), (OTLP + "LOGS_ENDPOINT", "http://a b/v1/logs"),
    (OTLP + "ENDPOINT", "http://collector:4318?key=1"),
    (OTLP + "HEADERS", "key"), (OTLP + "TRACES_HEADERS", "key=%zz"), (OTLP + "LOGS_HEADERS", ",".join(f"k{i}=v" for i in range(17))),
    (OTLP + "HEADERS", "a key=v"), (OTLP + "TRACES_HEADERS", "=v"), (OTLP + "LOGS_HEADERS", "key=v%0d%0aother: v"),
    (OTLP + "HEADERS", "content-length=5"),
])
def test_bad_values_that_only_an_export_finds(variable, value):
    env = {"OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": "http://127.0.0.1:1", variable: value}
    if variable == OTLP + "ENDPOINT":
        env[OTLP + "LOGS_ENDPOINT"] = "http://127.0.0.1:1"
    assert variable in refused("hello", env)


@pytest.mark.parametrize("variable", [OTLP + "ENDPOINT", OTLP + "TRACES_ENDPOINT", OTLP + "LOGS_ENDPOINT"])
def test_credentials_in_an_endpoint(variable):
    """Refused, with a word on where they belong, and shown nowhere."""
    env = {"OTEL_LOGS_EXPORTER": "otlp", variable: "http://id:hush@127.0.0.1:1/v1/x"}
    said = refused("hello", env)
    assert f"{variable.removesuffix('ENDPOINT')}HEADERS" in said and variable in said and "hush" not in said
    done = subprocess.run([program_path("hello"), "--print-config"], capture_output=True, text=True, env={**os.environ, **env})
    assert done.returncode == 0 and f"***\"  # environment {variable}" in done.stdout and "hush" not in done.stdout + done.stderr


def test_an_endpoint_s_query_is_not_logged(collect, start):
    collector = collect()
    hello = start("hello", env={**SOON, OTLP + "TRACES_ENDPOINT": collector.url + "/v1/traces?key=hush"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    wait_until(lambda: collector.of("/v1/traces?key=hush"))
    hello.wait_for_line(re.escape(f'"url.full":"{collector.url}/v1/traces"'))
    assert "hush" not in hello.text()


@pytest.mark.parametrize("env, name", [
    ({}, "hello"), ({"OTEL_SERVICE_NAME": "shop"}, "shop"), ({"OTEL_RESOURCE_ATTRIBUTES": "team=x, service.name=shop%20a"}, "shop a"),
    ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=other", "OTEL_SERVICE_NAME": "shop"}, "shop")])
def test_the_service_s_name(collect, start, env, name):
    """In spans and in log lines; that of OTEL_SERVICE_NAME has the last word."""
    collector = collect()
    hello = start("hello", env={**SOON, **env, OTLP + "ENDPOINT": collector.url}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    spans = wait_until(lambda: collector.of("/v1/traces"))[0][1]
    key = b"\x0a\x0cservice.name\x12"
    assert spans.count(key) == 1  # once, in the resource
    assert spans[spans.index(key) + len(key):].startswith(bytes([len(name) + 2, 0x0a, len(name)]) + name.encode())
    hello.wait_for_line('"ready"')
    assert {line["service.name"] for line in hello.log()} == {name}


def test_disabled(collect, start):
    collector = collect()
    hello = start("hello", env={**SOON, OTLP + "ENDPOINT": collector.url, "OTEL_SDK_DISABLED": "TRUE"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    hello.stop()
    assert collector.requests == []


# Names are taken in any case, as the specification has it.
@pytest.mark.parametrize("sampler, arg, sent", [("always_off", "", False), ("traceidratio", "0", False), ("ParentBased_TraceIdRatio", "1", True)])
def test_the_sampler(collect, start, sampler, arg, sent):
    collector = collect()
    hello = start("hello", env={**SOON, OTLP + "ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER": sampler,
                                "OTEL_TRACES_SAMPLER_ARG": arg}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    hello.stop()  # what waits is sent
    assert bool(collector.requests) == sent


@pytest.mark.parametrize("variable, value", [("OTEL_PROPAGATORS", "jaeger"), ("OTEL_TRACES_SAMPLER", "sometimes"),
                                             ("OTEL_RESOURCE_ATTRIBUTES", "team")])
def test_other_bad_values(variable, value):
    assert variable in refused("hello", {OTLP + "ENDPOINT": "http://127.0.0.1:1", variable: value})


def test_empty_ones_are_not_set(collect, start):
    collector = collect()
    hello = start("hello", env={**SOON, OTLP + "ENDPOINT": collector.url, OTLP + "TIMEOUT": "9000", OTLP + "COMPRESSION": "gzip",
                                OTLP + "TRACES_TIMEOUT": "", OTLP + "TRACES_COMPRESSION": "", OTLP + "TRACES_PROTOCOL": "",
                                OTLP + "TRACES_CERTIFICATE": ""}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    assert wait_until(lambda: collector.of("/v1/traces"))[0][0]["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("variable", [OTLP + "ENDPOINT", OTLP + "TRACES_ENDPOINT", OTLP + "LOGS_ENDPOINT"])
def test_https_in_a_program_without_tls(variable):
    said = refused("hello", {variable: "https://collector:4318", "OTEL_LOGS_EXPORTER": "otlp"})
    assert f"({variable}) needs TLS, which this program was built without" in said


@pytest.mark.parametrize("wait", [lambda: "3", lambda: formatdate(time.time() + 4, usegmt=True)], ids=["seconds", "date"])
def test_the_collector_says_when(collect, start, wait):
    """Later than the exporter's own back-off, which is a second at most, both in seconds and as a date (whole seconds too)."""
    collector = collect([(503, {"Retry-After": wait}), (200, {})])
    hello = start("hello", env={**SOON, OTLP + "TRACES_ENDPOINT": collector.url + "/v1/traces"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    wait_until(lambda: hello.metric("proa_otlp_spans_total", outcome="sent") > 0, what="the second try")
    assert 2.5 < collector.at[1] - collector.at[0] < 15
    assert hello.metric("proa_otlp_spans_total", outcome="failed") == 0


def test_headers_change_together_or_not_at_all(collect, start, tmp_path):
    """Their files are read again on SIGHUP; a bad one of log lines keeps the old ones of spans too."""
    collector = collect()
    spans, logs = tmp_path / "spans", tmp_path / "logs"
    spans.write_text("x-key=old")
    logs.write_text("x-key=old")
    hello = start("hello", "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": collector.url,
        OTLP + "TRACES_HEADERS_FILE": str(spans), OTLP + "LOGS_HEADERS_FILE": str(logs)}).wait_ready()

    def keys():
        """Of the next requests with spans and with log lines."""
        before = {path: len(collector.of(path)) for path in ("/v1/traces", "/v1/logs")}
        assert ask(hello.port, "GET", "/api/users/7").status == 200
        return [wait_until(lambda path=path: collector.of(path)[before[path]:], what=path)[-1][0]["x-key"] for path in before]

    assert keys() == ["old", "old"]
    spans.write_text("x-key=new")
    logs.write_text("x-key")
    since = len(hello.lines)
    hello.send_signal(signal.SIGHUP)
    assert OTLP + "LOGS_HEADERS has a header without" in hello.wait_for_line("has a header without", since=since)
    assert keys() == ["old", "old"]
    logs.write_text("x key=newer")  # no collector would ever get it
    since = len(hello.lines)
    hello.send_signal(signal.SIGHUP)
    assert OTLP + "LOGS_HEADERS: a field's name" in hello.wait_for_line("not reloaded", since=since)
    assert keys() == ["old", "old"]
    logs.write_text("x-key=newer")
    hello.send_signal(signal.SIGHUP)
    wait_until(lambda: keys() == ["new", "newer"], what="the new keys")


@pytest.mark.parametrize("kind", ["gone", "stuck"])
def test_a_dead_collector_does_not_hold_up_the_end(collect, start, kind):
    """Neither of spans nor of log lines, which wait both."""
    collector = collect(stall=threading.Event())
    url = collector.url
    if kind == "gone":
        collector.close()
    hello = start("hello", "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": url, OTLP + "TIMEOUT": "300"}).wait_ready()
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    if kind == "stuck":
        wait_until(lambda: collector.of("/v1/traces") and collector.of("/v1/logs"), what="the first tries")
    time.sleep(0.6)  # they have failed by now
    assert ask(hello.port, "GET", "/api/users/7").status == 200
    began = time.monotonic()
    hello.stop()
    assert time.monotonic() - began < 8  # and not the 10 s and more that a try and a batch may take by default


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def make_certificate(folder, name, authority=None, alternative="IP:127.0.0.1"):
    """A key and its certificate, of an authority or one itself."""
    key, certificate = folder / f"{name}.key", folder / f"{name}.crt"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    of = ["-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key", "-addext", "basicConstraints=critical,CA:FALSE",
          "-addext", f"subjectAltName={alternative}"] if authority else ["-addext", "basicConstraints=critical,CA:TRUE"]
    openssl("req", "-x509", "-key", key, "-subj", f"/CN={name}", "-days", "2", *of, "-out", certificate)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    for authority in ("ours", "other"):
        make_certificate(folder, authority)
    make_certificate(folder, "collector", "ours")
    make_certificate(folder, "other-collector", "other")
    make_certificate(folder, "elsewhere", "ours", "DNS:elsewhere.example,IP:192.0.2.1")
    make_certificate(folder, "client", "ours")
    make_certificate(folder, "other-client", "other")
    return folder


def serving(pki, name="collector", clients_of=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.crt", pki / f"{name}.key")
    if clients_of:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(pki / f"{clients_of}.crt")
    return context


@pytest.mark.parametrize("program, path", [("tls_service", "/hello"), ("users", "/users")])
def test_https_with_an_authority_of_its_own(collect, start, pki, program, path):
    """Each collector has a certificate of another authority: log lines have theirs, spans the common one."""
    collector, other = collect(context=serving(pki)), collect(context=serving(pki, "other-collector"))
    service = start(program, "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": collector.url, OTLP + "LOGS_ENDPOINT": other.url + "/v1/logs",
        OTLP + "CERTIFICATE": str(pki / "ours.crt"), OTLP + "LOGS_CERTIFICATE": str(pki / "other.crt")}).wait_ready()
    assert ask(service.port, "GET", path).status == 200
    assert b"http.route" in wait_until(lambda: collector.of("/v1/traces"), what="spans")[0][1]
    assert b"service.name" in wait_until(lambda: other.of("/v1/logs"), what="log lines")[0][1]
    wait_until(lambda: service.metric("proa_otlp_spans_total", outcome="sent") > 0)
    assert service.metric("http_client_request_duration_seconds_count", http_response_status_code="200") > 0
    assert service.metric("proa_otlp_spans_total", outcome="failed") == 0
    assert service.metric("proa_otlp_log_records_total", outcome="failed") == 0


@pytest.mark.parametrize("certificate, authority", [("collector", None), ("collector", "other"), ("elsewhere", "ours")],
                         ids=["system's roots", "another authority", "another host's"])
def test_https_that_is_not_trusted(collect, start, pki, certificate, authority):
    """The counter rises, the log says why, nothing was sent, and the service goes on."""
    collector = collect(context=serving(pki, certificate))
    service = start("tls_service", env={**SOON, OTLP + "ENDPOINT": collector.url, "OTEL_BSP_EXPORT_TIMEOUT": "1000",
                                        **({OTLP + "CERTIFICATE": str(pki / f"{authority}.crt")} if authority else {})}).wait_ready()
    assert ask(service.port, "GET", "/hello").status == 200
    wait_until(lambda: service.metric("proa_otlp_spans_total", outcome="failed") > 0, what="the counter")
    line = wait_until(lambda: next((line for line in service.log() if line["message"] == "spans cannot be exported"), None), what="the line")
    assert line["level"] == "warn" and "certificate" in line["error"], line
    failed = service.metric("proa_otlp_spans_total", outcome="failed")
    assert ask(service.port, "GET", "/hello").status == 200 and ask(service.port, "GET", "/readyz").status == 200
    wait_until(lambda: service.metric("proa_otlp_spans_total", outcome="failed") > failed, what="the counter to go on")
    assert service.metric("proa_otlp_spans_total", outcome="sent") == 0 and collector.requests == []


def test_a_client_s_certificate(collect, start, pki):
    """The collector of spans asks for a certificate of one authority, that of log lines for one of another."""
    collector = collect(context=serving(pki, clients_of="ours"))
    other = collect(context=serving(pki, clients_of="other"))
    service = start("tls_service", "--http.access-log", env={
        **SOON, "OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": other.url, OTLP + "TRACES_ENDPOINT": collector.url + "/v1/traces",
        OTLP + "CERTIFICATE": str(pki / "ours.crt"),
        OTLP + "CLIENT_CERTIFICATE": str(pki / "other-client.crt"), OTLP + "CLIENT_KEY": str(pki / "other-client.key"),
        OTLP + "TRACES_CLIENT_CERTIFICATE": str(pki / "client.crt"), OTLP + "TRACES_CLIENT_KEY": str(pki / "client.key")}).wait_ready()
    assert ask(service.port, "GET", "/hello").status == 200
    wait_until(lambda: collector.of("/v1/traces") and other.of("/v1/logs"), what="both")


def test_a_client_without_one(collect, start, pki):
    collector = collect(context=serving(pki, clients_of="ours"))
    service = start("tls_service", env={**SOON, OTLP + "ENDPOINT": collector.url, "OTEL_BSP_EXPORT_TIMEOUT": "1000",
                                        OTLP + "CERTIFICATE": str(pki / "ours.crt")}).wait_ready()
    assert ask(service.port, "GET", "/hello").status == 200
    wait_until(lambda: service.metric("proa_otlp_spans_total", outcome="failed") > 0, what="the counter")
    assert collector.requests == []


@pytest.mark.parametrize("own", ["", "TRACES_", "LOGS_"])
@pytest.mark.parametrize("variable, value, word", [
    ("CERTIFICATE", "missing.crt", "missing.crt"), ("CERTIFICATE", "ours.key", "no certificate"),
    ("CLIENT_CERTIFICATE", "client.crt", "come together"), ("CLIENT_KEY", "client.key", "come together")])
def test_bad_files(pki, own, variable, value, word):
    said = refused("tls_service", {"OTEL_LOGS_EXPORTER": "otlp", OTLP + "ENDPOINT": "https://127.0.0.1:1",
                                   OTLP + own + variable: str(pki / value)})
    assert word in said and f"({OTLP}{own}{variable})" in said
