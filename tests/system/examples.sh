#!/bin/sh
# The configurations that are shipped pass the program's own check without a warning, the installed one shows
# defaults that are true, and the example does on a terminal what it promises.
. tests/system/lib.sh

top=$(pwd)
case $BIN in
/*) program=$BIN ;;
*) program=$top/$BIN ;;
esac
installed=contrib/buildd-sequencer.conf
example=contrib/example.conf

check_quietly() {
    "$program" check -c "$1" >"$here/check" 2>&1 || { cat "$here/check"; return 1; }
    ! grep -i warning "$here/check"
}

find contrib -name '*.conf' -exec grep -l '^\[buildsequencer' {} + >"$here/shipped"
for must in "$installed" "$example"; do
    expect "$must is shipped" grep -qxF "$must" "$here/shipped"
done
# The jobs of all lanes are for lanes to name.
lanes=contrib/cluster/lanes
optional() { "$program" check -c "$lanes/jobs.conf" 2>&1 >/dev/null | grep -F "there are only optional ones, fetch, publish, report and tidy"; }
expect "check says what $lanes/jobs.conf is" optional
sed -i "\\#^$lanes/jobs.conf\$#d" "$here/shipped"
mkdir "$here/bin"
ln -s "$program" "$here/bin/buildd-sequencer"
in_one_lane() { PATH=$here/bin:$PATH sh $lanes/each-job-once "$@"; }
expect "each of its jobs is in one of the lanes" in_one_lane $lanes/jobs.conf $lanes/lane1.conf $lanes/lane2.conf
in_two_lanes() { in_one_lane $lanes/jobs.conf $lanes/lane1.conf $lanes/lane1.conf $lanes/lane2.conf; }
expect "one that is in two is told" [ "$(in_two_lanes | head -n 1)" = "fetch: in 2 lanes" ]
mkdir "$here/lanes"
cp $lanes/*.conf "$here/lanes"
sed -i 's/^\[buildsequencer_job\.publish\.optional\]/[buildsequencer_job.publish]/' "$here/lanes/jobs.conf"
in_all_lanes() { in_one_lane "$here/lanes/jobs.conf" "$here/lanes/lane1.conf" "$here/lanes/lane2.conf"; }
expect "and one that every lane has" [ "$(in_all_lanes)" = "publish: in 2 lanes, but not .optional in the file of all jobs" ]
not_there() { in_one_lane $lanes/jobs.conf $lanes/lane9.conf 2>&1; }
expect "a lane that is not there is told" [ "$(not_there; echo $?)" = "each-job-once: cannot read '$lanes/lane9.conf'
2" ]
printf 'mindelay: x\n' >>"$here/lanes/lane1.conf"
faulty() { in_one_lane $lanes/jobs.conf "$here/lanes/lane1.conf" $lanes/lane2.conf 2>&1; }
expect "and one that has a fault, by the fault" [ "$(faulty | grep -c "lane1.conf:.*'x' is not a duration")" = 1 ]
while read -r file; do
    expect "check accepts $file" check_quietly "$file"
done <"$here/shipped"

# With each default written out all is as before. The socket stays away: set by hand it would have to work here.
# `stuckafter` too: set by hand it means more.
written_out=$here/written-out.conf
sed -e '/^#controlsocket:/d' -e '/^#stuckafter:/d' -e '/^#extends:/d' -e 's/^#\([a-z]*:\)/\1/' "$installed" >"$written_out"
defaults_are_true() {
    "$program" check -c "$installed" | sed "s|$installed|FILE|g" >"$here/short"
    "$program" check -c "$written_out" | sed "s|$written_out|FILE|g" >"$here/long"
    [ -s "$here/short" ] && diff "$here/short" "$here/long"
}
expect "check accepts $installed with every default written out" "$program" check -c "$written_out"
expect "the defaults shown in $installed are the program's" defaults_are_true

# The example, in an empty directory, so that leftovers would be seen.
mkdir "$here/empty"
"$program" -c "$example" -d "$here/empty" >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"
log_has() { grep -q -- "$1" "$here/log"; }
shows() {
    if wait_for 20 log_has "$2"; then
        ok "the example shows $1"
    else
        fail "the example shows $1" "no '$2' in its log:"
        sed 's/^/     | /' "$here/log"
    fi
}
shows "a success" 'Job greeting completed with exit code 0'
shows "the output of a run" '^	Hello from a job$'
shows "output as it comes" 'progress: first half done$'
shows "a failure" 'Job failure completed with exit code 3'
shows "a report" '^	Subject: Job failure exited with code 3$'
shows "a death by signal" 'Job crash completed with exit code 137 (killed by SIGKILL)'
shows "its report" '^	Subject: Job crash exited with code 137 (killed by SIGKILL)$'
kill -INT "$daemon"
stopped_cleanly() { wait "$daemon"; }
expect "SIGINT stops the example with status 0" stopped_cleanly
expect "the example leaves nothing behind" rmdir "$here/empty"
no_mail() { ! grep 'Mailing report' "$here/log"; }
expect "the example mails nothing" no_mail

finish
