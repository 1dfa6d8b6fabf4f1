"""Places: whose counters go on, whose start anew, and what happens when there are none."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from inferctl.arena.ledger import Ledger, ledger_bytes
from inferctl.bundles.repository import Bundle
from inferctl.errors import StartError
from inferctl.settings import LimitsSettings, ModelSettings
from inferctl.supervisor import stock as module
from inferctl.supervisor.stock import Stock
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


def take(stock: Stock, name: str) -> int:
    return stock.take(bundle(name), OWN).place


def test_versions_in_memory_have_places_of_their_own(stock: Stock) -> None:
    assert len({take(stock, name) for name in ("a", "a", "b", "a")}) == 4


def test_a_model_comes_back_to_its_own_places_first(stock: Stock) -> None:
    a, b = take(stock, "a"), take(stock, "b")
    stock.free(a)
    stock.free(b)
    assert (take(stock, "b"), take(stock, "a")) == (b, a)


def test_places_of_models_that_are_gone_are_the_last_to_be_taken(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 3)
    gone, kept = take(stock, "gone"), take(stock, "kept")
    stock.free(gone)
    assert take(stock, "new") not in (gone, kept)
    assert take(stock, "newer") == gone


def test_the_counters_of_a_model_that_is_there_are_not_forgotten(
    stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PLACES", 2)
    first, _ = take(stock, "a"), take(stock, "a")
    stock.free(first)
    with pytest.raises(StartError, match="more than 2 versions in memory"):
        take(stock, "b")
    assert take(stock, "a") == first


@pytest.mark.row(122)
@pytest.mark.parametrize(
    ("device", "on_cuda", "would"), [("auto", 0, True), ("auto", 1, False), ("cpu", 0, False)]
)
def test_a_model_that_may_run_on_a_gpu_and_does_not_is_known(
    stock: Stock, ledger: Ledger, device: str, on_cuda: float, would: bool
) -> None:
    own = ModelSettings.model_validate({"runtime": {"device": device}})
    spec = stock.take(bundle("a"), own)
    stock.of_engine[spec.place] = spec
    ledger.blocks[Ledger.ENGINE].cell("inferctl_engine_on_cuda").set(on_cuda)
    assert stock.would_rather_have_a_gpu() is would


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
