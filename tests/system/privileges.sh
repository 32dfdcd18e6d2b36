#!/bin/sh
# Giving up root: user, group and supplementary groups of the daemon and its jobs, no way back, who owns the files.
# Needs root and a mount namespace, in which /etc/passwd and /etc/group are this check's own; and perl.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount sh "$0" inside
fi
. tests/system/lib.sh
if [ "${1:-}" != inside ]; then
    skip "giving up root" "it needs root and a mount namespace"
    finish
fi

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
chmod 755 "$here"
cd "$here" || exit
printf 'root:x:0:0::/:/bin/sh\nbuilder:x:2001:2002::/:/bin/sh\nother:x:2005:2006::/:/bin/sh\n' >passwd
printf 'root:x:0:\nbuilders:x:2002:\nmore:x:2003:builder\nextra:x:2004:other,builder\nothers:x:2006:\n' >group
mount --bind passwd /etc/passwd && mount --bind group /etc/group || exit
# A program that its users may run.
cp "$program" program
chmod 755 program

cat >conf <<'END'
[buildsequencer]
controlsocket: none
[buildsequencer_job.who]
command: grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)):' /proc/self/status
startdelay: 0
mindelay: 1h
alwayslog: true
[buildsequencer_job.back]
command: perl -e 'use POSIX; $< = 0; $> = 0; setuid(0); exit(grep { $_ == 0 } $<, $>)'
startdelay: 0
mindelay: 1h
[buildsequencer_job.groups]
command: perl -e '$) = "0 0"; exit(grep { $_ == 0 } split / /, $))'
startdelay: 0
mindelay: 1h
END

log_has() { grep -q -- "$1" "$log"; }
show_log() { sed 's/^/     | /' "$log" errors; }

# start OPTIONS...: a daemon with its log on standard output, up and done with its jobs.
start() {
    log=log
    : >log
    "$@" >>log 2>errors &
    daemon=$!
    at_exit_kill $daemon
    wait_for 20 log_has 'Job groups completed' || { fail "it starts: $*"; show_log; }
}
stop() {
    kill -TERM $daemon
    wait $daemon || { fail "it stops with status 0" "status $?"; show_log; }
}

# What /proc says of a process, on one line.
identity() {
    awk '/^(Uid|Gid):/ { print $2, $3, $4, $5 } /^Groups:/ { $1 = ""; print "groups" $0 }
        /^Cap(Inh|Prm|Eff|Amb):/ { capabilities = capabilities $2 }
        END { print (capabilities ~ /^0*$/ ? "none" : "some") }' "$1" | paste -sd, | sed 's/ ,/,/g'
}
# becomes EXPECTED OPTIONS...
becomes() {
    expected=$1
    shift
    # Root's own groups, which only a user of its own replaces.
    start setpriv --groups 2004,2006 ./program -c conf "$@"
    identity /proc/$daemon/status >own
    grep "$(printf '^\t')" log | cut -f2- >status
    identity status >job
    if [ "$(cat own)" = "$expected" ] && [ "$(cat job)" = "$expected" ]; then
        ok "$*: daemon and job are $expected"
    else
        fail "$*: daemon and job are $expected" "daemon: $(cat own)" "job: $(cat job)"
    fi
    case $expected in
    0*) ;;
    *)
        expect "$*: no way back to root" log_has 'Job back completed with exit code 0$'
        expect "$*: no way back to its groups" log_has 'Job groups completed with exit code 0$'
        ;;
    esac
    stop
}
builder='2001 2001 2001 2001,2002 2002 2002 2002,groups 2002 2003 2004,none'
becomes "$builder" -u builder
becomes "$builder" -u 2001
becomes "$builder" --uid=builder --gid=builders
becomes "$builder" -u 2001 -g 2002
becomes '2001 2001 2001 2001,2003 2003 2003 2003,groups 2003 2004,none' -u builder -g more
becomes '2005 2005 2005 2005,2002 2002 2002 2002,groups 2002 2004,none' -u other -g 2002
becomes '3000 3000 3000 3000,3001 3001 3001 3001,groups 3001,none' -u 3000 -g 3001
becomes '0 0 0 0,2003 2003 2003 2003,groups 2004 2006,some' -g more

# Capabilities that would stay with a process that is no longer root.
inherits() {
    expected=$builder
    start setpriv "$@" ./program -c conf -u builder
    identity /proc/$daemon/status >own
    grep "$(printf '^\t')" log | cut -f2- >status
    expect "$*: the daemon is $builder" [ "$(cat own)" = "$builder" ]
    expect "$*: so is its job" [ "$(identity status)" = "$builder" ]
    mark=$(tr '\000' '\n' <"/proc/$daemon/environ" | grep -c SHEDDING)
    expect "$*: it has begun anew once, as the same process" [ "$mark" -eq 1 ]
    stop
}
inherits --inh-caps +net_raw
inherits --inh-caps +net_raw,+chown --ambient-caps +net_raw,+chown

# A SIGHUP that comes before is not lost on the way.
log=log
: >log
# shellcheck disable=SC2016 # the inner shell's own id
env --block-signal=HUP sh -c 'kill -HUP $$; exec "$@"' sh \
    setpriv --inh-caps +net_raw ./program -c conf -u builder >>log 2>errors &
daemon=$!
at_exit_kill $daemon
expect "a SIGHUP that comes before is obeyed after" wait_for 20 log_has 'Received SIGHUP'
stop

# refused STATUS TEXT COMMAND...: ends with this status and exactly this line, and leaves no file behind.
refused() {
    expected="$1 buildd-sequencer: $2"
    shift 2
    timeout 20 "$@" -c "$here/conf" -l "$here/new.log" --pidfile "$here/new.pid" >out 2>&1
    found="$? $(cat out)"
    if [ "$found" = "$expected" ] && [ ! -e new.pid ]; then
        ok "$*: $expected"
    else
        fail "$*: $expected" "$found"
    fi
    rm -f new.log new.pid
}
ask_numbers="give a number if users cannot be looked up here"
refused 1 "there is no user 'nosuchuser'; $ask_numbers" ./program -u nosuchuser
refused 1 "there is no user ''; $ask_numbers" ./program -u ''
refused 1 "there is no user '4294967295'; $ask_numbers" ./program -u 4294967295 -g 1
refused 1 "there is no user '-1'; $ask_numbers" ./program -u -1 -g 1
refused 1 "there is no group 'nosuchgroup'; give a number if groups cannot be looked up here" ./program -u builder -g nosuchgroup
refused 1 "user 3000 is not known here, so neither is its group; give one with --gid" ./program -u 3000
# Without setpriv there is no way.
cp "$(command -v setpriv)" ours
: >empty
for setpriv in /usr/bin/setpriv /bin/setpriv; do
    mount --bind empty $setpriv
done
refused 1 "cannot give up the inheritable capabilities 0000000000002000: cannot run setpriv: Permission denied; start it without them, for instance by 'setpriv --inh-caps=-all'" \
    ./ours --inh-caps +net_raw ./program -u builder
for setpriv in /usr/bin/setpriv /bin/setpriv; do
    while umount $setpriv 2>/dev/null; do :; done
done
mkdir -m 777 open
as_builder="setpriv --reuid 2001 --regid 2002 --clear-groups"
cannot="buildd-sequencer: cannot become user 2005 and group 2006: Operation not permitted; only root can"
# shellcheck disable=SC2086 # some words
(cd open && timeout 20 $as_builder ../program -c ../conf -u other --pidfile pid >out 2>&1
    echo "$? $(cat out)" >../found)
expect "others cannot become somebody else" [ "$(cat found)" = "1 $cannot" ]
expect "and leave no pid file" [ ! -e open/pid ]
refused 1 "root's privileges could be regained after they were given up; not starting" \
    setpriv --securebits +no_setuid_fixup ./program -u builder
# shellcheck disable=SC2086
start $as_builder ./program -c conf -u builder -g builders
ok "who is this user already may say so"
stop

# Who owns what.

is_empty() { [ -e "$1" ] && [ ! -s "$1" ]; }
owner() { stat -c '%U:%G %a' "$1"; }
mkdir theirs roots
chown builder:builders theirs
umask 022

# start_on LOG OPTIONS...: as builder, with a log file.
start_on() {
    log=$1
    shift
    ./program -c conf -u builder -l "$log" "$@" 2>errors &
    daemon=$!
    at_exit_kill $daemon
}

start_on theirs/log --pidfile theirs/pid
expect "jobs run" wait_for 20 log_has 'Job groups completed'
expect "a new log is the user's" [ "$(owner theirs/log)" = "builder:builders 644" ]
expect "so is a pid file in the user's directory" [ "$(owner theirs/pid)" = "builder:builders 644" ]
expect "and names the daemon" [ "$(cat theirs/pid)" = "$daemon" ]
kill -USR1 $daemon
expect "the user can rotate its log" wait_for 20 [ -e theirs/log.1 ]
expect "and owns the next" [ "$(owner theirs/log)" = "builder:builders 644" ]
stop
expect "the pid file is removed where the user may" [ ! -e theirs/pid ]
expect "the log goes on to the end" log_has 'Main loop terminated.$'

for again in first second; do
    start_on roots/log --pidfile roots/pid
    expect "$again: jobs run" wait_for 20 log_has 'Job groups completed'
    expect "$again: the log in root's directory is the user's" [ "$(owner roots/log)" = "builder:builders 644" ]
    expect "$again: the pid file names the daemon" [ "$(cat roots/pid)" = "$daemon" ]
    kill -USR1 $daemon
    expect "$again: a log that cannot be rotated says so" wait_for 20 log_has "cannot rename log '$here/roots/log' to '$here/roots/log.1': Permission denied; writing on to the same file$"
    stop
    expect "$again: the log goes on to the end" log_has 'Main loop terminated.$'
    expect "$again: the pid file is emptied where the user may not remove it" is_empty roots/pid
    rm roots/log
done

# A group that only the user's supplementary list has is enough: the user opens, not root.
mkdir groups
chgrp 2004 groups
chmod 770 groups
start_on groups/log --pidfile groups/pid
expect "jobs run" wait_for 20 log_has 'Job groups completed'
expect "what a supplementary group allows is the user's" \
    [ "$(owner groups/log) $(owner groups/pid)" = "builder:builders 644 builder:builders 644" ]
stop
start_on roots/log --pidfile roots/pid
expect "jobs run" wait_for 20 log_has 'Job groups completed'
expect "a pid file that root has to make is root's" [ "$(owner roots/pid)" = "root:root 644" ]
stop
# What is not new is not given away.
: >roots/old
start_on roots/old
expect "an old log of root's is written to" wait_for 20 log_has 'Job groups completed'
expect "and stays root's" [ "$(owner roots/old)" = "root:root 644" ]
stop
rm -f roots/log roots/old roots/pid

# Standard output that only root may open.
mkfifo -m 600 fifo
cat fifo >log &
at_exit_kill $!
./program -c conf -u builder >fifo 2>errors &
daemon=$!
at_exit_kill $daemon
log=log
expect "a pipe that only root may open takes the log" wait_for 20 log_has 'Job groups completed'
stop
expect "to the end" wait_for 20 log_has 'Main loop terminated.$'

# A configuration that only root may read.
chmod 600 conf
start ./program -c conf -u builder
kill -HUP $daemon
expect "a configuration that cannot be read any more is not reloaded" wait_for 20 log_has 'Configuration not reloaded'
expect "and says why" log_has 'conf.*: Permission denied'
stop

# What the daemon makes once it is the user.
chmod 644 conf
{
    sed '/^controlsocket/d' conf
    printf '[buildsequencer]\ncontrolsocket: %s\nstatefile: %s\nmetricsfile: %s\n' \
        "$here/theirs/socket" "$here/theirs/state" "$here/theirs/metrics.prom"
} >all
echo secret >roots/secret
chmod 600 roots/secret
setpriv --reuid 2001 --regid 2002 --clear-groups ln -s ../roots/secret theirs/state.history
start ./program -c all -u builder
expect "a link in the history's place is not followed" \
    wait_for 20 log_has "cannot write history file .*: it is a symbolic link"
expect "and what it leads to stays" [ "$(cat roots/secret)" = secret ]
stop
rm -f theirs/state theirs/state.history roots/secret
start ./program -c all -u builder
asks() { setpriv --reuid "$1" --regid "$2" --clear-groups ./program status -s theirs/socket; }
expect "the user may ask it" wait_for 20 asks 2001 2002
expect "so may its group" asks 2005 2002
others_may_not() { ! asks 2005 2006; }
expect "others may not" others_may_not
expect "the socket is the user's" [ "$(owner theirs/socket)" = "builder:builders 660" ]
expect "the metrics are" wait_for 20 [ "$(owner theirs/metrics.prom)" = "builder:builders 644" ]
stop
expect "the state is" [ "$(stat -c %U:%G theirs/state)" = "builder:builders" ]
expect "so is the history" [ "$(owner theirs/state.history)" = "builder:builders 600" ]
are_gone() { [ ! -e theirs/socket ] && [ ! -e theirs/metrics.prom ]; }
expect "socket and metrics are gone in the end" are_gone

# Detached, and with inheritable capabilities, so that it begins anew in between.
setpriv --inh-caps +net_raw ./program -c conf -u builder -d theirs --daemon >out 2>&1
expect "a detached daemon starts" [ $? -eq 0 ]
daemon=$(cat theirs/twistd.pid)
at_exit_kill "$daemon"
log=theirs/twistd.log
expect "jobs run" wait_for 20 log_has 'Job groups completed'
expect "it is $builder" [ "$(identity "/proc/$daemon/status")" = "$builder" ]
expect "its log is the user's, with the mode of the mask that was inherited" \
    [ "$(owner theirs/twistd.log)" = "builder:builders 644" ]
expect "its pid file is the user's alone" [ "$(owner theirs/twistd.pid)" = "builder:builders 600" ]
kill -TERM "$daemon"
gone() { ! kill -0 "$daemon"; }
expect "it stops" wait_for 20 gone
expect "its pid file is gone" [ ! -e theirs/twistd.pid ]

# A port that only root may bind, taken until the daemon before has ended, of which only the state file tells.
cat >next <<'END'
[buildsequencer]
controlsocket: none
statefile: theirs/state
listen: 127.0.0.1:81
[buildsequencer_job.holds]
command: sh -c 'trap "" TERM; id; : >theirs/begun; sleep 1'
startdelay: 0
mindelay: 1h
killdelay: 1h
END
log=log
: >log
./program -c next -u builder >>log 2>errors &
first=$!
at_exit_kill $first
wait_for 20 [ -e theirs/begun ] || fail "the first daemon works"
kill -TERM $first
wait_for 20 log_has "Received SIGTERM" || fail "the first daemon stops"
: >second
./program -c next -u builder >>second 2>errors &
daemon=$!
at_exit_kill $daemon
expect "a start waits for the daemon that has the state" wait_for 20 grep -q 'Scheduling holds' second
expect "and has its port then" sh -c '! grep "Cannot listen" second'
expect "as the user" [ "$(identity "/proc/$daemon/status")" = "$builder" ]
stop

finish
