"""Exports a run as a Workflow Run RO-Crate: its results and provenance, for archives and other programs.

The crate keeps to RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), Workflow RO-Crate 1.0 and Workflow Run Crate
0.5 (https://w3id.org/ro/wfrun/workflow/0.5). Each task run is a `CreateAction`: its `instrument` is the task,
its `object`s are the resources and settings it was given, its `result`s what it has made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cpr import io
from cpr._version import __version__
from cpr.errors import CprError
from cpr.io.confinement import writing_only_below
from cpr.operations.crate_terms import Entity, Ids, detail, places_of_data, quoted, ref, shown, uri_of
from cpr.operations.find import Result, find_results
from cpr.operations.resolve_references import Namesakes, last_of
from cpr.operations.run_results import results_of_run
from cpr.provenance.provenance_record import Input, Made
from cpr.records.registry import media_type_of
from cpr.Target import Target

__all__ = ["Crate", "export_crate"]

METADATA = "ro-crate-metadata.json"
_WORKFLOW = "workflow.json"
_PROFILES = (
    ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
)
_PREFECT = "https://www.prefect.io"
_COMPLETED = "http://schema.org/CompletedActionStatus"


@dataclass(frozen=True)
class Crate:
    """The outcome of an export.

    Attributes:
        url: of the folder.
        flow_run: id of the run.
        actions: how many task runs are told of.
        results: how many results.
        sources: how many resources that others have made.
        nbytes: of the results that were copied into the folder.
        problems: the errors of records that cannot be read, and may be of this run.
    """

    url: str
    flow_run: str
    actions: int
    results: int
    sources: int
    nbytes: int
    problems: list[CprError]


def export_crate(
    url: str,
    run: str,
    folder: str,
    data: bool = False,
    licence: str | None = None,
    on_progress: Callable[..., None] = lambda **_: None,
) -> Crate:
    """Write the provenance of a run as a Workflow Run RO-Crate, optionally with its data.

    Args:
        url: where records are.
        run: id of a flow run, or how that begins.
        folder: path or URL of the crate.
        data: copy the results into the crate, compared with their digests; else it names their URLs.
        licence: URL of the licence under which the results are published.
        on_progress: called for each record that is read, with their `total`; then, with a `stage` and
            `nbytes`, for each result that was copied.

    Raises:
        ResourceNotFoundError: no record here tells of such a run; a result is gone.
        CorruptDataError: a result is not what was written.
        TransferError: the store refused or failed.
    """
    folder = io.normalise(folder)
    known = find_results(url, on_progress)
    run_id, results = results_of_run(known, run, url)
    graph = _Graph(run_id, results)
    nbytes = 0
    with writing_only_below(folder):
        if data:
            graph.places = places_of_data(one.url for one in results)
            for one in results:
                target = one.reference.load()
                assert isinstance(target, Target)
                target.copy_to(io.join(folder, io.split(graph.places[one.url])[0]))
                nbytes += target.nbytes or 0
                on_progress(nbytes=target.nbytes or 0, total=len(results), stage="copying results")
        entities = graph.entities(licence)
        _write(io.join(folder, _WORKFLOW), graph.workflow())
        context = "https://w3id.org/ro/crate/1.1/context"
        _write(io.join(folder, METADATA), {"@context": context, "@graph": entities})
    counts = len(graph.actions), len(results), len(graph.sources)
    return Crate(folder, run_id, *counts, nbytes, known.problems)


def _write(url: str, document: Any) -> None:
    with io.writing(url) as file:
        file.write(json.dumps(document, indent=2, allow_nan=False).encode())


class _Graph:
    """The entities of a crate.

    Attributes:
        places: paths in the crate, of results that are there, by their URLs.
        actions: by task run, its entity.
        sources: by URL, the entities of what others have made.
    """

    def __init__(self, run: str, results: list[Result]) -> None:
        self._run = run
        self._run_id = f"#flow-run-{run}"
        self._results = {one.url: one for one in results}
        self._named = Namesakes(self._results)
        self._made = {one.url: one.whole_made() or Made() for one in results}
        self._tasks: dict[str, Entity] = {}
        self._values: dict[str, Entity] = {}
        fixed = [METADATA, "./", _WORKFLOW, _PREFECT, *(profile for profile, _, _ in _PROFILES)]
        self._ids = Ids([*fixed, self._run_id])
        self.places: dict[str, str] = {}
        self.actions: dict[str, Entity] = {}
        self.sources: dict[str, Entity] = {}

    def workflow(self) -> Entity:
        """The entities of the flow and its tasks, by digests of their source; the source is in no record."""
        tasks = [{"name": one["name"], "source": one["softwareVersion"]} for one in self._tasks.values()]
        return {"flow": self._flow(), "flow_run": self._run, "tasks": tasks}

    def entities(self, licence: str | None) -> list[Entity]:
        """All entities, the crate itself first."""
        is_licence_new = licence is not None and self._ids.of("licence", licence) == licence
        results = [self._result(one) for one in self._results.values()]
        for one in self._results.values():
            self._act(one)
        whole = self._whole_run()
        files = [*results, *self.sources.values()]
        parts = [ref(_WORKFLOW), *({"@id": one["@id"]} for one in files)]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        flow = self._flow()
        root: Entity = {
            "@id": "./",
            "@type": "Dataset",
            "name": f"Results of {flow}, run {self._run}",
            "description": f"What a run of the Prefect flow {flow} has made, and from what.",
            "datePublished": now,
            "conformsTo": [ref(profile) for profile, _, _ in _PROFILES],
            "hasPart": parts,
            "mainEntity": ref(_WORKFLOW),
            "mentions": [ref(whole["@id"]), *(ref(one["@id"]) for one in self.actions.values())],
        }
        more: list[Entity] = []
        if licence is not None:
            root["license"] = ref(licence)
        if is_licence_new:
            more.append({"@id": licence, "@type": "CreativeWork", "name": licence})
        return [
            {
                "@id": METADATA,
                "@type": "CreativeWork",
                "conformsTo": [
                    ref("https://w3id.org/ro/crate/1.1"),
                    ref("https://w3id.org/workflowhub/workflow-ro-crate/1.0"),
                ],
                "about": ref("./"),
            },
            root,
            *more,
            *(
                {"@id": profile, "@type": "CreativeWork", "name": name, "version": version}
                for profile, name, version in _PROFILES
            ),
            {
                "@id": _WORKFLOW,
                "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
                "name": flow,
                "description": "The flow's tasks, with digests of their texts, as records tell of them",
                "version": self._run,
                "programmingLanguage": ref(_PREFECT),
                "encodingFormat": "application/json",
                "hasPart": [ref(one["@id"]) for one in self._tasks.values()],
            },
            {
                "@id": _PREFECT,
                "@type": "ComputerLanguage",
                "name": "Prefect",
                "url": ref(_PREFECT),
            },
            whole,
            *self._tasks.values(),
            *self.actions.values(),
            *files,
            *self._values.values(),
        ]

    def _flow(self) -> str:
        own = (made.flow for made in self._made.values() if made.flow_run == self._run)
        return next((flow for flow in own if flow is not None), "flow")

    def _result(self, one: Result) -> Entity:
        reference = one.reference
        entity = self._file(
            self._result_id(one), reference.type, reference.file_name, reference.fields["ext"]
        )
        nbytes = getattr(reference, "nbytes", None)
        if nbytes is not None and entity["@type"] == "File":
            entity["contentSize"] = str(nbytes)
        made = self._made[one.url]
        if made.when is not None:
            entity["dateCreated"] = made.when.isoformat(timespec="seconds")
        known = {"checksum": reference.checksum, "data_hash": reference.fields.get("data_hash")}
        self._add_properties(entity, known)
        return entity

    def _file(self, place: str, type: str, name: str, ext: str) -> Entity:
        entity: Entity = {
            "@id": place,
            "@type": "Dataset" if _is_folder(ext) else "File",
            "name": name,
            "description": f"{type} of cpr {__version__}",
        }
        if (media := media_type_of(name)) is not None:
            entity["encodingFormat"] = media
        return entity

    def _add_properties(self, entity: Entity, known: dict[str, Any]) -> None:
        place = entity["@id"]
        found = [self._value(place, name, value) for name, value in known.items() if value]
        if found:
            entity["additionalProperty"] = found

    def _value(self, of: str, name: str, value: Any) -> Entity:
        place = self._ids.of(("value", of, name), detail(of, name))
        self._values[place] = {"@id": place, "@type": "PropertyValue", "name": name, "value": value}
        return ref(place)

    def _act(self, one: Result) -> None:
        """The action that made a result."""
        made = self._made[one.url]
        result = ref(self._result_id(one))
        thing = ("task run", made.task_run) if made.task_run else ("maker of", one.url)
        place = self._ids.of(thing, f"#task-run-{made.task_run or quoted(one.url)}")
        if place in self.actions:
            self.actions[place]["result"].append(result)
            return
        entity: Entity = {
            "@id": place,
            "@type": "CreateAction",
            "name": f"Run of {made.task or 'the flow itself'}",
            "description": f"Task run {made.task_run or 'that is not known'} of flow run {made.flow_run}",
            "instrument": self._task(made),
            "object": [],
            "result": [result],
            "actionStatus": _COMPLETED,
        }
        if made.when is not None:
            entity["endTime"] = made.when.isoformat(timespec="seconds")
        for name, given in made.inputs.items():
            held = [ref(self._resource(held)) for held in given.resources]
            value = held or shown(given)
            entity["object"] += held
            entity["object"].append(self._value(place, name, value))
        self.actions[place] = entity

    def _task(self, made: Made) -> Entity:
        if made.task is None:
            return ref(_WORKFLOW)
        wanted = f"#task-{quoted(made.task)}-{made.source or 'unknown'}"
        place = self._ids.of(("task", made.task, made.source), wanted)
        self._tasks.setdefault(
            place,
            {
                "@id": place,
                "@type": "SoftwareApplication",
                "name": made.task,
                "description": "A task of Prefect; its version is a digest of its text",
                "softwareVersion": made.source or "unknown",
            },
        )
        return ref(place)

    def _result_id(self, one: Result) -> str:
        place = self.places.get(one.url)
        wanted = uri_of(one.url) if place is None else quoted(place)
        return self._ids.of(("resource", one.url), _of_kind(wanted, one.reference.fields["ext"]))

    def _resource(self, one: Input) -> str:
        """The id of a resource that a task was given: a result or a source."""
        assert one.url is not None
        url = self._named.find(one) or one.url
        if url in self._results:
            return self._result_id(self._results[url])
        if url not in self.sources:
            name = last_of(url)
            ext = os.path.splitext(name)[1]
            place = self._ids.of(("resource", url), _of_kind(uri_of(url), ext))
            self.sources[url] = self._file(place, one.type, name, ext)
            self._add_properties(self.sources[url], {**one.version, "digest": one.digest})
        return str(self.sources[url]["@id"])

    def _whole_run(self) -> Entity:
        used = {one["@id"] for action in self.actions.values() for one in action["object"]}
        last = [ref(place) for one in self._results.values() if (place := self._result_id(one)) not in used]
        times = sorted(action["endTime"] for action in self.actions.values() if "endTime" in action)
        entity: Entity = {
            "@id": self._run_id,
            "@type": "CreateAction",
            "name": f"Run {self._run} of {self._flow()}",
            "description": "What the flow was given, and what nothing else in it was made from",
            "instrument": ref(_WORKFLOW),
            "object": [ref(one["@id"]) for one in self.sources.values()],
            "result": last,
            "actionStatus": _COMPLETED,
        }
        return {**entity, "endTime": times[-1]} if times else entity


def _is_folder(ext: str) -> bool:
    return ext.lower().endswith(".zarr")


def _of_kind(place: str, ext: str) -> str:
    """The URI, with a slash at the end for a folder."""
    return f"{place}/" if _is_folder(ext) and not place.endswith("/") else place
