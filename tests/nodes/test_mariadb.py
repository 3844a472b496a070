"""A real MariaDB on real nodes, from its sample, by the operator in the cluster."""
import json
import re

from lab import ROOT, forwarded, fetch, until

SAMPLE = ROOT / "deploy" / "samples" / "mariadb.yaml"


def client(story, service, sql):
    """From a pod of its own, by the Service."""
    return story.kubectl.run("exec", "wiki-1", "-n", story.namespace, "-c", "database", "--", "env", f"MYSQL_PWD={story.password('wiki')}",
                             "mariadb", "-h", f"wiki-{service}", "-u", "app", "-N", "-B", "app", "-e", sql)


def wait_ready(story, replicas, seconds, what):
    def is_ready():
        found = story.get("db", "wiki") or {}
        status = found.get("status", {})
        return (status.get("observedGeneration") == found.get("metadata", {}).get("generation") and status.get("phase") == "Ready"
                and status["replicasReady"] == replicas)

    until(is_ready, seconds, what)


def rows(story, index):
    done = story.kubectl.run("exec", f"wiki-{index}", "-n", story.namespace, "-c", "database", "--", "env",
                             f"MYSQL_PWD={story.password('wiki')}", "mariadb", "-h", f"wiki-{index}.wiki-headless", "-u", "app", "-N", "-B",
                             "app", "-e", "select concat(k, @@max_connections) from kept order by k")
    return done.stdout.split()


def test_mariadb(story):
    """Made, read, killed, restarted with another setting, scaled, removed."""
    story.install_operator()
    story.kubectl.apply(SAMPLE.read_text().replace("namespace: default", f"namespace: {story.namespace}"))
    wait_ready(story, 2, 90, "two instances")
    until(lambda: client(story, "rw", "select 1").stdout == "1\n", 30, "the Service leads to the primary")
    written = client(story, "rw", "create table kept(k varchar(9) primary key); insert into kept values ('first')")
    assert written.returncode == 0, written.stderr
    until(lambda: client(story, "ro", "select k from kept").stdout == "first\n", 30, "the row on the standby")
    assert "--read-only" in client(story, "ro", "insert into kept values ('no')").stderr
    with forwarded(story, "wiki-0", 8008) as url:
        until(lambda: re.search(r"^mysql_up(\{.*\})? 1$", fetch(url + "/metrics")[1], re.M), 30, "the engine's metrics")
    if story.cluster.kubelab:
        before = story.restarts("wiki-0")
        story.cluster.kill("/proa/database-operator agent", POD_NAMESPACE=story.namespace, POD_NAME="wiki-0")
        until(lambda: story.restarts("wiki-0") > before, 60, "the container again")
    story.kubectl("patch", "db", "wiki", "-n", story.namespace, "--type=merge", "-p",
                  json.dumps({"spec": {"replicas": 3, "parameters": {"max_connections": "77"}}}))
    wait_ready(story, 3, 120, "three instances with another setting")
    until(lambda: [rows(story, i) for i in range(3)] == [["first77"]] * 3, 30, "the row and the setting in all of them")
    story.kubectl("patch", "db", "wiki", "-n", story.namespace, "--type=merge", "-p", '{"spec": {"deletionPolicy": "Delete"}}')
    story.kubectl("delete", "db", "wiki", "-n", story.namespace, "--timeout=50s")
    until(lambda: not [c for c in story.get("pvc")["items"] if "wiki" in c["metadata"]["name"]], 60, "the claims go")
