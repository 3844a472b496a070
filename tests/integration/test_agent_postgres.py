"""The database agent with a real PostgreSQL: the first data, standbys, ends of every kind, credentials, an API server that is away."""
import fcntl
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from agent_support import AGENT, Cluster, clusters, first_volume
from support import BUILD, expect_problem, wait_until

ENGINE_CONF = BUILD / "tests" / "engine_conf"


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """The volume of a first instance."""
    if not AGENT.exists():
        pytest.skip(f"database-operator is not built: {AGENT}")
    try:
        shop = Cluster()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install postgresql")
    return first_volume(shop, tmp_path_factory.mktemp("template") / "volume", lambda one: one.sql("CREATE TABLE t (x int)"))


@pytest.fixture
def cluster(template):
    """Makes clusters. The first instance has data, with an empty table t, unless `fresh` is said."""
    with clusters() as made:
        def make(*arguments, fresh=False, **options):
            made.append(Cluster(*arguments, **options))
            return made[-1] if fresh else made[-1].use(template)

        yield make


def rows(instance, table="t"):
    return [row[0] for row in instance.sql(f"SELECT x FROM {table} ORDER BY x")]


def insert(instance, *values):
    for value in values:
        instance.sql("INSERT INTO t VALUES (%s)", value)


# -- The first instance ------------------------------------------------------------------------------------------------

def test_first_instance(cluster):
    """Made once, as the documents say it, and as it was after a stop and a start."""
    shop = cluster(fresh=True)
    one = shop[0].start().wait_ready()
    assert one.superuser("SHOW server_encoding") == "UTF8"
    assert one.superuser("SHOW data_checksums") == "on"
    assert one.superuser("SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin") == \
        "app,postgres,replicator"
    assert one.superuser("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == "app"
    assert one.superuser("SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolpassword IS NOT NULL") == "t"
    one.sql("CREATE TABLE t (x int)")
    insert(one, 1)
    identity = one.status()["identity"]
    one.stop()
    one.start().wait_ready()
    assert one.status()["identity"] == identity and rows(one) == [1]
    text = one.text()
    assert text.count("the first data are made") == 1
    for secret in shop.secret.values():
        assert secret == "app" or secret not in text
    assert "SCRAM-SHA-256$" not in text


def refused(instance, **options):
    import psycopg
    with pytest.raises(psycopg.OperationalError) as caught:
        instance.connect(**options)
    return str(caught.value)


def test_who_may_connect(cluster):
    shop = cluster()
    one = shop[0].start().wait_ready()
    assert "password authentication failed" in refused(one, password="wrong")
    assert "pg_hba.conf rejects connection" in refused(one, user="postgres", dbname="postgres")
    assert "pg_hba.conf rejects connection" in refused(one, user="replicator", password=shop.secret["replicationPassword"])
    assert oct((one.run / ".s.PGSQL.5432").stat().st_mode)[-3:] == "700"


MAKING = [("data.new", 0), ("data.new/PG_VERSION", 0), ("data.new/global/pg_control", 0.5), ("data.new/pg_hba.conf", 0.7),
          ("data", 0), ("data", 0.2)]


def kill_at(instance, path, delay):
    wait_until(lambda: (instance.volume / path).exists(), 60, f"{path} to appear", every=0.002)
    time.sleep(delay)
    instance.kill()


@pytest.mark.parametrize("path,delay", MAKING)
def test_killed_while_the_first_data_are_made(cluster, path, delay):
    one = cluster(fresh=True)[0].start()
    kill_at(one, path, delay)
    one.start().wait_ready()
    one.sql("CREATE TABLE t (x int)")
    assert sorted(entry.name for entry in one.volume.iterdir()) == ["agent.json", "agent.lock", "data"]
    one.stop()


@pytest.mark.parametrize("path,delay", [("data.new", 0), ("data.new/PG_VERSION", 0.05), ("data.new/base", 0.3), ("data", 0),
                                        ("data/standby.signal", 0.1)])
def test_killed_while_the_data_are_copied(cluster, path, delay):
    shop = cluster(replicas=2)
    shop[0].start().wait_ready()
    insert(shop[0], 1)
    kill_at(shop[1].start(), path, delay)
    shop[1].start().wait_ready()
    assert rows(shop[1]) == [1]
    assert sorted(entry.name for entry in shop[1].volume.iterdir()) == ["agent.json", "agent.lock", "data"]


def test_a_primary_without_data_does_not_replace_those_of_others(cluster):
    """It lost its volume: beginning anew would make the standbys throw theirs away."""
    shop = cluster(replicas=2).start()
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])
    shop[0].stop()
    kept = shop.folder / "kept"
    shutil.move(shop[0].volume / "data", kept)
    shop[0].start()
    shop[0].wait_reason("its volume is empty, but instance 1 has data")
    assert not (shop[0].data).exists() and rows(shop[1]) == [1]
    shutil.move(kept, shop[0].volume / "data")
    shop[0].wait_ready()
    assert rows(shop[0]) == [1]


def test_a_primary_without_data_while_nobody_answers(cluster):
    """That there has been a database says the status, not whoever happens to run."""
    shop = cluster(replicas=2, fresh=True)
    shop.api.set(initialized=True)
    shop[0].start()
    shop[0].wait_reason("the Database has served before")
    time.sleep(2)
    assert not shop[0].data.exists() and shop[0].says("/livez") == 200
    shop.api.down()
    shop[0].stop()
    shop[0].start()
    time.sleep(3)
    assert not shop[0].data.exists()
    shop.api.up()
    shop.api.set(initialized=False)
    shop[0].wait_ready()


def test_a_primary_without_data_waits_for_who_has_not_looked_yet(cluster):
    shop = cluster(replicas=2, fresh=True, settings=["--lock-ms=60000"])
    lock = open(shop[1].volume / "agent.lock", "w")
    shop.give(shop[1].volume / "agent.lock")
    fcntl.flock(lock, fcntl.LOCK_EX)
    shop[1].start()
    wait_until(lambda: shop[1].status() is not None)
    assert "has_data" not in shop[1].status()
    shop[0].start()
    shop[0].wait_reason("waits for instance 1 to say whether it has data")
    assert not shop[0].data.exists()
    lock.close()
    for instance in shop.instances:
        instance.wait_ready()


def test_who_waits_for_a_role_says_that_it_has_data(cluster):
    """The standby does not reach the API server; the primary, whose volume is lost, does."""
    shop = cluster(replicas=2).start()
    for instance in shop.instances:
        instance.stop()
    shutil.rmtree(shop[0].volume)
    shop[0].volume.mkdir()
    shop.give(shop[0].volume)
    shop[1].start("--kubeconfig=/nowhere", "--api-wait-ms=600000")
    shop[1].wait_reason("waits for the Database's status")
    assert shop[1].status()["has_data"]
    shop[0].start()
    shop[0].wait_reason("instance 1 has data")
    assert not shop[0].data.exists()


# -- Ends --------------------------------------------------------------------------------------------------------------

def test_the_server_is_killed(cluster):
    """The agent ends with it, so that the container starts anew, and nothing of the server is left."""
    one = cluster()[0].start().wait_ready()
    insert(one, 1)
    os.kill(one.server_pid(), signal.SIGKILL)
    assert one.wait_exit() == 1
    assert one.processes() == []
    one.start().wait_ready()
    assert rows(one) == [1]
    # And the other way round: where the agent is not process 1, its server ends with it, and is waited for.
    one.process.kill()
    one.process.wait(10)
    one.start().wait_ready()
    assert rows(one) == [1]
    one.stop()


@pytest.mark.parametrize("ordinal", [0, 1])
def test_stopped_while_data_are_made(cluster, ordinal):
    """At once, with exit code 0."""
    shop = cluster(replicas=2, fresh=ordinal == 0)
    if ordinal == 1:
        shop[0].start().wait_ready()
    one = shop[ordinal].start()
    wait_until(lambda: (one.volume / "data.new" / "base").exists(), 60, every=0.002)
    one.stop(seconds=15)
    one.start().wait_ready()


class Writer(threading.Thread):
    """Writes one row after the other until the server is gone, and knows which were acknowledged."""

    def __init__(self, instance, first):
        super().__init__(daemon=True)
        self.instance = instance
        self.first = first
        self.acknowledged = []
        self.start()

    def run(self):
        import psycopg
        try:
            with self.instance.connect() as connection:
                for value in range(self.first, self.first + 1000000):
                    connection.execute("INSERT INTO t VALUES (%s)", (value,))
                    self.acknowledged.append(value)
        except psycopg.Error:
            pass


def test_no_acknowledged_row_is_lost_by_a_stop(cluster):
    """And a standby that streamed has them all too: the server waits for it before it ends."""
    shop = cluster(replicas=2).start()
    writers = [Writer(shop[0], 1000000 * number) for number in range(3)]
    wait_until(lambda: all(len(writer.acknowledged) > 100 for writer in writers))
    assert shop[0].is_ready()
    shop[0].process.send_signal(signal.SIGTERM)
    wait_until(lambda: not shop[0].is_ready(), 5)
    assert shop[0].wait_exit() == 0
    for writer in writers:
        writer.join(10)
    acknowledged = {value for writer in writers for value in writer.acknowledged}
    wait_until(lambda: acknowledged <= set(rows(shop[1])), 10, "the standby to have all that was acknowledged")
    shop[0].start().wait_ready()
    assert acknowledged <= set(rows(shop[0]))
    assert "database system was shut down" in shop[0].text().split("the engine has stopped")[-1]
    assert shop[1].is_ready() and shop[1].text().count("the data are copied") == 1


def test_a_server_that_does_not_stop_in_time_is_killed(cluster):
    one = cluster(settings=["--stop-ms=1000"])[0].start().wait_ready()
    insert(one, 1)
    os.kill(one.server_pid(), signal.SIGSTOP)
    before = time.monotonic()
    one.stop(seconds=30)
    assert 6 < time.monotonic() - before < 20
    assert one.has_logged("the engine did not end in time")
    one.start().wait_ready()
    assert rows(one) == [1]


def test_a_server_that_hangs_makes_the_agent_not_alive(cluster):
    one = cluster(settings=["--hang-ms=6000", "--ask-ms=500"])[0].start().wait_ready()
    stopped = one.processes()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: one.says("/readyz") == 503, 10)
    assert one.says("/livez") == 200
    wait_until(lambda: one.says("/livez") == 503, 20)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: one.says("/livez") == 200 and one.is_ready(), 10)


def test_sizes_that_take_long_do_not_hinder(cluster):
    """As with very many tables on a slow disk."""
    one = cluster(settings=["--ask-ms=1000", "--metrics-ms=600000"])[0].start().wait_ready()
    # Only the question for sizes looks at it.
    one.superuser("SET allow_system_table_mods = on; CREATE OR REPLACE VIEW pg_catalog.pg_settings AS "
                  "SELECT s.* FROM pg_show_all_settings() s, pg_sleep(60)")
    one.stop()
    one.start().wait_ready()
    wait_until(lambda: one.has_logged("the sizes of the databases are not known"), 20)
    for _ in range(60):
        assert one.is_ready()
        time.sleep(0.1)
    assert one.text().count("not known") == 1


def test_orphans_are_reaped(cluster):
    one = cluster()[0].start().wait_ready()
    one.superuser("COPY t FROM PROGRAM '(sleep 0.4 >/dev/null 2>&1; exit 3) & echo 1'", "app")
    wait_until(lambda: one.status()["orphans"] >= 1)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as stat:
                    state, parent = stat.read().rsplit(")", 1)[1].split()[:2]
            except OSError:
                continue
            assert not (int(parent) == one.process.pid and state == "Z")
    assert rows(one) == [1]
    one.stop()  # whose exit code was not taken by mistake


def test_one_volume_has_one_agent(cluster):
    """Neither a second agent nor a server that somebody else started may use it; a pid file that means another process does not matter."""
    shop = cluster()
    one = shop[0].start().wait_ready()
    second = subprocess.run(one.process.args + [f"--http.address={shop.network}.99"], capture_output=True, text=True, timeout=60,
                            env={"PROA_ENGINE": "postgres", "PROA_DATABASE": "shop", "PROA_HEADLESS": "h", "POD_NAME": "shop-0",
                                 "POD_NAMESPACE": "default", "PATH": os.environ["PATH"]}, cwd="/", **shop.run_as)
    assert second.returncode == 1 and "another agent uses the volume" in second.stdout
    assert one.is_ready()
    one.stop()

    sleeper = subprocess.Popen(["sleep", "1000"], **shop.run_as)
    try:
        (one.data / "postmaster.pid").write_text(f"{sleeper.pid}\n{one.data}\n1\n5432\n{one.run}\n*\n  1 1\nready\n")
        shop.give(one.data / "postmaster.pid")
        one.start().wait_ready()
        one.stop()
    finally:
        sleeper.kill()
        sleeper.wait()

    other = subprocess.Popen([shop.programs / "postgres", "-D", one.data, "-c", "listen_addresses="], stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **shop.run_as)
    try:
        wait_until(lambda: one.processes())
        one.start()
        assert one.wait_exit() == 1
        assert one.has_logged("two servers on one folder")
    finally:
        other.send_signal(signal.SIGINT)
        other.wait(30)


# -- Standbys ----------------------------------------------------------------------------------------------------------

def slots(primary):
    return primary.superuser("SELECT coalesce(string_agg(slot_name, ',' ORDER BY slot_name), '') FROM pg_replication_slots")


def test_standbys_stream(cluster):
    shop = cluster(replicas=3).start()
    insert(shop[0], *range(20))
    for standby in shop.instances[1:]:
        wait_until(lambda: len(rows(standby)) == 20)
        status = standby.status()
        assert status["role"] == "standby" and status["streaming"] and not status["writable"] and "lag_bytes" in status
        assert standby.superuser("SELECT pg_is_in_recovery()") == "t"
    assert slots(shop[0]) == "shop_1,shop_2"
    # A standby stops and comes back without being copied anew.
    shop[1].stop()
    insert(shop[0], 20)
    shop[1].start().wait_ready()
    wait_until(lambda: len(rows(shop[1])) == 21)
    assert shop[1].text().count("the data are copied") == 1


def test_scaling(cluster):
    """Slots come and go with the replicas; other people's stay."""
    shop = cluster()
    shop[0].start().wait_ready()
    shop[0].superuser("SELECT pg_create_physical_replication_slot('archive'), pg_create_physical_replication_slot('shop_1_x')")
    assert slots(shop[0]) == "archive,shop_1_x"
    shop.api.set(replicas=3)
    shop.add_instance().start().wait_ready()
    assert slots(shop[0]) == "archive,shop_1,shop_1_x,shop_2"
    shop.api.set(replicas=1)
    wait_until(lambda: slots(shop[0]) == "archive,shop_1,shop_1_x")  # still in use
    shop[1].stop()
    wait_until(lambda: slots(shop[0]) == "archive,shop_1_x", 30)
    # Back with its old volume, from which too much may be missing by now: it is well, or copied anew.
    shop.api.set(replicas=2)
    shop[1].start().wait_ready()
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])


def test_replicas_are_what_the_operator_made_of_them(cluster):
    """A spec that it does not follow (it is paused, or cannot) drops no slot that a standby needs."""
    shop = cluster(replicas=2).start()
    shop.api.set(replicas=2)
    shop[1].stop()
    with shop.api.lock:
        shop.api.object["spec"]["replicas"] = 1
    shop.api.set()
    for _ in range(30):
        assert slots(shop[0]) == "shop_1"
        time.sleep(0.1)
    insert(shop[0], 1)
    shop[1].start().wait_ready()
    wait_until(lambda: rows(shop[1]) == [1])
    shop[1].stop()
    shop.api.set(replicas=1)
    wait_until(lambda: slots(shop[0]) == "", 30)


SMALL = "max_slot_wal_keep_size = '32MB'\nwal_keep_size = 0\nmax_wal_size = '32MB'\nmin_wal_size = '32MB'\n"


def leave_behind(shop, standby):
    """Stops the standby and writes until its slot is lost."""
    standby.stop()
    for _ in range(8):
        shop[0].superuser("SELECT pg_switch_wal()")
        insert(shop[0], 5)
    shop[0].superuser("CHECKPOINT")
    wait_until(lambda: shop[0].superuser("SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'shop_1'") in ("lost", "reserved"))


def test_a_standby_left_behind_is_copied_anew(cluster):
    shop = cluster(replicas=2, settings=["--lost-ms=1000"], engine_conf=SMALL).start()
    leave_behind(shop, shop[1])
    mark = shop[1].data / "old"
    mark.touch()
    shop[1].start()
    wait_until(lambda: shop[1].has_logged("the data are copied", since="can never follow its primary again"), 40)
    # Before it is copied it never serves, though its connections look like streams for a moment.
    assert not shop[1].has_logged('"serves"', since="the engine has stopped", until="can never follow its primary again")
    shop[1].wait_ready()
    assert not mark.exists()
    assert shop[1].has_logged("the primary has removed the WAL that it needs")
    insert(shop[0], 7)
    wait_until(lambda: 7 in rows(shop[1]))
    assert not shop[1].has_logged("the old are removed first")
    assert shop[1].status()["clones"] == 1
    assert sorted(entry.name for entry in shop[1].volume.iterdir()) == ["agent.json", "agent.lock", "data"]


def test_nothing_is_thrown_away_while_the_primary_is_not_well(cluster):
    """A standby left behind, whose primary goes away before it looks: its data stay."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"], engine_conf=SMALL).start()
    leave_behind(shop, shop[1])
    shop[0].stop()
    mark = shop[1].data / "old"
    mark.touch()
    shop[1].start()
    wait_until(lambda: (shop[1].status() or {}).get("phase") == "Running", 40)
    time.sleep(4)
    assert shop[1].status()["phase"] == "Running" and mark.exists()
    shop[0].start().wait_ready()
    wait_until(lambda: shop[1].has_logged("the data are copied"), 40)
    shop[1].wait_ready()


def test_a_standby_that_replays_what_it_has_is_not_left_behind(cluster):
    """After a restart its position is that of what it has replayed; of what it has received the primary keeps nothing."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"], engine_conf=SMALL + "recovery_min_apply_delay = '1h'\n").start()
    for value in range(4):
        insert(shop[0], value)
        shop[0].superuser("SELECT pg_switch_wal()")
    wait_until(lambda: shop[0].superuser("SELECT flush_lsn >= pg_current_wal_flush_lsn() FROM pg_stat_replication") == "t")
    replayed = int(shop[0].superuser("SELECT max(replay_lsn - '0/0') FROM pg_stat_replication"))
    wait_until(lambda: shop[0].superuser("CHECKPOINT") == "" and int(shop[0].status()["oldest"] or 0) > replayed, 40, every=0.2)
    shop[1].stop()
    shop[1].start()
    wait_until(lambda: asked(shop[1], shop[0]) >= 6 or shop[1].has_logged("can never follow its primary again"), 40)
    assert not shop[1].has_logged("can never follow its primary again")
    shop.write_config(SMALL)
    shop[1].stop()
    shop[1].start().wait_ready()
    wait_until(lambda: rows(shop[1]) == [0, 1, 2, 3])
    assert shop[1].text().count("the data are copied") == 1


def asked(one, other):
    """How often since its start it has asked the other agent how it is."""
    answer = one.get("/metrics")
    family = families(answer).get("http_client_request_duration_seconds") if answer else None
    return sum(sample.value for sample in (family.samples if family else [])
               if sample.name.endswith("_count") and sample.labels.get("server_address") == other.address)


def test_data_of_another_database_are_put_aside(cluster):
    shop = cluster(replicas=2, settings=["--lost-ms=1000"]).start()
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])
    identity = shop[1].status()["identity"]
    shop[1].stop()
    shop[0].stop()
    shutil.rmtree(shop[0].data)
    shop[0].start().wait_ready()  # as far as the status says it is the first start
    shop[1].start()
    wait_until(lambda: shop[1].has_logged("they are put aside"), 40)
    shop[1].wait_ready()
    assert shop[1].status()["identity"] == shop[0].status()["identity"] != identity
    kept = [entry for entry in shop[1].volume.iterdir() if entry.name.startswith("data.kept-")]
    assert len(kept) == 1 and (kept[0] / "PG_VERSION").exists()


def kept_folders(instance):
    return [entry for entry in instance.volume.iterdir() if entry.name.startswith("data.kept-")]


def test_a_standby_ahead_of_its_primary_keeps_its_data(cluster):
    """The primary's volume went back in time: what the standby has is the only copy of rows that were acknowledged."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"]).start()
    insert(shop[0], 1)
    shop[0].stop()
    shop[0].save(before := shop.folder / "before")
    shop[0].start().wait_ready()
    insert(shop[0], *range(2, 40))
    wait_until(lambda: rows(shop[1]) == list(range(1, 40)))
    shop[0].stop()
    shop[0].restore(before)
    shop[0].start().wait_ready()
    wait_until(lambda: shop[1].has_logged("they are put aside"), 60)
    wait_until(lambda: shop[1].has_logged("the data are copied", since="they are put aside"), 60)
    shop[1].wait_ready()
    assert rows(shop[1]) == rows(shop[0]) == [1]
    kept = kept_folders(shop[1])
    assert len(kept) == 1 and shop[1].has_logged("ahead of the primary")
    assert shop[1].status()["kept"] == value(families(shop[1].get("/metrics")), "database_agent_kept_data") == 1
    # They are whole: who wants the rows back puts them in the place of the primary's.
    shop[0].stop()
    shop[1].stop()
    shutil.rmtree(shop[0].data)
    kept[0].rename(shop[0].data)
    (shop[0].data / "standby.signal").unlink()
    shop[0].start().wait_ready()
    assert rows(shop[0]) == list(range(1, 40))


def test_without_room_the_old_data_go_first(cluster):
    if os.geteuid() != 0:
        pytest.skip("a volume of its own size is mounted, which takes root")
    shop = cluster(replicas=2, settings=["--lost-ms=1000"], engine_conf=SMALL)
    volume = shop[1].volume
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=240m", "none", volume], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        shop.give(volume)
        shop.start()
        leave_behind(shop, shop[1])
        (volume / "ballast").write_bytes(b"\0" * (60 << 20))
        shop[1].start()
        wait_until(lambda: shop[1].has_logged("the old are removed first"), 40)
        shop[1].wait_ready()
        shop[1].stop()
    finally:
        shop[1].clean_up()
        subprocess.run(["umount", "-l", volume], check=False)


def test_a_standby_that_is_away_does_not_fill_the_volume(cluster):
    """The operator's own settings on the smallest volume: twice as much is written as it holds."""
    if os.geteuid() != 0:
        pytest.skip("a volume of its own size is mounted, which takes root")
    if not ENGINE_CONF.exists():
        pytest.skip(f"not built: {ENGINE_CONF}")
    shop = cluster(replicas=2, settings=["--lost-ms=1000"])
    limits = subprocess.run([ENGINE_CONF, "postgres", "shop", "storageSize=512Mi"], capture_output=True, text=True, check=True).stdout
    shop.write_config("".join(f"{line}\n" for line in limits.splitlines() if "wal_size" in line or "keep_size" in line)
                      + "full_page_writes = off\n")
    volume = shop[0].volume
    shop[0].save(first := shop.folder / "first")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512m", "none", volume], capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        subprocess.run(["cp", "-a", f"{first}/.", volume], check=True)
        shop.give(volume)
        shop.start()
        shop[1].stop()
        load = "INSERT INTO t SELECT generate_series(1, 500000); TRUNCATE t"
        used = []
        while shop[0].superuser("SELECT pg_current_wal_lsn() - '0/0' > 2 * 512 * 1024 * 1024 ::bigint") == "f":
            shop[0].superuser(load, "app")
            used.append(shutil.disk_usage(volume).used >> 20)
        assert shop[0].is_ready() and max(used) < 450, used
        shop[1].start().wait_ready()
        insert(shop[0], 1)
        wait_until(lambda: rows(shop[1]) == [1])
        for instance in shop.instances:
            instance.stop()
    finally:
        shop[0].clean_up()
        subprocess.run(["umount", "-l", volume], check=False)


def test_a_mistake_in_the_settings_waits_for_a_new_pod(cluster):
    """The file changes below the pods; a container that ends comes back with what its pod began with."""
    shop = cluster(replicas=2).start()
    shop.write_config("no_such_setting = 'x'\n")
    shop[0].superuser("SELECT pg_reload_conf()")
    os.kill(shop[0].server_pid(), signal.SIGKILL)
    assert shop[0].wait_exit() == 1
    shop[0].start(new_pod=False).wait_ready()
    insert(shop[0], 1)
    assert not shop[0].has_logged("no_such_setting")
    # The operator makes the last standby's pod anew first, and it goes no further.
    shop[1].stop()
    shop[1].start()
    assert shop[1].wait_exit() == 1
    assert shop[1].has_logged("no_such_setting") and shop[0].is_ready()
    shop.write_config()
    shop[1].start().wait_ready()
    wait_until(lambda: rows(shop[1]) == [1])


def test_a_smaller_setting_reaches_standbys_first(cluster):
    """The operator restarts standbys first, and they could not start with less than their primary has."""
    shop = cluster(replicas=2).start()
    shop.write_config("max_connections = '30'\n")
    shop[1].stop()
    shop[1].start().wait_ready()
    assert shop[1].superuser("SHOW max_connections") == "50" and shop[1].has_logged("keeps its primary's larger setting")
    shop[0].stop()
    shop[0].start().wait_ready()
    assert shop[0].superuser("SHOW max_connections") == "30"
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])
    shop[1].stop()
    shop[1].start().wait_ready()
    assert shop[1].superuser("SHOW max_connections") == "30"


# -- Roles and the API server ------------------------------------------------------------------------------------------

def test_the_primary_does_not_move(cluster):
    """Told to be what their data are not, instances serve nobody, and go on when they are told otherwise."""
    shop = cluster(replicas=2).start()
    shop.api.set(primary="shop-1")
    shop[0].wait_reason("the data here are a primary's")
    shop[1].wait_reason("moving the primary is not built yet")
    wait_until(lambda: shop[0].says("/readyz") == 503, 5)
    assert shop[0].processes() == [] and shop[0].says("/livez") == 200
    shop.api.set(primary="shop-0")
    shop[0].wait_ready()
    shop[1].wait_ready()
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])


def test_a_standby_that_somebody_promotes(cluster):
    """Two servers that take writes are one too many, and what was written to it is not thrown away."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"]).start()
    shop[1].superuser("SELECT pg_promote(false)")  # without waiting: the server may be stopped first
    shop[1].wait_reason("the data here are a primary's")
    assert shop[1].processes() == [] and shop[1].data.exists()
    time.sleep(3)
    assert shop[1].text().count("the data are copied") == 1 and kept_folders(shop[1]) == []
    insert(shop[0], 1)
    assert shop[0].is_ready()


def test_the_api_server_is_away(cluster):
    shop = cluster(replicas=2).start()
    shop.api.down()
    for _ in range(10):
        time.sleep(0.2)
        assert shop[0].is_ready() and shop[1].is_ready()
    # Their last role is good enough to start again.
    shop[1].stop()
    shop[0].stop()
    for instance in shop.instances:
        instance.start()
    for instance in shop.instances:
        instance.wait_ready()
    assert shop[0].has_logged("the last role is taken up")
    insert(shop[0], 1)
    wait_until(lambda: rows(shop[1]) == [1])
    shop.api.up()
    shop.api.set(replicas=3)
    wait_until(lambda: slots(shop[0]) == "shop_1,shop_2", 60)


def test_without_a_role_nothing_is_made(cluster):
    """Neither while the status names no primary, nor without an API server."""
    shop = cluster(fresh=True, primary="")
    shop[0].start().wait_reason("waits for the Database's status to name a primary")
    time.sleep(2)
    assert not shop[0].data.exists() and shop[0].says("/livez") == 200
    shop.api.set(primary="shop-0")
    shop[0].wait_ready()


# -- Credentials -------------------------------------------------------------------------------------------------------

def test_credentials_change(cluster):
    shop = cluster(replicas=2).start()
    pid = shop[0].server_pid()
    shop.write_credentials(password="second'pass\\word\"")
    wait_until(lambda: shop[0].has_logged("users and their passwords were brought"), 20)
    insert(shop[0], 1)
    assert "password authentication failed" in refused(shop[0], password="first-password")
    shop.write_credentials(replicationPassword="copy:that\\again")
    wait_until(lambda: (shop[1].run / "replication.pass").read_text() == "*:*:*:replicator:copy\\:that\\\\again\n")
    wait_until(lambda: shop[0].text().count("users and their passwords were brought") == 2, 20)
    shop[0].superuser("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    insert(shop[0], 2)
    wait_until(lambda: rows(shop[1]) == [1, 2])
    assert shop[0].server_pid() == pid
    # A user of another name gets what the first one has, who is let in no more.
    shop.write_credentials(username="Sh\"op")
    wait_until(lambda: shop[0].text().count("users and their passwords were brought") == 3, 20)
    insert(shop[0], 3)
    assert "not permitted to log in" in refused(shop[0], user="app")
    # Also by an agent that was not there when they changed.
    shop[0].stop()
    shop.write_credentials(password="while-away")
    shop[0].start().wait_ready()
    insert(shop[0], 4)
    # What cannot be used changes nothing, and stops nothing.
    shop.write_credentials(username="postgres")
    wait_until(lambda: "the username is one of the engine's own" in shop[0].status()["warning"])
    shop.write_credentials(username="Sh\"op", password="")
    wait_until(lambda: shop[0].has_logged("password is empty"))
    shop.write_credentials(password="while-away")
    assert shop[0].is_ready()
    insert(shop[0], 5)
    wait_until(lambda: shop[0].status()["warning"] == "")
    text = shop[0].text()
    for password in ("second'pass", "copy:that", "while-away", "SCRAM-SHA-256$"):
        assert password not in text


def test_a_username_comes_back(cluster):
    """Each new user gets what the one before has, also one that has been there before."""
    shop = cluster()
    one = shop[0].start().wait_ready()
    for number, user in enumerate(["second", "third", "app", "third", "app"], 1):
        shop.write_credentials(username=user)
        wait_until(lambda: one.superuser("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == user, 20)
        insert(one, number)
        one.sql(f"CREATE TABLE of_{number} ()")
        for before in range(1, number):
            one.sql(f"ALTER TABLE of_{before} ADD COLUMN c{number} int")
    wait_until(lambda: one.status()["warning"] == "")
    one.stop()
    one.start().wait_ready()
    assert rows(one) == [1, 2, 3, 4, 5]


def test_settings_that_sessions_begin_with_are_not_the_agents(cluster):
    """A database that is read-only for its clients still gets its users; a backslash is a letter, whatever clients are used to."""
    shop = cluster(engine_conf="default_transaction_read_only = on\nstandard_conforming_strings = off\n")
    one = shop[0].start().wait_ready()
    for user in ("o\\'hara", "app"):
        shop.write_credentials(username=user, password=f"of-{len(user)}-letters")
        wait_until(lambda: one.superuser("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'app'") == user, 30)
        assert one.sql("SHOW transaction_read_only") == [("on",)]


def test_credentials_change_while_the_first_data_are_made(cluster):
    """Those that cannot be used are replaced by those that can, without a new pod."""
    shop = cluster(fresh=True)
    shop.write_credentials(username="postgres")
    one = shop[0].start()
    one.wait_reason("the username is one of the engine's own")
    shop.write_credentials(username="somebody")
    one.wait_ready()
    one.sql("SELECT 1")


def test_credentials_change_while_a_standby_waits(cluster):
    """With the old token it would be refused for ever; also one that is refused its role answers to the new one."""
    shop = cluster(replicas=2)
    shop[1].start().wait_reason("waits for the primary")
    shop[0].start().wait_ready()
    shop[1].wait_ready()
    shop[1].stop()
    shutil.rmtree(shop[1].data)
    shop[0].stop()
    shop[1].start().wait_reason("waits for the primary")
    shop.write_credentials(agentToken="another-one", replicationPassword="another-copy")
    shop[0].start().wait_ready()
    shop[1].wait_ready()
    shop.api.set(primary="shop-1")
    shop[1].wait_reason("moving the primary is not built yet")
    shop.write_credentials(agentToken="a-third-one")
    wait_until(lambda: (shop[1].status() or {}).get("phase") == "Refused")


# -- What the agent answers --------------------------------------------------------------------------------------------

def test_token(cluster):
    shop = cluster()
    one = shop[0].start().wait_ready()
    for method, path in (("GET", "/v1/status"), ("POST", "/v1/restart")):
        for token in (None, "wrong", "agents-onl", "agents-only2"):
            answer = one.get(path, token, method)
            expect_problem(answer, 401)
            assert answer.header("WWW-Authenticate") == "Bearer"
    assert one.get("/metrics").status == 200
    pid = one.server_pid()
    assert one.get("/v1/restart", "agents-only", "POST").status == 202
    wait_until(lambda: one.server_pid() not in (None, pid))
    one.wait_ready()
    assert one.status()["restarts"] == 1
    shop.write_credentials(agentToken="another-one")
    wait_until(lambda: one.status() is not None)
    assert one.get("/v1/status", "agents-only").status == 401


def test_probes_while_data_are_made(cluster):
    one = cluster(fresh=True)[0].start()
    seen = set()

    def ready():
        seen.add((one.says("/livez"), one.says("/readyz")))
        return one.is_ready()
    wait_until(ready, 60, every=0.02)
    assert (200, 503) in seen and {livez for livez, _ in seen} <= {None, 200}


def families(answer):
    from prometheus_client.parser import text_string_to_metric_families
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(found, name, **labels):
    """None where there is no such sample."""
    samples = found[name].samples if name in found else []
    return next((sample.value for sample in samples if all(sample.labels.get(key) == text for key, text in labels.items())), None)


def test_metrics(cluster):
    shop = cluster(replicas=2, settings=["--metrics-ms=200"]).start()
    insert(shop[0], 1, 2, 3)
    wait_until(lambda: value(families(shop[0].get("/metrics")), "pg_stat_database_tup_inserted", datname="app") >= 3)
    primary, standby = families(shop[0].get("/metrics")), families(shop[1].get("/metrics"))
    for found, is_primary in ((primary, 1), (standby, 0)):
        assert value(found, "pg_up") == 1 and value(found, "database_agent_ready") == 1
        assert value(found, "database_agent_is_primary") == is_primary
        assert value(found, "pg_replication_is_replica") == 1 - is_primary
        assert value(found, "pg_settings_max_connections") == 50
        assert value(found, "pg_settings_shared_buffers_bytes") == 16 << 20
        assert value(found, "pg_settings_work_mem_bytes") == 4 << 20
        assert value(found, "pg_settings_max_wal_size_bytes") == 1 << 30
        assert value(found, "pg_database_size_bytes", datname="app") > 1000000
        assert value(found, "pg_replication_lag_seconds") < 60
    assert value(primary, "pg_stat_replication_pg_wal_lsn_diff", application_name="shop-1", state="streaming") >= 0
    assert value(primary, "pg_replication_slot_slot_is_active", slot_name="shop_1") == 1
    assert value(standby, "database_agent_clones") == 1
    asked = standby["http_client_request_duration_seconds"].samples  # the primary, for one
    assert any(sample.labels["http_response_status_code"] == "200" and sample.value > 0 for sample in asked)
    with shop[0].connect() as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM t")
        wait_until(lambda: value(families(shop[0].get("/metrics")), "pg_stat_activity_count", datname="app",
                                 state="idle in transaction") == 1)
        assert "pg_locks_count" in families(shop[0].get("/metrics"))
    wait_until(lambda: "pg_locks_count" not in families(shop[0].get("/metrics")))  # what is gone is not shown
    promtool = shutil.which("promtool")
    if promtool:
        done = subprocess.run([promtool, "check", "metrics"], input=shop[0].get("/metrics").body.decode(), text=True,
                              capture_output=True)
        # The exporter's names of counters lack the ending.
        left = [line for line in done.stdout.splitlines() + done.stderr.splitlines() if line and "_total" not in line]
        assert left == []
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from support import ask
    answer = ask(8008, "GET", "/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}, host=shop[0].address)
    assert any(family.name == "pg_up" for family in openmetrics(answer.body.decode()))
