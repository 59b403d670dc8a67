"""What importing cpr costs, and that the lower layers live without prefect."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOWER = (
    "Resource",
    "Source",
    "Target",
    "records.registry",
    "provenance.made",
    "provenance.diff",
    "provenance.journal",
    "format",
    "data.arrays",
    "io",
    "errors",
    "testing",
    "image",
    "csv",
    "numpy",
    "operations.show",
    "operations.verify",
    "records.unpack",
    "cli.app",  # and with it all commands
)

BLOCK_PREFECT = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "prefect":
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
"""


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_importing_cpr_imports_nothing_heavy():
    heavy = run(
        "import sys, cpr\n"
        "heavy = ('prefect', 'pandas', 'zarr', 'dask', 'tifffile', 'distributed')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    assert heavy.strip() == "[]"


@pytest.mark.parametrize("module", LOWER)
def test_lower_layers_import_without_prefect(module):
    assert (
        run(f"{BLOCK_PREFECT}\nimport cpr.{module}, sys\nprint('prefect' in sys.modules)").strip() == "False"
    )


def test_a_record_loads_without_prefect(tmp_path):
    path = tmp_path / "a.npy"
    code = f"""{BLOCK_PREFECT}
import json, numpy, cpr
target = cpr.NumpyTarget.from_path({str(path)!r})
target.set_data(numpy.arange(5))
print(cpr.load(json.dumps(target.serialize())).get_data().tolist())
"""
    assert run(code).strip() == "[0, 1, 2, 3, 4]"


NAMES = [
    ("cpr.Resource", "Resource"),
    ("cpr.Source", "Source"),
    ("cpr.Target", "Target"),
    ("cpr.image.ImageSource", "ImageSource"),
    ("cpr.image.ImageTarget", "ImageTarget"),
    ("cpr.csv.CSVSource", "CSVSource"),
    ("cpr.csv.CSVTarget", "CSVTarget"),
    ("cpr.numpy.NumpySource", "NumpySource"),
    ("cpr.numpy.NumpyTarget", "NumpyTarget"),
    ("cpr.zarr.ZarrSource", "ZarrSource"),
    ("cpr.zarr.OMEZarrTarget", "OMEZarrTarget"),
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_spelling_of_an_import_gives_the_class(module, name):
    package = module.rpartition(".")[0]
    run(
        f"""
from {package} import {name} as a
from {module} import {name} as b
from cpr import {name} as c
import {module}
d = {module}.{name}
import importlib
e = importlib.import_module({module!r}).{name}
assert a is b is c is d is e and isinstance(a, type), (a, b, c, d, e)
"""
    )
    run(
        f"import {module}\nfrom {module} import {name}\nfrom {package} import {name} as b\nassert b is {name}"
    )


def test_every_public_name_is_there():
    run("import cpr\nfor name in cpr.__all__: getattr(cpr, name)\nassert set(cpr.__all__) <= set(dir(cpr))")


def test_fixed_names():
    run(
        "from cpr.Serializer import cpr_serializer, target_encoder, target_decoder\n"
        "from cpr.utilities.utilities import task_input_hash, hash_objects\n"
    )
