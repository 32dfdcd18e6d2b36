#!/bin/sh
# A job and the terminal from which the daemon was started: it cannot open it, type into it or be stopped by it. And a
# job that tries to leave its process group is stopped with it all the same. script(1) makes the terminal.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
cd "$here" || exit

log_has() { grep -q -- "$1" log; }
show_log() { tail -n 40 log typescript | sed 's/^/     | /'; }

cat >terminal.sh <<'END2'
if (: </dev/tty) 2>/dev/null; then echo "reads it"; fi
if (: >/dev/tty) 2>/dev/null; then echo "writes to it"; fi
# As a password prompt does: a process in the background is stopped for that (SIGTTIN, SIGTTOU).
(read -r answer </dev/tty; stty -echo </dev/tty) 2>/dev/null
echo "over"
END2
# The child becomes a group, and the parent joins it.
cat >leaver.pl <<'END2'
use POSIX;
$| = 1;
$SIG{TERM} = sub { print "asked to stop\n"; exit 0 };
pipe(my $read, my $write);
my $child = fork();
if (!$child) { POSIX::setpgid(0, 0); close($read); close($write); sleep(60); exit }
close($write);
<$read>;
print "left\n" if POSIX::setpgid(0, $child);
kill("KILL", $child);
print "ready\n";
sleep(1) while 1;
END2
cat >conf <<'END2'
[buildsequencer]
controlsocket: none
logfile: log
[buildsequencer_job.terminal]
command: sh terminal.sh
startdelay: 0
mindelay: 1h
timeout: 20
alwayslog: yes
[buildsequencer_job.leaver]
command: perl leaver.pl
startdelay: 0
mindelay: 1h
timeout: 10
killdelay: 20
alwayslog: yes
[buildsequencer_job.next]
command: true
startdelay: 0
mindelay: 1h
END2
# What comes through here is typed at the terminal; its end would hang up.
mkfifo input
script -qfec "tty >terminal; exec '$program' -c conf" typescript <input >/dev/null 2>&1 &
at_exit_kill $!
exec 8>input
wait_for 20 test -s terminal
expect "the daemon is started from a terminal" grep -q '^/dev/' terminal
expect "a job is not stopped for the terminal's sake" wait_for 40 log_has 'Job terminal completed with exit code 0$'
expect "it goes to its end" log_has '^	over$'
expect "it neither reads the terminal" sh -c '! grep "^	reads it$" log'
expect "nor writes to it" sh -c '! grep "^	writes to it$" log'
expect "a job that would leave its group is reached by SIGTERM" \
    wait_for 40 log_has 'Job leaver completed with exit code 0 (timed out after 10 seconds)$'
expect "because it cannot leave" sh -c '! grep "^	left$" log'
expect "and the sequence goes on" wait_for 20 log_has 'Job next completed with exit code 0$'

# The terminal's own signals are the daemon's: a Control-C typed there stops it.
printf '\003' >&8
expect "a Control-C at the terminal stops the daemon" wait_for 20 log_has 'Received SIGINT, shutting down.$'
expect "to its end" wait_for 20 log_has 'Main loop terminated.$'

[ "$failed" -eq 0 ] || show_log

# A terminal of another user's cannot be opened anew, and a write to it waits for room. Nobody reads this one.
if [ "$(id -u)" -eq 0 ]; then
    cat >unread.py <<'END2'
import os, pty, subprocess, sys, time

leader, terminal = pty.openpty()
daemon = subprocess.Popen(
    ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *sys.argv[1:]], stdout=terminal
)
limit = time.monotonic() + 30
while time.monotonic() < limit and len(open("runs").readlines()) < 30:
    time.sleep(0.05)
daemon.terminate()
sys.exit(daemon.wait(timeout=20))
END2
    cat >unread.conf <<'END2'
[buildsequencer]
controlsocket: none
[buildsequencer_job.a]
command: sh -c 'echo ran >>runs; seq 1 1000'
startdelay: 0
mindelay: 0.05
alwayslog: yes
END2
    : >runs
    chmod 666 runs
    chmod 755 "$here" .
    expect "a terminal that cannot be opened anew and nobody reads lets the daemon end" \
        timeout 60 python3 unread.py "$program" -c unread.conf
    expect "and holds up no job before: $(wc -l <runs)" [ "$(wc -l <runs)" -ge 30 ]
else
    skip "a terminal of another user's" "needs root"
fi
finish
