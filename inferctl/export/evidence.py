"""The rows that a variant of a graph is calibrated on, and the others that judge it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from inferctl.errors import UsageError
from inferctl.export.loaded import ModelFacts
from inferctl.export.pictures import MAX_PICTURES, picture_files, picture_samples, spread
from inferctl.export.quantise import Array
from inferctl.export.request import BundleRequest
from inferctl.export.samples import MORE_ROWS, Sample, judging_samples, more_samples, samples
from inferctl.export.texts import text_lines, text_samples

_CALIBRATION_SEED = 2
# Texts that judge; more of them change little.
_MAX_TEXTS = 256


@dataclass(frozen=True, slots=True)
class Evidence:
    """`calibration` holds single rows of an image model; no row is in both.

    `real`: a person's own data judges, and no generated rows but those of the verification.
    """

    calibration: tuple[Array, ...]
    judging: tuple[Sample, ...]
    note: str | None = None
    real: bool = False


def gather(loaded: ModelFacts, request: BundleRequest) -> Evidence:
    """Take real pictures, one half to calibrate and one to judge, or real texts, all to judge.

    Where there is no real data, rows are generated. Raises UsageError when the folder holds too
    few, or something that cannot be read.
    """
    if request.calibration_data is not None:
        return _real(loaded, request)
    judging = (*samples(loaded), *judging_samples(loaded))
    if loaded.image is None:
        return Evidence((), judging)
    rows = [sample.feeds["image"] for sample in more_samples(loaded, _CALIBRATION_SEED)]
    note = f"calibrated on {MORE_ROWS} generated pictures: give real ones with --calibration-data"
    return Evidence(tuple(chain.from_iterable(rows)), judging, note)


def _real(loaded: ModelFacts, request: BundleRequest) -> Evidence:
    folder, flag = request.calibration_data, "--calibration-data"
    assert folder is not None  # the caller asked
    if loaded.image is None:
        return _real_texts(loaded, folder, flag)
    files = spread(picture_files(folder, flag), MAX_PICTURES)
    if len(files) < 2:
        raise UsageError(
            "one picture is too few: some calibrate, others judge",
            where=f"{flag} {folder}",
            hint="64 or more are a good number",
        )
    rows = [sample.feeds["image"] for sample in picture_samples(files[::2], loaded.image)]
    judging = (*samples(loaded), *picture_samples(files[1::2], loaded.image))
    note = f"calibrated on {len(files[::2])} pictures, judged on {len(files[1::2])} others"
    return Evidence(tuple(chain.from_iterable(rows)), judging, note, real=True)


def _real_texts(loaded: ModelFacts, folder: Path, flag: str) -> Evidence:
    """Weights of matrix products need no calibration: texts only judge."""
    assert loaded.text is not None  # the model is none of pictures
    assert loaded.tokenizer is not None  # samples were made with it before
    lines = spread(text_lines(folder, flag), _MAX_TEXTS)
    judging = (*samples(loaded), *text_samples(lines, loaded.tokenizer, loaded.text))
    return Evidence((), judging, f"judged on {len(lines)} texts", real=True)
