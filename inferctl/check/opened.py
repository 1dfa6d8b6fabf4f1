"""A bundle on disk, opened the way a server opens it: hashes first, then the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferctl.bundles.manifest import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    ImageInput,
    Manifest,
    TextInput,
)
from inferctl.bundles.repository import open_bundle, read_report
from inferctl.engine.placement import Placement, place
from inferctl.errors import BundleError, VerificationError
from inferctl.export.agreement import MAX_DROP
from inferctl.export.judge import Judge
from inferctl.export.runtime import Model
from inferctl.settings import RuntimeSettings


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle whose files are those of its manifest, and whose graph loads."""

    path: Path
    manifest: Manifest
    model: Model
    report: Mapping[str, Any]
    tokenizer: bytes | None
    placement: Placement

    @property
    def graph(self) -> Path:
        """The file of its graph."""
        return self.path / GRAPH_FILE

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.manifest.name

    @property
    def image(self) -> ImageInput | None:
        """Input of an image model."""
        return self.manifest.image

    @property
    def text(self) -> TextInput | None:
        """Input of a text model."""
        return self.manifest.text

    @property
    def max_drop(self) -> float:
        """The share of rows that its export let answer otherwise than fp32."""
        said = self._judgement.get("max_drop")
        return said if isinstance(said, float) and 0 <= said <= 1 else MAX_DROP

    @property
    def was_judged_on_generated_rows(self) -> bool:
        """Whether its export, of another precision than fp32, had no real data to judge it by."""
        real = self._judgement.get("judged_on_real_data")
        return self.manifest.precision != "fp32" and real is not True

    @property
    def _judgement(self) -> Mapping[str, Any]:
        entry = self.report.get("precision")
        return entry if isinstance(entry, dict) else {}

    @property
    def judge(self) -> Judge:
        """What its manifest promises of its answers."""
        manifest = self.manifest
        return Judge(manifest.outputs, manifest.labels, manifest.precision)


def open_for_check(path: Path, device: str = "cpu") -> Opened:
    """Open a bundle on a device, one of those that `runtime.device` may be. Raises BundleError when
    it is damaged, StartError when something is missing for the device."""
    bundle = open_bundle(path)
    runtime = RuntimeSettings(device=device)
    placement = place(runtime)
    try:
        model = Model(path / GRAPH_FILE, providers=placement.providers)
    except VerificationError as error:
        raise BundleError(error.what, where=str(path), hint="export the bundle again") from None
    placement = placement.found(model.session, runtime)
    manifest = bundle.manifest
    tokenizer = (path / TOKENIZER_FILE).read_bytes() if manifest.text else None
    return Opened(path, manifest, model, read_report(path), tokenizer, placement)
