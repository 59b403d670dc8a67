"""The policy of docs/places.md is enough for what cpr does, and `cpr doctor` names what is missing of it."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cpr
from cpr import io
from cpr.operations.doctor import examine
from cpr.operations.gc import collect
from cpr.operations.ls import list_results
from cpr.operations.verify import verify
from tests.minio import binaries, buckets

PAGE = Path(__file__).parents[2] / "docs" / "places.md"
POLICY = json.loads(re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)[0])
ACTIONS = [action for statement in POLICY["Statement"] for action in statement["Action"]]

pytestmark = [pytest.mark.real_s3, pytest.mark.slow]
Restrict = Callable[[str | None], str]


@pytest.fixture
def restricted(s3_server, tmp_path, monkeypatch) -> Iterator[Restrict]:
    """restricted(action): the URL of a folder, on which this process now has the policy without an action."""
    program = binaries.find("mc")
    if program is None:
        pytest.skip("needs MinIO's client, mc")
    client, bucket = s3_server.client(), f"cpr-rights-{secrets.token_hex(6)}"
    buckets.create(client, bucket)
    names: list[str] = []

    def mc(*words: str) -> None:
        command = [str(program), "--config-dir", str(tmp_path / "mc"), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    mc("alias", "set", "here", s3_server.endpoint, s3_server.access_key, s3_server.secret_key)

    def restrict(without: str | None = None) -> str:
        name, secret = f"cpr{secrets.token_hex(6)}", secrets.token_hex(16)
        policy: dict[str, Any] = json.loads(json.dumps(POLICY).replace("my-bucket", bucket))
        for statement in policy["Statement"]:
            statement["Action"] = [one for one in statement["Action"] if one != without]
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(policy))
        mc("admin", "user", "add", "here", name, secret)
        names.append(name)
        mc("admin", "policy", "create", "here", name, str(file))
        mc("admin", "policy", "attach", "here", name, "--user", name)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", name)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        return f"s3://{bucket}/results"

    yield restrict
    for name in names:
        mc("admin", "user", "remove", "here", name)
        mc("admin", "policy", "remove", "here", name)
    buckets.remove(client, bucket)


def test_it_is_enough(restricted):
    url = restricted(None)
    found = examine(url, mib=1)
    assert {one.status for one in found.findings} == {"good"}, found.findings
    image = cpr.ImageTarget.from_path(f"{url}/image.tif")
    image.set_data(np.random.default_rng(0).integers(0, 60_000, (40, 600, 600)).astype("uint16"))
    volume = cpr.ZarrTarget.from_path(f"{url}/volume.zarr")
    volume.set_data(np.ones((40, 50)))
    for target in (image, volume):
        with io.writing(f"{url}/records/{target.get_name()}.json") as file:
            file.write(json.dumps(target.serialize()).encode())
    garbage = cpr.ImageTarget.from_path(f"{url}/garbage.tif")
    garbage.set_data(np.ones((30, 40), "uint8"))
    garbage.persist()
    listed = list_results(url)
    assert (listed.targets, listed.unrecorded, listed.problems) == (2, 1, [])
    checked = verify(url)
    assert (checked.intact, checked.wrong) == (2, [])
    assert io.find_orphans(url) == []
    assert collect([url], delete=True).referred == 2  # what is not is too young to be garbage
    io.remove(garbage.url)
    assert io.lookup(garbage.url) is None


NAMED = ("s3:ListBucketMultipartUploads", "s3:AbortMultipartUpload")


@pytest.mark.parametrize(
    "action", [one if one in NAMED else pytest.param(one, marks=pytest.mark.long) for one in ACTIONS]
)
def test_what_is_missing_is_named(restricted, action):
    found = examine(restricted(action), mib=0)
    told = [f"{one.text} {one.remedy}" for one in found.findings if one.status in ("wrong", "poor")]
    assert any(action in text for text in told), found.findings
