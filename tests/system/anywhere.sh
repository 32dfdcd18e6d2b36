#!/bin/sh
# `cargo test` on a machine that is as different as namespaces can make it: an ordinary user whom /etc/passwd does not
# know, a checkout whose path has a blank, /tmp mounted noexec and $TMPDIR with a long name, no network and the kernel's
# own limits for sockets. The tests pass there, too, and leave nothing behind: no process, no file. Needs root, and the
# crates that the build has fetched.

. tests/system/lib.sh

if [ "$(id -u)" -ne 0 ]; then
    skip "the tests elsewhere" "other namespaces and another user take root"
    finish
fi

user=60871
# Below the build's own directory, from which programs can be run.
mkdir -p target
work=$(mktemp -d "$(pwd)/target/anywhere.XXXXXX")
clean_up_work() {
    clean_up
    rm -rf "$work"
}
trap clean_up_work EXIT
chmod 755 "$work"

# The files that belong to the project, as they are now.
mkdir -p "$work/a check out/target" "$work/home" "$work/cargo" "$work/toolchain"
git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$work/a check out" || exit
# What was built of other crates is good for another path as well. Ours is built anew, since it knows its own.
for part in deps build .fingerprint; do
    [ ! -d "target/debug/$part" ] || {
        mkdir -p "$work/a check out/target/debug/$part"
        find "target/debug/$part" -mindepth 1 -maxdepth 1 ! -name '*buildd?sequencer*' \
            -exec cp -a -t "$work/a check out/target/debug/$part" {} +
    }
done
chown -R "$user:$user" "$work/a check out" "$work/home"

cat >"$work/inside" <<'END'
set -eu
work=$1 user=$2 cargo_home=$3 toolchain=$4
mount --make-rprivate /
# A machine without a network still talks to itself.
ip link set lo up
# Their own directories may be closed to others.
mount --bind "$cargo_home" "$work/cargo"
mount --bind "$toolchain" "$work/toolchain"
mount --rbind "$work" /mnt
for directory in /tmp /var/tmp /dev/shm; do
    mount -t tmpfs -o noexec,mode=1777 tmpfs "$directory"
done
long=/tmp/$(printf '%090d' 0)
mkdir -m 1777 "$long"
cd "/mnt/a check out"
find . -path ./target -prune -o -print | sort >/mnt/files
status=0
env -i HOME=/mnt/home CARGO_HOME=/mnt/cargo PATH="/mnt/toolchain/bin:/usr/bin:/bin" TMPDIR="$long" \
    setpriv --reuid "$user" --regid "$user" --clear-groups cargo test --offline --no-fail-fast || status=$?
{
    find /tmp /var/tmp /dev/shm target/tmp -mindepth 1 ! -path "$long"
    find . -path ./target -prune -o -print | sort | diff /mnt/files -
    # Process 1 is this shell; what has lost its parent has become its child.
    for process in /proc/[0-9]*; do
        [ "${process#/proc/}" -eq $$ ] || tr '\0' ' ' <"$process/cmdline"
    done
} >/mnt/left 2>/dev/null || true
exit $status
END

sysroot=$(rustc --print sysroot)
unshare --mount --net --pid --ipc --uts --fork --kill-child --mount-proc \
    sh "$work/inside" "$work" "$user" "${CARGO_HOME:-$HOME/.cargo}" "$sysroot" >"$work/log" 2>&1 </dev/null &
tests=$!
at_exit_kill $tests
passed_elsewhere() {
    wait $tests && return
    grep -E '^(error|test .* FAILED|test result|---- )|panicked' -A 12 "$work/log"
    return 1
}
expect "the tests pass elsewhere" passed_elsewhere
grep '^test result' "$work/log" | sort -u | sed 's/^/     /'
left_nothing() {
    cat "$work/left"
    [ ! -s "$work/left" ]
}
expect "they leave nothing behind" left_nothing

finish
