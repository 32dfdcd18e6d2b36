#!/bin/sh
# The manual pages are well formed, and they and the program and the installed configuration name the same options,
# commands and keys. Needs mandoc.
. tests/system/lib.sh

daemon_page=contrib/man/buildd-sequencer.8
config_page=contrib/man/buildd-sequencer.conf.5
config=contrib/buildd-sequencer.conf

# From their directory, where mandoc finds the pages that they refer to.
lint() (
    cd contrib/man && mandoc -T lint -W style -- *.[58]
)

# Each of the following prints names, one a line, sorted.
help_options() { tr -cs 'A-Za-z_-' '\n' <"$here/help" | grep '^--*[A-Za-z]' | sort -u; }
# A line that begins further in goes on with the one before.
help_commands() { awk '/^Commands:/ { on = 1; next } /^$/ { on = 0 } on && /^  [a-z]/ { print $1 }' "$here/help" | sort -u; }
help_variables() { tr -cs 'A-Z_$' '\n' <"$here/help" | sed -n 's/^\$//p' | sort -u; }
help_statuses() { sed -n '/^Exit status:/,$p' "$here/help" | tr -cs '0-9' '\n' | grep . | sort -u; }

page_options() {
    awk '{ for (i = 1; i < NF; i++) if ($i ~ /^\.?Fl$/ && $(i + 1) ~ /[A-Za-z]/) print "-" $(i + 1) }' "$daemon_page" |
        sort -u
}
page_commands() { sed -n '/^The commands are:/,/^\.El/s/^\.It Cm \([a-z]*\).*/\1/p' "$daemon_page" | sort -u; }
page_variables() { sed -n '/^\.Sh ENVIRONMENT/,/^\.Sh FILES/s/^\.It Ev //p' "$daemon_page" | tr -s ' ,' '\n\n' | sort -u; }
page_statuses() { sed -n '/^\.Sh EXIT STATUS/,/^\.Sh EXAMPLES/s/^\.It //p' "$daemon_page" | sort -u; }

# Keys with the section they belong to: `job mindelay`.
page_keys() {
    awk '/^\.Sh/ { section = "" } /^\.Sh SYNTAX/ { section = "meta" } /^\.Sh THE DAEMON/ { section = "daemon" }
        /^\.Sh JOBS/ { section = "job" } /^\.It Ic/ && section { print section, $3 }' "$config_page" | sort -u
}
config_keys() {
    awk '{ sub(/^#/, "") } /^\[meta\]/ { section = "meta" } /^\[buildsequencer\]/ { section = "daemon" }
        /^\[buildsequencer_job/ { section = "job" }
        /^[a-z]+:/ { sub(/:.*/, ""); print section, $0 }' "$config" | sort -u
}

# same NAME A B: the two commands print the same names, and at least one.
same() {
    "$2" >"$here/one"
    "$3" >"$here/other"
    if [ -s "$here/one" ] && cmp -s "$here/one" "$here/other"; then
        ok "$1"
    else
        fail "$1" "$2 (<) and $3 (>) differ:"
        diff "$here/one" "$here/other" | sed 's/^/     | /'
    fi
}

"$BIN" --help >"$here/help"
help_has() { [ -s "$here/help" ]; }
variables_are_in_the_page() {
    help_variables >"$here/one"
    page_variables >"$here/other"
    [ -s "$here/one" ] && ! comm -23 "$here/one" "$here/other" | grep .
}

expect "the manual pages are well formed" lint
expect "the program prints a help text" help_has
same "help text and manual page name the same options" help_options page_options
same "help text and manual page name the same commands" help_commands page_commands
same "help text and manual page name the same exit statuses" help_statuses page_statuses
expect "each environment variable of the help text is in the manual page" variables_are_in_the_page
same "installed configuration and manual page name the same keys" config_keys page_keys

finish
