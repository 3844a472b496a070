"""Limits of the process: descriptors, address space, threads."""
import contextlib
import json
import os
import socket
import threading
from pathlib import Path

import pytest
from support import BUILD, ROOT, Client, Gone, ask, program_path, wait_until

# An address sanitizer reserves terabytes: what has a limit of address space is tested with a program without one.
PLAIN_BUILDS = [Path(path) for path in ([os.environ["PROA_BUILD_PLAIN"]] if "PROA_BUILD_PLAIN" in os.environ else []) +
                [ROOT / "build" / "release", ROOT / "build" / "clang"]]
MIB = 1 << 20


def is_sanitized(path):
    return b"__asan_init" in path.read_bytes()


def plain_build(name):
    for build in [BUILD, *PLAIN_BUILDS]:
        path = program_path(name, build)
        if path.exists() and not is_sanitized(path):
            return build
    pytest.skip(f"needs {name} without a sanitizer: make build")


def virtual_bytes(program, key="VmSize"):
    for line in Path(f"/proc/{program.pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise AssertionError(key)


def loops_of(program):
    return json.loads(program.wait_for_line('"message":"ready"'))["loops"]


def threads_of(program):
    return len(list(Path(f"/proc/{program.pid}/task").iterdir()))


@pytest.mark.parametrize("name", ["hello", "users"])
def test_address_space(start, tmp_path, name):
    """At 512 MiB and 16 loops at least 300 MiB are left, also after every loop has worked."""
    program = start(name, "--threads=16", "--process.address-space-bytes=512Mi", build=plain_build(name),
                    env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    limits = Path(f"/proc/{program.pid}/limits").read_text()
    assert f"Max address space         {512 * MIB}" in limits
    target = "/api/users/1" if name == "hello" else "/users"
    clients = [Client(program.port) for _ in range(64)]
    for _ in range(4):
        for client in clients:
            client.request("GET", target)
        for client in clients:
            assert client.answer().status == 200
    left = 512 * MIB - virtual_bytes(program, "VmPeak")
    for client in clients:
        client.close()
    assert left >= 300 * MIB, f"{left / MIB:.0f} MiB are left"


def test_memory_refused_becomes_503(start, tmp_path):
    """Bodies that do not fit together are refused one by one; the program goes on and forgets them."""
    users = start("users", "--threads=2", "--process.address-space-bytes=160Mi", "--http.body-bytes=64Mi", "--http.body-ms=20000",
                  build=plain_build("users"), env={"DATABASE_URL": f"sqlite:{tmp_path}/u.db"}).wait_ready()
    statuses = []

    def work(number):
        try:
            with Client(users.port, timeout=40) as client:
                body = b'{"name":"' + b"x" * (24 * MIB) + b'","email":"a@b.org"}'
                with contextlib.suppress(OSError):  # refused while the body was still being sent
                    client.request("POST", "/users", {"Content-Type": "application/json"}, body)
                statuses.append(client.answer().status)
        except (Gone, OSError):
            statuses.append(None)  # its answer was lost with the connection

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {422, 503, None}, statuses
    assert 503 in statuses, statuses
    assert ask(users.port, "GET", "/users").status == 200
    created = ask(users.port, "POST", "/users", {"Content-Type": "application/json"}, '{"name":"a","email":"a@b.org"}')
    assert created.status == 201


def test_open_files(start):
    """The soft limit is set; connections are bounded 64 below it."""
    hello = start("hello", "--process.open-files=200").wait_ready()
    assert "Max open files            200 " in Path(f"/proc/{hello.pid}/limits").read_text()
    assert hello.metric("http_server_limit", limit="connections") == 200 - 64
    assert hello.metric("process_max_fds") == 200


def test_open_files_default(start):
    hello = start("hello").wait_ready()
    assert "Max open files            10000 " in Path(f"/proc/{hello.pid}/limits").read_text()


def test_more_connections_than_descriptors(start):
    """Far more clients than descriptors: those that are let in are served, nobody crashes, all is given back."""
    hello = start("hello", "--process.open-files=128", "--threads=2").wait_ready()
    clients = []
    for _ in range(300):
        try:
            clients.append(Client(hello.port, timeout=5))
        except OSError:
            break
    served = 0
    for client in clients:
        try:
            served += client.ask("GET", "/api/users/1").status == 200
        except (Gone, OSError, socket.timeout):
            pass
    assert served >= 32
    for client in clients:
        client.close()
    wait_until(lambda: ask(hello.port, "GET", "/health").status == 200, what="room again")


def test_threads(start):
    one = start("hello", "--threads=1").wait_ready()
    many = start("hello", "--threads=16").wait_ready()
    assert threads_of(many) - threads_of(one) == 15
    assert loops_of(many) == 16


def test_threads_default_to_what_affinity_allows(start):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        hello = start("hello").wait_ready()
    finally:
        os.sched_setaffinity(0, before)
    assert loops_of(hello) == 1


def test_connections_are_spread_over_loops(start):
    hello = start("hello", "--threads=4").wait_ready()
    clients = [Client(hello.port) for _ in range(64)]
    before = {loop: hello.metric("proa_loop_turns_total", loop=str(loop)) for loop in range(4)}
    for client in clients:
        for _ in range(10):
            assert client.ask("GET", "/api/users/1").status == 200
    turns = [hello.metric("proa_loop_turns_total", loop=str(loop)) - before[loop] for loop in range(4)]
    for client in clients:
        client.close()
    # 16 connections a loop with 10 requests each, asked one after the other; every loop has worked alike.
    assert min(turns) >= 100, turns
