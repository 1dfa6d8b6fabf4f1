"""`inferctl jobs`: slow work of a server, handed in, asked about, ended and begun again."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

from inferctl.cli.asking import Inputs, Model, Output, Threshold, TopK
from inferctl.cli.jobs_worker import worker
from inferctl.cli.serving import Assign, Config
from inferctl.errors import PredictError, StartError, UsageError
from inferctl.refusals import RequestError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from inferctl.client import Client, JobOptions
    from inferctl.jobs.store import Store

T = TypeVar("T")

jobs = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Hand slow work to a server, and see what becomes of it.",
    epilog="The key of a server that wants one is the variable INFERCTL_API_KEY.",
)

Url: TypeAlias = Annotated[str, typer.Option(help="The server.")]
Ids: TypeAlias = Annotated[list[str], typer.Argument(help="Ids of jobs.", metavar="ID")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print them as JSON.")]
States: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Of these alone: queued,running or done,failed,cancelled.", metavar="STATE"),
]
HERE = "http://127.0.0.1:8000"
USUAL_ROWS = 20
# Who has much to hand in waits for a place.
PATIENT_RETRIES, USUAL_RETRIES = 10, 3


@jobs.command()
def submit(
    paths: Inputs,
    url: Url = HERE,
    model: Model = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the model, or a label. [its default]")
    ] = None,
    top_k: TopK = None,
    threshold: Threshold = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until it is done, and write the results.")
    ] = False,
    output: Output = None,
) -> None:
    """Hand in files, folders or lines; print the ids of the jobs they became, usually one.

    With --wait it writes a JSON line for each input, in order, with errors in place, as predict
    does. Ctrl-C ends the waiting, and not the job.

    Exit code 8 says that an item failed or that the server went away, 130 that it was interrupted.
    """
    from inferctl.cli.waiting import Waiting
    from inferctl.predict.jobs import Order
    from inferctl.predict.remote import served_model
    from inferctl.variables import api_key

    if output and not wait:
        raise UsageError("there are no results before it is done", where="--output", hint="--wait")
    found = served_model(url, model, api_key())
    options: JobOptions = {
        "model": found.name, "version": version, "top_k": top_k, "confidence_threshold": threshold,
    }  # fmt: skip
    order = Order(url, tuple(paths), found.task, options)
    with _asking(url, PATIENT_RETRIES) as client:
        waiting = Waiting(client, url)
        if wait:
            waiting.submit_and_write(order, output)
        else:
            waiting.submit(order)


@jobs.command()
def results(
    ids: Ids,
    url: Url = HERE,
    output: Output = None,
) -> None:
    """Write the results of jobs as submit --wait does, and wait for those that are to come.

    An input is called by its job and its number.
    """
    from inferctl.cli.waiting import Waiting

    with _asking(url) as client:
        Waiting(client, url).write(ids, output)


@jobs.command("list")
def list_(
    url: Url = HERE,
    state: States = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many.")] = USUAL_ROWS,
    json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from itertools import islice

    from inferctl.cli.statuses import as_json, print_table

    with _asking(url) as client:
        found = list(islice(client.jobs(state=",".join(state or ())), limit))
    if json:
        sys.stdout.write(as_json(found))
    else:
        print_table(found)


@jobs.command()
def show(ids: Ids, url: Url = HERE, json: Json = False) -> None:
    """Show what became of jobs."""
    from rich.console import Console

    from inferctl.cli.statuses import as_json, details

    with _asking(url) as client:
        found = [_told(job_id, lambda job_id: client.job(job_id).status()) for job_id in ids]
    if json:
        sys.stdout.write(as_json(found))
    else:
        for status in found:
            Console().print(details(status))


@jobs.command()
def cancel(ids: Ids, url: Url = HERE) -> None:
    """Cancel jobs; the results that they have are kept."""
    with _asking(url) as client:
        _each(ids, lambda job_id: client.job(job_id).cancel().state)


@jobs.command()
def retry(ids: Ids, config: Config = None, assign: Assign = None) -> None:
    """Queue failed or cancelled jobs again, in the store of this machine's service.

    What has a result keeps it; errors are forgotten, and so are the attempts.
    """
    with _store(config, assign) as store:
        _each(ids, lambda job_id: store.retry(job_id).state)


@jobs.command()
def purge(
    older_than: Annotated[
        str, typer.Option("--older-than", help="Time since they ended: 24h, 30m, 0s.")
    ] = "24h",
    state: Annotated[
        list[str] | None,
        typer.Option(help="Of these alone: done,failed,cancelled,expired.", metavar="STATE"),
    ] = None,
    config: Config = None,
    assign: Assign = None,
) -> None:
    """Forget jobs that are over, and their results, in the store of this machine's service.

    --state takes some of done, failed, cancelled and expired, with commas between them; without it
    all of these are forgotten.
    """
    from inferctl.bench import parse_duration
    from inferctl.jobs.job import TERMINAL

    older_than_s = parse_duration(older_than)
    states = set(",".join(state or sorted(TERMINAL)).split(","))
    if not states <= TERMINAL:
        raise UsageError(
            "not what a job that is over can be", where="--state",
            hint=f"some of {','.join(sorted(TERMINAL))}",
        )  # fmt: skip
    with _store(config, assign) as store:
        purged = store.purge([each for each in TERMINAL if each in states], older_than_s)
    sys.stdout.write(f"jobs purged: {purged}\n")


jobs.command()(worker)


@contextmanager
def _asking(url: str, max_retries: int = USUAL_RETRIES) -> Iterator[Client]:
    """A client whose errors are told as a command's. Raises PredictError."""
    from inferctl.client import Client, ClientError
    from inferctl.variables import api_key

    try:
        with Client(url, api_key=api_key(), max_retries=max_retries) as client:
            yield client
    except ClientError as error:
        raise PredictError(error.detail, where=url, hint=error.hint) from None


@contextmanager
def _store(config: Path | None, assign: list[str] | None) -> Iterator[Store]:
    """The store of the settings. Raises SettingsError, UsageError, StartError if it is unusable."""
    from inferctl.jobs.stores import open_store
    from inferctl.sources import load_settings, settings_tree

    settings = load_settings(settings_tree(assign or []), config).settings.jobs
    if settings.backend == "off":
        raise UsageError("there are no jobs", where="jobs.backend", hint="it is off")
    if settings.backend == "sqlite" and not Path(settings.path).is_dir():
        raise UsageError(
            "there is no job store", where=settings.path,
            hint="name the service's folder: --set jobs.path=FOLDER",
        )  # fmt: skip
    where = settings.path if settings.backend == "sqlite" else "jobs.redis_url"
    try:
        with closing(open_store(settings)) as store:
            yield store
    except Unavailable as error:
        raise StartError(error.what, where=where, hint=error.hint) from None


def _each(ids: Sequence[str], do: Callable[[str], str]) -> None:
    """Do it to each job, and say what it is then. Raises PredictError, a line for each refusal."""
    refused: list[PredictError] = []
    for job_id in ids:
        try:
            sys.stdout.write(f"{job_id} {_told(job_id, do)}\n")
        except PredictError as error:
            refused.append(error)
    if refused:
        raise PredictError("\n".join(map(str, refused)))


def _told(job_id: str, ask: Callable[[str], T]) -> T:
    """What is said of a job. Raises PredictError, which names it."""
    from inferctl.client import ClientError

    try:
        return ask(job_id)
    except ClientError as error:
        raise PredictError(error.detail, where=job_id, hint=error.hint) from None
    except Unavailable:
        raise  # not of this job: none can be asked about
    except RequestError as error:
        raise PredictError(error.what, where=job_id, hint=error.hint) from None
