#!/bin/sh
# Installs what requirements.lock names, and cpr itself, into a virtual environment: with uv, or with pip where uv
# cannot be had. Both show how far they are.
#
#   install.sh .venv/bin/python
set -eu
python=$1
count=$(grep -c '^[A-Za-z0-9].*==' requirements.lock)

with_uv() {
    echo "$python: $count packages as locked, with uv"
    uv pip install --python "$python" --require-hashes -r requirements.lock &&
        uv pip install --python "$python" --no-deps -e .
}

with_pip() {
    echo "$python: $count packages as locked, with pip (some minutes; uv takes seconds)"
    "$python" -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
    "$python" -m pip install --disable-pip-version-check --no-deps -e .
}

# Where there is no uv, pip gets the one that is locked.
uv_with_pip() {
    wanted=$(mktemp)
    awk '/^uv==/ { found = 1 } found { print; if (!/\\$/) exit }' requirements.lock >"$wanted"
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$wanted" && status=0 || status=$?
    rm -f "$wanted"
    return "$status"
}

PATH="$PATH:$(cd "$(dirname "$python")" && pwd)"
if command -v uv >/dev/null || uv_with_pip; then
    # uv does not read pip's configuration, and so may not find the index that pip has been told of.
    with_uv || { echo "uv has failed; pip tries"; with_pip; }
else
    with_pip
fi
