"""The server's answers become a target, or one sentence about what is wrong."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from inferctl.bench.report import read_service
from inferctl.bench.target import Target, find_target, metadata, scrape
from inferctl.errors import BenchError, InferctlError, UsageError
from tests.certificate import write_certificate

Answers = dict[str, tuple[int, object]]

ONE = {"name": "one", "version": 2, "task": "tensor", "labels": ["a"], "example": {"inputs": {}}}
TWO = {"name": "two/x", "version": 1, "task": "image-detection"}


class Canned(ThreadingHTTPServer):
    """Answers GET from a table; what is not in it is 404."""

    answers: Answers

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Looks the path up."""

    server: Canned

    def do_GET(self) -> None:
        """Answer from the table: text as it is, anything else as JSON."""
        status, answer = self.server.answers.get(self.path, (404, {}))
        body = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""


@pytest.fixture
def canned() -> Iterator[Canned]:
    """A server that serves ONE only, and is ready."""
    with Canned(("127.0.0.1", 0), Handler) as server:
        server.answers = {
            "/models": (200, {"models": [ONE]}),
            "/models/one": (200, ONE),
            "/models/two%2Fx": (200, TWO),
            "/readyz": (200, {}),
        }
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_model_by_name(canned: Canned) -> None:
    """Its name is quoted in paths; a slash after the URL does not matter."""
    target = find_target(f"{canned.url}/", "two/x")
    assert target.url == canned.url
    assert target.path == "/models/two%2Fx/predict"
    assert target.model.task == "image-detection"


def test_the_only_model_and_the_default_one(canned: Canned) -> None:
    """Without a name; and a server without /readyz is taken as ready."""
    del canned.answers["/readyz"]
    assert find_target(canned.url.removeprefix("http://"), None).model.name == "one"
    canned.answers["/models"] = (200, {"models": [ONE, TWO | {"default": True}]})
    assert find_target(canned.url, None).model.name == "two/x"


@pytest.mark.parametrize(
    ("changes", "model", "error", "sentence"),
    [
        ({}, "three", BenchError, "no model 'three' is served .*; it serves one"),
        ({"/models": (200, {"models": [ONE, TWO]})}, None, UsageError, "takes one of one, two/x"),
        ({"/models": (200, {"models": []})}, None, BenchError, "no model is served"),
        ({"/readyz": (503, {})}, "one", BenchError, "not ready .*/readyz answers 200"),
        ({"/models": (503, {})}, None, BenchError, "not ready"),
        ({"/models": (200, "<html>")}, None, BenchError, "does not describe a model"),
        ({"/models/one": (200, {"id": 1})}, "one", BenchError, "does not describe a model"),
        ({"/models": (404, {})}, None, BenchError, "/models answered 404 .*an inferctl server"),
    ],
)
def test_what_can_be_wrong(
    canned: Canned, changes: Answers, model: str | None, error: type[InferctlError], sentence: str
) -> None:
    """Wrong name, open choice, nothing served, not ready, not one of ours."""
    canned.answers |= changes
    with pytest.raises(error, match=sentence):
        find_target(canned.url, model)


@pytest.mark.parametrize(
    "url", ["ftp://h", "http://", "http://h:x", "http://h?a=1", "http://u:p@h"]
)
def test_what_is_no_server_s_url(url: str) -> None:
    """Refused before anything is sent."""
    with pytest.raises(UsageError, match="not the URL of a server"):
        find_target(url, None)


def test_metrics_are_optional(canned: Canned) -> None:
    """Absent, unreadable and unreachable are all the same to a report."""
    target = find_target(canned.url, "one")
    assert scrape(target) is None
    canned.answers["/metrics"] = (200, 'a_total{b="c"} 1\n')
    assert scrape(target) == {("a_total", (("b", "c"),)): 1.0}
    canned.answers["/metrics"] = (200, "<html> not metrics")
    assert scrape(target) is None
    assert scrape(replace(target, url="http://127.0.0.1:1")) is None


def test_a_certificate_is_checked(canned: Canned, tmp_path: Path) -> None:
    """Against a file, for nobody else knows who signed it; a file without any is a mistake."""
    certificate, key = write_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    canned.socket = context.wrap_socket(canned.socket, server_side=True)
    url = canned.url.replace("http:", "https:")
    target = find_target(url, "one", ca=certificate)
    assert (target.url, target.ca) == (url, certificate)
    with pytest.raises(BenchError, match=r"(?i)certificate.verify.failed"):
        find_target(url, "one")
    canned.answers |= {
        "/health": (200, {"workers": 3}), "/metrics": (200, 'inferctl_slots{model="one"} 64\n'),
    }  # fmt: skip
    service = read_service(target)
    assert (service.workers, service.slots) == (3, 64), "the server's own word is asked so too"
    for bad in (key, tmp_path / "absent"):
        with pytest.raises(UsageError, match="no certificates in this file"):
            find_target(url, "one", ca=bad)


def test_tensors_are_asked_for(canned: Canned) -> None:
    """By the Open Inference Protocol, which a server may not speak."""
    target = find_target(canned.url, "one")
    with pytest.raises(BenchError, match="/v2/models/one answered 404"):
        metadata(target)
    canned.answers["/v2/models/one"] = (200, {"inputs": [{"name": "x"}]})
    with pytest.raises(BenchError, match="does not describe a model"):
        metadata(target)
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    canned.answers["/v2/models/one"] = (200, {"inputs": [tensor], "name": "one"})
    assert metadata(target).inputs[0].shape == [-1, 3]
    assert Target(canned.url, target.model).v2_path == "/v2/models/one"
