#!/bin/sh
# Other machines and compilers: the tests with the compiler that Debian 13 has, from crates that lie beside them; a
# 32-bit machine with all tests; arm64, whose instructions qemu obeys; and times after 2038. Needs root and, for the roots, a
# network.
case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
. tests/system/lib.sh

names_no_machine() {
    ! grep -rnE 'x86|amd64|i[36]86|aarch64|arm64' src --include='*.rs' | grep -vE '^[^:]*:[0-9]*: *//'
}
expect "no line of the source is for one machine alone" names_no_machine
expect "on this machine" sh tests/system/smoke "$program"

# --- A clock after 2038: this machine's, since libfaketime knows no such time on 32 bits.

faketime=$(find /usr/lib -name libfaketime.so.1 2>/dev/null | head -n 1)
# late TIME
late() {
    env TZ=UTC LD_PRELOAD="$faketime" FAKETIME="@$1" DONT_FAKE_MONOTONIC=1 FAKETIME_DONT_FAKE_MONOTONIC=1 \
        "$program" -c "$here/late" --socket "$here/socket" >"$here/log" 2>&1 &
    daemon=$!
    at_exit_kill $daemon
}
if [ -n "$faketime" ] && ! ldd "$program" 2>&1 | grep -q 'not a dynamic'; then
    printf '[buildsequencer]\nstatefile: %s\n[buildsequencer_job.a]\ncommand: true\nstartdelay: 0\nmindelay: 1s\n' \
        "$here/state" >"$here/late"
    late "2040-02-29 23:59:50"
    expect "after 2038: jobs run, past the end of a day in February" \
        wait_for 60 grep '^2040-03-01T00:00:.*Job a completed with exit code 0' "$here/log"
    kill -TERM $daemon
    wait $daemon
    expect "after 2038: the state is kept, with the seconds of 2040" grep '22[12][0-9]\{7\}' "$here/state"
    late "2040-03-01 01:00:00"
    expect "after 2038: and read" wait_for 60 grep 'Job a completed with exit code 0' "$here/log"
    believed() { ! grep -i -e future -e 'clock' "$here/log"; }
    expect "after 2038: and believed" believed
    kill_background
else
    skip "after 2038" "needs libfaketime and a program that is linked dynamically"
fi

foreign

# --- Compilers. Crates are fetched here, also those of other systems, and none there.

vendor=$here/vendor
expect "the crates of Cargo.lock are gathered" cargo vendor --quiet --locked "$vendor"
# cargo_in ROOT WORDS: what the words say, with crates but no registry; build products are in $here/target-ROOT.
cargo_in() {
    root=$1
    shift
    mkdir -p "$here/target-$root"
    sh tests/system/in-root "$root" "$vendor:/vendor" "$here/target-$root:/target" -- sh -c '
        mkdir -p /cargo && printf "[source.crates-io]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"/vendor\"\n" >/cargo/config.toml
        cd /project && export CARGO_TARGET_DIR=/target CARGO_NET_OFFLINE=true && '"$*" >"$here/cargo.log" 2>&1
}
# tests_in ROOT: all tests pass there.
tests_in() {
    cargo_in "$1" "cargo --version && cargo test --locked --no-fail-fast" || {
        grep -E '^(error|test .* FAILED|test result|---- )|panicked' -A 12 "$here/cargo.log" || tail -n 30 "$here/cargo.log"
        return 1
    }
}
for root in build i386; do
    expect "$root: cargo test passes with Debian 13's compiler" tests_in $root
    sed -n '/^cargo [0-9]/p' "$here/cargo.log" | sed "s/^/     $root: /"
    awk '/^test result/ { passed += $4 } END { print "     " passed " tests passed" }' "$here/cargo.log"
done
smoke_on_32_bits() { cargo_in i386 "sh tests/system/smoke /target/debug/buildd-sequencer" || { cat "$here/cargo.log"; return 1; }; }
expect "i386: it does what it does elsewhere" smoke_on_32_bits

# --- arm64.

arm64=$(sh tests/system/static-for aarch64-unknown-linux-gnu 2>"$here/build")
sed 's/^/     /' "$here/build"
expect "arm64: contrib/static-build makes it" test -x "$arm64"
# Its jobs are programs of this machine.
smoke_on_arm64() {
    sh tests/system/in-root build "${arm64%/*}:/arm64" -- sh -c 'cd /project && sh tests/system/smoke qemu-aarch64 /arm64/buildd-sequencer'
}
expect "arm64: it does what it does elsewhere" smoke_on_arm64

finish
