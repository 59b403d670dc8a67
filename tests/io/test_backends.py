"""Every backend keeps the same promises."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import fsspec.config
import numpy as np
import pytest

import cpr
from cpr import io
from cpr.errors import CorruptDataError, ResourceNotFoundError, TransferError
from cpr.io.objects import open_store
from tests.io.backend_cases import BackendTests, MiB
from tests.minio.process import free_ports
from tests.servers.azure import ACCOUNT
from tests.servers.sftp import FORBIDDEN
from tests.text_format import TextSource, TextTarget


def require_never_created(url: str) -> None:
    """What is written to, or asked of, a bucket that is not there fails, again and again."""
    for _ in range(2):
        target = TextTarget.from_path(url)
        target.set_data("text")
        with pytest.raises(ResourceNotFoundError, match="no such bucket"):
            target.persist()
    for ask in (io.stat, io.find, io.find_orphans, lambda url: io.find(f"{url}*")):
        with pytest.raises(ResourceNotFoundError, match="no such bucket"):
            ask(url)
    with pytest.raises(ResourceNotFoundError, match="no such bucket"), io.writing(url) as file:
        file.write(os.urandom(20 * MiB))


class TestLocal(BackendTests):
    @pytest.fixture
    def base(self, tmp_path):
        return str(tmp_path)

    def left_behind(self, base):
        return [os.path.join(folder, name) for folder, _, names in os.walk(base) for name in names]

    def test_no_permission(self, tmp_path):
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        tmp_path.chmod(0o500)
        target = TextTarget.from_path(tmp_path / "a.txt")
        target.set_data("text")
        with pytest.raises(TransferError, match="no permission"):
            target.persist()

    def test_read_only_file_system(self):
        target = TextTarget.from_path("/proc/cpr/a.txt")
        target.set_data("text")
        with pytest.raises((TransferError, ResourceNotFoundError)) as caught:
            target.persist()
        assert caught.value.url == target.url

    def test_a_folder_that_is_a_file(self, tmp_path):
        (tmp_path / "file").write_text("x")
        target = TextTarget.from_path(tmp_path / "file" / "a.txt")
        target.set_data("text")
        with pytest.raises(TransferError, match="not a folder"):
            target.persist()

    def test_disk_full(self):
        # /dev/full answers every write with ENOSPC; the upload's file stands on it.
        from cpr.io.publishing import WritingFile
        from cpr.io.stores.local import LocalStore

        upload = LocalStore().upload(os.path.join("/tmp", uuid.uuid4().hex))
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, upload._file)
        os.close(full)
        file = WritingFile("/tmp/a.bin", upload)
        with pytest.raises(TransferError, match="disk is full"):
            file.write(b"x" * MiB)
        upload.abort()


class TestFileUrl(TestLocal):
    @pytest.fixture
    def base(self, tmp_path):
        # file:// is spelled as a plain path everywhere after from_path.
        return io.normalise(f"file://{tmp_path}")


class TestMemory(BackendTests):
    @pytest.fixture
    def base(self):
        return f"memory://{uuid.uuid4().hex}"


@pytest.mark.s3
class TestS3(BackendTests):
    @pytest.fixture
    def base(self, s3_url, open_uploads):
        yield s3_url
        assert open_uploads() == []

    def test_a_missing_bucket_is_never_created(self):
        url = f"s3://cpr-{uuid.uuid4().hex}/a.txt"
        for _ in range(2):
            target = TextTarget.from_path(url)
            target.set_data("text")
            with pytest.raises(ResourceNotFoundError, match="no such bucket"):
                target.persist()
        for ask in (io.stat, io.find):
            with pytest.raises(ResourceNotFoundError, match="no such bucket"):
                ask(url)
        with pytest.raises(ResourceNotFoundError, match="no such bucket"), io.writing(url) as file:
            file.write(os.urandom(20 * MiB))

    @pytest.mark.real_s3
    def test_wrong_credentials(self, base, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-key")
        target = TextTarget.from_path(f"{base}/a.txt")
        target.set_data("text")
        with pytest.raises(TransferError) as caught:
            target.persist()
        assert "not-the-key" not in str(caught.value)
        assert caught.value.remedy

    def test_no_connection(self, base, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        with pytest.raises(TransferError) as caught:
            io.stat(f"{base}/a.txt")
        assert "127.0.0.1" not in str(caught.value)


class TestGCS(BackendTests):
    largest_with_condition = 8 * MiB  # tests/io/stores/test_gcs.py has the others

    @pytest.fixture
    def base(self, gs_url):
        return gs_url

    def test_a_missing_bucket_is_never_created(self, gcs_server):
        url = f"gs://cpr-{uuid.uuid4().hex}/a.txt"
        require_never_created(url)

    def test_no_connection(self, base, monkeypatch):
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
        with pytest.raises(TransferError) as caught:
            io.stat(f"{base}/a.txt")
        assert "127.0.0.1" not in str(caught.value)


class TestAzure(BackendTests):
    @pytest.fixture
    def base(self, az_url):
        return az_url

    def test_a_missing_container_is_never_created(self, azure_server):
        url = f"az://cpr-{uuid.uuid4().hex}/a.txt"
        require_never_created(url)

    def test_wrong_key(self, base, azure_server, monkeypatch):
        for name, value in azure_server.environment(key="bm90LXRoZS1rZXk=").items():
            monkeypatch.setenv(name, value)
        with pytest.raises(TransferError, match=r"no permission|secret key does not fit") as caught:
            io.stat(f"{base}/a.txt")
        assert "bm90LXRoZS1rZXk=" not in str(caught.value)

    def test_no_connection(self, base, azure_server, monkeypatch):
        (port,) = free_ports(1)
        for name, value in azure_server.environment(f"http://127.0.0.1:{port}").items():
            monkeypatch.setenv(name, value)
        with pytest.raises(TransferError, match="nothing answers") as caught:
            io.stat(f"{base}/a.txt")
        assert "127.0.0.1" not in str(caught.value)

    @pytest.mark.parametrize("protocol", ["abfs", "abfss"])
    def test_other_protocols_are_the_same_place(self, base, azure_server, protocol):
        target = TextTarget.from_path(f"{base}/a.txt")
        target.set_data("text")
        target.persist()
        rest = target.url.removeprefix("az://").removeprefix(azure_server.container)
        for container in (azure_server.container, f"{azure_server.container}@{ACCOUNT}.dfs.core.windows.net"):
            url = f"{protocol}://{container}{rest}"
            assert TextSource.from_path(url).get_data() == "text"
            assert list(io.find(url.replace(".txt", ".*"))) == [url]

    def test_the_account_of_a_url_is_the_one_that_is_asked(self, azure_server):
        url = f"abfss://{azure_server.container}@another.dfs.core.windows.net/a.txt"
        with pytest.raises(TransferError, match="another account") as caught:
            io.stat(url)
        assert "AZURE_STORAGE_CONNECTION_STRING" in caught.value.remedy

    def test_folders_of_hierarchical_accounts_are_no_objects(self, base, azure_server):
        """They are empty objects with a mark."""
        container, _, prefix = base.removeprefix("az://").partition("/")
        with azure_server.client() as client:
            blob = client.get_blob_client(container, f"{prefix}/folder")
            blob.upload_blob(b"", metadata={"hdi_isfolder": "true"})
        with io.writing(f"{base}/folder/a.txt") as file:
            file.write(b"x")
        assert list(io.find(f"{base}/*")) == []
        assert list(io.find(f"{base}/**")) == [f"{base}/folder/a.txt"]
        store, path = open_store(base)
        assert [entry.url for entry in store.walk(path)] == [f"{base}/folder/a.txt"]
        assert io.lookup(f"{base}/folder") is None

    def test_listings_of_many_pages(self, base, monkeypatch):
        store, path = open_store(base)
        names = [f"{folder}/{number}.txt" for folder in "ab" for number in range(4)]
        for name in names:
            with io.writing(f"{base}/{name}") as file:
                file.write(b"x")
        pages = type(store)._pages
        monkeypatch.setattr(
            type(store), "_pages", lambda *args, most=3, **given: pages(*args, most=most, **given)
        )
        assert [entry.url for entry in store.walk(path)] == [f"{base}/{name}" for name in names]
        assert list(io.find(f"{base}/*/*.txt")) == [f"{base}/{name}" for name in names]
        assert store.names_in(path) == {"a", "b"}

    def test_two_writers_of_one_large_object(self, base):
        """Their blocks have the same names: the second finds those that the first has put."""
        store, path = open_store(f"{base}/a.bin")
        data = os.urandom(20 * MiB)
        first, second = store.upload(path), store.upload(path)
        for start in range(0, len(data), 4 * MiB):
            for upload in (first, second):
                upload.write(memoryview(data)[start : start + 4 * MiB])
        first.commit()
        second.commit()
        assert store.fetch(path, 0, len(data)) == data

    @pytest.mark.parametrize(
        "options", [{"chunks": (1, 50, 60)}, {"chunks": (1, 50, 30), "shards": (1, 50, 60)}]
    )
    def test_zarr(self, base, options):
        """Through adlfs, which would take what follows a # for no part of the name."""
        target = cpr.ZarrTarget.from_path(f"{base}/a#b?c/a.zarr", **options)
        data = np.random.default_rng(0).integers(0, 99, (12, 50, 60), "uint16")
        target.set_data(data)
        again = cpr.load(target.serialize())
        assert np.array_equal(again.get_data()[...], data)
        assert again.verify() > 12
        assert len(io.find(f"{base}/a#b[?]c/*.zarr/c/**")) == 12
        with io.writing(f"{target.url}/c/3/0/0") as file:
            file.write(b"other")
        with pytest.raises(CorruptDataError):
            again.get_data()[3]

    def test_a_process_ends_quietly(self, base):
        """adlfs's own finalizers would wait for ever in a process that was forked."""
        code = f"""
import os
from cpr import io
print(io.lookup("{base}/a.txt"))
if os.fork() == 0:
    print(io.lookup("{base}/b.txt"), flush=True)
else:
    os.wait()
"""
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
        )
        assert done.stdout.split() == ["None"] * 3 or done.stdout.split() == ["None"] * 2
        assert "Unclosed" not in done.stderr and "Traceback" not in done.stderr


class TestSFTP(BackendTests):
    @pytest.fixture
    def base(self, sftp_url):
        return sftp_url

    def left_behind(self, base):
        store, path = open_store(base)
        return [entry.url for entry in store.walk(path)]

    def test_wrong_password(self, base, monkeypatch):
        monkeypatch.setitem(fsspec.config.conf["sftp"], "password", "not-the-password")
        with pytest.raises(TransferError, match="no usable credentials") as caught:
            io.stat(f"{base}/a.txt")
        assert "not-the-password" not in str(caught.value)

    def test_no_host(self, base):
        (port,) = free_ports(1)
        with pytest.raises(TransferError, match="check that the store is up"):
            io.stat(f"sftp://127.0.0.1:{port}/a.txt")

    def test_no_permission(self, base):
        target = TextTarget.from_path(f"{base}/{FORBIDDEN}/a.txt")
        target.set_data("text")
        with pytest.raises(TransferError, match="no permission to"):
            target.persist()
        with pytest.raises(TransferError, match="no permission to write"):
            io.writing(target.url).__enter__()
        with pytest.raises(TransferError, match="no permission to list"):
            io.find(f"{base}/{FORBIDDEN}/*.txt")

    def test_a_folder_that_is_a_file(self, base):
        with io.writing(f"{base}/file") as file:
            file.write(b"x")
        with pytest.raises((TransferError, ResourceNotFoundError)), io.writing(f"{base}/file/a.txt") as file:
            file.write(b"x")
        assert io.find(f"{base}/file/*") == {}

    def test_threads_read_through_one_connection(self, base, sftp_server):
        data = os.urandom(2 * MiB)
        with io.writing(f"{base}/a.bin") as file:
            file.write(data)
        sftp_server.drop()
        with ThreadPoolExecutor(8) as threads:

            def read(_):
                with io.ranged(f"{base}/a.bin") as file:
                    return file.read()

            assert set(threads.map(read, range(16))) == {data}
        assert len(sftp_server.connections) == 1

    def test_zarr(self, base):
        """Its threads use the same connection."""
        target = cpr.ZarrTarget.from_path(f"{base}/a.zarr", chunks=(1, 50, 60))
        data = np.random.default_rng(0).integers(0, 99, (12, 50, 60), "uint16")
        target.set_data(data)
        again = cpr.load(target.serialize())
        assert np.array_equal(again.get_data()[...], data)
        assert again.verify() > 12
        with io.writing(f"{target.url}/c/3/0/0") as file:
            file.write(b"other")
        with pytest.raises(CorruptDataError):
            again.get_data()[3]

    def test_a_server_that_was_restarted(self, base, sftp_server):
        with io.writing(f"{base}/a.txt") as file:
            file.write(b"x")
        for ask in (
            lambda: io.stat(f"{base}/a.txt"),
            lambda: io.find(f"{base}/*"),
            lambda: TextSource.from_path(f"{base}/a.txt").get_data(),
            lambda: io.writing(f"{base}/a.txt").__enter__(),
        ):
            assert sftp_server.drop() > 0
            assert ask()

    def test_a_server_that_goes_away_meanwhile(self, base, sftp_server):
        with pytest.raises(TransferError), io.writing(f"{base}/a.txt") as file:
            file.write(os.urandom(MiB))
            sftp_server.drop()
            for _ in range(100):
                file.write(os.urandom(MiB))
        assert list(io.find(f"{base}/*")) == []
