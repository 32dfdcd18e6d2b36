#!/bin/sh
# contrib/completions: bash and zsh complete real command lines, job names come from a running daemon, and every option
# and command of --help is offered.

. tests/system/lib.sh

# One order for sort, comm and the lists below.
LC_ALL=C
export LC_ALL

program=$(realpath "$BIN")
socket=$here/control.sock
mkdir "$here/some dir"
conf="$here/some dir/sequencer.conf"

cat >"$conf" <<END
[buildsequencer]
controlsocket: $socket

[buildsequencer_job.slave_scanner]
command: /bin/true
mindelay: 1h

[buildsequencer_job.queue-builder]
command: /bin/true
mindelay: 1h

[buildsequencer_job.queue_cleaner]
command: /bin/true
mindelay: 1h
END

"$program" -c "$conf" >"$here/log" 2>&1 &
at_exit_kill $!

answers() {
    "$program" -s "$socket" status
}

if ! wait_for 20 answers; then
    fail "the daemon answers" "$(cat "$here/log")"
fi
cd "$here" || exit 1

# In bash the words are told one by one, the last is the one to complete; in zsh keys are typed.
cat >bash_complete <<'END'
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_buildd_sequencer
printf '%s\n' "${COMPREPLY[@]}"
END

bash_offers() {
    bash --norc --noprofile bash_complete "$completions/buildd-sequencer.bash" "$@" | sed '/^$/d' | sort | xargs
}

# bash WANTED WORDS...: what is offered, sorted, on one line.
bash_case() {
    wanted=$1
    shift
    offered=$(bash_offers "$@")
    if [ "$offered" = "$wanted" ]; then
        ok "bash: $(echo "$@" | sed 's#^[^ ]*/##')"
    else
        fail "bash: $*" "offered: $offered" "wanted:  $wanted"
    fi
}

completions=$OLDPWD/contrib/completions
jobs="queue-builder queue_cleaner slave_scanner"
bash_case "check healthcheck history kill metrics pause reload resume run status" "$program" ""
bash_case "reload resume run" "$program" r
bash_case "run" "$program" -c "some\\ dir/sequencer.conf" ru
bash_case "$jobs" "$program" -s "$socket" run ""
bash_case "$jobs" "$program" --socket = "$socket" pause ""
bash_case "queue-builder queue_cleaner" "$program" -c "some\\ dir/sequencer.conf" kill q
bash_case "slave_scanner" "$program" resume -c "'some dir/sequencer.conf'" s
bash_case "" "$program" -s "$here/nobody" run ""
bash_case "" "$program" -s "$socket" run slave_scanner ""
bash_case "$jobs" "$program" -s "$socket" status ""
bash_case "" "$program" -s "$socket" metrics ""
bash_case "--wait" "$program" run --w
bash_case "" "$program" status --w
bash_case "--json" "$program" history --j
bash_case "slave_scanner" "$program" -s "$socket" history -n 5 s
bash_case "" "$program" -s "$socket" history -n s
bash_case "--socket --spew" "$program" --s
bash_case "--socket" "$program" kill --s
bash_case "some dir" "$program" -c some
bash_case "some dir" "$program" --rundir = some
bash_case "some dir/sequencer.conf" "$program" --logfile = "some dir/"
bash_case "root" "$program" -u roo
bash_case "root" "$program" --gid = roo
bash_case "027" "$program" --umask 027
bash_case "" "$program" --name s

# The options of --help, less twistd's that have no effect.
"$program" --help | sed '/^Accepted/,$d' | grep -oE '(^|[ [])--?[a-zA-Z][a-z-]*' | tr -d ' [' | sort -u >helped
for verb in "" check status history run kill pause resume reload healthcheck metrics; do
    # shellcheck disable=SC2086 # No word at all for the daemon.
    bash_offers "$program" $verb - | tr ' ' '\n'
done | sort -u >offered
expect "bash: each option of --help is offered, and no other" diff helped offered

cat >zsh_complete <<'END'
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "fpath=($1 \$fpath); cd ${(q)2}; PS1= PROMPT2= RPS1=; path=(${(q)3:h} \$path); stty rows 50 columns 500
autoload -Uz compinit && compinit -D -u; unsetopt beep; setopt no_list_beep
told() { print -r -- \"\$BUFFER\" >>told; zle kill-buffer }; zle -N told; bindkey '^X' told
bindkey '^I' complete-word; touch ready"
repeat 2400 { [[ -e ready ]] && break; sleep 0.05 }
while IFS= read -r line; do
  zpty -w -n shell "$line"$'\t\x18'
done <lines
count=$(wc -l <lines)
repeat 2400 { [[ -e told && $(wc -l <told) -ge $count ]] && break; sleep 0.05 }
zpty -d shell
END

# Typed, and what the line is after the tabulator key, less a space at its end.
cat >cases <<END
buildd-sequencer stat|buildd-sequencer status
buildd-sequencer -s $socket run sl|buildd-sequencer -s $socket run slave_scanner
buildd-sequencer --socket=$socket pause queue-|buildd-sequencer --socket=$socket pause queue-builder
buildd-sequencer kill -c some\\ dir/sequencer.conf queue_|buildd-sequencer kill -c some\\ dir/sequencer.conf queue_cleaner
buildd-sequencer -s $here/nobody run sl|buildd-sequencer -s $here/nobody run sl
buildd-sequencer run --w|buildd-sequencer run --wait
buildd-sequencer -s $socket status --json sl|buildd-sequencer -s $socket status --json slave_scanner
buildd-sequencer kill --w|buildd-sequencer kill --w
buildd-sequencer status --js|buildd-sequencer status --json
buildd-sequencer history --sv|buildd-sequencer history --svg
buildd-sequencer -s $socket history -n 5 sl|buildd-sequencer -s $socket history -n 5 slave_scanner
buildd-sequencer healthcheck --al|buildd-sequencer healthcheck --alive
buildd-sequencer --if|buildd-sequencer --if-launch
buildd-sequencer reload --if|buildd-sequencer reload --if
buildd-sequencer -c some\\ dir/seq|buildd-sequencer -c some\\ dir/sequencer.conf
buildd-sequencer --umask=07|buildd-sequencer --umask=077
END
cut -d'|' -f1 cases >lines
cut -d'|' -f2 cases >wanted
expect "zsh: the script's syntax" zsh -n "$completions/_buildd-sequencer"
: >told
TERM=vt100 timeout 300 zsh -f zsh_complete "$completions" "$here" "$program" >zsh.out 2>&1
while IFS='|' read -r typed wanted; do
    read -r told <&3
    if [ "$told" = "$wanted" ]; then
        ok "zsh: $typed"
    else
        fail "zsh: $typed" "became: $told" "wanted: $wanted"
    fi
done <cases 3<told

grep -oE -- '--?[a-zA-Z][a-z-]*' "$completions/_buildd-sequencer" | sort -u >offered
expect "zsh: each option of --help is offered" test -z "$(comm -23 helped offered)"

finish
