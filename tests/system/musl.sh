#!/bin/sh
# The static build with musl: half of what glibc's takes, and as good. Where rustc has no musl, Debian 13's compiles the
# standard library as well. Needs root, and for that a network.
. tests/system/lib.sh
foreign

most_bytes=900000
most_kilobytes=1000

musl=$(rustc -vV | sed -n 's/^host: \(.*\)-gnu.*/\1-musl/p')
if [ -e "$(rustc --print target-libdir --target "$musl")" ]; then
    static_build "$musl" >"$here/build" 2>&1
    program=$(sed -n 's/^\(.*\): [0-9]* bytes$/\1/p' "$here/build")
else
    program=$(sh tests/system/static-for "$musl" 2>"$here/build")
fi
sed 's/^/     /' "$here/build"
expect "contrib/static-build makes it for $musl" test -x "$program"
[ "$failed" -eq 0 ] || finish

is_the_same_elsewhere() {
    sh tests/system/elsewhere "$here/elsewhere" contrib/static-build "$musl" &&
        cmp "$program" "$here/elsewhere/$musl/release/buildd-sequencer"
}
if [ "${program#"$ROOTS"}" != "$program" ]; then
    mkdir "$here/elsewhere"
    expect "it is the same bytes from another directory, user, CARGO_HOME, umask and time" is_the_same_elsewhere
fi

# Each run of these scripts is one thing here; their words are shown where they fail.
export MUSL=yes
expect "it is a static file like glibc's, of at most $most_bytes bytes" \
    env STATIC="$program" MOST_BYTES=$most_bytes sh tests/system/static.sh
expect "it rotates logs, without a call that glibc has" env BIN="$program" sh tests/system/logfile.sh
expect "it has all the names of metrics and fields" env BIN="$program" sh tests/system/names.sh

# Two daemons with the same three jobs, beside each other, so that both suffer the same.
for job in one two three; do
    printf '[buildsequencer_job.%s]\ncommand: /bin/true\nmindelay: 0\nstartdelay: 0\n' $job
done >"$here/conf"
glibc=$here/glibc
static_build "$(rustc -vV | sed -n 's/^host: //p')" >"$here/build" 2>&1
cp "$(sed -n 's/^\(.*\): [0-9]* bytes$/\1/p' "$here/build")" "$glibc"
"$glibc" -c "$here/conf" --socket "$here/g" >"$here/log.glibc" &
of_glibc=$!
"$program" -c "$here/conf" --socket "$here/m" >"$here/log.musl" &
of_musl=$!
at_exit_kill $of_glibc
at_exit_kill $of_musl
runs() { grep -c ' completed with exit code 0$' "$here/log.$1"; }
both_have_run() { [ "$(runs glibc)" -ge "$1" ] && [ "$(runs musl)" -ge "$1" ]; }
# Nanoseconds of processor time of its own for each run (proc(5), schedstat) of some hundred, and of ten times as many
# the middle: where another machine has the processor for a moment, one of them pays for it.
used() { cut -d' ' -f1 "/proc/$1/schedstat"; }
slice() {
    kill -CONT $of_glibc $of_musl
    expect "both run jobs ($1)" wait_for 120 both_have_run "$1"
    kill -STOP $of_glibc $of_musl
    for each in glibc musl; do
        eval "pid=\$of_$each"
        echo "$(runs $each) $(used "$pid")" >>"$here/used.$each"
    done
}
for count in 300 600 900 1200 1500 1800 2100 2400 2700 3000; do slice $count; done
costs() {
    awk 'NR > 1 { print int(($2 - used) / ($1 - runs)) } { runs = $1; used = $2 }' "$here/used.$1" | sort -n | sed -n 5p
}
resident=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB$/\1/p' /proc/$of_musl/status)
echo "     with three jobs: $resident kB resident (glibc: $(sed -n 's/^VmRSS:[^0-9]*//p' /proc/$of_glibc/status))"
expect "it has at most $most_kilobytes kB of memory" [ "$resident" -le $most_kilobytes ]
costs_glibc=$(costs glibc)
costs_musl=$(costs musl)
echo "     a run costs it $costs_musl ns of processor time (glibc: $costs_glibc)"
# A tenth is what it may take more; twice that is what a busy machine may add to it.
expect "a run costs no more than with glibc" [ $((costs_musl * 10)) -le $((costs_glibc * 12)) ]

finish
