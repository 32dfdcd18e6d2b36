#!/bin/sh
# The daemon's reports go through the mail programs of Debian 12 to an SMTP server of our own, and arrive with every
# byte of the jobs' output. Some of those programs deliver at once; of these a refusal has to reach the log.
#
#     BIN=target/release/buildd-sequencer sh tests/system/mta.sh [PROGRAM...]
#
# Mail programs exclude each other as packages. So each gets a world of its own: its package is installed into an
# overlay over this machine's root, in namespaces without a network, and the daemon runs there as user nobody. Of
# a world nothing is left, and no mail can leave it. The packages (8 MB) are fetched beforehand, where apt keeps
# nothing. Needs Debian, root, python3 and ip.

programs="msmtp ssmtp esmtp sendmail dma nullmailer exim postfix opensmtpd"
world=
if [ "${1-}" = --world ]; then
    world=$2
    program=$3
elif [ $# -gt 0 ]; then
    programs=$*
fi
. tests/system/lib.sh

package_of() {
    case $1 in
    exim) echo exim4-daemon-light ;;
    sendmail) echo sendmail-bin ;;
    *) echo "$1" ;;
    esac
}

if [ -z "$world" ]; then
    worlds="unshare --mount --net --pid --uts --ipc --fork --kill-child"
    if [ "$(id -u)" -ne 0 ] || ! $worlds true 2>/dev/null; then
        skip "mail programs" "this takes root and namespaces"
        finish
    fi
    mkdir -p "$here/packages/partial" "$here/world"
    fetch() {
        apt-get install -qq -y --download-only --no-install-recommends -o APT::Sandbox::User=root \
            -o DPkg::Lock::Timeout=600 -o Acquire::Retries=5 \
            -o Dir::Cache::archives="$here/packages" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= "$@"
    }
    # All at once, since they wait most of the time.
    for program in $programs; do
        package=$(package_of "$program")
        fetch "$package" >"$here/fetch" 2>&1 || { apt-get update -qq && fetch "$package"; } >"$here/fetch" 2>&1 || {
            fail "$program can be fetched" "apt-get says:"
            cat "$here/fetch"
            continue
        }
        TMPDIR=$here $worlds sh "$0" --world "$here" "$program" >"$here/$program" 2>&1 &
        at_exit_kill $!
        echo $! >"$here/$program.pid"
    done
    all_well() { wait "$(cat "$here/$1.pid")"; }
    for program in $programs; do
        [ -e "$here/$program.pid" ] || continue
        if all_well "$program"; then
            ok "$program carries every report"
        else
            fail "$program carries every report"
        fi
        sed 's/^/     /' "$here/$program"
    done
    # They have ended, and their numbers may be others' by now.
    background=
    finish
fi

# From here on we are alone in the world.

root=$world/world/root
check=$root/check
sink=$here/sink
sender=sequencer@build.example.com

# All that is mounted is mounted outside of $here, which is removed with what is below it.
make_world() {
    mount -t tmpfs -o mode=755 tmpfs "$world/world" || return
    mkdir "$world/world/upper" "$world/world/work" "$root" "$sink"
    mount -t overlay -o "lowerdir=/,upperdir=$world/world/upper,workdir=$world/world/work" overlay "$root" || return
    mount -t proc proc "$root/proc"
    while read -r device major minor; do
        [ -e "$root/dev/$device" ] || mknod -m 666 "$root/dev/$device" c "$major" "$minor"
    done <<'END'
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
END
    [ -e "$root/dev/fd" ] || ln -s /proc/self/fd "$root/dev/fd"
    mkdir "$check"
    ip link set lo up
    hostname build.example.com
    echo '127.0.0.1 build.example.com localhost' >"$root/etc/hosts"
    # Nobody may wait for a name server that cannot be reached.
    rm -f "$root/etc/resolv.conf"
    : >"$root/etc/resolv.conf"
    echo 'passwd: files
group: files
hosts: files' >"$root/etc/nsswitch.conf"
}

inside() {
    # Root's home would be found by programs that look there for settings, and be closed to nobody.
    HOME=/ chroot "$root" "$@"
}

install_program() {
    # No service is started, no index of manuals is made.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    rm -f "$root/var/lib/man-db/auto-update"
    cp "$world"/packages/*.deb "$root/var/cache/apt/archives/" || return
    DEBIAN_FRONTEND=noninteractive inside apt-get install -qq -y --no-download --no-install-recommends \
        -o Dpkg::Options::=--force-unsafe-io "$(package_of "$program")" </dev/null
}

# Of each program: its settings for a host that takes everything at 127.0.0.1, port 2525; in `sendmail` the daemon's
# setting; in `refused` the kinds of report that are not delivered, and the exit status that says so.
sendmail="/usr/sbin/sendmail -i"
refused=
start_program() { :; }

# Delivers at once, with nothing set-user-id. There is a `sendmail` only with the package msmtp-mta.
configure_msmtp() {
    printf '%s\n' 'account default' 'host 127.0.0.1' 'port 2525' >"$root/etc/msmtprc"
    sendmail="/usr/bin/msmtp -i"
    refused=refused:65
}

# Delivers at once, about one message a second. Without FromLineOverride the sender is not ours but user and host.
configure_ssmtp() {
    printf '%s\n' mailhub=127.0.0.1:2525 FromLineOverride=YES >"$root/etc/ssmtp/ssmtp.conf"
    # Its group may read the passwords in there.
    chgrp mail "$root/etc/ssmtp/ssmtp.conf"
    refused=refused:1
}

# Delivers at once. Fails with 78 where $HOME is a directory that it may not search.
configure_esmtp() {
    echo hostname=127.0.0.1:2525 >"$root/etc/esmtprc"
    sendmail="/usr/bin/esmtp -i"
    refused=refused:70
}

# Delivers at once where it can, else leaves the message to its queue. Of users it does not trust it tells in a
# header. It would ask the name server for the recipient's domain.
configure_sendmail() {
    sed -i "s/^FEATURE(.msp.*/define(\`RELAY_MAILER_ARGS', \`TCP \$h 2525')dnl\nFEATURE(\`use_ct_file')dnl\n&/" \
        "$root/etc/mail/submit.mc"
    inside sh -c 'cd /etc/mail && m4 submit.mc >submit.cf'
    cp "$root/etc/mail/service.switch-nodns" "$root/etc/mail/service.switch"
    echo nobody >>"$root/etc/mail/trusted-users"
    refused=refused:67
}

# Delivers in the background, without a service. It refuses lines of 998 bytes, the most that SMTP allows;
# 997 it takes.
configure_dma() {
    printf '%s\n' 'SMARTHOST 127.0.0.1' 'PORT 2525' >"$root/etc/dma/dma.conf"
    refused=longest:65
}

configure_nullmailer() {
    echo '127.0.0.1 smtp --port=2525' >"$root/etc/nullmailer/remotes"
    start_program() { inside nullmailer-send >"$here/nullmailer" 2>&1 & }
}

# Delivers in the background, without a service for what it can deliver at once. It has to be told that a relay on
# this very machine is what is meant.
configure_exim() {
    sed -i "s/^dc_eximconfig_configtype=.*/dc_eximconfig_configtype='satellite'/
        s/^dc_smarthost=.*/dc_smarthost='127.0.0.1::2525'/
        s/^dc_readhost=.*/dc_readhost='build.example.com'/" "$root/etc/exim4/update-exim4.conf.conf"
    sed -i 's/^ *same_domain_copy_routing = yes/&\n  self = send/' "$root/etc/exim4/exim4.conf.template"
    inside update-exim4.conf
}

configure_postfix() {
    inside postconf -e 'relayhost=[127.0.0.1]:2525' mydestination= inet_protocols=ipv4 myhostname=build.example.com
    start_program() { inside postfix start; }
}

# It adds Content-Disposition where a line has 990 bytes or more.
configure_opensmtpd() {
    printf '%s\n' 'action "out" relay host smtp://127.0.0.1:2525' 'match from local for any action "out"' \
        >"$root/etc/smtpd.conf"
    start_program() {
        inside smtpd
        # A message that comes before it is ready is refused with 75, and yet kept: it would arrive twice.
        wait_for 120 inside smtpctl show status
    }
}

# What jobs print: one kind of output, to standard output and to standard error.
kinds="plain silent blanks dots noeol longest long from cr nul utf8 latin1 bytes big"
# output KIND OUT ERR: the latter two with the escapes of printf's %b.
output() {
    printf %b "$2" >"$check/$1.out"
    printf %b "$3" >"$check/$1.err"
}
characters() { head -c "$1" /dev/zero | tr '\0' "$2"; }
make_outputs() {
    output plain 'built 3 packages, = 100 %\n>From here on\n' 'warning: 1 skipped\n'
    output silent '' ''
    output blanks 'two blanks  \n\t\n \ntab\t\n\n\n\n' ' \n'
    output dots '.\n..\n...\n.hidden\n.\n' '.\n'
    output noeol 'no end' 'nor here'
    output longest "$(characters 998 x)\n$(characters 997 y)\n" ''
    output long "$(characters 999 x)\n$(characters 5000 '.')\n" ''
    output from 'From here\nFrom \n From\nFromage\n' 'From me to you\n'
    output cr 'half\rdone\r\nend\n\r' '\r\n'
    output nul 'a\0b\n\0' '\0\n'
    output utf8 'Gr\0303\0274\0303\0237e \0342\0202\0254\n' 'na\0303\0257ve\n'
    output latin1 'caf\0351 \n.\n' '\0377\0376\n'
    output refused 'nobody will read this\n' ''
    awk 'BEGIN { for (i = 0; i < 256; i++) printf "\\0%03o", i }' >"$here/octal"
    output bytes "$(cat "$here/octal" "$here/octal")" "$(cat "$here/octal")"
    output big '' ''
    seq -f 'line %.0f of the build' 15000 >"$check/big.out"
}

# configuration KIND...: a job for each, which runs once.
configuration() {
    cat <<END
[buildsequencer]
fromaddress: $sender
sendmail: $sendmail
controlsocket: none
[buildsequencer_job.template]
mindelay: 1h
startdelay: 0
END
    for kind in "$@"; do
        printf '%s\n' "[buildsequencer_job.$kind]" "command: sh /check/fail.sh $kind" "mailproblemsto: $kind@example.com"
    done
}

arrived() { [ "$(find "$sink" -name '*.envelope' | wc -l)" -ge "$1" ]; }
log_has() { grep -qa -e "$1" "$here/log"; }
failures() { grep -a -e '^[^	].* Mail to .* failed: ' "$here/log"; }
# Failed once while the daemon worked, perhaps once more when it ended, and then all of it is in the log, once.
in_the_log_instead() {
    failures
    log_has "Mail to $1@example.com failed: sendmail exited with $2" &&
        [ "$(grep -ac "^	To: $1@example.com" "$here/log")" -eq 1 ] &&
        [ "$(grep -ac "^	Subject: Job $1 exited with code 3" "$here/log")" -eq 1 ]
}
no_other_failure() {
    others=$(failures)
    for each in $refused; do
        others=$(echo "$others" | grep -v "Mail to ${each%:*}@")
    done
    echo "$others"
    [ -z "$others" ]
}

expect "its world is made" make_world
[ "$failed" -eq 0 ] || finish
expect "it can be installed" install_program
[ "$failed" -eq 0 ] || finish
"configure_$program"
make_outputs
delivered=$kinds
for each in $refused; do
    delivered=$(echo " $delivered " | sed "s/ ${each%:*} / /")
done
case $refused in
refused:*) failing="refused $kinds" ;;
*) failing=$kinds ;;
esac
# shellcheck disable=SC2086 # Kinds are words.
configuration $failing >"$check/conf"
# shellcheck disable=SC2016 # For the job's shell.
printf '%s\n' 'cat "/check/$1.out"' 'cat "/check/$1.err" >&2' 'exit 3' >"$check/fail.sh"
cp "$BIN" "$check/buildd-sequencer"

# Without 8BITMIME, so that whatever is not 7-bit would have to be changed on the way.
python3 tests/system/smtp-sink.py --port 2525 --no-8bitmime --refuse refused@example.com "$sink" &
at_exit_kill $!
expect "the SMTP server is up" wait_for 60 test -e "$sink/port"
expect "it starts" start_program
HOME=/ chroot "$root" /check/buildd-sequencer -c /check/conf -u nobody >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"

# shellcheck disable=SC2086
expect "as many reports arrive as should" wait_for 300 arrived "$(echo $delivered | wc -w)"
for each in $refused; do
    wait_for 120 log_has "Mail to ${each%:*}@example.com failed: "
done
kill -TERM "$daemon"
stopped_cleanly() { wait "$daemon"; }
expect "the daemon stops with status 0" stopped_cleanly
for kind in $delivered; do
    expect "it delivers '$kind' unchanged" python3 tests/system/report-arrived.py "$sink" "$check" $sender "$kind"
done
for each in $refused; do
    expect "it refuses '${each%:*}' with ${each#*:}, and the report is in the log" in_the_log_instead "${each%:*}" "${each#*:}"
done
expect "no other delivery failed" no_other_failure

finish
