# What the checks in this directory share. Each check is a POSIX shell script that is run from the top of the
# project by `.ci/run` with BIN naming the program; it says `ok NAME` or `FAIL NAME` for each thing it looked at
# and exits 1 if any failed.

set -u
: "${BIN:?BIN must name the program under test}"

here=$(mktemp -d)
# Roots of other systems: `.ci/run` has one directory for all checks.
: "${ROOTS:=$here/roots}"
export ROOTS
# mount(8) and umount(8), also in namespaces, make the directory of the file that they keep: this one, not /run/mount.
export LIBMOUNT_UTAB="$here/utab"
passed=0
failed=0
background=

# When a process was started (proc(5)), which tells it from a later one with the same number; nothing if there is none.
since() {
    sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20
}

# Keep the id of a process that must not outlive the check.
at_exit_kill() {
    background="$background $1:$(since "$1")"
}

# Kills them, and what they have started: each run of a daemon is a process group of its own, which its end leaves alone.
kill_background() {
    for kept in $background; do
        pid=${kept%%:*}
        # Most have ended long before, and a stranger may have the number.
        [ -n "${kept#*:}" ] && [ "$(since "$pid")" = "${kept#*:}" ] || continue
        # It starts nothing more.
        kill -STOP "$pid" 2>/dev/null || continue
        for child in $(cat "/proc/$pid/task/$pid/children" 2>/dev/null); do
            kill -KILL "-$child" 2>/dev/null
        done
        kill -KILL "$pid" 2>/dev/null
        # What it writes to is removed next.
        wait "$pid" 2>/dev/null
    done
    background=
}

clean_up() {
    kill_background
    rm -rf "$here"
}
trap clean_up EXIT
# timeout(1) tells twice, and cleaning up is not to be cut off.
trap 'trap "" INT TERM HUP; exit 130' INT TERM HUP

ok() {
    passed=$((passed + 1))
    echo "ok   $1"
}

fail() {
    failed=$((failed + 1))
    echo "FAIL $1"
    shift
    [ $# -eq 0 ] || printf '     %s\n' "$@"
}

# For what this machine does not permit; a check must not need it where CI runs, which tells of it at its end.
skip() {
    echo "skip $1: $2"
    [ -z "${SKIPPED:-}" ] || echo "$0: $1: $2" >>"$SKIPPED"
}

# For a check of other machines and systems, which takes minutes: `QUICK=1` leaves it out.
foreign() {
    [ -z "${QUICK:-}" ] || { skip "other machines" "QUICK is set"; exit 0; }
    [ "$(id -u)" -eq 0 ] && unshare --mount --pid --fork true 2>/dev/null || {
        skip "other machines" "that needs root, and a system that lets it make namespaces"
        exit 0
    }
}

# expect NAME COMMAND...: the command must succeed; its output is shown if it does not.
expect() {
    name=$1
    shift
    if "$@" >"$here/expect.out" 2>&1; then
        ok "$name"
    else
        fail "$name" "command: $*"
        sed 's/^/     | /' "$here/expect.out"
    fi
}

# wait_for SECONDS COMMAND...: waits until the command succeeds; fails when it has not by then, whatever becomes of the
# time of day.
wait_for() {
    read -r up _ </proc/uptime
    limit=$((${up%.*} + $1 + 1))
    shift
    until "$@" >/dev/null 2>&1; do
        read -r up _ </proc/uptime
        [ "${up%.*}" -lt "$limit" ] || return 1
        sleep 0.05
    done
}

# within SECONDS COMMAND...: the command succeeds, and before as many short naps are over that were begun at the same
# moment: a busy machine delays both, and one that stands still for a while costs each a nap.
within() {
    naps=$(($1 * 4))
    while [ "$naps" -gt 0 ]; do
        sleep 0.25
        naps=$((naps - 1))
    done &
    sleeping=$!
    at_exit_kill "$sleeping"
    shift
    "$@"
    result=$?
    # A zombie, or gone altogether, has ended.
    case $(cut -d' ' -f3 "/proc/$sleeping/stat" 2>/dev/null) in
    Z | '') result=1 ;;
    *) kill "$sleeping" ;;
    esac
    return "$result"
}

# Seconds since the machine was started, with two decimals, whatever becomes of the time of day.
uptime_now() {
    cut -d' ' -f1 /proc/uptime
}

# has_taken SECONDS SINCE: at least so many seconds have gone since that uptime.
has_taken() {
    awk "BEGIN { exit !($(uptime_now) - $2 >= $1) }"
}

# static_build TARGET: contrib/static-build, whose files two checks at the same time would share.
static_build() {
    mkdir -p "${CARGO_TARGET_DIR:-target}" && flock "${CARGO_TARGET_DIR:-target}/static.lock" contrib/static-build "$1"
}

# first_of PID: process 1 of the system that is booted in namespaces by this process, whose only child it is. It is
# none before it has become systemd there: what is meant for it would be done on this machine.
first_of() {
    child=$(tr -d ' ' <"/proc/$1/task/$1/children")
    case $(readlink "/proc/$child/exe") in
    */systemd) ;;
    *) return 1 ;;
    esac
    [ "$(readlink "/proc/$child/ns/pid")" != "$(readlink /proc/self/ns/pid)" ] && echo "$child"
}

# To be called last.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}
