#!/bin/sh
# How many instructions of its own the daemon executes for a run: the difference between a short life and a longer
# one under callgrind. The figure hardly depends on the machine or its load; only a gross change is a failure.
. tests/system/lib.sh

# As measured on x86-64 with glibc 2.36.
recorded=13000

cat >"$here/conf" <<'END'
[buildsequencer]
logfile: log
controlsocket: none
logsize: 0
[buildsequencer_job.a]
command: /bin/true
mindelay: 0
startdelay: 0
END
case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac

runs() { grep -c ' completed with exit code 0$' "$here/log"; }
# shellcheck disable=SC2317 # wait_for calls it
has_run() { [ "$(runs)" -ge "$1" ]; }

# life RUNS: leaves in $instructions and $count what a daemon needed for at least so many runs.
life() {
    rm -f "$here/log"
    (cd "$here" && exec valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" -c conf) \
        2>"$here/callgrind" &
    daemon=$!
    at_exit_kill "$daemon"
    wait_for 600 has_run "$1" || return 1
    kill -TERM "$daemon"
    wait "$daemon"
    # A child that was caught before it had become its job tells of itself as well.
    instructions=$(sed -n "s/^==$daemon== Collected : //p" "$here/callgrind")
    count=$(runs)
    [ -n "$instructions" ]
}

if life 100 && few=$instructions few_runs=$count && life 500; then
    each=$(((instructions - few) / (count - few_runs)))
    echo "     $each instructions a run, $((few - each * few_runs)) to start and stop; recorded $recorded a run"
    if [ "$each" -lt $((2 * recorded)) ]; then
        ok "a run takes no more than twice the recorded instructions"
    else
        fail "a run takes no more than twice the recorded instructions" "$each instead of $recorded"
    fi
else
    fail "the daemon runs under callgrind" "$(cat "$here/callgrind")"
fi

finish
