"""Jobs of a real service, by both clients and by the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inferctl import client as clients
from inferctl.client.jobs import bulk
from tests.client.asking import Asking
from tests.client.conftest import asking, bundles
from tests.e2e.service import Service
from tests.unmeasured import without_coverage

pytestmark = pytest.mark.e2e
__all__ = ["asking", "bundles"]

COLOURS = {"red": "cat", "lime": "dog", "blue": "owl"}
TOO_LONG = "good " * 2000
# A shell gives those that it starts in the background no Ctrl-C.
INFERCTL = ("env", "--default-signal=INT", sys.executable, "-m", "inferctl", "jobs")


@pytest.fixture(scope="module")
def service(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(bundles, tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture(scope="module")
def idle(bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that takes jobs in, and leaves them to others."""
    with serving(bundles, tmp_path_factory.mktemp("idle"), "jobs.run=false") as running:
        yield running


def serving(bundles: Path, folder: Path, *settings: str) -> Service:
    assigned = [word for one in ("models.mood.default=true", *settings) for word in ("--set", one)]
    return Service([str(bundles), "--port", "0", "--workers", "1", *assigned], folder)


@pytest.fixture
def client(asking: Asking, service: Service) -> Iterator[Any]:
    with asking.of(service.url).open() as opened:
        yield opened


@pytest.fixture
def waiting(asking: Asking, idle: Service) -> Iterator[Any]:
    """A client of the one that leaves jobs alone."""
    with asking.of(idle.url).open() as opened:
        yield opened


def inferctl(*words: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*INFERCTL, *map(str, words)], input=stdin, capture_output=True, text=True, check=False
    )


def answer_of(prediction: Any) -> dict[str, Any]:
    """What does not differ from one time to the next."""
    fields = type(prediction).__dataclass_fields__
    return {name: getattr(prediction, name) for name in fields if not name.endswith(("_ms", "_id"))}


def test_a_result_is_what_a_prediction_would_have_been(client: Any, tmp_path: Path) -> None:
    photo = tmp_path / "white.png"
    Image.new("RGB", (100, 50), "white").save(photo)
    for x, options in (
        ("a good film", {}),
        (photo, {"model": "shapes", "confidence_threshold": 0.7}),
        (Image.new("RGB", (4, 4), "lime"), {"model": "animals", "top_k": 2}),
        ({"input": [1, 2, 3, 4]}, {"model": "sums", "version": 1}),
    ):
        job = client.submit(x, **options)
        assert answer_of(job.result(timeout_s=30)) == answer_of(client.predict(x, **options))
        assert job.status().state == "done"


@pytest.mark.parametrize(("x", "code"), [(TOO_LONG, "too_large"), ("", "empty_text")])
def test_an_error_is_what_a_prediction_would_have_raised(client: Any, x: str, code: str) -> None:
    job = client.submit(x)
    with pytest.raises(clients.BadRequest) as raised:
        job.result(timeout_s=30)
    assert raised.value.code == code
    assert job.status().state == "failed"


def test_many_are_answered_in_order_with_errors_in_their_places(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_ITEMS", 150)
    texts = ["good" if number % 3 else "bad" for number in range(200)]
    texts[40], texts[170] = TOO_LONG, ""

    jobs = client.submit_many(texts)
    outcomes = list(jobs.results(timeout_s=60))

    codes = {n: one.code for n, one in enumerate(outcomes) if isinstance(one, clients.ClientError)}
    assert codes == {40: "too_large", 170: "empty_text"}
    for text, outcome in zip(texts, outcomes, strict=True):
        assert isinstance(outcome, clients.ClientError) or outcome.label == text
    assert [status.items for status in jobs.status()] == [150, 50]
    assert [status.failed_items for status in jobs.status()] == [1, 1]


def test_images_are_handed_in_together(client: Any, tmp_path: Path) -> None:
    images = [Image.new("RGB", (9, 9), colour) for colour in COLOURS]
    jobs = client.submit_many([tmp_path / "no.png", *images], model="animals", top_k=1)

    first, *others = jobs.results(timeout_s=30)

    assert isinstance(first, clients.InvalidInput)
    assert [one.label for one in others] == list(COLOURS.values())
    assert {len(one.predictions) for one in others} == {1}


def test_the_job_goes_on_when_the_time_is_over_and_ends_when_it_is_cancelled(waiting: Any) -> None:
    job = waiting.submit("good")
    with pytest.raises(clients.DeadlineExceeded, match="is queued after"):
        job.result(timeout_s=0.3)
    assert job.status().state == "queued"

    assert [job.cancel().state for _ in range(2)] == ["cancelled", "cancelled"]
    with pytest.raises(clients.Conflict, match="cancelled"):
        job.result(timeout_s=5)


def test_what_is_over_cannot_be_cancelled(client: Any) -> None:
    job = client.submit("good")
    job.result(timeout_s=30)
    with pytest.raises(clients.Conflict):
        job.cancel()


def test_jobs_are_listed_the_newest_first(waiting: Any) -> None:
    ids = [waiting.submit("good").id for _ in range(3)]
    queued = waiting.jobs(state="queued")
    assert [next(queued).id for _ in ids] == ids[::-1]


def test_a_lost_answer_makes_no_second_job(asking: Asking, idle: Service) -> None:
    accepted = idle.metric('inferctl_jobs_total{state="accepted"}')
    with losing(idle) as url, asking.of(url).open() as client:
        job = client.submit("good")

    assert idle.metric('inferctl_jobs_total{state="accepted"}') == accepted + 1
    assert idle.metric("inferctl_job_duplicates_total") >= 1
    assert idle.request(f"/jobs/{job.id}").json["state"] == "queued"


@contextmanager
def losing(service: Service) -> Iterator[str]:
    """Stands before a service, and passes all but its first answer on."""
    answers = 0

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal answers
            answers += 1
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = service.request(self.path, body, dict(self.headers.items()))
            if answers > 1:
                self.send_response(answer.status)
                self.send_header("content-length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# The command line.


def test_a_folder_is_handed_in_waited_for_and_written(service: Service, tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "r.jsonl"
    photos.mkdir()
    for colour in COLOURS:
        Image.new("RGB", (9, 9), colour).save(photos / f"{colour}.png")
    (photos / "torn.png").write_bytes(b"no image")
    options = ("--model", "animals", "--top-k", "1")

    done = inferctl("submit", photos, "--wait", "-o", output, "--url", service.url, *options)

    assert done.returncode == 8
    assert done.stderr.splitlines()[-1] == (
        f'inferctl: 1 of 4 items failed ({output}); their lines have an "error"'
    )
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["input"] for line in lines] == [str(path) for path in sorted(photos.iterdir())]
    assert [line.get("label") for line in lines] == ["owl", "dog", "cat", None]
    assert lines[3]["error"]["code"] == "unsupported_media"
    assert not Path(f"{output}.partial").exists()


def test_ctrl_c_leaves_the_job_and_says_how_to_go_on(idle: Service, tmp_path: Path) -> None:
    command = [*INFERCTL, "submit", "-", "--wait", "--url", idle.url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=without_coverage(),
    ) as running:  # fmt: skip
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write("good\nbad\n")
        running.stdin.close()
        said = running.stderr.readline()
        job_id = said.split()[-1]
        assert said == f"submitted 2 items: {job_id}\n"
        running.send_signal(signal.SIGINT)
        lines = running.stderr.read().splitlines()

    assert running.returncode == 130
    assert lines == [
        "inferctl: interrupted after 0 of 2 items; what was submitted goes on; its results: "
        f"inferctl jobs results {job_id} --url {idle.url}"
    ]
    shown = inferctl("show", job_id, "--url", idle.url)
    assert shown.returncode == 0
    assert "queued" in shown.stdout
    assert "0/2 0%" in shown.stdout


def test_without_waiting_the_id_is_all_of_the_output(service: Service) -> None:
    done = inferctl("submit", "-", "--url", service.url, stdin="good\n")

    assert done.returncode == 0
    later = inferctl("results", done.stdout.strip(), "--url", service.url)
    (line,) = map(json.loads, later.stdout.splitlines())
    assert (line["input"], line["label"]) == (f"{done.stdout.strip()}.0", "good")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none",), "no such file or folder (none)"),
        (("-",), "there is nothing to be done (-)"),
        (("-", "--top-k", "2"), "does not know this (--top-k)"),
    ],
)
def test_what_does_not_fit_is_one_line_and_no_job(
    idle: Service, words: tuple[str, ...], said: str
) -> None:
    accepted = idle.metric('inferctl_jobs_total{state="accepted"}')
    done = inferctl("submit", *words, "--url", idle.url)

    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert idle.metric('inferctl_jobs_total{state="accepted"}') == accepted
