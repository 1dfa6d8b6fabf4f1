"""The axes of the search."""

from __future__ import annotations

from dataclasses import replace

from inferctl.bench.slo import Slo
from inferctl.settings import Settings
from inferctl.tune.space import Space, base_candidate, find_space
from tests.tune.modelled import BASE, FP32, INT8, SLO, SPACE

ROWS = (1, 2, 4)


def space(cores: int = 4, slo: Slo = SLO, is_image: bool = False) -> Space:
    return find_space(
        BASE, [FP32, INT8], slo, cores=cores, rows=ROWS, is_image=is_image, on_gpu=False
    )


def test_an_axis_begins_with_what_is_set_now() -> None:
    assert all(values[0] == getattr(BASE, axis) for axis, values in space().axes.items())


def test_instances_and_threads_share_the_cores() -> None:
    assert space(cores=4).axes["layout"] == (("auto", "auto"), (2, 2), (1, 4), (1, 1))


def test_workers_double_up_to_the_cores() -> None:
    assert space(cores=8).axes["workers"] == ("auto", 1, 2, 4)
    assert "workers" not in space(cores=1).axes


def test_no_batch_is_held_for_longer_than_a_quarter_of_the_limit() -> None:
    assert space(slo=Slo(99, 50)).axes["wait"] == (0.0, 2.0, 5.0, 10.0)
    assert space(slo=Slo(99, 6)).axes["wait"] == (0.0, 1.0)
    assert "wait" not in space(slo=Slo(99, 2)).axes


def test_only_pictures_are_decoded() -> None:
    assert "decode" not in space().axes
    assert space(is_image=True).axes["decode"] == ("fast", "exact")


def test_the_neighbours_of_the_best_differ_in_one_axis() -> None:
    best = replace(BASE, batch=8)

    assert [one.batch for one in SPACE.along("batch", best)] == ["auto", 1, 32]
    assert {one.workers for one in SPACE.along("batch", best)} == {"auto"}


def test_the_grid_is_every_combination() -> None:
    assert len(set(SPACE.all())) == 2 * 3 * 2 * 4 * 3


def test_the_base_is_what_the_settings_say_of_the_model() -> None:
    settings = Settings.model_validate(
        {
            "server": {"workers": 3},
            "batching": {"max_wait_ms": 4},
            "models": {"net": {"batching": {"max_batch_rows": 16}}},
        }
    )
    base = base_candidate(settings, FP32)

    assert (base.workers, base.wait, base.batch) == (3, 4.0, 16)


def test_a_candidate_says_in_what_it_differs() -> None:
    other = replace(BASE, batch=8, layout=(1, 2))

    assert other.beside(BASE) == "instances 1 x 2 threads, batch 8"
    assert BASE.beside(BASE) == "as it is"
