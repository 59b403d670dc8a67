"""What OpenLineage wants of an event and of the facets that cpr sends, as models that refuse all else.

Source: https://openlineage.io/docs/spec/object-model and the pages of the single facets below it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["require_valid"]

_Uri = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*:\S+$")]
_Text = Annotated[str, StringConstraints(min_length=1)]
_FACET_URL = r"^https://openlineage\.io/spec/facets/\d+-\d+-\d+/\w+Facet\.json#/\$defs/\w+Facet$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Facet(_Strict):
    producer: _Uri = Field(alias="_producer")
    schema_url: Annotated[str, StringConstraints(pattern=_FACET_URL)] = Field(alias="_schemaURL")


class _RunId(_Strict):
    runId: UUID


class _JobName(_Strict):
    namespace: _Text
    name: _Text


class _OtherRun(_RunId):
    facets: dict[str, _Facet] = {}


class _OtherJob(_JobName):
    facets: dict[str, _Facet] = {}


class _Version(_Facet):
    datasetVersion: _Text


class _Field(_Strict):
    name: _Text
    type: str | None = None
    description: str | None = None
    ordinal_position: int | None = None
    fields: list[_Field] = []


class _Schema(_Facet):
    fields: list[_Field] = []


class _DataSource(_Facet):
    name: _Text
    uri: _Uri


class _Root(_Strict):
    run: _OtherRun
    job: _OtherJob


class _Parent(_Facet):
    run: _OtherRun
    job: _OtherJob
    root: _Root | None = None


class _JobType(_Facet):
    processingType: Literal["BATCH", "STREAMING", "NONE"]
    integration: _Text
    jobType: str | None = None


class _Engine(_Facet):
    version: _Text
    name: str | None = None
    openlineageAdapterVersion: str | None = None


class _Tag(_Strict):
    key: _Text
    value: str
    source: str | None = None


class _Tags(_Facet):
    tags: list[_Tag]


class _Content(BaseModel):
    """The facet of cpr's own."""

    producer: _Uri = Field(alias="_producer")
    schema_url: _Uri = Field(alias="_schemaURL")


class _RunFacets(_Strict):
    parent: _Parent | None = None
    processing_engine: _Engine | None = None
    tags: _Tags | None = None


class _JobFacets(_Strict):
    jobType: _JobType | None = None


class _DatasetFacets(_Strict):
    version: _Version | None = None
    schema_: _Schema | None = Field(None, alias="schema")
    dataSource: _DataSource | None = None
    cpr_content: _Content | None = None


class _Run(_RunId):
    facets: _RunFacets = _RunFacets()


class _Job(_JobName):
    facets: _JobFacets = _JobFacets()


class _Dataset(_JobName):
    facets: _DatasetFacets = _DatasetFacets()


class _Input(_Dataset):
    inputFacets: dict[str, Any] = {}


class _Output(_Dataset):
    outputFacets: dict[str, Any] = {}


class _Event(_Strict):
    eventType: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"]
    eventTime: AwareDatetime
    producer: _Uri
    schemaURL: Annotated[
        str, StringConstraints(pattern=r"^https://openlineage\.io/spec/2-\d+-\d+/OpenLineage")
    ]
    run: _Run
    job: _Job
    inputs: list[_Input] = []
    outputs: list[_Output] = []


def require_valid(event: dict[str, Any]) -> None:
    """Raise ValidationError for an event that OpenLineage does not know."""
    _Event.model_validate(event)
