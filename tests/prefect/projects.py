"""Small projects of a user's own, generated: what a task may use, and edits of it with and without effect."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import random
import re
import sys
import textwrap
import time
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

Files = dict[str, str]


@dataclass(frozen=True)
class Feature:
    """Something that a task uses.

    Attributes:
        name: of the kind of thing.
        files: text by file, `{n}` and `{m}` being numbers that an edit changes.
        use: statements in the task's body, which add to `total`.
        imports: at the head of the task's file.
    """

    name: str
    files: Files
    use: str
    imports: str


def parts_of(text: str) -> dict[str, dict[str, str]]:
    """By name, what follows `=== name`: parts under `--- head`, `--- use` and `--- file`."""
    found = {}
    for block in text.split("=== ")[1:]:
        name, *parts = re.split("^--- ", block, flags=re.MULTILINE)
        found[name.strip()] = dict(part.partition("\n")[::2] for part in parts)
    return found


def _features(file: str) -> Iterator[Feature]:
    for name, texts in parts_of((Path(__file__).parent / file).read_text()).items():
        use = textwrap.indent(texts.pop("use"), "    ").rstrip()
        yield Feature(name, use=use, imports=texts.pop("head", "").rstrip(), files=texts)


FEATURES = list(_features("features.txt"))
# Most of these name modules, whose files count whole: in projects they are rarer than they would be drawn.
BY_NAME = list(_features("features_by_name.txt"))

# Edits without effect: text of a module, what is put in, and whether it stands at the end.
IDLE = [
    ("# a comment\n", "comment"),
    ("\n\n\n", "blank lines"),
    ("def not_used(x):\n    return x * 12345\n", "function that nothing uses"),
    ("NOT_USED = 12345\n", "constant that nothing uses"),
    ("class NotUsed:\n    x = 1\n", "class that nothing uses"),
]


@dataclass
class Project:
    """A project with some features, and numbers in them."""

    features: list[Feature]
    numbers: dict[tuple[str, str], int]
    additions: dict[str, str] = field(default_factory=dict)

    def files(self) -> Files:
        found: Files = {}
        imports, uses = [], []
        for one in self.features:
            numbers = {name: self.numbers[one.name, name] for name in "nm"}
            found |= {path: text.format(**numbers) for path, text in one.files.items()}
            imports.append(one.imports.format(**numbers))
            uses.append(one.use.format(**numbers))
        flow = [
            "import functools",
            "import cpr",
            *imports,
            "@cpr.task",
            "def task(x):",
            "    total = 0",
            *uses,
            "    return total",
            "",
        ]
        found["flow.py"] = "\n".join(flow)
        for path, text in self.additions.items():
            found[path] = text + found[path] if text.startswith(("#", "\n")) else found[path] + text
        return found


def project(seed: int, size: int = 6) -> Project:
    rng = random.Random(seed)
    chosen = rng.sample(FEATURES, size)
    numbers = {(one.name, name): rng.randint(2, 9) for one in chosen for name in "nm"}
    return Project(chosen, numbers)


def edits(base: Project, seed: int, count: int) -> Iterator[tuple[str, Project]]:
    """Edits of a project: mostly of what its task uses, some of what it does not."""
    rng = random.Random(seed)
    for _ in range(count):
        one = rng.choice(base.features)
        if rng.random() < 0.7:
            name = rng.choice(
                [n for n in "nm" if f"{{{n}}}" in "".join([*one.files.values(), one.imports, one.use])]
            )
            changed = {**base.numbers, (one.name, name): base.numbers[one.name, name] + rng.randint(1, 5)}
            yield f"{one.name}: {name}", Project(base.features, changed)
        else:
            text, what = rng.choice(IDLE)
            path = rng.choice([*(one.files or {"flow.py": ""})])
            yield f"{one.name}: {what}", Project(base.features, base.numbers, {path: text})


_started = time.time_ns() - 3_600_000_000_000
_ticks = itertools.count()


@contextlib.contextmanager
def imported(folder: Path, files: Files) -> Iterator[types.ModuleType]:
    """The project's flow, imported from a folder, and forgotten afterwards."""
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        # Written before the process began, as files are that a process imports.
        os.utime(folder / path, ns=(_started, _started - next(_ticks)))
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield importlib.import_module("flow")
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith(str(folder)):
                del sys.modules[name]
