"""Prefect's result serializer: persists targets when a result is stored, checks them when it is loaded."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Literal

from prefect.context import TaskRunContext
from prefect.serializers import Serializer
from pydantic import Field, field_validator

from cpr import io
from cpr.errors import CprError, EncodeError, RecordError, ResourceNotFoundError, TransferError
from cpr.io.gc_mark_lists import is_marked
from cpr.io.transfer_width import side_by_side, transfer_budget
from cpr.prefect.cache_policy import warn_of_unseen_sources
from cpr.prefect.openlineage import tell_lineage
from cpr.prefect.run_log import log, warn_of_local_records
from cpr.prefect.run_provenance import end, made_now, sign
from cpr.records.pack import pack
from cpr.records.parse_json import parse_result
from cpr.records.predecessor import is_old_record
from cpr.records.registry import RECORD_KEY, envelope, load_record
from cpr.records.unpack import unpack
from cpr.Resource import Resource
from cpr.Target import Target

__all__ = ["CprSerializer", "Verify", "cpr_serializer", "target_decoder", "target_encoder"]

Verify = Literal["size", "full"]

_LOOKUPS = 32  # requests at once; each is one round trip
_ERROR_CHARACTERS = 10_000
_READS = 4  # whole objects at once, more where answers take long
_LAYOUT = frozenset({"ensure_ascii", "indent", "separators", "sort_keys"})


class CprSerializer(Serializer):
    """Stores each result as one JSON object: records of resources, and the values around them.

    `dumps` persists every target in the result, in the process that has its data. `loads` gives the
    result back with its types, and makes sure that every target's object is really there. If one is
    not it raises, which Prefect takes as a miss: the task runs again. If the store cannot be asked,
    the hit stands with a warning.

    Attributes:
        verify: "size" compares the size of every object, "full" reads it and compares its checksum.
        dumps_kwargs: how the JSON is laid out, in the words of `json.dumps`: indent, sort_keys, ensure_ascii.

    >>> serializer = CprSerializer(verify="full")
    >>> found = serializer.loads(serializer.dumps({"threshold": 0.5, "masks": [target]}))
    >>> found["masks"][0].url == target.url
    True
    """

    # Stored in every record: never to be renamed.
    type: str = Field(default="cpr", frozen=True)
    verify: Verify = "size"
    dumps_kwargs: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @field_validator("dumps_kwargs")
    @classmethod
    def _of_layout(cls, given: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(set(given) - _LAYOUT):
            raise ValueError(
                f"{', '.join(unknown)}: only {', '.join(sorted(_LAYOUT))} change nothing that is read back"
            )
        return given

    def dumps(self, obj: Any) -> bytes:
        """Serialize a result as JSON, after persisting its targets; for an exception, its type and text.

        Raises:
            EncodeError: something in the result cannot be stored; `field` is its place.
            ResourceError: a target could not be persisted.
        """
        has_failed = isinstance(obj, BaseException)
        if has_failed:
            # Prefect keeps why a task failed as its result, and takes a text for it.
            obj = _told(obj)
        warn_of_unseen_sources()
        try:
            packed = pack(obj, sign=sign)
        except CprError as error:
            # Prefect goes on with the run, and logs that this failed without saying why.
            log(logging.WARNING, "A result cannot be stored: %s", error)
            raise
        warn_of_local_records(obj)
        # One top-level key: Prefect takes some others for those of old records of its own.
        if not (isinstance(packed, dict) and RECORD_KEY in packed):
            packed = {RECORD_KEY: ["value", packed]}
        layout = {"separators": (",", ":"), **self.dumps_kwargs}
        text = json.dumps(packed, allow_nan=False, **layout).encode()
        end()
        if not has_failed:
            tell_lineage(text, made_now)
        return text

    def loads(self, blob: bytes) -> Any:
        """Restore the result from its JSON, after checking that its targets exist.

        Raises:
            RecordError: not what `dumps` writes.
            ResourceNotFoundError, CorruptDataError: a target's object is gone or another one.
        """
        try:
            value, resources = unpack(parse_result(blob), _scope())
            _Visit.of(blob, self.verify).check(resources)
        except CprError as error:
            # Prefect recomputes without a word; the reason belongs in the log of the run.
            level = logging.WARNING if isinstance(error, RecordError) else logging.INFO
            log(level, "A stored result cannot be used: %s", error)
            raise
        return value


def cpr_serializer(verify: Verify = "size", dumps_kwargs: Mapping[str, Any] | None = None) -> CprSerializer:
    """The serializer for flows and tasks that return resources.

    Args:
        verify: how a stored result is checked before it is used: "size" asks the store once for each
            target, "full" reads every object and compares checksums, which also finds bytes that were
            changed in place.
        dumps_kwargs: how the JSON is laid out: `indent`, `sort_keys`, `ensure_ascii` of `json.dumps`.

    >>> cpr_serializer().dumps((1, 2))
    b'{"__cpr__":["tuple",[1,2]]}'
    """
    return CprSerializer(verify=verify, dumps_kwargs=dict(dumps_kwargs or {}))


def target_encoder(obj: Any) -> Any:
    """Encode a resource as its record, after persisting it; other values with their types.

    `default` for `json.dumps`, `object_encoder` for Prefect's JSONSerializer.

    Raises TypeError for a value that cannot be stored, as `json` expects.

    >>> text = json.dumps([target], default=target_encoder)
    """
    if isinstance(obj, Resource):
        return envelope(obj)
    if isinstance(obj, BaseException):
        return _told(obj)
    try:
        # As a text, since `object_hook` sees what is inside of an object first.
        return {RECORD_KEY: ["json", json.dumps(pack(obj))]}
    except EncodeError as error:
        raise TypeError(f"Object of type {type(obj).__name__} is not JSON serializable: {error}") from None


def target_decoder(record: dict[str, Any]) -> Any:
    """Restore what `target_encoder` made, records as their resources; any other dict stays as it is.

    Records of custom-prefect-result are understood as well.
    `object_hook` for `json.loads`, `object_decoder` for Prefect's JSONSerializer. No I/O; nothing is imported
    because a record names it.

    Raises RecordError for a record that is not acceptable.

    >>> json.loads(json.dumps(target.serialize()), object_hook=target_decoder).get_name()
    'note'
    """
    inner = record.get(RECORD_KEY)
    if isinstance(inner, list) and len(inner) == 2 and inner[0] == "json" and isinstance(inner[1], str):
        return unpack(parse_result(inner[1].encode()), _scope())[0]
    if is_old_record(record) or isinstance(inner, Mapping):
        return load_record(record)
    return record


def _told(error: BaseException) -> str:
    """The text of an exception, as Prefect stores it."""
    return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS]


def _scope() -> Mapping[str, Any]:
    """The names that the task's function can refer to, including classes sent to a worker by value."""
    context = TaskRunContext.get()
    function: Any = getattr(context.task, "fn", None) if context is not None else None
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    names: Mapping[str, Any] = getattr(function, "__globals__", {})
    return names


class _Visit:
    """The check of one stored result.

    Prefect loads each hit twice, to see whether it exists and to read it. Within one task run the second
    look follows at once and asks the store nothing; the look after that, of a retry, asks again.
    """

    _seen: OrderedDict[tuple[Any, ...], None] = OrderedDict()  # noqa: RUF012 - shared on purpose
    _lock = threading.Lock()
    _MOST = 4096

    def __init__(self, key: tuple[Any, ...] | None, verify: Verify) -> None:
        self._key = key
        self._verify = verify

    @classmethod
    def of(cls, blob: bytes, verify: Verify) -> _Visit:
        context = TaskRunContext.get()
        if context is None:
            return cls(None, verify)
        return cls((context.task_run.id, hashlib.sha256(blob).digest(), verify), verify)

    def check(self, resources: Iterable[Any]) -> None:
        """Raise unless every target's object exists."""
        if self._key is not None:
            with self._lock:
                if self._key in self._seen:
                    del self._seen[self._key]
                    return
        _check_all(
            {(r.url, r.checksum): r for r in resources if isinstance(r, Target)}.values(), self._verify
        )
        if self._key is not None:
            with self._lock:
                self._seen[self._key] = None
                while len(self._seen) > self._MOST:
                    self._seen.popitem(last=False)


def _require_unmarked(target: Target) -> None:
    """Raise ResourceNotFoundError for a result that `cpr gc` has marked, so that it is made again."""
    if is_marked(target.url):
        raise ResourceNotFoundError(
            "the object is about to be deleted, for the record of this result is old",
            url=target.url,
            expected="an object that stays",
            actual="one that cpr gc has marked",
            remedy="none is needed: the task runs again and stores its result under another name",
        )


def _is_listed(target: Target, listed: Mapping[str, io.Stat]) -> bool:
    """Whether a listing shows that the target is as `check` requires."""
    found = listed.get(target.url)
    asks_no_more = type(target).check is Target.check and target.checksum is not None
    return found is not None and asks_no_more and found.nbytes == target.nbytes


def _in_groups(targets: list[Target], listed: Mapping[str, io.Stat]) -> list[tuple[list[Target], bool]]:
    """Group targets by folder if listings were read for them; also whether each still needs checking."""
    folders: dict[str, list[Target]] = {}
    alone: list[tuple[list[Target], bool]] = []
    for target in targets:
        if _is_listed(target, listed):
            folders.setdefault(target.location, []).append(target)
        else:
            alone.append(([target], True))
    return [*((group, False) for group in folders.values()), *alone]


def _check_all(targets: Iterable[Target], verify: Verify) -> None:
    """Check many targets in parallel; the first failure ends it."""
    waiting = list(targets)
    full = verify == "full"
    groups = _in_groups(waiting, {} if full else io.listed(target.url for target in waiting))
    outages: list[TransferError] = []
    room = transfer_budget()

    def check(group: tuple[list[Target], bool]) -> int:
        # The rest would wait for the same store in vain.
        if outages:
            return 0
        targets, is_unknown = group
        try:
            for target in targets:
                if is_unknown:
                    with room.holding((target.nbytes or 0) if full else 0):
                        target.check(full)
                _require_unmarked(target)
        except TransferError as error:
            outages.append(error)
            return 0
        return len(targets)

    if len(groups) < 2:
        asked = sum(map(check, groups))
    else:
        places = {target.location for target in waiting}
        at_once = side_by_side(_READS, *places) if full else _LOOKUPS
        with ThreadPoolExecutor(min(at_once, len(groups)), "cpr-check") as pool:
            try:
                checks = [pool.submit(copy_context().run, check, group) for group in groups]
                asked = sum(one.result() for one in checks)
            except CprError:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if outages:
        log(
            logging.WARNING,
            "%d of %d targets of a stored result could not be looked for; the result is used as it is: %s",
            len(waiting) - asked,
            len(waiting),
            outages[0],
        )
