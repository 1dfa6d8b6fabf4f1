"""The rules that keep the tree readable: who may import what, and how long things may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import inferctl

ROOT = Path(inferctl.__file__).parent
REPOSITORY = ROOT.parent
SOURCES = sorted(ROOT.rglob("*.py"))
# All that is no test.
READ = sorted(
    path
    for folder in (
        ROOT,
        *(REPOSITORY / name for name in ("benchmarks", "deploy", "docs", "loadtests")),
    )
    for path in folder.rglob("*.py")
)

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 40
FORBIDDEN_NAMES = re.compile(r"(utils?|helpers?|managers?|common)$")

# The one file that unpickles, for a person who named whom they trust.
TRUSTING = ROOT / "export" / "pickled.py"

EVALUATING = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"}

# Part → the parts of inferctl that it may import besides itself. Imports go one way.
FOUNDATION = {
    "deferral",
    "device",
    "errors",
    "files",
    "keys",
    "observation",
    "refusals",
    "section",
    "settings",
    "tracing",
}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "files": {"errors"},
    "cautions": FOUNDATION,
    "container": {"proc"},
    "cuda": FOUNDATION,
    "device": set(),
    "cores": {"container", "proc"},
    "diagnostics": set(),
    "heap": set(),
    "keys": {"section"},
    "naming": set(),
    "orphans": set(),
    "proc": set(),
    "progress": {"proc"},
    "reasons": FOUNDATION,
    "requestlog": FOUNDATION,
    "refusals": {"errors"},
    "section": set(),
    "deferral": {"section"},
    "jobs": FOUNDATION | {"proc"},
    "observation": {"section"},
    "settings": {"deferral", "device", "keys", "observation", "section"},
    "reference": FOUNDATION | {"variables"},
    "sources": FOUNDATION | {"reference", "variables"},
    "bundles": FOUNDATION,
    "arena": FOUNDATION | {"bundles"},
    "engine": FOUNDATION
    | {"arena", "bundles", "cores", "cuda", "diagnostics", "heap", "naming"}
    | {"orphans", "proc", "progress", "reasons"},
    "tasks": FOUNDATION | {"bundles"},
    "tls": FOUNDATION,
    "tracing": set(),
    "ui": set(),
    "variables": FOUNDATION,
    "server": FOUNDATION
    | {"arena", "bundles", "container", "cores", "heap", "proc", "reasons", "requestlog", "tasks"}
    | {"cautions", "jobs", "tls", "ui", ""},
    "supervisor": FOUNDATION
    | {"arena", "bundles", "container", "cores", "heap", "naming", "reasons", "server"}
    | {"cautions", "cuda", "jobs", "orphans", "proc", "progress", "tls"},
    # Calibration decodes pictures as the server will, and a check reads whole requests' bodies.
    "export": FOUNDATION | {"bundles", "heap", "tasks", ""},
    # It runs on the device that the engine would place a model on.
    "check": FOUNDATION | {"bundles", "engine", "tasks", "export"},
    # Whoever asks a server needs nothing that serves.
    "client": {""},
    # A bundle that is run in this process goes through the server's tasks and the engine's session.
    "predict": FOUNDATION | {"bundles", "client", "cores", "engine", "tasks"},
    "top": FOUNDATION | {"client"},
    # It looks for what would end a start, as the start does.
    "doctor": FOUNDATION
    | {"arena", "bundles", "container", "cores", "cuda", "engine", "server", "sources"}
    | {"supervisor", "cautions", "proc", "tls"},
    "bench": FOUNDATION | {"cores", "proc", ""},
    # It serves candidates and measures them; the engine's batcher is simulated with its costs.
    "tune": FOUNDATION | {"bench", "bundles", "cores", "engine", "orphans", "proc", ""},
    "demo": FOUNDATION,
    "cli": FOUNDATION
    | {"sources", "bundles", "supervisor", "export", "check", "bench", "demo", "doctor", "cli", ""}
    | {"client", "diagnostics", "jobs", "predict", "reference", "requestlog", "top", "tune"}
    | {"variables"},
    "__main__": {"errors", "cli"},
    "": set(),
}


def part_of(path: Path) -> str:
    name = path.relative_to(ROOT).parts[0].removesuffix(".py")
    return "" if name == "__init__" else name


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def who_imports(package: str) -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name.split(".")[0] == package for name in imports(path))
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    own = part_of(path)
    for name in imports(path):
        if name == "inferctl" or name.startswith("inferctl."):
            other = [*name.split("."), ""][1]
            assert other in ALLOWED[own] | {own}, f"{own} must not import {name}"


def test_of_the_server_the_supervisor_knows_the_worker_that_it_forks_alone() -> None:
    importers = {
        (path.name, name)
        for path in SOURCES
        if part_of(path) == "supervisor"
        for name in imports(path)
        if name.startswith("inferctl.server")
    }
    assert importers == {("worker.py", "inferctl.server.worker")}


def test_only_the_engine_the_verifier_and_the_probe_import_onnxruntime() -> None:
    importers = {"doctor/probe.py", "engine/placement.py", "engine/session.py"}
    assert who_imports("onnxruntime") == importers | exporters("onnxruntime")


def exporters(package: str) -> set[str]:
    return {path for path in who_imports(package) if path.startswith("export/")}


def test_torch_is_imported_to_export_and_to_train_only() -> None:
    for package in ("torch", "transformers", "onnx", "safetensors"):
        assert {path.split("/")[0] for path in who_imports(package)} <= {"export", "demo"}


def test_opentelemetry_is_imported_by_what_makes_spans_alone() -> None:
    """And that is imported when the environment asks for spans."""
    assert who_imports("opentelemetry") == {"server/spans.py"}
    importers = [path for path in SOURCES if "inferctl.server.spans" in imports(path)]
    assert importers == [ROOT / "server" / "worker.py"]
    assert "    from inferctl.server.spans import" in importers[0].read_text()


def test_redis_and_celery_are_imported_by_what_keeps_jobs_there_alone() -> None:
    """And that is imported where it is set: they are an extra."""
    for package in ("redis", "celery", "kombu"):
        assert {path.split("/")[0] for path in who_imports(package)} <= {"jobs"}


def test_locust_is_never_imported_by_the_package() -> None:
    """Importing it patches the process for gevent."""
    assert who_imports("locust") == set()
    assert who_imports("gevent") == set()


def test_what_the_service_runs_on_does_not_import_the_torch_side_of_the_demo() -> None:
    for name in ("samples", "scenes", "metrics", "tour"):
        assert not {"torch", "transformers"} & set(imports(ROOT / "demo" / f"{name}.py"))


def test_only_the_sources_read_the_environment() -> None:
    readers = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if re.search(r"os\.environ|os\.getenv|\bgetenv\(", path.read_text())
    }
    # A child's environment is passed on, not read.
    assert readers <= {"sources.py", "bench/generator.py", "tune/serving.py"}


@pytest.mark.row(173)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    assert not {"pickle", "dill", "marshal", "shelve"} & set(imports(path)) - allowed_here(path)
    for name, arguments in calls(path):
        assert name not in EVALUATING
        assert arguments.get("shell") in (None, "False")
        assert arguments.get("allow_pickle") in (None, "False")
        # Each has its checks before it.
        assert name != "torch.jit.load" or path.name == "scripted.py"
        assert name != "torch.export.load" or path.name == "program.py"
        if name == "torch.load" and path != TRUSTING:
            assert arguments["weights_only"] == "True"


def calls(path: Path) -> Iterator[tuple[str, dict[str | None, str]]]:
    """What is called in a file, by which named arguments."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            named = {argument.arg: ast.unparse(argument.value) for argument in node.keywords}
            yield ast.unparse(node.func), named


@pytest.mark.row(173)
def test_what_serves_asks_nobody() -> None:
    """No input is a URL, no model comes from elsewhere."""
    asking = {"urllib.request", "http.client", "httpx2", "requests", "aiohttp", "ftplib", "smtplib"}
    for path in SOURCES:
        if part_of(path) in ("arena", "bundles", "engine", "server", "supervisor", "tasks"):
            assert not asking & set(imports(path))


@pytest.mark.row(173)
def test_a_pickle_is_run_in_one_place_by_one_flag_alone() -> None:
    """No setting, and no other flag, leads there."""
    assert re.findall(r"torch\.load\(.*\)", TRUSTING.read_text()) == [
        'torch.load(io.BytesIO(data), map_location="cpu", weights_only=False)'
    ]
    importers = {
        path.name for path in SOURCES if f"inferctl.export.{TRUSTING.stem}" in imports(path)
    }
    assert importers == {"described.py", "pipeline.py"}
    flags = [path.name for path in SOURCES if "unsafe-load-pickle" in path.read_text()]
    assert flags == ["export.py", "checkpoint.py"]
    assert "pickle" not in (ROOT / "settings.py").read_text()


def allowed_here(path: Path) -> set[str]:
    """The checkpoint reader names pickle's error class, and nothing else of it."""
    return {"pickle"} if path.parent.name == "export" else set()


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAX_FILE_LINES
    assert not FORBIDDEN_NAMES.search(path.stem)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = body_lines(node)
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body and body[-1].end_lineno else 0


def swallows_everything(node: ast.AST) -> bool:
    """A broad handler that does not raise again, or `suppress(Exception)`."""
    broad = ("Exception", "BaseException")
    if isinstance(node, ast.ExceptHandler):
        caught = node.type is None or (isinstance(node.type, ast.Name) and node.type.id in broad)
        return caught and not isinstance(node.body[-1], ast.Raise)
    return isinstance(node, ast.Call) and ast.unparse(node) in (
        f"{prefix}suppress({name})" for prefix in ("", "contextlib.") for name in broad
    )


@pytest.mark.parametrize("part", sorted(ALLOWED))
def test_a_part_swallows_everything_in_two_places_at_most(part: str) -> None:
    places = [
        node
        for path in SOURCES
        if part_of(path) == part
        for node in ast.walk(ast.parse(path.read_text()))
        if swallows_everything(node)
    ]

    assert len(places) <= 2


def test_every_module_says_what_it_is_for() -> None:
    for path in SOURCES:
        assert ast.get_docstring(ast.parse(path.read_text())), path


def test_the_changelog_leads_with_this_version() -> None:
    changelog = (REPOSITORY / "CHANGELOG.md").read_text()
    first = re.search(r"^## \[?([0-9][^\]\s]*)", changelog, re.MULTILINE)
    assert first is not None
    assert first.group(1) == inferctl.__version__
