"""A version takes over: what is on its way stays with the old one, what comes goes to the new."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
import pytest

from inferctl.arena.spec import Roster
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON
from inferctl.tasks.images import EXAMPLE_PNG_B64
from tests.tasks.tinybundles import classifier, numbers

from .asgi import post_json
from .doors import DOORS, Door
from .loop import look_once, until
from .wire import packet, serving
from .wiring import ServedModel, Worker, outputs_of, roster_of, working

IMAGE = {"image_b64": EXAMPLE_PNG_B64}
NUMBERS = {"inputs": [1, 2, 3, 4]}


def tell_the_version(model: ServedModel, slot: int) -> None:
    outputs_of(model, slot)["logits"][:] = model.version


@asynccontextmanager
async def two_versions(folder: Path, **options: object) -> AsyncIterator[Worker]:
    """Versions 1 and 2, of which 1 is served by default; whatever is answered is of one of them."""
    versions = numbers(version=1), numbers(version=2)
    async with working(folder, *versions, fill=tell_the_version, **options) as worker:  # type: ignore[arg-type]
        switch(worker, 1)
        yield worker


def switch(worker: Worker, version: int, **labels: int) -> None:
    """Another version answers by default."""
    both = roster_of(*worker.models, **labels)
    served = both.models["sums"].model_copy(update={"default": version})
    roster = Roster(models={"sums": served}, default="sums")
    worker.catalogue.renew(roster, {model.place: model for model in worker.models})
    worker.predict.renew()


def requests(worker: Worker) -> list[int]:
    return [model.requests for model in worker.models]


@pytest.mark.parametrize("door", DOORS)
async def test_the_query_names_another_version(tmp_path: Path, door: Door) -> None:
    async with two_versions(tmp_path) as worker, door(worker) as way:
        switch(worker, 1, canary=2)
        ones = ("", "version=", "version=1")
        twos = ("version=2", "version=canary", "version=latest", "vers%69on=2")
        for query, version in (*((query, 1) for query in ones), *((query, 2) for query in twos)):
            for _ in range(2):
                answer = await way.post_json(NUMBERS, query=query)
                assert answer.json["version"] == version, query
                assert answer.json["outputs"]["logits"] == [version] * 3
        assert (await way.post_json(NUMBERS, query="version=3")).status == 404
        assert requests(worker) == [0, 0]


PATHS = ("/v2/models/sums{}/infer", "/v1/models/sums{}:predict")
V2_BODY = {
    "inputs": [{"name": "input", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}],
    "instances": [[1, 2, 3, 4]],
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("path", PATHS)
async def test_the_path_names_a_version_in_other_dialects(
    tmp_path: Path, door: Door, path: str
) -> None:
    async with two_versions(tmp_path) as worker, door(worker) as way:
        for default in (1, 2):
            switch(worker, default, canary=2)
            expected = {"": default, "/versions/1": 1, "/versions/2": 2, "/versions/canary": 2}
            for version, answers in expected.items():
                answer = await way.post_json(V2_BODY, path.format(version))
                assert answer.status == 200, answer.json
                assert f"[{float(answers)}," in answer.body.decode().replace(" ", "")
        assert (await way.post_json(V2_BODY, path.format("/versions/3"))).status == 404
        assert requests(worker) == [0, 0]


@pytest.mark.parametrize("door", DOORS)
async def test_requests_after_a_switch_go_to_the_new_version(tmp_path: Path, door: Door) -> None:
    """Their heads may be known from before."""
    async with two_versions(tmp_path) as worker, door(worker) as way:
        for version in (1, 2, 1, 2):
            switch(worker, version)
            for path in ("/predict", "/models/sums/predict"):
                for _ in range(2):
                    answer = (await way.post_json(NUMBERS, path)).json
                    assert (answer["version"], answer["outputs"]["logits"][0]) == (version, version)


@pytest.mark.parametrize("door", DOORS)
async def test_a_request_on_its_way_is_answered_by_the_version_it_began_with(
    tmp_path: Path, door: Door
) -> None:
    async with two_versions(tmp_path, verdict=None) as worker, door(worker) as way:
        asking = asyncio.create_task(way.post_json(NUMBERS))
        row = await worker.engine.next()
        switch(worker, 2)
        left: list[bool] = []
        worker.models[0].leave(lambda: left.append(True))
        assert requests(worker) == [1, 0]
        assert not left
        worker.engine.answer(row)
        answer = (await asking).json
        assert (answer["version"], answer["outputs"]["logits"]) == (1, [1.0] * 3)
        assert left


@pytest.mark.parametrize("door", DOORS)
async def test_every_end_of_a_request_is_counted(tmp_path: Path, door: Door) -> None:
    """A version that some request did not let go of would stay in memory for ever."""
    server = ServerSettings(max_body_bytes=1024)
    async with two_versions(tmp_path, server=server) as worker, door(worker) as way:
        for content in (
            NUMBERS,
            {},
            {"inputs": [1]},
            {"items": [NUMBERS, {}, NUMBERS]},
            {"items": []},
        ):
            await way.post_json(content)
            await way.post_json(content, headers={"X-Request-Timeout-Ms": "1000"})
            await way.post_json(content, headers={"Content-Type": "image/png"})
        assert (await way.ask(body=b"x" * 1025, headers={"Content-Type": JSON})).status == 413
        await look_once()
        left: list[int] = []
        for model in worker.models:
            model.leave(lambda: left.append(1))
        assert len(left) == 2


async def test_items_that_outlive_their_request_hold_their_version(tmp_path: Path) -> None:
    """Its client left; the engine has the rows still."""
    door = DOORS[1]
    async with two_versions(tmp_path, verdict=None) as worker, door(worker) as way:
        asking = asyncio.create_task(way.post_json({"items": [NUMBERS, NUMBERS]}))
        rows = [await worker.engine.next() for _ in range(2)]
        left: list[bool] = []
        worker.models[0].leave(lambda: left.append(True))
        asking.cancel()
        worker.time_is_over()
        await look_once()
        for row in rows:
            assert not left
            worker.engine.answer(row)
            await look_once()
        assert left


async def test_whoever_is_refused_places_lets_its_version_go(tmp_path: Path) -> None:
    async with two_versions(tmp_path, slots=2) as worker, DOORS[0](worker) as way:
        answer = await way.post_json({"items": [NUMBERS] * 5})
        assert answer.status == 413
        left: list[bool] = []
        worker.models[0].leave(lambda: left.append(True))
        assert left


async def test_a_request_whose_body_is_still_to_come_holds_its_version(tmp_path: Path) -> None:
    """It has no place in the queue yet."""
    data = packet(body=orjson.dumps(NUMBERS), headers={"Content-Type": JSON})
    async with two_versions(tmp_path) as worker, serving(worker) as service:
        for known in (False, True):
            switch(worker, 1)
            client = await service.connect()
            if known:
                await client.ask(data)
            await client.send(data[:-5])
            await look_once()
            switch(worker, 2)
            left: list[bool] = []
            worker.models[0].leave(partial(left.append, True))
            assert not left
            await client.send(data[-5:])
            assert (await client.answer()).json["version"] == 1
            assert left


async def test_items_that_wait_for_their_decoder_let_their_version_go_with_the_request(
    tmp_path: Path,
) -> None:
    go_on = threading.Event()
    async with working(tmp_path, classifier()) as worker:
        for _ in range(2):
            worker.work.decoders.submit(go_on.wait)
        asking = asyncio.create_task(post_json(worker.app, {"items": [IMAGE, IMAGE]}))
        await worker.slots_are_used(2)
        left: list[bool] = []
        worker.models[0].leave(partial(left.append, True))
        assert not left
        asking.cancel()
        await until(lambda: left)
        go_on.set()
