#!/bin/sh
# Faults that root has to make: no processes or memory left, full disks, a clock that jumps; and a great many runs.
# Needs root, libfaketime, strace, and prlimit and setpriv of util-linux. BUILDD_SEQUENCER_RUNS sets how many runs are many.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
[ "$(id -u)" -eq 0 ] || { skip "all of this" "needs root"; finish; }

mounts=
clean_up_mounts() {
    for mount in $mounts; do
        umount -l "$mount"
    done
    clean_up
}
trap clean_up_mounts EXIT

# disk NAME SIZE: a small disk of its own at $here/NAME.
disk() {
    mkdir "$here/$1"
    mount -t tmpfs -o "size=$2,mode=777" tmpfs "$here/$1" && mounts="$mounts $here/$1"
}

# configure SETTINGS: the daemon's settings; jobs are added to $here/conf.
configure() {
    printf '[buildsequencer]\ncontrolsocket: none\n%s\n' "$1" >"$here/conf"
}
job() {
    printf '[buildsequencer_job.%s]\n%s\n' "$1" "$2" >>"$here/conf"
}

# start COMMAND...: becomes the daemon in the end; sets $daemon.
start() {
    : >"$here/out"
    (cd "$here" && exec "$@") >"$here/out" 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
}
stop() {
    kill -TERM "$daemon" && wait "$daemon"
}
log_has() { grep -q -- "$1" "$here/out"; }
count() { grep -c -- "$1" "$here/out"; }
lines() { wc -l <"$here/$1"; }
# more_than NUMBER FILE: its lines.
more_than() { [ "$(lines "$2")" -gt "$1" ]; }

# --- A run that cannot be started for want of something is tried again after a second, and runs once it can be.

# A hard limit cannot be raised again, not even by any root, so only soft ones are set: `LIMIT=N:`.

# starves NAME ERROR LIMIT...: the daemon has too little; the command, with its number, gives it enough.
starves() {
    if wait_for 20 log_has "exit code 126 (could not start: $2)"; then
        ok "without $1 a run fails with the system's words"
    else
        fail "without $1 a run fails with the system's words"
        tail -n 5 "$here/out"
    fi
    began=$(uptime_now)
    before=$(count '^[^	]*Running')
    tried_thrice() { [ "$(count '^[^	]*Running')" -ge $((before + 3)) ]; }
    expect "without $1 it is tried again and again" wait_for 30 tried_thrice
    # Between the first of the three and the last.
    expect "without $1 it is tried once a second at most" has_taken 2 "$began"
    what=$1
    shift 2
    "$@" --pid "$daemon"
    expect "with $what it runs again" wait_for 20 log_has 'exit code 0$'
    expect "want of $what does not harm the stop" stop
}

configure ''
job a 'command: true
mindelay: 0'
chmod 755 "$here"
cp "$program" "$here/program"
# The limit counts all processes of a user, so it has to be one that nobody is.
nobody="setpriv --reuid=60873 --regid=60873 --clear-groups"
# shellcheck disable=SC2086 # several words
start $nobody prlimit --nproc=1: ./program -c conf
# shellcheck disable=SC2086 # several words
starves "processes" "Resource temporarily unavailable" $nobody prlimit --nproc=50:

start prlimit --nofile=5: ./program -c conf
if wait "$daemon"; then
    fail "with hardly any descriptors the start fails"
else
    expect "with hardly any descriptors the start says what it lacks" log_has 'Too many open files'
fi
start ./program -c conf
wait_for 20 log_has 'exit code 0$'
prlimit --pid "$daemon" --nofile=4:
: >"$here/out"
starves "descriptors" "Too many open files" prlimit --nofile=1000:

start ./program -c conf
wait_for 20 log_has 'exit code 0$'
# Less than it has: nothing more can be mapped, not even the stack of a new process.
prlimit --pid "$daemon" --as=1000000:
: >"$here/out"
starves "memory" "Cannot allocate memory" prlimit --as=unlimited:

# --- Full disks.

# A run's log has the same number of lines each time, so that what is there and what is said to be missing can be
# added up.
notice='log lines? (was|were) dropped here'
if disk log 512K; then
    cat >"$here/lines" <<'END'
#!/bin/sh
echo run >>runs
seq 1 4000
END
    chmod 755 "$here/lines"
    configure 'logfile: log/log
logsize: 0'
    job a 'command: ./lines
mindelay: 0.02
alwayslog: yes
stuckafter: 0'
    start ./program -c conf
    wait_for 60 more_than 200 runs
    expect "on a full disk for the log jobs go on" more_than 200 runs
    full=$(stat -c %s "$here/log/log")
    expect "on a full disk for the log it is full" [ "$full" -gt 500000 ]
    mount -o remount,size=200M "$here/log"
    expect "once there is room it says how many lines are missing" \
        wait_for 20 grep -qE "$notice" "$here/log/log"
    now=$(lines runs)
    wait_for 20 more_than $((now + 3)) runs
    kill -QUIT "$daemon"
    wait "$daemon"
    runs=$(lines runs)
    dropped=$(sed -nE "s/.* ([0-9]+) $notice.*/\1/p" "$here/log/log" | awk '{ n += $1 } END { print n }')
    there=$(grep -cvE "$notice" "$here/log/log")
    # A run has Scheduling, Running and completed; its output a heading, 4000 lines and two empty ones; its errors a
    # heading and two empty lines. The beginning and the end of the log belong to no run.
    # A run may have been under way at the SIGQUIT, and is one like any other.
    ends=$(sed -n '1,/Loaded\./p;/Received SIGQUIT/p;/Main loop terminated/p' "$here/log/log" | grep -c .)
    expected=$((runs * (3 + 4003 + 3)))
    have=$((there + dropped - ends))
    if [ "$have" -eq "$expected" ] || [ "$have" -eq $((expected + 1)) ]; then
        ok "lines that are there and lines that are missing add up ($dropped missing of $expected)"
    else
        fail "lines that are there and lines that are missing add up" "$have, not $expected; $ends at both ends"
    fi
    torn=$(grep -cvE '^(	|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\+0000 \[-\] )' "$here/log/log")
    expect "no line of the log is torn" [ "$torn" -eq 0 ]
else
    skip "full disks" "no tmpfs may be mounted"
fi

if disk kept 64K; then
    echo keep >"$here/kept/keep"
    configure ''
    sed -i 's|^controlsocket.*|controlsocket: sock|' "$here/conf"
    printf 'statefile: kept/state\nmetricsfile: kept/m.prom\n' >>"$here/conf"
    job a 'command: sh -c "echo run >>runs2"
mindelay: 0.1'
    start ./program -c conf
    wait_for 20 test -s "$here/kept/state"
    # Filled anew each time, because a file that is being replaced may leave its place free again.
    told() {
        cat /dev/zero >>"$here/kept/filler" 2>/dev/null
        log_has "cannot write $1': No space left"
    }
    expect "a full disk for the state is told" wait_for 20 told "state file 'kept/state"
    expect "a full disk for the metrics is told" wait_for 20 told "metrics file 'kept/m.prom"
    expect "what was there stays whole" grep -q '^a	' "$here/kept/state"
    now=$(lines runs2)
    expect "on a full disk for the state jobs go on" wait_for 20 more_than $((now + 10)) runs2
    not_kept() {
        cat /dev/zero >>"$here/kept/filler" 2>/dev/null
        ! "$program" pause -s "$here/sock" a
    }
    expect "a pause that cannot be kept is told to who asked" not_kept
    "$program" resume -s "$here/sock" a >/dev/null 2>&1
    [ "$(count 'cannot write')" -le 4 ] && ok "a full disk is not told again and again" ||
        fail "a full disk is not told again and again" "$(count 'cannot write') times"
    old=$(stat -c %Y.%i "$here/kept/state")
    rm "$here/kept/filler"
    newer() { [ "$(stat -c %Y.%i "$here/kept/state")" != "$old" ] && grep -q succeeded "$here/kept/state"; }
    expect "once there is room the state is kept again" wait_for 20 newer
    expect "full disks do not harm the stop" stop
else
    skip "a full disk for state and metrics" "no tmpfs may be mounted"
fi

# --- A rotation that cannot be finished.
if mkdir "$here/few" && mount -t tmpfs -o size=1m,nr_inodes=4,mode=777 tmpfs "$here/few"; then
    mounts="$mounts $here/few"
    configure 'logfile: few/log
logsize: 0'
    job a 'command: true
mindelay: 0.1'
    start ./program -c conf
    wait_for 20 test -s "$here/few/log"
    touch "$here/few/a" "$here/few/b"
    kill -USR1 "$daemon"
    cannot="cannot open log 'few/log': No space left on device; writing on to the old file"
    expect "a log that cannot be made anew is told" wait_for 20 grep -q "$cannot" "$here/few/log"
    expect "and the old one has its name again" [ "$(ls "$here/few" | paste -sd' ')" = "a b log" ]
    rm "$here/few/a"
    kill -USR1 "$daemon"
    expect "with room it turns" wait_for 20 test -s "$here/few/log.1"
    stop
else
    skip "a rotation without room for a new file" "no tmpfs may be mounted"
fi
if strace -o /dev/null true 2>/dev/null; then
    mkdir "$here/killed"
    configure 'logfile: killed/log'
    job a 'command: true
mindelay: 0.1'
    start strace -D -f -o /dev/null -e trace=fchmod -e inject=fchmod:signal=KILL:when=1 ./program -c conf
    wait_for 20 test -s "$here/killed/log"
    kill -USR1 "$daemon"
    wait "$daemon" 2>/dev/null
    expect "who is killed in a rotation can open the new log at the next start" [ "$(stat -c %a "$here/killed/log")" = 600 ]
    expect "and nothing is lost" grep -q 'Loading jobs' "$here/killed/log.1"
else
    skip "a kill in a rotation" "no process may be traced here"
fi

# --- A clock that jumps. libfaketime is not asked about the monotonic clock.
faketime=$(find /usr/lib -name libfaketime.so.1 2>/dev/null | head -n 1)
if [ -n "$faketime" ] && ! ldd "$program" 2>&1 | grep -q 'not a dynamic'; then
    configure 'statefile: state
mailinterval: 1h
mailproblemsto: ops@example.com
sendmail: ./keep'
    printf '#!/bin/sh\ncat >/dev/null\necho mail >>mails\n' >"$here/keep"
    chmod 755 "$here/keep"
    : >"$here/mails"
    : >"$here/runs3"
    job tick 'command: sh -c "echo run >>runs3; exit 1"
mindelay: 0.2
timeout: 60'
    echo '+0' >"$here/clock"
    start env LD_PRELOAD="$faketime" DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 \
        FAKETIME_TIMESTAMP_FILE="$here/clock" ./program -c conf
    wait_for 20 more_than 3 runs3
    for step in +366d -366d +0; do
        echo "$step" >"$here/clock"
        there=$(date -u -d "${step%d} days" +%Y)
        stepped() { tail -n 3 "$here/out" | grep -q "^$there-"; }
        expect "the log follows a clock set to $step" wait_for 20 stepped
        began=$(uptime_now)
        expect "jobs run with a clock set to $step" wait_for 30 more_than $(($(lines runs3) + 10)) runs3
        # Eleven more, each 0.2 seconds after the end of the one before.
        expect "no faster than before with a clock set to $step" has_taken 2 "$began"
        expect "no run is called late or stuck or timed out with a clock set to $step" \
            sh -c "! grep -E 'timed out|still running' '$here/out'"
    done
    mails=$(lines mails)
    [ "$mails" -eq 1 ] && ok "a jump is no reason to mail before mailinterval" ||
        fail "a jump is no reason to mail before mailinterval" "$mails mails"
    expect "a clock that jumps does not harm the stop" stop
    echo '-366d' >"$here/clock"
    start env LD_PRELOAD="$faketime" DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 \
        FAKETIME_TIMESTAMP_FILE="$here/clock" ./program -c conf
    expect "state from the future is told" wait_for 20 log_has 'is from the future; its times are not used'
    before=$(lines runs3)
    expect "with state from the future jobs run in time" wait_for 20 more_than $((before + 3)) runs3
    stop
else
    skip "a clock that jumps" "needs libfaketime and a program that is linked dynamically"
fi

# --- A drain while sendmail hangs takes a minute, so what follows is looked at meanwhile.
configure 'mailproblemsto: a@example.com b@example.com c@example.com
sendmail: ./hangs'
printf '#!/bin/sh\nexec sleep 600\n' >"$here/hangs"
chmod 755 "$here/hangs"
job failure 'command: false
mindelay: 1h
startdelay: 0'
mv "$here/conf" "$here/conf.drained"
(cd "$here" && exec ./program -c conf.drained) >"$here/drained" 2>&1 &
drainer=$!
at_exit_kill "$drainer"
expect "the reports of a failure are queued" wait_for 20 grep -q 'Mailing report to: c@' "$here/drained"
kill -QUIT "$drainer"
gone() { ! kill -0 "$1" 2>/dev/null; }
told_at() { date -u -d "$(sed -n "s/ \[-\] $1.*//p" "$here/drained")" +%s; }

# --- A great many runs.
many=${BUILDD_SEQUENCER_RUNS:-20000}
configure 'logfile: many
logsize: 1000000
logkeep: 1
statefile: state.many
metricsfile: many.prom'
sed -i "s|^controlsocket.*|controlsocket: sock|" "$here/conf"
job a 'command: /bin/true
mindelay: 0
startdelay: 0'
job gone 'command: ./gone
mindelay: 1'
start ./program -c conf
status() { "$program" status --json -s "$here/sock"; }
# How often the job a has run.
runs_of_a() { status | tr -d ' \n' | sed -n 's/.*"name":"a"[^}]*"runs":\([0-9]*\).*/\1/p'; }
ran() { [ "$(runs_of_a)" -ge "$1" ]; }
resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$daemon/status"; }
# Looks while no job runs: sets $memory and $descriptors.
look() {
    "$program" pause -s "$here/sock" >/dev/null
    wait_for 20 idle
    memory=$(resident)
    descriptors=$(ls "/proc/$daemon/fd" | wc -l)
    "$program" resume -s "$here/sock" >/dev/null
}
idle() { [ -z "$(cat "/proc/$daemon/task/$daemon/children")" ] && ! status | grep -q '"state": *"running"'; }
wait_for 60 ran $((many / 10))
look
early_memory=$memory
early_descriptors=$descriptors
began=$(date +%s)
if wait_for 600 ran "$many"; then
    took=$(($(date +%s) - began))
    look
    ok "$many runs (the last nine tenths in $took seconds)"
    [ "$descriptors" -eq "$early_descriptors" ] && ok "no descriptor more after them: $descriptors" ||
        fail "no descriptor more after them" "$early_descriptors, then $descriptors"
    [ "$memory" -le $((early_memory + 64)) ] && ok "no more memory after them: $memory kB" ||
        fail "no more memory after them" "$early_memory kB, then $memory kB"
    zombies=$(ps --ppid "$daemon" -o stat= | grep -c Z)
    expect "no zombies" [ "$zombies" -le 1 ]
else
    fail "$many runs" "$(runs_of_a) so far"
fi
expect "many runs do not harm the stop" stop

expect "a drain ends although sendmail hangs" wait_for 90 gone "$drainer"
drained=$(($(told_at "Main loop terminated") - $(told_at "Received SIGQUIT")))
expect "after a minute in all, not one for each message: $drained s" [ "$drained" -ge 59 -a "$drained" -lt 90 ]
expect "and all reports are in the log" [ "$(grep -c 'Subject: Job failure exited with code 1' "$here/drained")" -eq 3 ]

finish
