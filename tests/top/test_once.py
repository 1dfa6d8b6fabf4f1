"""One look, and what is said where there is nobody."""

from __future__ import annotations

import json

import pytest

from inferctl.errors import WatchError
from inferctl.top.once import Plan, document, look
from inferctl.top.view import Screen
from tests.client.scripted import Answer, free_port, problem, scripted
from tests.top.service import Service


def answers(service: Service) -> tuple[Answer, Answer]:
    return Answer(content=service.metrics().encode()), Answer(content=service.health())


async def test_two_readings_make_a_document() -> None:
    service = Service()
    first = answers(service)
    service.answers(times=30)
    with scripted(*first, *answers(service)) as server:
        screen = Screen(server.url)
        await look(Plan(server.url, 0.01), screen)
    assert screen.figures is not None
    told = json.loads(json.dumps(document(server.url, screen.figures)))
    assert told["models"]["mood"]["requests_per_s"] * told["seconds"] == pytest.approx(30)
    assert told["health"]["status"] == "ok"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (problem(401, "unauthorized"), "it is unauthorized"),
        (Answer(200, b"<html>"), "/metrics is not answered as an inferctl server does"),
    ],
)
async def test_a_server_that_cannot_be_watched_is_said(answer: Answer, said: str) -> None:
    with (
        scripted(answer, Answer(content=Service().health())) as server,
        pytest.raises(WatchError) as caught,
    ):
        await look(Plan(server.url, 0.01), Screen(server.url))
    assert (caught.value.what, caught.value.where) == (said, server.url)


async def test_where_there_is_nobody_it_is_said_at_once() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "ftp://x", "http://"):
        with pytest.raises(WatchError) as caught:
            await look(Plan(url, 60), Screen(url))
        assert caught.value.hint
