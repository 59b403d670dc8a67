#!/bin/sh
# Installs what requirements.lock names, and cpr itself, into a virtual environment: with uv where it is, else with
# pip. Both show how far they are.
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
    echo "$python: $count packages as locked, with pip (some minutes; uv takes seconds where it is installed)"
    "$python" -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
    "$python" -m pip install --disable-pip-version-check --no-deps -e .
}

if command -v uv >/dev/null; then
    # uv does not read pip's configuration, and so may not find the index that pip has been told of.
    with_uv || { echo "uv has failed; pip tries"; with_pip; }
else
    with_pip
fi
