"""The images have two stages, nobody's rights and nothing that serving does not need."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from docs.generate import REPOSITORY
from inferctl.server.access import OPEN
from inferctl.sources import load_settings

DEPLOY = REPOSITORY / "deploy"
# Dockerfiles, and the device that their services run on.
IMAGES = {"Dockerfile": "cpu", "Dockerfile.cuda": "cuda"}
USER = 10001


class Step(NamedTuple):
    """An instruction and what it is given."""

    instruction: str
    given: str


def stages(name: str) -> list[list[Step]]:
    """A Dockerfile's instructions, by their stages."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / name).read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    steps = [Step(*line.split(maxsplit=1)) for line in lines if line.strip()]
    starts = [number for number, step in enumerate(steps) if step.instruction == "FROM"]
    assert starts[0] == 0
    return [steps[a:b] for a, b in zip(starts, [*starts[1:], len(steps)], strict=True)]


def given(stage: list[Step], instruction: str) -> list[str]:
    return [step.given for step in stage if step.instruction == instruction]


def requirements(name: str) -> dict[str, Requirement]:
    """The lines of a file of requirements, by their names."""
    lines = [
        line.partition("#")[0].strip() for line in (REPOSITORY / name).read_text().splitlines()
    ]
    return {each.name: each for each in map(Requirement, filter(None, lines))}


@pytest.mark.parametrize("name", IMAGES)
def test_what_builds_is_not_in_the_image(name: str) -> None:
    build, image = stages(name)

    assert given(build, "FROM") == ["python:3.12-slim AS build"]
    assert given(image, "FROM") == ["python:3.12-slim"]
    assert given(image, "COPY") == ["--from=build /opt/inferctl /opt/inferctl"]
    (run,) = given(image, "RUN")
    assert not re.search(r"pip|apt|curl|wget", run)


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_installed_is_pinned_and_has_no_torch(name: str) -> None:
    """Extras other than cuda would bring it; the wheel alone asks for what serves."""
    *_, run = given(stages(name)[0], "RUN")
    install = run.partition("uv pip install")[2]
    named = shlex.split(install.replace("$(ls /wheels/*.whl)", "WHEEL"))[-1]

    assert named == {"cpu": "/wheels/*.whl", "cuda": "inferctl[cuda] @ file://WHEEL"}[IMAGES[name]]
    assert "--constraint constraints.txt" in install
    assert [part for part in given(stages(name)[0], "RUN")[0].split() if "uv" in part] == [
        "uv==0.13.9"
    ]


def test_the_cpu_image_has_the_wheel_for_cpus_in_the_same_version() -> None:
    overrides = requirements("deploy/cpu-overrides.txt")
    (pinned,) = requirements("constraints.txt")["onnxruntime-gpu"].specifier
    (instead,) = overrides["onnxruntime"].specifier
    marker = overrides["onnxruntime-gpu"].marker

    assert (instead.operator, instead.version) == ("==", pinned.version)
    assert marker is not None
    assert not marker.evaluate()
    assert "--override deploy/cpu-overrides.txt" in given(stages("Dockerfile")[0], "RUN")[-1]


def test_the_cuda_image_has_every_library_in_one_version() -> None:
    pins = requirements("deploy/cuda-constraints.txt")

    assert pins.keys() > {"nvidia-cublas", "nvidia-cudnn-cu13"}
    for pin in pins.values():
        (only,) = pin.specifier
        assert only.operator == "=="
        assert Version(only.version) >= Version("9")
    assert (
        "--constraint deploy/cuda-constraints.txt" in given(stages("Dockerfile.cuda")[0], "RUN")[-1]
    )


@pytest.mark.parametrize("name", IMAGES)
def test_the_image_runs_as_nobody_that_the_machine_knows(name: str) -> None:
    _, image = stages(name)
    (run,) = given(image, "RUN")

    assert given(image, "USER") == [f"{USER}:{USER}"]
    assert f"--uid {USER}" in run
    instructions = [step.instruction for step in image]
    assert instructions.index("USER") > max(
        number for number, each in enumerate(instructions) if each in {"RUN", "COPY"}
    )


@pytest.mark.parametrize("name", IMAGES)
def test_its_settings_are_those_of_the_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, image = stages(name)
    (variables,) = given(image, "ENV")
    for variable in shlex.split(variables):
        monkeypatch.setenv(*variable.split("=", 1))
    settings = load_settings(dotenv=tmp_path / ".env").settings

    assert settings.server.is_public
    assert given(image, "EXPOSE") == [str(settings.server.port)]
    assert settings.logs.path == "-"
    assert settings.runtime.device == IMAGES[name]
    assert json.loads(given(image, "ENTRYPOINT")[0]) == ["inferctl"]
    command, models = json.loads(given(image, "CMD")[0])
    assert (command, [models]) == ("serve", given(image, "VOLUME"))


@pytest.mark.parametrize("name", IMAGES)
def test_its_end_and_its_health_are_the_services(name: str) -> None:
    _, image = stages(name)
    (check,) = given(image, "HEALTHCHECK")
    python, flag, code = json.loads(check[check.index("[") :])

    assert given(image, "STOPSIGNAL") == ["SIGTERM"]
    assert (python, flag) == ("python", "-c")
    assert '{os.environ["INFERCTL_SERVER__PORT"]}/livez' in code
    assert "/livez" in OPEN
    compile(code, name, "exec")


def test_the_images_get_nothing_but_the_sources() -> None:
    ignored, *kept = (REPOSITORY / ".dockerignore").read_text().splitlines()[1:]
    copied = {
        source
        for name in IMAGES
        for line in given(stages(name)[0], "COPY")
        for source in line.split()[:-1]
    }

    assert ignored == "*"
    assert all((REPOSITORY / source).exists() for source in copied)
    for source in copied:
        assert f"!{source}" in kept or f"!{Path(source).parent}/*{Path(source).suffix}" in kept
