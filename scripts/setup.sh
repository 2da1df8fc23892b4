#!/usr/bin/env bash
# Makes .venv from nothing but Python 3.11 or newer.
#
#   scripts/setup.sh [runtime|dev]
#
# runtime is what a running Tandem needs; dev adds the tests, linters and generators. Every package comes
# from a lock file with hashes and as a wheel: a package that had to be built would fetch build tools that no hash covers.
# A stamp makes the second run instant, and a lock lets two makes race.
set -euo pipefail
cd "$(dirname "$0")/.."

level=${1:-dev}
venv=.venv
lock_file=requirements/$level.txt
if [[ $level != runtime && $level != dev ]]; then
    echo "setup: unknown level '$level'; use runtime or dev" >&2
    exit 2
fi

digest() { # of everything that decides what a level installs
    cat "requirements/$1.txt" pyproject.toml scripts/setup.sh | cksum
}

is_done() {
    [[ -x $venv/bin/python && $(cat "$venv/.setup-$1" 2>/dev/null) == "$(digest "$1")" ]]
}

is_ready() { # dev contains runtime
    is_done dev || { [[ $level == runtime ]] && is_done runtime; }
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "setup: Python 3.11 or newer is needed and none was found." >&2
    echo "setup: install one (Debian: apt-get install -y python3 python3-venv) or name it: make PYTHON=/path/to/python3 ..." >&2
    return 1
}

make_venv() {
    local python=$1 install="apt-get install -y python3-venv"
    "$python" -m venv --clear "$venv" >/dev/null 2>&1 && return
    # Debian ships venv without ensurepip in a package of its own.
    rm -rf "$venv"
    if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
        echo "setup: '$python -m venv' does not work here. Run this as root, then try again:" >&2
        echo "  $install" >&2
        return 1
    fi
    echo "setup: $install"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive $install >/dev/null
    "$python" -m venv --clear "$venv"
}

is_ready && exit 0

python=$(find_python)
exec 9>"$venv.lock"
# flock(2) belongs to the open file, which this shell keeps open: it holds the lock until it ends.
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
is_ready && exit 0

echo "setup: installing $lock_file into $venv"
"$venv/bin/python" -c 'import pip' 2>/dev/null || make_venv "$python"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check --no-input --quiet "$@"; }
rm -f "$venv"/.setup-*
pip install --require-hashes --only-binary :all: -r "$lock_file"
pip install --no-deps --no-build-isolation --editable .
digest "$level" >"$venv/.setup-$level"
