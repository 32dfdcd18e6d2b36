#!/bin/sh
# What is served over HTTP, by those who will read it: the page in Chromium, and the metrics by Prometheus.
. tests/system/lib.sh

python=/usr/bin/python3
free_port() {
    "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=$(free_port)
cat >"$here/conf" <<CONF
[buildsequencer]
controlsocket: $here/socket
listen: 127.0.0.1:$port
[buildsequencer_job.good]
command: true
startdelay: 0
mindelay: 2
[buildsequencer_job.bad]
command: sh -c 'echo trouble >&2; exit 3'
startdelay: 0
mindelay: 1d
[buildsequencer_job.paused]
command: true
startdelay: 1d
CONF
"$BIN" -c "$here/conf" >"$here/log" 2>&1 &
daemon=$!
at_exit_kill "$daemon"
ask() {
    "$BIN" -s "$here/socket" "$@"
}
expect "it listens" wait_for 60 ask pause paused
all_ran() {
    ask history bad | grep -q 'exit 3' && ask history good | grep -q ok
}
expect "each job has run" wait_for 60 all_ran

# browse WIDTH PAGE OPTION...: what Chromium says goes to PAGE.said, each URL that the page has it ask for to PAGE.asked.
browse() {
    width=$1
    page=$2
    shift 2
    # What it would ask for of its own is not found.
    HOME=$here/$page.profile timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage \
        --host-resolver-rules='MAP * ~NOTFOUND, EXCLUDE 127.0.0.1' \
        --enable-logging=stderr --hide-scrollbars --user-data-dir="$here/$page.profile" --window-size="$width,1600" \
        --log-net-log="$here/$page.net" "$@" "http://127.0.0.1:$port/" >"$here/$page.out" 2>"$here/$page.said"
    result=$?
    grep '"initiator":"http' "$here/$page.net" | grep -o '"url":"[^"]*"' >"$here/$page.asked"
    return "$result"
}
asks_nobody() {
    # That this is a log of what happened is seen by the page's own address.
    grep -q "\"url\":\"http://127.0.0.1:$port/" "$here/$1.net" && ! grep . "$here/$1.asked"
}
# Violations of the policy are errors of the console, too.
console_is_silent() {
    ! grep CONSOLE "$here/$1.said"
}
# The width and height in a PNG's header.
size_of() {
    od -An -tu1 -j16 -N8 "$1" | awk '{ print $3 * 256 + $4, $7 * 256 + $8 }'
}
has_size() {
    [ "$(size_of "$1")" = "$2" ]
}
is_rendered() {
    for text in '<td>good</td>' '<td>bad</td>' '<td>exit 3</td>' '<dt>JOBS</dt><dd>3: 1 failing, 1 paused</dd>' \
        '<svg class="lane"' '</html>'; do
        grep -qF "$text" "$here/dom.out" || { echo "no $text"; return 1; }
    done
    [ "$(grep -c '<tr class=' "$here/dom.out")" -eq 3 ]
}
expect "Chromium reads the page" browse 1400 dom --dump-dom
expect "it has the jobs, the summary and the picture" is_rendered
for width in 400 1400; do
    for look in light dark; do
        shot=$look-$width
        dark=
        [ "$look" = light ] || dark=--force-dark-mode
        # shellcheck disable=SC2086 # an option or none
        expect "Chromium draws it, $look, $width pixels wide" browse "$width" "$shot" $dark --screenshot="$here/$shot.png"
        expect "of that size ($shot)" has_size "$here/$shot.png" "$width 1600"
        expect "the console has nothing to say ($shot)" console_is_silent "$shot"
        expect "the page asks nobody for anything ($shot)" asks_nobody "$shot"
        [ -z "${KEEP:-}" ] || cp "$here/$shot.png" "$KEEP"
    done
done
looks_differ() {
    ! cmp -s "$here/$1.png" "$here/$2.png"
}
expect "dark is not light" looks_differ light-1400 dark-1400

# The check itself would see it: an address elsewhere, a script, a style that the policy does not know.
cat >"$here/wrong.py" <<'PYTHON'
import http.server

page = b"<script>1</script><img src='http://127.0.0.2:9/x.png'><p>x"


class Wrong(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Security-Policy", "script-src 'none'")
        self.end_headers()
        self.wfile.write(page)


server = http.server.HTTPServer(("127.0.0.1", 0), Wrong)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
"$python" "$here/wrong.py" >"$here/wrong.port" 2>/dev/null &
at_exit_kill "$!"
expect "another server listens" wait_for 60 test -s "$here/wrong.port"
right=$port
port=$(cat "$here/wrong.port")
browse 400 wrong --dump-dom
sees_what_is_wrong() {
    ! console_is_silent wrong && ! asks_nobody wrong
}
expect "a page that is not so would be seen" sees_what_is_wrong
port=$right

# Prometheus itself.
other=$(free_port)
cat >"$here/prometheus.yml" <<YAML
scrape_configs:
  - job_name: buildd-sequencer
    honor_labels: true
    scrape_interval: 1s
    static_configs:
      - targets: ['127.0.0.1:$port']
YAML
expect "promtool accepts the configuration" promtool check config "$here/prometheus.yml"
prometheus --config.file="$here/prometheus.yml" --storage.tsdb.path="$here/tsdb" \
    --web.listen-address="127.0.0.1:$other" >"$here/prometheus.log" 2>&1 &
at_exit_kill "$!"
# value EXPRESSION NUMBER: what Prometheus has of it.
value() {
    promtool query instant "http://127.0.0.1:$other" "$1" | grep -q "=> $2 @"
}
expect "Prometheus scrapes it" wait_for 60 value "up{job=\"buildd-sequencer\"}" 1
expect "and has what failed" wait_for 60 value 'buildd_sequencer_job_failures_total{job="bad",reason="exit"}' 1
expect "and what is paused" value 'buildd_sequencer_job_paused{job="paused"}' 1
grows() {
    value 'increase(buildd_sequencer_job_runs_total{job="good"}[10s]) > bool 0' 1
}
expect "and sees runs being counted" wait_for 60 grows

kill "$daemon"
wait "$daemon"
expect "the daemon has ended well" [ "$?" -eq 0 ]
finish
