"""The database agent with a real PostgreSQL: the first data, standbys, ends of every kind, credentials, an API server that is away."""
import os
import signal

import pytest

from agent_support import AGENT, Cluster
from support import wait_until


@pytest.fixture
def cluster():
    """Makes clusters, and checks at the end that no sanitizer said anything."""
    made = []

    def make(*arguments, **options):
        if not AGENT.exists():
            pytest.skip(f"database-operator is not built: {AGENT}")
        try:
            made.append(Cluster(*arguments, **options))
        except FileNotFoundError as error:
            pytest.skip(f"{error}: install postgresql")
        return made[-1]

    yield make
    try:
        for one in made:
            for instance in one.instances:
                if instance.process:
                    instance.check_clean()
    finally:
        for one in made:
            one.close()


def rows(instance, table="t"):
    return [row[0] for row in instance.sql(f"SELECT x FROM {table} ORDER BY x")]


def test_first_instance(cluster):
    """Made once, as the kit says it, and as it was after a stop and a start."""
    shop = cluster()
    one = shop[0].start().wait_ready()
    assert one.superuser("SHOW server_encoding") == "UTF8"
    assert one.superuser("SHOW data_checksums") == "on"
    assert one.superuser("SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin") == \
        "app,postgres,replicator"
    assert one.superuser("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == "app"
    assert one.superuser("SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolpassword IS NOT NULL") == "t"
    one.sql("CREATE TABLE t (x int)")
    one.sql("INSERT INTO t VALUES (1)")
    identity = one.status()["identity"]
    one.stop()
    one.start().wait_ready()
    assert one.status()["identity"] == identity and rows(one) == [1]
    assert one.text().count("the first data are made") == 1
    text = one.text()
    for secret in shop.secret.values():
        assert secret == "app" or secret not in text
    assert "SCRAM-SHA-256$" not in text


def test_standby_streams(cluster):
    shop = cluster(replicas=3).start()
    shop[0].sql("CREATE TABLE t (x int)")
    shop[0].sql("INSERT INTO t SELECT generate_series(1, 100)")
    for standby in shop.instances[1:]:
        wait_until(lambda: standby.superuser("SELECT to_regclass('t')", "app") == "t" and len(rows(standby)) == 100)
        status = standby.status()
        assert status["role"] == "standby" and status["streaming"] and not status["writable"] and "lag_bytes" in status
        assert standby.superuser("SELECT pg_is_in_recovery()") == "t"
    assert shop[0].superuser("SELECT string_agg(slot_name || active, ',' ORDER BY slot_name) FROM pg_replication_slots") == \
        "shop_1true,shop_2true"
    # A standby stops and comes back without being copied anew.
    shop[1].stop()
    shop[0].sql("INSERT INTO t VALUES (101)")
    shop[1].start().wait_ready()
    wait_until(lambda: len(rows(shop[1])) == 101)
    assert shop[1].text().count("the data are copied") == 1
