"""What clients are told of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl.arena.spec import ModelSpec, ServedVersions
from inferctl.bundles.manifest import GRAPH_FILE, TOKENIZER_FILE, File
from inferctl.errors import BundleError
from inferctl.server.offer import Offer, make_offer
from inferctl.settings import ModelSettings
from tests.tasks.tinybundles import LABELS, classifier, reader, write_tokenizer

from .wiring import few_slots, make_models

OTHER_FILE = File(bytes=1, sha256="1" * 64)


def test_a_model_describes_itself() -> None:
    (model,) = make_models(classifier(), settings=few_slots(max_pixels=99))
    versions = ServedVersions(places={4: 0, 3: 1}, default=3, labels={"canary": 4})
    described = model.offer.describe(versions, default=True).model_dump(
        mode="json", exclude_none=True
    )
    assert (described["name"], described["version"]) == ("animals", 3)
    assert (described["versions"], described["version_labels"]) == ([3, 4], {"canary": 4})
    assert described["default"]
    assert described["task"] == "image-classification"
    assert described["labels"] == list(LABELS)
    assert described["inputs"] == [{"name": "image", "dtype": "uint8", "shape": ["rows", 8, 8, 3]}]
    assert described["outputs"] == [{"name": "scores", "dtype": "float32", "shape": ["rows", 3]}]
    assert described["limits"]["max_pixels"] == 99
    assert described["content_types"] == [
        "application/json", "image/jpeg", "image/png", "image/webp",
    ]  # fmt: skip
    assert described["example"] == model.task.example()


NEWER = {
    "version": 4,
    "precision": "int8",
    "files": {GRAPH_FILE: OTHER_FILE, TOKENIZER_FILE: File(bytes=0, sha256="0" * 64)},
}


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        (NEWER, True),
        ({"version": 4, "labels": ("one", "two")}, False),
        ({"version": 4, "height": 16}, False),
        ({"name": "others"}, False),
    ],
)
def test_a_version_shares_the_task_of_one_that_differs_in_weights_alone(
    changes: dict[str, Any], is_shared: bool
) -> None:
    one, other = (model.offer for model in make_models(classifier(), classifier(**changes)))
    spec = ModelSpec(
        place=1, manifest=other.manifest, bundle="", slots=8, arena_fd=-1, settings=other.settings
    )
    made = Offer(spec, [one])
    assert (made.task is one.task) == is_shared
    assert (made.answers == one.answers) == is_shared
    assert made.manifest.version == other.manifest.version


def test_other_settings_make_another_task() -> None:
    (model,) = make_models(classifier())
    settings = few_slots(max_pixels=99)
    spec = ModelSpec(
        place=1, manifest=model.manifest, bundle="", slots=8, arena_fd=-1, settings=settings
    )
    assert Offer(spec, [model.offer]).task is not model.task


def test_a_tokenizer_that_is_not_what_was_exported_makes_no_offer(tmp_path: Path) -> None:
    manifest = reader()
    write_tokenizer(tmp_path, "good")
    spec = ModelSpec(
        place=0, manifest=manifest, bundle=str(tmp_path), slots=8, arena_fd=-1,
        settings=ModelSettings(),
    )  # fmt: skip
    with pytest.raises(BundleError, match="size differs"):
        make_offer(spec, [])
