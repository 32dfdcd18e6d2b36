#!/bin/sh
# Nothing that an unprivileged user can put in a path makes root do something: links, hard links, FIFOs, devices, sticky
# directories, in the place of log and pid file and on the way to them; with -u, and as root for good.
# Needs root and a mount namespace. What the kernel would forbid the user (proc_sys_fs(5), protected_hardlinks), root does
# here for it: the program has to be safe where the kernel does not help.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount sh "$0" inside
fi
. tests/system/lib.sh
if [ "${1:-}" != inside ]; then
    skip "paths of unprivileged users" "it needs root and a mount namespace"
    finish
fi

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
# A file system of its own, so that everything can be linked to everything, and devices be made.
mount -t tmpfs -o mode=755 tmpfs "$here" || exit
trap 'cd / && umount -l "$here"; clean_up' EXIT
cd "$here" || exit
cp "$program" program
chmod 755 program
umask 022
user=2001
group=2002
cat >conf <<'END'
[buildsequencer]
controlsocket: none
[buildsequencer_job.a]
command: true
mindelay: 1h
END

as_user() { setpriv --reuid $user --regid $group --clear-groups "$@"; }

# The user's directory, root's, and what is precious to root.
prepare() {
    rm -rf theirs roots sticky precious missing
    mkdir theirs roots sticky
    chown $user:$group theirs
    chmod 1777 sticky
    echo kept >precious
    chmod 600 precious
    mkdir roots/dir
}

# What there is and what it holds, the user's own directories aside.
snapshot() {
    find . -path ./theirs -prune -o -path ./sticky -prune -o ! -name out ! -name errors ! -name expect.out \
        ! -name 'snapshot.*' -type f -printf '%p %U:%G %m ' -exec sha256sum {} \; -o \
        ! -path . ! -type f -printf '%p %U:%G %m %y\n' | sort
}

# attack NAME OPTIONS...: the daemon is started and must be refused with one line, and leave everything as it was.
attack() {
    label=$1
    shift
    snapshot >snapshot.before
    timeout 20 ./program -c conf "$@" >out 2>errors
    status=$?
    snapshot >snapshot.after
    if [ $status -eq 1 ] && [ "$(wc -l <errors)" -eq 1 ]; then
        ok "$label: refused"
    else
        fail "$label: refused" "status $status" "$(cat errors)" "$(cat out)"
    fi
    if cmp -s snapshot.before snapshot.after; then
        ok "$label: and nothing has changed"
    else
        fail "$label: and nothing has changed" "$(diff snapshot.before snapshot.after)"
    fi
    [ -z "${says:-}" ] || expect "$label: and says why" grep -F -- "$says" errors
    ./program check -c conf "$@" >out 2>errors
    status=$?
    expect "$label: check knows" [ $status -eq 78 ]
}

# allowed NAME FILE OPTIONS...: the daemon starts, writes FILE, and stops.
allowed() {
    label=$1
    file=$2
    shift 2
    ./program -c conf "$@" >out 2>errors &
    daemon=$!
    at_exit_kill $daemon
    expect "$label: the daemon starts" wait_for 20 grep -q "$daemon\|Scheduling" "$file"
    kill -TERM $daemon
    wait $daemon
    expect "$label: and stops" [ $? -eq 0 ]
}

# options_of KIND: those after which the path comes.
whom="-u $user -g $group"
options_of() {
    case $1 in
    log) options="$whom -l" ;;
    pid) options="$whom -l /dev/null --pidfile" ;;
    esac
}

for kind in log pid; do
    options_of $kind
    # shellcheck disable=SC2086 # some words
    {
        prepare
        as_user ln -s ../missing theirs/file
        says="others than root may write in directory"
        [ $kind = log ] || says="Too many levels of symbolic links"
        attack "$kind, a link to nothing" $options "$here/theirs/file"

        prepare
        as_user ln -s ../precious theirs/file
        attack "$kind, a link to root's file" $options "$here/theirs/file"

        says="others than root may write in directory '$here/theirs'"
        prepare
        as_user ln -s ../roots theirs/dir
        attack "$kind, through a link to root's directory" $options "$here/theirs/dir/file"

        prepare
        as_user mkdir theirs/dir
        as_user ln -s ../../roots theirs/dir/link
        attack "$kind, through a link further up" $options "$here/theirs/dir/link/dir/file"

        prepare
        ln precious theirs/file
        attack "$kind, a hard link to root's file" $options "$here/theirs/file"

        # A directory of root's in the user's: the user can exchange it.
        prepare
        mkdir theirs/roots
        attack "$kind, in root's directory in the user's" $options "$here/theirs/roots/file"

        prepare
        : >theirs/file
        chmod 600 theirs/file
        attack "$kind, root's file in the user's directory" $options "$here/theirs/file"

        says="others than root may write in directory '$here/sticky'"
        prepare
        : >sticky/file
        chmod 600 sticky/file
        attack "$kind, root's file in a sticky directory" $options "$here/sticky/file"

        prepare
        as_user ln -s ../roots/file sticky/file
        says="Permission denied"
        [ $kind = log ] || says="Too many levels of symbolic links"
        attack "$kind, a link in a sticky directory" $options "$here/sticky/file"

        # One of root's own links under a name that the user has chosen.
        prepare
        ln -s "$here/roots/dir" shortcut
        ln shortcut sticky/dir
        says="others than root may write in directory '$here/sticky'"
        attack "$kind, a hard link to root's link" $options "$here/sticky/dir/file"
        rm shortcut

        says="others than root may write in directory '$here/group'"
        prepare
        mkdir group
        chgrp 2009 group
        chmod 770 group
        attack "$kind, in a directory that root's group may write" $options "$here/group/file"
        rmdir group

        says="is one of 2 hard links to its file"
        prepare
        ln precious roots/file
        attack "$kind, one of two names in root's directory" $options "$here/roots/file"

        says="is a symbolic link of user $user"
        [ $kind = log ] || says="Too many levels of symbolic links"
        prepare
        ln -s ../precious roots/file
        chown -h $user:$group roots/file
        attack "$kind, the user's link in root's directory" $options "$here/roots/file"

        says="is not a regular file"
        [ $kind = log ] && for type in fifo device; do
            prepare
            case $type in
            fifo)
                mkfifo -m 600 roots/file
                says="named pipe"
                ;;
            device)
                mknod -m 600 roots/file c 1 3
                says="is not a regular file"
                ;;
            esac
            attack "$kind, a $type of root's" $options "$here/roots/file"
        done

        says="Is a directory"
        prepare
        as_user mkdir theirs/file
        attack "$kind, a directory" $options "$here/theirs/file"

        says="named pipe"
        [ $kind = log ] || says="Invalid argument"
        prepare
        as_user mkfifo theirs/file
        attack "$kind, a FIFO that nobody reads" $options "$here/theirs/file"
        says=

        prepare
        ln -s dir roots/link
        allowed "$kind, through root's link in root's directory" roots/dir/file $options "$here/roots/link/file"
        prepare
        mkdir sticky/roots
        allowed "$kind, in root's directory in a sticky one" sticky/roots/file $options "$here/sticky/roots/file"
        prepare
        as_user mkdir theirs/real
        as_user ln -s real theirs/link
        allowed "$kind, through the user's link to the user's directory" theirs/real/file \
            $options "$here/theirs/link/file"
        prepare
        as_user ln -s file2 theirs/file
        [ $kind = pid ] || allowed "$kind, the user's link to the user's file" theirs/file2 $options "$here/theirs/file"
    }
done
prepare
ln -s ../roots/dir/file roots/link
# shellcheck disable=SC2086
allowed "log, root's link to root's file" roots/dir/file $whom -l "$here/roots/link"

# Without -u: root for good.
whom=
for kind in log pid; do
    options_of $kind
    # shellcheck disable=SC2086
    {
        says="is a symbolic link of user $user"
        [ $kind = log ] || says="Too many levels of symbolic links"
        prepare
        as_user ln -s ../missing theirs/file
        attack "root's $kind, a link to nothing" $options "$here/theirs/file"
        prepare
        as_user ln -s ../precious theirs/file
        attack "root's $kind, a link to root's file" $options "$here/theirs/file"
        prepare
        as_user ln -s ../missing sticky/file
        attack "root's $kind, a link in a sticky directory" $options "$here/sticky/file"
        says="is a symbolic link of user $user"
        prepare
        as_user ln -s ../roots theirs/dir
        attack "root's $kind, through a link to root's directory" $options "$here/theirs/dir/file"
        says="is one of 2 hard links to its file"
        prepare
        ln precious theirs/file
        attack "root's $kind, a hard link to root's file" $options "$here/theirs/file"
        prepare
        ln -s "$here/roots/dir" shortcut
        ln shortcut theirs/dir
        says="is one of 2 hard links"
        attack "root's $kind, a hard link to root's link" $options "$here/theirs/dir/file"
        rm shortcut
        says="named pipe"
        [ $kind = log ] || says="Invalid argument"
        prepare
        as_user mkfifo theirs/file
        attack "root's $kind, a FIFO that nobody reads" $options "$here/theirs/file"
        says=
        prepare
        allowed "root's $kind in the user's directory" theirs/file $options "$here/theirs/file"
        prepare
        ln -s dir roots/link
        allowed "root's $kind through root's link" roots/dir/file $options "$here/roots/link/file"
    }
done

# What root for good makes, replaces and removes while it runs: state, its lock, history, metrics, control socket.
# holds NAME DIRECTORY TEXT: with these in DIRECTORY the daemon says TEXT, and there is nothing new outside of it.
holds() {
    label=$1
    {
        sed '/^controlsocket/d' conf
        printf '[buildsequencer]\nlogfile: -\n'
        printf 'statefile: %s\nmetricsfile: %s\n' "$2/state" "$2/x.prom"
        # The control socket is a fault at the start.
        [ -n "${3:-}" ] || printf 'controlsocket: %s\n' "$2/socket"
        [ -z "${3:-}" ] || printf 'controlsocket: none\n'
    } >theirs/all.conf
    : >out
    snapshot >snapshot.before
    ./program -c theirs/all.conf >out 2>errors &
    daemon=$!
    at_exit_kill $daemon
    expect "$label: the daemon runs" wait_for 20 grep -q "Scheduling" out
    kill -TERM $daemon
    wait $daemon
    expect "$label: and stops" [ $? -eq 0 ]
    [ -z "${3:-}" ] || for what in "state file" "history file" "metrics file"; do
        expect "$label: it says so of the $what" grep -F "cannot write $what '$2/" out
        expect "$label: and why" grep -F -- "$3" out
    done
    snapshot >snapshot.after
    expect "$label: and there is nothing new" cmp snapshot.before snapshot.after
}
prepare
as_user ln -s ../roots theirs/dir
holds "root's state and metrics, through a link to root's directory" "$here/theirs/dir" \
    "root does not go there: '$here/theirs/dir' is a symbolic link of user $user"
prepare
as_user mkdir theirs/dir
as_user ln -s ../../roots theirs/dir/link
holds "root's state and metrics, through a link further up" "$here/theirs/dir/link/dir" \
    "root does not go there: '$here/theirs/dir/link' is a symbolic link of user $user"
for of in state state.history x.prom; do
    prepare
    as_user ln -s ../precious theirs/$of
    as_user ln -s ../precious theirs/.$of.new
    as_user ln -s ../missing theirs/.$of.lock
    mkdir theirs/elsewhere
    holds "root's state and metrics, links to root's file and nothing ($of)" "$here/theirs"
    expect "root's file is what it was ($of)" [ "$(cat precious)" = kept ]
done
prepare
ln precious theirs/state
ln precious theirs/state.history
ln precious theirs/.state.history.new
ln precious theirs/.state.new
ln precious theirs/.state.lock
ln precious theirs/x.prom
ln precious theirs/socket.lock
holds "root's state and metrics, hard links to root's file" "$here/theirs"
expect "root's file is what it was" [ "$(cat precious) $(stat -c '%a %U' precious)" = "kept 600 root" ]

prepare
as_user ln -s ../roots theirs/dir
says="cannot listen on control socket '$here/theirs/dir/socket': root does not go there"
printf '[meta]\nextends: ../conf\n[buildsequencer]\ncontrolsocket: %s\n' "$here/theirs/dir/socket" >theirs/socket.conf
attack "root's socket, through a link to root's directory" -c theirs/socket.conf

finish
