"""The demo: every verb once, on real input, as the commands a person would type."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

from inferctl.demo.metrics import box_iou
from inferctl.demo.samples import NEGATIVE, POSITIVE, write_images
from inferctl.demo.scenes import LABELS, Scene
from inferctl.errors import StartError, UsageError, VerificationError

CHECKPOINTS = Path(__file__).parent / "checkpoints"
CARD = "README.md"
READY = re.compile(r"\bready\b.*\burl=(\S+)")
REQUEST_TIMEOUT_S = 10.0
MIN_IOU = 0.5
BENCH_USERS = 16
BENCH_DURATION = "8s"
PICTURE_SCALE = 3


class Tour:
    """Bundles go to `models`, reports to `reports`; both stay."""

    def __init__(self, models: Path, reports: Path, port: int) -> None:
        self._models = models
        self._reports = reports
        self._port = port
        self._url = ""
        self._console = Console(highlight=False)

    def run(self, *, keep: bool) -> None:
        """Export, serve, predict, bench. Raises the failing step's error."""
        self._refuse_foreign_bundles()
        images = self._reports / "demo-images"
        scene, *_ = write_images(images, count=16)
        self._export()
        with self._server() as server:
            self._detect(images / "scene-000.jpg", scene)
            self._classify()
            self._bench(images)
            self._title("Done")
            self._console.print(f"bundles in {self._models}/, reports in {self._reports}/")
            if keep:
                self._console.print(f"the server stays up at {self._url}/docs until Ctrl-C")
                self._say_all(server)

    def _refuse_foreign_bundles(self) -> None:
        """The demo writes over its own bundles, and over nobody else's."""
        cards = {"shapes": CHECKPOINTS / "shapes.md", "sentiment": CHECKPOINTS / "sentiment" / CARD}
        for manifest in self._models.glob("*/*/manifest.json"):
            version = manifest.parent
            card = cards.get(version.parent.name)
            found = version / CARD
            if not (
                card
                and version.name == "1"
                and found.is_file()
                and found.read_bytes() == card.read_bytes()
            ):
                raise UsageError(
                    "the folder holds a bundle that is not the demo's",
                    where=str(version),
                    hint="choose another folder with --models",
                )

    def _export(self) -> None:
        checkpoints = os.path.relpath(CHECKPOINTS)
        self._title("Export a detector: a state dict and the function that builds its model")
        self._inferctl(
            "export", f"{checkpoints}/shapes.safetensors",
            "--factory", "inferctl.demo.shapes:build", "--task", "image-detection",
            "--labels", ",".join(LABELS), "--image-size", "160",
            "--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25",
            "--card", f"{checkpoints}/shapes.md", *self._into_models(),
        )  # fmt: skip
        self._title("Export a text classifier: a Hugging Face directory")
        self._inferctl("export", f"{checkpoints}/sentiment", *self._into_models())

    def _into_models(self) -> tuple[str, ...]:
        return ("--output", str(self._models), "--version", "1", "--force")

    @contextmanager
    def _server(self) -> Iterator[subprocess.Popen[str]]:
        """The service, ready; drained at the end."""
        self._title("Serve both")
        # It does no jobs: those that are kept in this folder are another service's.
        command = self._command(
            "serve", str(self._models), "--port", str(self._port), "--set", "jobs.backend=off"
        )
        # Its own session: Ctrl-C reaches the tour alone, which then asks the server to drain.
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as server:
            try:
                self._url = self._url_when_ready(server)
                yield server
            except KeyboardInterrupt:
                return
            finally:
                server.send_signal(signal.SIGTERM)
                self._say_all(server)

    def _url_when_ready(self, server: subprocess.Popen[str]) -> str:
        """Show what the server says, and go on once it says that it is ready."""
        for line in server.stderr or ():
            self._say(line)
            if found := READY.search(line):
                return found.group(1)
        raise StartError("the demo's server did not become ready")

    def _detect(self, image: Path, scene: Scene) -> None:
        self._title(f"Ask the detector for the {len(scene.boxes)} shapes of {image.name}")
        body = {"image_b64": base64.b64encode(image.read_bytes()).decode("ascii")}
        answer = self._post("/models/shapes/predict", body)
        found = answer["detections"]
        table = Table("label", "confidence", "bbox", "IoU with the truth", box=None)
        ious = [_iou_with_truth(detection, scene) for detection in found]
        for detection, iou in zip(found, ious, strict=True):
            sides = " ".join(f"{side:6.1f}" for side in detection["bbox"])
            table.add_row(detection["label"], f"{detection['confidence']:.2f}", sides, f"{iou:.2f}")
        self._console.print(table)
        picture = self._reports / "demo-detections.png"
        _draw(image, found, picture)
        self._console.print(f"drawn in {picture}; {_timing(answer)}")
        if len(found) != len(scene.boxes) or min(ious) < MIN_IOU:
            raise VerificationError("the detector's answer does not match the scene")

    def _classify(self) -> None:
        self._title("Ask the classifier about two sentences")
        for text, label in ((POSITIVE, "positive"), (NEGATIVE, "negative")):
            answer = self._post("/models/sentiment/predict", {"text": text})
            self._console.print(f"{answer['label']:<9} {answer['score']:.2f}  {text}")
            if answer["label"] != label:
                raise VerificationError(f"the classifier calls a {label} sentence otherwise")

    def _bench(self, images: Path) -> None:
        self._title("Measure the detector")
        self._inferctl(
            "bench", self._url, "--model", "shapes", "--users", str(BENCH_USERS),
            "--duration", BENCH_DURATION, "--data", str(images),
            "--json", str(self._reports / "demo-bench.json"),
        )  # fmt: skip

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(
            self._url + path,
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer

    def _say_all(self, server: subprocess.Popen[str]) -> None:
        """Show what the server says until its end."""
        for line in server.stderr or ():
            self._say(line)

    def _say(self, line: str) -> None:
        self._console.out(line, end="", highlight=False)

    def _title(self, text: str) -> None:
        self._console.print()
        self._console.rule(text, align="left")

    def _command(self, *arguments: str) -> list[str]:
        self._console.print(f"$ inferctl {' '.join(arguments)}", style="bold", soft_wrap=True)
        return [sys.executable, "-m", "inferctl", *arguments]

    def _inferctl(self, *arguments: str) -> None:
        """Run a command as a person would; its own message has said what went wrong."""
        code = subprocess.run(self._command(*arguments), check=False).returncode
        if code:
            sys.exit(code)


def _iou_with_truth(detection: dict[str, Any], scene: Scene) -> float:
    """The best overlap of a detection with a true box of its own label."""
    same_label = scene.boxes[scene.labels == LABELS.index(detection["label"])]
    if not len(same_label):
        return 0.0
    box = np.asarray([detection["bbox"]], np.float32)
    return float(box_iou(box, same_label).max())


def _draw(image: Path, detections: Sequence[dict[str, Any]], picture: Path) -> None:
    """The image with its detections, enlarged."""
    with Image.open(image) as opened:
        canvas = opened.resize((opened.width * PICTURE_SCALE, opened.height * PICTURE_SCALE))
    pen = ImageDraw.Draw(canvas)
    for detection in detections:
        x1, y1, x2, y2 = (side * PICTURE_SCALE for side in detection["bbox"])
        pen.rectangle((x1, y1, x2, y2), outline="white", width=2)
        pen.text((x1 + 4, y1 + 4), f"{detection['label']} {detection['confidence']:.2f}", "white")
    picture.parent.mkdir(parents=True, exist_ok=True)
    canvas.save(picture)


def _timing(answer: dict[str, Any]) -> str:
    return f"{answer['latency_ms']:.1f} ms, of them {answer['inference_ms']:.1f} ms in the model"
