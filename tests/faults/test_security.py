"""Who may ask a real service for what, and what it says to whom and to its logs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from inferctl.arena.routes import ROUTES, UNMATCHED
from tests.certificate import write_certificate
from tests.e2e.service import Answer, Service
from tests.e2e.test_start import inferctl, the_one_line
from tests.faults.accounting import until
from tests.faults.guarded import NOBODY, Wire, bearer, make_key

pytestmark = pytest.mark.e2e

OPEN = {"/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")
MOOD = json.dumps({"text": "a good film"}).encode()
JSON = {"Content-Type": "application/json"}
WITHIN_S = 30.0
CONTROLS = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]")


class Guarded(NamedTuple):
    """A service on tiny models, its folder, and its keys."""

    service: Service
    folder: Path
    app: str
    ops: str

    @property
    def log(self) -> Path:
        return self.folder / "logs" / "requests.log"


@pytest.fixture(scope="module")
def guarded(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A key is in the file, the other one in the environment."""
    folder = tmp_path_factory.mktemp("guarded")
    shutil.copytree(tiny_models, folder / "models")
    config, spare = folder / "serve.toml", folder / "spare.toml"
    app, ops = make_key(config, "app"), make_key(spare, "ops", "admin")
    (digest,) = re.findall(r'"(sha256:.*)"', spare.read_text())
    spare.unlink()
    environment = os.environ | {
        "INFERCTL_SERVER__API_KEYS__OPS__HASH": digest,
        "INFERCTL_SERVER__API_KEYS__OPS__SCOPES": "admin",
    }
    flags = ["--port", "0", "--workers", "1", "--config", "serve.toml"]
    flags += ["--set", "models.mood.default=true", "--set", "server.admin=true"]
    with Service([str(folder / "models"), *flags], folder, environment=environment) as running:
        yield Guarded(running, folder, app, ops)


@pytest.fixture
def wire(guarded: Guarded) -> Iterator[Wire]:
    connection = Wire(guarded.service)
    yield connection
    connection.close()


def settled(guarded: Guarded) -> bytes:
    """The request log once everything asked so far is in it."""
    answer = guarded.service.request("/v2", headers=bearer(guarded.app))
    mark = answer.headers["x-request-id"].encode()
    until(lambda: mark in guarded.log.read_bytes(), WITHIN_S, lambda: "it was not logged")
    return guarded.log.read_bytes()


# ------------------------------------------------------------------------------ who is let in


@pytest.mark.row(119)
def test_a_service_for_all_the_world_says_so_or_does_not_start(
    tiny_models: Path, tmp_path: Path
) -> None:
    everywhere = ("serve", str(tiny_models), "--host", "0.0.0.0", "--port", "0")

    result = inferctl(*everywhere, folder=tmp_path)

    assert result.returncode == 2
    assert "--insecure" in the_one_line(result)
    assert not (tmp_path / "logs").exists()
    with Service([*everywhere[1:], "--insecure", "--workers", "1"], tmp_path) as service:
        assert service.wait_for_line("whoever reaches the port may use it")


def paths() -> list[str]:
    """The path of every route, and one of none."""
    templates = [route for route in ROUTES if route.startswith("/")] + ["/predict", "/nowhere"]
    templates += ["/models/{name}/predict", "/v1/models/{name}:predict", "/v2/models/{name}/infer"]
    named = (template.replace("{name}", "mood") for template in templates)
    return [path.replace("{version}", "1") for path in named] + ["/page.js", "/docs/start.js"]


def variants(path: str) -> set[str]:
    """The same path as others may read it."""
    return {
        path, f"/{path}", f"/.{path}", f"{path}/", f"{path}%2F", f"/%2F{path[1:]}", path.upper(),
        f"{path}?x=1", f"{path};x", f"/x/..{path}", f"{path}%00", f"{path}/../livez", f"{path}%20",
    }  # fmt: skip


@pytest.mark.row(166)
def test_without_a_key_every_route_but_the_probes_is_closed(guarded: Guarded, wire: Wire) -> None:
    found: dict[int, set[str]] = {}
    for path in paths():
        for target in variants(path):
            for method in METHODS:
                status = wire.ask(method, target).status
                if status not in (400, 401, 404, 405):
                    found.setdefault(status, set()).add(f"{method} {target}")
    assert found == {200: {f"GET {path}{query}" for path in OPEN for query in ("", "?x=1")}}


@pytest.mark.row(166)
def test_every_route_is_there_for_whoever_may(guarded: Guarded, wire: Wire) -> None:
    """Or the test above would prove nothing."""
    answers = {path: wire.ask("GET", path, bearer(guarded.app)).status for path in paths()}
    # There is a route, and no job of that name.
    of_jobs = {"/jobs/{id}", "/jobs/{id}/result"}
    assert {path for path, status in answers.items() if status == 404} == {"/nowhere", *of_jobs}
    assert UNMATCHED not in answers


@pytest.mark.row(164)
def test_whatever_is_wrong_with_a_key_the_answer_is_the_same(guarded: Guarded, wire: Wire) -> None:
    wrong = [
        NOBODY, bearer(""), bearer("inferctl_x"), bearer(guarded.app[:-1]), bearer("k" * 7000),
        bearer("schl\xfcssel"), {"Authorization": guarded.app}, {"X-API-Key": guarded.app[1:]},
        {"X-API-Key": guarded.app} | bearer(guarded.app),
    ]  # fmt: skip
    answers = [wire.ask("POST", "/predict", JSON | dict(headers), MOOD) for headers in wrong]
    assert [alike(answer) for answer in answers] == [alike(answers[0])] * len(wrong)
    assert answers[0].status == 401
    challenge = 'Basic realm="inferctl", Bearer realm="inferctl"'
    assert answers[0].headers["www-authenticate"] == challenge


def alike(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without what no two answers have in common."""
    own = ("date", "server-timing", "x-request-id")
    headers = {name: text for name, text in answer.headers.items() if name not in own}
    return answer.status, headers, re.sub(rb'"request_id":"[^"]*"', b"", answer.body)


@pytest.mark.row(167)
def test_models_are_changed_with_a_key_for_it_alone(guarded: Guarded, wire: Wire) -> None:
    for path in ("index", "models/mood/load", "models/mood/unload"):
        for headers, status in ((NOBODY, 401), (bearer(guarded.app), 403)):
            assert wire.ask("POST", f"/v2/repository/{path}", headers).status == status
    assert wire.ask("POST", "/v2/repository/models/mood/load", bearer(guarded.ops)).status == 200
    assert wire.ask("POST", "/predict", JSON | bearer(guarded.ops), MOOD).status == 403
    assert wire.ask("POST", "/predict", JSON | bearer(guarded.app), MOOD).status == 200


@pytest.mark.row(172)
def test_a_page_elsewhere_reaches_nothing(guarded: Guarded, wire: Wire) -> None:
    asked = JSON | bearer(guarded.app)
    assert wire.ask("POST", "/predict", asked | {"Host": "evil.example"}, MOOD).status == 421
    assert wire.ask("GET", "/models", asked | {"Host": "evil.example:80"}).status == 421
    assert (
        wire.ask("POST", "/predict", asked | {"Origin": "http://evil.example"}, MOOD).status == 403
    )
    own = asked | {"Origin": guarded.service.url}
    assert wire.ask("POST", "/predict", own, MOOD).status == 200


# ------------------------------------------------------------------------------ what it tells


@pytest.mark.row(170)
def test_nobody_forges_a_record_of_the_log(guarded: Guarded, wire: Wire) -> None:
    forged = '{"time":"2000-01-01T00:00:00.000+00:00","status":200,"forged":true}'
    quoted = "".join(f"%{byte:02x}" for byte in f"\n{forged}\n\x1b[31m\0".encode())
    asked = JSON | bearer(guarded.app)
    for target in (f"/{quoted}", f"/models/{quoted}/predict", f"/predict?model={quoted}"):
        wire.ask("POST", target, asked, MOOD)
    for value in (forged, b"\x1b[31m".decode("latin-1").replace("\x1b", "%1b"), "a" * 5000):
        wire.ask("POST", "/predict", asked | {"X-Request-ID": value, "User-Agent": value}, MOOD)
    wire.ask("POST", "/predict", asked, json.dumps({"text": f"\n{forged}\n"}).encode())
    wire.ask("POST", "/predict", JSON | {"X-API-Key": forged}, MOOD)

    text = settled(guarded)

    assert not CONTROLS.search(text)
    assert all("forged" not in json.loads(line) for line in text.splitlines())


@pytest.mark.row(170)
def test_nor_of_what_the_supervisor_says(guarded: Guarded) -> None:
    """A folder's name, in the text of an error."""
    folder = guarded.folder / "models" / "x\n00:00:00 [info     ] forged\x1b[31m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "manifest.json").write_text("{}")
    try:
        guarded.service.process.send_signal(1)  # SIGHUP
        guarded.service.wait_for_line("forged")
        asked = bearer(guarded.ops)
        answer = guarded.service.request("/v2/repository/index", b"", asked)
    finally:
        shutil.rmtree(folder)
    assert answer.status == 200
    said = "".join(guarded.service.lines)
    assert "forged" in said
    assert "\x1b" not in said
    assert not re.search(r"^\S+ \[info +\] forged", said, re.MULTILINE)


@pytest.mark.row(171)
def test_a_key_is_nowhere_but_with_whoever_has_it(guarded: Guarded, wire: Wire) -> None:
    config = guarded.folder / "serve.toml"
    shown = inferctl("config", "--config", "serve.toml", folder=guarded.folder)
    assert "server.api_keys.app.hash" in shown.stdout
    wrong = f"server.api_keys.app={guarded.app}"
    refused = inferctl("serve", "--config", "serve.toml", "--set", wrong, folder=guarded.folder)
    assert refused.returncode == 2
    hashes = re.findall(r"sha256:\w+", config.read_text())
    told = [shown.stdout, refused.stderr, *guarded.service.lines, settled(guarded).decode()]
    paths = ("/health", "/metrics", "/models", "/openapi.json", "/readyz?verbose", "/nowhere")
    for headers in (bearer(guarded.app), bearer(guarded.ops)):
        told += [wire.ask("GET", path, headers).body.decode() for path in paths]
    pids = [guarded.service.process.pid, *guarded.service.pids("inferctl-worker")]
    for pid in [*pids, *guarded.service.pids("inferctl-engine")]:
        told += [Path(f"/proc/{pid}/{name}").read_text() for name in ("cmdline", "comm")]
    for secret in (guarded.app, guarded.ops, *hashes):
        assert not [text for text in told if secret in text]


@pytest.mark.row(175)
def test_what_it_writes_is_its_owners_alone(guarded: Guarded) -> None:
    settled(guarded)
    found = {
        path.relative_to(guarded.folder): stat.S_IMODE(path.stat().st_mode)
        for path in guarded.folder.rglob("*")
        if path.parts[len(guarded.folder.parts)] not in ("models", "serve.toml")
    }
    store = [f"state/jobs.{name}" for name in ("lock", "sqlite3", "sqlite3-shm", "sqlite3-wal")]
    assert found == {
        **dict.fromkeys(map(Path, ("logs", "state")), 0o700),
        **dict.fromkeys(map(Path, ("logs/requests.log", *store)), 0o600),
    }


# ------------------------------------------------------------------------------ keys and TLS


def predicted(service: Service, key: str) -> int:
    return service.request("/predict", MOOD, JSON | bearer(key)).status


def test_keys_come_and_go_while_it_runs(tiny_models: Path, tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    old = make_key(config, "old")
    flags = ["--port", "0", "--workers", "2", "--config", str(config)]
    flags += ["--set", "models.mood.default=true"]
    with Service([str(tiny_models), *flags], tmp_path) as service:
        assert predicted(service, old) == 200
        config.unlink()
        new = make_key(config, "new")

        service.process.send_signal(1)  # SIGHUP

        service.wait_for_line("keys renewed")
        until(lambda: predicted(service, new) == 200, WITHIN_S, lambda: "it is not known")
        until(lambda: predicted(service, old) == 401, WITHIN_S, lambda: "it is still good")
        assert {predicted(service, old) for _ in range(20)} == {401}
        assert {predicted(service, new) for _ in range(20)} == {200}


@pytest.fixture(scope="module")
def encrypted(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("encrypted")
    cert, key = write_certificate(folder)
    flags = ["--port", "0", "--workers", "1", "--set", "models.mood.default=true"]
    flags += ["--tls-cert", str(cert), "--tls-key", str(key)]
    with Service([str(tiny_models), *flags], folder) as running:
        yield running


def over_tls(service: Service, path: str, body: bytes | None = None) -> Answer:
    trusting = ssl.create_default_context(cafile=str(service.folder / "cert.pem"))
    request = urllib.request.Request(service.url + path, body, JSON)
    with urllib.request.urlopen(request, timeout=30, context=trusting) as reply:
        return Answer(reply.status, dict(reply.headers.items()), reply.read())


def test_it_speaks_tls(encrypted: Service) -> None:
    assert encrypted.url.startswith("https://")
    for _ in range(3):
        assert over_tls(encrypted, "/predict", MOOD).json["label"] == "good"
    items = json.dumps({"items": [{"text": "a good film " * 20}] * 200}).encode()
    assert len(over_tls(encrypted, "/predict", items).json["items"]) == 200
    assert over_tls(encrypted, "/health").json["status"] == "ok"


def test_a_worker_that_is_replaced_has_the_certificate_of_the_start(encrypted: Service) -> None:
    files = [encrypted.folder / name for name in ("cert.pem", "key.pem")]
    texts = [file.read_text() for file in files]
    for file in files:  # others are about to be written
        file.write_text("")
    (worker,) = encrypted.pids("inferctl-worker")
    os.kill(worker, signal.SIGKILL)
    encrypted.wait_for_line("ready again")
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert over_tls(encrypted, "/predict", MOOD).json["label"] == "good"


def test_its_client_checks_the_certificate(encrypted: Service, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a good film\n")
    command = [sys.executable, "-m", "inferctl", "predict", encrypted.url, "texts.txt"]
    command += ["--model", "mood"]
    trusting = os.environ | {"SSL_CERT_FILE": str(encrypted.folder / "cert.pem")}
    for environment, code in ((trusting, 0), (os.environ, 8)):
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == code, run.stderr
        assert "Traceback" not in run.stderr


def test_the_command_line_asks_with_the_key_of_the_environment(
    guarded: Guarded, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("a good film\n")
    command = [sys.executable, "-m", "inferctl", "predict", guarded.service.url, "texts.txt"]
    for key, code in ((guarded.app, 0), ("inferctl_x", 8)):
        run = subprocess.run(
            [*command, "--model", "mood"], cwd=tmp_path, env=os.environ | {"INFERCTL_API_KEY": key},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == code, run.stderr
        assert key not in run.stderr
