"""Predictions by a bundle in this process: the server's own tasks, without the server."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from inferctl.bundles.manifest import GRAPH_FILE
from inferctl.bundles.repository import Bundle, find_bundles
from inferctl.client import ClientError, Options, Outcome
from inferctl.client.dialogue import chosen_of
from inferctl.client.exchange import error_of
from inferctl.client.inputs import Input, document, is_picture, picture
from inferctl.client.results import prediction_of
from inferctl.cores import available_cores
from inferctl.engine.placement import CUDA
from inferctl.engine.session import RunFailed, Session
from inferctl.errors import UsageError
from inferctl.refusals import RequestError, RowFailed
from inferctl.settings import ModelSettings
from inferctl.tasks.base import Prepared
from inferctl.tasks.registry import task_for

Array = npt.NDArray[Any]

# On a CPU a larger batch is no cheaper per row; a GPU wants more at a time.
ROWS_ON_CPU, ROWS_ON_CUDA = 8, 32
# Texts are sorted by length among so many batches, so that little of a batch is padding.
BATCHES_SORTED = 8


class Read(NamedTuple):
    """An input of one row as tensors, and how long that took."""

    prepared: Prepared
    decode_s: float


class Local:
    """A bundle, opened as a server opens it: hashes first, then graph and tokenizer."""

    def __init__(self, target: Path, options: Options) -> None:
        """Open it. Raises BundleError or StartError, or UsageError when a choice is left open."""
        bundle = _choose(target, options.get("model"), options.get("version"))
        settings = ModelSettings()
        self.task: str = bundle.manifest.task
        self._manifest = bundle.manifest
        self._task = task_for(bundle.path, bundle.manifest, settings)
        self._session = Session(bundle.path / GRAPH_FILE, settings.runtime, available_cores())
        self._outputs = [tensor.name for tensor in bundle.manifest.outputs]
        self._rows = ROWS_ON_CUDA if self._session.provider == CUDA else ROWS_ON_CPU
        self._chosen = chosen_of(options)

    def predict_many(self, inputs: Iterable[Input]) -> Iterator[Outcome]:
        """An outcome for each input, in their order."""
        reads = self._read_ahead(inputs)
        while window := list(islice(reads, self._rows * BATCHES_SORTED)):
            outcomes: dict[int, Outcome] = {}
            rows: list[tuple[int, Read]] = []
            for place, read in enumerate(window):
                if isinstance(read, Read):
                    rows.append((place, read))
                else:
                    outcomes[place] = read
            rows.sort(key=lambda row: row[1].prepared.tokens)
            for start in range(0, len(rows), self._rows):
                places, batch = zip(*rows[start : start + self._rows], strict=True)
                outcomes.update(zip(places, self._answers(batch), strict=True))
            yield from (outcomes[place] for place in range(len(window)))

    def close(self) -> None:
        """Nothing of it stays open."""

    def _read_ahead(self, inputs: Iterable[Input]) -> Iterator[Read | ClientError]:
        """Decode in threads, as far ahead as a window is long."""
        with ThreadPoolExecutor(available_cores()) as decoders:
            ahead: deque[Future[Read | ClientError]] = deque()
            try:
                for x in inputs:
                    ahead.append(decoders.submit(self._read, x))
                    if len(ahead) > self._rows * BATCHES_SORTED:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                decoders.shutdown(wait=False, cancel_futures=True)

    def _read(self, x: Input) -> Read | ClientError:
        """What a server does with the body that a client would send."""
        begun_s = time.monotonic()
        try:
            if is_picture(x):
                query = {name: str(value) for name, value in self._chosen.items()}
                item = self._task.read_raw(picture(x).body, query)
            else:
                item = self._task.read_json(document(x, self._chosen))
            prepared = self._task.preprocess(item)
        except ClientError as error:
            return error
        except RequestError as error:
            return _as_clients(error)
        return Read(prepared, time.monotonic() - begun_s)

    def _answers(self, batch: Sequence[Read]) -> list[Outcome]:
        """Run a batch; where that fails each row alone, so that only the culprit fails."""
        begun_s = time.monotonic()
        try:
            arrays = self._session.run(
                self._feeds([read.prepared for read in batch]), self._outputs
            )
        except RunFailed as error:
            if len(batch) > 1:
                return [outcome for read in batch for outcome in self._answers([read])]
            return [_as_clients(RowFailed(f"the model fails on it: {error.what}"))]
        run_s = time.monotonic() - begun_s
        return [
            self._answer(
                read,
                {name: array[row, None] for name, array in zip(self._outputs, arrays, strict=True)},
                run_s,
            )
            for row, read in enumerate(batch)
        ]

    def _answer(self, read: Read, outputs: Mapping[str, Array], run_s: float) -> Outcome:
        try:
            answer = self._task.postprocess(read.prepared.context, outputs)
        except RowFailed as error:
            return _as_clients(error)
        answer |= {
            "inference_ms": round(run_s * 1000, 3),
            # Waiting for the rest of a batch is not the item's own.
            "latency_ms": round((read.decode_s + run_s) * 1000, 3),
            "model": self._manifest.name,
            "version": self._manifest.version,
        }
        return prediction_of(answer, "")

    def _feeds(self, batch: Sequence[Prepared]) -> dict[str, Array]:
        """The rows of a batch together; texts are padded to the longest."""
        longest = max(prepared.tokens for prepared in batch)
        return {
            tensor.name: np.concatenate(
                [
                    self._padded(tensor.name, prepared.tensors[tensor.name], longest)
                    if "tokens" in tensor.shape
                    else prepared.tensors[tensor.name]
                    for prepared in batch
                ]
            )
            for tensor in self._manifest.inputs
        }

    def _padded(self, name: str, row: Array, longest: int) -> Array:
        text = self._manifest.text
        padding = text.pad_id if text and name == "input_ids" else 0
        return np.pad(row, ((0, 0), (0, longest - row.shape[1])), constant_values=padding)


def _as_clients(error: RequestError) -> ClientError:
    """What a client would make of it, had a server sent it."""
    problem = {"detail": error.what, "hint": error.hint, "code": error.code}
    return error_of(error.status, problem, "")


def _choose(target: Path, model: str | None, version: int | None) -> Bundle:
    """The bundle below a folder of models, a model or a version of it that is meant."""
    folder = target
    if model is not None and (target / model).is_dir():
        folder = target / model
    if version is not None and (folder / str(version)).is_dir():
        folder = folder / str(version)
    bundles = find_bundles(folder)
    names = ", ".join(bundle.manifest.name for bundle in bundles)
    if len(bundles) > 1:
        raise UsageError(
            "the folder holds several models",
            where=str(folder),
            hint=f"--model takes one of {names}",
        )
    manifest = bundles[0].manifest
    for flag, given, found in (
        ("--model", model, manifest.name),
        ("--version", version, manifest.version),
    ):
        if given not in (None, found):
            raise UsageError(
                f"{flag} {given} is not there", where=str(folder), hint=f"it is {found}"
            )
    return bundles[0]
