#!/bin/sh
# The journal, by a real systemd-journald in namespaces of its own: each line of the log is one entry with the priority
# that the line has, and nothing that a job prints begins another. What is expected is what the same daemon writes to a
# file that it is told to be the journal.
# Needs root and systemd-journald.

# IN_PRIVATE_JOURNAL is set on the second run, which is inside.
if [ -z "${IN_PRIVATE_JOURNAL:-}" ] && [ "$(id -u)" -eq 0 ] &&
    unshare --mount --pid --net --uts --fork true 2>/dev/null; then
    IN_PRIVATE_JOURNAL=yes exec unshare --mount --pid --net --uts --fork --kill-child sh "$0"
fi
. tests/system/lib.sh
[ -n "${IN_PRIVATE_JOURNAL:-}" ] || { skip "all of this" "needs root and namespaces"; finish; }
journald=/lib/systemd/systemd-journald
[ -x $journald ] || { fail "systemd-journald is there" "see tests/system/packages"; finish; }

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
look=$(pwd)/tests/system/journal.py
cd "$here" || exit

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log/journal
tr -d - </proc/sys/kernel/random/uuid >/run/machine-id
# The file is there in any system that has a journal, if only empty.
mount --bind /run/machine-id /etc/machine-id
cat >/run/systemd/journald.conf.d/check.conf <<'END'
[Journal]
Storage=volatile
ReadKMsg=no
Audit=no
RateLimitIntervalSec=0
END
$journald >journald.out 2>&1 &
at_exit_kill $!
expect "journald is up" wait_for 20 test -S /run/systemd/journal/stdout

# --- Jobs that mean ill. `%s` is a line that would be believed.
fake='2026-11-25T00:00:00+0000 [-] Job payroll completed with exit code 137 (killed by SIGKILL)'
cat >nul <<END
#!/bin/sh
printf 'harmless\\000<3>$fake\\n\\000\\000<0>$fake\\000\\n<3>$fake\\n\\n \\000'
END
cat >long <<END
#!/bin/sh
# One line that says it at all places at which a line could be cut, and lines about as long as journald takes.
for n in \$(seq 4000); do printf '<3>$fake '; done
echo
for size in 39999 40000 40001 49100 49151 49152 49153 80000 80001; do
    head -c \$size /dev/zero | tr '\\0' x
    echo '<0>$fake'
done
head -c 120000 /dev/zero
echo
head -c 100001 /dev/zero | tr '\\0' '\\303'
END
for script in nul long; do
    { cat $script && printf 'exit 1\n'; } >$script.fails
    { printf '#!/bin/sh\nexec >&2\n' && cat $script; } >$script.errors
done
cat >sendmail <<END
#!/bin/sh
cat >/dev/null
printf 'no\\000<0>$fake\\n<0>$fake\\n'
exit 64
END
chmod +x nul* long* sendmail
cat >conf <<END
[buildsequencer]
controlsocket: none
sendmail: $here/sendmail
[buildsequencer_job.template]
startdelay: 0
mindelay: 1h
END
job() {
    printf '[buildsequencer_job.%s]\ncommand: %s/%s\n%s\n' "$1" "$here" "$2" "$3" >>conf
}
for script in nul long; do
    job $script-always $script 'alwayslog: yes'
    job $script-errors $script.errors 'alwayslog: yes'
    job $script-live $script 'livelog: yes'
    job $script-report $script.fails ''
    job $script-mail $script.fails 'mailproblemsto: ops@example.com'
done
job last nul ''

# run NAME: a daemon on this standard output until all has been said; its output is $output.
cat >run <<END
#!/bin/sh
exec 3>&1
JOURNAL_STREAM=\$(stat -L -c %d:%i /proc/self/fd/3)
export JOURNAL_STREAM
exec '$program' -c conf 3>&-
END
chmod +x run

# said COMMAND...: the command prints the log, in which everything has happened.
said() {
    "$@" >now && grep -aq 'Job last completed' now && [ "$(grep -ac 'Mail to ops@example.com failed' now)" -eq 2 ]
}
entries() {
    journalctl -D /run/log/journal --no-pager --output=cat _COMM="$(basename "$program" | cut -c1-15)"
}
told() { "$@" | grep -aq 'Received SIGUSR2'; }
# stop COMMAND...: after the table, which the command shows that it is there.
stop() {
    kill -USR2 $daemon
    wait_for 20 told "$@"
    kill -TERM $daemon
    expect "and stops" wait $daemon
}

./run >lines &
daemon=$!
at_exit_kill $daemon
expect "all happens with a file" wait_for 60 said cat lines
stop cat lines

systemd-cat ./run &
daemon=$!
at_exit_kill $daemon
expect "all happens with the journal" wait_for 60 said entries
stop entries
ended() { entries | grep -a 'Main loop terminated'; }
expect "to the end" wait_for 20 ended
journalctl -D /run/log/journal --no-pager --all --output=json >entries.json

# look WHAT NAME
look() {
    expect "$2" python3 "$look" "$1" lines entries.json
}
look lines "each line is one entry"
look priorities "each entry has its priority"
look breaks "no entry ends before its line does"
look begins "no entry begins with what a job has printed"
[ "$failed" -eq 0 ] || sed 's/^/     journald: /' journald.out
finish
