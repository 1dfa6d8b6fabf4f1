"""The service's state, from the ledger and the link."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest

from inferctl.arena.ledger import BEAT_S, BORN_S, PID, Ledger
from inferctl.arena.placed import Placed
from inferctl.server.devices import DeviceHealth
from inferctl.server.health import BLOCKED_S, Check, ModelHealth, State
from inferctl.settings import ModelSettings, RuntimeSettings, ServerSettings
from tests.tasks.tinybundles import classifier, detector

from .wiring import catalogue_of, make_ledger, make_models

# Their places.
SHAPES, ANIMALS = 0, 1


@dataclass
class FakeLink:
    """What the state asks of a link."""

    attached: bool = True


@dataclass
class Service:
    """A state, and the engine's numbers that it reads."""

    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)

    def __post_init__(self) -> None:
        self.ledger = make_ledger("shapes", "animals")
        settings = ModelSettings(runtime=self.runtime)
        models = make_models(detector(), classifier(), ledger=self.ledger, settings=settings)
        self.link = FakeLink()
        self.state = State(
            self.ledger,
            self.link,  # type: ignore[arg-type]
            catalogue_of(*models),
            ServerSettings(),
            lambda: False,
        )

    def engine_says(self, name: str, value: float, place: int = 0) -> None:
        self.ledger.blocks[Ledger.ENGINE].cell(name, place).set(value)

    def worker_lives(self, number: int, beat_s: float) -> None:
        """One whose event loop came round last at that moment."""
        block = self.ledger.blocks[Ledger.FIRST_WORKER + number]
        block.state(PID).set(1234)
        block.state(BEAT_S).set(beat_s)

    def engine_is_replaced(self) -> None:
        """What the supervisor says of a dead engine."""
        supervisor = self.ledger.blocks[Ledger.SUPERVISOR]
        supervisor.cell("inferctl_restarts_total", value="engine").add()
        self.engine_says("inferctl_engine_ready", 0)


def test_a_service_starts_runs_degrades_and_drains() -> None:
    service = Service()
    assert service.state.health().status == "starting"
    assert not service.state.is_loaded()
    service.engine_says("inferctl_engine_ready", 1)
    assert service.state.health().status == "ok"
    assert service.state.ready
    service.engine_is_replaced()
    assert service.state.health().status == "degraded"
    assert service.state.is_loaded(), "requests wait for the next engine"
    assert not service.state.ready
    service.engine_says("inferctl_engine_ready", 1)
    service.ledger.blocks[Ledger.SUPERVISOR].cell("inferctl_draining").set(1)
    assert service.state.health().status == "draining"
    assert not service.state.ready


def test_an_engine_that_is_not_connected_is_not_ready() -> None:
    service = Service()
    service.engine_says("inferctl_engine_ready", 1)
    service.link.attached = False
    assert not service.state.ready
    assert service.state.is_loaded()
    assert not service.state.health().model_loaded


def test_the_engine_s_states() -> None:
    service = Service()
    assert service.state.health().engine == "starting"
    service.link.attached = False
    service.engine_says("inferctl_engine_ready", 1)
    assert service.state.health().engine == "connecting"
    service.link.attached = True
    assert service.state.health().engine == "ready"
    service.engine_is_replaced()
    assert service.state.health().engine == "restarting"


def test_what_must_be_well_to_be_sent_requests() -> None:
    service = Service()
    service.worker_lives(0, time.monotonic())
    assert service.state.checks()[:2] == [
        Check("engine", "starting"),
        Check("models", "shapes v3 loading, animals v3 loading"),
    ]
    service.engine_says("inferctl_engine_ready", 1)
    assert service.state.ready
    service.worker_lives(0, time.monotonic() - 2 * BLOCKED_S)
    assert Check("workers", "1 of 1 blocked") in service.state.checks()
    assert not service.state.ready


def test_the_uptime_is_the_service_s() -> None:
    service = Service()
    service.worker_lives(0, 0.0)
    service.ledger.blocks[Ledger.SUPERVISOR].state(BORN_S).set(time.monotonic() - 100)
    health = service.state.health()
    assert 100 <= health.uptime_s < 200
    assert health.workers == 1
    assert health.last_restart is None


def test_each_model_tells_its_queue() -> None:
    service = Service()
    service.engine_says("inferctl_engine_ready", 1)
    service.engine_says("inferctl_queue_rows", 7, ANIMALS)
    service.engine_says("inferctl_queue_rows", 2)
    service.engine_says("inferctl_max_batch_rows", 16, ANIMALS)
    service.ledger.placed.write({ANIMALS: Placed("cpu")})
    models = service.state.health().models
    assert list(models) == ["shapes", "animals"]
    assert models["animals"] == ModelHealth(
        version=3,
        versions=[3],
        task="image-classification",
        state="ready",
        device="cpu",
        nodes_on_cpu=[],
        device_bytes=0,
        queue_rows=7,
        max_batch_rows=16,
    )
    assert models["shapes"].queue_rows == 2
    assert service.state.health().queue_rows == 9


def test_the_engine_s_restarts_are_told() -> None:
    service = Service()
    supervisor = service.ledger.blocks[Ledger.SUPERVISOR]
    supervisor.cell("inferctl_restarts_total", value="engine").add(2)
    supervisor.cell("inferctl_restarts_total", value="worker").add(5)
    assert service.state.health().engine_restarts == 2


LOST = Placed("cpu", missing="libcuda.so.1 is not found", fix="install it")


def test_each_model_tells_where_it_runs() -> None:
    service = Service()
    models = service.state.health().models
    assert {model.device for model in models.values()} == {None}, "not known yet"
    assert {model.device_bytes for model in models.values()} == {None}
    placed = Placed("cuda:1", ("GPU-2",), nodes_on_cpu=("Cos /cos",))
    service.ledger.placed.write({SHAPES: Placed("cpu"), ANIMALS: placed})
    service.engine_says("inferctl_model_device_bytes", 2**30, ANIMALS)
    models = service.state.health().models
    shapes, animals = models["shapes"], models["animals"]
    assert (shapes.device, shapes.nodes_on_cpu, shapes.device_bytes) == ("cpu", [], 0)
    assert (animals.device, animals.nodes_on_cpu) == ("cuda:1", ["Cos /cos"])
    assert animals.device_bytes == 2**30


@pytest.mark.parametrize(("limit", "told"), [(0, None), (2**30, 2**30)])
def test_a_device_tells_its_memory_limit(limit: int, told: int | None) -> None:
    service = Service(RuntimeSettings(memory_limit_bytes=limit))
    assert service.state.health().device is None
    service.ledger.placed.write({SHAPES: Placed("cpu"), ANIMALS: Placed("cuda:0")})
    assert service.state.health().device == DeviceHealth(
        name="cuda:0", memory_used_bytes=None, memory_total_bytes=None, memory_limit_bytes=told,
        utilization=None,
    )  # fmt: skip


@pytest.mark.row(122)
@pytest.mark.parametrize(
    ("placed", "who"),
    [
        ({}, None),
        ({SHAPES: LOST, ANIMALS: LOST}, "the models run"),
        ({SHAPES: LOST, ANIMALS: Placed("cuda:0")}, "shapes runs"),
        ({SHAPES: Placed("cuda:0"), ANIMALS: Placed("cuda:0")}, None),
        ({SHAPES: Placed("cpu"), ANIMALS: Placed("cpu")}, None),
    ],
    ids=["it starts", "all fell back", "one did", "none did", "the CPU was asked for"],
)
def test_a_cpu_that_was_not_asked_for_is_a_warning(
    placed: dict[int, Placed], who: str | None
) -> None:
    service = Service()
    service.ledger.placed.write(placed)
    expected = (
        f"libcuda.so.1 is not found, so {who} on the CPU: install it; set runtime.device = cpu if "
        "that is meant"
    )
    assert service.state.health().warnings == ([expected] if who else [])


def test_a_model_that_a_gpu_runs_in_part_is_a_warning() -> None:
    service = Service()
    placed = Placed("cuda:0", nodes_on_cpu=("Cos /cos", "Sin"))
    service.ledger.placed.write({SHAPES: placed, ANIMALS: Placed("cuda:0")})
    (warning,) = service.state.health().warnings
    assert warning.startswith("shapes runs on the CPU in part: Cos /cos, Sin: ")


def test_a_model_that_is_not_on_all_its_gpus_is_a_warning() -> None:
    service = Service()
    placed = Placed("cuda:0,2", ("", ""), left_out=("cuda:1 (insufficient memory: it is full)",))
    service.ledger.placed.write({SHAPES: placed, ANIMALS: Placed("cuda:0")})
    health = service.state.health()
    assert health.models["shapes"].device == "cuda:0,2"
    assert health.warnings == [
        "shapes is not on cuda:1 (insufficient memory: it is full): free it, or name the others in "
        "runtime.device"
    ]


def test_what_is_not_served_is_told_with_its_reason() -> None:
    service = Service()
    problems = {"shapes version 4": "it is damaged"}
    catalogue = service.state.catalogue
    catalogue.roster = catalogue.roster.model_copy(update={"problems": problems})
    assert "shapes version 4 is not served: it is damaged" in service.state.health().warnings
    service.engine_says("inferctl_engine_ready", 1)
    assert service.state.health().status == "ok"
