"""What crosses the wire: requests and bytes of each contender, counted by a proxy, untimed."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from bench.child import measure
from bench.contenders import READERS, TABLES, WRITERS
from bench.sections import Row, Size
from tests.faults.proxy import FaultProxy

__all__ = ["TITLE", "report", "run"]

TITLE = "On the wire"
_FORMATS = ("tiff-none", "tiff-zlib", "npy", "csv")
_OFFLINE = ("encoding alone", "decoding alone")


def run(url: str, size: Size) -> list[Row]:
    """Each write and read once, through the proxy."""
    rows: list[Row] = []
    server = os.environ["AWS_ENDPOINT_URL"]
    with FaultProxy(server) as proxy:
        try:
            for name in _FORMATS:
                _lead_to(proxy.endpoint)
                rows += _contenders(url, size.scaled(64 if name in TABLES else 256), name, proxy)
                print(f"{name:10} counted", flush=True)
            for name in ("tiff-none", "tiff-zlib"):
                _lead_to(server)
                case = {"format": name, "mib": size.mib, "url": f"{url}/planes"}
                record = measure("bench.contenders:stream_planes", **case)["record"]
                _lead_to(proxy.endpoint)
                found = _counted(proxy, "bench.contenders:read_plane", {"record": record, "url": url})
                (fields,) = record.values()
                row = {"format": name, "what": "one plane of 128", "contender": "cpr", "mib": size.mib}
                rows.append({**row, **found, "stored": fields["nbytes"]})
        finally:
            _lead_to(server)
    return rows


def _lead_to(endpoint: str) -> None:
    os.environ["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL_S3"] = endpoint


def _contenders(url: str, mib: int, name: str, proxy: FaultProxy) -> list[Row]:
    rows = []
    records: dict[str, Any] = {}
    for action, contenders in (("write", WRITERS), ("read", READERS)):
        for contender in (one for one in contenders if one not in _OFFLINE):
            case: dict[str, Any] = {"format": name, "contender": contender, "url": url}
            case |= {"mib": mib} if action == "write" else {"record": records.get(contender)}
            found = _counted(proxy, f"bench.contenders:{action}", case)
            records[contender] = found.pop("record")
            rows.append({"format": name, "what": action, "contender": contender, "mib": mib, **found})
    return rows


def _counted(proxy: FaultProxy, function: str, case: dict[str, Any]) -> dict[str, Any]:
    """Requests and bytes of the work alone, not of getting ready."""
    found = measure(function, proxy.clear, **case)
    kinds = Counter(proxy.kinds)
    return {
        "requests": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "sent": proxy.request_bytes,
        "received": proxy.response_bytes,
        "record": found.get("record"),
    }


def report(rows: list[Row]) -> str:
    lines = [
        "Bodies of requests and answers, without headers. Kinds of requests are S3's.\n",
        "| format | MiB | | | requests | sent, MiB | received, MiB | kinds |",
        "| --- | ---: | --- | --- | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        kinds = ", ".join(f"{count} {kind}" for kind, count in row["kinds"].items())
        lines.append(
            f"| {row['format']} | {row['mib']} | {row['what']} | {row['contender']} | {row['requests']} "
            f"| {row['sent'] / 2**20:.2f} | {row['received'] / 2**20:.2f} | {kinds} |"
        )
    planes = [
        f"{row['format']} {row['requests']} requests and {row['received'] / row['stored']:.2%} of its bytes"
        for row in rows
        if "stored" in row
    ]
    return "\n".join([*lines, "", f"One plane of 128, verified: {'; '.join(planes)}.", ""])
