"""What cpr relies on in its clients' private parts; a test that fails here names what an upgrade changed."""

from __future__ import annotations

import inspect

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.implementations.sftp import SFTPFileSystem
from fsspec.spec import AbstractBufferedFile


class TestS3fs:
    @pytest.fixture
    def fs(self):
        s3fs = pytest.importorskip("s3fs")
        return s3fs.S3FileSystem(key="k", secret="s", skip_instance_cache=True)

    def test_requests_go_through_one_coroutine_on_a_loop_of_its_own(self, fs):
        assert inspect.iscoroutinefunction(type(fs)._call_s3)
        assert inspect.iscoroutinefunction(type(fs).set_session)
        assert inspect.iscoroutinefunction(type(fs).get_s3)
        assert fs.loop.is_running()
        assert next(iter(inspect.signature(fs._call_s3).parameters)) == "method"

    def test_attempts_are_repeated_by_a_function_of_its_core(self, fs):
        from s3fs import core

        assert inspect.iscoroutinefunction(core._error_wrapper)
        assert "retries" in inspect.signature(core._error_wrapper).parameters
        assert isinstance(fs.retries, int)
        assert all(issubclass(one, Exception) for one in core.S3_RETRYABLE_ERRORS)

    def test_arguments_are_filtered_by_what_a_method_takes(self, fs):
        from fsspec.asyn import sync

        async def client():
            await fs.set_session()
            return await fs.get_s3("bucket")

        found = sync(fs.loop, client)
        given = fs._get_s3_method_kwargs(found.upload_part, Bucket="b", Key="k", Body=b"", Other=1)
        assert given == {"Bucket": "b", "Key": "k", "Body": b""}

    def test_what_was_configured_is_told(self, fs):
        assert fs.anon is False
        assert (fs.client_kwargs, fs.req_kw, fs.s3_additional_kwargs) == ({}, {}, {})
        assert fs.version_aware is False
        assert isinstance(fs.config_kwargs, dict)

    def test_botocore_has_endpoint_region_and_credentials_where_they_are_looked_for(self, fs, monkeypatch):
        from fsspec.asyn import sync

        # The server of the tests is there for every test of a run that has one which needs it.
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
            monkeypatch.delenv(name, raising=False)
        client = sync(fs.loop, fs.set_session)
        assert client.meta.endpoint_url.startswith("https://")
        assert client.meta.region_name is None or isinstance(client.meta.region_name, str)
        frozen = sync(fs.loop, client._request_signer._credentials.get_frozen_credentials)
        assert (frozen.access_key, frozen.secret_key, frozen.token) == ("k", "s", None)
        assert not hasattr(client._request_signer._credentials, "refresh_needed")

    def test_credentials_that_rotate_say_so(self):
        credentials = pytest.importorskip("aiobotocore.credentials")
        assert hasattr(credentials.AioRefreshableCredentials, "refresh_needed")

    def test_what_is_sent_is_told_by_an_event(self, fs):
        from fsspec.asyn import sync

        client = sync(fs.loop, fs.set_session)
        client.meta.events.register("before-send.s3.CreateMultipartUpload", lambda **_: None, unique_id="x")


class TestGcsfs:
    def test_session_endpoint_and_credentials_are_where_they_are_looked_for(self, gcs_server):
        from cpr.io.filesystems import filesystem

        fs, _ = filesystem("gs://bucket/a")
        assert inspect.iscoroutinefunction(type(fs)._set_session)
        assert fs._location == gcs_server.endpoint
        assert "X-A" in fs._get_headers({"X-A": "1"})
        assert fs._get_params({"a": "b"})["a"] == "b"
        fsspec.asyn.sync(fs.loop, fs._set_session)
        assert inspect.ismethod(fs._session.request)


class TestFsspec:
    def test_a_buffered_file_says_whether_it_holds_back(self):
        assert AbstractBufferedFile.commit is not None
        assert "autocommit" in inspect.signature(AbstractBufferedFile.__init__).parameters

    def test_a_filesystem_has_a_cache_of_listings_that_can_be_turned_off(self):
        fs = MemoryFileSystem(skip_instance_cache=True)
        fs.dircache.use_listings_cache = False
        assert issubclass(AsyncFileSystem, fsspec.AbstractFileSystem)

    def test_paths_are_stripped_by_a_class_method(self):
        assert MemoryFileSystem._strip_protocol("memory://a/b") == "/a/b"


class TestParamiko:
    def test_the_connection_is_behind_the_filesystem(self, sftp_url):
        from cpr.io.filesystems import filesystem

        assert issubclass(SFTPFileSystem, fsspec.AbstractFileSystem)
        fs, path = filesystem(sftp_url)
        transport = fs.ftp.get_channel().get_transport()
        assert transport.sock.fileno() > 0
        assert callable(transport.set_keepalive)
        fs.pipe_file(f"{path}.bin", b"0123456789")
        with fs.open(f"{path}.bin", "rb") as file:
            assert b"".join(file.readv([(2, 3)])) == b"234"


class TestObstore:
    def test_ranges_listings_and_conditional_writes_are_public(self):
        obstore = pytest.importorskip("obstore")
        for name in ("get_range", "head", "put", "list"):
            assert callable(getattr(obstore, name))
        assert issubclass(obstore.exceptions.AlreadyExistsError, Exception)
