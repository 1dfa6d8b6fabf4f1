"""Scenes are repeatable and their boxes can be trusted."""

import numpy as np

from inferctl.demo.scenes import LABELS, SIZE, draw_scene, scene_series


def test_the_same_generator_state_draws_the_same_scene() -> None:
    """A scene depends on nothing but its generator."""
    first = draw_scene(np.random.default_rng(7))
    second = draw_scene(np.random.default_rng(7))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.labels, second.labels)


def test_a_longer_series_starts_with_the_shorter_one() -> None:
    """Scene i is the same however many follow it."""
    short, long = scene_series(3, 2), scene_series(3, 4)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(short, long, strict=False))


def test_scenes_keep_their_shapes_and_types() -> None:
    """What the docstring promises about arrays holds."""
    for scene in scene_series(11, 20):
        assert scene.image.shape == (SIZE, SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.boxes.dtype == np.float32
        assert scene.labels.dtype == np.int64
        assert 1 <= len(scene.boxes) == len(scene.labels) <= 6


def test_boxes_lie_inside_the_image() -> None:
    """No box is cut, empty or inverted."""
    boxes = np.concatenate([scene.boxes for scene in scene_series(12, 60)])
    assert boxes.min() >= 0
    assert boxes.max() <= SIZE
    assert (boxes[:, 2:] - boxes[:, :2] > 4).all()


def test_every_class_is_drawn() -> None:
    """A series of some length shows all labels."""
    labels = np.concatenate([scene.labels for scene in scene_series(13, 30)])
    assert set(labels.tolist()) == set(range(len(LABELS)))


def test_another_size_scales_the_objects() -> None:
    """The size is a parameter of the picture and of its boxes."""
    scene = draw_scene(np.random.default_rng(1), size=64)
    assert scene.image.shape == (64, 64, 3)
    assert scene.boxes.max() <= 64
