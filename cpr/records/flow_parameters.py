"""Resources as parameters of Prefect flows and as fields of pydantic models."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Self

from cpr.errors import UsageError, shown
from cpr.records.registry import is_record, load_record, source_of

__all__ = ["FlowParameter"]


class FlowParameter:
    """Base class for resources: accepted and shown as flow parameters and pydantic fields."""

    def get_path(self) -> str:
        """Path or URL of the object."""
        raise NotImplementedError

    def serialize(self) -> dict[str, Any]:
        """The resource's record."""
        raise NotImplementedError

    def keys(self) -> Iterable[str]:
        """Makes `dict(resource)` its type and URL, which Prefect shows for a flow's parameter.

        Without it the encoder Prefect uses walks all attributes, and every element of the data.
        """
        return ("type", "url")

    def __getitem__(self, key: str) -> str:
        if key not in self.keys():
            raise UsageError(
                f"{type(self).__name__} has no elements",
                field="__getitem__",
                actual=shown(key),
                remedy="get_data() gives what it holds; get_data(region=...) a part of it",
            )
        return {"type": type(self).__name__, "url": self.get_path()}[key]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Accepts a resource, its record, or a source's URL; in JSON it is the record."""
        from pydantic_core import core_schema

        taken = core_schema.no_info_plain_validator_function(cls._from_field)
        given = core_schema.union_schema([core_schema.dict_schema(), core_schema.str_schema()])
        return core_schema.json_or_python_schema(
            json_schema=core_schema.chain_schema([given, taken]),
            python_schema=taken,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda resource: resource.serialize(), when_used="json"
            ),
        )

    @classmethod
    def _from_field(cls, value: Any) -> Self:
        resource = load_record(value) if is_record(value) else value
        if not isinstance(resource, cls):
            expected = f"expected {cls.__name__} or its record, not {type(resource).__name__}"
            raise ValueError(f"{expected}. Remedy: {_annotation(cls, resource)}")  # noqa: TRY004 - pydantic collects ValueErrors
        return resource


def _annotation(cls: type[FlowParameter], given: object) -> str:
    """Advice on how to annotate the parameter, or what to pass for it."""
    name = cls.__name__
    if isinstance(given, FlowParameter):
        return f"annotate {name} | {type(given).__name__} where both may be given"
    if isinstance(given, (list, tuple)):
        return f"annotate list[{name}] where several are given"
    if given is None:
        return f"annotate {name} | None where there may be none"
    if isinstance(given, (str, os.PathLike)):
        source = source_of(os.fspath(given)) or "ImageSource"
        return f"annotate {source} to take the path of a file; a result is given as its record"
    return "give the resource, or what its serialize() returns"
