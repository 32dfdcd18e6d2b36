#!/bin/sh
# contrib/crontab-to-ini: what it writes and what it refuses, with every awk that is installed; that the program
# takes the result without a warning; and that the jobs do what cron would have done. The crontabs and what becomes
# of them are in tests/system/crontab.

. tests/system/lib.sh

convert=$(pwd)/contrib/crontab-to-ini
tables=$(pwd)/tests/system/crontab

# writes NAME TABLE OPTIONS...: the table becomes what is written down, and the messages too.
writes() {
    name=$1
    table=$2
    shift 2
    if "$convert" "$@" <"$tables/$table.crontab" >"$here/out" 2>"$here/err" &&
        cmp -s "$here/out" "$tables/$table.expected" && cmp -s "$here/err" "$tables/$table.messages"; then
        ok "$name"
    else
        fail "$name" "$(diff "$tables/$table.expected" "$here/out")" "$(diff "$tables/$table.messages" "$here/err")"
    fi
}

# refuses NAME STATUS MESSAGE ARGUMENTS...: nothing on standard output, this on standard error.
refuses() {
    name=$1
    status=$2
    printf '%s\n' "$3" >"$here/wanted"
    shift 3
    "$convert" "$@" >"$here/out" 2>"$here/err" </dev/null
    got=$?
    if [ "$got" -eq "$status" ] && [ ! -s "$here/out" ] && cmp -s "$here/wanted" "$here/err"; then
        ok "$name"
    else
        fail "$name" "exit $got, wanted $status with:" "$(cat "$here/wanted")" "got: $(cat "$here/err")"
    fi
}

tried=
for awk in mawk gawk original-awk "busybox awk"; do
    command -v "${awk%% *}" >/dev/null || continue
    mkdir -p "$here/${awk%% *}"
    printf '#!/bin/sh\nexec %s "$@"\n' "$awk" >"$here/${awk%% *}/awk"
    chmod +x "$here/${awk%% *}/awk"
    tried="$tried$awk, "
    path=$PATH
    PATH=$here/${awk%% *}:$PATH
    writes "$awk: a user's crontab" user -u mirror
    writes "$awk: the system's crontab" system -s
    writes "$awk: bytes that are no text" bytes -u mirror
    PATH=$path
done
[ -n "$tried" ] || fail "no awk is installed"

# The forms of the command line.
"$convert" -u mirror "$tables/user.crontab" 2>/dev/null | sed 1d >"$here/out"
sed 1d "$tables/user.expected" >"$here/wanted"
expect "a file by its name" cmp "$here/out" "$here/wanted"
"$convert" -s -u www-data "$tables/system.crontab" >"$here/out" 2>/dev/null
expect "another user's jobs in the system's crontab" grep -Fx 'command: php /srv/cron.php' "$here/out"
expect "and root's are not among them" grep -Fx "# Not a job, because it needs: another user (root)." "$here/out"
printf '@hourly true\r\n' | "$convert" -u mirror >"$here/out"
expect "line ends of Windows" grep -Fx 'command: true' "$here/out"
: | "$convert" -u mirror >"$here/out" 2>"$here/err"
expect "an empty crontab says so" grep -Fx 'standard input: no line has become a job' "$here/err"
refuses "an unknown option" 2 "crontab-to-ini: unknown option '-x'; see 'crontab-to-ini --help'" -x
refuses "an option without its value" 2 "crontab-to-ini: option -u needs a user; see 'crontab-to-ini --help'" -u
refuses "a user that cannot be one" 2 "crontab-to-ini: 'a b' is not a user name" -u 'a b'
refuses "two files" 2 "crontab-to-ini: unexpected argument 'b'; see 'crontab-to-ini --help'" a b
refuses "a file that is not there" 1 "crontab-to-ini: '$here/none' does not exist" "$here/none"
refuses "a directory" 1 "crontab-to-ini: '$here' is not a file" "$here"
expect "--help" "$convert" --help

# The program has the last word. Programs that this machine lacks are stood in for.
mkdir "$here/bin"
for program in poll-queue sync-mirror clean-tmp report find mail date nice flock timeout php python3 perl bash \
    template master optional Poll-Queue 7z printf echo cat backup office start-me runuser sendmail; do
    printf '#!/bin/sh\n' >"$here/bin/$program"
done
for program in template-2.pl a-very-long-name-that-goes-on-and-on-and-on-without-end @@@; do
    printf '#!/bin/sh\n' >"$here/bin/$program"
done
chmod +x "$here/bin"/*

# silent NAME FILE: `check` passes it and says nothing of it; what it will say at its end aside.
silent() {
    sed -e "s#command: /srv/bin/#command: $here/bin/#" \
        -e "s#^\[buildsequencer\]#&\ncontrolsocket: none\nsendmail: $here/bin/sendmail#" "$2" >"$here/checked.conf"
    PATH="$here/bin:$PATH" "$BIN" check -c "$here/checked.conf" >"$here/out" 2>"$here/err"
    status=$?
    jobs=$(grep -c '^\[buildsequencer_job' "$here/checked.conf")
    if [ "$status" -eq 0 ] && [ "$(grep -c '^\[buildsequencer_job' "$here/out")" -eq "$jobs" ] &&
        ! grep -vE ": $jobs jobs?(, (0|no) warnings)?\$" "$here/err"; then
        ok "$1 ($jobs jobs)"
    else
        fail "$1" "exit $status" "$(cat "$here/err")"
    fi
}

# What was only offered, taken up.
taken_up() {
    sed -E 's/^#(\[buildsequencer_job|command:|mindelay:|startdelay:|    )/\1/' "$1"
}

for table in user system; do
    silent "the program takes $table.crontab without a warning" "$tables/$table.expected"
    taken_up "$tables/$table.expected" >"$here/all.conf"
    silent "and with what was only offered" "$here/all.conf"
done

# Each job prints what it would have printed for cron.
"$convert" -u root "$tables/runs.crontab" >"$here/runs.conf" 2>"$here/err"
expect "nothing is said of what becomes a job" cmp "$here/err" /dev/null
sed -i "s#^\[buildsequencer\]#&\ncontrolsocket: $here/socket#" "$here/runs.conf"
LANG=C.UTF-8 "$BIN" -c "$here/runs.conf" >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"
wait_for 30 "$BIN" status -s "$here/socket"
sed -n 's/^\[buildsequencer_job\.\(.*\)\]$/\1/p' "$here/runs.conf" | while read -r name; do
    echo "== $name"
    "$BIN" run --wait -s "$here/socket" "$name" 2>"$here/err" </dev/null
    echo "[$?]"
done >"$here/out"
kill -TERM "$daemon"
wait "$daemon"
if cmp -s "$here/out" "$tables/runs.expected"; then
    ok "jobs do what they did for cron"
else
    fail "jobs do what they did for cron" "$(diff "$tables/runs.expected" "$here/out")"
fi

finish
