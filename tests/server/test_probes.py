"""What `/livez` and `/readyz` say when they are asked to be verbose."""

from __future__ import annotations

from pathlib import Path

from inferctl.arena.ledger import Ledger
from inferctl.keys import KeySettings, hash_of
from inferctl.server.health import Check
from inferctl.server.probes import Probe
from inferctl.settings import ServerSettings
from tests.tasks.tinybundles import detector

from .asgi import get
from .wiring import working

WELL = """\
[+]engine ok
[+]models ok
[+]workers ok
[+]shutdown ok
readyz check passed
"""
LOADING = """\
[-]engine: starting
[-]models: shapes v3 loading
[+]workers ok
[+]shutdown ok
readyz check failed
"""


async def test_every_check_has_its_line(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        answer = await get(worker.app, "/readyz", query="verbose")
        assert (answer.status, answer.body.decode()) == (200, WELL)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        worker.engine_is_ready(False)
        answer = await get(worker.app, "/readyz", query="verbose=")
        assert (answer.status, answer.body.decode()) == (503, LOADING)
        answer = await get(worker.app, "/livez", query="verbose")
        assert answer.body == b"[+]ping ok\nlivez check passed\n"


async def test_what_is_to_be_known_does_not_count(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        supervisor = worker.ledger.blocks[Ledger.SUPERVISOR]
        supervisor.cell("inferctl_job_store_recreated").set(1)
        answer = await get(worker.app, "/readyz", query="verbose")
        note, last = answer.body.decode().splitlines()[-2:]
        assert note.startswith("warn: the job store was damaged")
        assert (answer.status, last) == (200, "readyz check passed")


async def test_what_is_excluded_does_not_count(tmp_path: Path) -> None:
    async with working(tmp_path, detector()) as worker:
        worker.service_ends()
        answer = await get(worker.app, "/readyz", query="exclude=shutdown")
        assert (answer.status, answer.json) == (200, {"ready": True})
        assert (await get(worker.app, "/readyz", query="exclude=engine")).status == 503
        told = (await get(worker.app, "/readyz", query="verbose&exclude=shutdown&exclude=x")).body
        assert told.splitlines()[-3:] == [
            b"[+]shutdown excluded: ok",
            b"warn: not every name to exclude is that of a check",
            b"readyz check passed",
        ]


async def test_where_there_are_keys_whoever_has_none_hears_no_names(tmp_path: Path) -> None:
    keys = {"app": KeySettings(hash=hash_of(b"key"))}
    async with working(tmp_path, detector(), server=ServerSettings(api_keys=keys)) as worker:
        worker.engine_is_ready(False)
        told = (await get(worker.app, "/readyz", query="verbose")).body
        assert b"[-]models: reason withheld" in told
        assert b"shapes" not in told


def test_one_failure_fails_all() -> None:
    checks = [Check("a"), Check("b", "broken"), Check("c")]
    assert not Probe("readyz", checks, []).passed
    assert Probe("readyz", checks, ["b"]).passed
