"""A client with just the algorithms of static programs (src/tls/algorithms.c) speaks with servers of every usual kind: the
certificates, key files, versions, ciphers and curves that API servers have."""
import re
import socket
import subprocess
import time

import pytest
from support import BUILD

FETCH = BUILD / "tests" / "tls_fetch"

pytestmark = pytest.mark.skipif(not FETCH.exists(), reason="no OpenSSL archives of which the algorithms could be taken")

KEYS = {
    "rsa": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    "rsa-pss": ["RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"],
    "p256": ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "p521": ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    "ed25519": ["ED25519"],
}


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    """For each kind of key an authority of its own, a server's certificate and its key, which is a client's too."""
    folder = tmp_path_factory.mktemp("pki")
    for kind, algorithm in KEYS.items():
        for name in ("ca", "leaf"):
            openssl("genpkey", "-algorithm", *algorithm, "-out", folder / f"{kind}-{name}.key")
        openssl("req", "-x509", "-key", folder / f"{kind}-ca.key", "-subj", f"/CN={kind}", "-days", "2",
                "-addext", "basicConstraints=critical,CA:TRUE", "-out", folder / f"{kind}-ca.crt")
        openssl("req", "-x509", "-key", folder / f"{kind}-leaf.key", "-subj", "/CN=leaf", "-days", "2",
                "-CA", folder / f"{kind}-ca.crt", "-CAkey", folder / f"{kind}-ca.key",
                "-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE",
                "-out", folder / f"{kind}-leaf.crt")
    openssl("rsa", "-traditional", "-in", folder / "rsa-leaf.key", "-out", folder / "rsa-leaf-pkcs1.key")
    openssl("ec", "-in", folder / "p256-leaf.key", "-out", folder / "p256-leaf-sec1.key")
    return folder


@pytest.fixture
def serve(pki):
    """Starts openssl's server with a certificate of a kind; @returns its URL and authority."""
    servers = []

    def start(kind, *options):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        server = subprocess.Popen(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-www", "-quiet",
                                   "-cert", pki / f"{kind}-leaf.crt", "-key", pki / f"{kind}-leaf.key", *map(str, options)],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        servers.append(server)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert time.monotonic() < deadline and server.poll() is None
                time.sleep(0.02)
        return f"https://127.0.0.1:{port}/", pki / f"{kind}-ca.crt"

    yield start
    for server in servers:
        server.kill()
        server.wait()


def fetch(url, authority, *client):
    return subprocess.run([FETCH, url, authority, *client], capture_output=True, text=True, timeout=30, check=False)


def fetched(url, authority, *client):
    """Protocol and cipher, as the server's page tells them."""
    run = fetch(url, authority, *client)
    assert run.returncode == 0, run.stderr
    return re.search(r"Protocol\s*: (\S+)", run.stdout).group(1), re.search(r"Cipher\s*: (\S+)", run.stdout).group(1)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("kind", KEYS)
def test_certificates(serve, kind, version):
    url, authority = serve(kind, "-tls1_3" if version == "TLSv1.3" else "-tls1_2")
    assert fetched(url, authority)[0] == version


@pytest.mark.parametrize("cipher", ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_ciphers(serve, cipher):
    assert fetched(*serve("p256", "-tls1_3", "-ciphersuites", cipher)) == ("TLSv1.3", cipher)


@pytest.mark.parametrize("cipher", ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                                    "ECDHE-RSA-CHACHA20-POLY1305"])
def test_older_ciphers(serve, cipher):
    assert fetched(*serve("rsa", "-tls1_2", "-cipher", cipher)) == ("TLSv1.2", cipher)


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384", "P-521"])
def test_groups(serve, group):
    assert fetched(*serve("p256", "-groups", group))[0] == "TLSv1.3"


@pytest.mark.parametrize("key", ["rsa-leaf", "rsa-pss-leaf", "p256-leaf", "p384-leaf", "p521-leaf", "ed25519-leaf",
                                 "rsa-leaf-pkcs1", "p256-leaf-sec1"])
def test_client_certificates(serve, pki, key):
    kind = key.split("-leaf")[0]
    url, authority = serve("p256", "-Verify", "2", "-verify_return_error", "-CAfile", pki / f"{kind}-ca.crt")
    fetched(url, authority, pki / f"{kind}-leaf.crt", pki / f"{key}.key")
    assert fetch(url, authority).returncode == 1


def test_refusals(serve, pki):
    """Another authority's certificate; and what the program does not have, which shows that it is these algorithms that spoke."""
    url, _ = serve("p256")
    assert "certificate" in fetch(url, pki / "rsa-ca.crt").stderr
    url, authority = serve("rsa", "-tls1_2", "-cipher", "AES128-SHA256")
    assert "PROA_E" in fetch(url, authority).stderr
