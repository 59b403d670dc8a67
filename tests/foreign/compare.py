"""What a reader says of a file beside what is in it."""

from __future__ import annotations

import math
from typing import Any

from tests.foreign.cases import Case

METRES = {
    "m": 1.0, "meter": 1.0, "cm": 1e-2, "centimeter": 1e-2, "mm": 1e-3, "millimeter": 1e-3, "nm": 1e-9,
    "nanometer": 1e-9, "angstrom": 1e-10, "Å": 1e-10, "inch": 0.0254, "in": 0.0254, "micron": 1e-6,
    "µm": 1e-6, "um": 1e-6, "micrometer": 1e-6,
}  # fmt: skip


def differences(case: Case, answer: dict[str, Any]) -> dict[str, str | None]:
    """For each thing that the reader tells, what is wrong with it, or None."""
    if "error" in answer:
        return {"opens": answer["error"]}
    found: dict[str, str | None] = {"opens": None}
    for key in ("pixels", "pages"):
        if key in answer:
            found["pixels"] = _differs(answer[key], getattr(case, key))
    if "extents" in answer:
        extents = {axis: n for axis, n in answer["extents"].items() if n > 1}
        found["axes"] = _differs(extents, case.extents)
    if "images" in answer:
        found["axes"] = found["axes"] or _differs(answer["images"], 1)
    if "size" in answer:
        told = {
            axis: value * METRES[unit]
            for axis, (value, unit) in answer["size"].items()
            if unit in METRES and value and (axis != "z" or "Z" in case.axes)
        }
        if "z" not in answer["size"]:  # by resolution tags, which have no z
            wanted = {axis: n for axis, n in case.size.items() if axis != "z" or "x" not in told}
        else:
            wanted = case.size
        same = told.keys() == wanted.keys() and all(
            math.isclose(told[axis], wanted[axis], rel_tol=1e-5) for axis in told
        )
        found["size"] = None if same else f"{answer['size']}, not {wanted} m"
    if case.interval is not None and "interval" in answer:
        near = answer["interval"] is not None and math.isclose(answer["interval"], case.interval)
        found["interval"] = None if near else f"{answer['interval']} s, not {case.interval} s"
    if case.channels and "channels" in answer:
        found["names"] = _differs(answer["channels"], case.channels)
    if "columns" in answer:
        found["values"] = _columns(case, answer["columns"])
    return found


def _differs(found: Any, expected: Any) -> str | None:
    return None if found == expected else f"{found}, not {expected}"


def _columns(case: Case, columns: dict[str, list[Any]]) -> str | None:
    for name, expected in case.columns.items():
        found = columns.get(name)
        if found is None or any(
            a != b or type(a) is not type(b) for a, b in zip(found, expected, strict=True)
        ):
            return f"column {name}: {found}, not {expected}"
    return None
