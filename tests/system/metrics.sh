#!/bin/sh
# The metrics of a real daemon by the readers of others: promtool's linter and the parser of Prometheus' own
# Python client. And the alerts that are shipped, by promtool.
. tests/system/lib.sh

# The package's module, not that of another Python that comes first in PATH.
python=/usr/bin/python3
file=$here/metrics.prom

cat >"$here/conf" <<CONF
[buildsequencer]
controlsocket: $here/socket
metricsfile: $file
[buildsequencer_job.good]
command: true
startdelay: 0
[buildsequencer_job.bad]
command: sh -c 'echo trouble >&2; exit 3'
startdelay: 0
mindelay: 1d
[buildsequencer_job.hangs]
command: sleep 1000
mindelay: 1d
startdelay: 1d
timeout: 0.5
[buildsequencer_job.paused]
command: true
startdelay: 1d
CONF
"$BIN" -c "$here/conf" >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"

ask() {
    "$BIN" -s "$here/socket" "$@" >/dev/null 2>&1
}
expect "it listens" wait_for 60 ask status
ask pause paused
ask reload
ask run --wait hangs
all_there() {
    grep -q 'job_last_exit_code{job="hangs"} 143' "$file" && grep -q 'job_paused{job="paused"} 1' "$file"
}
expect "the file shows what jobs have done" wait_for 60 all_there

cp "$file" "$here/copy"
linted() {
    # `job` is what Prometheus calls its targets as well; it renames ours then (honor_labels).
    promtool check metrics <"$here/copy"
}
expect "promtool has nothing against it" linted

cat >"$here/read.py" <<'PYTHON'
import math
import sys

from prometheus_client.parser import text_string_to_metric_families

text = open(sys.argv[1], encoding="ascii").read()
families = list(text_string_to_metric_families(text))
names = [family.name for family in families]
assert len(names) == len(set(names)), names
assert len(names) > 20, names
jobs = set()
for family in families:
    assert family.type in ("counter", "gauge"), family
    assert family.documentation.endswith("."), family
    assert family.samples, family
    for sample in family.samples:
        assert sample.name.startswith("buildd_sequencer_"), sample
        assert sample.timestamp is None, sample
        assert math.isfinite(sample.value), sample
        assert set(sample.labels) <= {"job", "reason", "result", "version"}, sample
        if "job" in sample.labels:
            jobs.add(sample.labels["job"])
assert jobs == {"good", "bad", "hangs", "paused"}, jobs
values = {(s.name, s.labels.get("job"), s.labels.get("reason")): s.value for f in families for s in f.samples}
assert values["buildd_sequencer_job_failures_total", "hangs", "timeout"] == 1
assert values["buildd_sequencer_job_failures_total", "bad", "exit"] == 1
assert values["buildd_sequencer_job_runs_total", "good", None] >= 1
PYTHON
expect "Prometheus' own client reads it" "$python" "$here/read.py" "$here/copy"

# A reader in a loop never sees half a file, however often it is written.
read_often() {
    for _ in 1 2 3 4 5 6 7 8; do
        cp "$file" "$here/copy"
        "$python" "$here/read.py" "$here/copy" || return 1
        ask run good
    done
}
expect "it is whole whenever it is read" read_often

kill "$daemon"
wait "$daemon"
expect "a clean stop removes it" [ ! -e "$file" ]

mkdir "$here/rules"
cp contrib/prometheus/alerts.yml tests/system/alerts-test.yml "$here/rules"
cp contrib/cluster/alerts.yml "$here/rules/cluster-alerts.yml"
expect "the alerts are sound" promtool check rules "$here/rules/alerts.yml" "$here/rules/cluster-alerts.yml"
expect "each alert fires when it should and not before" promtool test rules "$here/rules/alerts-test.yml"

# Each metric that an alert uses is one that the daemon writes, or one that a rule records (their names have colons).
metrics_exist() {
    sed 's/[a-z]*:buildd_sequencer_[a-z_]*:[a-z0-9_]*//g' contrib/prometheus/alerts.yml |
        grep -o 'buildd_sequencer_[a-z_]*' | sort -u >"$here/used"
    sed -n 's/^# TYPE \([a-z_]*\) .*/\1/p' "$here/copy" | sort -u >"$here/written"
    [ -s "$here/used" ] && ! comm -23 "$here/used" "$here/written" | grep .
}
expect "the alerts use metrics that there are" metrics_exist

finish
