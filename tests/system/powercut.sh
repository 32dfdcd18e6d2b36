#!/bin/sh
# What a power cut leaves of the state file, on file systems of their own whose disk is taken away.
# Needs root, loop devices, and xfsprogs and e2fsprogs.
if [ "$(id -u)" -eq 0 ] && [ -z "${IN_PRIVATE_MOUNTS:-}" ] && unshare -m true 2>/dev/null; then
    IN_PRIVATE_MOUNTS=1 exec unshare -m --propagation private sh "$0"
fi
. tests/system/lib.sh

[ -n "${IN_PRIVATE_MOUNTS:-}" ] || { skip "all of this" "needs root and mount namespaces"; finish; }
case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
cd "$here" || exit 1
mkdir disk
unmount_and_clean_up() {
    kill_background
    mountpoint -q disk && umount disk
    clean_up
}
trap unmount_and_clean_up EXIT

cat >conf <<'END'
[buildsequencer]
controlsocket: sock
statefile: disk/state
[buildsequencer_job.held]
command: true
mindelay: 1h
[buildsequencer_job.busy]
command: true
mindelay: 0.2
END
start() {
    "$program" -c conf >out 2>&1 &
    daemon=$!
    at_exit_kill "$daemon"
    wait_for 20 "$program" status -s sock
}
tell() { "$program" "$@" -s sock; }
version() { stat -c %i.%y disk/state; }
changed() { [ "$(version)" != "$1" ]; }

# mounted: mounts $image with $options.
mounted() {
    mount -o "loop$options" image disk
}

# cut ARGUMENT...: from now on nothing comes to the disk any more; with -f the log of the file system still does, which
# holds names but not what is in files. Then the power is back.
cut_power() {
    xfs_io -x -c "shutdown $*" disk || return 1
    if [ -n "$daemon" ]; then
        kill -KILL "$daemon"
        wait "$daemon" 2>/dev/null
    fi
    # A job that has just begun may have the disk for a moment.
    wait_for 20 umount disk && mounted
}

whole() {
    head -n 1 disk/state | grep -qx 'buildd-sequencer state 1' &&
        [ "$(sed -n '2,$p' disk/state | cut -f 1 | tr '\n' ' ')" = "held busy " ] &&
        [ -z "$(tail -c 1 disk/state | tr -d '\n')" ]
}
has_pause() { grep -q '^held.*paused=' disk/state; }
not() { ! "$@"; }

# on NAME OPTIONS MKFS...
on() {
    system=$1
    options=$2
    shift 2
    rm -f image
    truncate -s 400M image
    if ! command -v "$1" >/dev/null || ! command -v xfs_io >/dev/null; then
        skip "$system" "needs $1 and xfs_io"
        return
    fi
    "$@" image >made 2>&1 || { fail "an image for $system is made" "$(cat made)"; return; }
    if ! mounted 2>refused; then
        skip "$system" "no loop device or no such file system here: $(cat refused)"
        return
    fi

    # That it is a power cut: the same without a sync is lost.
    daemon=
    echo old >disk/unsynced
    sync
    echo new >disk/.unsynced.new
    mv disk/.unsynced.new disk/unsynced
    cut_power -f || { fail "$system can be cut off"; umount disk; return; }
    expect "on $system a file that was never synced is lost by such a cut" not test -s disk/unsynced

    for how in "" -f; do
        for word in pause resume; do
            start
            expect "on $system $word is answered" tell $word held
            # And a run of another job a second later, whose write nobody waits for.
            before=$(version)
            wait_for 20 changed "$before" || fail "on $system the state is written of itself"
            cut_power $how
            expect "on $system a cut${how:+ that lets the log through} leaves a whole state file" whole
            case $word in
            pause) expect "on $system a pause outlives the cut" has_pause ;;
            resume) expect "on $system a resume outlives the cut" not has_pause ;;
            esac
        done
    done
    # The answer is all that is waited for.
    for word in pause resume pause; do
        start
        tell $word held >/dev/null
        cut_power
        case $word in
        pause) expect "on $system a pause is on the disk when it is answered" has_pause ;;
        resume) expect "on $system a resume is on the disk when it is answered" not has_pause ;;
        esac
    done
    start
    expect "on $system the next daemon knows" sh -c "'$program' status -s sock | grep -q 'held .*paused'"
    kill -TERM "$daemon" && wait "$daemon"
    expect "on $system the next daemon has no complaint" not grep -q 'State file' out
    umount disk
}

on XFS "" mkfs.xfs -q
# Without the option ext4 itself writes out a file that is renamed over another.
on ext4 ",noauto_da_alloc" mkfs.ext4 -q -F

finish
