#!/bin/sh
# In which order the state file comes to the disk, as strace sees it, and what the daemon makes of a disk that refuses.
# Needs strace and python3.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
reader=$(pwd)/tests/system/syncs.py
if ! strace -o /dev/null true 2>/dev/null; then
    skip "all of this" "no process may be traced here"
    finish
fi
cd "$here" || exit 1

# configure COMMAND: a job that runs it all the time, beside one that does nothing.
configure() {
    cat >conf <<END
[buildsequencer]
controlsocket: sock
statefile: kept/state
metricsfile: kept/m.prom
[buildsequencer_job.busy]
command: $1
mindelay: 0.3
[buildsequencer_job.held]
command: true
mindelay: 1h
END
}
configure true

calls=epoll_wait,epoll_pwait,openat,open,creat,read,recvfrom,write,writev,pwrite64,sendto,sendmsg,fdatasync,fsync,sync,syncfs,close
calls=$calls,rename,renameat,renameat2,unlink,unlinkat,truncate,ftruncate,link,linkat
# start TRACE STRACE-ARGUMENT...: a daemon that is traced; sets $daemon. With -D the daemon is our child, not strace's.
start() {
    trace=$1
    shift
    rm -rf kept && mkdir kept
    : >out
    strace -D -s 128 -o "$trace" -e "trace=$calls" "$@" "$program" -c conf >out 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
    wait_for 20 "$program" status -s sock || { fail "the daemon starts under strace" "$(cat out)"; finish; }
}
# stop: waits for the trace to be whole, too.
stop() {
    kill -TERM "$daemon" && wait "$daemon"
    wait_for 20 grep -q '^+++ ' "$trace"
}
tell() { "$program" "$@" -s sock; }
refused() { ! "$program" "$@" -s sock >told 2>&1; }
told() { grep -q -- "$1" told; }
paused() { grep -q '^held.*paused=' kept/state; }
not() { ! "$@"; }
version() { stat -c %i.%y kept/state; }
changed() { [ "$(version)" != "$1" ]; }

# --- The order of things.

start trace
for word in pause resume pause; do
    expect "$word is answered" tell "$word" held
    # One that a run makes, between. A disk that is busy gets a rest of twenty times what it took.
    before=$(version)
    expect "the state is written of itself, too" wait_for 300 changed "$before"
done
expect "a pause of what is paused is answered" tell pause held
expect "a resume of what is not paused is answered" tell resume busy
stop
# judge TRACE: what the reader counted is in $here/counts.
judge() { python3 "$reader" "$1" kept/state kept/m.prom kept >counts; }
expect "no name comes to the disk before its file, and no answer before either" judge trace
# at_least NUMBER WHAT: the reader has seen it.
at_least() { awk -v least="$1" -v what="$2" '{ n = $NF; sub(/ [0-9]*$/, "") } $0 == what { found = n } END { exit found < least }' counts; }
expect "it has seen what it judged: the state" at_least 7 kept/state
expect "it has seen what it judged: metrics" at_least 3 kept/m.prom
expect "it has seen what it judged: pauses" at_least 2 "pause kept"
expect "it has seen what it judged: resumes" at_least 1 "resume kept"
expect "it has seen what it judged: a pause of what is paused" at_least 1 "pause of nothing"
expect "it has seen what it judged: a resume of what is not paused" at_least 1 "resume of nothing"
expect "it has seen what it judged: the end of the metrics" at_least 1 removed

# The reader itself: each line that matters is left out once, or moved, and it has to notice.
# damaged NAME SED: the trace less what the script takes out of it.
damaged() {
    sed "$2" trace >damaged
    if cmp -s trace damaged; then
        fail "a trace $1 is told" "nothing was damaged"
    elif judge damaged >/dev/null 2>&1; then
        fail "a trace $1 is told"
    else
        ok "a trace $1 is told"
    fi
}
damaged "without the sync of a file" '/^fdatasync/d'
damaged "with a sync that failed" 's/^\(fdatasync.*\)= 0/\1= -1 EIO (Input\/output error)/'
damaged "without the sync of the directory" '/^fsync/d'
damaged "with a file that is not new" 's/|O_EXCL//'
damaged "with a file that follows links" 's/|O_NOFOLLOW//'
damaged "with the state written in its place" 's/"\.state\.new", O_WRONLY/"state", O_WRONLY/'
damaged "with the state readable for others" '/state.new/s/0600/0644/'
damaged "with a pause of what is paused that writes" 's/paused held\\n/held was paused already\\n/'
damaged "with a pause that writes nothing" 's/held was paused already\\n/paused held\\n/'
damaged "with a line that makes no sense" '5s/(/[/'
damaged "without its end" '$d'

# --- A disk that refuses.

start refused -e inject=fdatasync:error=EIO:when=2+
why="cannot write state file 'kept/state': Input/output error"
expect "a pause that cannot be synced is refused" refused pause held
expect "it is refused with the system's words" told "paused, but a restart will not know: $why"
expect "what is not synced takes no file's place" not paused
expect "it is refused once more where nothing changes" refused pause held
expect "nothing is left beside the file" not test -e kept/.state.new
stop
expect "it is told once in the log" [ "$(grep -c "$why" out)" -eq 1 ]
expect "what is not synced takes no file's place at the stop" not paused
expect "where nothing is synced nothing is renamed" \
    [ "$(grep -c '^renameat(.*"state")' refused)" -eq "$(grep -c '^fdatasync.* = 0$' refused)" ]

# The first time is that of the start; the directory does well from the fourth on.
start late -e inject=fsync:error=EIO:when=2..3
expect "a pause whose name cannot be synced is refused" refused pause held
expect "it is refused with the system's words" told "paused, but a restart will not know: $why"
kept_later() { tell pause held >told 2>&1 && told 'held was paused already'; }
expect "it is on the disk as soon as it can be" wait_for 20 kept_later
expect "that is not said before" [ "$(grep -c '^fsync.* = 0$' late)" -ge 2 ]
stop

start never -e inject=fsync:error=EINVAL
expect "a file system that cannot sync a directory does without" tell pause held
expect "and the file is there" paused
stop

# --- A disk that takes its time.

# A sync may take 410 ms, so there is no room for it between two runs.
configure 'sleep 0.3'
start slow -e inject=fdatasync:delay_enter=200000
syncs() { [ "$(grep -c '^fdatasync' slow)" -ge "$1" ]; }
expect "on a slow disk the state is written of itself" wait_for 300 syncs 4
"$program" pause -s sock >/dev/null
stop
# other_syncs: how many did not come in the turn in which a run began, after the first and before the pause. The line of
# the log that tells of the run is written before.
other_syncs() {
    awk '/^epoll_p?wait/               { began = 0 }
        /^write\(1, .*\] Running /   { began = 1 }
        /^(recvfrom|read)\(.*"pause/  { exit }
        /^fdatasync/ && syncs++ && !began { others++ }
        END { print others + 0 }' slow
}
expect "on a slow disk it is written when a run has just begun" [ "$(other_syncs)" -eq 0 ]

finish
