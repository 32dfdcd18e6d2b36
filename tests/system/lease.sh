#!/bin/sh
# What a lease costs, as strace sees it: no system call a start, no wake-up while nothing runs; and what its end brings,
# in which order. Needs strace.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
if ! strace -o /dev/null true 2>/dev/null; then
    skip "all of this" "no process may be traced here"
    finish
fi
cd "$here" || exit 1

second() { read -r up _ </proc/uptime && echo "${up%.*}"; }
# lease SECONDS: from now.
lease() {
    until=$(($(second) + $1))
    echo "$until" >lease.new && mv lease.new lease
}
has_come() { [ "$(second)" -ge "$1" ]; }
# configure LEASEFILE DELAY COMMAND
configure() {
    printf '[buildsequencer]\ncontrolsocket: none\nleasefile: %s\n' "$1" >conf
    printf '[buildsequencer_job.a]\ncommand: %s\nstartdelay: 0\nmindelay: %s\n' "$3" "$2" >>conf
}
# start TRACE [OPTION...]: sets $daemon. With -D the daemon is our child, not strace's.
start() {
    : >log
    trace=$1.trace
    shift
    strace -D -s 200 "$@" -o "$trace" "$program" -c conf -l log >out 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
}
runs() { [ "$(grep -c 'Running a' log)" -ge "$1" ]; }
# ended TRACE STATUS
ended() {
    wait "$daemon"
    [ $? -eq "$2" ] && wait_for 20 grep -q '^+++ ' "$1.trace"
}

# --- A start.

# kinds TRACE: which calls there are from the tenth start to the thirtieth. How often it sleeps while a job runs is a
# matter of chance.
kinds() {
    awk '/^(clone|vfork|fork)/ { starts++ } starts >= 10 && starts < 30 { sub(/\(.*/, ""); print }' "$1.trace" | sort -u
}
for leasefile in none lease; do
    lease 3600
    configure $leasefile 0.02 true
    start $leasefile
    expect "jobs run, leasefile $leasefile" wait_for 60 runs 35
    kill -TERM "$daemon"
    expect "and it stops" ended $leasefile 0
done
kinds none >none.kinds
kinds lease >lease.kinds
expect "a start makes the same calls as without a lease" diff none.kinds lease.kinds
expect "the file was read at the start of the daemon and at the first of the jobs" \
    [ "$(grep -c '^open.*"lease"' lease.trace)" -eq 2 ]
expect "the timer was set once" [ "$(grep -c '^timerfd_settime' lease.trace)" -eq 1 ]
not_in() { ! grep -q "$2" "$1.trace"; }
expect "without a lease there is no timer" not_in none timerfd

# --- Nothing to do.

lease 20
configure lease 3600 true
start idle
expect "a job runs" wait_for 20 runs 1
expect "and ends" wait_for 20 grep -q 'Job a completed' log
# rests: nothing happens for a moment.
rests() { lines=$(wc -l <idle.trace) && sleep 0.3 && [ "$(wc -l <idle.trace)" -eq "$lines" ]; }
expect "then it rests" wait_for 20 rests
expect "before its lease ends" [ "$(second)" -lt "$until" ]
wait_for 40 has_come $((until + 1))
expect "and goes on resting when the lease has ended" [ "$(wc -l <idle.trace)" -eq "$lines" ]
kill -TERM "$daemon"
# It has no state to write, so it has nothing to ask the lease for.
expect "it stops in order" ended idle 0

# --- The end of a lease.

lease 10
configure lease 3600 'sleep 60'
start over
expect "a long job runs" wait_for 20 runs 1
expect "the end ends all, with its own status" ended over 75
expect "no earlier than it comes" has_come "$until"
expect "nothing gets SIGTERM" not_in over 'kill(.*SIGTERM'
killed=$(grep -n 'kill(-.*SIGKILL' over.trace | head -n 1 | cut -d: -f1)
told=$(grep -n 'write(.*has run out' over.trace | head -n 1 | cut -d: -f1)
expect "the kill comes before the line that tells of it" [ "${killed:-9999}" -lt "${told:-0}" ]
read_again=$(grep -n '^open.*"lease"' over.trace | tail -n 1 | cut -d: -f1)
expect "and after a last look at the file" [ "${read_again:-9999}" -lt "${killed:-0}" ]

# --- A disk that holds the text longer than the lease.

lease 10
configure lease 3600 true
sed -i '1a statefile: state' conf
start late -e inject=fdatasync:delay_enter=14s
expect "the text of the state is on its way to the disk" wait_for 20 test -s .state.new
echo theirs >state
expect "the end is obeyed once the disk has it" ended late 75
expect "no earlier than it comes, with such a disk" has_come "$until"
expect "the next host's state stays" grep -qx theirs state
expect "and nothing else" [ ! -e .state.new ]

finish
