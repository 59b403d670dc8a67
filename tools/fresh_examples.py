"""`make examples`: all blocks of README, of the site and of docstrings, in environments made as README says.

python -m tools.fresh_examples [--only TEXT]

The install lines are README's own, typed in a copy of this checkout: those of Start for Start, those with
all extras for the rest. What is run there are scripts, shell lines and docstrings, with a MinIO and a Prefect
server beside them; cpr is what pip has installed. Blocks that need a cluster, as the page says, are counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from demo.__main__ import put_images
from tests.flows.typed_pages import DEPLOYMENTS, type_deployments, type_in, type_start
from tests.minio.server import S3Server, running_server
from tests.predecessor.written import image_target
from tools.doc_blocks import PAGES, START, Block, fill_raw, install_lines
from tools.pictures import prefect_server

ROOT = Path(__file__).parents[1]

# What README's blocks define and do not call.
_AFTERWARDS = {
    "README.md": """
if __name__ == "__main__":
    print([target.url for target in on_dask("s3://my-bucket/raw", "s3://my-bucket/dask")])
    print([target.url for target in in_a_folder("s3://my-bucket/raw", "/data/results")])
    laws = TestJson()
    [getattr(laws, name)() for name in dir(laws) if name.startswith("test_")]
"""
}
# What the commands of the pages are about: two runs of the demo.
_RUNS = """
from demo.flow import analyse
from prefect.filesystems import RemoteFileSystem

RemoteFileSystem(basepath="s3://my-bucket/records").save("commands", overwrite=True)
stored = analyse.with_options(result_storage="remote-file-system/commands")
for weight in (8.0, 12.0):
    stored("s3://my-bucket/raw", "s3://my-bucket/results", weight)
"""


@dataclass(frozen=True)
class Place:
    """Where something is tried: programs of an environment, a folder and a URL, and the server there."""

    programs: Path
    folder: Path
    url: str
    server: S3Server

    def here(self, text: str) -> str:
        """A page's text with this place's bucket and folders."""
        found = text.replace("s3://my-bucket", self.url)
        return re.sub(r"(?<=[\s\"])/(data|archive)\b", rf"{self.folder}/\1", found)

    def python(self, *arguments: str) -> str:
        """What Python prints; modules of this folder can be imported."""
        return run([str(self.programs / "python"), *arguments], self.folder, PYTHONPATH=str(self.folder))

    def script(self, text: str) -> str:
        """Save it and run it, as a reader does; what it prints."""
        (self.folder / "page.py").write_text(self.here(text))
        return self.python("page.py")


def run(command: Sequence[str], folder: Path, timeout: float = 600, **variables: str) -> str:
    """What a command prints. Raises AssertionError with all it says where it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def make_environment(folder: Path, lines: Sequence[str]) -> Path:
    """The programs of an environment: README's lines, typed in a copy of the checkout."""
    changed = _git("stash", "create").decode().strip()
    with tarfile.open(fileobj=io.BytesIO(_git("archive", changed or "HEAD"))) as archive:
        archive.extractall(folder, filter="data")
    python = f'python3() {{ "{sys.executable}" "$@"; }}'
    run(["bash", "-e", "-c", "\n".join([python, *lines])], folder, timeout=1800)
    return folder / "env" / "bin"


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


# ---- what is tried


def run_start(place: Place) -> None:
    """Start, as typed."""
    type_start(place.folder, place.url, place.server.environment(), place.programs)


def run_deployments(place: Place) -> None:
    """The page on deployments, as typed."""
    type_deployments(place.folder, place.url, place.server.environment(), place.programs)


def run_page(page: str, place: Place) -> None:
    """The Python blocks of a page, one after the other."""
    fill_raw(place.url)
    place.script("\n\n".join([*(block.text for block in to_run(page, "python")), _AFTERWARDS.get(page, "")]))


def run_docstrings(place: Place) -> None:
    """The examples of docstrings, by tools/doc_blocks.py, of the cpr that is installed."""
    for name in ("tools", "tests"):
        (place.folder / name).symlink_to(ROOT / name)
    print(place.python("-m", "tools.doc_blocks").strip())


def run_commands(place: Place) -> None:
    """All lines with `cpr`, typed to what two runs of the demo, and the library before cpr, have left."""
    put_images(f"{place.url}/raw")
    (place.folder / "demo").symlink_to(ROOT / "demo")
    place.script(_RUNS)
    listed = json.loads(
        run([str(place.programs / "cpr"), "ls", f"{place.url}/records", "--json"], place.folder)
    )
    old = place.folder / "data" / "prefect-storage"
    old.mkdir(parents=True)
    (old / "record").write_text(json.dumps(image_target(old, np.eye(9, dtype="uint8"))))
    (settings,) = to_run("README.md", "toml")
    (place.folder / "storage.toml").write_text(settings.text)
    lines = [
        f"export PREFECT_API_URL={os.environ['PREFECT_API_URL']}",
        "set -x",
        "CPR_STORAGE=storage.toml cpr doctor /data",
        *(block.text for page in PAGES for block in commands_of(page)),
    ]
    typed = "\n".join(lines)
    for written, run_of in zip(("6b3ac873", "91f0c2aa"), listed["runs"], strict=True):
        typed = typed.replace(written, run_of["flow_run"][:8])
    # An exit code of 1 says that two runs differ, one of 3 that a store has no checksums of a Zarr.
    for told, code in {r"cpr diff [^#\n]*": 1, r"cpr verify [^#\n]*--by-store": 3}.items():
        typed = re.sub(rf"^({told}).*", rf"\1 || test $? = {code}", typed, flags=re.MULTILINE)
    type_in(place.folder, place.here(typed), place.server.environment(), place.programs)


def to_run(page: str, language: str) -> list[Block]:
    """The blocks of a page, in a language, that one machine can run."""
    return [block for block in PAGES[page] if block.language == language and not block.needs]


def commands_of(page: str) -> list[Block]:
    """The shell blocks of a page that is not typed as a whole: commands of cpr."""
    typed = {START, DEPLOYMENTS}
    return [one for one in to_run(page, "shell") if page not in typed and one.text.startswith("cpr ")]


# ---- and counted


@dataclass
class Trial:
    """What has been tried: blocks by what became of them, and what went wrong by name."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, name: str, count: int, place: Place, tried: Callable[[Place], None]) -> None:
        """Try something that runs so many blocks."""
        place.folder.mkdir()
        start = time.monotonic()
        try:
            tried(place)
        except Exception as error:
            self.failed[name] = f"{type(error).__name__}: {error}"
        word = "failed" if name in self.failed else "passed"
        blocks = f"{count} blocks " if count else ""  # docstrings have counted theirs
        print(f"{name}: {blocks}{word}, {time.monotonic() - start:.0f} s", flush=True)
        self.counts["failed" if name in self.failed else "run"] += count


def count_others(counts: Counter[str]) -> None:
    """Blocks that nobody runs, by why."""
    for page, blocks in PAGES.items():
        for block in blocks:
            if block.needs:
                counts[f"not run: needs {block.needs}"] += 1
            elif block.language in {"text", "mermaid"}:
                counts["not code: what is printed or drawn"] += 1
            elif block.language in {"json", "yaml"}:
                counts["files for other programs: tests/io and tests/flows try them"] += 1
            elif block.language == "shell" and block.text.startswith("make "):
                counts["make, which has an environment of its own"] += 1
            elif block.language not in {"python", "shell", "toml"}:
                counts[f"UNKNOWN: {block.language} on {page}"] += 1


def trials() -> dict[str, tuple[str, int, Callable[[Place], None]]]:
    """By name: in which environment, how many blocks, and what runs them."""
    whole = {START: run_start, DEPLOYMENTS: run_deployments}
    found: dict[str, tuple[str, int, Callable[[Place], None]]] = {}
    for page in PAGES:
        count = len(to_run(page, "python"))
        if page in whole:
            name = "start" if page == START else "all"
            found[page] = (name, count + len(to_run(page, "shell")), whole[page])
        elif count:
            found[page] = ("all", count, partial(run_page, page))
    commands = [block for page in PAGES for block in commands_of(page)]
    found["commands"] = ("all", len(commands) + 1, run_commands)  # and one of TOML
    found["docstrings"] = ("all", 0, run_docstrings)
    return found


def main(arguments: Sequence[str]) -> int:
    """Make the environments, try everything, count; the exit code."""
    parser = argparse.ArgumentParser(prog="make examples", description="run all examples as a newcomer would")
    parser.add_argument("--only", default="", metavar="TEXT", help="try what has this in its name")
    only = parser.parse_args(arguments).only
    chosen = {name: one for name, one in trials().items() if only in name}
    trial = Trial()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cpr-examples-")))
        server = stack.enter_context(running_server(build=True, say=print))
        stack.enter_context(server.exported())
        environments: dict[str, Path] = {}
        for name in dict.fromkeys(name for name, _, _ in chosen.values()):
            lines = install_lines()[name]
            print(*lines, sep="\n", flush=True)
            environments[name] = make_environment(folder / name, lines)
        (folder / "prefect").mkdir()
        python = str(next(iter(environments.values())) / "python")
        stack.enter_context(prefect_server(folder / "prefect", python))
        for number, (name, (environment, count, tried)) in enumerate(chosen.items()):
            url = f"s3://{server.bucket}/{number}"
            place = Place(environments[environment], folder / f"try-{number}", url, server)
            trial.attempt(name, count, place, tried)
    count_others(trial.counts)
    for name, text in trial.failed.items():
        print(f"\n---- {name}\n{text}")
    print(*(f"{count:4} blocks: {what}" for what, count in trial.counts.items()), sep="\n")
    return 1 if trial.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
