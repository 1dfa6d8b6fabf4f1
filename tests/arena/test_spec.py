"""What a child is told at birth comes out of JSON as it went in."""

from __future__ import annotations

import json

import pytest

from inferctl.arena.spec import (
    EngineSpec,
    ModelSpec,
    ProcessSpec,
    Roster,
    ServedVersions,
    WorkerSpec,
)
from inferctl.observation import LogsSettings
from inferctl.settings import BatchingSettings, ModelSettings, ServerSettings
from tests.tasks.tinybundles import detector

MODEL = ModelSpec(
    place=0,
    manifest=detector(),
    bundle="models/shapes/1",
    slots=8,
    arena_fd=5,
    settings=ModelSettings(default=True, batching=BatchingSettings(max_wait_ms=10)),
)


@pytest.mark.parametrize(
    "spec",
    [
        EngineSpec(
            models=(MODEL,), workers=2, ledger_fd=4, process=1, is_successor=True, deadline_s=5
        ),
        WorkerSpec(
            models=(MODEL,),
            workers=2,
            ledger_fd=4,
            process=3,
            roster=Roster(
                models={"shapes": ServedVersions(places={1: 0}, default=1, labels={"stable": 1})},
                default="shapes",
                problems={"shapes version 2": "damaged"},
            ),
            index=1,
            listen_fd=6,
            server=ServerSettings(port=0, workers=2),
            logs=LogsSettings(path="-"),
        ),
    ],
)
def test_a_spec_survives_its_message(spec: ProcessSpec) -> None:
    assert type(spec).model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec
