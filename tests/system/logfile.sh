#!/bin/sh
# A log file whose directory belongs to somebody else, or to everybody: what root opens, makes, renames and leaves alone,
# when it gives up root and when it stays root. And /dev/stdout, and a log that is a mount point.
# Needs root and a mount namespace, in which all of this happens.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount sh "$0" inside
fi
. tests/system/lib.sh
if [ "${1:-}" != inside ]; then
    skip "logs in others' directories" "it needs root and a mount namespace"
    finish
fi

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
# Nobody but root may write on the way to it, as nobody may where /var/log is.
mount -t tmpfs -o mode=755 tmpfs /mnt && cd /mnt || exit
cp "$program" program
umask 022
user=2001
group=2002
mkdir roots theirs
mkdir -m 1777 everybodys
chown $user:$group theirs
cat >conf <<END
[buildsequencer]
controlsocket: none
[buildsequencer_job.a]
command: true
startdelay: 0
mindelay: 0.05
END

owner() { stat -c '%u:%g %a' "$1"; }
log_has() { grep -q -- "$1" "$log"; }
# shellcheck disable=SC2317 # wait_for calls it
has_run_again() { [ "$(grep -c 'Job a completed' "$log")" -gt "$ran" ]; }
# start LOG OPTIONS...: a daemon that has run a job.
start() {
    log=$1
    shift
    # It may hold the runs of a daemon before this one.
    ran=$(grep -c 'Job a completed' "$log" 2>/dev/null)
    ran=${ran:-0}
    ./program -c conf -l "$log" "$@" >out 2>&1 &
    daemon=$!
    at_exit_kill $daemon
    wait_for 20 has_run_again || { fail "it starts with log $log"; sed 's/^/     | /' out; }
}
stop() {
    kill -TERM $daemon
    wait $daemon || fail "it stops with status 0"
}
as_user="-u $user -g $group"

# refused NAME TEXT LOG OPTIONS...: the start fails with these words, and root's file is as it was.
refused() {
    name=$1
    text=$2
    shift 2
    timeout 20 ./program -c conf -l "$@" >out 2>&1
    status=$?
    if [ $status -eq 1 ] && grep -qF -- "$text" out && [ "$(cat precious) $(owner precious)" = "precious 0:0 600" ]; then
        ok "$name"
    else
        fail "$name" "status $status, $(cat out), $(cat precious)"
    fi
}
precious() {
    rm -f precious
    (umask 077 && echo precious >precious)
}

# --- Root is given up.

precious
ln -s /mnt/precious theirs/log
refused "root does not follow the user's link to its own file" "Permission denied" theirs/log $as_user
rm theirs/log
ln -s /mnt/roots/new theirs/log
refused "nor makes a file where it leads" "Permission denied" theirs/log $as_user
expect "which is not there" [ ! -e roots/new ]
rm theirs/log
ln precious theirs/log
refused "a hard link to root's file is not opened either" "Permission denied" theirs/log $as_user
rm theirs/log
mkdir theirs/inner
chown $user theirs/inner
ln -s inner/log theirs/log
start theirs/log $as_user
expect "the user's link to what the user may write is followed" [ "$(owner theirs/inner/log)" = "$user:$group 644" ]
kill -USR1 $daemon
expect "and rotated where it leads" wait_for 20 [ -e theirs/inner/log.1 ]
stop
rm -r theirs/inner theirs/log

start roots/log $as_user
expect "in root's directory root makes the log and gives it away" [ "$(owner roots/log)" = "$user:$group 644" ]
stop
chown 0:0 roots/log
start roots/log $as_user
expect "an old one stays with its owner" [ "$(owner roots/log)" = "0:0 644" ]
stop
rm roots/log

# --- Root stays root.

ln -s /mnt/precious theirs/log
chown -h $user theirs/log
refused "who stays root follows no user's link" "is a symbolic link of user $user" theirs/log
rm theirs/log
ln -s /mnt/roots/new theirs/log
chown -h $user theirs/log
refused "nor makes a file where it leads, staying root" "is a symbolic link of user $user" theirs/log
expect "which is not there either" [ ! -e roots/new ]
rm theirs/log
ln precious theirs/log
refused "of a file with two names root does not know which is meant" "is one of 2 hard links" theirs/log
rm theirs/log
mkdir theirs/inner
ln -s /mnt/roots theirs/link
chown -h $user theirs/link
refused "a link on the way is none of root's" "is a symbolic link of user $user" theirs/link/new
expect "and what is behind it stays" [ ! -e roots/new ]
rm -r theirs/inner theirs/link
: >everybodys/log
chown $user everybodys/log
refused "a file that lay in wait for root in everybody's directory" "is a file of user $user" everybodys/log
rm everybodys/log
ln -s /mnt/theirs/log roots/log
start roots/log
expect "root's own link is followed" [ "$(owner theirs/log)" = "0:0 644" ]
expect "and stays" [ -L roots/log ]

# While it runs, in the user's directory.
mv theirs/log theirs/moved
ln -s /mnt/precious theirs/log
chown -h $user theirs/log
log=theirs/moved
kill -USR1 $daemon
expect "a link that was put there later is refused" wait_for 20 log_has "cannot open log '/mnt/roots/log': root does not go there: '.*' is a symbolic link of user $user; writing on to the old file"
rm theirs/log
mkfifo theirs/log
kill -USR1 $daemon
expect "so is a named pipe" wait_for 20 log_has "it is a named pipe; a log is a regular file or a terminal; writing on to the old file"
rm theirs/log
expect "and what the link led to is as it was" [ "$(cat precious)" = precious ]
now=$(grep -c Running theirs/moved)
goes_on() { [ "$(grep -c Running theirs/moved)" -gt "$now" ]; }
expect "the old file goes on" wait_for 20 goes_on
log=theirs/log
kill -USR1 $daemon
expect "until there is one again" wait_for 20 log_has Running
stop
rm -f theirs/log* theirs/moved roots/log

# --- The new file is whose the old one was.

(umask 077 && : >roots/log)
chown $user:2003 roots/log
chmod 640 roots/log
(umask 077 && exec ./program -c conf -l roots/log >out 2>&1) &
daemon=$!
at_exit_kill $daemon
log=roots/log
wait_for 20 log_has Running
kill -USR1 $daemon
expect "root rotates" wait_for 20 [ -e roots/log.1 ]
expect "the new log runs" wait_for 20 log_has Running
expect "owner, group and mode are kept" [ "$(owner roots/log)" = "$user:2003 640" ]
stop
rm roots/log*

# --- What lies where old logs go, in everybody's directory.

start everybodys/log
for number in 1 3; do
    echo theirs >everybodys/log.$number
    chown $user everybodys/log.$number
done
mkdir everybodys/log.4
ln -s /mnt/precious everybodys/log.5
for number in 2 6 7; do
    kill -USR1 $daemon
    expect "the log goes around to $number" wait_for 20 [ -e everybodys/log.$number ]
    expect "and goes on" wait_for 20 log_has Running
done
stop
expect "others' files stay as they were" [ "$(cat everybodys/log.1 everybodys/log.3)" = "theirs
theirs" ]
stays() { [ -d everybodys/log.4 ] && [ -L everybodys/log.5 ] && [ "$(cat precious)" = precious ]; }
expect "and what else was there" stays
expect "the oldest is the highest" grep -q 'Loading jobs' everybodys/log.7
told() { cat everybodys/log.[267] everybodys/log | grep -c "a file of user $user, no old log"; }
expect "it is told once for each" [ "$(told)" -eq 2 ]
if chattr +i everybodys/log.2 2>/dev/null; then
    before=$(cat everybodys/log.2)
    start everybodys/log
    kill -USR1 $daemon
    expect "rotation goes around a file that cannot be renamed" wait_for 20 [ -e everybodys/log.8 ]
    cannot="cannot rename log '/mnt/everybodys/log.2' to '/mnt/everybodys/log.6': Operation not permitted; rotation goes around it"
    expect "and says so" wait_for 20 log_has "$cannot"
    expect "which stays" [ "$(cat everybodys/log.2)" = "$before" ]
    stop
    chattr -i everybodys/log.2
else
    skip "a file that cannot be renamed" "this file system knows none"
fi
rm -r everybodys/log*

# --- A log that is mounted alone.

mkdir volume
: >volume/log
: >roots/log
mount --bind volume/log roots/log
echo first >roots/log.1
echo second >roots/log.2
sed "s#^controlsocket#logfile: /mnt/roots/log\nlogsize: 300\nlogkeep: 2\ncontrolsocket#" conf >mounted
./program check -c mounted >out 2>&1
expect "check refuses to rotate a mount point" [ $? -eq 78 ]
expect "and says why" grep -q "'/mnt/roots/log' is a mount point, which cannot be renamed to rotate it; set logsize to 0" out
sed 's/^logsize.*/logsize: 0/' mounted >unturned
expect "without rotation it is content" ./program check -c unturned
./program -c mounted >out 2>&1 &
daemon=$!
at_exit_kill $daemon
log=roots/log
refusals() { [ "$(grep -c "cannot rename log '/mnt/roots/log'.*[Rr]esource busy; writing on to the same file" roots/log)" -ge 4 ]; }
expect "the daemon says so and goes on" wait_for 60 refusals
stop
expect "rotations that fail cost no old log" [ "$(cat roots/log.[0-9] | sort | paste -sd' ')" = "first second" ]
umount roots/log
rm -r roots/log* volume

# --- Names of standard output.

mount -t tmpfs tmpfs /dev
mknod -m 666 /dev/null c 1 3
ln -s /proc/self/fd/1 /dev/stdout
ln -s /proc/self/fd /dev/fd
ln -s /dev/stdout roots/link
for stdout in /dev/stdout /proc/self/fd/1 /dev/fd/1 /mnt/roots/link; do
    : >output
    sed "s#^controlsocket#logfile: $stdout\nlogsize: 100\ncontrolsocket#" conf >named
    ./program -c named >>output 2>&1 &
    daemon=$!
    at_exit_kill $daemon
    log=output
    wait_for 20 log_has Running
    kill -USR1 $daemon
    expect "$stdout is standard output at SIGUSR1" wait_for 20 log_has 'the log is standard output, nothing to rotate'
    stop
    expect "$stdout is left alone" [ "$(readlink /dev/stdout) $(find /dev /mnt -name '*.1' | wc -l)" = "/proc/self/fd/1 0" ]
    expect "check knows $stdout" ./program check -c named
done

finish
