#!/bin/sh
# The manifests of contrib: Kubernetes' own JSON schemas accept them, as the package kubernetes-validate of PyPI carries
# them, the oldest and the newest; and they say what their pages promise. No cluster runs them here.
. tests/system/lib.sh

manifest=contrib/container/kubernetes.yaml
venv=$here/venv

# What pip keeps goes with this check.
validator() {
    python3 -m venv "$venv" &&
        "$venv/bin/pip" --quiet --disable-pip-version-check install --retries 10 --no-cache-dir kubernetes-validate==1.37.0
}
expect "the package with the schemas can be had" validator
python=$venv/bin/python

cat >"$here/schemas.py" <<'PYTHON'
import copy
import sys

import kubernetes_validate
import yaml

for path in sys.argv[1:]:
    documents = list(yaml.safe_load_all(open(path, encoding="utf-8")))
    assert documents[-1]["kind"] == "StatefulSet", path
    for version in ("1.25", "1.37"):
        for document in documents:
            kubernetes_validate.validate(document, version, strict=True)

# A key that is spelt wrong, or a value of another type, would have been seen.
*_, stateful = yaml.safe_load_all(open(sys.argv[1], encoding="utf-8"))
for breach in (
    lambda spec: spec["containers"][0]["securityContext"].update(readOnlyRootFileSystem=True),
    lambda spec: spec.update(terminationGracePeriodSeconds="thirty"),
    lambda spec: spec["containers"][0]["livenessProbe"]["httpGet"].pop("port"),
    lambda spec: spec["volumes"][1].update(emptydir={}),
):
    wrong = copy.deepcopy(stateful)
    breach(wrong["spec"]["template"]["spec"])
    try:
        kubernetes_validate.validate(wrong, "1.37", strict=True)
    except kubernetes_validate.ValidationError:
        continue
    raise AssertionError("a breach was not seen")
PYTHON
lanes=contrib/cluster/kubernetes/lanes.yaml
expect "the schemas of Kubernetes 1.25 and 1.37 accept them, and nothing but what they know" \
    "$python" "$here/schemas.py" "$manifest" $lanes

cat >"$here/promises.py" <<'PYTHON'
import sys

import yaml

*config_maps, service, stateful = yaml.safe_load_all(open(sys.argv[1], encoding="utf-8"))
lanes = not config_maps
spec = stateful["spec"]
template = spec["template"]
pod = template["spec"]
(container,) = pod["containers"]

# Selectors and names lead to what there is.
labels = template["metadata"]["labels"]
assert spec["selector"]["matchLabels"].items() <= labels.items()
assert service["spec"]["selector"].items() <= labels.items()
assert service["spec"]["clusterIP"] == "None"
assert spec["serviceName"] == service["metadata"]["name"]
assert spec["replicas"] == (10 if lanes else 1)
# Not two pods of a name, whatever becomes of the first one's node.
(claim,) = spec["volumeClaimTemplates"]
assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]

# Nothing that it does not need.
assert pod["automountServiceAccountToken"] is False
context = pod["securityContext"]
assert context["runAsNonRoot"] is True and context["runAsUser"] > 0 and context["runAsGroup"] > 0
assert context["fsGroup"] == context["runAsGroup"]
assert context["seccompProfile"] == {"type": "RuntimeDefault"}
assert container["securityContext"] == {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
for forbidden in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
    assert forbidden not in pod, forbidden
containerfile = open("contrib/container/Containerfile", encoding="utf-8").read()
assert f"\nUSER {context['runAsUser']}:{context['runAsGroup']}\n" in containerfile

# The configuration is where it is looked for, and what it names is a volume.
mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
volumes = {volume["name"]: volume for volume in pod["volumes"]}
assert set(mounts) == set(volumes) | {claim["metadata"]["name"]}
directory = mounts["configuration"]["mountPath"]
if lanes:
    # The number of the pod is its lane's. The configuration is contrib/cluster/lanes, with what the comment adds.
    (variable,) = container["env"]
    assert variable["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
    lane = f"lane$({variable['name']})"
    assert container["args"] == ["--config", f"{directory}/{lane}.conf", "--name", lane]
    text = open(sys.argv[1], encoding="utf-8").read().split("\napiVersion")[0].replace("#     ", "")
else:
    (config_map,) = config_maps
    (name, text), = config_map["data"].items()
    assert volumes["configuration"]["configMap"]["name"] == config_map["metadata"]["name"]
    assert container["args"] == ["--config", f"{directory}/{name}"]
assert not any("subPath" in mount for mount in mounts.values())
assert mounts["run"]["mountPath"] == "/run/buildd-sequencer" and "emptyDir" in volumes["run"]
values = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line and not line.startswith("#"))
assert values["statefile"].startswith(mounts["state"]["mountPath"] + "/")

# The port, in all its places.
address, port = values["listen"].rsplit(":", 1)
assert address == ""
assert container["ports"] == [{"name": "http", "containerPort": int(port)}]
assert service["spec"]["ports"] == [{"name": "http", "port": int(port)}]
for probe, path in (("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
    assert container[probe]["httpGet"] == {"path": path, "port": "http"}
    # `healthcheck` answers within 2 seconds.
    assert container[probe]["timeoutSeconds"] > 2
assert template["metadata"]["annotations"] == {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": port,
    "prometheus.io/path": "/metrics",
}

# What `check` makes of the configuration says how long a stop may take.
told = [line.split(": ", 1) for line in open(sys.argv[2], encoding="utf-8") if ": " in line]
stop = sum(max(float(value) for key, value in told if key == wanted) for wanted in ("stopdelay", "killdelay"))
assert pod["terminationGracePeriodSeconds"] >= stop + 4, stop
PYTHON
# check_configuration: by `check`, which misses only the directories of the pod and the programs of the image.
check_configuration() {
    "$python" -c 'import sys, yaml; print(*next(yaml.safe_load_all(open(sys.argv[1])))["data"].values())' "$manifest" >"$here/conf"
    "$BIN" check -c "$here/conf" >"$here/told" 2>"$here/said"
    ! grep -vE "statefile: directory|: 1 job, |: 1 job\$|: [0-9]* faults?\$|/usr/bin/buildd-sequencer" "$here/said" &&
        grep -q '^\[buildsequencer_job.example\]' "$here/told"
}
expect "check accepts the configuration of the container's page" check_configuration
expect "it keeps what its page promises" "$python" "$here/promises.py" "$manifest" "$here/told"
# The lanes' own files have the defaults for everything that a stop takes.
for lane in contrib/cluster/lanes/lane*.conf; do
    "$BIN" check -c "$lane" 2>/dev/null
done >"$here/told-lanes"
expect "and so do the lanes" "$python" "$here/promises.py" "$lanes" "$here/told-lanes"
expect "the page names the manifest" grep -qF '(kubernetes.yaml)' contrib/container/kubernetes.md

finish
