#!/bin/sh
# The Debian package, as Debian's lintian judges it and as it lives under a real systemd: installed, configured, upgraded,
# removed, purged, on Debian 13 and on Debian 12. Needs root, namespaces and control groups, and a network for the roots.
. tests/system/lib.sh
foreign

packages=$here/packages
check=$here/check
mkdir -p "$packages" "$check" "$here/target" "$here/elsewhere" "$ROOTS/cargo"
chmod 755 "$here" "$check"

# --- It is built.

# build OPTION...: the package, into $packages.
build() {
    sh tests/system/in-root build "$here/target:/target" "$packages:/packages" "$ROOTS/cargo:/cargo" -- sh -c '
        cd /project && CARGO_TARGET_DIR=/target contrib/debian/build "$@" && mv /target/debian/*.deb /packages/' - "$@"
}
expect "contrib/debian/build makes it" build
package=$(find "$packages" -name 'buildd-sequencer_*_amd64.deb')
[ -f "$package" ] || finish
cp "$package" "$check/old.deb"
lintian() {
    sh tests/system/in-root build "$packages:/packages" -- sh -c 'lintian --allow-root --fail-on error,warning /packages/*.deb'
}
expect "lintian finds neither error nor warning" lintian
echo "     ${package##*/}: $(wc -c <"$package") bytes"
is_the_same_elsewhere() {
    sh tests/system/elsewhere "$here/elsewhere" contrib/debian/build &&
        cmp "$package" "$here/elsewhere/debian/${package##*/}"
}
expect "it is the same bytes from another directory, user, CARGO_HOME, umask and time" is_the_same_elsewhere
has() { dpkg-deb -c "$package" | grep -E " \./$1\$"; }
for file in usr/bin/buildd-sequencer usr/lib/systemd/system/buildd-sequencer.service \
    usr/lib/systemd/system/buildd-sequencer@.service usr/lib/sysusers.d/buildd-sequencer.conf \
    etc/init.d/buildd-sequencer etc/default/buildd-sequencer etc/logrotate.d/buildd-sequencer etc/buildd-sequencer.conf \
    usr/share/man/man8/buildd-sequencer.8.gz usr/share/man/man5/buildd-sequencer.conf.5.gz \
    usr/share/bash-completion/completions/buildd-sequencer usr/share/zsh/vendor-completions/_buildd-sequencer \
    usr/share/doc/buildd-sequencer/copyright usr/share/doc/buildd-sequencer/changelog.gz \
    usr/share/doc/buildd-sequencer/operating.md.gz usr/share/doc/buildd-sequencer/examples/example.conf; do
    expect "it has $file" has "$file"
done
is_conffile() { dpkg-deb --ctrl-tarfile "$package" | tar -xO ./conffiles | grep -x /etc/buildd-sequencer.conf; }
expect "the configuration is a conffile" is_conffile
names_its_crates() {
    dpkg-deb --fsys-tarfile "$package" | tar -xO ./usr/bin/buildd-sequencer >"$here/program"
    objcopy --dump-section .dep-v0="$here/bill" "$here/program" /dev/null &&
        python3 -c 'import json, sys, zlib
print(*sorted(package["name"] for package in json.loads(zlib.decompress(open(sys.argv[1], "rb").read()))["packages"]))' "$here/bill" |
        grep 'buildd-sequencer.* mio.* nix '
}
expect "the program carries a bill of materials (cargo auditable)" names_its_crates

# The next version: the same with another number, and its conffile changed by a comment.
mkdir "$here/next"
dpkg-deb -R "$package" "$here/next"
sed -i 's/^\(Version: .*\)$/\1+next/' "$here/next/DEBIAN/control"
echo '# A comment of the next version.' >>"$here/next/etc/buildd-sequencer.conf"
dpkg-deb --root-owner-group -Znone -b "$here/next" "$check/next.deb" >/dev/null

# --- A machine to install it on.

hierarchy=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
cgroup=$hierarchy/check.$$
if [ -z "$hierarchy" ] || ! mkdir "$cgroup" 2>/dev/null; then
    skip "the life of the package" "no control group can be made"
    finish
fi
outside=
cgroup_is_gone() {
    find "$cgroup" -depth -type d -exec rmdir {} +
    [ ! -e "$cgroup" ]
}
clean_up_machine() {
    kill_background
    wait_for 20 cgroup_is_gone
    clean_up
}
trap clean_up_machine EXIT

# A command on the machine.
on() {
    inside=$(first_of "$outside") || return
    nsenter --target "$inside" --mount --net --pid --ipc --uts --cgroup \
        --root --wdns=/ env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}
is_up() { on systemctl is-active multi-user.target; }

# boot NAME: sets up the machine.
boot() {
    # That takes minutes where there is none yet.
    expect "$1: its root is there" sh tests/system/root "$1"
    sh tests/system/boot "$1" "$check" "$cgroup" >"$here/console" 2>&1 </dev/null &
    outside=$!
    at_exit_kill $outside
    expect "$1: the machine is up" wait_for 120 is_up
    is_up >/dev/null || { tail -n 20 "$here/console"; finish; }
}
# What the machine says itself, where something has failed on it.
off() {
    if [ "$failed" -ne 0 ]; then
        on journalctl --no-pager --lines=60 | sed 's/^/     | /'
        on systemctl --no-pager status 'buildd-sequencer*' | sed 's/^/     | /'
    fi
    kill_background
    wait $outside 2>/dev/null
    wait_for 20 cgroup_is_gone
    mkdir -p "$cgroup"
}

# dpkg_does OPTION...: its words are in $here/dpkg.
dpkg_does() { on dpkg --force-confold "$@" >"$here/dpkg" 2>&1 || { cat "$here/dpkg"; return 1; }; }
property() { on systemctl show --property "$1" --value "${2:-buildd-sequencer.service}"; }
is() { [ "$(property "$1")" = "$2" ]; }
is_not() { [ "$(property "$1")" != "$2" ]; }
journal_has() { on journalctl --no-pager --output=cat --unit buildd-sequencer | grep -q -- "$1"; }
user() { on getent passwd buildd-sequencer; }
status_says() { on buildd-sequencer status | grep -- "$1"; }
nothing_failed() { [ -z "$(on systemctl list-units --failed --plain --no-legend 'buildd*')" ]; }
left() {
    on find / -xdev ! -path '/check*' ! -path '/proc/*' ! -path '/sys/*' '(' -name '*buildd-seq*' -o -name '*buildd_seq*' ')' \
        ! -path '/var/log/journal/*'
}
daemons() { on pgrep -x buildd-sequence || true; }

install_and_look() {
    expect "$1: it installs" dpkg_does -i /check/old.deb
    expect "$1: with a user of its own" user
    expect "$1: the service is enabled" on systemctl is-enabled buildd-sequencer
    expect "$1: and up" wait_for 20 is ActiveState active
    expect "$1: nothing has failed" nothing_failed
    expect "$1: status answers" status_says "example  *waiting"
    expect "$1: the health check is content" on buildd-sequencer healthcheck
}

# --- The life of a package, on Debian 13.

boot live13
install_and_look "a fresh install"
quiet() { ! on journalctl --no-pager --output=cat --unit buildd-sequencer --priority warning | grep .; }
expect "a fresh install: the journal has no warning" quiet
expect "a fresh install: the manual pages are found" on man -w buildd-sequencer buildd-sequencer.conf
names_the_pages() { property Documentation | grep -F 'man:buildd-sequencer.conf(5)'; }
expect "a fresh install: the unit names them" names_the_pages

cat >"$check/edited" <<'CONF'
[buildsequencer]
statefile: /var/lib/buildd-sequencer/state
[buildsequencer_job.slow]
command: sh -c 'until [ -e /tmp/go ]; do sleep 0.1; done'
startdelay: 0
mindelay: 1h
[buildsequencer_job.later]
command: true
mindelay: 3h
[buildsequencer_job.early]
command: true
startdelay: 0
mindelay: 2h
CONF
on touch /tmp/go
on cp /check/edited /etc/buildd-sequencer.conf
expect "edited: it is restarted with another configuration" on systemctl restart buildd-sequencer
expect "edited: jobs run" wait_for 30 status_says "early .* ok "
expect "edited: the slow one has ended" wait_for 30 status_says "slow .* ok "
expect "edited: a pause is taken" on buildd-sequencer pause later
# When the next run of `early` is due, in seconds since 1970.
due() {
    on buildd-sequencer status --json | python3 -c 'import datetime, json, sys
(due,) = [job["due"] for job in json.load(sys.stdin)["jobs"] if job["name"] == "early"]
print(int(datetime.datetime.fromisoformat(due.replace("Z", "+00:00")).timestamp()))'
}
due_before=$(due)

on rm /tmp/go
expect "upgrade: a job is under way" on buildd-sequencer run slow
expect "upgrade: and runs" wait_for 20 status_says "RUNNING slow"
main=$(property MainPID)
expect "upgrade: it is upgraded" dpkg_does -i /check/next.deb
expect "upgrade: the edited conffile stays" on cmp /check/edited /etc/buildd-sequencer.conf
expect "upgrade: the new one lies beside it" on grep 'next version' /etc/buildd-sequencer.conf.dpkg-dist
expect "upgrade: the job goes on" status_says "RUNNING slow"
expect "upgrade: under the old daemon" is MainPID "$main"
drains() { property StatusText | grep draining; }
expect "upgrade: which is draining" wait_for 60 drains
on touch /tmp/go
expect "upgrade: when it has ended, the new program starts" wait_for 60 is_not MainPID "$main"
expect "upgrade: and is up" wait_for 30 is ActiveState active
expect "upgrade: the job has ended by itself" journal_has 'Job slow completed with exit code 0'
expect "upgrade: the pause is still in force" status_says 'later *paused'
moved=$(($(due) - due_before))
expect "upgrade: the due time too ($moved s)" [ "${moved#-}" -le 5 ]
in_history() { on buildd-sequencer history slow | grep -c ' ok'; }
expect "upgrade: and the history" [ "$(in_history)" -ge 2 ]

main=$(property MainPID)
on sh -c 'echo nonsense >>/etc/buildd-sequencer.conf'
expect "broken: an upgrade over a broken configuration succeeds" dpkg_does -i /check/old.deb
cp "$here/dpkg" "$here/broken"
expect "broken: dpkg's output cites the fault" grep '^/etc/buildd-sequencer.conf:[0-9]*: ' "$here/broken"
expect "broken: and says what is so and what to do" grep 'still runs jobs' "$here/broken"
expect "broken: the running daemon goes on" is MainPID "$main"
expect "broken: and nobody has told it to end" test -z "$(drains)"
expect "broken: and works" status_says early
on cp /check/edited /etc/buildd-sequencer.conf
expect "broken: mended, it is restarted" on systemctl restart buildd-sequencer

on systemctl stop buildd-sequencer
expect "stopped: an upgrade of what was stopped by hand succeeds" dpkg_does -i /check/next.deb
expect "stopped: and starts nothing" is ActiveState inactive

on sh -c "printf 'logfile: /var/log/buildd-sequencer/log.log\nlogsize: 0\n' | sed -i '1r /dev/stdin' /etc/buildd-sequencer.conf"
expect "logrotate: it starts with a log file" on systemctl start buildd-sequencer
log=/var/log/buildd-sequencer/log.log
expect "logrotate: which is written" wait_for 20 on test -s $log
expect "logrotate: it turns" on logrotate --force /etc/logrotate.d/buildd-sequencer
on buildd-sequencer run early
expect "logrotate: the log goes on in a new file" wait_for 20 on test -s $log
expect "logrotate: the old one is kept" on test -s $log.1

expect "remove: it is removed" dpkg_does -r buildd-sequencer
expect "remove: the daemon has stopped" is ActiveState inactive
expect "remove: no process is left" [ -z "$(daemons)" ]
expect "remove: the configuration stays" on test -f /etc/buildd-sequencer.conf
expect "remove: and the state" on test -s /var/lib/buildd-sequencer/state
expect "remove: logrotate is not disturbed" on logrotate --force /etc/logrotate.d/buildd-sequencer

expect "reinstall: it installs" dpkg_does -i /check/next.deb
expect "reinstall: and is up" wait_for 20 is ActiveState active
expect "reinstall: the pause is still in force" status_says 'later *paused'
on sh -c 'mkdir /etc/buildd-sequencer && sed "/^statefile\|^logfile/d" /check/edited >/etc/buildd-sequencer/two.conf'
# One behind a guard, which is its main process.
cat >"$check/guard" <<'GUARD'
until [ "$1" = -- ]; do shift; done
shift
"$@" &
trap 'kill -QUIT $!' QUIT
trap 'kill -TERM $!' TERM
while :; do
    wait $!
    code=$?
    kill -0 $! 2>/dev/null || exit $code
done
GUARD
cat >"$check/guard.conf" <<'CONF'
[Service]
NotifyAccess=all
ExecStart=
ExecStart=/bin/sh /check/guard /key 30 14 -- /usr/bin/buildd-sequencer --nodaemon --config /etc/buildd-sequencer/%i.conf \
    --socket %t/buildd-sequencer-%i/control.sock --name %i
CONF
on sh -c 'mkdir "$1" && cp /check/guard.conf "$1" && systemctl daemon-reload' sh /etc/systemd/system/buildd-sequencer@two.service.d
expect "reinstall: the template runs, behind a guard" on systemctl start buildd-sequencer@two
main=$(property MainPID buildd-sequencer@two)
expect "reinstall: an upgrade succeeds" dpkg_does -i /check/old.deb
two_is_another() { [ "$(property MainPID buildd-sequencer@two)" != "$main" ]; }
expect "reinstall: it replaces what is behind the guard" wait_for 40 two_is_another
both_are_up() { [ "$(on systemctl is-active buildd-sequencer buildd-sequencer@two | grep -cx active)" -eq 2 ]; }
expect "reinstall: and both are up" wait_for 40 both_are_up

expect "purge: it is purged" dpkg_does -P buildd-sequencer
expect "purge: no process is left" [ -z "$(daemons)" ]
on rm -rf /etc/buildd-sequencer /etc/systemd/system/buildd-sequencer@two.service.d
expect "purge: no file is left" [ -z "$(left)" ]
left | sed 's/^/     | /'
expect "purge: the user stays, as Debian has it" user
install_and_look "after a purge"
off

# --- Debian 12.

boot live12
install_and_look "Debian 12"
expect "Debian 12: it is purged" dpkg_does -P buildd-sequencer
expect "Debian 12: no file is left" [ -z "$(left)" ]
left | sed 's/^/     | /'
off

# --- Another machine, and the same bytes.

expect "contrib/debian/build makes it for arm64" build --host-arch=arm64
expect "lintian finds neither error nor warning in that" lintian

finish
