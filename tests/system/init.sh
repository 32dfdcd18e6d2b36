#!/bin/sh
# contrib/init.d: everything the script can be asked, with a real daemon, and as an unprivileged user where the check
# is run by root.

. tests/system/lib.sh

program=$(realpath "$BIN")
conf=$here/sequencer.conf
log=$here/log/sequencer.log
pidfile=$here/sequencer.pid
chmod 755 "$here"

sed "s#/etc/default/buildd-sequencer#$here/default#g" contrib/init.d/buildd-sequencer >"$here/init"

# settings USER: what /etc/default would hold.
settings() {
    cat >"$here/default" <<END
DAEMON=$program
CONFIG=$conf
DAEMON_USER=$1
RUNDIR=$here
LOGFILE=$log
PIDFILE=$pidfile
SOCKETDIR=$here/socket
STOP_TIMEOUT=20
DAEMON_ARGS='--umask 022'
export MARK=exported
END
}

configuration() {
    cat >"$conf" <<END
[buildsequencer]
controlsocket: $here/socket/control.sock

[buildsequencer_job.marks]
command: /bin/sh -c 'echo "\$MARK in \$PWD" >$here/log/mark'
startdelay: 0
mindelay: 1h

[buildsequencer_job.sleeps]
command: /bin/sh -c 'echo \$\$ >$here/log/job.pid; exec sleep 1000'
startdelay: 0
$1
END
}

# asked NAME STATUS WORD: the script's answer must have this exit status.
asked() {
    timeout 60 sh "$here/init" "$3" >"$here/out" 2>&1
    got=$?
    if [ "$got" -eq "$2" ]; then
        ok "$user: $1"
    else
        fail "$user: $1" "$3: exit $got, wanted $2" "$(cat "$here/out")" "$(tail -n 5 "$log" 2>&1)"
    fi
    pid=$(cat "$pidfile" 2>/dev/null)
    [ -z "$pid" ] || at_exit_kill "$pid"
}

holds() {
    name=$1
    shift
    expect "$user: $name" wait_for 20 "$@"
}

job_lives() {
    kill -0 "$(cat "$here/log/job.pid")"
}

job_is_gone() {
    ! kill -0 "$(cat "$here/log/job.pid")"
}

life() {
    user=${1:-root}
    settings "$1"
    rm -rf "$here/log" "$here/socket" "$pidfile"
    configuration ""
    asked "status of nothing is 3" 3 status
    asked "stopping nothing is no error" 0 stop
    asked "reloading nothing is 7" 7 reload
    asked "it starts" 0 start
    first=$pid
    asked "status of what runs is 0" 0 status
    holds "jobs run in the run directory with what was exported" grep -Fx "exported in $here" "$here/log/mark"
    holds "the next job runs" test -s "$here/log/job.pid"
    asked "starting again is no error" 0 start
    holds "and starts nothing" test "$pid" = "$first"

    configuration "[buildsequencer_job.added]
command: /bin/true"
    asked "it reloads" 0 reload
    holds "the log tells of the new job" grep added "$log"
    configuration "[buildsequencer_job.added]
comand: /bin/true"
    asked "a wrong configuration is not reloaded" 6 force-reload
    asked "and does not stop what runs" 6 restart
    holds "the same process runs" test "$(cat "$pidfile")" = "$first"
    configuration ""
    rm -f "$here/log/job.pid"
    asked "it restarts" 0 restart
    holds "as another process" test "$pid" != "$first"
    holds "the job runs again" test -s "$here/log/job.pid"

    # A job that takes its time: SIGTERM by somebody else, and a start that would find the old daemon still running.
    configuration "killdelay: 1h
[buildsequencer_job.stubborn]
command: /bin/sh -c 'trap : TERM; echo >$here/log/stubborn; until [ -e $here/log/go ]; do sleep 0.1; done'
startdelay: 0"
    asked "it reloads again" 0 reload
    kill "$(cat "$here/log/job.pid")"
    holds "a stubborn job runs" test -e "$here/log/stubborn"
    first=$pid
    kill -TERM "$first"
    holds "the daemon is stopping" grep "Received SIGTERM" "$log"
    (sleep 1; : >"$here/log/go") &
    asked "a start waits for the daemon that is stopping" 0 start
    holds "and there is another" test "$pid" != "$first"
    holds "which runs" kill -0 "$pid"
    configuration ""
    rm -f "$here/log/job.pid" "$here/log/go" "$here/log/stubborn"
    asked "it restarts once more" 0 restart
    holds "the job runs once more" job_lives

    kill -KILL "$pid" "$(cat "$here/log/job.pid")"
    holds "killed, it has died" job_is_gone
    holds "status of what has died is 1" dead_with_pid_file
    rm -f "$here/log/mark"
    asked "a stale pid file does not stop the start" 0 try-restart
    asked "it starts over a stale pid file" 0 start
    holds "and runs its jobs" test -s "$here/log/mark"
    asked "it stops" 0 stop
    asked "status after that is 3" 3 status
    holds "no process id is left" test ! -s "$pidfile"
    holds "the log ends as it should" grep "Main loop terminated" "$log"
    configuration "nonsense"
    asked "a wrong configuration does not start" 6 start
    configuration ""
    sed -i 's/^DAEMON_ARGS=.*/DAEMON_ARGS=--if-launch/' "$here/default"
    asked "one that is not to be launched is no error" 0 start
    holds "and is not said to have started" grep -x "buildd-sequencer not started: launch is not true" "$here/out"
}

dead_with_pid_file() {
    sh "$here/init" status
    [ $? -eq 1 ]
}

life ""
[ "$(id -u)" -ne 0 ] || life nobody

user=missing
settings no-such-user
rm -rf "$here/socket"
asked "a user that is not there ends the start" 1 start
holds "in its words" grep -q "there is no user 'no-such-user'; make it" "$here/out"
holds "and nothing was made that would stay root's" test ! -e "$here/socket"
settings 65533.
asked "a directory that cannot be given to the user ends it too" 1 start
holds "and is removed" test ! -e "$here/socket"

user=otherwise
settings ""
mkdir "$here/relative"
cp "$program" "$here/buildd-sequencer-1.1"
sed "s#^DAEMON=.*#DAEMON=$here/buildd-sequencer-1.1#; s#^RUNDIR=.*#RUNDIR=$here/relative#; s#^LOGFILE=.*#LOGFILE=x.log#" \
    "$here/default" >"$here/default.new"
mv "$here/default.new" "$here/default"
mkdir -p "$here/log"
asked "a program of another name with a relative log starts" 0 start
holds "the log is in the run directory" test -f "$here/relative/x.log"
asked "it is seen to run" 0 status
sed "s#^DAEMON=.*#DAEMON=$program#" "$here/default" >"$here/default.new"
mv "$here/default.new" "$here/default"
asked "also once another version is to be started" 0 status
asked "it is stopped" 0 stop
asked "and no longer runs" 3 status

user=any
settings ""
asked "an unknown word is wrong usage" 2 frobnicate
sed "s#^DAEMON=.*#DAEMON=$here/none#" "$here/default" >"$here/default.new"
mv "$here/default.new" "$here/default"
asked "a missing program is 5" 5 start

finish
