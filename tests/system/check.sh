#!/bin/sh
# `check -u`: looks as the user that the daemon will be, with what root does for that user before. Needs root.

. tests/system/lib.sh
if [ "$(id -u)" -ne 0 ]; then
    skip "check as another user" "it needs root"
    finish
fi

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
chmod 755 "$here"
cd "$here" || exit
cp "$program" program
chmod 755 program
umask 022
user=2001
group=2002
mkdir theirs roots roots/shut
chown $user:$group theirs
chmod 700 roots/shut
printf '#!/bin/sh\n' >roots/shut/job
cp roots/shut/job roots/job
chmod 755 roots/job roots/shut/job

# configuration LINE...: in conf, each line in the daemon's own section.
configuration() {
    { printf '[buildsequencer]\ncontrolsocket: none\n'; printf '%s\n' "$@"
        printf '[buildsequencer_job.a]\ncommand: %s\nmindelay: 1h\n' "$job"; } >conf
}
job=$here/roots/job
before() { find . ! -name out ! -name expect.out | sort; }

# checks STATUS TEXT OPTIONS...: what `check -u` says of conf: this status, and these lines.
checks() {
    expected="$1
$2"
    shift 2
    before >"$here.before"
    ./program check -c conf -u $user -g $group "$@" 2>out >/dev/null
    found="$?
$(sed "\$d" out)"
    if [ "$found" = "$expected" ]; then
        ok "$name"
    else
        fail "$name" "expected: $expected" "found:    $found"
    fi
    before | cmp -s - "$here.before" || fail "$name: makes nothing" "$(before | diff - "$here.before")"
    rm -f "$here.before"
}
# For root alone everything is well.
root_is_content() {
    ./program check -c conf >/dev/null 2>out
    expect "$name; root finds no fault" [ $? -eq 0 ]
}
# starts OPTIONS...: whether the daemon does, as that user.
starts() {
    timeout 20 ./program -c conf -u $user -g $group --pidfile roots/daemon.pid "$@" >out 2>&1 &
    daemon=$!
    at_exit_kill $daemon
    wait_for 20 [ -s roots/daemon.pid ] && kill -TERM "$(cat roots/daemon.pid)"
    wait $daemon
}
denied="Permission denied"

name="the user's own files"
configuration "logfile: theirs/log" "statefile: theirs/state" "metricsfile: theirs/x.prom"
checks 0 ""

name="a state file in a directory of root's"
configuration "statefile: roots/shut/state"
checks 78 "conf:3: statefile: directory 'roots/shut' cannot be written: $denied"
root_is_content

name="a state file that only root may read"
configuration "statefile: theirs/rootsstate"
(umask 077 && : >theirs/rootsstate)
checks 78 "conf:3: statefile: 'theirs/rootsstate' cannot be read: $denied"
root_is_content
rm theirs/rootsstate

name="a command in a directory of root's"
job=$here/roots/shut/job
configuration ""
checks 78 "conf:5: job a: command '$job' cannot be run: $denied"
root_is_content
job=$here/roots/job

name="a sendmail in a directory of root's"
configuration "mailproblemsto: a@x" "fromaddress: b@x" "sendmail: $here/roots/shut/job -i"
checks 78 "conf:5: sendmail: command '$here/roots/shut/job' cannot be run: $denied"
root_is_content

name="a configuration that only root may read"
configuration ""
chmod 600 conf
checks 78 "conf:1: cannot read the configuration: $denied (as user $user, so no reload would succeed)"
root_is_content
chmod 644 conf

name="a file that it extends and only root may read"
configuration ""
mv conf roots/base.conf
chmod 600 roots/base.conf
printf '[meta]\nextends: roots/base.conf\n' >conf
checks 78 "conf:2: cannot read 'roots/base.conf': $denied (conf extends roots/base.conf) (as user $user, so no reload would succeed)"
root_is_content
rm roots/base.conf

name="a log that root makes, and nobody rotates"
configuration "logfile: roots/log" "logsize: 0"
checks 0 ""
expect "$name; and so the daemon starts" starts
rm -f roots/log

name="a log that root makes, and the user cannot rotate"
configuration "logfile: roots/log"
checks 78 "conf:3: logfile: directory 'roots' cannot be written: $denied"
root_is_content

name="a log behind the user's link into root's directory"
configuration "logfile: theirs/link"
ln -s ../roots/shut/log theirs/link
chown -h $user:$group theirs/link
checks 78 "conf:3: logfile: cannot open log 'theirs/link': $denied for user $user, and root does not open it: others than root may write in directory './theirs'"
rm theirs/link

name="a log behind root's link to where the user will make it"
configuration "logfile: roots/link"
ln -s ../theirs/new roots/link
checks 0 ""
expect "$name; and so the daemon starts" starts
expect "$name; it is there" [ -f theirs/new ]
rm -f roots/link theirs/new

name="another user's file in a sticky directory"
mkdir -m 1777 shared
: >shared/x.prom
configuration "metricsfile: shared/x.prom"
checks 78 "conf:3: metricsfile: 'shared/x.prom' is another user's, so in 'shared', whose sticky bit is set, it cannot be replaced"
root_is_content
chown $user shared/x.prom
checks 0 ""
rm -r shared

name="a pid file that root makes"
configuration ""
checks 0 "" --pidfile roots/pid

name="a pid file that only root may read, in the user's directory"
(umask 077 && : >theirs/pid)
checks 78 "buildd-sequencer: cannot write pid file '$here/theirs/pid': $denied for user $user, and root does not open it: others than root may write in directory '$here/theirs'" --pidfile theirs/pid
rm -f theirs/pid

name="an unknown user"
./program check -c conf -u 'no such one' >/dev/null 2>out
expect "$name: status" [ $? -eq 78 ]
expect "$name: the daemon's own words" \
    grep -Fx "buildd-sequencer: there is no user 'no such one'; give a number if users cannot be looked up here" out

finish
