#!/bin/sh
# Every metric and every JSON field that a running daemon shows is in the manual page.
. tests/system/lib.sh

page=contrib/man/buildd-sequencer.8
cat >"$here/conf" <<CONF
[buildsequencer]
metricsfile: $here/names.prom
controlsocket: $here/socket
[buildsequencer_job.good]
command: true
startdelay: 0
[buildsequencer_job.bad]
command: false
startdelay: 0
[buildsequencer_job.gone]
command: ./gone
startdelay: 0
[buildsequencer_job.slow]
command: sleep 1000
timeout: 0.1
startdelay: 0
[buildsequencer_job.dies]
command: sh -c 'kill -9 \$\$'
startdelay: 0
[buildsequencer_job.stopped]
command: sleep 1000
mindelay: 1h
CONF
"$BIN" -c "$here/conf" >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"

# The names in the lists of a section of the page, one a line.
page_names() {
    awk -v title="$1" '/^\.S[hs] / { on = ($2 == title) } on && /^\.(It )?Cm / { print }' "$page" |
        tr -cs 'a-z_' '\n' | sort -u
}

# names_are_in SECTION FILE: each line of the file is among the names of the section.
names_are_in() {
    page_names "$1" >"$here/documented"
    [ -s "$2" ] && ! comm -23 "$2" "$here/documented" | grep .
}

both_ran() {
    grep -q 'job_last_exit_code{job="good"} 0' "$here/names.prom" &&
        grep -q 'job_last_exit_code{job="bad"} 1' "$here/names.prom"
}
expect "the metrics file shows both jobs" wait_for 60 both_ran
sed -n 's/^# TYPE buildd_sequencer_\([a-z_]*\) .*/\1/p' "$here/names.prom" | sort -u >"$here/metrics"
expect "every metric is in the manual page" names_are_in METRICS "$here/metrics"

"$BIN" status --json -s "$here/socket" >"$here/json"
tr ',{' '\n\n' <"$here/json" | sed -n 's/^[[:space:]]*"\([a-z_]*\)"[[:space:]]*:.*/\1/p' | sort -u >"$here/fields"
expect "every field of the JSON status is in the manual page" names_are_in Status "$here/fields"

# An operator stops a run, too.
asked() { "$BIN" "$@" -s "$here/socket" >"$here/asked" 2>&1; }
asked run stopped
expect "a run can be stopped" wait_for 20 asked kill stopped
outcomes() {
    "$BIN" status --json -s "$here/socket" | tr ',{' '\n\n' |
        sed -n 's/.*"outcome"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' | sort -u
}
six_outcomes() { [ "$(outcomes | wc -l)" -ge 6 ]; }
expect "runs end in six ways" wait_for 20 six_outcomes
outcomes >"$here/outcomes"
outcomes_are_in_the_page() {
    while read -r outcome; do
        word=$(echo "$outcome" | sed 's/[0-9][0-9]*$/N/')
        grep -x ".It Cm $word" "$page" || { echo "not in the page: $outcome"; return 1; }
    done <"$here/outcomes"
}
expect "every outcome is in the manual page" outcomes_are_in_the_page

finish
