"""The rows that a variant of a graph is calibrated on, and the others that judge it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from inferctl.errors import UsageError
from inferctl.export.loaded import ModelFacts
from inferctl.export.pictures import MAX_PICTURES, picture_files, picture_samples, spread
from inferctl.export.quantise import Array
from inferctl.export.request import BundleRequest
from inferctl.export.samples import MORE_ROWS, Sample, more_samples, samples

_CALIBRATION_SEED, _JUDGING_SEED = 2, 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """`calibration` holds single rows of an image model; no row is in both."""

    calibration: tuple[Array, ...]
    judging: tuple[Sample, ...]
    note: str | None = None


def gather(loaded: ModelFacts, request: BundleRequest) -> Evidence:
    """Take real pictures, one half to calibrate and one to judge, or else generated rows.

    Raises UsageError when the folder holds too few, or a file that is no picture.
    """
    if request.calibration_data is not None:
        return _real(loaded, request)
    judging = (*samples(loaded), *more_samples(loaded, _JUDGING_SEED))
    if loaded.image is None:
        return Evidence((), judging)
    rows = [sample.feeds["image"] for sample in more_samples(loaded, _CALIBRATION_SEED)]
    note = f"calibrated on {MORE_ROWS} generated pictures: give real ones with --calibration-data"
    return Evidence(tuple(chain.from_iterable(rows)), judging, note)


def _real(loaded: ModelFacts, request: BundleRequest) -> Evidence:
    folder, flag = request.calibration_data, "--calibration-data"
    assert folder is not None  # the caller asked
    if loaded.image is None:
        raise UsageError(
            "a text model is quantised without calibration", where=flag, hint="leave it out"
        )
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
    return Evidence(tuple(chain.from_iterable(rows)), judging, note)
