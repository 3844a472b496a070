"""The rights in the manifests are those that the operator uses, all of them and no more: what it does through a whole story is read
from the API server's audit log. Needs API servers of our own."""
import contextlib
import http.server
import json
import os
import ssl
import subprocess
import threading

import pytest
from kube import Kubectl, Operator, binary, database, eventually
from test_database_operator import bound_claim, condition, grown, orphan, phase, restart, storage_class

NAMESPACE = "database-operator"
USER = f"system:serviceaccount:{NAMESPACE}:database-operator"
POLICY = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived", "ResponseStarted"],
          "rules": [{"level": "Metadata", "users": [USER]}, {"level": "None"}]}
MONITORS = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
            "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced",
                     "names": {"kind": "ServiceMonitor", "plural": "servicemonitors"},
                     "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                         "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}
LABELS = {"app": "mine"}
POD = {"containers": [{"name": "a", "image": "a"}]}
# Objects of the names that a Database's have, made by somebody else: the operator looks whose they are.
FOREIGN = {
    "secret": ({"kind": "Secret", "apiVersion": "v1"}, "{}-credentials"),
    "configmap": ({"kind": "ConfigMap", "apiVersion": "v1"}, "{}-config"),
    "service": ({"kind": "Service", "apiVersion": "v1", "spec": {"ports": [{"port": 1}]}}, "{}-rw"),
    "sa": ({"kind": "ServiceAccount", "apiVersion": "v1"}, "{}-agent"),
    "role": ({"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "rules": []}, "{}-agent"),
    "rolebinding": ({"kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
                     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"}}, "{}-agent"),
    "pdb": ({"kind": "PodDisruptionBudget", "apiVersion": "policy/v1",
             "spec": {"maxUnavailable": 1, "selector": {"matchLabels": LABELS}}}, "{}"),
    "networkpolicy": ({"kind": "NetworkPolicy", "apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}}, "{}"),
    "statefulset": ({"kind": "StatefulSet", "apiVersion": "apps/v1",
                     "spec": {"serviceName": "a", "selector": {"matchLabels": LABELS},
                              "template": {"metadata": {"labels": LABELS}, "spec": POD}}}, "{}"),
    "servicemonitor": ({"kind": "ServiceMonitor", "apiVersion": "monitoring.coreos.com/v1"}, "{}"),
    "pvc": ({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
             "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}, "data-{}-0"),
}


class Lab:
    """An API server with an audit log of what the operator asked, and the operator with the rights of its manifests."""

    def __init__(self, folder, *flags, settings=()):
        self.kubelab, self.folder, self.audit = f"{os.environ['PROA_KUBERNETES']}/kubelab", folder / "api", folder / "audit"
        folder.mkdir()
        (folder / "policy").write_text(json.dumps(POLICY))
        subprocess.run([self.kubelab, "api-up", str(self.folder), "--", f"--audit-policy-file={folder}/policy",
                        f"--audit-log-path={self.audit}", *flags], check=True, stdout=subprocess.DEVNULL)
        self.kubectl = Kubectl(str(self.folder / "admin.kubeconfig"), self.folder)
        self.kubectl.apply(subprocess.run([binary(), "manifests", "--", *settings], check=True, capture_output=True, text=True).stdout)
        self.kubectl.apply(json.dumps(MONITORS))
        for name in ("databases.database.example.com", "servicemonitors.monitoring.coreos.com"):
            self.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=20s")
        self.operator = Operator(self.kubectl, folder, *settings)

    def used(self):
        """(verb, group, resource, where), where is a namespace and name where the rights are of a namespace. An apply that makes an
        object is a patch, and needs the right to create too."""
        rights = set()
        whole, _, _ = self.audit.read_text().rpartition("\n")  # the API server may be writing the last line
        for line in filter(None, whole.split("\n")):
            entry = json.loads(line)
            target = entry.get("objectRef")
            if not target or target["resource"] == "selfsubjectaccessreviews":
                continue
            resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
            where = (target["namespace"], target.get("name", "")) if resource == "leases" else None
            verbs = {entry["verb"]} | ({"create"} if entry["responseStatus"]["code"] == 201 else set())
            rights |= {(verb, target.get("apiGroup", ""), resource,
                        where and (where[0], "") if verb == "create" else where) for verb in verbs}
        return rights

    def granted(self):
        """The same of the manifests' rules."""
        def rules(kind, where):
            for rule in self.kubectl.get(*kind)["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        for name in rule.get("resourceNames", [""]):
                            for verb in rule["verbs"]:
                                yield verb, group, resource, where and (where, name)
        return set(rules(("clusterrole", "database-operator"), None)) | \
            set(rules(("role", "database-operator-leader", "-n", NAMESPACE), NAMESPACE))

    def down(self):
        self.operator.process.kill()
        self.operator.process.wait()
        subprocess.run([self.kubelab, "api-down", str(self.folder)], check=False, stdout=subprocess.DEVNULL)


@pytest.fixture
def start(tmp_path):
    if not os.environ.get("PROA_KUBERNETES"):
        pytest.skip("no API server with an audit log: set PROA_KUBERNETES (tests/README.md, An API server)")
    labs = []

    def start_lab(name, *flags, **options):
        labs.append(Lab(tmp_path / name, *flags, **options))
        return labs[-1]

    yield start_lab
    for lab in labs:
        lab.down()


class Refusal(http.server.BaseHTTPRequestHandler):
    """An admission webhook that answers the first deletion of each object with a conflict, as a racing writer would."""

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request, seen = review["request"], self.server.seen
        key = (request["resource"]["resource"], request["name"])
        answer = {"uid": request["uid"], "allowed": key in seen or request["userInfo"]["username"] != USER}
        if not answer["allowed"]:
            answer["status"] = {"code": 409, "reason": "Conflict", "message": "changed meanwhile"}
            seen.add(key)
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def refusing_deletions(kubectl, folder):
    certificate, key = folder / "webhook.crt", folder / "webhook.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=webhook", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        server.seen, server.daemon_threads = set(), True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ca = subprocess.run(["base64", "-w0", certificate], check=True, capture_output=True, text=True).stdout
        kubectl.apply(json.dumps({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "refusal"}, "webhooks": [{
                "name": "refusal.example.com", "sideEffects": "None", "admissionReviewVersions": ["v1"], "failurePolicy": "Fail",
                "clientConfig": {"url": f"https://127.0.0.1:{server.server_address[1]}/", "caBundle": ca},
                "rules": [{"operations": ["DELETE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
                           "resources": ["pods", "persistentvolumeclaims", "statefulsets"]}]}]}))
        yield server
        kubectl("delete", "validatingwebhookconfiguration", "refusal")
        server.shutdown()


def meet_foreign_objects(kubectl):
    for kind, (body, of) in FOREIGN.items():
        name = f"f-{kind}"
        kubectl.apply(json.dumps(body | {"metadata": {"name": of.format(name), "namespace": "story"}}))
        kubectl.apply(database(name, "story"))
    for kind in FOREIGN:
        eventually(lambda: condition(kubectl, "story", "Degraded", f"f-{kind}").get("reason") == "ObjectExists", 40, kind)
    kubectl("delete", "db", *(f"f-{kind}" for kind in FOREIGN), "-n", "story", "--timeout=30s")


def live(kubectl):
    """Made, changed, restarted instance by instance, grown, deleted with its volumes."""
    storage_class(kubectl, "grows", True)
    kubectl("create", "secret", "generic", "mine", "--from-literal=username=a", "--from-literal=password=b", "-n", "story")
    kubectl.apply(database("shop", "story", deletionPolicy="Delete", credentialsSecretName="mine"))
    eventually(lambda: kubectl.get("statefulset", "shop", "-n", "story"), what="StatefulSet")
    for index in range(2):
        bound_claim(kubectl, "story", index, "grows")
    restart(kubectl, "story")
    eventually(lambda: phase(kubectl, "story") == "Ready", what="Ready")
    pods = {index: kubectl.get("pod", f"shop-{index}", "-n", "story")["metadata"]["uid"] for index in range(2)}
    kubectl("patch", "db", "shop", "-n", "story", "--type=merge", "-p", '{"spec":{"parameters":{"work_mem":"9MB"}}}')
    for index in (1, 0):
        # Its deletion is refused once: tried again after 5 s.
        eventually(lambda: kubectl.serve("story", "shop") or
                   (kubectl.get("pod", f"shop-{index}", "-n", "story") or {}).get("metadata", {}).get("uid") != pods[index], 40,
                   "a restart")
        restart(kubectl, "story")
    eventually(lambda: phase(kubectl, "story") == "Ready", what="Ready again")
    kubectl("patch", "db", "shop", "-n", "story", "--type=merge", "-p", '{"spec":{"storageSize":"2Gi"}}')
    eventually(lambda: orphan(kubectl, "story"), 40, "another StatefulSet")
    restart(kubectl, "story")
    for index in range(2):
        grown(kubectl, "story", index)
    eventually(lambda: phase(kubectl, "story") == "Ready", what="grown")
    kubectl("delete", "db", "shop", "-n", "story", "--wait=false")
    eventually(lambda: not kubectl.get("statefulset", "shop", "-n", "story"), 40, "no StatefulSet")
    # The garbage collector's part, where the operator has not done it: these pods have no owner.
    kubectl("delete", "pod", "shop-0", "shop-1", "-n", "story", "--force", "--grace-period=0", "--ignore-not-found")
    eventually(lambda: not kubectl.get("db", "shop", "-n", "story"), 60, "no Database")


def test_rights_are_those_used(start, tmp_path):
    # The plugin is what asks for databases/finalizers where owner references block deletion.
    lab = start("story", "--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
    kubectl = lab.kubectl
    kubectl("create", "namespace", "story")
    meet_foreign_objects(kubectl)
    with refusing_deletions(kubectl, tmp_path) as server:
        live(kubectl)
        refused = {resource for resource, _ in server.seen}
    assert refused == {"pods", "persistentvolumeclaims", "statefulsets"}
    lab.operator.stop()

    # Without streaming lists there are lists.
    older = start("older", "--feature-gates=WatchList=false")
    # Who makes a Role must have what it gives: here the agent's.
    given = {(verb, "database.example.com", "databases", None) for verb in ("get", "list", "watch")}
    granted = lab.granted()
    lists = {right for right in granted - given if right[0] == "list"}
    eventually(lambda: lists <= lab.used() | older.used(), 30, lambda: f"asked for: {sorted(lists - older.used(), key=str)}")
    eventually(lambda: '"leading"' in older.operator.log(), 30, "a leader")
    older.operator.stop()

    # What no request shows, see below.
    enforced = {("update", "database.example.com", "databases/finalizers", None), ("delete", "", "secrets", None)}

    def unused():
        """A watch comes to the audit's log when it has ended, a moment after the operator."""
        return granted - lab.used() - older.used() - given - enforced

    eventually(lambda: not unused(), 20, lambda: f"in the manifests, but not used: {sorted(unused(), key=str)}")
    used = lab.used() | older.used()
    assert used <= granted, f"used, but not in the manifests: {sorted(used - granted, key=str)}"


def test_owners_are_refused_without_rights_that_no_request_shows(start):
    """The API server asks for them itself, where owner references are checked; and they suffice."""
    lab = start("refused", "--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
    lab.operator.kill()
    owner = {"apiVersion": "database.example.com/v1", "kind": "Database", "name": "x", "uid": "x", "blockOwnerDeletion": True}
    owned = json.dumps({"apiVersion": "v1", "kind": "Secret",
                        "metadata": {"name": "owned", "namespace": "default", "ownerReferences": [owner]}})
    freed = ("patch", "secret", "owned", "--type=merge", "-p", '{"metadata":{"ownerReferences":null}}', "--as", USER)
    role = lab.kubectl.get("clusterrole", "database-operator")
    fewer = role | {"rules": [rule for rule in role["rules"]
                              if rule["resources"] != ["databases/finalizers"] and rule["verbs"] != ["delete"]]}
    del role["metadata"]["resourceVersion"]
    lab.kubectl("replace", "-f", "-", text=json.dumps(fewer))
    # Until the API server has seen the role, it would be made.
    eventually(lambda: "cannot set blockOwnerDeletion" in
               lab.kubectl.run("create", "-f", "-", "--as", USER, "--dry-run=server", text=owned).stderr)
    lab.kubectl("create", "-f", "-", text=owned)
    assert "cannot set an ownerRef on a resource you can't delete" in lab.kubectl.run(*freed).stderr
    lab.kubectl("replace", "-f", "-", text=json.dumps(role))
    eventually(lambda: lab.kubectl.run(*freed).returncode == 0)
    lab.kubectl("delete", "secret", "owned")
    lab.kubectl("create", "-f", "-", "--as", USER, text=owned)


def test_one_namespace(start):
    """The rights are those of that namespace, and of the Lease that is named."""
    lab = start("one", settings=("--watch-namespace=default", "--leader.lease=other"))
    lab.kubectl("create", "namespace", "elsewhere")
    for name in ("elsewhere", "default"):
        lab.kubectl.apply(database("shop", name))
    eventually(lambda: lab.kubectl.get("statefulset", "shop", "-n", "default"), 30, "the one that is watched")
    assert lab.kubectl.get("lease", "other", "-n", NAMESPACE)
    assert not lab.kubectl.get("statefulset", "shop", "-n", "elsewhere")
    assert not lab.kubectl.get("clusterrole", "database-operator")
    lab.operator.stop()
