"""The database agent against a real API server, with the rights that the operator gives it and no others. Its instances run on this
machine: what is asked of pods is asked in tests/nodes."""
import base64
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from kube import database, eventually

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
from agent_support import Cluster  # noqa: E402


@pytest.fixture
def shop(kubectl, operator, namespace):
    kubectl.apply(database("shop", namespace, version="15", replicas=2))
    eventually(lambda: (kubectl.get("db", "shop", "-n", namespace)["status"] or {}).get("currentPrimary") == "shop-0"
               if "status" in kubectl.get("db", "shop", "-n", namespace) else False, what="currentPrimary")
    config = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    config["users"][0]["user"] = {"token": kubectl("create", "token", "shop-agent", "-n", namespace).strip()}
    try:
        made = Cluster(replicas=2, kubeconfig=json.dumps(config), namespace=namespace)
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install postgresql")
    try:
        secret = kubectl.get("secret", "shop-credentials", "-n", namespace)["data"]
        made.write_credentials(**{key: base64.b64decode(value).decode() for key, value in secret.items()})
        text = kubectl.get("configmap", "shop-config", "-n", namespace)["data"]["engine.conf"]
        (made.config / "engine.conf").write_text(text + "shared_buffers = '16MB'\ndynamic_shared_memory_type = 'mmap'\n")
        yield made.start()
        for instance in made.instances:
            instance.stop()
            assert "orbidden" not in instance.text()
    finally:
        made.close()


def slots(instance):
    return instance.superuser("SELECT coalesce(string_agg(slot_name, ',' ORDER BY slot_name), '') FROM pg_replication_slots")


def test_agents_on_a_real_api_server(kubectl, shop, namespace):
    primary, standby = shop.instances
    primary.sql("CREATE TABLE t (x int)")
    primary.sql("INSERT INTO t VALUES (1)")
    eventually(lambda: standby.superuser("SELECT to_regclass('t')", "app") == "t" and standby.sql("SELECT x FROM t") == [(1,)])
    kubectl("scale", "db", "shop", "-n", namespace, "--replicas=3")
    eventually(lambda: slots(primary) == "shop_1,shop_2")
    # Its own Database and nothing else.
    agent = f"--as=system:serviceaccount:{namespace}:shop-agent"
    for verb, what, allowed in (("get", "db/shop", "yes"), ("watch", "db/shop", "yes"), ("get", "db/other", "no"),
                                ("list", "db", "no"), ("get", "secrets", "no"), ("update", "db/shop", "no")):
        assert kubectl.run("auth", "can-i", verb, what, "-n", namespace, agent).stdout.strip() == allowed, (verb, what)
    if kubectl.lab:
        kubectl.signal_api_server(signal.SIGSTOP)
        try:
            for _ in range(20):
                time.sleep(0.2)
                assert primary.is_ready() and standby.is_ready()
        finally:
            kubectl.signal_api_server(signal.SIGCONT)
    kubectl("scale", "db", "shop", "-n", namespace, "--replicas=2")
    eventually(lambda: slots(primary) == "shop_1", 60)
    # A Database that is deleted leaves its instances to their pods' end.
    kubectl("delete", "db", "shop", "-n", namespace, "--wait=false")
    eventually(lambda: kubectl.get("db", "shop", "-n", namespace) is None, 30)
    time.sleep(1)
    assert primary.is_ready() and standby.is_ready()
    assert os.path.exists(primary.data)
