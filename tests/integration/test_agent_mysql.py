"""The database agent with a real MariaDB (or MySQL, see mysql_support): first data, standbys, copies, credentials, ends of every kind."""
import signal
import threading
import time

import pytest

from agent_support import clusters, first_volume
from mysql_support import AGENT, MysqlCluster, Session, is_built
from support import wait_until


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A first instance's volume, made once."""
    return first_volume(MysqlCluster(), tmp_path_factory.mktemp("mysql") / "volume")


@pytest.fixture
def cluster(request):
    """Makes clusters, whose first instance has data unless `fresh`."""
    if not is_built():
        pytest.skip(f"database-operator is not built: {AGENT}")
    try:
        MysqlCluster.find_programs()
    except FileNotFoundError as error:
        pytest.skip(f"{error}: install mariadb-server-core and mariadb-client")
    with clusters() as made:
        def make(*arguments, fresh=False, **options):
            made.append(MysqlCluster(*arguments, **options))
            if not fresh:
                made[-1].use(request.getfixturevalue("template"))
            return made[-1]

        yield make


def has_rows(instance, count):
    try:
        return len(instance.rows()) == count
    except RuntimeError:
        return False


def test_first_instance(cluster):
    """Made once, with the accounts that are wanted and no others, and as it was after a stop and a start."""
    shop = cluster(fresh=True)
    one = shop[0].start().wait_ready()
    accounts = {f"{user}@{host}" for user, host in one.root("SELECT user, host FROM mysql.user")}
    assert {name for name in accounts if not name.startswith(("mysql.", "mariadb."))} == {"app@%", "replicator@%", "root@localhost"}
    assert one.root("SHOW VARIABLES LIKE 'character_set_server'") == [["character_set_server", "utf8mb4"]]
    for name, value in {"read_only": "0", "log_bin": "1", "sync_binlog": "1", "innodb_flush_log_at_trx_commit": "1",
                        "skip_name_resolve": "1", "max_connections": "50"}.items():
        assert one.root(f"SELECT @@global.{name}") == [[value]], name
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1);")
    wait_until(lambda: one.status()["identity"], 10, "the identity in the status, which is asked for by the second")
    status = one.status()
    assert status["role"] == "primary" and status["writable"] and len(status["identity"]) == 32 and status["position"]
    assert status["version"].count(".") == 2 and "-" not in status["version"]
    assert (one.run / "mysql-root.cnf").stat().st_mode & 0o777 == 0o600
    # Root is there only over the socket, and only with the password of this start.
    with pytest.raises(RuntimeError, match="denied|not allowed"):
        one.sql("SELECT 1", user="root", password="x")
    server = one.root("SELECT @@server_id")
    one.stop()
    one.start().wait_ready()
    assert one.root("SELECT @@server_id") == server
    assert one.status()["identity"] == status["identity"] and one.rows() == [1]
    assert one.text().count("the first data are made") == 1
    assert "accounts and their passwords" in one.text()
    assert one.text().count("accounts and their passwords") == 1


def test_standby_follows(cluster):
    """A copy with everything in it, rows as they come, nobody writes to it, and a stop and a start without another copy."""
    shop = cluster(replicas=3)
    one = shop[0].start().wait_ready()
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1), (2);")
    one.root("SET GLOBAL event_scheduler = OFF;\nCREATE PROCEDURE app.p() SELECT 'here';\n"
             "CREATE EVENT app.e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO app.t SELECT 1000 + COUNT(*) FROM app.t;\n"
             "CREATE VIEW app.v AS SELECT x FROM app.t;\nCREATE TRIGGER app.g BEFORE INSERT ON app.t FOR EACH ROW SET NEW.x = NEW.x + 0;\n"
             "CREATE USER 'clerk'@'%' IDENTIFIED BY 'Clerk-password-1';\nGRANT SELECT ON app.t TO 'clerk'@'%';\n"
             "CREATE DATABASE `odd name`;\nCREATE TABLE `odd name`.b (x BLOB, t TEXT CHARACTER SET utf8mb4);\n"
             "INSERT INTO `odd name`.b VALUES (x'00ff270a5c', 'žluťoučký \\n\\'\\\\ 🐘');")
    for standby in shop.instances[1:]:
        standby.start()
    for standby in shop.instances[1:]:
        standby.wait_ready()
    one.sql("INSERT INTO t VALUES (3)")
    for standby in shop.instances[1:]:
        wait_until(lambda: has_rows(standby, 3), 30, "the row at the standby")
        assert standby.sql("SELECT COUNT(*) FROM t", user="clerk", password="Clerk-password-1") == [["3"]]
        assert standby.sql("SELECT COUNT(*) FROM v; CALL p();") == [["3"], ["here"]]
        assert standby.root("SELECT HEX(x), t = 'žluťoučký \\n\\'\\\\ 🐘' FROM `odd name`.b") == [["00FF270A5C", "1"]]
        assert standby.root("SELECT @@event_scheduler")[0][0] in ("OFF", "0")
        with pytest.raises(RuntimeError, match="read.only"):
            standby.sql("INSERT INTO t VALUES (99)")
        status = wait_until(lambda: (told := standby.status()) and told["streaming"] and told["lag_ms"] == 0 and told, 30,
                            "a standby that streams")
        assert status["role"] == "standby" and not status["writable"] and status["identity"] == one.status()["identity"]
        assert standby.root("SELECT @@server_id") != one.root("SELECT @@server_id")
    # Everything is as at the primary, accounts too.
    digest = "SELECT GROUP_CONCAT(user, '@', host, '=', authentication_string ORDER BY user) FROM mysql.user WHERE user <> 'root'"
    assert shop[1].root(digest) == one.root(digest)
    shop[1].stop()
    one.sql("INSERT INTO t VALUES (4)")
    shop[1].start().wait_ready()
    wait_until(lambda: has_rows(shop[1], 4), 30, "the row after the standby's start")
    assert shop[1].text().count("the data are copied") == 1


def test_standby_is_killed(cluster):
    """Under writes: it comes back and goes on, without another copy."""
    shop = cluster(replicas=2)
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY)")
    session = Session(one)
    try:
        for x in range(300):
            assert session.insert(x)
            if x == 100:
                two.kill()
                two.start()
        two.wait_ready()
        wait_until(lambda: has_rows(two, 300), 60, "all rows at the standby")
    finally:
        session.close()
    assert two.text().count("the data are copied") == 1


def test_purged(cluster):
    """The primary no longer has what the standby needs: it is copied anew."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"])
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    wait_until(lambda: has_rows(two, 1), 30, "the first row")
    two.stop()
    one.root("INSERT INTO app.t VALUES (2);\nFLUSH BINARY LOGS;\nINSERT INTO app.t VALUES (3);\nFLUSH BINARY LOGS;")
    newest = one.root("SHOW BINARY LOGS")[-1][0]

    def purge():
        one.root(f"PURGE BINARY LOGS TO '{newest}'")
        return len(one.root("SHOW BINARY LOGS")) == 1
    wait_until(purge, 30, "the binary logs to be purged", every=0.5)
    two.start()
    wait_until(lambda: two.text().count("the data are copied") == 2, 60, "another copy")
    two.wait_ready()
    wait_until(lambda: has_rows(two, 3), 30, "all rows")
    assert "the primary has purged binary logs that it needs" in two.text()


def test_diverged(cluster):
    """Somebody with root's rights wrote at the standby what the primary then wrote too: the standby is copied anew, and its rows are kept."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"])
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY)")
    wait_until(lambda: has_rows(two, 0), 30, "the table")
    if not shop.is_mariadb:
        two.root("SET GLOBAL super_read_only = OFF")
    two.root("INSERT INTO app.t VALUES (1)")
    one.sql("INSERT INTO t VALUES (1)")
    wait_until(lambda: two.text().count("the data are copied") == 2, 60, "another copy")
    two.wait_ready()
    one.sql("INSERT INTO t VALUES (2)")
    wait_until(lambda: has_rows(two, 2), 30, "all rows")
    assert "can never follow its primary again" in two.text()
    assert len(kept_folders(two)) == 1


def kept_folders(instance):
    return [file for file in instance.volume.iterdir() if file.name.startswith("data.kept-")]


def test_the_primary_went_back(cluster):
    """A standby that has what its primary has lost keeps its data."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"])
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    wait_until(lambda: has_rows(two, 1), 30, "the first row")
    one.stop()
    one.save(before := shop.folder / "before")
    one.start().wait_ready()
    one.sql("INSERT INTO t VALUES (2)")
    wait_until(lambda: has_rows(two, 2), 60, "the second row")
    one.stop()
    one.restore(before)
    one.start().wait_ready()
    wait_until(lambda: "they are put aside" in two.text(), 60, "the data to be put aside")
    wait_until(lambda: two.text().count("the data are copied") == 2, 90, "another copy")
    two.wait_ready()
    assert two.rows() == [1]
    kept = kept_folders(two)
    assert len(kept) == 1 and (kept[0] / "app").is_dir()


def test_other_database(cluster):
    """The primary's volume is another one: nothing of it gets into the standby, whose data are kept aside."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"])
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    wait_until(lambda: has_rows(two, 1), 30, "the first row")
    two.stop()
    one.stop()
    for file in one.volume.iterdir():
        file.rename(one.folder / f"former-{file.name}")
    one.start().wait_ready()
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (7)")
    two.start()
    wait_until(lambda: "put aside" in two.text(), 60, "the data to be put aside")
    two.wait_ready()
    wait_until(lambda: has_rows(two, 1) and two.rows() == [7], 60, "the other database's row")
    kept = kept_folders(two)
    assert len(kept) == 1 and (kept[0] / "app").is_dir()


def test_credentials_change(cluster):
    """Passwords, the replication password and the user's name, each while all run."""
    shop = cluster(replicas=2)
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    odd = "a\"b'c\\d#e;*/f"
    for password in ("Second-password", odd):
        shop.write_credentials(password=password)

        def works(instance):
            try:
                return instance.sql("SELECT COUNT(*) FROM app.t") == [["1"]]
            except RuntimeError:
                return False
        # The options file of the test's own client has to be escaped as the agent's is.
        shop.secret["password"] = password.replace("\\", "\\\\").replace('"', '\\"')
        wait_until(lambda: works(one) and works(two), 30, f"the password {password}")
        shop.secret["password"] = password
    shop.write_credentials(replicationPassword="another-copy", password="Third-password")
    wait_until(lambda: one.text().count("accounts and their passwords") >= 3, 30, "the accounts to change")
    wait_until(lambda: works(two), 30, "the password at the standby")
    # The standby logs in anew with the new one.
    two.root("STOP REPLICA; START REPLICA;")
    wait_until(lambda: two.replica().get("Replica_IO_Running") == "Yes", 30, "the standby to follow with the new password")
    shop.write_credentials(username="owner")
    wait_until(lambda: works(one) and works(two), 30, "the new user")
    with pytest.raises(RuntimeError, match="denied|locked"):
        one.sql("SELECT 1", user="app")
    one.sql("INSERT INTO t VALUES (2)")
    wait_until(lambda: has_rows(two, 2), 30, "the row at the standby")
    binlogs = one.root("SHOW BINARY LOGS")
    for name in (row[0] for row in binlogs):
        content = (one.data / name).read_bytes()
        for secret in ("first-password", "Second-password", "Third-password", "another-copy"):
            assert secret.encode() not in content
    shop.write_credentials(username="root")
    wait_until(lambda: one.has_logged("one of the engine's own"), 30, "the refusal")
    assert one.is_ready()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_end_under_writes(cluster, number):
    """No acknowledged row is lost, neither by an orderly end nor by a sudden one; and the standby has them all in the end."""
    shop = cluster(replicas=2)
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY)")
    sessions = [Session(one) for _ in range(4)]
    acknowledged = [[] for _ in sessions]

    def write(at):
        x = at * 1000000
        while sessions[at].insert(x):
            acknowledged[at].append(x)
            x += 1
    threads = [threading.Thread(target=write, args=(at,)) for at in range(len(sessions))]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(map(len, acknowledged)) > 400, 60, "rows")
    if number == signal.SIGTERM:
        one.stop()
    else:
        one.kill()
    for thread in threads:
        thread.join(20)
    for session in sessions:
        session.close()
    one.start().wait_ready()
    have = set(one.rows())
    assert all(x in have for rows in acknowledged for x in rows)
    wait_until(lambda: has_rows(two, len(have)), 60, "all rows at the standby")
    assert set(two.rows()) == have
    assert two.text().count("the data are copied") == 1


def test_killed_while_data_are_made(cluster):
    """At many points of making the first data, and of the copy: the next start converges."""
    shop = cluster(replicas=2, fresh=True)
    one, two = shop.instances
    begin = time.monotonic()
    one.start().wait_ready()
    took = time.monotonic() - begin
    one.kill()
    one.set_volume_aside()
    one.interrupt(took, 5)
    one.start().wait_ready()
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    begin = time.monotonic()
    two.start().wait_ready()
    took = time.monotonic() - begin
    two.kill()
    two.set_volume_aside()
    two.interrupt(took, 5)
    two.start().wait_ready()
    wait_until(lambda: has_rows(two, 1), 30, "the row at the standby")
    assert {file.name for file in two.volume.iterdir()} <= {"data", "agent.json", "agent.lock"}


def test_stopped_while_copying(cluster):
    """SIGTERM in the middle of a copy ends everything that makes it."""
    shop = cluster(replicas=2)
    one, two = shop.instances
    one.start().wait_ready()
    two.start()
    wait_until(lambda: two.processes(), 30, "the server that takes in the copy")
    two.stop()
    two.start().wait_ready()


def test_primary_is_away(cluster):
    """The standby serves, and follows when the primary is back."""
    shop = cluster(replicas=2)
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1)")
    wait_until(lambda: has_rows(two, 1), 30, "the row")
    one.kill()
    wait_until(lambda: (status := two.status()) and not status["streaming"], 60, "the standby to notice")
    assert two.is_ready() and two.sql("SELECT COUNT(*) FROM t") == [["1"]]
    one.start().wait_ready()
    one.sql("INSERT INTO t VALUES (2)")
    wait_until(lambda: has_rows(two, 2), 60, "the second row")


def test_metrics(cluster):
    shop = cluster(replicas=2, settings=["--metrics-ms=300"])
    one, two = shop.start().instances
    one.sql("CREATE TABLE t (x int PRIMARY KEY); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)")
    wait_until(lambda: one.metrics().get('mysql_global_status_commands_total{command="insert"}') == 2, 20, "the inserts to be counted")
    metrics = one.metrics()
    assert metrics["mysql_up"] == 1 and metrics["mysql_global_variables_max_connections"] == 50
    assert metrics["mysql_global_status_threads_connected"] >= 1 and metrics["mysql_binlog_size_bytes"] > 0
    assert metrics["mysql_global_variables_read_only"] == 0

    def running():
        return [value for name, value in two.metrics().items()
                if name.startswith("mysql_slave_status_") and "_sql_running{" in name and f'master_host="{one.address}"' in name]

    wait_until(lambda: running() == [1], 20, "the standby's metrics")
