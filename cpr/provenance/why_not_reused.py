"""Explains cache misses: compares how an earlier result was made with what is asked for now.

`differences` compares two of what `cpr.provenance.provenance_record` keeps; `NearestResults` finds, among
many results of a task, the one that a miss should be compared with. Both are pure; `render` puts a difference
into words.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import deque
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from cpr.io.hashing import hex16
from cpr.provenance.provenance_record import Input, Made

__all__ = [
    "Difference",
    "Kind",
    "NearestResults",
    "differences",
    "line_digests",
    "places_of",
    "render",
    "render_all",
    "render_kinds",
]

Kind = Literal[
    "value",
    "version",
    "place",
    "content",
    "more",
    "count",
    "new",
    "gone",
    "used",
    "source",
    "missing",
    "unknown",
]

_KEY = re.compile(r"-[0-9a-f]{16}(?=\.[^/\\]+$)")
_MOST_ITEMS = 3
_VERSION_WORDS = {"etag": "ETag", "generation": "generation", "size": "size"}


@dataclass(frozen=True)
class Difference:
    """One difference between two results or runs.

    Attributes:
        kind: "value" of an argument that is shown; "version" of a source in its store; "place", another
            resource; "content" of a target, text, array or object; "more" resources in a container, beside
            those told; "count" of resources in it; "new" or "gone", an argument; "used", what the task's
            function uses besides; "source", its own text; "missing", nothing differs, but the result was not
            there; "unknown", nothing that is kept differs, but the key does.
        name: of the argument, or of what is used.
        old: what was kept of it, or of the one resource in it that differs.
        new: what it is now.
        line: of the text of a function, counted in its file where that is known, else from its beginning.
    """

    kind: Kind
    name: str = ""
    old: Input | None = None
    new: Input | None = None
    line: int | None = None


def differences(
    old: Made,
    new: Made,
    lines: Mapping[str, Sequence[str]] = MappingProxyType({}),
    first: Mapping[str, int] = MappingProxyType({}),
) -> list[Difference]:
    """List what differs between how a result was made and how another was, or is to be.

    Args:
        old: provenance of a result, complete (`Target.get_made`).
        new: provenance of another result, or of a run.
        lines: `line_digests` of texts of functions, then and now, by the functions' digests.
        first: numbers of the functions' first lines in their present files.

    >>> old, new = (Made(inputs={"sigma": Input("int", sigma)}) for sigma in (2, 3))
    >>> [(one.kind, one.name) for one in differences(old, new)]
    [('value', 'sigma')]
    """
    found = [*_of_inputs(old.inputs, new.inputs), *_of_code(old.uses, new.uses, lines, first)]
    if old.source != new.source and None not in (old.source, new.source):
        found.append(Difference("source", line=_changed_line(old.source, new.source, lines, first)))
    if not found:
        same = old.key == new.key and old.key is not None
        found.append(Difference("missing" if same else "unknown", name=", ".join(_secrets(new))))
    return found


def line_digests(source: str) -> list[str]:
    """Digests of a source's lines: enough to tell which line changed, without keeping the text."""
    return [hex16(line.rstrip().encode("utf-8", "surrogatepass"))[:6] for line in source.splitlines()]


def _changed_line(
    old: str | None, new: str | None, lines: Mapping[str, Sequence[str]], first: Mapping[str, int]
) -> int | None:
    """The first changed line, as far as both texts are known."""
    before, now = lines.get(old or "", ()), lines.get(new or "", ())
    if not before or not now:
        return None
    same = 0
    for one, other in zip(before, now, strict=False):
        if one != other:
            break
        same += 1
    return same + first.get(new or "", 1)


def _secrets(made: Made) -> list[str]:
    return [name for name, one in made.inputs.items() if one.type == "secret"]


def _of_inputs(old: Mapping[str, Input], new: Mapping[str, Input]) -> Iterator[Difference]:
    for name in [*old, *(name for name in new if name not in old)]:
        before, now = old.get(name), new.get(name)
        if before is None:
            yield Difference("new", name, new=now)
        elif now is None:
            yield Difference("gone", name, old=before)
        else:
            yield from _of_input(name, before, now)


def _of_input(name: str, old: Input, new: Input) -> Iterator[Difference]:
    if _token(old) == _token(new):
        return
    if old.url is not None and new.url is not None:
        yield Difference(_of_resource(old, new), name, old, new)
    elif old.holds or new.holds:
        yield from _of_held(name, old, new)
    else:
        shown = old.digest is None and new.digest is None
        yield Difference("value" if shown else "content", name, old, new)


def _of_resource(old: Input, new: Input) -> Kind:
    if _place(old) != _place(new):
        return "place"
    return "version" if old.version != new.version or new.type.endswith("Source") else "content"


def _of_held(name: str, old: Input, new: Input) -> Iterator[Difference]:
    counts = [len(one.holds) + one.left_out for one in (old, new)]
    if counts[0] != counts[1]:
        yield Difference("count", name, old, new)
        return
    pairs = _changed_pairs(old, new)
    for before, now in pairs[:_MOST_ITEMS]:
        yield Difference(_of_resource(before, now), name, before, now)
    if not pairs:
        yield Difference("content", name, old, new)
    elif len(pairs) > _MOST_ITEMS:
        yield Difference("more", name, old, new)


def _changed_pairs(old: Input, new: Input) -> list[tuple[Input, Input]]:
    """The resources in a container that changed, as far as they are kept."""
    pairs = zip(old.holds, new.holds, strict=False)
    return [(before, now) for before, now in pairs if _token(before) != _token(now)]


def _of_code(
    old: Mapping[str, Input],
    new: Mapping[str, Input],
    lines: Mapping[str, Sequence[str]],
    first: Mapping[str, int],
) -> Iterator[Difference]:
    """What differs in the code that a task uses; additions and removals only if nothing else changed."""
    found = list(_of_inputs(old, new))
    changed = [one for one in found if one.kind not in ("new", "gone")]
    for one in changed or found[:_MOST_ITEMS]:
        if one.kind == "value":
            yield one
        else:
            before, now = (side.digest if side is not None else None for side in (one.old, one.new))
            line = _changed_line(before, now, lines, first)
            yield dataclasses.replace(one, kind="used", line=line)


def _token(one: Input) -> Hashable:
    """A value that is equal for equal resources, as far as is known."""
    return (one.type, type(one.value), one.value, one.digest or one.url)


def _place(one: Input) -> str:
    """Place of a resource; for a target without its key, which depends on the content."""
    return _KEY.sub("", one.url or "")


def render(one: Difference) -> str:
    """A difference as text for people.

    >>> render(Difference("value", "sigma", Input("int", 2), Input("int", 3)))
    'sigma: 2 -> 3'
    """
    match one.kind:
        case "value":
            return f"{one.name}: {_shown(one.old)} -> {_shown(one.new)}"
        case "version":
            return f"source {_file(one.new)}: {_version_change(one)}"
        case "place":
            return f"{one.name}: {_file(one.old)} -> {_file(one.new)}"
        case "content" if one.new is not None and one.new.url is not None:
            return f"{one.name}: {_file(one.new)} has other content"
        case "content":
            return f"{one.name}: another {one.new.type if one.new is not None else 'value'}"
        case "more" if one.old is not None and one.new is not None:
            count = len(_changed_pairs(one.old, one.new)) - _MOST_ITEMS
            return f"{one.name}: {count} more {'differs' if count == 1 else 'differ'}"
        case "count":
            return f"{one.name}: {_count(one.old)} -> {_count(one.new)} resources"
        case "new":
            return f"{one.name}: was not there"
        case "gone":
            return f"{one.name}: is gone"
        case "used":
            return f"{one.name} changed" + ("" if one.line is None else f" (line {one.line})")
        case "source":
            return "task source changed" + ("" if one.line is None else f" at line {one.line}")
        case "missing":
            return "result was missing"
    secrets = f"{one.name} (of which nothing is kept), " if one.name else ""
    return f"something else changed: {secrets}the cache policy, or the version of cpr"


def render_all(found: Iterable[Difference]) -> str:
    """All differences in one line; unchanged items of lists are not repeated."""
    return "; ".join(dict.fromkeys(map(render, found)))


def render_kinds(found: Iterable[Difference]) -> str:
    """As `render_all`, without file names, so that the same cause has one text for many results.

    >>> mask = Input("ImageTarget", digest="6b3ac873", url="s3://bucket/a.tif")
    >>> render_kinds([Difference("content", "mask", mask, mask), Difference("source", line=7)])
    'mask: other content; task source changed at line 7'
    """
    texts = {"version": "another version", "place": "another resource", "content": "other content"}
    told = (one for one in found if one.kind != "more")
    return "; ".join(
        dict.fromkeys(f"{one.name}: {texts[one.kind]}" if one.kind in texts else render(one) for one in told)
    )


def _shown(one: Input | None) -> str:
    if one is None:
        return "nothing"
    return json.dumps(one.value) if one.type in ("str", "bool", "NoneType") else str(one.value)


def _file(one: Input | None) -> str:
    url = (one.url if one is not None else None) or "?"
    return re.split(r"[/\\]", _KEY.sub("", url))[-1] or url


def _count(one: Input | None) -> int:
    return 0 if one is None else len(one.holds) + one.left_out


def _version_change(one: Difference) -> str:
    old, new = (dict(side.version) if side is not None else {} for side in (one.old, one.new))
    for name in (*_VERSION_WORDS, *sorted({*old, *new} - set(_VERSION_WORDS))):
        if name in old and name in new and old[name] != new[name]:
            sizes = f" {old[name]} -> {new[name]} bytes" if name == "size" else " changed"
            return _VERSION_WORDS.get(name, name.replace("_", " ")) + sizes
    return "changed"


class NearestResults:
    """Results of one task, indexed to find the one most similar to a run in a few look-ups.

    Similar results differ in one argument, or were made from resources at the same places; of several the
    latest is taken. Results from other images do not count, as nobody expects these to be reused.
    """

    _MOST_AT_A_PLACE = 50

    def __init__(self) -> None:
        self._same: dict[Hashable, Made] = {}
        self._but_one: dict[Hashable, Made] = {}
        self._by_places: dict[Hashable, deque[Made]] = {}

    def add(self, made: Made) -> None:
        """Add a result; call in order of time."""
        places, tokens = places_of(made), _tokens(made)
        self._same[places, tokens] = made
        for token in tokens:
            self._but_one[places, token[0], tokens - {token}] = made
        self._by_places.setdefault(places, deque(maxlen=self._MOST_AT_A_PLACE)).append(made)

    def nearest(self, made: Made) -> Made | None:
        """The result to compare a run with; None if none is similar."""
        places, tokens = places_of(made), _tokens(made)
        if (places, tokens) in self._same:
            return self._same[places, tokens]
        for token in sorted(tokens, key=lambda one: str(one[0])):
            found = self._but_one.get((places, token[0], tokens - {token}))
            if found is not None:
                return found
        near = self._by_places.get(places, ())
        most = max(near, key=lambda one: len(_tokens(one) & tokens), default=None) if near else None
        if most is None or not (places or _tokens(most) & tokens):
            return None
        best = len(_tokens(most) & tokens)
        return [one for one in near if len(_tokens(one) & tokens) == best][-1]


def places_of(made: Made) -> frozenset[tuple[str, str]]:
    """The places of the resources that something was made of, except names that depend on content.

    Only results of equal ones are ever near each other, see `NearestResults`.
    """
    return frozenset((name, _place(one)) for name, one in made.inputs.items() if one.url is not None)


def _tokens(made: Made) -> frozenset[Any]:
    return frozenset((name, _token(one)) for name, one in made.inputs.items())
