"""Shows long uploads of a task run as progress artifacts in Prefect's UI."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import TaskRunContext
from prefect.logging import get_logger

from cpr.io.humanize import human_size
from cpr.io.publishing import Progress, write_owner, writes_in_progress

__all__ = ["shown"]

_LONG = 5.0  # seconds after which an upload is shown
_EVERY = 2.0


@contextmanager
def shown(wanted: bool) -> Iterator[None]:
    """Show the progress of long uploads in the block, for single objects of the running task.

    The percentage is relative to the size of the data in memory, an upper bound for the file; if that is not
    known beforehand, as for streamed tables, it stays at 0, and the description shows bytes and speed. It is
    100 after a successful upload. Errors in showing progress are logged at DEBUG.
    """
    context = TaskRunContext.get()
    if not wanted or context is None:
        yield
        return
    watcher = _UploadWatcher(context.task_run)
    token = write_owner.set(watcher)
    # Prefect's settings, and so where its server is, are a matter of context.
    thread = threading.Thread(
        target=copy_context().run, args=(watcher.look,), name="cpr-progress", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        write_owner.reset(token)
        watcher.ended.set()


class _UploadWatcher:
    def __init__(self, task_run: Any) -> None:
        self._task_run = task_run
        self._artifacts: dict[str, tuple[Any, Progress]] = {}
        self.failed = False
        self.ended = threading.Event()

    def look(self) -> None:
        """Report long uploads until the run ends."""
        ended = False
        while not ended:
            ended = self.ended.wait(_EVERY)
            try:
                current = {one.url: one for one in writes_in_progress(self)}
                for one in current.values():
                    if one.seconds >= _LONG:
                        self._tell(one)
                for url in set(self._artifacts) - set(current):
                    artifact, last = self._artifacts.pop(url)
                    if not self.failed:
                        self._update(artifact, last, 100.0)
            except Exception as error:
                # A server that does not answer is no matter of the upload.
                get_logger("cpr").debug("The progress of an upload is not shown: %s", type(error).__name__)

    def _tell(self, one: Progress) -> None:
        percent = min(99.0, 100 * one.nbytes / one.expected) if one.expected else 0.0
        if one.url in self._artifacts:
            artifact = self._artifacts[one.url][0]
            self._update(artifact, one, percent)
        else:
            with get_client(sync_client=True) as client:
                created = client.create_artifact(
                    ArtifactCreate(
                        type="progress",
                        description=_described(one),
                        data=percent,
                        task_run_id=self._task_run.id,
                        flow_run_id=self._task_run.flow_run_id,
                    )
                )
            artifact = created.id
        self._artifacts[one.url] = (artifact, one)

    def _update(self, artifact: Any, one: Progress, percent: float) -> None:
        with get_client(sync_client=True) as client:
            update = ArtifactUpdate(data=percent, description=_described(one))
            client.update_artifact(artifact_id=artifact, artifact=update)


def _described(one: Progress) -> str:
    speed = one.nbytes / max(one.seconds, 1e-3)
    most = f" of at most {human_size(one.expected)}" if one.expected else ""
    return f"{one.url}: {human_size(one.nbytes)}{most} in {one.seconds:.0f} s ({human_size(speed)}/s)"
