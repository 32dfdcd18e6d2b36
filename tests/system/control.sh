#!/bin/sh
# The control socket as root: what is there while it comes to its place, who may connect and what others are told,
# whose configuration a command means, and directories that belong to others. Needs root, private mount and host name
# namespaces, strace, and python3 to set a host name that hostname(1) would refuse.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount --uts true 2>/dev/null; then
    exec unshare --mount --uts sh "$0" inside
fi
. tests/system/lib.sh
if [ "${1:-}" != inside ]; then
    skip "the control socket as root" "it needs root, a mount and a host name namespace"
    finish
fi

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
chmod 755 "$here"
cd "$here" || exit
printf 'root:x:0:0::/:/bin/sh\nbuilder:x:2001:2002::/:/bin/sh\nother:x:2005:2006::/:/bin/sh\n' >passwd
printf 'root:x:0:\nbuilders:x:2002:\nothers:x:2006:\n' >group
mount --bind passwd /etc/passwd && mount --bind group /etc/group || exit
# A program that its users may run.
cp "$program" program
chmod 755 program
program=$here/program

# configure FILE SOCKET: a configuration with one job, which never runs by itself.
configure() {
    printf '[buildsequencer]\nlogfile: %s.log\ncontrolsocket: %s\n' "$here/${1##*/}" "$2" >"$1"
    printf '[buildsequencer_job.a]\ncommand: true\nmindelay: 1d\nstartdelay: 1d\n' >>"$1"
}
# start NAME COMMAND...: a daemon in the background, its number in $daemon and what it says in NAME.errors.
start() {
    name=$1
    shift
    "$@" 2>"$name.errors" &
    daemon=$!
    at_exit_kill $daemon
}
answers() { "$program" -s "$1" healthcheck --alive; }
stop() {
    kill -TERM "$1"
    wait "$1"
}
# says STATUS WORDS COMMAND...: the command exits with that status, and what it prints has those words.
says() {
    expected=$1
    words=$2
    shift 2
    "$@" >said 2>&1
    status=$?
    [ "$status" -eq "$expected" ] && grep -qF -- "$words" said && return
    echo "status $status"
    cat said
    return 1
}
# as USER GROUP COMMAND...
as() {
    user=$1
    group=$2
    shift 2
    setpriv --reuid "$user" --regid "$group" --clear-groups "$@"
}
only() { [ "$(ls -A "$1" | tr '\n' ' ')" = "$2 " ] || { ls -lA "$1"; return 1; }; }
traced=true
strace -o /dev/null true 2>/dev/null || traced=false
# slow CALLS MICROSECONDS COMMAND...: with these system calls delayed. The command is our child, not strace's.
slow() {
    calls=$1
    delay=$2
    shift 2
    exec strace -D -f -o /dev/null -e "trace=$calls" -e "inject=$calls:delay_enter=$delay" "$@"
}

# --- How it comes to its place ---
if $traced; then
    mkdir place
    configure one place/sock
    configure two place/sock
    # It stands still between bind and listen, for as long as we like.
    (exec strace -D -f -o /dev/null -e trace=bind -e inject=bind:signal=STOP:when=1 "$program" -c one) 2>one.errors &
    first=$!
    at_exit_kill $first
    hidden() { [ -n "$(ls -A place)" ]; }
    wait_for 20 hidden || fail "it binds"
    expect "before it listens nobody finds it" says 3 "No such file or directory" "$program" -s place/sock status
    start second "$program" -c two
    expect "another daemon is up meanwhile" wait_for 60 answers place/sock
    expect "and that is not taken for a dead one" says 0 "pid $daemon," "$program" -c two status
    kill -CONT $first
    refused() { grep -q "'place/sock': another daemon answers there" one.errors; }
    expect "so the one that was slow says why it does not start" wait_for 20 refused
    refused || kill -KILL $first
    wait $first
    expect "and ends with 1" [ $? -eq 1 ]
    expect "nothing of it is left" only place sock
    kill -KILL $daemon
    wait $daemon 2>/dev/null

    expect "the dead daemon's socket is there" only place sock
    for name in one two; do
        (slow unlinkat 1000000 "$program" -c $name) 2>$name.errors &
        at_exit_kill $!
        echo $! >$name.pid
    done
    expect "of two that find it dead at once one answers" wait_for 20 answers place/sock
    one_left() { [ "$(cat one.errors two.errors | grep -c 'another daemon answers there')" -eq 1 ]; }
    expect "and the other hears that it does" wait_for 20 one_left
    expect "it still answers then" answers place/sock
    at_rest() { only place sock; }
    expect "no lock is left" wait_for 20 at_rest
    "$program" -s place/sock status | sed -n 's/.*: pid \([0-9]*\),.*/\1/p' >winner
    kill -TERM "$(cat winner)"
    gone() { [ -z "$(ls -A place)" ]; }
    expect "its end is the end of the socket" wait_for 20 gone

    for error in EPERM EOPNOTSUPP; do
        (exec strace -D -f -o /dev/null -e trace=linkat -e inject=linkat:error=$error "$program" -c one) 2>one.errors &
        first=$!
        at_exit_kill $first
        expect "it is also where hard links are refused ($error)" wait_for 20 answers place/sock
        expect "with its mode" [ "$(stat -c %a place/sock)" = 660 ]
        expect "and nothing beside it" only place sock
        kill -KILL $first
        wait $first 2>/dev/null
    done
    (exec strace -D -f -o /dev/null -e trace=linkat -e inject=linkat:error=EPERM "$program" -c one) 2>one.errors &
    first=$!
    at_exit_kill $first
    expect "in a dead one's place, too" wait_for 20 answers place/sock
    timeout 60 strace -D -f -o /dev/null -e trace=linkat -e inject=linkat:error=EPERM "$program" -c two 2>two.errors
    expect "but not in a living one's" grep -q "another daemon answers there" two.errors
    expect "which goes on" answers place/sock
    stop $first
else
    skip "how it comes to its place" "no process may be traced here"
fi

# --- Who may connect ---
mkdir shared closed
configure shared.conf "$here/shared/sock"
start shared "$program" -c shared.conf
wait_for 20 answers shared/sock || fail "it listens"
expect "who may not connect is told who may" says 1 \
    "control socket '$here/shared/sock' belongs to user root and group root (mode 0660); run this as root or as a member of group root" \
    as builder builders "$program" -s "$here/shared/sock" status
chgrp builders shared/sock
expect "and by which group" says 1 "or as a member of group builders" as other others "$program" -s shared/sock pause
expect "a health check fails for it, too" says 1 "not permitted to ask" as other others "$program" -s shared/sock healthcheck
expect "a member of the group may" says 0 "paused 1 job" as builder builders "$program" -s shared/sock pause
expect "and is named in the log" wait_for 20 grep -q "Asked to pause by uid 2001" shared.conf.log
mv shared/sock closed/sock
chown builder:builders closed
chmod 700 closed
expect "a directory is named that keeps others out" says 1 \
    "directory '$here/closed' belongs to user builder and group builders (mode 0700); run this as builder or as root" \
    as other others "$program" -s closed/sock status
stop $daemon

# --- Whose configuration ---
mkdir secret
chmod 700 secret
mkdir own
chown builder:builders own
configure secret/conf "$here/own/sock"
touch conf.log
chown builder conf.log
start secret "$program" -c secret/conf -u builder
wait_for 20 answers own/sock || fail "it listens"
ln -s secret/conf link
expect "its user need not reach the configuration any more" says 0 "paused 1 job" "$program" -c secret/conf pause
expect "also by a link" says 0 "resumed 1 job" "$program" -c link resume
: >mounted
mount --bind secret/conf mounted
expect "also where it is mounted" says 0 "paused 1 job" "$program" -c mounted pause
umount mounted
cp secret/conf copy
expect "but a copy is another" says 1 "this is the daemon of '$here/secret/conf', not of '$here/copy'" "$program" -c copy resume
stop $daemon

# --- Directories of others ---
printf 'precious\n' >precious
as builder builders ln -s "$here/precious" own/sock
configure root.conf "$here/own/sock"
expect "root follows no link of a user" says 1 "something that is not a socket is there" "$program" -c root.conf
as builder builders ln -sf "$here/own/dead" own/sock
configure users.conf "$here/own/dead"
sed -i '/^logfile/d' users.conf
start users setpriv --reuid builder --regid builders --clear-groups "$program" -c users.conf >users.log
wait_for 20 answers own/dead || fail "it listens"
kill -KILL $daemon
wait $daemon 2>/dev/null
expect "not to a dead socket either" says 1 "something that is not a socket is there" "$program" -c root.conf
expect "and leaves all as it was" [ "$(cat precious)$(ls -A own | tr '\n' ' ')" = "preciousdead sock " ]
rm own/sock
as builder builders sh -c ': >own/.sock.lock; chmod 0 own/.sock.lock'
mv own/dead own/sock
start root "$program" -c root.conf
expect "a user's dead socket gives way" wait_for 20 says 0 ": pid $daemon," "$program" -s own/sock status
stop $daemon

# --- Foreign text ---
python3 -c 'import socket; socket.sethostname(b"build\n1\x1b[2J")'
start named "$program" -c root.conf
wait_for 20 answers own/sock || fail "it listens"
"$program" -s own/sock status >table
expect "a host name stays on its line" sh -c "head -n 1 table | grep -qF 'on build\\n1\\u{1b}[2J: pid ' && [ -z \"\$(sed -n 2p table)\" ]"
stop $daemon
finish
