"""Real PostgreSQL on real nodes. The tests are one story and run in this order: each begins with what the one before left. While the
writer writes, the operator runs outside under the sanitizers and is killed every few seconds."""
import json
import re
import time

import pytest
from lab import SYSTEM, fetch, forwarded, until

NEW_PASSWORD = "another-password-1"
pytestmark = pytest.mark.usefixtures("in_order")
SEEN = {"failed": False}


@pytest.fixture
def in_order(request):
    """What comes after a failure would only fail again."""
    if SEEN["failed"]:
        pytest.skip("an earlier part of the story failed")
    SEEN["failed"] = True
    yield
    report = getattr(request.node, "report_of_call", None)
    SEEN["failed"] = bool(report and report.failed)


def test_apply_to_ready(story):
    """The operator in the cluster, from its manifests; killed while the instances start."""
    kubectl = story.kubectl
    story.install_operator()
    start = time.monotonic()
    story.apply()
    until(lambda: story.pod(0), 20, "an instance's pod")
    if story.cluster.kubelab:
        story.cluster.kill("/database-operator run", POD_NAMESPACE=SYSTEM)
    else:
        kubectl("delete", "pod", "-n", SYSTEM, "-l", "app.kubernetes.io/name=database-operator", "--force", "--grace-period=0")
    story.wait_ready(90, "three instances")
    story.figures["from apply to Ready, 3 instances"] = time.monotonic() - start
    table = [line.split() for line in kubectl("get", "db", "-n", story.namespace).splitlines()]
    assert table[0] == ["NAME", "ENGINE", "VERSION", "REPLICAS", "READY", "PHASE", "AGE"]
    assert table[1][:6] == ["shop", "postgres", "17", "3", "3", "Ready"]
    roles = [story.pod(i)["metadata"]["labels"].get("database.example.com/role") for i in range(3)]
    assert roles == ["primary", "replica", "replica"]
    assert len({story.cluster.node_of(story.namespace, f"shop-{i}") for i in range(3)}) > 1
    events = kubectl("get", "events", "-n", story.namespace)
    assert "InstanceFailing" not in events, events


def test_written_by_rw_is_read_by_ro(story):
    story.start_client()
    # Who is ready comes to the Services' rules a moment later.
    for service in ("rw", "ro"):
        story.wait_sql("select 1", "1", 30, f"the Service -{service} leads somewhere", service)
    story.sql("create table kept(key text primary key); insert into kept values ('first')")
    assert story.sql("select pg_is_in_recovery()", "rw") == "f"
    assert story.sql("select pg_is_in_recovery()", "ro") == "t"
    story.wait_sql("select key from kept", "first", 30, "the row on a standby", "ro")
    assert "read-only" in story.try_sql("insert into kept values ('no')", "ro").stderr
    assert story.try_sql("select 1", password="wrong").returncode != 0
    assert "password authentication failed" in story.try_sql("select 1", password="wrong").stderr
    streaming = "select count(*) from pg_stat_replication where state = 'streaming'"
    until(lambda: story.local_sql(0, streaming) == "2", 30, "both standbys stream")


def test_the_agents_port(story):
    """Probes and metrics are open, the rest wants the token; the agent's account may read its own Database and nothing else."""
    with forwarded(story, "shop-1", 8008) as url:
        until(lambda: fetch(url + "/livez")[0] == fetch(url + "/readyz")[0] == 200, 20, "the probes are open")
        assert fetch(url + "/v1/status")[0] == fetch(url + "/v1/status", "wrong")[0] == 401
        code, text = fetch(url + "/v1/status", story.token())
        assert code == 200 and json.loads(text)["role"] == "standby", text
    me = f"system:serviceaccount:{story.namespace}:shop-agent"
    may = {("get", "database/shop"): "yes", ("get", "database/other"): "no", ("get", "secrets"): "no", ("list", "pods"): "no",
           ("patch", "database/shop"): "no"}
    for (verb, what), answer in may.items():
        done = story.kubectl.run("auth", "can-i", verb, what, "-n", story.namespace, f"--as={me}")
        assert done.stdout.strip() == answer, (verb, what, done)


def test_metrics(story):
    """They are asked for every ten seconds: what began a moment ago may come with the next answer."""
    standbys = r'^pg_stat_replication_pg_wal_lsn_diff\{.*application_name="(shop-\d)".*\} \d'

    with forwarded(story, "shop-0", 8008) as url:
        until(lambda: re.search(r"^pg_up(\{.*\})? 1$", fetch(url + "/metrics")[1], re.M), 30, "the engine's metrics")
        until(lambda: set(re.findall(standbys, fetch(url + "/metrics")[1], re.M)) == {"shop-1", "shop-2"}, 30, "both standbys")


def other_node(story, node):
    nodes = [n["metadata"]["name"] for n in story.kubectl.get("nodes")["items"] if story.cluster.is_node_ready(n["metadata"]["name"])]
    return next((n for n in nodes if n != node), node)


def test_the_writer_begins_and_the_operator_dies(story):
    story.writers_node = other_node(story, story.cluster.node_of(story.namespace, "shop-0"))
    story.start_writer(story.writers_node)
    story.start_outside()


def test_a_standby_is_deleted(story):
    before = story.uid(2)
    with story.chapter("a standby's pod deleted"):
        story.kubectl("delete", "pod", "shop-2", "-n", story.namespace, "--wait=false")
        until(lambda: story.uid(2) not in (before, None), 40, "another pod")
        story.wait_ready(60, "after a standby's death")


def delete_primary(story):
    """Its pod; the next one is on a node that the writer is not on."""
    before = story.uid(0)
    story.kubectl("cordon", story.writers_node)
    with story.chapter("the primary's pod deleted"):
        story.kubectl("delete", "pod", "shop-0", "-n", story.namespace, "--wait=false")
        until(lambda: story.uid(0) not in (before, None), 40, "another pod")
        story.wait_ready(60, "after the primary's death")
    story.kubectl("uncordon", story.writers_node)


def test_the_primary_is_deleted(story):
    delete_primary(story)
    assert story.status()["currentPrimary"] == "shop-0"


def test_the_primarys_processes_are_killed(story):
    """Without a warning: first the engine below its agent, then the agent and all with it."""
    with story.chapter("the primary's engine killed"):
        story.kubectl("exec", "shop-0", "-n", story.namespace, "-c", "database", "--", "sh", "-c", "read pid </var/lib/database/data/postmaster.pid; kill -9 $pid")
    story.wait_ready(60, "after the engine's death")
    if not story.cluster.kubelab:
        return
    before = story.restarts("shop-0")
    with story.chapter("the primary's process 1 killed"):
        story.cluster.kill("/proa/database-operator agent", POD_NAMESPACE=story.namespace, POD_NAME="shop-0")
        until(lambda: story.restarts("shop-0") > before, 40, "the container again")
        story.wait_ready(60, "after the agent's death")


def test_a_parameter_changes(story):
    """Standbys first, the primary last, one at a time."""
    before = [story.uid(i) for i in range(3)]
    with story.chapter("a parameter changed, all restarted one by one"):
        story.apply(parameters={"work_mem": "7MB"})
        until(lambda: all(story.uid(i) not in (before[i], None) for i in range(3)), 120, "three other pods")
        story.wait_ready(60, "with another work_mem")
    made = [story.pod(i)["metadata"]["creationTimestamp"] for i in range(3)]
    assert made[0] > max(made[1:]) and made[1] != made[2], made
    assert [story.local_sql(i, "show work_mem") for i in range(3)] == ["7MB"] * 3


def test_scale_to_one_and_back(story):
    slots = "select count(*) from pg_replication_slots"
    story.old_password = story.password()
    # What the next test is about: the kubelet takes a minute to bring it to the instances.
    story.kubectl("patch", "secret", "shop-credentials", "-n", story.namespace, "--type=merge", "-p",
                  json.dumps({"stringData": {"password": NEW_PASSWORD}}))
    with story.chapter("scaled from 3 to 1"):
        story.kubectl("scale", "db", "shop", "--replicas=1", "-n", story.namespace)
        story.spec["replicas"] = 1
        story.wait_ready(60, "one instance")
        until(lambda: not story.pod(1) and not story.pod(2), 60, "the standbys are gone")
        until(lambda: story.local_sql(0, slots) == "0", 60, "their slots are gone")
    passwords = (story.old_password, NEW_PASSWORD)
    until(lambda: "t" in [story.try_sql("select count(*) > 0 from kept", "ro", password).stdout.strip() for password in passwords], 30,
          "the one that is left is read by -ro")
    with story.chapter("scaled from 1 to 3"):
        story.kubectl("scale", "db", "shop", "--replicas=3", "-n", story.namespace)
        story.spec["replicas"] = 3
        story.wait_ready(90, "three instances again")
    until(lambda: story.local_sql(0, slots) == "2", 30, "a slot for each standby")


def test_the_password_has_changed(story):
    """Without a restart; connections that are there live on."""
    with story.chapter("the password changed"):
        until(lambda: story.try_sql("select 1", password=NEW_PASSWORD).stdout.strip() == "1", 120, "the engine takes the password over",
              pause=1)
    assert story.try_sql("select 1", password=story.old_password).returncode != 0
    story.wait_sql("select count(*) > 0 from kept", "t", 30, "the standbys take it too", "ro")
    assert story.password() == NEW_PASSWORD


def test_power_off_and_on(story):
    """The primary's node. Nobody else becomes primary; what the standbys have is read meanwhile."""
    if not story.cluster.kubelab:
        pytest.skip("not our nodes: the power switch is kubelab's")
    if story.cluster.node_of(story.namespace, "shop-0") == story.writers_node:
        delete_primary(story)  # a restart has brought it there
    node = story.cluster.node_of(story.namespace, "shop-0")
    assert node != story.writers_node
    with story.chapter("the primary's node off until NotReady, and on"):
        story.cluster.power(node, "stop")
        until(lambda: not story.cluster.is_node_ready(node), 60, "NotReady")
        # Instances of the node are seen to go one after the other.
        until(lambda: story.status().get("phase") == "Running" and story.conditions()["Ready"]["reason"] == "PrimaryNotReady" and
              story.conditions()["Degraded"]["status"] == "True", 40, "a status that tells it")
        if story.cluster.node_of(story.namespace, "client") != node:
            story.wait_sql("select count(*) > 0 from kept", "t", 30, "standbys are read", "ro")
        story.cluster.power(node, "start")
        story.wait_ready(120, "after the power cut")


def test_no_acknowledged_write_is_lost(story, capsys):
    story.stop_dying()
    assert story.dying_deaths > 10
    told = [key for _, key in story.acknowledged()]
    assert len(told) == len(set(told)) and len(told) > 100
    times = story.times_without_writer()
    story.kubectl("delete", "pod", "writer", "-n", story.namespace)
    for index in range(3):
        until(lambda i=index: not set(told) - set(story.local_sql(i, "select key from kept").split()), 30 if index else 1,
              f"all {len(told)} acknowledged rows in shop-{index}")
    sums = "select md5(string_agg(key, ',' order by key)) from kept"
    until(lambda: len({story.local_sql(i, sums) for i in range(3)}) == 1, 30, "the same rows in all instances")
    with capsys.disabled():
        print(f"\nnodes: {len(told)} rows acknowledged, none lost; the operator was killed {story.dying_deaths} times (seed {story.seed})")
        for what, seconds in times:
            print(f"nodes: {seconds:5.1f} s without a writer: {what}")
        for what, seconds in story.figures.items():
            print(f"nodes: {seconds:5.1f} s {what}")


def test_deleted_and_made_again(story):
    """Retain, the default: volumes and credentials stay, and are taken up."""
    # Its node may have been switched off and on.
    story.wait_sql("select 1", "1", 40, "the client runs")
    rows, password = story.sql("select count(*) from kept"), story.password()
    story.kubectl("delete", "db", "shop", "-n", story.namespace, "--timeout=50s")
    until(lambda: not any(story.pod(i) for i in range(3)), 60, "the instances stop")
    claims = {f"data-shop-{i}" for i in range(3)}
    assert claims <= {c["metadata"]["name"] for c in story.get("pvc")["items"]}
    story.apply()
    story.wait_ready(90, "made again")
    story.wait_sql("select count(*) from kept", rows, 30, f"all {rows} rows")
    assert story.password() == password


def test_delete_removes_all(story):
    story.apply(deletionPolicy="Delete")
    story.wait_ready(40, "with another policy")
    story.kubectl("delete", "db", "shop", "-n", story.namespace, "--timeout=50s")
    until(lambda: not [claim for claim in story.get("pvc")["items"] if "shop" in claim["metadata"]["name"]] and
          not story.get("secret", "shop-credentials"), 60, "claims and Secret go")

    def left():
        """The garbage collector takes what the Database owned after it."""
        kinds = "all,pvc,secret,cm,pdb,networkpolicy,sa,role,rolebinding"
        names = story.kubectl("get", kinds, "-n", story.namespace, "-o", "name").split()
        return [name for name in names if "shop" in name]

    until(lambda: not left(), 60, lambda: f"gone: {left()}")
    if story.cluster.kubelab:
        until(lambda: not list((story.kubectl.lab / "volumes").iterdir()), 30, "the volumes' data go")
