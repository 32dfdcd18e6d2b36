#!/bin/sh
# What the guard of contrib/cluster/etcd says where it cannot work, and what shellcheck says of it and its neighbours.
# What it does where it can is for cluster.sh. Needs shellcheck and etcd-client, and root for the last part.
. tests/system/lib.sh

case $BIN in
/*) program=$BIN ;;
*) program=$(pwd)/$BIN ;;
esac
guard=$(pwd)/contrib/cluster/etcd/buildd-sequencer-lease
for script in $(grep -rlI '^#!/bin/sh' contrib/cluster); do
    expect "shellcheck has nothing to say of $script" shellcheck "$script"
    expect "dash reads it" dash -n "$script"
done
cd "$here" || exit 1
export NOTIFY_SOCKET="$here/nowhere" RUNTIME_DIRECTORY="$here/run"
mkdir run

# configure LEASEFILE KILLDELAY MORE
configure() {
    printf '[buildsequencer]\ncontrolsocket: %s/run/sock\nleasefile: %s\n%s\n' "$here" "$1" "$3" >conf
    printf '[buildsequencer_job.a]\ncommand: true\nkilldelay: %s\n' "$2" >>conf
    printf '[buildsequencer_job.b]\ncommand: true\nkilldelay: 1\n' >>conf
}
configure "$here/run/lease" 2.5 'stopdelay: 1'
guards_path=$PATH
# refuses STATUS WORDS ARGUMENTS...
refuses() {
    status=$1 words=$2
    shift 2
    PATH=$guards_path "$guard" "$@" >said 2>&1
    is=$?
    name="refused with $status: $words"
    if [ $is -eq "$status" ] && grep -qF "$words" said; then
        ok "$name"
    else
        fail "$name" "status $is: $(cat said)"
    fi
}
lease() { refuses "$1" "$2" "$3" "$4" "$5" -- "$program" --nodaemon -c conf; }

refuses 2 "usage:" /key 30 10
refuses 2 "usage:" /key 30 10 "$program" --nodaemon
lease 2 "KEY 'a b'" 'a b' 30 10
lease 2 "KEY '\"'" '"' 30 10
for number in '' 0 -5 5s 09 1000000 '$(id)'; do lease 2 "'$number' is not a number" /key "$number" 10; done
lease 78 "stopdelay 1, the longest killdelay 3 and 4 seconds are 8" /key 30 7
lease 78 "has to be STOP and 12 seconds, 20" /key 19 8
lease 78 "1000 seconds are the most" /key 1001 8
configure "$here/elsewhere" 1 ''
lease 78 "the configuration has to say: leasefile: $here/run/lease" /key 30 10
configure "$here/run/lease" 1 'controlsocket: none'
lease 78 "turns the control socket off" /key 30 10
configure "$here/run/lease" 5x ''
lease 1 "is not a duration" /key 30 10
lease 1 "would not start" /key 30 10
configure "$here/run/lease" 1 ''
echo 1 >run/lease
guards_path=$here
lease 78 "etcdctl is not in PATH" /key 30 10
guards_path=$PATH
RUNTIME_DIRECTORY='' lease 78 "RUNTIME_DIRECTORY is not set" /key 30 10
NOTIFY_SOCKET='' lease 78 "NOTIFY_SOCKET is not set" /key 30 10
expect "a lease of an earlier life is gone" [ ! -e run/lease ]

# --- No cluster. It waits, says why once, and starts nothing.

if [ "$(id -u)" -ne 0 ] || ! unshare --mount --cgroup true 2>/dev/null; then
    skip "no cluster" "no namespaces can be made"
    finish
fi
export ETCDCTL_ENDPOINTS=http://127.0.0.1:1
unshare --mount --cgroup sh -c "mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec '$guard' /key 30 10 -- '$program' --nodaemon -c conf" \
    >said 2>&1 &
waiting=$!
at_exit_kill $waiting
expect "an unreachable cluster is told" wait_for 60 grep 'waiting for /key: etcd does not answer: .*' said
expect "with etcdctl's own words" wait_for 60 grep -i 'does not answer: .*\(refused\|deadline\|context\)' said
expect "it goes on waiting" kill -0 $waiting
expect "and has started nothing" [ ! -e run/sock ]
for signal in HUP USR1 USR2 TERM; do kill -$signal $waiting; done
wait $waiting
expect "SIGTERM ends it, and what is for the sequencer does not" [ $? -eq 143 ]

# --- A stop while KEY is being taken. An etcdctl of ours says yes to all, and has the guard stopped before it answers.
# It warns at each call, as etcdctl does of a variable that it does not know.

mkdir bin
cat >bin/etcdctl <<'END'
#!/bin/sh
echo '{"level":"warn","msg":"unrecognized environment variable"}' >&2
case "$*" in
*' grant '*) echo 'lease 1a granted with TTL(30s)' ;;
*' txn '*)
    cat >asked.now
    cat asked.now >>asked
    if grep -q '^put ' asked.now; then kill -TERM "$(cat guard.pid)"; fi
    printf '"Revision" : 7\n"Succeeded" : true\n'
    ;;
esac
END
chmod +x bin/etcdctl
cat >take <<'END'
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo $$ >guard.pid
PATH=$PWD/bin:$PATH exec "$1" /key 30 10 -- "$2" --nodaemon -c conf
END
unshare --mount --cgroup sh take "$guard" "$program" >said 2>&1 &
taking=$!
at_exit_kill $taking
wait $taking
expect "SIGTERM while it takes the key ends it" [ $? -eq 143 ]
gives_back() {
    cat said asked
    sed -n '/^put/,$p' asked | grep -A 2 -xF 'create("/key") = "7"' | grep -xF 'del /key' && grep 'gave /key back' said
}
expect "it gives the key back, by its token" gives_back
expect "and has started nothing" [ ! -e run/lease ]

finish
