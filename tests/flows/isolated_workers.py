"""Dask workers that share nothing: each has its own user, home, temporary folder and working directory.

    with lone_workers(4, tmp_path, variables) as workers:
        DaskTaskRunner(address=workers.address)

No other worker can read these folders (mode 700). Where the tests run as root every worker gets a user
id of its own; Python itself may then lie where only root can go, so that each sees, in a mount namespace
of its own, an empty folder in that place with nothing but Python in it. Elsewhere they share the user.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from distributed import Client

ROOT = Path(__file__).parents[2]
FIRST_USER = 41_000
START_SECONDS = 120

_HIDE = """
set -e
blocked=$1; python=$2; own=$3; user=$4; shift 4
if [ -n "$blocked" ]; then
    mount --bind "$python" "$own/python"
    mount -t tmpfs -o mode=755,size=1m tmpfs "$blocked"
    mkdir -p "$python"
    mount --bind "$own/python" "$python"
fi
exec setpriv --reuid="$user" --regid="$user" --clear-groups "$@"
"""


def blocked_folder() -> str:
    """The first folder on the way to Python that other users may not enter; empty where there is none."""
    way = Path(sys.base_prefix).resolve()
    for folder in [*reversed(way.parents), way]:
        if not folder.stat().st_mode & 0o001:
            return str(folder)
    return ""


def as_user(user: int, own: Path, command: list[str]) -> list[str]:
    """The command, run by a user who sees Python and this checkout."""
    python = str(Path(sys.base_prefix).resolve())
    hide = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _HIDE, "sh"]
    return [*hide, blocked_folder(), python, str(own), str(user), *command]


def users_can_differ(folder: Path) -> bool:
    """Whether processes of other users can be started here; tried."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return False
    own = folder / "tried"
    (own / "python").mkdir(parents=True)
    done = subprocess.run(
        as_user(FIRST_USER, own, [sys.executable, "-c", "import cpr, os; print(os.geteuid())"]),
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip() == str(FIRST_USER)


@dataclass
class LoneWorkers:
    """A scheduler and workers under nannies.

    Attributes:
        address: of the scheduler.
        users_differ: whether every worker has a user of its own.
        homes: their folders.
        nannies: their nanny processes.
    """

    address: str
    users_differ: bool
    homes: list[Path] = field(default_factory=list)
    nannies: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def pids(self) -> list[int]:
        """Of the worker processes that are at work: a nanny gives up when one dies while it starts."""
        with Client(self.address, set_as_default=False) as client:
            known = {urlsplit(address).port for address in client.scheduler_info(n_workers=-1)["workers"]}
        found = []
        for nanny in self.nannies:
            with suppress(psutil.NoSuchProcess):
                children = psutil.Process(nanny.pid).children()
                found += [child.pid for child in children if known & _ports(child)]
        return found

    def kill(self, index: int) -> bool:
        """SIGKILL one of the worker processes; its nanny makes another. False if there is none just now."""
        pids = self.pids()
        if not pids:
            return False
        with suppress(ProcessLookupError):
            os.kill(pids[index % len(pids)], signal.SIGKILL)
            return True
        return False

    def wait(self) -> None:
        """Until all are at work."""
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(len(self.nannies), timeout=START_SECONDS)


def _ports(process: psutil.Process) -> set[int]:
    return {connection.laddr.port for connection in process.net_connections("tcp") if connection.laddr}


@contextmanager
def lone_workers(count: int, variables: dict[str, str], threads: int = 1) -> Iterator[LoneWorkers]:
    """Start a scheduler and workers with nothing in their environment but `variables`."""
    # Not in pytest's folder, which every run of pytest closes to other users again.
    with tempfile.TemporaryDirectory(prefix="cpr-alone-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        with _running(count, folder, variables, threads) as workers:
            yield workers


@contextmanager
def _running(count: int, folder: Path, variables: dict[str, str], threads: int) -> Iterator[LoneWorkers]:
    differ = users_can_differ(folder)
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    with ExitStack() as stack:
        logs = stack.enter_context((folder / "dask.log").open("wb"))

        def start(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                command, cwd=cwd, env=environment, stdout=logs, stderr=logs, start_new_session=True
            )
            stack.callback(end_with_session, process)
            return process

        scheduler_file = folder / "scheduler.json"
        where = ["--scheduler-file", str(scheduler_file)]
        dask = [sys.executable, "-m", "dask"]
        # Workers die on purpose here: a task that was there ten times is not to blame.
        patient = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "100"}
        start(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show", *where],
            {**base, **patient, "HOME": str(folder)},
            folder,
        )
        workers = LoneWorkers(_address(scheduler_file), differ)
        for index in range(count):
            own = folder / f"worker-{index}"
            for part in ("python", "home", "temporary", "work"):
                (own / part).mkdir(parents=True)
            environment = {
                **base,
                **variables,
                "HOME": str(own / "home"),
                "TMPDIR": str(own / "temporary"),
                "PREFECT_HOME": str(own / "home" / ".prefect"),
                "DASK_TEMPORARY_DIRECTORY": str(own / "temporary"),
                "DASK_DISTRIBUTED__WORKER__DAEMON": "False",  # its tasks may start processes
            }
            command = [*dask, "worker", workers.address, "--nthreads", str(threads), "--no-dashboard"]
            command += ["--host", "127.0.0.1", "--death-timeout", "60", "--memory-limit", "0"]
            if differ:
                command = as_user(FIRST_USER + 1 + index, own, command)
            for one in [own, *own.iterdir()]:
                if differ:
                    os.chown(one, FIRST_USER + 1 + index, FIRST_USER + 1 + index)
                one.chmod(0o700)
            workers.homes.append(own)
            workers.nannies.append(start(command, environment, own / "work"))
        workers.wait()
        yield workers


def _address(path: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, ValueError, KeyError):
            return str(json.loads(path.read_text())["address"])
        time.sleep(0.1)
    raise TimeoutError(f"no Dask scheduler: {path.with_name('dask.log').read_text()[-2000:]}")


def end_with_session(process: subprocess.Popen[Any]) -> None:
    """A process and all that it has started; nannies would start others, so they go first.

    Children of a worker that was killed have no parent any more, but are still of its session.
    """
    process.kill()
    process.wait(30)
    for pid in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
