#!/bin/sh
# contrib/systemd and contrib/sysusers.d, as systemd itself reads them. Needs no running systemd: everything is
# looked at below a root of its own. tests/system/systemd-live.sh runs the units.

# systemd-analyze leaves a mark in /run.
if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount sh "$0" inside
fi

. tests/system/lib.sh

[ "${1:-}" != inside ] || mount -t tmpfs tmpfs /run

root=$here/root
units=$root/etc/systemd/system
mkdir -p "$units" "$root/usr/bin" "$root/usr/lib/systemd" "$root/usr/lib/sysusers.d"
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/"
cp -r contrib/systemd/* "$units/"
cp contrib/sysusers.d/buildd-sequencer.conf "$root/usr/lib/sysusers.d/"
cp "$BIN" "$root/usr/bin/buildd-sequencer"

# Unknown settings are only complained about, so silence counts as well.
verified() {
    systemd-analyze verify --man=no --root="$root" "$@" >"$here/verify.out" 2>&1
    verdict=$?
    cat "$here/verify.out"
    [ "$verdict" -eq 0 ] && ! [ -s "$here/verify.out" ]
}

exposure() {
    systemd-analyze security --offline=true --root="$root" --no-pager "$@"
}

# settings FILE NAME: the values of a setting.
settings() {
    sed -n "s/^$2=//p" "$1"
}

# The program knows every word of a command line: whatever else is wrong here, it is not the usage.
understood() {
    command=$(settings "$1" "$2" | sed -e "s#^/usr/bin/buildd-sequencer##" -e "s#/etc/#$here/no/#g" \
        -e "s#%t#$here/no#g" -e 's/%i/x/g')
    # shellcheck disable=SC2086 # The words of a unit's command line are split at spaces.
    BUILDD_SEQUENCER_CONFIG=$here/no/conf BUILDD_SEQUENCER_SOCKET=$here/no/socket "$BIN" $command
    [ $? -eq "$3" ]
}

# The settings that the unit and the template should have in common.
common() {
    grep -Ev '^(#|Exec|$)' "$1" | sed 's/[- ]%i//'
}

# Whatever would make the kernel ignore setuid and setgid bits of the mail sender (systemd.exec(5)).
implies_no_new_privileges() {
    grep -E '^(NoNewPrivileges|DynamicUser|LockPersonality|MemoryDenyWriteExecute|PrivateDevices|Protect(Clock|Hostname|Kernel[A-Za-z]*)|Restrict[A-Za-z]*|SystemCall[A-Za-z]*)=' "$@"
}

expect "the unit with its drop-in is valid" verified buildd-sequencer.service
expect "the template is valid" verified buildd-sequencer@farm.service
mv "$units/buildd-sequencer.service.d" "$here/drop-in"
expect "the unit alone is valid" verified buildd-sequencer.service
expect "without the drop-in the unit leaves a setuid mail sender alone" test -z \
    "$(implies_no_new_privileges "$units"/*.service)"
exposure buildd-sequencer.service | tail -n 1
mv "$here/drop-in" "$units/buildd-sequencer.service.d"
exposure buildd-sequencer.service | tail -n 1
expect "with the drop-in the exposure is 2.5 at most" exposure --threshold=25 buildd-sequencer.service

for unit in "$units"/*.service; do
    expect "${unit##*/}: the daemon's options are known" understood "$unit" ExecStart 78
    expect "${unit##*/}: the reload command is known" understood "$unit" ExecReload 3
done
expect "the template differs in its instance only" test "$(common "$units/buildd-sequencer.service")" = \
    "$(common "$units/buildd-sequencer@.service")"

expect "systemd-sysusers makes the user" systemd-sysusers --root="$root"
expect "the user has no shell and the state directory as home" \
    grep -E '^buildd-sequencer:x:[0-9]+:[0-9]+:[^:]*:/var/lib/buildd-sequencer:/usr/sbin/nologin$' "$root/etc/passwd"
expect "the group has the same name" grep '^buildd-sequencer:' "$root/etc/group"
for unit in "$units"/*.service; do
    expect "${unit##*/}: runs as that user" test "$(settings "$unit" User)" = buildd-sequencer
done

for unit in buildd-sequencer buildd-sequencer@; do
    expect "under a lease $unit has the command line of its unit" \
        test "$(settings "contrib/cluster/etcd/$unit.service.d/lease.conf" ExecStart | sed -n 's/^.* -- //p')" = \
        "$(settings "contrib/systemd/$unit.service" ExecStart)"
done

finish
