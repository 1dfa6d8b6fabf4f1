"""What decoding costs, and what `fast` costs in accuracy: `python -m benchmarks.decode`.

CPU time of one thread: medians of rounds in which the contenders take turns. Accuracy is that of
the demo's detector on held-out scenes, which are drawn larger than its input, saved as JPEG and
decoded both ways; `--images 0` leaves it out.
"""

from __future__ import annotations

import base64
import io
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pybase64
import typer
from PIL import Image
from pydantic import create_model
from rich.console import Console
from rich.progress import track

from benchmarks.bodies import PHOTO_SIZE, SEED, photos
from benchmarks.command import FOLDER, run
from benchmarks.peers.work import Array, load
from benchmarks.report import Row, Sheet, number, print_sheets
from benchmarks.workloads import IMAGE_SIDE, Assets
from inferctl.bundles.manifest import ImageInput
from inferctl.demo.evaluate import HELD_OUT_SEED, detect
from inferctl.demo.metrics import Detections, Truth, average_precisions
from inferctl.demo.scenes import LABELS, SIZE, Scene, draw_scene
from inferctl.demo.weights import load_shapes
from inferctl.settings import LimitsSettings
from inferctl.tasks.classification import ClassificationOptions
from inferctl.tasks.decode import decode_image
from inferctl.tasks.detection import DetectionOptions

Mode = Literal["fast", "exact"]
Work = Callable[[], object]

QUALITY = 85
PHOTOS, TIMED_PHOTOS, MOSAICS = 64, 8, 4
MOSAIC_SIZE, MOSAIC_TILES = (1920, 1080), 9
ENCODED_BYTES = 90_000  # 120,000 characters of base64
SMALL_REPEATS = 50
ROW_BATCH = 8
MAX_PIXELS = LimitsSettings().max_pixels
CONFIDENCE = DetectionOptions().confidence_threshold
IOUS = (0.5, 0.75)


@dataclass(frozen=True, slots=True)
class Files:
    """Encoded images of one kind."""

    name: str
    data: Sequence[bytes]


def main(
    images: Annotated[int, typer.Option(min=0, help="Scenes; 0 leaves accuracy out")] = 300,
    side: Annotated[int, typer.Option(min=SIZE, max=4096, help="Of a scene, pixels")] = 4 * SIZE,
    rounds: Annotated[int, typer.Option(min=1, max=1000)] = 15,
    assets: Annotated[Path, typer.Option(help="Where the workloads lie")] = FOLDER,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print for a README")] = False,
) -> None:
    """Measure and print."""
    taken = photos(PHOTOS, SEED)
    sheets = [decoding_sheet(kinds(taken), rounds), reading_sheet(ENCODED_BYTES, rounds)]
    if images:
        sheets.append(accuracy_sheet(scenes(images, side), side))
        bundle = Assets(assets).bundle("vision")
        if bundle.exists():
            sheets.append(label_sheet(bundle, taken))
        else:
            Console(stderr=True).print(
                f"the ResNet-18 is left out: no {bundle}; `python -m benchmarks.workloads` makes it"
            )
    print_sheets(sheets, markdown=markdown)


def kinds(taken: Sequence[bytes]) -> list[Files]:
    """Photos as they are, mosaics of them, and the same pixels without loss."""
    few = taken[:TIMED_PHOTOS]
    return [
        Files(f"JPEG {_by(PHOTO_SIZE)}", few),
        Files(f"JPEG {_by(MOSAIC_SIZE)}", [mosaic(taken[first:]) for first in range(MOSAICS)]),
        Files(f"PNG {_by(PHOTO_SIZE)}", [encode(_opened(photo), "PNG") for photo in few]),
    ]


def mosaic(tiles: Sequence[bytes]) -> bytes:
    """A large photo of small ones: enlarging one would leave no detail to decode."""
    whole = Image.new("RGB", MOSAIC_SIZE)
    across = MOSAIC_SIZE[0] // PHOTO_SIZE[0]
    for place, tile in enumerate(tiles[:MOSAIC_TILES]):
        row, column = divmod(place, across)
        whole.paste(_opened(tile), (column * PHOTO_SIZE[0], row * PHOTO_SIZE[1]))
    return encode(whole, "JPEG")


def encode(image: Image.Image, kind: Literal["JPEG", "PNG"]) -> bytes:
    """A file of an image."""
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return stream.getvalue()


def decoding_sheet(kinds: Sequence[Files], rounds: int) -> Sheet:
    """A row for each kind of file."""
    columns = (
        *("image", "KB", "exact, CPU ms", "fast, CPU ms", "exact / fast"),
        *("mean difference", "largest, of 255"),
    )
    title = f"Decoding to {_by((IMAGE_SIDE, IMAGE_SIDE))}, medians of {rounds} rounds"
    return Sheet(title, columns, [decoding_row(files, rounds) for files in kinds])


def decoding_row(files: Files, rounds: int) -> Row:
    """CPU time of both modes, and how far apart their pixels are."""
    exact = partial(decode_all, files.data, IMAGE_SIDE, "exact")
    fast = partial(decode_all, files.data, IMAGE_SIDE, "fast")
    took_s = medians({"exact": exact, "fast": fast}, rounds)
    mean, most = difference(exact(), fast())
    return (
        files.name,
        number(statistics.mean(map(len, files.data)) / 1e3),
        *(number(1e3 * took_s[mode] / len(files.data)) for mode in ("exact", "fast")),
        f"{took_s['exact'] / took_s['fast']:.2f}",
        f"{mean:.2f}",
        str(most),
    )


def decode_all(files: Sequence[bytes], side: int, mode: Mode) -> Array:
    """As the server decodes: uint8 [files, side, side, 3]."""
    to = ImageInput(height=side, width=side)
    return np.stack([decode_image(data, to, MAX_PIXELS, mode).array for data in files])


def difference(one: Array, other: Array) -> tuple[float, int]:
    """Mean and largest distance between pixels, of 255."""
    apart = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return float(apart.mean()), int(apart.max())


def reading_sheet(encoded_bytes: int, rounds: int) -> Sheet:
    """From a body to the encoded image, by the ways that were to choose from."""
    text = base64.b64encode(np.random.default_rng(SEED).bytes(encoded_bytes)).decode()
    body = json.dumps({"image_b64": text}).encode()
    request = create_model("VisionRequest", __base__=ClassificationOptions, image_b64=(str, ...))
    steps: dict[str, Work] = {
        "base64: stdlib, validate=True": partial(base64.b64decode, text, validate=True),
        "base64: pybase64, validate=True (ours)": partial(pybase64.b64decode, text, validate=True),
        "JSON: json.loads, then model_validate": lambda: request.model_validate(json.loads(body)),
        "JSON: model_validate_json (ours)": lambda: request.model_validate_json(body),
    }
    took_s = medians({name: repeated(step) for name, step in steps.items()}, rounds)
    rows = [(name, number(1e6 * took_s[name] / SMALL_REPEATS)) for name in steps]
    title = f"Reading a body of {len(body) / 1e3:.0f} KB, medians of {rounds} rounds"
    return Sheet(title, ("step", "CPU µs"), rows)


def repeated(step: Work) -> Work:
    """A step often enough to be timed."""

    def steps() -> None:
        for _ in range(SMALL_REPEATS):
            step()

    return steps


def medians(works: Mapping[str, Work], rounds: int) -> dict[str, float]:
    """CPU seconds of each; they take turns, and turns at being first."""
    took_s: dict[str, list[float]] = {name: [] for name in works}
    names = list(works)
    for work in works.values():
        work()
    for round_ in range(rounds):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            begun_s = time.thread_time()
            works[name]()
            took_s[name].append(time.thread_time() - begun_s)
    return {name: statistics.median(seconds) for name, seconds in took_s.items()}


def scenes(count: int, side: int) -> list[Scene]:
    """Held-out scenes as a client would have them: larger than the model's input."""
    series = track(range(count), "drawing scenes", console=Console(stderr=True), transient=True)
    return [draw_scene(np.random.default_rng([HELD_OUT_SEED, index]), side) for index in series]


def accuracy_sheet(drawn: Sequence[Scene], side: int) -> Sheet:
    """The detector on the same files, decoded both ways."""
    files = [encode(Image.fromarray(scene.image), "JPEG") for scene in drawn]
    model = load_shapes()
    truths = [Truth(scene.boxes * (SIZE / side), scene.labels) for scene in drawn]
    modes: tuple[Mode, ...] = ("exact", "fast")
    pixels = {mode: decode_all(files, SIZE, mode) for mode in modes}
    found = {mode: detect(model, _with(drawn, pixels[mode])) for mode in modes}
    rows = [
        (
            mode,
            *(f"{precision(found[mode], truths, iou):.4f}" for iou in IOUS),
            share(map(labels_of, found[mode]), (sorted(t.labels.tolist()) for t in truths)),
            share(map(labels_of, found[mode]), map(labels_of, found["exact"])),
            "{:.2f} / {}".format(*difference(pixels[mode], pixels["exact"])),
        )
        for mode in modes
    ]
    columns = (
        *("decode", *(f"mAP@{iou}" for iou in IOUS)),
        *("all labels right", "labels as exact", "pixels from exact, mean / largest"),
    )
    title = f"Demo detector, {len(files)} held-out scenes, JPEG {_by((side, side))} to {SIZE}"
    return Sheet(title, columns, rows)


def precision(found: Sequence[Detections], truths: Sequence[Truth], iou: float) -> float:
    """Mean over classes."""
    return statistics.mean(average_precisions(found, truths, len(LABELS), iou))


def labels_of(found: Detections) -> list[int]:
    """What a client is told is there, in no order."""
    labels: list[int] = sorted(found.labels[found.scores >= CONFIDENCE].tolist())
    return labels


def label_sheet(bundle: Path, taken: Sequence[bytes]) -> Sheet:
    """The benchmark's ResNet-18: random weights have no margins, so a control stands beside."""
    again = [encode(_opened(photo), "JPEG") for photo in taken]
    exact = answers(bundle, decode_all(taken, IMAGE_SIDE, "exact"))
    others = {
        "fast": answers(bundle, decode_all(taken, IMAGE_SIDE, "fast")),
        f"exact, saved again as JPEG q{QUALITY}": answers(
            bundle, decode_all(again, IMAGE_SIDE, "exact")
        ),
    }
    rows = []
    for name, told in others.items():
        pairs = list(zip(told, exact, strict=True))
        moves = [
            abs(one["score"] - by["score"]) for one, by in pairs if one["label"] == by["label"]
        ]
        rows.append((name, f"{len(moves)} of {len(pairs)}", f"{statistics.mean(moves or [0]):.4f}"))
    columns = ("decode", "top label as exact", "score moves, mean")
    return Sheet(f"Random ResNet-18, {len(taken)} photos of {_by(PHOTO_SIZE)}", columns, rows)


def answers(bundle: Path, pixels: Array) -> list[dict[str, Any]]:
    """Best label and score of each row."""
    work = load(bundle, threads=1)
    firsts = range(0, len(pixels), ROW_BATCH)
    return [told for first in firsts for told in work.infer(list(pixels[first:][:ROW_BATCH]))]


def share(ones: Iterable[object], others: Iterable[object]) -> str:
    """How many agree: `297 of 300`."""
    same = [one == other for one, other in zip(ones, others, strict=True)]
    return f"{sum(same)} of {len(same)}"


def _with(drawn: Sequence[Scene], pixels: Array) -> list[Scene]:
    return [replace(scene, image=image) for scene, image in zip(drawn, pixels, strict=True)]


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def _by(size: tuple[int, int]) -> str:
    return "{}x{}".format(*size)


if __name__ == "__main__":
    run(main)
