#!/bin/sh
# The static build: small, without a trace of the machine it was built on, and at home in an empty root directory.
# Needs root (chroot), a C compiler's tools and a static busybox. By itself it looks at the build with glibc; musl.sh
# has it look at another: STATIC names the program, which has at most MOST_BYTES.
. tests/system/lib.sh

most_bytes=${MOST_BYTES:-1560000}
most_crates=15

# The binary itself.

if [ -z "${STATIC:-}" ]; then
    glibc=$(rustc -vV | sed -n 's/^host: //p')
    static_build "$glibc" >"$here/build" 2>&1 || { cat "$here/build"; fail "contrib/static-build builds it"; finish; }
    STATIC=$(sed -n 's/^\(.*\): [0-9]* bytes$/\1/p' "$here/build")
fi
program=$STATIC
size=$(wc -c <"$program")
expect "it has at most $most_bytes bytes ($size)" [ "$size" -le "$most_bytes" ]

asks_for_nothing() {
    readelf -lW "$program" >"$here/headers" && readelf -dW "$program" >"$here/dynamic" || return 1
    ! grep -h -e INTERP -e NEEDED "$here/headers" "$here/dynamic"
}
expect "it asks for no interpreter and no library" asks_for_nothing
is_hardened() {
    grep -q 'GNU_STACK.* RW ' "$here/headers" && grep -q GNU_RELRO "$here/headers" && readelf -h "$program" | grep -q DYN
}
expect "its addresses are random, its stack and constants protected" is_hardened

cargo tree --locked -e normal,build --prefix none --no-dedupe >"$here/tree" || fail "cargo tree tells what it is made of"
cut -d' ' -f1,2 "$here/tree" | sort -u >"$here/crates"
few_crates() {
    cat "$here/crates"
    grep -q '^buildd-sequencer ' "$here/crates" && [ "$(wc -l <"$here/crates")" -le "$most_crates" ]
}
expect "it is made of at most $most_crates crates ($(wc -l <"$here/crates"))" few_crates

shows_no_path() {
    found=0
    for path in "$(pwd)" "${HOME:-/root}" "${CARGO_HOME:-$HOME/.cargo}" "$(rustc --print sysroot)" /home/ /root/ .cargo/; do
        # A home directory of `/` would be found everywhere.
        [ ${#path} -lt 4 ] || ! strings -a "$program" | grep -F -e "$path" || found=1
    done
    return "$found"
}
expect "no path of this machine is in it" shows_no_path

# An empty root directory.

if [ "$(id -u)" -ne 0 ]; then
    skip "an empty root directory" "chroot needs root"
    finish
fi
for candidate in ${BUSYBOX:-} /bin/busybox /bin/busybox-static; do
    if [ -x "$candidate" ] && ! readelf -lW "$candidate" | grep -q INTERP; then
        busybox=$candidate
    fi
done
: "${busybox:?no static busybox found; install busybox-static or set BUSYBOX}"

root=$here/root
mkdir "$root"
cp "$program" "$root/buildd-sequencer"
cp "$busybox" "$root/busybox"
cat >"$root/conf" <<'END'
[buildsequencer]
mailproblemsto: -
[buildsequencer_job.template]
mindelay: 1h
startdelay: 0
alwayslog: true
[buildsequencer_job.version]
command: /buildd-sequencer --version
# Before the one that leaves an orphan: where two die at once, SIGCHLD tells of one.
[buildsequencer_job.realtime]
command: /busybox sh -c 'kill -40 $$'
[buildsequencer_job.shell]
command: /busybox sh -c 'echo in; /busybox cat; echo at its end; echo trouble >&2; exit 3'
[buildsequencer_job.background]
command: /busybox sh -c '/busybox sleep 0.01 & exit 4'
[buildsequencer_job.nothing]
command: /nothing
END
chmod -R a+rX "$here"

log_has() { grep -q -- "$1" "$here/log"; }
jobs_have_run() {
    log_has 'Job version completed with exit code 0$' && log_has "$(printf '^\tbuildd-sequencer [0-9.]*$')" &&
        log_has 'Job shell completed with exit code 3$' && log_has "$(printf '^\ttrouble$')" &&
        grep -q -A1 "$(printf '^\tin$')" "$here/log" && log_has "$(printf '^\tat its end$')" &&
        log_has 'Job background completed with exit code 4$' &&
        log_has 'Job realtime completed with exit code 168 (killed by SIGRTMIN+6)$' &&
        log_has 'Job nothing completed with exit code 127 (could not start: No such file or directory)$'
}

# runs NAME COMMAND...: a daemon under which all jobs run, and which TERM ends with status 0. Its log is its standard
# output unless the command leads that away.
runs() {
    name=$1
    shift
    : >"$here/log"
    "$@" >>"$here/log" 2>"$here/errors" &
    daemon=$!
    at_exit_kill "$daemon"
    if wait_for 30 jobs_have_run; then
        ok "$name: all jobs run"
    else
        fail "$name: all jobs run"
        sed 's/^/     | /' "$here/log" "$here/errors"
    fi
    kill -TERM "$daemon"
    wait "$daemon"
    status=$?
    if [ $status -eq 0 ] && log_has 'Main loop terminated.$' && [ ! -s "$here/errors" ]; then
        ok "$name: TERM ends it with status 0"
    else
        fail "$name: TERM ends it with status 0" "status $status"
        sed 's/^/     | /' "$here/log" "$here/errors"
    fi
}

runs "in an empty root" chroot "$root" /buildd-sequencer -c /conf
runs "as another user" chroot --userspec=65534:65534 "$root" /buildd-sequencer -c /conf
runs "giving up root" chroot "$root" /buildd-sequencer -c /conf -u 65534 -g 65534
if unshare --mount true 2>/dev/null; then
    # shellcheck disable=SC2016 # $1 is the inner shell's
    runs "on a read-only root" unshare --mount sh -c '
        mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit
        ! touch "$1/file" 2>/dev/null || exit
        exec chroot --userspec=65534:65534 "$1" /buildd-sequencer -c /conf' - "$root"
else
    skip "on a read-only root" "mounting is not permitted here"
fi

# Users by name need /etc/passwd; whatever nsswitch.conf names, nothing is loaded and nothing crashes.

# refused NAME TEXT OPTIONS...: the start ends with status 1 and this one line.
refused() {
    name=$1
    line="buildd-sequencer: $2"
    shift 2
    timeout 30 chroot "$root" /buildd-sequencer -c /conf "$@" >"$here/log" 2>&1
    status=$?
    if [ $status -eq 1 ] && [ "$(cat "$here/log")" = "$line" ]; then
        ok "$name"
    else
        fail "$name" "status $status, $(cat "$here/log")"
    fi
}
runs_as() {
    name=$1
    shift
    runs "$name" chroot "$root" /buildd-sequencer -c /conf "$@"
}
refused "a name without a database" \
    "cannot look up user 'builder': No such file or directory; give a number" -u builder
refused "a group's name without a database" \
    "cannot look up group 'builders': No such file or directory; give a number" -u 65534 -g builders
refused "a number without a group" \
    "user 65534 is not known here, so neither is its group; give one with --gid" -u 65534
mkdir "$root/etc"
printf 'root:x:0:0::/:/\nbuilder:x:2001:2002::/:/\n' >"$root/etc/passwd"
runs_as "a name with /etc/passwd alone" -u builder
printf 'root:x:0:\nbuilders:x:2002:\nmore:x:2003:builder\n' >"$root/etc/group"
for modules in 'files' 'ldap sss nosuchmodule' 'files systemd winbind' '[NOTFOUND=return] compat' 'files [!success=x'; do
    printf 'passwd: %s\ngroup: %s\ninitgroups: %s\n' "$modules" "$modules" "$modules" >"$root/etc/nsswitch.conf"
    mkdir -p "$root/lib/$(uname -m)-linux-gnu"
    echo "not a library" >"$root/lib/$(uname -m)-linux-gnu/libnss_ldap.so.2"
    runs_as "names with nsswitch.conf '$modules'" -u builder -g builders
    refused "an unknown name with it" \
        "there is no user 'nobody'; give a number if users cannot be looked up here" -u nobody
done
rm -r "${root:?}/etc" "${root:?}/lib"

expect "it gives up root by name" env BIN="$program" sh tests/system/privileges.sh
expect "it is a good process 1" env BIN="$program" sh tests/system/pid1.sh

# Descriptors 0 to 2, each open or closed. The Rust runtime needs /dev/null for the closed ones.

mkdir -m 755 "$root/dev"
mkdir -m 777 "$root/log"
if mknod -m 666 "$root/dev/null" c 1 3 2>/dev/null && true 2>/dev/null >"$root/dev/null"; then
    for closed in '' '<&-' '>&-' '2>&-' '<&- >&-' '<&- 2>&-' '>&- 2>&-' '<&- >&- 2>&-'; do
        rm -f "$root/log/log" "$here/log"
        ln -s root/log/log "$here/log"
        eval 'without() { exec chroot "$root" /buildd-sequencer -c /conf -l /log/log '"$closed"'; }'
        runs "with descriptors ${closed:-all open}" without
    done
else
    skip "with closed descriptors" "mknod is not permitted here"
fi

finish
