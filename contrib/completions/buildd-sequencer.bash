# bash completion for buildd-sequencer. Install as /usr/share/bash-completion/completions/buildd-sequencer, or source
# it. Needs nothing of the bash-completion package.

# The jobs of the daemon that the words typed so far would ask: -c and -s of the line are passed on. Each job is a line
# of its own in the answer, and nothing else that has a name begins one.
_buildd_sequencer_jobs() {
    "$@" status --json 2>/dev/null | sed -n 's/^ *{"name": "\([-_A-Za-z0-9]*\)".*/\1/p' | sort
}

_buildd_sequencer() {
    local commands="check status history run kill pause resume reload healthcheck metrics"
    local everywhere="-c --config -s --socket -h --help -V --version"
    local daemon="-l --logfile --pidfile -d --rundir --umask --name -u --uid -g --gid --daemon -n --nodaemon --spew --if-launch"
    local current=${COMP_WORDS[COMP_CWORD]} command='' job='' option='' word i
    local -a asks=("${COMP_WORDS[0]/#\~\//$HOME/}")
    local IFS=$' \t\n'
    COMPREPLY=()

    # What stands before the cursor: the command, its job, and an option that still wants its value. A word `=` is
    # bash's own splitting of --option=value.
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $option ]]; then
            [[ $word == = ]] && continue
            [[ $option == --config ]] && asks+=(--config "$(_buildd_sequencer_unquoted "$word")")
            [[ $option == --socket ]] && asks+=(--socket "$(_buildd_sequencer_unquoted "$word")")
            option=
            continue
        fi
        case $word in
        -c | --config) option=--config ;;
        -s | --socket) option=--socket ;;
        -l | --logfile | --pidfile) option=--logfile ;;
        -d | --rundir) option=--rundir ;;
        -u | --uid) option=--uid ;;
        -g | --gid) option=--gid ;;
        --umask) option=--umask ;;
        --name) option=--name ;;
        -n) [[ $command == history ]] && option=-n ;;
        -*) ;;
        *) if [[ -z $command ]]; then command=$word; else job=$word; fi ;;
        esac
    done
    [[ -n $option && $current == = ]] && current=

    case $option in
    --config | --socket | --logfile)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --rundir)
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -d -- "$current")
        return
        ;;
    --uid) mapfile -t COMPREPLY < <(compgen -u -- "$current") && return ;;
    --gid) mapfile -t COMPREPLY < <(compgen -g -- "$current") && return ;;
    -n | --name) return ;;
    --umask) mapfile -t COMPREPLY < <(compgen -W "022 027 077" -- "$current") && return ;;
    esac

    local words=''
    if [[ $current == -* ]]; then
        words=$everywhere
        case $command in
        '') words+=" $daemon" ;;
        check) words+=" $daemon -q --quiet" ;;
        status) words+=" --failed --json" ;;
        history) words+=" -n --failed --json --svg" ;;
        run) words+=" --wait" ;;
        healthcheck) words+=" --alive" ;;
        esac
    elif [[ -z $command ]]; then
        words=$commands
    elif [[ -z $job && $command =~ ^(status|history|run|kill|pause|resume)$ ]]; then
        words=$(_buildd_sequencer_jobs "${asks[@]}")
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

# A word of the line without the backslashes and quotes that protect it there. Nothing in it is expanded.
_buildd_sequencer_unquoted() {
    local word=${1//[\"\']/}
    word=${word/#\~\//$HOME/}
    printf '%s\n' "${word//\\/}"
}

complete -F _buildd_sequencer buildd-sequencer
