"""Makes OpenLineage events from stored results.

A run is a task run of Prefect's, its parent the flow run. Each object in a store is a dataset of its own,
named as OpenLineage says for the kind of storage: results are never changed, so that a name is a version too.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import attr
import prefect
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    dataset_version_dataset,
    datasource_dataset,
    job_type_job,
    parent_run,
    processing_engine_run,
    schema_dataset,
)

from cpr._version import __version__
from cpr.errors import CprError
from cpr.io.protocols import kind_of
from cpr.io.url_secrets import redact_url
from cpr.prefect.lineage_facts import ReportedResult, Signed
from cpr.provenance.provenance_record import Input, Made
from cpr.records.parse_json import parse_result
from cpr.records.registry import RECORD_KEY, load_record
from cpr.Target import Target

__all__ = ["ContentFacet", "dataset_name", "events_of"]

_PRODUCER = f"urn:prefect-cpr:{__version__}"
_NAMESPACE = "prefect"
_KEY = re.compile(r"-([0-9a-f]{16})(?:\.[^/]*)?/?$")  # at the end of a result's URL


@attr.define
class ContentFacet(DatasetFacet):
    """The facet `cpr_content`: digests that identify and verify a result.

    Attributes:
        dataHash: 16 hex digits of the content, whatever the file format; the same for equal data.
        checksum: of the stored bytes, in hex digits.
        checksumAlgorithm: "xxh3_128", "sha256" or "blake3".
        nbytes: size of what is stored.
    """

    dataHash: str | None = None  # noqa: N815 - as OpenLineage spells names
    checksum: str | None = None
    checksumAlgorithm: str | None = None  # noqa: N815
    nbytes: int | None = None


def events_of(job: ReportedResult, recall: Callable[[str | None], Signed | None]) -> Iterator[RunEvent]:
    """Make the event for a run whose result was stored: completed, with inputs and outputs.

    A result that a task has stored for tasks which it called names the runs itself; only those that have made
    targets are known then.

    Args:
        job: the stored result.
        recall: gives, for the id of a run, the provenance of the targets that it made.
    """
    made_by: dict[str | None, list[tuple[Target, Mapping[str, Any]]]] = {}
    for target, record in _targets(parse_result(job.text)):
        run = target.made.task_run if target.made is not None else None
        made_by.setdefault(run, []).append((target, record))
    runs: list[Signed | None] = (
        [recall(run) for run in made_by] if job.made is None else [job.signed or Signed(job.made)]
    )
    for run_of in runs:
        if run_of is None or run_of.made.task_run is None:
            continue
        made, layouts = run_of.made, run_of.layout_of()
        outputs = [_output(*one, layouts) for one in made_by.get(made.task_run, ())]
        yield _event(made, job.at.isoformat(), _distinct(_inputs(made)), _distinct(outputs))


def _targets(packed: Any) -> Iterator[tuple[Target, Mapping[str, Any]]]:
    """The targets in a result, each with its record."""
    waiting = [packed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            record = value.get(RECORD_KEY)
            if not isinstance(record, dict):
                waiting.extend(reversed(value.values()))
                continue
            try:
                resource = load_record(value)
            except CprError:
                continue  # of a class that was registered by hand, say
            if isinstance(resource, Target):
                yield resource, record


def _event(made: Made, at: str, inputs: list[InputDataset], outputs: list[OutputDataset]) -> RunEvent:
    namespace = os.environ.get("OPENLINEAGE_NAMESPACE", "").strip() or _NAMESPACE
    facets: dict[str, Any] = {
        "processing_engine": processing_engine_run.ProcessingEngineRunFacet(
            version=prefect.__version__,
            name="prefect",
            openlineageAdapterVersion=__version__,
            producer=_PRODUCER,
        )
    }
    if made.flow_run is not None and made.flow is not None:
        facets["parent"] = parent_run.ParentRunFacet(
            run=parent_run.Run(runId=_uuid(made.flow_run)),
            job=parent_run.Job(namespace=namespace, name=made.flow),
            producer=_PRODUCER,
        )
    kind = job_type_job.JobTypeJobFacet(
        processingType="BATCH", integration="PREFECT", jobType="TASK", producer=_PRODUCER
    )
    assert made.task_run is not None
    return RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=at,
        run=Run(runId=_uuid(made.task_run), facets=facets),
        job=Job(namespace, ".".join(filter(None, (made.flow, made.task))), facets={"jobType": kind}),
        inputs=inputs,
        outputs=outputs,
        producer=_PRODUCER,
    )


def _uuid(run: str) -> str:
    return str(uuid.UUID(run))


def _distinct(datasets: Any) -> list[Any]:
    return list({(one.namespace, one.name): one for one in datasets}.values())


def _inputs(made: Made) -> Iterator[InputDataset]:
    for _, one in made.resources:
        assert one.url is not None
        yield InputDataset(*dataset_name(one.url), facets=_facets(one.url, _version(one)))


def _version(one: Input) -> str | None:
    """The store's version of a source; for a result the key in its name."""
    if one.version:
        return " ".join(f"{name}={value}" for name, value in one.version.items())
    found = _KEY.search(one.url or "")
    return found[1] if found is not None and one.type.endswith("Target") else one.digest


def _output(target: Target, record: Mapping[str, Any], layouts: Mapping[str | None, Any]) -> OutputDataset:
    facets = _facets(target.url, target.key)
    algorithm, _, digest = (target.checksum or "").rpartition(":")
    facets["cpr_content"] = ContentFacet(
        dataHash=target.data_hash,
        checksum=digest or None,
        checksumAlgorithm=algorithm or None,
        nbytes=target.nbytes,
        producer=_PRODUCER,
    )
    if fields := _fields(record, layouts.get(target.data_hash)):
        facets["schema"] = schema_dataset.SchemaDatasetFacet(fields=fields, producer=_PRODUCER)
    return OutputDataset(*dataset_name(target.url), facets=facets)


def _fields(record: Mapping[str, Any], layout: Any) -> list[schema_dataset.SchemaDatasetFacetFields]:
    """The columns of a table; for an array one field `array` with its dtype and shape."""
    table = record.get("table")
    columns = table.get("columns") if isinstance(table, dict) else None
    if isinstance(columns, list):
        return [
            schema_dataset.SchemaDatasetFacetFields(
                name=label if isinstance(label, str) else str(label),
                type=kind if isinstance(kind, str) else str(kind),
                ordinal_position=position,
            )
            for position, (label, kind) in enumerate(columns, 1)
        ]
    if layout is None:
        return []
    shape = " x ".join(map(str, layout.shape))
    return [schema_dataset.SchemaDatasetFacetFields("array", layout.dtype, f"shape {shape or '()'}")]


def _facets(url: str, version: str | None) -> dict[str, Any]:
    facets: dict[str, Any] = {
        "dataSource": datasource_dataset.DatasourceDatasetFacet(
            name=dataset_name(url)[0], uri=_uri(url), producer=_PRODUCER
        )
    }
    if version is not None:
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(version, producer=_PRODUCER)
    return facets


def dataset_name(url: str) -> tuple[str, str]:
    """Namespace and name of a dataset, according to OpenLineage's naming rules.

    Of kinds that it does not list the namespace is protocol and host, the name the path.

    >>> dataset_name("s3a://lab/raw/a.tif"), dataset_name("/data/a.tif"), dataset_name("sftp://host/data/a.tif")
    (('s3://lab', 'raw/a.tif'), ('file', '/data/a.tif'), ('sftp://host', '/data/a.tif'))
    """
    protocol, scheme, rest = redact_url(url).partition("://")
    if not scheme or kind_of(protocol).name == "file":
        return "file", rest if scheme else protocol
    kind = kind_of(protocol)
    if kind.authority == "none":
        return kind.name, rest
    authority, slash, path = rest.partition("/")
    protocol = kind.name if kind.authority == "bucket" else protocol
    return f"{protocol}://{authority}", (path if kind.authority != "host" else slash + path) or "/"


def _uri(url: str) -> str:
    protocol, scheme, rest = redact_url(url).partition("://")
    rest = rest if scheme else protocol
    # Names of local files are any bytes; those that are no text are percent signs of a URI all the same.
    path = rest.encode("utf-8", "surrogateescape" if _is_of_bytes(rest) else "backslashreplace")
    return f"{protocol if scheme else 'file'}://{quote(path, safe='/:@!$&()*+,;=~')}"


def _is_of_bytes(path: str) -> bool:
    """Whether the surrogates in a path stand for bytes, as in Python's file names."""
    return not any("\ud800" <= letter <= "\udc7f" or "\udd00" <= letter <= "\udfff" for letter in path)
