"""What is to be tuned: the model and its variants, the settings that it has now, the question."""

from __future__ import annotations

import hashlib
import platform
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from inferctl import __version__
from inferctl.bench.slo import Slo
from inferctl.bundles.manifest import MANIFEST_FILE, Manifest
from inferctl.bundles.repository import (
    Bundle,
    check_files,
    read_bundle,
    version_folders,
)
from inferctl.bundles.wanted import choose
from inferctl.cores import available_cores
from inferctl.device import is_strict
from inferctl.errors import BundleError, UsageError
from inferctl.proc import PROC, text_of
from inferctl.settings import Settings
from inferctl.tune.serving import NOT_TAKEN
from inferctl.tune.space import Space, Variant, base_candidate, find_space
from inferctl.tune.toml import merged

# A window is no longer than this part of the budget, so that there are enough of them.
WINDOWS_IN_BUDGET = 40
LONGEST_WINDOW_S = 15.0
SHORTEST_BUDGET_S = 12.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is tuned, for what, and what becomes of it.

    `model` is the path as it was given; `config_tree` is what the user's file says, to be written
    again with what was found. `data` is as `bench` takes it. `state` is the folder where what was
    measured is kept. `surroundings` are the variables that outrank a file, by what they set.
    """

    model: Path
    bundle: Bundle
    variants: tuple[Variant, ...]
    settings: Settings
    config: Path | None
    config_tree: Mapping[str, Any]
    slo: Slo
    budget_s: float
    data: Path | None
    state: Path
    fresh: bool
    surroundings: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.bundle.manifest.name

    @property
    def longest_window_s(self) -> float:
        """The longest window of a measurement."""
        return min(LONGEST_WINDOW_S, max(2.0, self.budget_s / WINDOWS_IN_BUDGET))

    @property
    def on_gpu(self) -> bool:
        """Whether the model will run on a GPU, as far as that is known before it does."""
        device = self.settings.for_model(self.name).runtime.device
        return is_strict(device) or (device == "auto" and (PROC / "driver" / "nvidia").exists())

    def space(self) -> Space:
        """The axes, with what is set now at their beginning."""
        manifest = self.bundle.manifest
        return find_space(
            base_candidate(self.settings, self.variants[0]), self.variants, self.slo,
            cores=available_cores(), rows=manifest.buckets.rows,
            is_image=manifest.image is not None, on_gpu=self.on_gpu,
        )  # fmt: skip

    def question(self) -> dict[str, Any]:
        """What its measurements depend on: model, machine, versions, settings, limit and data."""
        server = self.settings.server.model_dump(mode="json", exclude_unset=True)
        return {
            "model": [f"{one} of {one.digest}" for one in self.variants],
            "machine": machine(),
            "versions": versions(),
            "settings": {
                "server": {key: server[key] for key in sorted(server) if key not in NOT_TAKEN},
                "model": self.settings.for_model(self.name).model_dump(mode="json"),
                "metrics": self.settings.metrics.model_dump(mode="json"),
                "logs": self.settings.logs.model_dump(mode="json", exclude={"path"}),
            },
            "slo": str(self.slo),
            "data": _looks(self.data) if self.data else None,
        }


def read_plan(
    model: Path, more: Sequence[Path], settings: Settings, *, config: Path | None,
    flags: Mapping[str, Any], slo: Slo, budget_s: float, data: Path | None, state: Path,
    fresh: bool = False, surroundings: Mapping[str, str] | None = None,
) -> Plan:  # fmt: skip
    """Open the bundles. Raises BundleError, or UsageError when a choice is left open.

    `more` are bundles of the same model elsewhere; `flags` are settings given on the command line.
    Of a model's versions the one is tuned that the settings serve by default; SettingsError where
    there is none.
    """
    if budget_s < SHORTEST_BUDGET_S:
        raise UsageError(
            f"{budget_s:g} s are too short to measure anything", where="--budget",
            hint=f"give it {SHORTEST_BUDGET_S:g}s at least; 5m is usual",
        )  # fmt: skip
    bundle = _only(model, settings)
    variants = [*_variants(bundle, model), *_named(bundle, more, settings)]
    tree = tomllib.loads(config.read_text(encoding="utf-8")) if config else {}
    given = _as_set(flags, settings.model_dump(mode="json"))
    return Plan(
        model, bundle, tuple(variants), settings, config, merged(tree, given), slo, budget_s, data,
        state, fresh, surroundings or {},
    )  # fmt: skip


def machine() -> dict[str, Any]:
    """The machine, as far as measurements depend on it."""
    models = [
        line.partition(":")[2].strip()
        for line in text_of(PROC / "cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    gpus = [
        line.partition(":")[2].strip()
        for file in sorted((PROC / "driver" / "nvidia" / "gpus").glob("*/information"))
        for line in text_of(file).splitlines()
        if line.startswith("Model")
    ]
    cpu = models[0] if models else platform.machine()
    return {"cores": available_cores(), "cpu": cpu} | ({"gpus": gpus} if gpus else {})


def versions() -> dict[str, str]:
    """Of what serves."""
    found = {"inferctl": __version__, "python": platform.python_version()}
    for package in ("onnxruntime-gpu", "onnxruntime"):
        try:
            found["onnxruntime"] = version(package)
        except PackageNotFoundError:
            continue
        break
    return found


def _as_set(flags: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What the command line sets, with the values that were made of its words. Text stays as it was
    given: a secret has no other value here."""
    return {key: _value(word, values[key]) for key, word in flags.items()}


def _value(word: Any, value: Any) -> Any:
    if isinstance(word, Mapping):
        return _as_set(word, value)
    return word if isinstance(word, str) and isinstance(value, str | Mapping) else value


def _only(model: Path, settings: Settings) -> Bundle:
    """The one bundle that is named, or the version of the one model that answers by default."""
    found = version_folders(model)
    if len(found) > 1:
        raise UsageError(
            "the folder holds several models", where=str(model),
            hint=f"name one of them: {model}/NAME, of {', '.join(found)}",
        )  # fmt: skip
    ((name, folders),) = found.items()
    if (model / MANIFEST_FILE).is_file():
        (folder,) = folders.values()
    else:
        wanted = choose(name, folders, settings.for_model(name))
        folder = wanted.folders[wanted.default]
    bundle = read_bundle(model, folder)
    check_files(bundle)
    return bundle


def _variants(bundle: Bundle, model: Path) -> Iterator[Variant]:
    """The version that is served now, and the newest of each other precision beside it."""
    yield _variant(bundle)
    seen = {bundle.manifest.precision}
    for _, folder in sorted(version_folders(model)[bundle.manifest.name].items(), reverse=True):
        with suppress(BundleError):  # a damaged one is no variant, and nobody asked for it
            other = read_bundle(model, folder)
            if other.manifest.precision not in seen and _answers_alike(bundle, other):
                check_files(other)
                seen.add(other.manifest.precision)
                yield _variant(other)


def _named(bundle: Bundle, paths: Sequence[Path], settings: Settings) -> Iterator[Variant]:
    """Those named on the command line. Raises BundleError for what is no variant."""
    for path in paths:
        other = _only(path, settings)
        if not _answers_alike(bundle, other):
            raise BundleError(
                f"{other.manifest.name} is no variant of {bundle.manifest.name}", where=str(path),
                hint="a variant has the same task, tensors and labels",
            )  # fmt: skip
        yield _variant(other)


def _variant(bundle: Bundle) -> Variant:
    manifest = bundle.manifest
    digest = hashlib.sha256((bundle.path / MANIFEST_FILE).read_bytes()).hexdigest()
    return Variant(
        str(bundle.path.resolve()), manifest.name, manifest.version, manifest.precision, digest
    )


def _answers_alike(one: Bundle, other: Bundle) -> bool:
    def asked(manifest: Manifest) -> tuple[Any, ...]:
        shapes = [(tensor.name, tensor.shape) for tensor in (*manifest.inputs, *manifest.outputs)]
        return manifest.task, manifest.labels, shapes, manifest.image, manifest.text

    return asked(one.manifest) == asked(other.manifest)


def _looks(data: Path) -> dict[str, str]:
    """Where inputs lie, and a digest of their names, sizes and times."""
    files = sorted(file for file in data.rglob("*") if file.is_file()) if data.is_dir() else [data]
    seen = hashlib.sha256()
    for file in files:
        about = file.stat()
        seen.update(f"{file.relative_to(data)}\0{about.st_size}\0{about.st_mtime_ns}\0".encode())
    return {"path": str(data.resolve()), "digest": seen.hexdigest()}
