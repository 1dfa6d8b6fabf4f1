"""The work of a request, the same in every peer: a body becomes an item, a batch of items answers.

Needs numpy, Pillow, tokenizers and onnxruntime. It reads a bundle's manifest as plain JSON and
follows inferctl's recipe: JPEG `draft` and a bilinear resize, uint8 into the graph; ids of
`tokenizer.json`, padded to the longest text of the batch.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image
from tokenizers import Tokenizer

Body = Mapping[str, Any]
Answer = dict[str, Any]
Array = npt.NDArray[Any]

# How a server process is told what to run.
BUNDLE = "PEER_BUNDLE"
THREADS = "PEER_THREADS"


class Work(Protocol):
    """What a server calls; `preprocess` needs no session."""

    def preprocess(self, body: Body) -> Array:
        """One row of the graph's input."""

    def infer(self, items: Sequence[Array]) -> list[Answer]:
        """Run a batch, answer each of its items."""


class Graph:
    """A session that is opened at its first run: a process that only preprocesses has none."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path = path
        self._threads = threads
        self._session: Any = None

    def run(self, feeds: dict[str, Array]) -> Array:
        """The graph's only output."""
        if self._session is None:
            self._session = open_session(self._path, self._threads)
        outputs: list[Array] = self._session.run(None, feeds)
        return outputs[0]


def open_session(path: Path, threads: int) -> Any:
    """Plain onnxruntime on the CPU. Threads that spin would only take cores from the server."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class Vision:
    """An image's most likely label."""

    def __init__(self, bundle: Path, manifest: dict[str, Any], threads: int) -> None:
        self._graph = Graph(bundle / "model.onnx", threads)
        self._size = (manifest["image"]["width"], manifest["image"]["height"])
        self._input = manifest["inputs"][0]["name"]
        self._labels = manifest["labels"]

    def preprocess(self, body: Body) -> Array:
        """Decode and resize; the decoder leaves out what the resize would throw away."""
        with Image.open(io.BytesIO(base64.b64decode(body["image_b64"]))) as image:
            image.draft("RGB", self._size)
            resized = image.convert("RGB").resize(self._size, Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def infer(self, items: Sequence[Array]) -> list[Answer]:
        """Label and score."""
        return best_labels(self._graph.run({self._input: np.stack(items)}), self._labels)


class Text:
    """A text's label."""

    def __init__(self, bundle: Path, manifest: dict[str, Any], threads: int) -> None:
        self._graph = Graph(bundle / "model.onnx", threads)
        self._labels = manifest["labels"]
        self._pad_id = manifest["text"]["pad_id"]
        self._tokenizer = Tokenizer.from_file(str(bundle / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest["text"]["max_tokens"])

    def preprocess(self, body: Body) -> Array:
        """Token ids."""
        return np.asarray(self._tokenizer.encode(body["text"]).ids, np.int64)

    def infer(self, items: Sequence[Array]) -> list[Answer]:
        """Label and score."""
        shape = (len(items), max(map(len, items)))
        ids, mask = np.full(shape, self._pad_id, np.int64), np.zeros(shape, np.int64)
        for row, item in enumerate(items):
            ids[row, : len(item)] = item
            mask[row, : len(item)] = 1
        scores = self._graph.run({"input_ids": ids, "attention_mask": mask})
        return best_labels(scores, self._labels)


class Tensor:
    """Numbers in, numbers out."""

    def __init__(self, bundle: Path, manifest: dict[str, Any], threads: int) -> None:
        self._graph = Graph(bundle / "model.onnx", threads)
        self._input = manifest["inputs"][0]["name"]
        self._output = manifest["outputs"][0]["name"]

    def preprocess(self, body: Body) -> Array:
        """The row."""
        return np.asarray(body["inputs"], np.float32)

    def infer(self, items: Sequence[Array]) -> list[Answer]:
        """The output by name, as inferctl answers it."""
        rows = self._graph.run({self._input: np.stack(items)}).tolist()
        return [{"outputs": {self._output: row}} for row in rows]


def best_labels(scores: Array, labels: Sequence[str]) -> list[Answer]:
    """Each row's most likely label and its score."""
    best = scores.argmax(1)
    return [
        {"label": labels[index], "score": float(row[index])}
        for index, row in zip(best, scores, strict=True)
    ]


TASKS: dict[str, Callable[[Path, dict[str, Any], int], Work]] = {
    "image-classification": Vision,
    "text-classification": Text,
    "tensor": Tensor,
}


def load(bundle: Path, threads: int) -> Work:
    """The work of a bundle's task."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    return TASKS[manifest["task"]](bundle, manifest, threads)


def load_from_environment() -> Work:
    """The work that this process was started for."""
    return load(Path(os.environ[BUNDLE]), int(os.environ[THREADS]))
