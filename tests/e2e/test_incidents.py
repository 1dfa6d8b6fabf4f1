"""Five incidents, played on a real service, are each found by what docs/runbook.md says."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from docs.generate import REPOSITORY
from inferctl.keys import hash_of, new_key
from tests.client.bundles import write_bundles
from tests.e2e.prometheus import Prometheus
from tests.e2e.service import Answer, Service
from tests.faults.kit import VOCABULARY, write_kit
from tests.faults.pictures import b64, coloured

pytestmark = pytest.mark.e2e

RUNBOOK = REPOSITORY / "docs" / "runbook.md"
# Who is well behaved, who is looked for, and who scrapes.
SHOP, CRAWLER, SCRAPER = "shop", "crawler", "scraper"
TIMES = 12
# Where a service's stdout goes.
OUTPUT = "stdout"


class Cause(NamedTuple):
    """A section of the runbook: what it asks Prometheus, and the log's command if it has one."""

    name: str
    expression: str
    command: str


def causes() -> Iterator[Cause]:
    """In their order: the first that answers is the one to act on."""
    text = RUNBOOK.read_text().partition("# What each alert wants")[0]
    for section in text.split("\n## ")[1:]:
        blocks = dict(re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL))
        yield Cause(section.splitlines()[0], blocks["promql"], blocks.get("sh", ""))


CAUSES = {cause.name: cause for cause in causes()}
# What takes the place of a command's first words where the log is on stdout.
PIPED = set(re.findall(r"\n(?:docker|kubectl) logs .* \| (.*) …", RUNBOOK.read_text()))


class Stage(NamedTuple):
    """A service that a Prometheus scrapes, and the keys of its clients."""

    service: Service
    prometheus: Prometheus
    keys: dict[str, str]

    def ask(self, who: str, model: str, body: object) -> Answer:
        key = {"Content-Type": "application/json", "Authorization": f"Bearer {self.keys[who]}"}
        return self.service.request(f"/models/{model}/predict", json.dumps(body).encode(), key)

    def ask_often(self, who: str, model: str, body: object) -> set[int]:
        return {self.ask(who, model, body).status for _ in range(TIMES)}

    def found(self) -> str:
        """The name of the first cause that answers."""
        self.prometheus.wait_for_scrape()
        fires = (cause.name for cause in CAUSES.values() if self.fires(cause))
        return next(fires, "nothing")

    def fires(self, cause: Cause) -> bool:
        return bool(self.prometheus.query(cause.expression))

    def told(self, cause: Cause, piped: Path | None = None) -> list[list[str]]:
        """What the log's command prints where the service was started: the cells of its rows.

        `piped` is the log of a service that has it on stdout.
        """
        command = cause.command
        if piped:
            (reader,) = PIPED
            command = command.replace("inferctl logs", reader)
        words = shlex.split(command)
        assert words[0] == "inferctl"
        shown = subprocess.run(
            [sys.executable, "-m", *words], cwd=self.service.folder,
            input=piped and piped.read_text(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        return [row.split() for row in shown.stdout.splitlines()[1:]]


Set = Callable[..., Stage]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Set]:
    """Start a service with some settings, and its Prometheus."""
    with ExitStack() as started:

        def start(*assignments: str) -> Stage:
            write_kit(write_bundles(tmp_path / "models"), "gather")
            keys = {who: new_key() for who in (SHOP, CRAWLER, SCRAPER)}
            hashes = [f"server.api_keys.{who}.hash={hash_of(keys[who].encode())}" for who in keys]
            flags = [word for each in (*hashes, *assignments) for word in ("--set", each)]
            arguments = [str(tmp_path / "models"), "--port", "0", "--workers", "1", *flags]
            output = started.enter_context((tmp_path / OUTPUT).open("wb"))
            service = Service(arguments, tmp_path, output=output)
            started.callback(service.stop)
            service.wait_until_ready()
            scraping = Prometheus(tmp_path / "prometheus", service.url, keys[SCRAPER])
            started.callback(scraping.stop)
            scraping.wait_until_ready()
            scraping.wait_for_scrape()
            return Stage(service, scraping, keys)

        yield start


def test_nothing_is_found_where_nothing_is_wrong(stage: Set) -> None:
    usual = stage()
    assert usual.ask_often(SHOP, "mood", {"text": "a good film"}) == {200}
    assert usual.found() == "nothing"


def test_a_full_disk_of_the_log_is_found(stage: Set) -> None:
    blind = stage("logs.path=/dev/full")
    assert blind.ask_often(SHOP, "mood", {"text": "a good film"}) == {200}
    lost = "inferctl_log_dropped_total"
    blind.prometheus.wait_until(
        lambda: bool(blind.prometheus.query(f"{lost} == {TIMES}")),
        lambda: blind.prometheus.query(lost),
    )
    assert blind.found() == "The log's disk is full"


def test_an_engine_that_restarts_is_found(stage: Set) -> None:
    shaken = stage("server.request_timeout_ms=30000")
    (pid,) = shaken.service.pids("inferctl-engine")
    os.kill(pid, signal.SIGKILL)
    assert shaken.ask_often(SHOP, "mood", {"text": "a good film"}) == {200}, "they wait for another"
    assert shaken.found() == "The engine restarts"
    (sample,) = shaken.prometheus.query(CAUSES["The engine restarts"].expression)
    assert sample["metric"]["reason"] == "killed"


def test_a_client_that_poisons_batches_is_found(stage: Set, tmp_path: Path) -> None:
    """In a log on stdout, as the images have it."""
    poisoned = stage("logs.path=-")
    assert poisoned.ask_often(SHOP, "gather", {"inputs": {"x": [[1]]}}) == {200}
    assert poisoned.ask_often(CRAWLER, "gather", {"inputs": {"x": [[VOCABULARY]]}}) == {500}
    assert poisoned.found() == "One client poisons batches"
    told = poisoned.told(CAUSES[poisoned.found()], piped=tmp_path / OUTPUT)
    assert told == [[str(TIMES), CRAWLER]]


def test_clients_whose_pictures_are_slow_to_decode_are_found(stage: Set) -> None:
    side = 3000
    slow = stage()
    large, small = ({"image_b64": b64(coloured("red", side=each))} for each in (side, 8))
    assert slow.ask_often(SHOP, "animals", small) == {200}
    assert slow.ask_often(CRAWLER, "animals", large) == {200}
    assert slow.found() == "Clients whose inputs are slow to decode"
    assert slow.told(CAUSES[slow.found()])[0] == [str(TIMES), CRAWLER, f"{side}x{side}"]


def test_a_window_that_is_too_long_is_found(stage: Set) -> None:
    idle = stage("batching.max_wait_ms=100")
    assert idle.ask_often(SHOP, "mood", {"text": "a good film"}) == {200}
    assert idle.found() == "The batch window is too long"
    assert idle.told(CAUSES[idle.found()]) == [[str(TIMES), "mood", "1"]]


def test_each_alert_has_its_place_in_the_runbook() -> None:
    rules = (REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text()
    anchors = {re.sub(r"[^\w -]", "", line[3:]).lower().replace(" ", "-")
               for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}  # fmt: skip
    wanted = set(re.findall(r"runbook_url: docs/runbook\.md#(\S+)", rules))
    linked = set(re.findall(r"\]\(#(\S+?)\)", RUNBOOK.read_text()))
    assert len(wanted) > 20
    assert wanted | linked <= anchors
