"""The operator against a real API server, with the rights of its manifests. No pods: where the StatefulSet controller would answer,
the test does."""
import base64
import json
import re
import signal
import time

import pytest
from kube import database, eventually

INVALID = [
    ({"engine": "oracle"}, "Unsupported value"),
    ({"version": None}, "Required value"),
    ({"version": "seventeen"}, "spec.version"),
    ({"replicas": 0}, "greater than or equal to 1"),
    ({"replicas": 8}, "less than or equal to 7"),
    ({"storageSize": "much"}, "spec.storageSize"),
    ({"storageSize": None}, "Required value"),
    ({"storageSize": "1Ki"}, "storageSize must be at least 64Mi"),
    ({"storageSize": "511Mi"}, "storageSize of postgres must be at least 512Mi"),
    ({"deletionPolicy": "Keep"}, "Unsupported value"),
    ({"parameters": {"port": "1"}}, "names a setting that the operator sets itself"),
    ({"parameters": {"Work_Mem": "1MB"}}, "written in lower case"),
    ({"parameters": {"work_mem": "1\n2"}}, "may not contain line breaks"),
    ({"engine": "mysql", "version": "8.4", "parameters": {"gtid_mode": "OFF"}}, "names a setting that the operator sets itself"),
    ({"engine": "mysql", "version": "8.4", "parameters": {"loose_port": "1"}}, "without a prefix"),
    ({"engine": "mongodb", "version": "8.0", "parameters": {"net.port": "1"}}, "names a setting that the operator sets itself"),
    ({"engine": "mongodb", "version": "8.0", "parameters": {"verbose": "1"}}, "paths of mongod.conf"),
    ({"resources": {"requests": {"cpu": "many"}}}, "requests must be quantities"),
    ({"unheard": 1}, "unknown field"),
]
CHANGES = [
    ({"engine": "mysql"}, "may not change after creation"),
    ({"version": "18"}, "version may only change within a major"),
    ({"storageSize": "512Mi"}, "storageSize may grow, but not shrink"),
    ({"storageClassName": "fast"}, "storageClassName may not change after creation"),
]


@pytest.fixture
def ready(kubectl, operator, namespace):
    """A Database whose instances serve."""
    kubectl.apply(database("shop", namespace))
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", namespace), what="StatefulSet")
    kubectl.serve(namespace, "shop")
    eventually(lambda: phase(kubectl, namespace) == "Ready", what="Ready")
    return namespace


def status(kubectl, namespace, name="shop"):
    return (kubectl.get("db", name, "-n", namespace) or {}).get("status", {})


def phase(kubectl, namespace, name="shop"):
    return status(kubectl, namespace, name).get("phase")


def condition(kubectl, namespace, kind, name="shop"):
    return next((c for c in status(kubectl, namespace, name).get("conditions", []) if c["type"] == kind), {})


def looks(log):
    """What came of each look at a Database."""
    return re.findall(r'"(applied|resynced)"', log)


def owned_versions(kubectl, namespace):
    kinds = "db,sts,svc,cm,secret,pdb,networkpolicy,sa,role,rolebinding"
    items = json.loads(kubectl("get", kinds, "-n", namespace, "-o", "json"))["items"]
    return {(i["kind"], i["metadata"]["name"]): i["metadata"]["resourceVersion"] for i in items}


def settled(kubectl, namespace):
    """The versions, once they have stayed for a second."""
    def stay():
        seen = owned_versions(kubectl, namespace)
        time.sleep(1)
        return seen if owned_versions(kubectl, namespace) == seen else None

    return eventually(stay, what="versions that stay")


def test_invalid_specs_are_rejected(kubectl, manifests, namespace):
    for number, (spec, message) in enumerate(INVALID):
        done = kubectl.run("apply", "-f", "-", text=database(f"bad-{number}", namespace, **spec))
        assert done.returncode != 0, spec
        assert message in done.stderr, (spec, done.stderr)
    for name in ("x" * 41, "1st", "a.b"):
        done = kubectl.run("apply", "-f", "-", text=database(name, namespace))
        assert "metadata.name must be a DNS-1035 label" in done.stderr, done.stderr
    kubectl.apply(database("good", namespace))
    for spec, message in CHANGES:
        done = kubectl.run("apply", "-f", "-", text=database("good", namespace, **spec))
        assert message in done.stderr, (spec, done.stderr)
    kubectl.apply(database("good", namespace, version="17.2", storageSize="2Gi", replicas=7))
    kubectl("delete", "db", "good", "-n", namespace)


def test_from_apply_to_ready_and_nothing_after_a_restart(kubectl, operator, ready):
    table = kubectl("get", "db", "-n", ready).splitlines()
    assert table[0].split() == ["NAME", "ENGINE", "VERSION", "REPLICAS", "READY", "PHASE", "AGE"]
    assert table[1].split()[:6] == ["shop", "postgres", "17", "2", "2", "Ready"]
    told = kubectl("describe", "db", "shop", "-n", ready)
    assert "Current Primary:" in told and "shop-0" in told and f"shop-rw.{ready}.svc:5432" in told and "Ready" in told
    eventually(lambda: "made what postgres" in kubectl("get", "events", "-n", ready), what="event")
    data = kubectl.get("secret", "shop-credentials", "-n", ready)["data"]
    assert {"username", "password", "replicationPassword", "agentToken"} == set(data)
    assert base64.b64decode(data["password"]).decode() not in operator.log()
    before = settled(kubectl, ready)
    operator.kill()
    seen = len(operator.log())
    operator.start()
    eventually(lambda: looks(operator.log()[seen:]), 40, "a new leader's first look")
    time.sleep(1)
    assert owned_versions(kubectl, ready) == before


def test_scale_and_repair(kubectl, operator, ready):
    kubectl("scale", "db", "shop", "--replicas=3", "-n", ready)
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 3)
    assert "less than or equal to 7" in kubectl.run("scale", "db", "shop", "--replicas=8", "-n", ready).stderr
    kubectl("delete", "service", "shop-rw", "-n", ready)
    eventually(lambda: kubectl.get("service", "shop-rw", "-n", ready), what="Service made again")
    kubectl("patch", "configmap", "shop-config", "-n", ready, "--type=merge", "-p", '{"data":{"engine.conf":"x"}}')
    eventually(lambda: "wal_level" in kubectl.get("configmap", "shop-config", "-n", ready)["data"]["engine.conf"])
    kubectl("label", "service", "shop-ro", "-n", ready, "app.kubernetes.io/managed-by-")
    eventually(lambda: "app.kubernetes.io/managed-by" in kubectl.get("service", "shop-ro", "-n", ready)["metadata"]["labels"])
    kubectl("patch", "secret", "shop-credentials", "-n", ready, "--type=merge", "-p", '{"data":{"password":""}}')
    eventually(lambda: kubectl.get("secret", "shop-credentials", "-n", ready)["data"]["password"])
    kubectl("delete", "secret", "shop-credentials", "-n", ready)
    eventually(lambda: kubectl.get("secret", "shop-credentials", "-n", ready))


def test_another_manager_takes_a_field(kubectl, operator, ready):
    taken = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "shop", "namespace": ready},
             "spec": {"replicas": 5}}
    kubectl("apply", "--server-side", "--force-conflicts", "--field-manager=somebody", "-f", "-", text=json.dumps(taken))
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 2, what="taken back")


def test_api_server_away_and_back(kubectl, operator, ready):
    if not kubectl.lab:
        pytest.skip("not our API server")
    kubectl.signal_api_server(signal.SIGSTOP)
    try:
        time.sleep(8)
        assert operator.process.poll() is None
    finally:
        kubectl.signal_api_server(signal.SIGCONT)
    kubectl("scale", "db", "shop", "--replicas=4", "-n", ready)
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 4, 60, "work goes on")
    assert operator.process.poll() is None


def test_what_is_not_ours_is_left_alone(kubectl, operator, namespace):
    kubectl("create", "service", "clusterip", "shop-rw", "--tcp=1", "-n", namespace)
    kubectl.apply(database("shop", namespace))
    eventually(lambda: phase(kubectl, namespace) == "Failed")
    degraded = condition(kubectl, namespace, "Degraded")
    assert degraded["reason"] == "ObjectExists" and "shop-rw" in degraded["message"] and "delete it" in degraded["message"]
    assert kubectl.get("service", "shop-rw", "-n", namespace)["spec"]["ports"][0]["port"] == 1
    assert not kubectl.get("statefulset", "shop", "-n", namespace)
    eventually(lambda: "ObjectExists" in kubectl("get", "events", "-n", namespace))
    kubectl("delete", "service", "shop-rw", "-n", namespace)
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", namespace), 40, "going on once it is gone")


def test_mistakes_that_only_the_operator_sees(kubectl, operator, namespace):
    kubectl.apply(database("old", namespace, version="9.6"))
    kubectl.apply(database("keys", namespace, credentialsSecretName="mine"))
    kubectl("create", "secret", "generic", "reserved", "--from-literal=username=postgres", "--from-literal=password=b",
            "-n", namespace)
    kubectl.apply(database("named", namespace, credentialsSecretName="reserved"))
    kubectl.apply(database("quota", namespace, resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}))
    eventually(lambda: all(phase(kubectl, namespace, name) == "Failed" for name in ("old", "keys", "named", "quota")))
    assert "majors 14 to 18" in condition(kubectl, namespace, "Degraded", "old")["message"]
    assert "create it with the keys" in condition(kubectl, namespace, "Degraded", "keys")["message"]
    assert "choose another username" in condition(kubectl, namespace, "Degraded", "named")["message"]
    assert condition(kubectl, namespace, "Degraded", "quota")["reason"] == "Rejected"
    kubectl("create", "secret", "generic", "mine", "--from-literal=username=a", "--from-literal=password=b", "-n", namespace)
    eventually(lambda: kubectl.get("statefulset", "keys", "-n", namespace), 40, "the Secret is found")


CLAIM = {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
         "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "none"}}


def bound_claim(kubectl, namespace, index, storage_class):
    """A claim as the StatefulSet controller makes it, bound by hand."""
    volume = f"{namespace}-{index}"
    kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume},
                              "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                                       "storageClassName": storage_class, "hostPath": {"path": "/nowhere"}}}))
    labels = {"app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "database-operator"}
    spec = CLAIM["spec"] | {"storageClassName": storage_class, "volumeName": volume}
    name = f"data-shop-{index}"
    kubectl.apply(json.dumps(CLAIM | {"metadata": {"name": name, "namespace": namespace, "labels": labels}, "spec": spec}))
    kubectl.set_status("pvc", namespace, name, {"phase": "Bound", "capacity": {"storage": "1Gi"}})


def grown(kubectl, namespace, index):
    kubectl.set_status("pvc", namespace, f"data-shop-{index}", {"phase": "Bound", "capacity": {"storage": "2Gi"}})


def storage_class(kubectl, name, expands):
    kubectl.apply(json.dumps({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name},
                              "provisioner": "example.com/none", "allowVolumeExpansion": expands}))


def orphan(kubectl, namespace):
    """The garbage collector's part of a deletion that leaves the pods: its finalizer is taken off."""
    kind = kubectl.get("statefulset", "shop", "-n", namespace)
    if kind and kind["metadata"].get("deletionTimestamp"):
        assert kind["metadata"]["finalizers"] == ["orphan"]
        kubectl("patch", "statefulset", "shop", "-n", namespace, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    elif kind:
        template = kind["spec"]["volumeClaimTemplates"][0]
        return template["spec"]["resources"]["requests"]["storage"] == "2Gi"
    return False


def test_storage_grows(kubectl, operator, ready):
    storage_class(kubectl, "grows", True)
    for index in range(2):
        bound_claim(kubectl, ready, index, "grows")
    before = kubectl.get("statefulset", "shop", "-n", ready)["metadata"]["uid"]
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"storageSize":"2Gi"}}')
    eventually(lambda: orphan(kubectl, ready), what="another StatefulSet")
    assert kubectl.get("statefulset", "shop", "-n", ready)["metadata"]["uid"] != before
    for index in range(2):
        claim = kubectl.get("pvc", f"data-shop-{index}", "-n", ready)
        assert claim["spec"]["resources"]["requests"]["storage"] == "2Gi"
    eventually(lambda: kubectl.serve(ready, "shop") or
               (phase(kubectl, ready), condition(kubectl, ready, "Progressing")["reason"]) == ("Running", "ExpandingStorage"),
               what="asked for, which is not done")
    for index in range(2):
        grown(kubectl, ready, index)
    eventually(lambda: phase(kubectl, ready) == "Ready", what="grown")


def test_storage_class_that_does_not_grow(kubectl, operator, ready):
    storage_class(kubectl, "fixed", False)
    bound_claim(kubectl, ready, 0, "fixed")
    before = kubectl.get("statefulset", "shop", "-n", ready)["metadata"]["uid"]
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"storageSize":"2Gi"}}')
    eventually(lambda: condition(kubectl, ready, "Degraded").get("reason") == "StorageExpansionRefused")
    assert phase(kubectl, ready) == "Ready"
    assert kubectl.get("statefulset", "shop", "-n", ready)["metadata"]["uid"] == before


def test_deleted_and_made_again(kubectl, operator, ready):
    bound_claim(kubectl, ready, 0, "grows")
    password = kubectl.get("secret", "shop-credentials", "-n", ready)["data"]["password"]
    kubectl("delete", "db", "shop", "-n", ready, "--timeout=30s")
    kept = kubectl.get("secret", "shop-credentials", "-n", ready)
    assert "ownerReferences" not in kept["metadata"] and kept["data"]["password"] == password
    assert kubectl.get("pvc", "data-shop-0", "-n", ready)
    for kind in ("statefulset/shop", "configmap/shop-config", "service/shop-rw", "service/shop-ro", "service/shop-headless",
                 "pdb/shop", "networkpolicy/shop", "sa/shop-agent", "role/shop-agent", "rolebinding/shop-agent"):
        kubectl("delete", kind, "-n", ready, "--ignore-not-found")  # the garbage collector's part
    kubectl.apply(database("shop", ready, deletionPolicy="Delete"))
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready), what="StatefulSet made again")
    again = kubectl.get("secret", "shop-credentials", "-n", ready)
    assert again["data"]["password"] == password and again["metadata"]["ownerReferences"][0]["name"] == "shop"
    kubectl("delete", "db", "shop", "-n", ready, "--timeout=30s")
    gone = kubectl.get("pvc", "data-shop-0", "-n", ready)
    assert gone is None or gone["metadata"].get("deletionTimestamp")


def restart(kubectl, namespace, name="shop"):
    """The StatefulSet controller's part: what is missing is made by the present template, and is ready at once."""
    kind = kubectl.get("statefulset", name, "-n", namespace)
    template = kind["spec"]["template"]
    for index in range(kind["spec"]["replicas"]):
        pod = f"{name}-{index}"
        if kubectl.get("pod", pod, "-n", namespace):
            continue
        template["spec"]["volumes"].append({"name": "data", "emptyDir": {}})
        kubectl.apply(json.dumps({"apiVersion": "v1", "kind": "Pod",
                                  "metadata": template["metadata"] | {"name": pod, "namespace": namespace},
                                  "spec": template["spec"]}))
        template["spec"]["volumes"].pop()
        kubectl.set_status("pod", namespace, pod, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    kubectl.serve(namespace, name)


def test_restarts_one_by_one_and_in_order(kubectl, operator, ready):
    kubectl("scale", "db", "shop", "--replicas=3", "-n", ready)
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 3)
    restart(kubectl, ready)
    roles = [kubectl.get("pod", f"shop-{i}", "-n", ready) for i in range(3)]
    eventually(lambda: [kubectl.get("pod", f"shop-{i}", "-n", ready)["metadata"]["labels"].get("database.example.com/role")
                        for i in range(3)] == ["primary", "replica", "replica"], what="role labels")
    uids = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in roles}
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"parameters":{"work_mem":"9MB"}}}')
    order = []
    while len(order) < 3:
        eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["metadata"]["generation"] >
                   kubectl.get("statefulset", "shop", "-n", ready)["status"].get("observedGeneration", 0) or order)
        kubectl.serve(ready, "shop")
        gone = eventually(lambda: [name for name in uids if name not in order and
                                   not kubectl.get("pod", name, "-n", ready)], what=f"a restart after {order}")
        time.sleep(1)
        assert [name for name in uids if not kubectl.get("pod", name, "-n", ready)] == gone and len(gone) == 1
        order += gone
        restart(kubectl, ready)
    assert order == ["shop-2", "shop-1", "shop-0"]
    eventually(lambda: phase(kubectl, ready) == "Ready")


def test_a_refused_change_holds_up_nothing_else(kubectl, operator, ready):
    """The API server refuses the new template: what runs is looked after all the same."""
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p",
            '{"spec":{"resources":{"requests":{"memory":"2Gi"},"limits":{"memory":"1Gi"}}}}')
    eventually(lambda: condition(kubectl, ready, "Degraded").get("reason") == "Rejected")
    kubectl("delete", "service/shop-rw", "pdb/shop", "-n", ready)
    eventually(lambda: kubectl.get("service", "shop-rw", "-n", ready) and kubectl.get("pdb", "shop", "-n", ready),
               what="both made again")
    restart(kubectl, ready)
    eventually(lambda: [kubectl.get("pod", f"shop-{i}", "-n", ready)["metadata"]["labels"].get("database.example.com/role")
                        for i in range(2)] == ["primary", "replica"], what="role labels")
    assert phase(kubectl, ready) == "Failed"


POLICY = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "spec": {
    "failurePolicy": "Fail", "validations": [{"expression": "false", "message": "pods are not to be changed"}],
    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE", "DELETE"],
                                            "resources": ["pods"]}]}}}
BINDING = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "spec": {
    "policyName": "no-pods", "validationActions": ["Deny"]}}


def test_a_policy_that_forbids_changing_pods(kubectl, operator, ready):
    """It is told what is refused and what to do, the status goes on, and so does the rest."""
    restart(kubectl, ready)
    eventually(lambda: phase(kubectl, ready) == "Ready" and
               kubectl.get("pod", "shop-1", "-n", ready)["metadata"]["labels"].get("database.example.com/role"))
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ready}}}
    kubectl.apply(json.dumps(POLICY | {"metadata": {"name": "no-pods"}}))
    kubectl.apply(json.dumps(BINDING | {"metadata": {"name": "no-pods"}, "spec": BINDING["spec"] | {"matchResources": where}}))
    try:
        eventually(lambda: "pods are not to be changed" in
                   kubectl.run("label", "pod", "shop-1", "x=y", "--overwrite", "-n", ready).stderr, 40, "the policy holds")
        kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"parameters":{"work_mem":"9MB"}}}')
        degraded = eventually(lambda: kubectl.serve(ready, "shop") or
                              ((told := condition(kubectl, ready, "Degraded")).get("reason") == "Rejected" and told), 60, "Rejected")
        assert "pods are not to be changed" in degraded["message"] and "let the operator" in degraded["message"]
        whole = kubectl.get("db", "shop", "-n", ready)
        assert whole["status"]["observedGeneration"] == whole["metadata"]["generation"]
        assert kubectl.get("pod", "shop-0", "-n", ready) and kubectl.get("pod", "shop-1", "-n", ready)
        kubectl("delete", "service", "shop-ro", "-n", ready)
        eventually(lambda: kubectl.get("service", "shop-ro", "-n", ready), what="the rest goes on")
    finally:
        kubectl("delete", "validatingadmissionpolicybinding/no-pods", "validatingadmissionpolicy/no-pods")
    eventually(lambda: not kubectl.get("pod", "shop-1", "-n", ready), 90, "the restart, once it is allowed")


def test_paused(kubectl, operator, ready):
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"paused":true,"replicas":3}}')
    eventually(lambda: condition(kubectl, ready, "Progressing").get("reason") == "Paused")
    assert kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 2
    kubectl("patch", "db", "shop", "-n", ready, "--type=merge", "-p", '{"spec":{"paused":false}}')
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", ready)["spec"]["replicas"] == 3)
