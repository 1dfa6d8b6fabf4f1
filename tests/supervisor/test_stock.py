"""Places: whose counters go on, whose start anew, and what happens when there are none."""

from __future__ import annotations

import mmap
import os
from collections import Counter
from pathlib import Path

import pytest

from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.bundles.repository import Bundle
from inferctl.errors import StartError
from inferctl.settings import LimitsSettings, ModelSettings
from inferctl.supervisor import stock as module
from inferctl.supervisor.stock import KEPT_VERSIONS, Stock
from tests.tasks.tinybundles import laid_down, numbers

OWN = ModelSettings(limits=LimitsSettings(max_queue_rows=4))


def bundle(name: str, version: int = 1) -> Bundle:
    return laid_down(Path("models"), numbers(name=name, version=version))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(mmap.mmap(-1, ledger_bytes(3)), 1)


@pytest.fixture
def stock(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stock:
    monkeypatch.chdir(tmp_path)
    return Stock(ledger, 1)


def take(stock: Stock, name: str, version: int = 1) -> int:
    return stock.take(bundle(name, version), OWN).place


def rows_of(ledger: Ledger, model: str) -> Counter[str]:
    """What was counted of a model, by version."""
    rows: Counter[str] = Counter()
    for place, owner in ledger.places().items():
        if owner.model == model:
            rows[owner.label] += int(ledger.total("inferctl_rows_total", place))
    return rows


def test_versions_in_memory_have_places_of_their_own(stock: Stock) -> None:
    assert len({take(stock, name) for name in ("a", "a", "b", "a")}) == 4


def test_a_version_comes_back_to_its_own_place(stock: Stock) -> None:
    a, newer, b = take(stock, "a"), take(stock, "a", 2), take(stock, "b")
    for place in (a, newer, b):
        stock.free(place)
    assert (take(stock, "b"), take(stock, "a", 2), take(stock, "a")) == (b, newer, a)


def test_of_many_versions_the_last_keep_their_series_and_none_loses_a_count(
    stock: Stock, ledger: Ledger
) -> None:
    kept = take(stock, "kept")
    ledger.blocks[2].cell("inferctl_rows_total", kept).add(7)
    counted, before = 0, 0.0
    for version in range(1, 40):
        place = take(stock, "a", version)
        ledger.blocks[2].cell("inferctl_rows_total", place).add(version)
        counted += version
        stock.free(place)
        found = rows_of(ledger, "a")
        assert sum(found.values()) == counted
        assert found.get("earlier", 0) >= before
        before = found.get("earlier", 0)
        own = range(max(1, version - KEPT_VERSIONS + 1), version + 1)
        assert {name: rows for name, rows in found.items() if name != "earlier"} == {
            str(one): one for one in own
        }
    again = take(stock, "a", 1)
    assert ledger.total("inferctl_rows_total", again) == 0, "it is among the earlier ones"
    assert rows_of(ledger, "kept") == {"1": 7}


def test_a_version_that_had_two_places_is_not_added_up_by_halves(
    stock: Stock, ledger: Ledger
) -> None:
    """It was loaded with other settings beside itself; its counter would fall."""
    first, second = take(stock, "a"), take(stock, "a")
    for place, rows in ((first, 10), (second, 5)):
        ledger.blocks[2].cell("inferctl_rows_total", place).add(rows)
    stock.free(first)
    for version in range(2, 3 + KEPT_VERSIONS):
        stock.free(take(stock, "a", version))
        assert rows_of(ledger, "a")["1"] == 15
    stock.free(second)
    for version in range(3 + KEPT_VERSIONS, 2 + 2 * KEPT_VERSIONS):
        stock.free(take(stock, "a", version))
        assert rows_of(ledger, "a")["1"] == 15, "it is among the last to go"
    stock.free(take(stock, "a", 99))
    assert "1" not in rows_of(ledger, "a")
    assert rows_of(ledger, "a")["earlier"] == 15


def test_when_places_run_out_a_version_in_memory_is_not_added_up_either(
    stock: Stock, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 4)
    places = [take(stock, "a"), take(stock, "a"), take(stock, "a", 2)]
    for place, rows in zip(places, (10, 20, 30), strict=True):
        ledger.blocks[1].cell("inferctl_rows_total", place).add(rows)
    for place in (places[0], places[2]):
        stock.free(place)
    with pytest.raises(StartError, match="more than 3 versions in memory"):
        take(stock, "b")
    assert rows_of(ledger, "a") == {"1": 30, "2": 30}


def test_when_places_run_out_versions_that_left_are_added_up(
    stock: Stock, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 4)
    places = [take(stock, "a", version) for version in (1, 2, 3)]
    for place, rows in zip(places, (10, 20, 30), strict=True):
        ledger.blocks[1].cell("inferctl_rows_total", place).add(rows)
    for place in places[:2]:
        stock.free(place)
    take(stock, "b")
    assert rows_of(ledger, "a") == {"earlier": 30, "3": 30}


def test_places_of_models_that_are_gone_are_the_last_to_be_taken(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 4)
    gone, kept = take(stock, "gone"), take(stock, "kept")
    stock.free(gone)
    assert take(stock, "new") not in (gone, kept)
    assert take(stock, "newer") == gone


def test_the_counters_of_a_model_that_is_there_are_not_forgotten(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 3)
    first, _ = take(stock, "a"), take(stock, "a")
    stock.free(first)
    with pytest.raises(StartError, match="more than 2 versions in memory"):
        take(stock, "b")
    assert take(stock, "a") == first


def test_a_place_that_is_freed_has_no_arena(stock: Stock) -> None:
    spec = stock.take(bundle("a"), OWN)
    os.fstat(spec.arena_fd)
    stock.free(spec.place)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(spec.arena_fd)


def test_a_version_is_the_same_with_the_same_manifest_and_settings(stock: Stock) -> None:
    spec = stock.take(bundle("a"), OWN)
    assert stock.same(bundle("a"), OWN) is None, "no worker has it"
    stock.of_workers[spec.place] = spec
    assert stock.same(bundle("a"), OWN) is spec
    assert stock.same(bundle("a", 2), OWN) is None
    assert stock.same(bundle("a"), ModelSettings()) is None
