#!/bin/sh
# contrib/cluster/etcd with a real etcd: three members and two hosts on a switch of their own, each host with systemd as
# process 1, and the unit, the drop-in and the guard as they are installed. Every fault that several-hosts.md promises
# something about is made, and then for a minute (BUILDD_SEQUENCER_CLUSTER_SECONDS) any of them at random. What jobs did
# is judged by their own marks. Needs root, etcd-server, etcd-client, python3 and a C compiler.

if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount --propagation private sh "$0" inside
fi
. tests/system/lib.sh
. tests/system/process1.lib
[ "${1:-}" = inside ] || cannot "only root can make hosts, and where namespaces can be made"

need_hosts
for needed in etcd etcdctl ip cc python3; do
    command -v $needed >/dev/null || { fail "$needed is installed"; finish; }
done

TTL=17
STOP=5
KEY=/buildd-sequencer/main
members="1 2 3"
shared=$here/shared
marks=$shared/marks
mkdir "$shared"
chmod 777 "$shared"
cc -O1 -o "$here/mark" tests/system/mark.c || { fail "mark.c can be compiled"; finish; }

# --- The switch: a network namespace with a bridge.

unshare --net sh -c 'ip link add bridge type bridge && ip link set bridge up && exec sleep 100000' &
switch=$!
at_exit_kill $switch
# has_own_net PID: before it has, what is meant for its network would be done to this machine's.
has_own_net() { [ "$(readlink "/proc/$1/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }
wait_for 20 has_own_net $switch
on_switch() { nsenter --target $switch --net "$@"; }
wait_for 20 on_switch ip link show bridge up

# plug NAME PID ADDRESS: a cable from the switch to the namespace of a process.
plug() {
    has_own_net "$2" && on_switch ip link add "to-$1" type veth peer name eth0 netns "$2" &&
        on_switch ip link set "to-$1" master bridge up &&
        nsenter --target "$2" --net ip address add "$3/24" dev eth0 &&
        nsenter --target "$2" --net ip link set eth0 up &&
        nsenter --target "$2" --net ip link set lo up
}
unplug() { on_switch ip link set "to-$1" down; }
replug() { on_switch ip link set "to-$1" up; }

# --- etcd. It is in memory: where its leader waits for a disk for a second, another is elected, which gives each lease
# its whole time again.

mkdir "$here/etcd"
mount -t tmpfs tmpfs "$here/etcd"
trap 'umount -l "$here/etcd"; clean_up_hosts' EXIT
everyone=
endpoints=
for member in $members; do
    everyone=$everyone,e$member=http://10.77.0.1$member:2380
    endpoints=$endpoints,http://10.77.0.1$member:2379
done
everyone=${everyone#,} endpoints=${endpoints#,}
# member NUMBER: starts it, new or again. It waits for its cable.
member() {
    there=http://10.77.0.1$1
    unshare --net sh -c "until ip -o address show dev eth0 2>/dev/null | grep -q inet; do sleep 0.05; done
        exec etcd --name e$1 --data-dir '$here/etcd/$1' --log-level error --auto-compaction-retention=1 \
        --listen-peer-urls $there:2380 --initial-advertise-peer-urls $there:2380 --listen-client-urls $there:2379 \
        --advertise-client-urls $there:2379 --initial-cluster $everyone --initial-cluster-state new" \
        >>"$here/etcd$1.log" 2>&1 &
    echo $! >"$here/etcd$1.pid"
    at_exit_kill $!
    wait_for 20 plug "e$1" $! "10.77.0.1$1"
}
member_pid() { cat "$here/etcd$1.pid"; }
kill_member() {
    kill -KILL "$(member_pid "$1")" 2>/dev/null
    # Its end of the cable goes with its namespace.
    wait_for 20 no_cable "e$1"
}
no_cable() { ! on_switch ip link show "to-$1"; }
etcd_says() { ETCDCTL_API=3 nsenter --target "$(member_pid 1)" --net etcdctl --endpoints="$endpoints" "$@"; }
for member in $members; do member "$member"; done

# --- The hosts.

cat >"$shared/sequencer.conf" <<END
[buildsequencer]
leasefile: /run/buildd-sequencer/lease
statefile: /srv/shared/state
mailproblemsto: -
[buildsequencer_job.template]
killdelay: 1
startdelay: 0
[buildsequencer_job.quick]
command: /opt/mark /srv/shared/marks quick 3
mindelay: 0.05
[buildsequencer_job.stubborn]
command: /opt/mark /srv/shared/marks stubborn 1500 ignore
mindelay: 4
[buildsequencer_job.leaves]
command: sh -c 'setsid /opt/mark /srv/shared/marks left 600000 ignore </dev/null >/dev/null 2>&1 &'
startdelay: 1h
mindelay: 1h
[buildsequencer_job.hourly]
command: true
mindelay: 1h
startdelay: 1h
[buildsequencer_job.held]
command: true
mindelay: 1h
startdelay: 1h
END
for host in a b; do
    root=$here/$host
    make_root "$root"
    cp "$BIN" "$root/opt/buildd-sequencer"
    cp "$here/mark" contrib/cluster/etcd/buildd-sequencer-lease "$root/opt/"
    cp contrib/systemd/buildd-sequencer.service "$units/"
    cp -r contrib/cluster/etcd/buildd-sequencer.service.d "$units/"
    sed -i "s#/usr/bin/#/opt/#g; s#$KEY [0-9]* [0-9]* --#$KEY $TTL $STOP --#; s#^TimeoutStopSec=.*#TimeoutStopSec=$((STOP + 2))s#" "$units"/*.service "$units"/*.d/lease.conf
    # etcdctl warns at each call of a variable that it does not know, as 3.6 does of ETCDCTL_API.
    printf '%s\n' "ETCDCTL_ENDPOINTS=$endpoints" ETCDCTL_CERT_FILE=none >"$root/etc/buildd-sequencer.etcd"
    ln -s /srv/shared/sequencer.conf "$root/etc/buildd-sequencer.conf"
    echo "mkdir -p srv/shared && mount --bind '$shared' srv/shared" >"$root.mounts"
    boot $host "$root" check.target
done
for host in a b; do
    if ! wait_for 120 inside $host systemctl show --property Version; then
        sed 's/^/     | /' "$here/$host.console"
        fail "systemd runs in namespaces"
        finish
    fi
done
plug a "$(first a)" 10.77.0.1
plug b "$(first b)" 10.77.0.2
unit() {
    inside "$1" systemctl "$2" buildd-sequencer.service
}
main_pid() { inside "$1" systemctl show --property MainPID --value buildd-sequencer; }
# signal_guard SIGNAL HOST: by process 1, which knows when there is none. `kill 0` is for everybody in the caller's group.
signal_guard() { inside "$2" systemctl kill "--signal=$1" --kill-who=main buildd-sequencer; }
keeper_on() { inside "$1" pgrep -P "$(main_pid "$1")" -f buildd-sequencer-lease; }
# signal_sequencer SIGNAL HOST: the guard has the same words in its command line, but not first.
signal_sequencer() { inside "$2" pkill "-$1" -f '^/opt/buildd-sequencer --nodaemon'; }
ask() {
    asked=$1
    shift
    inside "$asked" timeout 5 /opt/buildd-sequencer "$@"
}

# --- What the marks say.

# last FIELD: of the last mark that is whole.
last() { tail -n 3 "$marks" 2>/dev/null | awk -v field="$1" 'NF == 6 && $6 ~ /^[0-9]+$/ { kept = last; last = $field } END { print kept }'; }
now_alive() { last 2; }
token() { last 6; }
owner_since() { [ "$(token)" -gt "$1" ] 2>/dev/null; }
other() { if [ "$1" = a ]; then echo b; else echo a; fi; }
lines() { wc -l <"$marks"; }
# A fault begins: from here on the time counts.
begin() {
    before=$(token)
    holder=$(now_alive)
    began=$(uptime_now)
    began_at=$(date +%s)
}
# said HOST WORDS: by its journal, since the fault.
said() { inside "$1" journalctl --no-pager --output=cat --since="@$began_at" | grep -q "$2"; }
# taken_over NAME SECONDS: by an owner that was none before the fault.
taken_over() {
    if wait_for "$2" owner_since "$before"; then
        ok "$1 ($(awk "BEGIN { printf \"%.1f\", $(uptime_now) - $began }") s)"
    else
        fail "$1" "no other owner in $2 s" "the key: $(etcd_says get --print-value-only $KEY 2>&1)"
        for host in a b; do
            inside $host journalctl --no-pager --output=cat --unit buildd-sequencer -n 12 | grep -v 'mark\|Scheduling\|Running\|completed' | sed "s/^/     $host: /"
        done
    fi
}
judge() { python3 tests/system/overlap.py "$marks"; }
# goes_well NAME: the judge, who also tells what he saw.
goes_well() {
    expect "$1" judge
    sed 's/^/     /' "$here/expect.out"
}

expect "etcd has a leader" wait_for 60 etcd_says endpoint health
unit a start
expect "a takes the key" wait_for 30 test -s "$marks"
expect "a's jobs have its token" [ "$(now_alive)" = a ]
unit b start
waits() { inside "$1" systemctl show --property StatusText --value buildd-sequencer | grep -q "waiting for $KEY: $2 has it"; }
expect "b waits, and says for whom" wait_for 20 waits b a

# --- A stop, and what goes over to the next host.

expect "a pause is kept" ask a pause held
due() { ask "$1" metrics | sed -n 's/^buildd_sequencer_job_next_due_timestamp_seconds{.*job="hourly".*} //p'; }
due_on_a=$(due a)
begin
unit a stop
taken_over "a stop hands over at once" 8
expect "to b" [ "$(now_alive)" = b ]
is_held() { ask b status | grep -q '^held *paused'; }
expect "the pause is there" wait_for 10 is_held
# To the tenth of a second: each is told from two clocks that are read one after the other.
is_due_as_on_a() { echo "$due_on_a $(due b)" | awk 'NF == 2 { d = $1 - $2; ok = d < 0.1 && d > -0.1 } END { exit !ok }'; }
expect "the due times too" is_due_as_on_a
unit a start
wait_for 20 waits a b

# --- Processes that die or stand still.

begin
left() { grep -q ' left ' "$marks" || { ask "$holder" run leaves && false; }; }
expect "a job leaves something behind" wait_for 30 left
begin
signal_sequencer KILL "$holder"
taken_over "kill -9 of the sequencer" 8
left_last=$(grep ' left ' "$marks" | tail -n 1 | awk '{ print $1 }')
next_first=$(awk -v before="$before" '$6 > before { print $1; exit }' "$marks")
expect "what its job left behind, ignoring SIGTERM, died first" [ "$left_last" -lt "$next_first" ]

begin
signal_guard KILL "$holder"
taken_over "kill -9 of the guard" $((TTL + 5))

begin
signal_guard STOP "$holder"
inside "$holder" kill -STOP "$(keeper_on "$holder")"
taken_over "SIGSTOP of the guard" $((TTL + 5))

# --- A sequencer with nothing to do whom nobody tells that its lease is over: process 1 and the guard stand still.

begin
next=$(other "$holder")
wait_for 30 waits "$next" "$holder"
expect "a pause of everything is kept" ask "$holder" pause
quiet() { before_rest=$(lines) && sleep 2 && [ "$(lines)" -eq "$before_rest" ]; }
wait_for 20 quiet
signal_guard STOP "$holder"
inside "$holder" kill -STOP "$(keeper_on "$holder")"
kill -STOP "$(first "$holder")"
has_key() { [ "$(etcd_says get --print-value-only $KEY)" = "$1" ]; }
expect "process 1 and guard stopped: the key is the other host's" wait_for $((TTL + 5)) has_key "$next"
expect "which has the pause, and changes it" wait_for 10 ask "$next" resume hourly
cp "$shared/state" "$here/state"
is_refused() {
    ! ask "$holder" pause hourly >"$here/refused" 2>&1
    cat "$here/refused"
    grep 'lease' "$here/refused"
}
expect "a pause on the first host is refused" is_refused
has_ended() { ! signal_sequencer 0 "$holder"; }
expect "whose sequencer ends" wait_for 10 has_ended
expect "the state is as the other host left it" cmp "$shared/state" "$here/state"
kill -CONT "$(first "$holder")"
expect "the first host waits its turn" wait_for 20 waits "$holder" "$next"
expect "and the other one's pause can be ended" ask "$next" resume
wait_for 10 owner_since "$before"

# --- The network.

stubborn_runs() { tail -n 1 "$marks" | grep -q ' stubborn '; }
wait_for 30 stubborn_runs
begin
unplug "$holder"
taken_over "its cable cut while a job ignores SIGTERM" $((TTL + 5))
expect "by the other host" [ "$(now_alive)" = "$(other "$holder")" ]
replug "$holder"
wait_for 20 waits "$holder" "$(other "$holder")"

# --- A host that stands still, and wakes up.

begin
echo 1 >"$(cgroup_of "$holder")/cgroup.freeze"
taken_over "frozen" $((TTL + 5))
expect "the other host goes on with the state" [ "$(now_alive)" = "$(other "$holder")" ]
echo 0 >"$(cgroup_of "$holder")/cgroup.freeze"
# Process 1's watchdog may be faster.
ended_there() { said "$holder" 'The lease in /run/buildd-sequencer/lease has run out\|Watchdog timeout'; }
expect "thawed, it ends what it has" wait_for 20 ended_there
expect "and waits its turn" wait_for 20 waits "$holder" "$(other "$holder")"

# --- etcd without a majority.

begin
kill_member 2
kill_member 3
stopped_in_order() { said "$holder" 'no answer from etcd for .* stopping the sequencer' && quiet; }
expect "without a majority all jobs stop, in order and within the lease" wait_for $((TTL + 5)) stopped_in_order
member 2
member 3
began=$(uptime_now)
taken_over "with a majority they go on" $((TTL + 20))

goes_well "in all that, one host at a time"

# --- Anything at any time.

random() { od -An -N2 -tu2 /dev/urandom | tr -d ' '; }
until=$(($(cut -d. -f1 /proc/uptime) + ${BUILDD_SEQUENCER_CLUSTER_SECONDS:-60}))
faults=
while [ "$(cut -d. -f1 /proc/uptime)" -lt "$until" ]; do
    holder=$(now_alive)
    length=$(($(random) % (TTL + 4) + 1))
    case $(($(random) % 6)) in
    0) faults="$faults cut"; unplug "$holder"; sleep $length; replug "$holder" ;;
    1) faults="$faults freeze"; echo 1 >"$(cgroup_of "$holder")/cgroup.freeze"; sleep $length
        echo 0 >"$(cgroup_of "$holder")/cgroup.freeze" ;;
    2) faults="$faults guard"; signal_guard KILL "$holder" ;;
    3) faults="$faults sequencer"; signal_sequencer KILL "$holder" ;;
    4) faults="$faults stop"; signal_sequencer STOP "$holder"; sleep $length; signal_sequencer CONT "$holder" ;;
    5) member=$(($(random) % 3 + 1)); faults="$faults member"; kill -STOP "$(member_pid $member)"; sleep $((length / 3 + 1))
        kill -CONT "$(member_pid $member)" ;;
    esac 2>/dev/null
    sleep $(($(random) % 3))
done
echo "     faults:$faults"
before=$(token)
grows() { [ "$(lines)" -gt "$since" ]; }
since=$(lines)
expect "after all that a host goes on" wait_for $((TTL + 20)) grows
goes_well "whatever happens, one host at a time"

if [ "$failed" -ne 0 ]; then
    for host in a b; do
        inside $host journalctl --no-pager | grep -v 'Scheduling\|Running\|completed' | tail -n 40 | sed "s/^/     $host: /"
    done
    tail -n 5 "$here"/etcd*.log | sed 's/^/     /'
fi
for host in a b; do unit $host stop; done 2>/dev/null
finish
