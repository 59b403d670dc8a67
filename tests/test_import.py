"""What importing cpr costs, and that the lower layers live without prefect."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import cpr

LOWER = (
    "Resource",
    "Source",
    "Target",
    "records.registry",
    "provenance.provenance_record",
    "provenance.why_not_reused",
    "provenance.inputs_journal",
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
        "heavy = 'prefect pandas zarr dask tifffile distributed numpy pydantic fsspec'.split()\n"
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


# The names that users' code relies on, as they may be spelled.
FIXED = {
    "cpr.Resource": ["Resource"],
    "cpr.Source": ["Source"],
    "cpr.Target": ["Target"],
    "cpr.Serializer": ["cpr_serializer", "target_encoder", "target_decoder"],
    "cpr.utilities.utilities": ["task_input_hash", "hash_objects"],
    "cpr.image.ImageSource": ["ImageSource"],
    "cpr.image.ImageTarget": ["ImageTarget"],
    "cpr.csv.CSVSource": ["CSVSource"],
    "cpr.csv.CSVTarget": ["CSVTarget"],
    "cpr.parquet.ParquetSource": ["ParquetSource"],
    "cpr.parquet.ParquetTarget": ["ParquetTarget"],
    "cpr.numpy.NumpySource": ["NumpySource"],
    "cpr.numpy.NumpyTarget": ["NumpyTarget"],
    "cpr.zarr.ZarrSource": ["ZarrSource"],
    "cpr.zarr.ZarrTarget": ["ZarrTarget"],
    "cpr.zarr.OMEZarrSource": ["OMEZarrSource"],
    "cpr.zarr.OMEZarrTarget": ["OMEZarrTarget"],
}
ERRORS = (
    "CprError, ResourceError, ResourceNotFoundError, CorruptDataError, NoDataError, TransferError, "
    "FormatError, UnsupportedExtensionError, EncodeError, DecodeError, RecordError, DuplicateTypeError, "
    "MissingDependencyError"
)

EACH_IN_A_FORK = """
import os, sys
import numpy, pandas, prefect, pyarrow, tifffile, zarr
for code in eval(sys.stdin.read()):
    if (pid := os.fork()) == 0:
        try:
            exec(code, {})
        except BaseException as error:
            os.write(1, f"{code}{error!r}".encode())
            os._exit(1)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_every_spelling_of_an_import_gives_the_same():
    """Each in a process where nothing of cpr was imported, in both orders."""
    codes = []
    for module, names in FIXED.items():
        package = module.rpartition(".")[0]
        for name in names:
            codes += [
                f"""
from {module} import {name} as a
from cpr import {name} as b
import {module}, importlib
c = importlib.import_module({module!r}).{name}
assert a is b is c is {module}.{name}, (a, b, c)
""",
                f"""
import {module}
from {module} import {name}
from {package} import {name} as b
from cpr import {name} as c
assert b is c is {name}
"""
                if package not in ("cpr", "cpr.utilities")
                else f"from cpr import {name} as a\nfrom {module} import {name}\nassert a is {name}\n",
            ]
    done = subprocess.run(
        # Python 3.12 and later warn of forks beside the threads of numpy's BLAS.
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", EACH_IN_A_FORK],
        input=repr(codes),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout + done.stderr == ""


def test_every_public_name_is_there():
    run(
        "import cpr\n"
        "for name in cpr.__all__: getattr(cpr, name)\n"
        "assert set(cpr.__all__) == {*cpr._NAMES, 'load'} <= set(dir(cpr))\n"
        "from cpr import *\n"
        f"task, TargetInputs, register, load, {ERRORS}"
    )


def test_what_type_checkers_see_is_what_there_is():
    """The names under TYPE_CHECKING come from the modules that they are imported from when first used."""
    seen = {}
    for node in ast.walk(ast.parse(Path(cpr.__file__).read_text())):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for one in node.body:
                assert isinstance(one, ast.ImportFrom) and one.module
                names = [alias.name for alias in one.names]
                names = cpr.errors.__all__ if names == ["*"] else names
                seen |= {name: getattr(importlib.import_module(one.module), name) for name in names}
    assert seen == {name: getattr(cpr, name) for name in cpr._NAMES}


@pytest.mark.slow
def test_without_zarr_everything_is_there_and_says_what_it_lacks():
    code = """
    import sys
    sys.modules["zarr"] = None  # as if it were not installed
    import pydoc, cpr
    from cpr import *
    assert hasattr(cpr, "ZarrTarget") and issubclass(OMEPlateSource, object)
    assert not isinstance(1, cpr.ZarrTarget)
    pydoc.render_doc(cpr)
    record = {"__cpr__": {"type": "ZarrTarget", "location": "/data", "name": "a", "ext": ".zarr"}}
    for use in (
        lambda: cpr.ZarrTarget.from_path("a.zarr"),
        OMEZarrSource,
        lambda: cpr.ZarrSource.glob("*"),
        lambda: cpr.load(record),
    ):
        try:
            use()
        except cpr.MissingDependencyError as error:
            assert error.remedy == 'pip install "prefect-cpr[zarr]"', error.remedy
        else:
            raise AssertionError
    print(cpr.NumpyTarget.from_path("memory://a/b.npy").name)
    """
    assert run(textwrap.dedent(code)) == "b\n"
