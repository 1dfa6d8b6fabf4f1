"""The sample inputs are complete and repeatable."""

import json
from pathlib import Path

from PIL import Image

from inferctl.demo.samples import SAMPLE_TEXTS, TRUTH_FILE, write_images
from inferctl.demo.scenes import LABELS


def test_images_come_with_their_truth(tmp_path: Path) -> None:
    """Every file is a JPEG of the scene's size, listed with one label per box."""
    scenes = write_images(tmp_path, 3)
    truth = json.loads((tmp_path / TRUTH_FILE).read_text(encoding="utf-8"))
    assert list(truth) == ["scene-000.jpg", "scene-001.jpg", "scene-002.jpg"]
    for scene, (name, entry) in zip(scenes, truth.items(), strict=True):
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == ("JPEG", (160, 160))
        assert len(entry["boxes"]) == len(scene.boxes)
        assert entry["labels"] == [LABELS[label] for label in scene.labels]


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    """A load test sees the same pictures on every run."""
    write_images(tmp_path / "a", 2)
    write_images(tmp_path / "b", 2)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_sample_texts_vary_in_length() -> None:
    """Short and long sentences, none of them twice."""
    lengths = [len(text.split()) for text in SAMPLE_TEXTS]
    assert len(set(SAMPLE_TEXTS)) == 40
    assert min(lengths) <= 5
    assert 30 <= max(lengths) <= 40
