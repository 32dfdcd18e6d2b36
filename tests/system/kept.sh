#!/bin/sh
# Files that are kept where they cannot or must not be: mounted alone, devices, directories of others.
# Needs root, and works in a mount namespace of its own.
if [ "$(id -u)" -eq 0 ] && [ -z "${IN_PRIVATE_MOUNTS:-}" ] && unshare -m true 2>/dev/null; then
    IN_PRIVATE_MOUNTS=1 exec unshare -m --propagation private sh "$0"
fi
. tests/system/lib.sh

[ -n "${IN_PRIVATE_MOUNTS:-}" ] || { skip "all of this" "needs root and mount namespaces"; finish; }
cp "$BIN" "$here/program"
chmod 755 "$here"
cd "$here" || exit 1

# configure STATEFILE METRICSFILE
configure() {
    cat >conf <<END
[buildsequencer]
controlsocket: sock/sock
statefile: $1
metricsfile: $2
[buildsequencer_job.a]
command: true
mindelay: 1h
END
}
mkdir -m 777 sock
# start ARGUMENT...: sets $daemon.
start() {
    ./program -c conf "$@" >out 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
    wait_for 20 ./program status -s sock/sock
}
stop() { kill -TERM "$daemon" && wait "$daemon"; }
tell() { ./program "$@" -s sock/sock >told 2>&1; }
told() { grep -qF -- "$1" told; }
log_has() { grep -qF -- "$1" out; }
once() { [ "$(grep -cF -- "$1" out)" -eq 1 ]; }
# checked ARGUMENT...: the exit status of check; what it says is in `told`.
checked() {
    ./program check -c conf "$@" >told 2>&1
    echo $?
}
not() { ! "$@"; }

# --- A file that is mounted alone, which rename(2) cannot replace.

mountable='is a mount point, which cannot be replaced (mount its directory instead)'
mkdir -m 777 volume place
: >volume/state
: >place/state
chmod 666 volume/state place/state
mount --bind volume/state place/state
: >'place/m .prom'
mount --bind volume/state 'place/m .prom'
configure place/state 'place/m .prom'
# As another user, and where there is no /proc to tell of mounts of the same file system, too.
for user in "" "-u 65534 -g 65534"; do
    as=${user:+ as another user}
    # shellcheck disable=SC2086 # several words
    expect "check refuses files that are mounted alone$as" [ "$(checked $user)" -eq 78 ]
    expect "check says what to do about the state$as" told "conf:3: statefile: 'place/state' $mountable"
    expect "check says what to do about the metrics$as" told "conf:4: metricsfile: 'place/m .prom' $mountable"
    # shellcheck disable=SC2086 # several words
    start $user
    expect "the daemon says the same of the state$as" \
        wait_for 20 log_has "cannot write state file 'place/state': it $mountable"
    expect "the daemon says the same of the metrics$as" \
        wait_for 20 log_has "cannot write metrics file 'place/m .prom': it $mountable"
    expect "a pause is refused with the same words$as" not tell pause a
    expect "a pause is refused with what to do$as" told "state file 'place/state': it $mountable"
    # Time for two more tries, which know better than to write a new file first.
    before=$(stat -c %z place)
    sleep 2.5
    expect "nothing is written in vain$as" [ "$(stat -c %z place)" = "$before" ]
    expect "it is told once$as" once "state file 'place/state'"
    expect "nothing is left beside it$as" [ "$(find place -name '.*.new' | wc -l)" -eq 0 ]
    stop
    expect "the file that is mounted stays$as" [ -e volume/state ]
done

mount -t tmpfs tmpfs volume
mkdir -m 777 volume/dir
: >volume/state
configure volume/state 'place/m.prom'
expect "a file in the directory that is mounted is none" [ "$(checked)" -eq 0 ]
start
tell pause a
stop
expect "and is kept" grep -q 'paused=' volume/state

# without_proc COMMAND...
without_proc() {
    # shellcheck disable=SC2016 # the other shell's
    unshare -m --propagation private sh -c 'umount -l /proc && exec "$@"' sh "$@"
}
: >place/other
mount --bind volume/state place/other
configure place/other place/m.prom
if without_proc true 2>/dev/null; then
    without_proc ./program check -c conf >told 2>&1
    expect "without /proc a file from another file system is told" told "'place/other' $mountable"
    umount place/other
    without_proc ./program check -c conf >told 2>&1
    expect "without /proc one of the same is not" not told "mount point"
else
    skip "files without /proc" "it cannot be unmounted here"
    umount place/other
fi
umount place/state 'place/m .prom' volume

# --- Devices.

if mount -t tmpfs -o mode=755 tmpfs /dev && mknod -m 666 /dev/null c 1 3 && echo x >/dev/null; then
    configure /dev/null /dev/null
    expect "check refuses a device" [ "$(checked)" -eq 78 ]
    expect "check names it for the state" told "conf:3: statefile: '/dev/null' is not a regular file"
    expect "check names it for the metrics" told "conf:4: metricsfile: '/dev/null' is not a regular file"
    start
    expect "the daemon does not write to a device" \
        wait_for 20 log_has "cannot write metrics file '/dev/null': it is not a regular file"
    tell pause a
    configure none none
    tell reload
    expect "a device outlives a reload away from it" [ -c /dev/null ]
    configure /dev/null /dev/null
    tell reload
    stop
    expect "a device outlives the stop" [ -c /dev/null ]
    expect "nothing is left in its directory" [ "$(find /dev -name '.*.new' | wc -l)" -eq 0 ]
    umount -l /dev
else
    skip "devices" "none can be made in a place of its own here"
fi

# --- A directory in which anybody may put something, as /tmp.

mkdir -m 1777 shared
echo precious >precious
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
for file in state m.prom; do
    case $file in
    state) as_nobody sh -c "echo theirs >shared/.$file.new" ;;
    m.prom) as_nobody ln -s "$here/precious" shared/.$file.new ;;
    esac
done
# theirs: what is in their way, and is to stay so.
theirs() { stat -c '%n %i %u %s %F' shared/.state.new shared/.m.prom.new; }
before=$(theirs)
configure shared/state shared/m.prom
start
expect "where another user took the first name, the state is kept" tell pause a
expect "where another user took the first name, metrics are kept" wait_for 20 test -s shared/m.prom
expect "the file is our own" [ "$(stat -c '%u %a' shared/state)" = "0 600" ]
# Two more writes, now that there is something to replace.
tell resume a
tell pause a
as_nobody ln -s "$here/precious" shared/link 2>/dev/null
stop
expect "what another user put there stays" [ "$(theirs)" = "$before" ]
expect "what it leads to stays" grep -qx precious precious
expect "nothing of ours is left beside it" [ "$(find shared -user 0 -name '.*.new' | wc -l)" -eq 0 ]
rm -rf shared

# In a directory of somebody else's the link is not followed, wherever it leads.
mkdir shared && chown 65534:65534 shared
as_nobody ln -s "$here/precious" shared/m.prom
as_nobody ln -s "$here/precious" shared/state
configure shared/state shared/m.prom
start
tell pause a
expect "another user's link is not followed for metrics" log_has "metrics file 'shared/m.prom': it is a symbolic link"
expect "another user's link is not followed for the state" log_has "state file 'shared/state': it is a symbolic link"
stop
expect "another user's link stays" [ -L shared/m.prom ]
expect "what another user's link leads to stays" grep -qx precious precious

finish
