"""A new kind of storage, from outside the package: one module, and nothing of cpr's is edited."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from fsspec.registry import _registry as registered

import cpr
from cpr import io
from cpr.errors import DuplicateTypeError, RecordError
from cpr.io import protocols
from cpr.io.locks.compare_and_swap import require_conditional
from cpr.io.objects import open_store
from tests.io.backend_cases import BackendTests
from tests.text_format import TextTarget

MODULE = '''
"""Storage under lab://, as another package would bring it."""

from fsspec import register_implementation
from fsspec.implementations.memory import MemoryFileSystem

from cpr.io.protocols import StorageKind
from cpr.io.stores.memory import MemoryStore


class LabFileSystem(MemoryFileSystem):
    protocol = ("lab", "lab2")
    store = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.partition("://")[2] if "://" in path else path)

    def unstrip_protocol(self, name):
        return f"lab:/{name}"


for name in LabFileSystem.protocol:
    register_implementation(name, LabFileSystem, clobber=True)


class LabStore(MemoryStore):
    opened = []

    @classmethod
    def open(cls, url):
        cls.opened.append(url)
        return super().open(url)


KIND = StorageKind(
    ("lab", "lab2"),
    store=f"{__name__}:LabStore",
    authority="bucket",
    literal_keys=True,
    extra="lab",
    variables=("LAB_",),
)
'''


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The module, importable and declared by an entry point, as installing its package does."""
    name = f"lab_storage_{uuid.uuid4().hex[:8]}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    info = tmp_path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[cpr.storage]\nlab = {name}:KIND\nlab2 = {name}:KIND\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setattr(protocols, "_table", dict(protocols._table))
    yield name
    sys.modules.pop(name, None)
    for protocol in ("lab", "lab2"):
        registered.pop(protocol, None)


class TestLab(BackendTests):
    """It keeps all promises of the others."""

    @pytest.fixture
    def base(self, lab):
        return f"lab://bucket/{uuid.uuid4().hex}"


def test_everything_follows_from_its_row(lab, monkeypatch):
    target = TextTarget.from_path("lab://bucket/results/a.txt")
    target.set_data("text")
    record = target.serialize()
    assert record["__cpr__"]["location"] == "lab://bucket/results"
    assert cpr.load(record).get_data() == "text"
    assert list(io.find("lab://bucket/results/*")) == [target.url]
    assert target.url in sys.modules[lab].LabStore.opened
    require_conditional("lab://bucket/results")
    io.remove(target.url)
    assert io.lookup(target.url) is None
    # Its authority is the name of a bucket: a user in front of it is a secret, a host is none.
    with pytest.raises(cpr.CprError, match="carries a secret"):
        io.normalise("lab://me@bucket/a.txt")
    first = open_store("lab://bucket/a.txt")[0]._fs
    assert open_store("lab2://other/b.txt")[0]._fs is not first
    assert open_store("lab://other/a.txt")[0]._fs is first
    monkeypatch.setenv("LAB_KEY", "changed")
    assert open_store("lab://other/a.txt")[0]._fs is not first


def test_records_may_not_name_what_no_row_allows():
    with pytest.raises(RecordError, match="may not name this location"):
        cpr.load({"__cpr__": {"type": "NumpySource", "location": "lab://bucket", "name": "a", "ext": ".npy"}})


def test_no_two_kinds_share_a_protocol(monkeypatch):
    monkeypatch.setattr(protocols, "_table", dict(protocols._table))
    with pytest.raises(DuplicateTypeError, match="one protocol"):
        protocols.register_storage(protocols.StorageKind(("lab", "s3")))
    assert protocols.register_storage(protocols.kind_of("s3")) is protocols.kind_of("s3a")


def test_every_protocol_stands_in_one_row():
    names = [protocol for kind in protocols._BUILT_IN for protocol in kind.protocols]
    assert len(names) == len(set(names))


def test_importing_the_table_imports_no_client():
    code = "import sys, cpr.io.protocols; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"s3fs", "gcsfs", "paramiko", "obstore"} & set(done.stdout.split())


def test_no_other_module_lists_protocols():
    """What depends on a protocol stands in its row; the modules of the stores know their own names."""
    allowed = {"protocols.py", "stores/s3.py", "stores/gcs.py", "stores/glob.py"}
    root = Path(protocols.__file__).parent
    for path in root.rglob("*.py"):
        if str(path.relative_to(root)) in allowed:
            continue
        text = path.read_text()
        for name in ('"s3a"', '"gcs"', '"sftp"', '"ssh"', '"az"', '"memory"', '"gs"'):
            assert name not in text, (path, name)
