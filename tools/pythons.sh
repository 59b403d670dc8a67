#!/bin/sh
# Finds the Pythons this project runs on (3.11 to 3.13, with venv and pip inside).
#
#   pythons.sh main        the one for .venv: the oldest supported, which is the most demanding
#   pythons.sh newest      the newest one's version, as 3.13; nothing when it is the main one
#   pythons.sh path 3.13   the one of that version

version() {
    # A name on PATH may be a launcher for a version that is not switched on: only running it tells.
    "$1" -c 'import sys
v = sys.version_info[:2]
if (3, 11) <= v <= (3, 13): print("%d.%d" % v)' 2>/dev/null
}

complete() { "$1" -c 'import venv, ensurepip' 2>/dev/null; }

# The Pythons of a version: on PATH, or installed by pyenv or uv and not switched on.
path() {
    for python in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin/"python$1" \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/cpython-"$1"*/bin/"python$1"; do
        if [ "$(version "$python")" = "$1" ] && complete "$python"; then echo "$python"; return 0; fi
    done
    return 1
}

main() {
    path 3.11 && return 0
    for python in python3 python; do
        if [ -n "$(version "$python")" ] && complete "$python"; then echo "$python"; return 0; fi
    done
    path 3.12 || path 3.13 && return 0
    for python in python3.11 python3 python3.12 python3.13; do
        if [ -n "$(version "$python")" ]; then
            echo "$python lacks venv or ensurepip. On Debian or Ubuntu: apt install python3-venv" >&2
            return 1
        fi
    done
    echo "No Python 3.11, 3.12 or 3.13 was found. Name one: make PYTHON=/path/to/python3" >&2
    return 1
}

newest() {
    taken=$(version "$(main 2>/dev/null)")
    for number in 3.13 3.12 3.11; do
        if path "$number" >/dev/null; then
            [ "$number" = "$taken" ] || echo "$number"
            return 0
        fi
    done
}

case "$1" in main | newest) "$1" ;; path) path "$2" ;; *) echo "usage: $0 main|newest|path VERSION" >&2; exit 2 ;; esac
