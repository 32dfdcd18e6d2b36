#!/bin/sh
# As process 1 of a PID namespace, as in a container, and as a subreaper: every orphan is reaped and no job's end is
# lost to that, signals are for the daemon alone, and what the parent left blocked or ignored does not matter.
# Needs root or user namespaces, and perl for signal masks.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
cd "$here" || exit

log_has() { grep -q -- "$1" log; }
count() { grep -c -- "$1" log; }
show_log() { tail -n 40 log errors | sed 's/^/     | /'; }

# The number of prctl(2), which perl has no name for.
case $(uname -m) in
x86_64) prctl=157 ;;
aarch64 | riscv64) prctl=167 ;;
i?86 | arm* | s390x) prctl=172 ;;
*) prctl= ;;
esac

user=$(id -u)
new_namespace() {
    # Without a child of its own: the one that it will have is the daemon.
    if [ "$user" -eq 0 ]; then
        exec unshare --pid --fork --kill-child --mount-proc "$@"
    fi
    exec unshare --user --map-root-user --pid --fork --kill-child --mount-proc "$@"
}

# start WAY COMMAND...: starts the daemon in one of the ways to be a reaper, through COMMAND if there is one. Sets
# `daemon`, its process id here, and `waited`, what to wait for.
start() {
    way=$1
    shift
    : >log
    case $way in
    process_1) new_namespace "$@" "$program" -c conf >>log 2>errors & ;;
    subreaper)
        # prctl(PR_SET_CHILD_SUBREAPER, 1), which exec keeps.
        perl -e 'syscall(0 + shift, 36, 1, 0, 0, 0) == 0 or die "prctl: $!"; exec @ARGV or die $!' -- "$prctl" "$@" "$program" -c conf >>log 2>errors &
        ;;
    esac
    waited=$!
    at_exit_kill "$waited"
    daemon=$waited
    if [ "$way" = process_1 ]; then
        wait_for 60 has_child "$waited" || { fail "$way: it starts"; show_log; finish; }
        daemon=$(cat "/proc/$waited/task/$waited/children")
        daemon=${daemon% }
    fi
}
has_child() { [ -n "$(cat "/proc/$1/task/$1/children")" ]; }
has_no_child() { ! has_child "$1"; }

# stops NAME [SECONDS]: TERM ends the daemon with status 0, and within that time.
stops() {
    kill -TERM "$daemon"
    if within "${2:-4}" wait "$waited"; then
        ok "$1"
    else
        fail "$1" "it takes ${2:-4} seconds and more, or its status is not 0"
        show_log
    fi
}

# Orphans by the hundred, while other jobs end in ways that must be told right.
orphans() {
    cat >orphans.sh <<'END'
i=0
while [ $i -lt 300 ]; do
    (sleep 0.$((i % 7)) &) >/dev/null 2>&1
    i=$((i + 1))
done
(sh -c 'kill -40 $$' &) >/dev/null 2>&1
(sh -c 'kill -KILL $$' &) >/dev/null 2>&1
exit 5
END
    {
        printf '[buildsequencer]\ncontrolsocket: none\nmailproblemsto: -\n'
        printf '[buildsequencer_job.template]\nmindelay: 1h\nstartdelay: 0\n'
        i=1
        while [ $i -le 20 ]; do
            printf '[buildsequencer_job.orphans%d]\ncommand: sh orphans.sh\n' $((i % 3))
            printf '[buildsequencer_job.code%d]\ncommand: sh -c "exit %d"\n' $i $i
            # STOP and TSTP are left out.
            [ $i -ge 19 ] || printf '[buildsequencer_job.signal%d]\ncommand: sh -c "kill -%d $$"\n' $i $i
            printf '[buildsequencer_job.realtime%d]\ncommand: sh -c "kill -%d $$"\n' $i $((i + 40))
            i=$((i + 1))
        done
        printf '[buildsequencer_job.last]\ncommand: true\n'
    } >conf
    start "$1"
    wait_for 300 log_has 'Job last completed with exit code 0$' || { fail "$1: all jobs run"; show_log; }
    wrong=0
    i=1
    while [ $i -le 20 ]; do
        log_has "Job code$i completed with exit code $i\$" || { echo "     code$i is wrong"; wrong=1; }
        case $i in
        17 | 18) log_has "Job signal$i completed with exit code 0\$" ;; # CHLD and CONT do nothing
        19 | 20) true ;;
        *) log_has "Job signal$i completed with exit code $((128 + i)) (killed by SIG" ;;
        esac || { echo "     signal$i is wrong"; wrong=1; }
        log_has "Job realtime$i completed with exit code $((168 + i)) (killed by " || { echo "     realtime$i is wrong"; wrong=1; }
        i=$((i + 1))
    done
    expect "$1: every job's end is told right among 900 orphans" [ $wrong -eq 0 ]
    expect "$1: so is that of the jobs that left them" [ "$(count 'Job orphans[0-2] completed with exit code 5$')" -eq 3 ]
    # Zombies would be children until the end.
    expect "$1: no orphan is left, no zombie either" wait_for 20 has_no_child "$daemon"
    stops "$1: it stops"
}

# A job that ignores TERM, left to `killdelay`.
stubborn() {
    cat >conf <<'END'
[buildsequencer]
controlsocket: none
[buildsequencer_job.stubborn]
command: sh -c 'trap "" TERM; (sleep 60 &); while :; do echo up; sleep 0.1; done'
killdelay: 1
startdelay: 0
livelog: true
END
    start "$1"
    wait_for 20 log_has 'stubborn: up$' || { fail "$1: the job runs"; show_log; }
    stops "$1: a job that ignores TERM delays the stop by killdelay alone" 4
    expect "$1: it was killed" log_has 'Job stubborn completed with exit code 137 (stopped at shutdown)$'
}

# Signals are for the daemon.
signals() {
    cat >conf <<'END'
[buildsequencer]
controlsocket: none
[buildsequencer_job.listener]
command: sh listener.sh
startdelay: 0
livelog: true
END
    cat >listener.sh <<'END'
for signal in HUP USR1 USR2 QUIT; do
    trap "echo got $signal" $signal
done
echo listening
until [ -e go ]; do sleep 0.05; done
END
    rm -f go
    start "$1"
    wait_for 20 log_has 'listener: listening$' || { fail "$1: the job runs"; show_log; }
    for signal in USR2 USR1 HUP; do
        kill -$signal "$daemon"
    done
    expect "$1: HUP reloads" wait_for 20 log_has 'Configuration reloaded'
    kill -QUIT "$daemon"
    expect "$1: QUIT drains" wait_for 20 log_has 'Received SIGQUIT, draining'
    : >go
    wait "$waited"
    expect "$1: the drain ends with status 0" [ $? -eq 0 ]
    expect "$1: the job heard nothing of it" [ "$(count 'listener: got')" -eq 0 ]
}

# A stop before the start is complete: to process 1 the kernel sends no signal that it does not handle. And commands,
# which in a container may be process 1 as well.
early() {
    {
        printf '[another.program]\n'
        yes 'key: value' | head -n 3000000
        printf '[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.never]\ncommand: true\n'
    } >conf
    size=$(wc -c <conf)
    for signal in TERM INT QUIT; do
        # Where this machine is so slow that the daemon is up before the signal comes, it is tried again.
        for try in 1 2 3 4 5; do
            start "$1"
            wait_for 20 has_read "$daemon" "$size"
            kill -$signal "$daemon"
            wait_for 20 has_ended "$waited" || kill -KILL "$waited"
            wait "$waited"
            status=$?
            [ "$(count 'Loaded')" -gt 0 ] || break
        done
        expect "$1: $signal during the start ends it, with status 0" [ "$status" -eq 0 ]
        expect "$1: it never was up" [ "$(count 'Loaded')" -eq 0 ]
    done
    [ "$1" = process_1 ] || return
    : >log
    new_namespace "$program" check -c conf >log 2>errors &
    waited=$!
    at_exit_kill $waited
    wait_for 60 has_child $waited
    daemon=$(cat "/proc/$waited/task/$waited/children")
    daemon=${daemon% }
    wait_for 20 has_read "$daemon" "$size"
    kill -TERM "$daemon"
    wait_for 20 has_ended "$waited" || kill -KILL "$waited"
    wait $waited
    expect "$1: TERM ends a command" [ $? -eq 143 ]
}
# A zombie has no command line any more.
has_ended() { ! grep -q . "/proc/$1/cmdline"; }
has_read() { [ "$(sed -n 's/^rchar: //p' "/proc/$1/io")" -ge "$2" ]; }

# What the parent left blocked and ignored.
# Signals 32 and 33, bits 31 and 32, are the C library's own, which no program can ask for. musl keeps 34 as well: whoever
# started the daemon may have ignored it, and then jobs ignore it too. Nobody sends it to them.
clean='0{16}|0000000180000000'
[ -z "${MUSL:-}" ] || clean="$clean|0000000200000000|0000000380000000"
inherited() {
    cat >conf <<'END'
[buildsequencer]
controlsocket: none
[buildsequencer_job.masks]
command: sh -c '(sleep 0.01 &) >/dev/null 2>&1; exec grep -E "^Sig(Blk|Ign)" /proc/self/status'
startdelay: 0
mindelay: 0.01
alwayslog: true
END
    # shellcheck disable=SC2016 # $SIG is perl's
    block='use POSIX; my $set = POSIX::SigSet->new(@signals); sigprocmask(SIG_BLOCK, $set) or die $!; exec @ARGV or die $!'
    # shellcheck disable=SC2016
    ignore='use POSIX; sigaction($_, POSIX::SigAction->new("IGNORE")) for @signals; exec @ARGV or die $!'
    for signals in 'CHLD' 'HUP' 'all'; do
        case $signals in
        all) list='grep { $_ != 9 && $_ != 19 && $_ != 32 && $_ != 33 } 1 .. 64' ;;
        *) list="SIG$signals()" ;;
        esac
        for how in blocked ignored; do
            if [ $how = blocked ]; then code=$block; else code=$ignore; fi
            what="$1, $signals $how"
            start "$1" perl -e "use POSIX; my @signals = $list; $code" --
            expect "$what: runs end" wait_for 20 log_has_times 'Job masks completed with exit code 0$' 5
            kill -HUP "$daemon"
            expect "$what: HUP reloads" wait_for 20 log_has 'Configuration reloaded'
            stops "$what: TERM stops it"
            clean() { [ -s masks ] && ! grep -vE "($clean)\$" masks; }
            grep "$(printf '^\tSig')" log >masks
            expect "$what: jobs start with a clean slate" clean
        done
    done
}
log_has_times() { [ "$(count "$1")" -ge "$2" ]; }

ways=
if (new_namespace true) 2>/dev/null; then
    ways=process_1
else
    skip "as process 1" "namespaces are not permitted here"
fi
[ -z "$prctl" ] || ways="$ways subreaper"
for way in $ways; do
    orphans "$way"
    stubborn "$way"
    signals "$way"
    early "$way"
    inherited "$way"
done

finish
