"""What is wrong with a store is told by every command as by `cpr doctor`, without long attempts."""

from __future__ import annotations

import json
import re
import time
import uuid

import pytest

from cpr.cli.app import run
from tests.cli.test_doctor import _as_configured
from tests.minio.process import free_ports

COMMANDS = [
    ["ls", "PLACE"],
    ["show", "PLACE", "x"],
    ["verify", "PLACE"],
    ["cp", "PLACE", "OUT/copy"],
    ["report", "PLACE", "-o", "OUT/report.html"],
    ["doctor", "PLACE"],
]
FAILURES = {
    "wrong-secret": ({"AWS_SECRET_ACCESS_KEY": "nothing"}, "the secret key does not fit the key"),
    "unknown-key": ({"AWS_ACCESS_KEY_ID": "nobody"}, "the store does not know this key"),
    "no-connection": ({"ENDPOINT": "http://127.0.0.1:{port}"}, "nothing answers at the endpoint"),
    "unknown-host": (
        {"ENDPOINT": "http://no-such-host.invalid:9000"},
        "the host of the store has no address",
    ),
    "no-permission": ({"FSSPEC_S3": json.dumps({"anon": True})}, "no permission to"),
    "no-bucket": ({}, "there is no such bucket"),
}


@pytest.mark.real_s3
@pytest.mark.slow
@pytest.mark.parametrize("failure", FAILURES)
def test_each_command_tells_it_with_its_remedy(failure, s3_server, tmp_path, monkeypatch, capsys):
    changes, problem = FAILURES[failure]
    bucket = f"cpr-store-errors-{uuid.uuid4().hex[:12]}"  # others run side by side on one server
    given = {"PLACE": f"s3://{bucket}/records", "OUT": str(tmp_path)}
    client = s3_server.client()
    if failure != "no-bucket":
        client.create_bucket(Bucket=bucket)
    for name, value in changes.items():
        for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3") if name == "ENDPOINT" else (name,):
            monkeypatch.setenv(variable, value.format(port=free_ports(1)[0]) if name == "ENDPOINT" else value)
    if "FSSPEC_S3" in changes:
        _as_configured(monkeypatch)
    try:
        for words in COMMANDS:
            begun = time.monotonic()
            code = run([re.sub("PLACE|OUT", lambda found: given[found[0]], word) for word in words])
            said = "".join(capsys.readouterr())
            assert code == (1 if words[0] == "doctor" else 3), (words, said)
            assert problem in said, (words, said)
            assert "remedy" in said
            # Two seconds at most where nothing else runs; attempts for a minute would show anywhere.
            assert time.monotonic() - begun < 30, words
    finally:
        if failure != "no-bucket":
            client.delete_bucket(Bucket=bucket)
