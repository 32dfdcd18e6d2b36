#!/bin/sh
# contrib/zconfig-to-ini: what it writes, what it refuses, and that the program reads the result, with every awk
# that is installed.

. tests/system/lib.sh

convert=$(pwd)/contrib/zconfig-to-ini

cat >"$here/launchpad.conf" <<'END'
site-definition site.zcml
<eventlog>
  <logfile>
    path buildsequencer.log
  </logfile>
</eventlog>
%define top /srv/lp

<canonical default>
    dbname launchpad
    # Not about the sequencer.

    # Runs the build farm.
    <buildsequencer>
        mailproblemsto   ops@example.com  -
        # Only here.
        launch no

        logfile $top/seq.log
        # Often.
        <buildsequencer_job Slave_Scanner>
            Command /bin/sh -c 'echo $$HOME ; true'
            mindelay 5   
            # The end of slave_scanner.
        </buildsequencer_job>
        <buildsequencer_job queue_builder>
            command /bin/echo a; b ;c 100% #d
        </buildsequencer_job>
        # <buildsequencer_job later>
    </buildsequencer>
</canonical>

<canonical testrunner>
    <buildsequencer>
        mailproblemsto -
        <buildsequencer_job only>
            command /bin/true
            alwayslog yes
        </buildsequencer_job>
    </buildsequencer>
</canonical>

<canonical Bare>
    dbname bare
</canonical>
END

cat >"$here/expected" <<END
# From $here/launchpad.conf, <canonical default>.

# Runs the build farm.
[buildsequencer]
mailproblemsto: ops@example.com  -
# Only here.
launch: no

logfile: /srv/lp/seq.log

# Often.
[buildsequencer_job.slave_scanner]
command:
    /bin/sh -c 'echo \$HOME ; true'
mindelay: 5
# The end of slave_scanner.

[buildsequencer_job.queue_builder]
command: /bin/echo a; b ;c 100% #d

# <buildsequencer_job later>
END

# refuses NAME STATUS MESSAGE ARGUMENTS...: nothing on standard output, this on standard error.
refuses() {
    name=$1
    status=$2
    printf '%s\n' "$3" >"$here/wanted"
    shift 3
    "$convert" "$@" >"$here/out" 2>"$here/err"
    got=$?
    if [ "$got" -eq "$status" ] && [ ! -s "$here/out" ] && cmp -s "$here/wanted" "$here/err"; then
        ok "$name"
    else
        fail "$name" "exit $got, wanted $status with:" "$(cat "$here/wanted")" "got: $(cat "$here/err")"
    fi
}

# A block with these lines in its job, told from the messages by the line numbers: the first is line 4.
job() {
    printf '<canonical>\n<buildsequencer>\n<buildsequencer_job a>\n%s\n</buildsequencer_job>\n' "$1" >"$here/bad.conf"
    printf '</buildsequencer>\n</canonical>\n' >>"$here/bad.conf"
}

what_it_writes() {
    if "$convert" "$here/launchpad.conf" >"$here/out" 2>"$here/err" && cmp -s "$here/out" "$here/expected"; then
        ok "$1: the default block, comments and order kept"
    else
        fail "$1: the default block, comments and order kept" "$(diff "$here/expected" "$here/out")" "$(cat "$here/err")"
    fi
    expect "$1: quotes are warned of" \
        grep -Fx "$here/launchpad.conf:22: warning: quotes and backslashes in a command now work as in a shell" "$here/err"
    "$convert" "$here/launchpad.conf" TestRunner >"$here/out" 2>&1
    expect "$1: a block by its name, in any case" grep -Fx '[buildsequencer_job.only]' "$here/out"
}

what_it_refuses() {
    bad=$here/bad.conf
    job 'command none'
    refuses "$1: 'none' would be unset" 1 \
        "$bad:4: \"none\" means \"not set\" in the INI form; leave the line out, or write a path as ./none" "$bad"
    job 'command ""'
    refuses "$1: two quotes would be empty" 1 "$bad:4: \"\" means nothing at all in the INI form; leave the value out
$bad:4: warning: quotes and backslashes in a command now work as in a shell" "$bad"
    job "a=b c
command /bin/true
command /bin/false
command \$nowhere"
    refuses "$1: every fault is told" 1 "$bad:4: key \"a=b\" cannot be written in the INI form
$bad:6: \"command\" is already set in line 5
$bad:7: \"\$nowhere\" is not defined above; \"\$\$\" stands for a single \"\$\"
$bad:7: \"command\" is already set in line 6" "$bad"
    job '</buildsequencer_job>
<buildsequencer_job template>
</buildsequencer_job>
<buildsequencer_job master>
</buildsequencer_job>
<buildsequencer_job a>'
    refuses "$1: names that cannot be" 1 \
        "$bad:5: a job cannot be called \"template\": the INI form keeps that name for defaults
$bad:7: a job cannot be called \"master\": the INI form keeps that name for defaults
$bad:9: job \"a\" is already defined in line 3" "$bad"
    job '</librarian>'
    refuses "$1: sections that do not match" 1 "$bad:4: </librarian> does not match <buildsequencer_job> of line 3" "$bad"
    printf '<canonical>\n' >"$bad"
    refuses "$1: a section left open" 1 "$bad:1: <canonical> is never closed" "$bad"
    printf 'a \000b\n' >"$bad"
    refuses "$1: a NUL byte" 1 "zconfig-to-ini: '$bad' holds a NUL byte, so it is not text" "$bad"
    sed 's/canonical default/canonical staging/' "$here/launchpad.conf" >"$bad"
    refuses "$1: several blocks and no name" 1 \
        "$bad: several <buildsequencer> sections; name one of: staging (line 14), testrunner (line 34)" "$bad"
    refuses "$1: a name that is not there" 1 \
        "$bad: no <canonical edge>; those with a <buildsequencer>: staging (line 14), testrunner (line 34)" "$bad" edge
    refuses "$1: a block without a sequencer" 1 \
        "$bad:43: <canonical bare> has no <buildsequencer>; those that have: staging (line 14), testrunner (line 34)" "$bad" bare
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
    what_it_writes "$awk"
    what_it_refuses "$awk"
    PATH=$path
done
[ -n "$tried" ] || fail "no awk is installed"

refuses "no file" 2 "zconfig-to-ini: no file named; see 'zconfig-to-ini --help'"
refuses "an unknown option" 2 "zconfig-to-ini: unknown option '-x'; see 'zconfig-to-ini --help'" -x
refuses "a file that is not there" 1 "zconfig-to-ini: '$here/none' does not exist" "$here/none"
expect "--help" "$convert" --help

# The program has the last word.
sed -e 's/ops@example.com  -/-/' -e "s#/srv/lp#$here#" "$here/launchpad.conf" >"$here/ours.conf"
"$convert" "$here/ours.conf" >"$here/ours.ini" 2>"$here/err"
expect "the program takes what was written" "$BIN" check -c "$here/ours.ini"
"$BIN" check -c "$here/ours.ini" >"$here/out" 2>&1
expect "a semicolon after a space is still there" grep -F "/bin/sh -c 'echo \$HOME ; true'" "$here/out"
expect "a semicolon after a letter is still there" grep -F '/bin/echo a; b ;c 100% #d' "$here/out"

finish
