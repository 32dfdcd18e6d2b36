#!/bin/sh
# Processes that the daemon may not signal, because a set-user-ID program has made them root's while the daemon is an
# ordinary user: as a job, as what a job leaves behind, and as sendmail. Needs root and a mount namespace.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ]; then
    exec unshare --mount --propagation private sh "$0" inside
fi
. tests/system/lib.sh
[ "${1:-}" = inside ] || { skip "set-user-ID jobs" "only root can make a program set-user-ID root"; finish; }

# A file system of its own, since that of the temporary directory may be mounted nosuid.
mkdir "$here/suid"
mount -t tmpfs -o mode=755,suid,exec check "$here/suid" || exit
leave() {
    cd / && umount -l "$here/suid"
    clean_up
}
trap leave EXIT
chmod 755 "$here"
cp "$BIN" "$here/suid/program"
cd "$here/suid" || exit

# become_root COMMAND...: what `sudo -n` is to somebody who may do everything.
cp "$(command -v setpriv)" become_root_program
chmod 4755 become_root_program
cat >become_root <<'CODE'
#!/bin/sh
directory=${0%/*}
exec "$directory/become_root_program" --reuid 0 --regid 0 --clear-groups sh -c 'echo "root $$"; exec sleep "$0"' "$1"
CODE
chmod 755 become_root
user=60872
mkdir -m 777 work
cd work || exit

as_user="setpriv --reuid $user --regid $user --clear-groups"
log_has() { grep -q -- "$1" "$daemon_name.log"; }
count() { grep -c -- "$1" "$daemon_name.log"; }
ask() { $as_user ../program "$@" -s "$daemon_name.socket"; }
show() { tail -n 30 "$daemon_name.log" "$daemon_name.err" | sed 's/^/     | /'; }

# start NAME: a daemon of the user's; the configuration is standard input. Sets `daemon`.
start() {
    daemon_name=$1
    {
        printf '[buildsequencer]\ncontrolsocket: %s.socket\nlogfile: %s.log\n' "$daemon_name" "$daemon_name"
        cat
    } >"$daemon_name.conf"
    $as_user ../program -c "$daemon_name.conf" 2>"$daemon_name.err" &
    daemon=$!
    at_exit_kill $daemon
}

# The process that says `root NUMBER` in the log of NAME's job, with livelog.
root_process() { sed -n 's/.*: root \([0-9]*\)$/\1/p' "$daemon_name.log" | tail -n 1; }
wait_for_root_process() {
    wait_for 20 log_has ': root [0-9]' || { fail "$daemon_name: the job becomes root"; show; finish; }
    stranger=$(root_process)
    at_exit_kill "$stranger"
}
# A line of the status that is longer than a terminal is wide is folded.
status_says() { ask status | sed -e ':next' -e '$!N; s/\n    / /; t next' -e 'P; D' | grep -- "$1"; }
says_not() { ! log_has "$1"; }
exits_with() {
    status=$1
    shift
    "$@" >answer 2>&1
    [ $? -eq "$status" ] && cat answer
}
# at_rest SECONDS RATE: for so long the daemon goes to sleep no more often than so many times a second, and twice.
at_rest() {
    before=$(sleeps)
    began=$(uptime_now)
    sleep "$1"
    echo "$before $(sleeps)"
    awk "BEGIN { exit $(sleeps) - $before > $2 * ($(uptime_now) - $began) + 2 }"
}
sleeps() { sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$daemon/status"; }

# sendmail takes over a minute to be given up, so it begins first.
start mail <<'CONF'
mailproblemsto: ops@example.com
sendmail: /bin/sh -c "exec ../become_root 1000 >mail.pid 2>&1"
[buildsequencer_job.failure]
command: false
mindelay: 1d
startdelay: 0
[buildsequencer_job.tick]
command: true
mindelay: 5
CONF
mail_daemon=$daemon

start job <<'CONF'
[buildsequencer_job.root]
command: ../become_root 600
mindelay: 1d
startdelay: 0
timeout: 5
killdelay: 1
livelog: yes
[buildsequencer_job.next]
command: true
mindelay: 1d
startdelay: 0
CONF
wait_for_root_process
expect "that a job cannot be signalled is logged" \
    wait_for 20 log_has "Job root (pid $stranger) cannot be signalled: Operation not permitted; no other job starts before its end\.$"
sleep 3
expect "once, however often it is tried" [ "$(count 'cannot be signalled')" -eq 1 ]
expect "the process is still there" kill -0 "$stranger"
expect "no other job is started" says_not "Running next"
expect "status tells" status_says "^RUNNING root, pid $stranger, .*: STUCK, cannot be signalled: Operation not permitted\$"
ask status --json >json
expect "so does its JSON" grep '"stuck": true, "cannot_be_signalled": "Operation not permitted"' json
expect "kill is refused with the system's words" exits_with 1 ask kill root
expect "which are these" grep "^root (pid $stranger) cannot be signalled: Operation not permitted$" answer
expect "healthcheck fails" exits_with 1 ask healthcheck
expect "and says why" grep "^root cannot be signalled: Operation not permitted (pid $stranger, for .*) and 1 job waits, next longest" answer
expect "healthcheck --alive does not" ask healthcheck --alive
expect "five seconds of it wake the daemon a few times only" at_rest 5 2
kill -KILL "$stranger"
expect "its end is what frees the lane" wait_for 20 log_has 'Job next completed with exit code 0$'
expect "and it has timed out" log_has 'Job root completed with exit code 137 (timed out after 5 seconds)$'
expect "all is well again" ask healthcheck
kill -TERM $daemon
wait $daemon
expect "it stops cleanly" [ $? -eq 0 ]

# An operator who is refused changes nothing: the run ends as it ends.
start refused <<'CONF'
[buildsequencer_job.root]
command: ../become_root 15
mindelay: 1d
startdelay: 0
livelog: yes
CONF
wait_for_root_process
expect "an operator's kill is refused" exits_with 1 ask kill root
expect "and asked for in the log" log_has "Asked to kill root by uid $user "
expect "the run ends by itself and is a success" wait_for 60 log_has 'Job root completed with exit code 0$'
kill -TERM $daemon
wait $daemon

# What is left of a group whose leader has been stopped.
start rest <<'CONF'
[buildsequencer_job.rest]
command: sh -c "../become_root 600 & wait"
mindelay: 1d
startdelay: 0
timeout: 5
killdelay: 1
livelog: yes
[buildsequencer_job.next]
command: true
mindelay: 1d
startdelay: 0
CONF
wait_for_root_process
expect "what a stopped leader leaves and may not be signalled is logged" \
    wait_for 20 log_has 'What is left of job rest (process group [0-9]*) cannot be signalled: Operation not permitted; '
sleep 2
expect "it holds the lane" says_not "Running next"
expect "kill is refused" exits_with 1 ask kill
expect "healthcheck fails" exits_with 1 ask healthcheck
kill -KILL "$stranger"
expect "its end frees the lane" wait_for 20 log_has 'Job next completed with exit code 0$'
expect "the run ended as its leader did" log_has 'Job rest completed with exit code 143 (timed out after 5 seconds)$'
kill -TERM $daemon
wait $daemon

# What is left of it at a stop.
start left <<'CONF'
[buildsequencer_job.left]
command: sh -c "../become_root 600 & wait"
mindelay: 1d
startdelay: 0
livelog: yes
CONF
wait_for_root_process
kill -TERM $daemon
wait $daemon
expect "what a stop leaves behind is named" \
    log_has 'What is left of job left (process group [0-9]*) cannot be signalled: Operation not permitted; leaving it behind\.$'
expect "once" says_not 'keeps its output open'
kill -KILL "$stranger"

# The kernel does not show an ordinary user which signal ended a process of root's.
start signal <<'CONF'
[buildsequencer_job.root]
command: ../become_root 600
mindelay: 1d
startdelay: 0
livelog: yes
CONF
wait_for_root_process
kill -35 "$stranger"
expect "a real-time signal from somebody else has its name" \
    wait_for 20 log_has 'Job root completed with exit code 163 (killed by SIGRTMIN+1)$'
kill -TERM $daemon
wait $daemon

# A stop: with the defaults, and in a hurry.
for how in patient hasty; do
    start $how <<'CONF'
[buildsequencer_job.root]
command: ../become_root 600
mindelay: 1d
startdelay: 0
livelog: yes
CONF
    wait_for_root_process
    began=$(uptime_now)
    least=5.4 most=9
    kill -TERM $daemon
    if [ $how = hasty ]; then
        expect "the stop begins" wait_for 20 log_has 'cannot be signalled'
        began=$(uptime_now)
        least=0.4 most=3
        kill -TERM $daemon
    fi
    expect "a $how stop ends cleanly, within $most seconds" within $most wait $daemon
    expect "half a second after SIGKILL" has_taken $least "$began"
    expect "the process is named" log_has "Job root (pid $stranger) cannot be signalled: Operation not permitted; leaving it behind\.$"
    expect "and left behind" kill -0 "$stranger"
    expect "the run is told of as stopped" log_has 'Job root completed with exit code 137 (stopped at shutdown)$'
    kill -KILL "$stranger"
done

daemon_name=mail
daemon=$mail_daemon
expect "sendmail has become root" wait_for 20 grep -q '^root ' mail.pid
stranger=$(sed 's/root //' mail.pid)
at_exit_kill "$stranger"
expect "a sendmail that cannot be signalled has failed after its time" \
    wait_for 90 log_has 'Mail to ops@example.com failed: sendmail took longer than 60 seconds and cannot be signalled (Operation not permitted), next try in 30 seconds$'
expect "though it is still there" kill -0 "$stranger"
expect "status tells of it" status_says '^MAIL    1 queued; last error .*cannot be signalled (Operation not permitted)'
expect "jobs went on meanwhile" [ "$(count 'Job tick completed with exit code 0')" -ge 5 ]
expect "it is not waited for" at_rest 3 4
mv mail.pid first.pid
expect "the next try comes" wait_for 60 grep -q '^root ' mail.pid
kill -KILL "$stranger"
expect "what was left behind is reaped at its end" wait_for 60 sh -c "! kill -0 $stranger"
at_exit_kill "$(sed 's/root //' mail.pid)"
kill -TERM $daemon
expect "a stop ends cleanly, and waits for it no longer than for any mail" within 9 wait $daemon
expect "which is named" log_has 'sendmail (pid [0-9]*) cannot be signalled: Operation not permitted; leaving it behind\.$'
expect "the report is in the log" log_has '^	Subject: Job failure exited with code 1$'

[ "$failed" -eq 0 ] || for daemon_name in job refused rest left signal patient hasty mail; do show; done
finish
