#!/bin/sh
# contrib/container: buildah reads the Containerfile and makes its last stage, with the program under test in place
# of what the first stage would compile (that needs a network). Then the image runs, as its own user, as PID 1, in
# its own root with neither /proc nor /dev, and answers its own health check.

# buildah leaves locks and caches in /etc and /var/lib, whatever directories it is given, so it gets those of its own.
if [ "${1:-}" != inside ] && [ "$(id -u)" -eq 0 ] && unshare --mount true 2>/dev/null; then
    exec unshare --mount sh "$0" inside
fi
. tests/system/lib.sh

containerfile=contrib/container/Containerfile
context=$here/context
image=localhost/buildd-sequencer-check

engine() {
    buildah --storage-driver vfs --root "$here/storage" --runroot "$here/runroot" "$@"
}

# Unmounts what is still mounted before the directory goes.
clean_up_engine() {
    kill_background
    crun --root "$here/crun" delete --force check >/dev/null 2>&1
    engine umount --all >/dev/null 2>&1
    for directory in /var/lib /etc "$here/own"; do
        umount -l "$directory" 2>/dev/null
    done
    clean_up
}
trap clean_up_engine EXIT

# own_directories DIRECTORY...: what is written there is gone with this check.
own_directories() {
    mkdir "$here/own" && mount -t tmpfs tmpfs "$here/own" || return
    for directory in "$@"; do
        mkdir -p "$here/own$directory/upper" "$here/own$directory/work"
        mount -t overlay -o "lowerdir=$directory,upperdir=$here/own$directory/upper,workdir=$here/own$directory/work" \
            overlay "$directory" || return
    done
}

# configured FORMAT: a value of the image as an engine would see it.
configured() {
    engine inspect --type image --format "$1" $image
}

healthy() {
    # shellcheck disable=SC2086 # The words of the health check hold no spaces.
    sh "$here/in_image" $healthcheck
}

# What the project must hold for the first stage.
for source in $(sed -n 's/^COPY \([^-].*\) [^ ]*$/\1/p' $containerfile); do
    expect "the first stage finds $source" test -e "$source"
done
expect "the first stage is the only one that is not scratch" test "$(grep -c '^FROM ' $containerfile)" -eq 2
expect "the last stage is scratch" test "$(grep '^FROM ' $containerfile | tail -n 1)" = "FROM scratch"

if [ "${1:-}" != inside ] || ! unshare --mount --pid --fork true 2>/dev/null; then
    skip "the image" "that needs root, and a system that lets it make namespaces"
    finish
fi
expect "buildah has directories of its own" own_directories /etc /var/lib
[ "$failed" -eq 0 ] || finish

# image_of DIRECTORY PROGRAM: what the first stage would leave.
image_of() {
    mkdir -p "$1/usr/bin" "$1/run/buildd-sequencer" "$1/var/lib/buildd-sequencer" "$1/usr/share/doc/buildd-sequencer"
    cp "$2" "$1/usr/bin/buildd-sequencer"
    cp contrib/debian/copyright "$1/usr/share/doc/buildd-sequencer/"
}
image_of "$context/image" "$BIN"
{
    echo "FROM scratch AS build"
    echo "COPY image /image"
    sed -n '/^FROM scratch/,$p' $containerfile
} >"$context/Containerfile"

expect "buildah makes the image" engine build --isolation chroot --format docker --tag $image "$context"

user=$(configured '{{.OCIv1.Config.User}}')
healthcheck=$(configured '{{.Docker.Config.Healthcheck.Test}}' | tr -d '[]' | sed 's/^CMD //')
expect "its user is a number other than 0" sh -c "echo '$user' | grep -E '^[1-9][0-9]*:[1-9][0-9]*$'"
expect "it begins with the program" test "$(configured '{{.OCIv1.Config.Entrypoint}}')" = '[/usr/bin/buildd-sequencer]'
expect "it is stopped by SIGTERM" test "$(configured '{{.OCIv1.Config.StopSignal}}')" = SIGTERM
expect "its health check needs no shell" test "$healthcheck" = "/usr/bin/buildd-sequencer healthcheck --alive"

label() { configured "{{index .OCIv1.Config.Labels \"org.opencontainers.image.$1\"}}"; }
expect "a label tells its version" test "$(label version)" = "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
expect "one its licence" test "$(label licenses)" = MIT
expect "one its title" test "$(label title)" = buildd-sequencer

container=$(engine from $image)
image_root=$(engine mount "$container")
if [ ! -d "$image_root/run/buildd-sequencer" ]; then
    fail "the image can be mounted" "its root is '$image_root'"
    finish
fi
expect "the root holds the program, its notices, the directories of socket and state, and no more" \
    test "$(cd "$image_root" && find . | sort | xargs)" = ". ./run ./run/buildd-sequencer ./usr ./usr/bin ./usr/bin/buildd-sequencer ./usr/share ./usr/share/doc ./usr/share/doc/buildd-sequencer ./usr/share/doc/buildd-sequencer/copyright ./var ./var/lib ./var/lib/buildd-sequencer"
expect "the socket's directory is the daemon's" test "$(stat -c %u:%g "$image_root/run/buildd-sequencer")" = "$user"
expect "and that of the state" test "$(stat -c %u:%g "$image_root/var/lib/buildd-sequencer")" = "$user"
expect "the program is not" test "$(stat -c %u:%g:%a "$image_root/usr/bin/buildd-sequencer")" = 0:0:755

# Where the program under test is not static, its libraries come along.
for library in $(ldd "$BIN" 2>/dev/null | grep -o '/[^ ]*'); do
    mkdir -p "$image_root${library%/*}"
    cp "$library" "$image_root$library"
done
mkdir "$image_root/etc"
cat >"$image_root/etc/buildd-sequencer.conf" <<'END'
[buildsequencer_job.itself]
command: /usr/bin/buildd-sequencer --version
startdelay: 0
mindelay: 1h
alwayslog: true
END

# As PID 1 of a process namespace. A script rather than a function, so that $! is unshare itself.
echo "exec unshare --fork --pid --kill-child chroot --userspec=$user '$image_root' \"\$@\"" >"$here/in_image"

sh "$here/in_image" /usr/bin/buildd-sequencer >"$here/log" 2>&1 &
daemon=$!
at_exit_kill $daemon
expect "it runs a job" wait_for 20 grep "Job itself completed with exit code 0" "$here/log"
expect "and logs what it says" grep "^	buildd-sequencer " "$here/log"
expect "the health check is content" wait_for 20 healthy

# The daemon is the child of unshare, which passes no signal on.
started=$(date +%s)
kill -TERM "$(cat /proc/$daemon/task/$daemon/children)"
wait $daemon
expect "it stops cleanly on SIGTERM" test $? -eq 0
expect "within the 10 s that an engine allows" test $(($(date +%s) - started)) -lt 10
expect "the log ends as it should" grep "Main loop terminated" "$here/log"
expect "without the daemon the health check is not content" test "$(healthy >/dev/null 2>&1; echo $?)" -eq 1
[ "$failed" -eq 0 ] || sed 's/^/     log: /' "$here/log"

# --- compose.yaml, by the schema that check-jsonschema brings along.

venv=$here/venv
validator() {
    python3 -m venv "$venv" &&
        "$venv/bin/pip" --quiet --disable-pip-version-check install --retries 10 --no-cache-dir check-jsonschema==0.38.2
}
composes() { "$venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$1"; }
expect "the package with compose's schema can be had" validator
expect "it accepts compose.yaml" composes contrib/container/compose.yaml
sed 's/read_only/readonly/' contrib/container/compose.yaml >"$here/wrong.yaml"
refuses() { ! composes "$here/wrong.yaml"; }
expect "and no key that is spelt wrong" refuses

# --- Two architectures under one name, run read-only and unprivileged by crun.

[ -z "${QUICK:-}" ] || { skip "two architectures" "QUICK is set"; finish; }
for pair in amd64:x86_64-unknown-linux-musl arm64:aarch64-unknown-linux-gnu; do
    program=$(sh tests/system/static-for "${pair#*:}" 2>"$here/build") || cat "$here/build"
    expect "there is a static program for ${pair%%:*}" test -x "$program"
    image_of "$context/${pair%%:*}" "$program"
done
sed -i '1,2c FROM scratch AS build\nARG TARGETARCH\nCOPY $TARGETARCH /image' "$context/Containerfile"
expect "buildah makes an image for each" engine build --isolation chroot --platform linux/amd64,linux/arm64 \
    --manifest buildd-sequencer-both "$context"
engine manifest inspect buildd-sequencer-both >"$here/manifest"
for architecture in amd64 arm64; do
    expect "the list has $architecture" grep "\"architecture\": \"$architecture\"" "$here/manifest"
done

image_root=$(engine mount "$(engine from --arch "$(dpkg --print-architecture)" buildd-sequencer-both)")
mkdir -p "$here/bundle/rootfs" "$here/crun"
cp -a "$image_root/." "$here/bundle/rootfs/"
mkdir -p "$here/bundle/rootfs/etc" "$here/bundle/rootfs/dev" "$here/bundle/rootfs/proc"
printf '[buildsequencer_job.itself]\ncommand: /usr/bin/buildd-sequencer --version\nstartdelay: 0\nmindelay: 1h\nalwayslog: true\n' \
    >"$here/bundle/rootfs/etc/buildd-sequencer.conf"
python3 - "$here/bundle/config.json" "$user" <<'PYTHON'
import json, sys
uid, gid = map(int, sys.argv[2].split(":"))
none = {name: [] for name in ("bounding", "effective", "inheritable", "permitted", "ambient")}
json.dump({
    "ociVersion": "1.0.0",
    "root": {"path": "rootfs", "readonly": True},
    "process": {"args": ["/usr/bin/buildd-sequencer"], "cwd": "/", "user": {"uid": uid, "gid": gid},
                "capabilities": none, "noNewPrivileges": True, "env": []},
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/run/buildd-sequencer", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
    ],
    "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts", "network")]},
}, open(sys.argv[1], "w", encoding="utf-8"))
PYTHON
# It refuses a machine with control groups of both kinds, although it is to make none: here it sees one kind.
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>"$here/mount" || cat "$here/mount"
# crun gives the standard streams to the container's user, whatever they are, the machine's /dev/null too: so it gets a
# pipe and a file of its own.
runtime() {
    : | crun --root "$here/crun" --cgroup-manager=disabled "$@" >"$here/said" 2>&1
    set -- $?
    cat "$here/said"
    return "$1"
}
: | crun --root "$here/crun" --cgroup-manager=disabled run --bundle "$here/bundle" check 2>&1 | cat >"$here/log" &
at_exit_kill $!
if wait_for 30 grep "Job itself completed" "$here/log"; then
    expect "crun: a job runs, read-only and without a privilege" grep "Job itself completed with exit code 0" "$here/log"
    expect "crun: the health check is content" wait_for 20 runtime exec --user "$user" check /usr/bin/buildd-sequencer healthcheck --alive
    expect "crun: TERM is taken" runtime kill check TERM
    expect "crun: and obeyed" wait_for 20 grep "Main loop terminated" "$here/log"
elif grep -iE 'not permitted|cgroup|namespace' "$here/log"; then
    skip "crun" "this machine does not let it make containers: $(tail -n 1 "$here/log")"
else
    fail "crun runs it" "$(cat "$here/log")"
fi
runtime delete --force check >"$here/deleted" 2>&1

finish
