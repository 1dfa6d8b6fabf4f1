"""Versions that cannot take over, and an engine that is replaced when what it served is gone."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from tests.e2e.multiples import NAME, Shelf, graph
from tests.e2e.service import Answer, Service
from tests.faults.accounting import ENGINE, MIB
from tests.graphs import PIXELS, image_fields, image_graph, write_bundle

pytestmark = pytest.mark.e2e

ROW = {"inputs": [1, 2, 3, 4]}
IN_FLIGHT = f'inferctl_in_flight{{model="{NAME}"}}'
DEADLINE_MS = 500
# The rounds of a loop that takes several times as long.
ROUNDS = 1_500_000
HEAVY_BYTES = 64 * MIB
SPARE_BYTES = 10 * MIB

Serve = Callable[..., Service]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder with version 1 of a model of floats and of one of pictures."""
    shelf = Shelf(tmp_path)
    shelf.put(1)
    write_bundle(shelf.models / "pixels" / "1", image_graph(), image_fields())
    return shelf


@pytest.fixture
def serve(shelf: Shelf, tmp_path: Path) -> Iterator[Serve]:
    """Start a service on it that ends with the test."""
    services: list[Service] = []

    def serve_it(*arguments: str) -> Service:
        given = ("--port", "0", "--workers", "1", "--set", "server.admin=true", *arguments)
        service = Service([str(shelf.models), *given], tmp_path)
        services.append(service)
        service.wait_until_ready()
        return service

    yield serve_it
    for service in services:
        assert service.stop() == 0, "".join(service.lines)


def load(service: Service, name: str = NAME) -> Answer:
    return service.request(f"/v2/repository/models/{name}/load", b"")


def answering(service: Service) -> int:
    """The version that answers."""
    answer = service.post_json(f"/models/{NAME}/predict", ROW).json
    assert answer["outputs"]["output"] == [answer["version"] * value for value in (1, 2, 3, 4)]
    return int(answer["version"])


def slow() -> ModelProto:
    """What it is asked, after a loop of which nothing is left."""
    int64, boolean = TensorProto.INT64, TensorProto.BOOL
    kinds = (("round", int64), ("go_on", boolean), ("count", int64))
    ends = [helper.make_tensor_value_info(name, kind, []) for name, kind in kinds]
    outs = [helper.make_tensor_value_info(f"{name}_out", kind, []) for name, kind in kinds[1:]]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["go_on_out"]),
            helper.make_node("Add", ["count", "round"], ["count_out"]),
        ],
        "round",
        ends,
        outs,
    )
    rounds, true, nought = (
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, [], [value]))
        for name, kind, value in (
            ("rounds", int64, ROUNDS),
            ("true", boolean, 1),
            ("nought", int64, 0),
        )
    )
    nodes = [
        helper.make_node("Loop", ["rounds", "true", "nought"], ["sum"], body=body),
        helper.make_node("Mul", ["sum", "nought"], ["nothing"]),
        helper.make_node("Cast", ["nothing"], ["nothing_float"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["input", "nothing_float"], ["output"]),
    ]
    return graph([rounds, true, nought, *nodes])


def not_a_number() -> ModelProto:
    """Scores for no picture."""
    model = image_graph()
    (last,) = [node for node in model.graph.node if node.op_type == "Cast"]
    last.output[0] = "values"
    nan = helper.make_tensor("nan", TensorProto.FLOAT, [1], [float("nan")])
    model.graph.initializer.append(nan)
    model.graph.node.append(helper.make_node("Mul", ["values", "nan"], ["scores"]))
    return model


def heavy() -> ModelProto:
    """What it is asked, and so many bytes of weights."""
    weights = np.zeros(HEAVY_BYTES // 4, np.float32)
    weights[0] = 1.0
    model = graph(
        [
            helper.make_node("ReduceMax", ["weights"], ["one"], keepdims=0),
            helper.make_node("Mul", ["input", "one"], ["output"]),
        ]
    )
    model.graph.initializer.append(numpy_helper.from_array(weights, "weights"))
    return model


@pytest.mark.row(109)
def test_a_version_that_is_too_slow_for_its_clients_never_unseats_a_good_one(
    serve: Serve, shelf: Shelf
) -> None:
    service = serve("--set", f"server.request_timeout_ms={DEADLINE_MS}")
    shelf.put(2, slow())

    answer = load(service)
    assert answer.status == 400
    assert "s for one row, longer than the 0.5 s of server." in answer.json["error"]
    assert answering(service) == 1
    assert service.metric('inferctl_reloads_total{outcome="failed"}') == 1


@pytest.mark.row(109)
def test_a_version_that_answers_no_numbers_never_unseats_a_good_one(
    serve: Serve, shelf: Shelf
) -> None:
    service = serve()
    write_bundle(shelf.models / "pixels" / "2", not_a_number(), image_fields(version=2))

    answer = load(service, "pixels")
    assert (answer.status, "pixels answers NaN or infinity" in answer.json["error"]) == (400, True)
    assert service.request("/models/pixels").json["version"] == 1
    assert len(service.request("/models/pixels").json["labels"]) == PIXELS


@pytest.mark.row(112)
def test_where_two_versions_do_not_fit_the_old_one_stays(serve: Serve, shelf: Shelf) -> None:
    service = serve()
    (engine,) = service.pids(ENGINE)
    pages = int(Path(f"/proc/{engine}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + HEAVY_BYTES // 2
    resource.prlimit(engine, resource.RLIMIT_AS, (limit, limit))
    shelf.put(2, heavy())

    answer = load(service)
    assert (answer.status, "insufficient memory" in answer.json["error"]) == (503, True)
    assert answering(service) == 1
    assert service.pids(ENGINE) == [engine]
    assert service.metric('inferctl_reloads_total{outcome="failed"}') == 1


def test_an_engine_is_replaced_though_the_folder_of_a_version_is_gone(
    serve: Serve, shelf: Shelf
) -> None:
    service = serve()
    shelf.put(2)
    assert load(service).status == 200
    shelf.take(2)
    os.kill(service.pids(ENGINE)[0], signal.SIGKILL)
    service.wait_for_line("not served")

    (warning,) = [one for one in service.request("/health").json["warnings"] if NAME in one]
    assert "version 2 is not served: the engine was replaced, and then" in warning
    assert service.post_json(f"/models/{NAME}/predict", ROW).status == 404
    assert service.request("/models/pixels").json["version"] == 1
    assert service.request("/readyz").status == 200

    shelf.put(2)
    assert load(service).status == 200
    assert answering(service) == 2


def test_a_row_of_a_version_that_is_gone_with_its_engine_is_told_so_at_once(
    serve: Serve, shelf: Shelf
) -> None:
    service = serve("--set", "server.request_timeout_ms=30000")
    (engine,) = service.pids(ENGINE)
    told: list[Answer] = []
    path = f"/models/{NAME}/predict"
    client = threading.Thread(target=lambda: told.append(service.post_json(path, ROW)))
    os.kill(engine, signal.SIGSTOP)
    client.start()
    service.wait_for_metric(IN_FLIGHT, 1)
    shelf.take(1)
    os.kill(engine, signal.SIGKILL)
    client.join()

    assert (told[0].status, told[0].json["code"]) == (503, "unavailable")
    assert service.metric(IN_FLIGHT) == 0
