#!/bin/sh
# contrib/logrotate: the real logrotate against a running daemon whose job never stops talking. No line may be lost,
# doubled or out of order, over all files together.

. tests/system/lib.sh

rounds=6
log=$here/log/sequencer.log
pidfile=$here/sequencer.pid
mkdir "$here/log"

cat >"$here/numbers" <<'END'
#!/bin/sh
n=0
while [ ! -e "$0.stop" ]; do
    n=$((n + 1))
    echo "number $n."
    [ $((n % 100)) -ne 0 ] || sleep 0.01
done
echo "number $n was the last"
END
chmod +x "$here/numbers"

cat >"$here/sequencer.conf" <<END
[buildsequencer]
logfile: $log
logsize: 0
controlsocket: none

[buildsequencer_job.talks]
command: $here/numbers
startdelay: 0
mindelay: 1h
livelog: true
END

sed -e "s#/var/log/buildd-sequencer/#$here/log/#" -e "s#/run/buildd-sequencer.pid#$pidfile#g" \
    -e "s/su buildd-sequencer buildd-sequencer/su $(id -un) $(id -gn)/" contrib/logrotate/buildd-sequencer >"$here/rotate.conf"

rotate() {
    logrotate --verbose --force --state "$here/rotate.state" "$here/rotate.conf"
}

# A file that has been moved away is not written to for ever: the daemon makes a new one.
fresh_log_talks() {
    [ -s "$log" ] && grep -q number "$log"
}

# All files, oldest first.
everything() {
    for n in $(seq 14 -1 2); do
        [ ! -e "$log.$n.gz" ] || gzip -dc "$log.$n.gz"
    done
    cat "$log.1" "$log"
}

expect "logrotate takes the snippet" logrotate --debug --state "$here/rotate.state" "$here/rotate.conf"

"$BIN" -c "$here/sequencer.conf" --pidfile "$pidfile" 2>"$here/stderr" &
daemon=$!
at_exit_kill $daemon
expect "the job talks" wait_for 20 fresh_log_talks

for round in $(seq $rounds); do
    expect "rotation $round" rotate
    expect "the daemon goes on in a new file" wait_for 20 fresh_log_talks
done
: >"$here/numbers.stop"
expect "the job ends" wait_for 20 grep "was the last" "$log"
kill -TERM $daemon
wait $daemon
expect "the daemon stops cleanly" test $? -eq 0
expect "and says so in the newest file" grep "Main loop terminated" "$log"

expect "each rotation left a file" test "$(find "$here/log" -type f | wc -l)" -eq $((rounds + 1))
expect "the older ones are compressed" gzip -t "$log.2.gz"
everything | sed -n 's/.*talks: number \([0-9]*\)\.$/\1/p' >"$here/seen"
last=$(everything | sed -n 's/.*number \([0-9]*\) was the last$/\1/p')
seq "${last:-0}" >"$here/wanted"
expect "no line of $last is lost, doubled or out of order" cmp "$here/seen" "$here/wanted"
expect "the start is in the oldest file" sh -c "gzip -dc '$log.$rounds.gz' | grep 'Loading jobs'"

sleep 1000 &
other=$!
at_exit_kill $other
echo $other >"$pidfile"
expect "a stale pid file is no matter" rotate
kill -TERM $other
wait $other
expect "whoever has its number by now gets no signal" test $? -eq 143

finish
