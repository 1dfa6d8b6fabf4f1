"""A service that works for long: its memory, and what its clients get whatever happens to it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.bundles import write_bundles
from tests.e2e.service import Service
from tests.faults.conftest import Say
from tests.faults.good import good_set
from tests.faults.havoc import endure
from tests.faults.kept import Kept, address_of
from tests.faults.kit import write_kit
from tests.faults.leak import leaking
from tests.faults.memory import Sample, Scales, trend_of
from tests.faults.soak import Soak, report, soak

REPORTS = Path("reports")
SEED = 185
HOUR_S = 3600.0
LEAK_BYTES = 100

# A tenth of a day, with what memory does: noise, an allocator's steps, a wave.
Growth = Callable[[float], float]
FLAT: dict[str, Growth] = {
    "level": lambda hours: 0.0,
    "settling": lambda hours: 2.0 * (1 - math.exp(-hours * 40)),
    "wave": lambda hours: math.sin(hours * 60),
    "one step": lambda hours: 0.5 * (hours > 0.4),
}
LEAKING: dict[str, Growth] = {
    "slow": lambda hours: 4.0 * hours,
    "stairs": lambda hours: 0.25 * math.floor(hours * 16),
    "fast": lambda hours: 300.0 * hours,
    "late": lambda hours: max(0.0, hours - 0.5) * 40,
    "burst": lambda hours: 12.0 * (0.5 < hours < 0.52),
}


def series(growth: Growth, hours: float = 1.0) -> list[Sample]:
    rng = random.Random(SEED)
    times_s = range(0, int(hours * HOUR_S), 10)
    return [Sample(at, 200 + growth(at / HOUR_S) + rng.gauss(0, 0.2)) for at in times_s]


@pytest.mark.parametrize("growth", FLAT.values(), ids=FLAT)
def test_memory_that_stays_is_no_leak(growth: Growth) -> None:
    assert trend_of(series(growth)).complaints() == []


@pytest.mark.row(186)
@pytest.mark.parametrize("growth", LEAKING.values(), ids=LEAKING)
def test_memory_that_goes_on_growing_is_a_leak(growth: Growth) -> None:
    assert trend_of(series(growth)).complaints()


def test_a_slope_is_what_grew_in_an_hour() -> None:
    trend = trend_of([Sample(at, 100 + 5 * at / HOUR_S) for at in range(0, 7200, 10)])

    assert trend.slope_mib_per_h == pytest.approx(5)
    assert trend.upper_mib_per_h == pytest.approx(5)


def leaking_service(models: Path, folder: Path, size: int) -> Service:
    """One that keeps so many bytes of each request."""
    options = ["--port", "0", "--set", "models.mood.default=true", "--set", "logs.path=/dev/null"]
    environment = leaking(folder / "leak", size) if size else None
    return Service([str(models), *options], folder, environment=environment)


@pytest.mark.e2e
@pytest.mark.row(186)
def test_what_a_worker_keeps_of_each_request_is_seen(tiny_models: Path, tmp_path: Path) -> None:
    with leaking_service(tiny_models, tmp_path, 100_000) as service:
        address = address_of(service.url)
        scales = Scales(service.process.pid)
        good = good_set(address)[0]
        before_mib = scales.weigh_mib()

        with Kept(address) as client:
            for _ in range(300):
                client.ask(good.request)

        assert scales.weigh_mib() - before_mib > 15


def minutes_of(config: pytest.Config, usual: float) -> float:
    return float(config.getoption("--soak-minutes") or usual)


def soaked(service: Service, name: str, minutes: float, load: float, say: Say) -> Soak:
    """What came of a service's soak, in which most got what they asked for."""
    with service:
        done = soak(service, minutes, load, SEED, say)
    say(f"soak: {done.trend}, {report(done, REPORTS, name, SEED)}")
    assert done.seen.wrong == []
    assert done.seen.goods > done.seen.asked / 3
    assert done.seen.right >= 0.9 * done.seen.goods
    return done


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.row(185)
def test_an_hour_of_load_leaves_memory_as_it_was(
    tiny_models: Path, tmp_path: Path, pytestconfig: pytest.Config, say: Say
) -> None:
    service = leaking_service(tiny_models, tmp_path, 0)
    minutes, load = minutes_of(pytestconfig, 60), pytestconfig.getoption("--soak-load")

    done = soaked(service, "soak", minutes, load, say)

    assert done.trend.complaints() == []


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.row(186)
def test_a_hundred_bytes_kept_of_each_request_are_found(
    tiny_models: Path, tmp_path: Path, pytestconfig: pytest.Config, say: Say
) -> None:
    """The negative control of the test above: a tenth of its time will do."""
    service = leaking_service(tiny_models, tmp_path, LEAK_BYTES)
    minutes, load = minutes_of(pytestconfig, 60) / 10, pytestconfig.getoption("--soak-load")

    done = soaked(service, "soak-control", minutes, load, say)

    assert any("slope" in complaint for complaint in done.trend.complaints())


@pytest.mark.e2e
@pytest.mark.soak
@pytest.mark.row(192)
def test_whatever_happens_right_requests_get_their_answers(
    tmp_path: Path, pytestconfig: pytest.Config, say: Say
) -> None:
    models = write_bundles(tmp_path / "models")
    write_kit(models, "divmin", "gather", "alloc")
    service = leaking_service(models, tmp_path, 0)
    minutes, load = minutes_of(pytestconfig, 480), pytestconfig.getoption("--soak-load")

    with service:
        done = endure(service, minutes, min(load, 0.3), pytestconfig.getoption("--soak-seed"), say)

    REPORTS.mkdir(exist_ok=True)
    (REPORTS / "havoc.txt").write_text("\n".join(done.complaints) + "\n")
    say(f"havoc: {done.availability:.4%} of {done.seen.goods:,}, {len(done.complaints)} complaints")
    assert done.availability >= 0.999
    assert not [complaint for complaint in done.complaints if "not ready" in complaint]
