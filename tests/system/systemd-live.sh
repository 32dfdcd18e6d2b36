#!/bin/sh
# contrib/systemd, run by systemd itself: as PID 1 of namespaces of its own, below a root of its own, with no other
# unit than ours and the journal. It sets kernel settings at its start, so it gets a network of its own and may not write
# those of the machine. Needs root and may be told by the system that it cannot have that; then it says so and passes.

. tests/system/lib.sh

. tests/system/process1.lib

root=$here/root
program=/opt/buildd-sequencer
need_hosts
make_root "$root"
cp "$BIN" "$root$program"
cp contrib/systemd/*.service "$units/"
sed -i "s#/usr/bin/buildd-sequencer#$program#" "$units"/*.service
boot live "$root" check.target

# property NAME [UNIT]
property() {
    inside live systemctl show --property "$1" --value "${2:-buildd-sequencer.service}"
}

is() {
    [ "$(property "$1" "${3:-buildd-sequencer.service}")" = "$2" ]
}

is_not() {
    [ "$(property "$1")" != "$2" ]
}

journal() {
    inside live journalctl --no-pager --output=cat "$@"
}

# journal_says TEXT OPTIONS...
journal_says() {
    text=$1
    shift
    journal --unit buildd-sequencer "$@" | grep -F "$text"
}

configuration() {
    cat >"$root/etc/buildd-sequencer.conf" <<END
[buildsequencer_job.$1]
command: /bin/sh -c 'grep NoNewPrivs /proc/self/status; id -un; sleep 1000 & echo \$! >/tmp/\$PPID.job; wait'
livelog: true
startdelay: 0
END
}

# drop_in NAME LINES
drop_in() {
    mkdir -p "$units/buildd-sequencer.service.d"
    printf '[Service]\n%s\n' "$2" >"$units/buildd-sequencer.service.d/$1.conf"
    inside live systemctl daemon-reload
}

if ! wait_for 120 inside live systemctl show --property Version; then
    sed 's/^/     | /' "$root.console"
    fail "systemd runs in namespaces"
    finish
fi

configuration alpha
expect "it starts" inside live systemctl start buildd-sequencer
expect "and is active, being told so" is ActiveState active
expect "the status is a line of the daemon's" wait_for 20 is_not StatusText ""
property StatusText
expect "jobs run as the unit's user" wait_for 20 journal_says "alpha: buildd-sequencer"
expect "the unit alone leaves setuid senders alone" journal_says "NoNewPrivs:	0"
expect "the runtime directory is the user's" test "$(inside live stat -c %U /run/buildd-sequencer)" = buildd-sequencer

configuration beta
expect "it reloads" inside live systemctl reload buildd-sequencer
expect "and is active after it" wait_for 20 is ActiveState active
expect "the journal tells what changed" wait_for 20 journal_says beta
echo "nonsense" >>"$root/etc/buildd-sequencer.conf"
inside live systemctl reload buildd-sequencer 2>"$here/reload"
expect "a refused file fails the reload" test $? -ne 0
expect "and changes nothing" is ActiveState active
expect "the refusal has its priority in the journal" wait_for 20 journal_says "not reloaded" --priority err
configuration alpha

main=$(property MainPID)
expect "a job tells its process" wait_for 20 inside live test -s "/tmp/$main.job"
job=$(inside live cat "/tmp/$main.job")
job_runs() { inside live kill -0 "$job"; }
job_has_ended() { ! job_runs; }
expect "and runs" job_runs
inside live systemctl kill --signal=KILL --kill-who=main buildd-sequencer
expect "killed, it is started again" wait_for 30 is NRestarts 1
expect "and up again" wait_for 30 is ActiveState active
expect "without the job of the old one" job_has_ended

drop_in watchdog WatchdogSec=12s
inside live systemctl restart buildd-sequencer
main=$(property MainPID)
# Time enough for systemd to miss two signs of life and to act.
lives_on() {
    sleep 30
    property MainPID
    is MainPID "$main"
}
expect "with a short watchdog it lives on" lives_on
inside live systemctl kill --signal=STOP --kill-who=main buildd-sequencer
expect "a daemon that hangs is replaced" wait_for 60 is_not MainPID "$main"
expect "and up again" wait_for 30 is ActiveState active
rm "$units/buildd-sequencer.service.d/watchdog.conf"

drop_in hardening "$(cat contrib/systemd/buildd-sequencer.service.d/hardening.conf)"
expect "it starts with the hardening drop-in" inside live systemctl restart buildd-sequencer
expect "which takes setuid away" wait_for 20 journal_says "NoNewPrivs:	1"

# A drain while a job runs that takes longer than systemd gives a stop.
drop_in drain TimeoutStopSec=4s
cat >"$root/etc/buildd-sequencer.conf" <<END
[buildsequencer_job.slow]
command: /bin/sh -c 'sleep 12; echo in its own time'
livelog: true
startdelay: 0
END
inside live systemctl restart buildd-sequencer
expect "the slow job runs" wait_for 20 journal_says "Running slow"
kills() { inside live journalctl --no-pager | grep -c -e 'status=9/KILL' -e 'Killing process'; }
kills_before=$(kills)
main=$(property MainPID)
inside live systemctl kill --signal=QUIT --kill-who=main buildd-sequencer
is_draining() { property StatusText | grep ', draining$'; }
expect "systemd's status tells of the drain" wait_for 60 is_draining
expect "the job ends in its own time" wait_for 40 journal_says "slow: in its own time"
expect "which is a success" wait_for 20 journal_says "Job slow completed with exit code 0"
expect "then another daemon is started" wait_for 30 is_not MainPID "$main"
expect "and up" wait_for 30 is ActiveState active
expect "systemd has killed nothing for it" [ "$(kills)" -eq "$kills_before" ]
rm "$units/buildd-sequencer.service.d/drain.conf"
configuration alpha
inside live systemctl daemon-reload
inside live systemctl restart buildd-sequencer
expect "it is as before" wait_for 20 is ActiveState active

expect "it stops within 10 seconds" within 10 inside live systemctl stop buildd-sequencer
expect "cleanly" is Result success
expect "the journal ends as it should" journal_says "Main loop terminated"
expect "the runtime directory is gone" inside live test ! -e /run/buildd-sequencer
expect "the state directory is not" inside live test -d /var/lib/buildd-sequencer

echo "nonsense" >>"$root/etc/buildd-sequencer.conf"
inside live systemctl start buildd-sequencer >/dev/null 2>&1
expect "a wrong configuration is not tried again" wait_for 20 is ActiveState failed
expect "with its exit status" is ExecMainStatus 78

mkdir "$root/etc/buildd-sequencer"
for instance in one two; do
    configuration $instance
    mv "$root/etc/buildd-sequencer.conf" "$root/etc/buildd-sequencer/$instance.conf"
    expect "the template starts $instance" inside live systemctl start buildd-sequencer@$instance
    expect "$instance has a socket of its own" wait_for 20 inside live test -S /run/buildd-sequencer-$instance/control.sock
done
inside live systemctl stop buildd-sequencer@one
expect "one stops, two stays" is ActiveState active buildd-sequencer@two.service
expect "and can be asked" inside live $program --socket /run/buildd-sequencer-two/control.sock status
expect "and reloads" inside live systemctl reload buildd-sequencer@two

if [ "$failed" -ne 0 ]; then
    journal | tail -n 60 | sed 's/^/     journal: /'
    tail -n 40 "$root.console" | sed 's/^/     console: /'
fi
finish
