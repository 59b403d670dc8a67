"""`make dist`: wheel and sdist in dist/, checked, and the wheel tried in fresh environments.

python -m tools.distribution [--pythons 3.11,3.13] [--extras none,s3,all]

What is built has the version of cpr/_version.py. A tag of the commit must be that version: `v0.1.0`.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cpr._version import __version__

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
CHECKERS = ("build", "twine", "check-wheel-contents")
PYTHONS = ("3.11", "3.12", "3.13")

# What each extra must make possible; "none" works with any of them.
TRIALS = {
    "none": """
import numpy as np, pandas as pd, cpr
for target, data in (
    (cpr.ImageTarget.from_path("memory://dist/a.tif"), np.arange(12, dtype="uint16").reshape(3, 4)),
    (cpr.NumpyTarget.from_path("memory://dist/a.npy"), np.arange(3)),
    (cpr.CSVTarget.from_path("memory://dist/a.csv"), pd.DataFrame({"a": [1, 2]})),
):
    target.set_data(data)
    assert np.array_equal(cpr.load(target.serialize()).get_data(), data)
""",
    "s3": "import awscrt, obstore, s3fs",
    "gcs": "import gcsfs",
    "azure": "import adlfs",
    "dask": """
import dask.array as da, numpy as np, prefect_dask, cpr
target = cpr.NumpyTarget.from_path("memory://dist/a.npy")
target.set_data(da.ones((4, 4), chunks=2))
assert target.persist().get_data().sum() == 16
""",
    "parquet": """
import pandas as pd, cpr
target = cpr.ParquetTarget.from_path("memory://dist/a.parquet")
target.set_data(pd.DataFrame({"a": [1, 2]}))
assert target.persist().get_data()["a"].sum() == 3
""",
    "zarr": """
import numpy as np, cpr
target = cpr.OMEZarrTarget.from_path("memory://dist/a.ome.zarr", metadata={"axes": "YX"})
target.set_data(np.ones((64, 64), "uint8"))
assert cpr.load(target.serialize()).get_data(level=0)[:].sum() == 4096
""",
    "blake3": """
import os; os.environ["CPR_CHECKSUM"] = "blake3"
import numpy as np, cpr
target = cpr.NumpyTarget.from_path("memory://dist/a.npy")
target.set_data(np.arange(3))
assert target.persist().checksum.startswith("blake3:")
""",
    "openlineage": "import openlineage.client, cpr.prefect.lineage_events",
}

# The package of each extra, and what cannot be done without it. Of OpenLineage's lack the log alone tells.
LACKS = {
    "s3": ("s3fs", 'cpr.ImageSource.from_path("s3://bucket/a.tif").get_data()'),
    "gcs": ("gcsfs", 'cpr.ImageSource.from_path("gs://bucket/a.tif").get_data()'),
    "azure": ("adlfs", 'cpr.ImageSource.from_path("az://container/a.tif").get_data()'),
    "dask": ("dask", "image.get_dask()"),
    "parquet": ("pyarrow", 'cpr.ParquetTarget.from_path("memory://dist/a.parquet").set_data(frame)'),
    "zarr": ("zarr", 'cpr.ZarrTarget.from_path("memory://dist/a.zarr")'),
    "blake3": (
        "blake3",
        'target.set_data(np.arange(4)); os.environ["CPR_CHECKSUM"] = "blake3"; target.persist()',
    ),
}


def lacking(extras: Sequence[str]) -> str:
    """A program that does what cannot be done without these extras: each error names the line for it."""
    tried = {extra: LACKS[extra][1] for extra in extras}
    return f"""{TRIALS["none"]}
import os, pydoc
from cpr import *
pydoc.render_doc(cpr)
assert all(hasattr(cpr, name) for name in cpr.__all__)
frame = pd.DataFrame({{"a": [1]}})
target = cpr.NumpyTarget.from_path("memory://dist/lacking.npy")
target.set_data(np.arange(3))
image = cpr.ImageTarget.from_path("memory://dist/lacking.tif")
image.set_data(np.ones((3, 4), "uint8"))
for extra, use in {tried!r}.items():
    try:
        exec(use)
    except cpr.MissingDependencyError as error:
        assert error.remedy.replace("'", '"') == f'pip install "prefect-cpr[{{extra}}]"', error.remedy
    else:
        raise AssertionError(f"{{use}} works without {{extra}}")
"""


TRIALS["all"] = "".join(f"{text.strip()}\n" for extra, text in TRIALS.items() if extra != "blake3")


def main(arguments: Sequence[str]) -> int:
    """Build, check, try; the exit code."""
    parser = argparse.ArgumentParser(prog="make dist", description="build, check and try the distribution")
    parser.add_argument("--pythons", default=",".join(PYTHONS), help="versions to try the wheel on")
    parser.add_argument("--extras", default=",".join(TRIALS), help="extras to try it with")
    chosen = parser.parse_args(arguments)
    _require_tag()
    with tempfile.TemporaryDirectory(prefix="cpr-dist-") as folder:
        wheel = _build(Path(folder))
        for version in chosen.pythons.split(","):
            python = _python(version)
            if python is None:
                print(f"Python {version}: not here, not tried")
                continue
            for extra in chosen.extras.split(","):
                _try(python, version, wheel, extra, Path(folder))
    return 0


def _require_tag() -> None:
    tags = subprocess.run(
        ["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    if tags and f"v{__version__}" not in tags:
        sys.exit(f"this commit is tagged {', '.join(tags)}, and cpr/_version.py says {__version__}")


def _build(folder: Path) -> Path:
    """The wheel; it and the sdist are in dist/, and nothing else."""
    shutil.rmtree(DIST, ignore_errors=True)
    python = _environment(Path(sys.executable), folder / "checkers", *CHECKERS)
    _run(python, "-m", "build", "--outdir", DIST, ROOT)
    made = sorted(DIST.iterdir())
    _run(python, "-m", "twine", "check", "--strict", *made)
    wheel = next(one for one in made if one.suffix == ".whl")
    _run(python.with_name("check-wheel-contents"), wheel)
    return wheel


def _try(python: Path, version: str, wheel: Path, extra: str, folder: Path) -> None:
    wanted = str(wheel) if extra == "none" else f"prefect-cpr[{extra}] @ {wheel.as_uri()}"
    there = _environment(python, folder / f"{version}-{extra}", wanted)
    # In a folder without a checkout, which could be imported in its place.
    _run(there, "-c", TRIALS[extra], folder=folder)
    _run(there, "-c", lacking([one for one in LACKS if extra not in (one, "all")]), folder=folder)
    _run(there.with_name("cpr"), "--help", folder=folder)
    print(f"Python {version}, {wheel.name} with extra {extra}: works")
    shutil.rmtree(there.parents[1])


def _environment(python: Path, folder: Path, *packages: str) -> Path:
    """A new one, with what is asked for and all it needs: by uv in seconds, else by pip in minutes."""
    found = folder / "bin" / "python"
    if _try_uv("venv", "--python", python, folder):
        if _try_uv("pip", "install", "--python", found, *packages):
            return found
        shutil.rmtree(folder)
    _run(python, "-m", "venv", folder)
    _run(found, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    return found


def _try_uv(*arguments: object) -> bool:
    # It does not read pip's configuration, and so may not find the index that pip has been told of.
    command = [sys.executable, "-m", "uv", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def _python(version: str) -> Path | None:
    asked = ["sh", "tools/pythons.sh", "path", version]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    return Path(shutil.which(found) or found) if found else None


def _run(program: Path, *arguments: object, folder: Path = ROOT) -> None:
    command = [str(program), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
