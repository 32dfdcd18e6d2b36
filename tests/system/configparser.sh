#!/bin/sh
# Random files of our dialect are read as Python's ConfigParser reads them: 2.7's, which is the reference, where
# there is one, and 3's, which is made to behave like it.
. tests/system/lib.sh

reads_as() {
    PYTHON=$1 cargo test --quiet --test behaviour configparser:: -- --ignored --nocapture >"$here/read" 2>&1 ||
        { cat "$here/read"; return 1; }
    grep 'without faults' "$here/read"
}

found=
for python in python3 python2.7 "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/2.7.*/bin/python2.7; do
    # A name may stand for a version that is not installed.
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case " $found " in
    *" $version "*) continue ;;
    esac
    found="$found $version"
    expect "5,000 files as Python $version reads them" reads_as "$python"
done
expect "there is a Python to compare with" test -n "$found"

finish
