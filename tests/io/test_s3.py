"""What is S3's own: listings without gaps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from cpr import io
from cpr.io.location import filesystem

KEYS = [
    "a.txt",
    "b.txt",
    "b.tif",
    "a+b [1].txt",
    "plate/A01/a.txt",
    "plate/A01/b.tif",
    "plate/B02/a.txt",
    "plate/B02/.cpr/a.txt.blocks",
    "plate/a.txt",
    "plates/A01/a.txt",
    "plate/A01/deep/er/a.txt",
]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.txt", {"a.txt", "b.txt", "a+b [1].txt"}),
        ("b.*", {"b.txt", "b.tif"}),
        ("?.txt", {"a.txt", "b.txt"}),
        ("[b-z].t*", {"b.txt", "b.tif"}),
        ("a.txt", {"a.txt"}),
        ("none.txt", set()),
        ("plate", set()),
        ("plate/*", {"plate/a.txt"}),
        ("plate/*/a.txt", {"plate/A01/a.txt", "plate/B02/a.txt"}),
        ("plate/?0[1-9]/*", {"plate/A01/a.txt", "plate/A01/b.tif", "plate/B02/a.txt"}),
        ("plate*/A01/a*", {"plate/A01/a.txt", "plates/A01/a.txt"}),
        ("*/*/a.txt", {"plate/A01/a.txt", "plate/B02/a.txt", "plates/A01/a.txt"}),
        ("plate/*/.cpr/*", {"plate/B02/.cpr/a.txt.blocks"}),
        ("plate/**/a.txt", {key for key in KEYS if key.startswith("plate/") and key.endswith("/a.txt")}),
        ("**", set(KEYS)),
        ("plate/A01/**", {key for key in KEYS if key.startswith("plate/A01/")}),
        ("nothing/*/here/*.txt", set()),
    ],
)
def test_patterns(s3_url, pattern, expected):
    for key in KEYS:
        with io.writing(f"{s3_url}/{key}") as file:
            file.write(key.encode())
    found = io.find(f"{s3_url}/{pattern}")
    assert {url.removeprefix(f"{s3_url}/") for url in found} == expected
    for url, stat in found.items():
        assert stat == io.stat(url)
    fs, path = filesystem(f"{s3_url}/{pattern}")
    globbed = fs.glob(path, detail=True)
    assert {f"s3://{key}" for key, info in globbed.items() if info["type"] == "file"} == set(found)


@pytest.mark.slow
def test_a_listing_of_several_pages(s3_url, s3_server):
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    client = s3_server.client()
    keys = [f"{prefix}/{folder}/{number:04}.txt" for folder in "ab" for number in range(1001)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    assert list(io.find(f"{s3_url}/a/*.txt")) == [f"s3://{bucket}/{key}" for key in keys[:1001]]
    assert list(io.find(f"{s3_url}/*/*0.txt")) == [f"s3://{bucket}/{key}" for key in keys if key[-5] == "0"]
