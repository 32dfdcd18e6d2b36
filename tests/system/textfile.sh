#!/bin/sh
# Two sequencers on one host write their metrics into one directory, and the real node exporter takes both: each has a
# name, which tells their series apart. Two without names show that the exporter would object.
. tests/system/lib.sh

textfiles=$here/textfiles
mkdir "$textfiles"

# sequencer NAME OPTIONS...: starts one that has the same jobs as the others.
sequencer() {
    name=$1
    shift
    cat >"$here/$name.conf" <<CONF
[buildsequencer]
controlsocket: $here/$name.socket
metricsfile: $textfiles/$name.prom
[buildsequencer_job.scan]
command: sh -c 'exit 3'
startdelay: 0
mindelay: 1d
CONF
    "$BIN" -c "$here/$name.conf" "$@" >"$here/$name.log" 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
    expect "the metrics of $name are there" wait_for 20 \
        grep -q 'job_failures_total{.*reason="exit"} 1' "$textfiles/$name.prom"
}

# A free port may be taken by somebody else before the exporter has it, so another is tried.
start_exporter() {
    for _ in 1 2 3 4 5; do
        port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
        prometheus-node-exporter --collector.disable-defaults --collector.textfile \
            --collector.textfile.directory="$textfiles" --web.listen-address="127.0.0.1:$port" \
            >"$here/exporter.log" 2>&1 &
        exporter=$!
        at_exit_kill "$exporter"
        wait_for 20 scrape && return
    done
    cat "$here/exporter.log"
    return 1
}
scrape() {
    kill -0 "$exporter" && python3 - "http://127.0.0.1:$port/metrics" >"$here/scraped" 2>"$here/scrape.log" <<'PYTHON'
import sys
import urllib.request

opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open(sys.argv[1], timeout=10).read().decode())
PYTHON
}
# scraped PATTERN: whether the exporter shows such a line.
scraped() {
    scrape && grep -qE "$1" "$here/scraped"
}
names_of_failures() {
    sed -n 's/^buildd_sequencer_job_failures_total{job="scan",reason="exit",sequencer="\([^"]*\)"} 1$/\1/p' "$here/scraped" |
        sort | xargs
}

sequencer east --name east
sequencer west --name west
expect "the node exporter answers" start_exporter
expect "it has nothing against the files" scraped '^node_textfile_scrape_error 0$'
expect "it has read both" scraped "^node_textfile_mtime_seconds\\{file=\"$textfiles/west.prom\"\\}"
expect "both sequencers are there" test "$(names_of_failures)" = "east west"
# HELP and TYPE of one metric have to be the same in all files; where they are not, the exporter logs it.
expect "and nothing is logged against either" sh -c "! grep -E 'level=error|inconsistent|collected before' '$here/exporter.log'"

sequencer neither
expect "one without a name goes with those that have one" scraped '^node_textfile_scrape_error 0$'
sequencer nor
scraped '^node_textfile_scrape_error 0$'
refused() {
    ! scrape || ! grep -q '^node_textfile_scrape_error 0$' "$here/scraped" ||
        grep -qE 'collected before|inconsistent' "$here/exporter.log"
}
expect "two without names would be one too many" wait_for 20 refused

finish
