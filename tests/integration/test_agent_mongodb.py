"""The database agent with a stand-in for MongoDB's server (tests/support/mongod), since none can be had: the driver's protocol, the replica
set's making and keeping, and the agent's life around it."""
import importlib.machinery
import importlib.util
import subprocess

import pytest

from agent_support import AGENT, Cluster, Instance, clusters
from support import BUILD, ROOT, wait_until

ENGINE_CONF = BUILD / "tests" / "engine_conf"
loader = importlib.machinery.SourceFileLoader("proa_mongod", str(ROOT / "tests" / "support" / "mongod"))
mongod = importlib.util.module_from_spec(importlib.util.spec_from_loader("proa_mongod", loader))
loader.exec_module(mongod)


class MongoInstance(Instance):
    def client(self, database="app", user=None, password=None):
        secret = self.cluster.secret
        return mongod.Client((self.address, 27017)).login(database, user or secret["username"], password or secret["password"])

    def system(self, database, command):
        """As the agent would."""
        key = (self.run / "mongodb.key").read_text().split('"')[1]
        with mongod.Client(self.run / "mongodb-27017.sock").login("local", "__system", key) as client:
            return client.run(database, command)

    def insert(self, *numbers):
        with self.client() as client:
            client.run("app", {"insert": "t", "documents": [{"x": number} for number in numbers]})

    def rows(self):
        with self.client() as client:
            return [row["x"] for row in client.run("app", {"find": "t"})["cursor"]["firstBatch"]]

    def members(self):
        return self.system("admin", {"replSetGetConfig": 1})["config"]["members"]

    def metrics(self):
        lines = self.get("/metrics").body.decode().splitlines()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and not line.startswith("#")}


class MongoCluster(Cluster):
    engine = "mongodb"
    instance_type = MongoInstance

    @staticmethod
    def find_programs():
        return ROOT / "tests" / "support"

    def write_config(self, more=()):
        text = subprocess.run([ENGINE_CONF, "mongodb", self.name, *more], capture_output=True, text=True, check=True).stdout
        # What arguments say counts more than these, which name places of a pod.
        (self.config / "engine.conf").write_text(text)


@pytest.fixture
def cluster():
    with clusters() as made:
        def make(*arguments, **options):
            if not (AGENT.exists() and ENGINE_CONF.exists()):
                pytest.skip(f"database-operator is not built: {AGENT}")
            made.append(MongoCluster(*arguments, **options))
            return made[-1]

        yield make


def works(instance, count):
    try:
        return len(instance.rows()) == count
    except (OSError, mongod.Error):
        return False


def test_first_instance(cluster):
    """A set of one, its user, and the same after a stop and a start."""
    shop = cluster(engine_conf=["setParameter.cursorTimeoutMillis=1000", "net.maxIncomingConnections=100"])
    one = shop[0].start().wait_ready()
    assert one.members() == [{"_id": 0, "host": f"{one.address}:27017"}]
    assert (one.run / "mongodb.key").stat().st_mode & 0o777 == 0o400
    user, = one.system("app", {"usersInfo": 1})["users"]
    assert user["user"] == "app" and user["roles"] == [{"role": "dbOwner", "db": "app"}]
    one.insert(1)
    status = wait_until(lambda: (told := one.status()) and told["identity"] and told["position"] and told, 20, "a status with all in it")
    assert status["version"] == "8.0.4" and status["role"] == "primary" and status["writable"] and len(status["identity"]) == 24
    assert "." in status["position"]
    one.stop()
    one.start().wait_ready()
    assert one.status()["identity"] == status["identity"] and one.rows() == [1]
    assert one.text().count("the replica set is initiated") == 1
    with pytest.raises(mongod.Error, match="requires authentication"):
        mongod.Client(one.run / "mongodb-27017.sock").run("admin", {"replSetGetStatus": 1})


def test_members(cluster):
    """Standbys become members without a vote, follow, come back after a stop and a kill, and go when they are not wanted any more."""
    shop = cluster(replicas=3).start()
    one, two, three = shop.instances
    one.insert(1, 2)
    for standby in (two, three):
        wait_until(lambda: works(standby, 2), 20, "the rows")
        status = wait_until(lambda: (told := standby.status()) and told["streaming"] and told["lag_ms"] == 0 and told, 20,
                            "a standby that streams")
        assert status["role"] == "standby" and not status["writable"]
        assert status["identity"] == one.status()["identity"]
    assert one.members() == [{"_id": 0, "host": f"{one.address}:27017"},
                             {"_id": 1, "host": f"{two.address}:27017", "priority": 0, "votes": 0},
                             {"_id": 2, "host": f"{three.address}:27017", "priority": 0, "votes": 0}]
    two.stop()
    three.kill()
    one.insert(3)
    for standby in (two, three):
        standby.start().wait_ready()
        wait_until(lambda: works(standby, 3), 20, "the row that came meanwhile")
        assert standby.text().count("the data are copied") == 1
    three.stop()
    shop.api.set(replicas=2)
    wait_until(lambda: len(one.members()) == 2, 20, "the member to be dropped")
    config = one.system("admin", {"replSetGetConfig": 1})["config"]
    assert config["settings"]["electionTimeoutMillis"] == 10000
    shop.api.set(replicas=3)
    wait_until(lambda: len(one.members()) == 3, 20, "the member to be back")


def test_others_members_stay(cluster):
    """Members that people have added, and what they set, are left alone."""
    shop = cluster(replicas=2).start()
    one = shop[0]
    config = one.system("admin", {"replSetGetConfig": 1})["config"]
    config["members"].append({"_id": 3, "host": "elsewhere.example:27017", "priority": 0, "votes": 0, "hidden": True})
    config["members"][1]["tags"] = {"use": "reports"}
    config["version"] += 1
    one.system("admin", {"replSetReconfig": config})
    shop.api.set(replicas=1)
    wait_until(lambda: len(one.members()) == 2, 20, "the standby to be dropped")
    assert one.members()[1]["host"] == "elsewhere.example:27017" and one.members()[1]["hidden"] is True
    shop.api.set(replicas=2)
    wait_until(lambda: len(one.members()) == 3, 20, "the standby to be back")


def test_credentials_change(cluster):
    shop = cluster(replicas=2).start()
    one, two = shop.instances
    one.insert(1)
    for change in ({"password": "Second,pass=word"}, {"username": "own=er,", "password": "Third-password"}):
        shop.write_credentials(**change)
        if "username" in change:
            shop.secret["username"] = change["username"].replace("=", "=3D").replace(",", "=2C")
        wait_until(lambda: works(one, 1) and works(two, 1), 20, f"{change}")
    shop.secret["username"] = "own=er,"
    wait_until(lambda: [user["user"] for user in one.system("app", {"usersInfo": 1})["users"]] == ["own=er,"], 20, "the former user to go")
    shop.write_credentials(username="__system")
    wait_until(lambda: one.has_logged("one of the engine's own"), 20, "the refusal")
    assert one.is_ready()


def test_replication_password_changes(cluster):
    """It is the members' key: each takes the new one at its start, and knows the one before too."""
    shop = cluster(replicas=2).start()
    one, two = shop.instances
    before = (one.run / "mongodb.key").read_text()
    shop.write_credentials(replicationPassword="another-copy")
    one.insert(1)
    two.stop()
    two.start().wait_ready()
    assert (two.run / "mongodb.key").read_text() != before
    wait_until(lambda: works(two, 1), 20, "the row, by the key before")
    one.stop()
    one.start().wait_ready()
    one.insert(2)
    wait_until(lambda: works(two, 2), 20, "the row, by the new key")
    assert (one.run / "mongodb.key").read_text() == (two.run / "mongodb.key").read_text()


def test_stale(cluster):
    """The oplog no longer reaches back: copied anew."""
    shop = cluster(replicas=2, settings=["--lost-ms=1000"]).start()
    one, two = shop.instances
    one.insert(1)
    wait_until(lambda: works(two, 1), 20, "the row")
    two.stop()
    one.insert(2)
    one.system("admin", {"standInTruncate": 1})
    (two.data / "old").touch()
    two.start()
    # The server copies while it runs: until it follows, what was there is kept.
    wait_until(lambda: (two.volume / "data.before" / "old").exists(), 40, "the old data to be put aside", every=0.002)
    wait_until(lambda: two.text().count("the data are copied") == 2, 40, "another copy")
    two.wait_ready()
    wait_until(lambda: works(two, 2), 20, "all rows")
    assert "oplog no longer reaches back" in two.text()
    wait_until(lambda: not (two.volume / "data.before").exists(), 20, "the old data to be removed")
    assert not (two.data / "old").exists() and (two.data / "proa-standby").exists()


def test_other_database(cluster):
    shop = cluster(replicas=2, settings=["--lost-ms=1000"]).start()
    one, two = shop.instances
    one.insert(1)
    wait_until(lambda: works(two, 1), 20, "the row")
    two.stop()
    one.stop()
    for file in one.volume.iterdir():
        file.rename(one.folder / f"former-{file.name}")
    one.start().wait_ready()
    one.insert(7)
    two.start()
    wait_until(lambda: "put aside" in two.text(), 40, "the data to be put aside")
    two.wait_ready()
    wait_until(lambda: works(two, 1) and two.rows() == [7], 20, "the other database's row")
    assert any(file.name.startswith("data.kept-") for file in two.volume.iterdir())


def test_metrics(cluster):
    shop = cluster(replicas=2, settings=["--metrics-ms=200"]).start()
    one, two = shop.instances
    one.insert(1, 2)
    wait_until(lambda: one.metrics().get('mongodb_ss_opcounters{legacy_op_type="insert"}') == 2, 20, "the inserts to be counted")
    metrics = one.metrics()
    assert metrics["mongodb_up"] == 1 and metrics["mongodb_rs_myState"] == 1
    assert metrics['mongodb_ss_connections{conn_type="available"}'] == 838857
    assert metrics["mongodb_ss_wt_cache_bytes_currently_in_the_cache"] == 91334
    assert metrics["mongodb_ss_wt_txn_transaction_begins"] == 99
    assert metrics["mongodb_ss_opLatencies_reads_latency"] == 1000
    assert metrics[f'mongodb_rs_members_state{{member_idx="{two.address}:27017"}}'] == 2
    assert not any(name.startswith("mongodb_ss_metrics_commands") for name in metrics)
