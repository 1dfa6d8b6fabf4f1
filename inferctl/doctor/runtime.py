"""What runs the models: Python, the wheel of onnxruntime, its providers; and optional parts."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions

from inferctl.doctor.findings import Finding, Subject
from inferctl.doctor.probing import CPU, CUDA, Probed

python = Subject("python")
runtime = Subject("onnxruntime")
extras = Subject("extras")

OLDEST_PYTHON = (3, 11)
# Wheels that all bring a folder `onnxruntime`: the later one overwrites the earlier.
WHEELS = ("onnxruntime-gpu", "onnxruntime", "onnxruntime-openvino", "onnxruntime-directml",
          "onnxruntime-rocm", "onnxruntime-migraphx", "onnxruntime-qnn", "ort-nightly",
          "ort-nightly-gpu")  # fmt: skip
OLDEST_RUNTIME = (1, 28)
# The processors that every release of onnxruntime has wheels for; `-gpu` only for the first two.
PROCESSORS = ("x86_64", "AMD64", "aarch64", "arm64", "ARM64")
# Distribution, the extra that brings it, and what it is for.
OPTIONAL = (
    ("torch", "export", "inferctl export of checkpoints"),
    ("transformers", "export", "inferctl export of Hugging Face directories"),
    ("onnx", "export", "inferctl import of ONNX files, other precisions"),
    ("locust", "bench", "inferctl bench"),
    ("celery", "jobs", "jobs on several machines"),
    ("opentelemetry-sdk", "otel", "spans for an OTLP collector"),
)


def installed() -> dict[str, str]:
    """Name and version of every distribution there is."""
    return {
        one.metadata["Name"].lower().replace("_", "-"): one.version
        for one in distributions()
        if one.metadata["Name"]  # of one that was removed halfway nothing is left
    }


def python_findings(
    version: tuple[int, ...] = sys.version_info[:3],
    system: str = sys.platform,
    processor: str = "",
) -> Iterator[Finding]:
    """The interpreter, and whether there is an onnxruntime for this kind of machine."""
    shown = ".".join(map(str, version))
    if version[:2] < OLDEST_PYTHON:
        yield python.fail("version", f"{shown} is too old", "install Python 3.11 or newer")
    else:
        yield python.ok("version", f"{shown} ({sys.executable})")
    processor = processor or platform.machine()
    kind = f"{system} on {processor}"
    if processor not in PROCESSORS or (system, processor) == ("darwin", "x86_64"):
        yield python.fail(
            "platform", f"{kind}: onnxruntime has no wheels for it",
            "serve on Linux, x86_64 or aarch64",
        )  # fmt: skip
    else:
        yield python.ok("platform", kind)


def wheel_findings(
    versions: Mapping[str, str], system: str = sys.platform, processor: str = ""
) -> Iterator[Finding]:
    """Exactly one wheel may bring onnxruntime."""
    found = [name for name in WHEELS if name in versions]
    has_gpu_build = (system, processor or platform.machine()) in (
        ("linux", "x86_64"), ("win32", "AMD64")
    )  # fmt: skip
    wanted = "onnxruntime-gpu" if has_gpu_build else "onnxruntime"
    shown = " and ".join(f"{name} {versions[name]}" for name in found)
    if not found:
        yield runtime.fail("wheel", "none is installed", f"pip install {wanted}")
    elif len(found) > 1:
        yield runtime.fail(
            "wheel", f"{shown} are installed, and each overwrites the other's files",
            f"pip uninstall -y {' '.join(found)} && pip install {wanted}",
        )  # fmt: skip
    elif _numbers(versions[found[0]]) < OLDEST_RUNTIME:
        yield runtime.fail("wheel", f"{shown} is too old", f"pip install -U '{found[0]}>=1.28'")
    else:
        yield runtime.ok("wheel", shown)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def runtime_findings(probed: Probed, versions: Mapping[str, str]) -> Iterator[Finding]:
    """What onnxruntime says of itself, and what of it can be used here."""
    wheel = next((name for name in WHEELS if name in versions), "onnxruntime")
    repair = f"pip install --force-reinstall --no-deps {wheel}=={versions.get(wheel, '')}"
    if not probed.version:
        yield runtime.fail("build", f"it cannot be used: {probed.ended}", repair.rstrip("="))
        return
    build = f"for CUDA {probed.cuda}" if probed.cuda else "without CUDA"
    yield runtime.ok("build", f"{probed.version} {build}, opsets up to {probed.opset}")
    if probed.ended:
        yield runtime.fail(
            "probe", f"onnxruntime or CUDA ended the process that looked at them: {probed.ended}",
            "python -P -m inferctl.doctor.probe  (shows where)",
        )  # fmt: skip
    short = [name.removesuffix("ExecutionProvider") for name in probed.providers]
    usable = [name.removesuffix("ExecutionProvider") for name in usable_providers(probed)]
    yield runtime.ok(
        "providers", f"available: {', '.join(short)}; usable here: {', '.join(usable)}"
    )


def usable_providers(probed: Probed) -> tuple[str, ...]:
    """Those of ours that run a graph here; onnxruntime calls available what it was built with."""
    return (CUDA, CPU) if probed.session == "" else (CPU,)


def extra_findings(versions: Mapping[str, str]) -> Iterator[Finding]:
    """What is not needed to serve."""
    for name, extra, purpose in OPTIONAL:
        if name in versions:
            yield extras.ok(name, f"{versions[name]}: {purpose}")
        else:
            yield extras.ok(name, f"not installed; pip install 'inferctl[{extra}]' for {purpose}")
