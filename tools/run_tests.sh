#!/bin/sh
# Runs pytest; up to five tests that fail run once more, alone and one by one, and are named if they pass then.
# Usage: run_tests.sh PYTHON [arguments of pytest]
set -u
python=$1; shift
cache="pytest_cache_$$"
mkdir -p build
trap 'rm -rf "build/$cache" "build/$cache.txt"' EXIT
# A cache of its own: what failed in another run is not run again.
"$python" -m pytest -o cache_dir="build/$cache" "$@" && exit 0
code=$?
failed=$("$python" -c '
import json, pathlib, sys
path = pathlib.Path(sys.argv[1], "v/cache/lastfailed")
print(len(json.loads(path.read_text())) if path.exists() else 0)' "build/$cache")
# 1: tests failed. Anything else (interrupted, an error of pytest, no tests) is no matter of luck.
if [ "$code" -ne 1 ] || [ "$failed" -eq 0 ] || [ "$failed" -gt 5 ]; then exit "$code"; fi
echo "== $failed failed; once more, alone. What passes now depends on time, order or other processes: mend it."
"$python" -m pytest -o cache_dir="build/$cache" --last-failed --last-failed-no-failures none -v "$@" -n 0
