#!/bin/sh
# The crate: what `cargo package` makes holds what is needed and no more, and installs. And the notices of all crates are
# those of Cargo.lock.
. tests/system/lib.sh

notices() { contrib/debian/notices | diff contrib/debian/copyright -; }
expect "contrib/debian/copyright is what contrib/debian/notices prints" notices

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
expect "the changelog begins with version $version" sh -c "grep -m 1 '^## ' contrib/CHANGELOG.md | grep '^## $version - '"
expect "and so does the package's" sh -c "head -n 1 contrib/debian/changelog | grep '^buildd-sequencer ($version-'"

packaged() { cargo package --allow-dirty --no-verify --locked --offline --target-dir "$here/target"; }
listed() { cargo package --list --allow-dirty --locked --offline >"$here/list"; }
expect "cargo package lists its files" listed
clean() { ! grep -vE '^(Cargo\.(lock|toml|toml\.orig)|\.cargo_vcs_info\.json|LICENSE|README|src/.*|contrib/.*)$' "$here/list"; }
expect "which are all for who installs it" clean
expect "cargo package makes a crate" packaged
expect "it is small" [ "$(wc -c <"$here/target/package/buildd-sequencer-$version.crate")" -le 1000000 ]
mkdir "$here/crate"
expect "it unpacks" tar -xzf "$here/target/package/buildd-sequencer-$version.crate" -C "$here/crate" --strip-components=1
installed() {
    (cd "$here/crate" && cargo install --quiet --locked --offline --path . --root "$here/installed" --target-dir "$here/target" --no-track)
}
expect "cargo install takes it" installed
expect "and what it installs runs" test "$("$here/installed/bin/buildd-sequencer" --version)" = "buildd-sequencer $version"

finish
