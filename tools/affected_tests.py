"""The tests of what has changed since main, one a line: what `make quick` runs.

A test belongs to a changed module if it is where the module is (tests/io/locks for cpr/io/locks), or imports
it, or imports a changed part of the tests; a module without tests of its own is tested where it is used. What
is farther away is for `make check`.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
# A module that more test files import than this, such as cpr.errors, calls for its own tests alone.
MANY = 12


def changed(base: str = "main") -> set[str]:
    """Files that differ from where this branch left `base`; on `base` itself, from its last commit."""
    fork = _git("merge-base", "HEAD", base) or _git("merge-base", "HEAD", f"origin/{base}")
    start = fork[0] if fork and fork != _git("rev-parse", "HEAD") else "HEAD"
    names = _git("diff", "--name-only", start) + _git("ls-files", "--others", "--exclude-standard")
    return {name for name in names if (ROOT / name).exists()}


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def mirrored(module: str) -> set[str]:
    """The tests that lie where a module of cpr lies: the one of its name, or else all of its folder."""
    *folders, name = module.removeprefix("cpr.").split(".")
    folder = ROOT.joinpath("tests", *folders)
    if (folder / name).is_dir():
        folder, name = folder / name, "*"
    tests = list(folder.glob(f"test_{name.lower()}.py"))
    if not tests and folders:
        tests = list(folder.rglob("test_*.py"))
    return {str(test.relative_to(ROOT)) for test in tests}


def affected(files: set[str]) -> set[str]:
    """The test files that these changes call for."""
    graph = grimp.build_graph("cpr", "tests", exclude_type_checking_imports=False, cache_dir=None)
    found: set[str] = set()
    for file in files:
        module = ".".join(Path(file).with_suffix("").parts).removesuffix(".__init__")
        if not file.endswith(".py") or module not in graph.modules:
            continue
        if module.startswith("tests"):
            found |= _tests({module, *graph.find_downstream_modules(module)})
        elif module != "cpr":  # whose names nearly every test imports
            users = graph.find_modules_that_directly_import(module)
            direct = _tests(users)
            found |= direct if len(direct) <= MANY else set()
            mine = mirrored(module)
            if not mine:
                mine = set().union(*(mirrored(user) for user in users if user.startswith("cpr.")))
            found |= mine
    return found


def _tests(modules: set[str]) -> set[str]:
    return {name.replace(".", "/") + ".py" for name in modules if name.rpartition(".")[2].startswith("test_")}


def main() -> int:
    """Print them."""
    for file in sorted(affected(changed(*sys.argv[1:]))):
        print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
