"""`cpr verify`: checks whether results are still what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from cpr.cli.output import (
    Json,
    ResultsUrl,
    as_json,
    ended,
    print_json,
    print_table,
    progress,
    results_url,
    say,
    size,
    told_if_interrupted,
)
from cpr.io.humanize import counted
from cpr.operations.verify import Checked, Report, heal
from cpr.operations.verify import verify as run

__all__ = ["EXAMPLES", "verify"]

EXAMPLES = (
    ("cpr verify s3://my-bucket/records", "every byte"),
    ("cpr verify s3://my-bucket/records --sample 1%", "every night, one in a hundred"),
    ("cpr verify s3://my-bucket/records --by-store", "what the store says, without reading"),
    ("cpr verify s3://my-bucket/records --heal", "then run the flow again"),
)


def verify(
    url: ResultsUrl = None,
    sample: Annotated[
        str | None,
        typer.Option(
            "--sample", metavar="PERCENT", help="Check only this share of the targets, at random: 5%."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same N draws the same sample again.")
    ] = None,
    drop: Annotated[
        bool,
        typer.Option(
            "--heal", help="Drop the cache entries that name damaged targets: the next run makes those again."
        ),
    ] = False,
    by_store: Annotated[
        bool,
        typer.Option(
            "--by-store",
            help="Ask S3 or GCS for the checksums of what it has received; read nothing larger than 8 MiB.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Read every target that records name, and compare its bytes with what was written.

    Targets are read in parallel and hashed, not decoded. If any are damaged, a list says which, and the exit
    code is 1; exit code 3 says that some targets could not be read at all.

    With --by-store, checksums that the store keeps are compared instead. This finds what was replaced, cut
    or deleted; it does not prove that the store's disks still hold those bytes. Where a store keeps no
    checksums, and of results whose checksum stands against forgers (sha256, blake3), what it does not find
    damaged or missing is "not checked", and the exit code is 3.
    """
    url = results_url(url)
    share = None if sample is None else _share(sample)
    report = Report()

    def tell() -> None:
        if report.targets or report.wrong:
            _print(report, url, share, [], drop=False)
        else:
            say("No target was read.")

    with (
        told_if_interrupted(tell),
        progress("verifying") as advance,
    ):
        run(url, share, seed, by_store, advance, report)
    dropped = heal(url, report) if drop else []
    if json:
        print_json({**as_json(report), "dropped": dropped})
    else:
        _print(report, url, share, dropped, drop)
    if not report.damaged and (report.not_checked or not report.checked):
        raise typer.Exit(3)
    ended(report.damaged > 0)


def _share(text: str) -> float:
    try:
        percent = float(text.removesuffix("%"))
    except ValueError:
        percent = -1.0
    if not 0 < percent <= 100:
        raise typer.BadParameter("a share in percent is expected, such as 5%", param_hint="--sample")
    return percent / 100


def _print(report: Report, url: str, share: float | None, dropped: list[str], drop: bool) -> None:
    if report.wrong:
        print_table(
            ("state", "problem", "URL"),
            ((one.state, _problem(one), one.url) for one in report.wrong),
        )
    if not report.targets and not report.wrong:
        say(f"No record under {url} names a target: there is nothing to compare with.")
        say("Name the place where Prefect's result storage writes; targets alone do not tell what they were.")
        return
    speed = report.nbytes / report.seconds if report.seconds else 0.0
    text = (
        f"{counted(report.intact, 'target')} intact of {report.checked:,}{'' if report.by_store else ' read'}"
    )
    say(f"{text}, {size(report.nbytes)} in {report.seconds:.1f} s ({size(int(speed))}/s).")
    if report.by_store:
        say(
            f"{counted(report.by_store, 'target')} not read: the store says that it received what was "
            "written. This finds what was replaced, cut or deleted, not what has decayed on its disks since: "
            "that takes cpr verify without --by-store."
        )
    if share is not None:
        say(f"A sample: {report.checked:,} of {counted(report.targets, 'target')}.")
    if report.foreign:
        say(f"{counted(report.foreign, 'record')} of other serializers, not looked into.")
    if report.not_checked:
        say(f"{counted(report.not_checked, 'target')} could not be checked: the table says why.")
    if report.damaged and drop:
        say(f"{counted(len(dropped), 'cache entry', 'cache entries')} dropped: run the flow again.")
    elif report.damaged:
        say("cpr verify --heal drops their cache entries, so that the next run makes them again.")


def _problem(one: Checked) -> str:
    return "" if one.error is None else one.error.problem
