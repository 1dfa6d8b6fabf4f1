"""A real HTTP server that takes jobs in, and does as many items as it is told at each look."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.client.scripted import Received

LABELS = ("bad", "good")
CREATED_AT = "2026-11-27T04:00:00Z"
PAGE = 2
MODEL = {
    "name": "mood", "version": 3, "task": "text-classification", "default": True, "labels": LABELS,
    "inputs": [], "outputs": [], "precision": "fp32", "limits": {}, "content_types": [],
    "example": {},
}  # fmt: skip


@dataclass
class FakeJob:
    """`results` are those of the items that are done, in the order in which they were."""

    id: str
    key: str
    body: bytes
    items: list[bytes]
    is_bulk: bool
    state: str = "queued"
    revision: int = 1
    results: dict[int, dict[str, Any]] = field(default_factory=dict)

    def work(self, count: int, *, backwards: bool) -> None:
        """Do some more of it."""
        waiting = sorted(set(range(len(self.items))) - set(self.results), reverse=backwards)
        for number in waiting[:count]:
            self.results[number] = answer_of(number, self.items[number])
            self.revision += 1
            self.state = "running"
        if len(self.results) == len(self.items):
            failed = all("problem" in result for result in self.results.values())
            self.state = "failed" if failed else "done"

    def status(self) -> dict[str, Any]:
        failed = [one["problem"] for one in self.results.values() if "problem" in one]
        return {
            "id": self.id, "state": self.state, "model": "mood", "version": "",
            "items": len(self.items), "done_items": len(self.results),
            "failed_items": len(failed), "attempts": 1, "created_at": CREATED_AT,
            "progress": len(self.results) / len(self.items),
            "result": f"/jobs/{self.id}/result",
            **({"problem": failed[0]} if self.state == "failed" else {}),
        }  # fmt: skip


class Fake:
    """What the server did and will do.

    `pace` is how many items are done before each look, `backwards` whether the last ones come
    first. The first `lost_answers` submissions are taken in, and not answered. Bodies of more than
    `max_body_bytes` get 413. The first `refusals` requests get 503, and the first `broken_answers`
    break off in the middle. At the first `interrupts` submissions Ctrl-C is pressed, and they are
    not answered. One that is `vanishing` forgets a job whose results it gave.
    """

    def __init__(self) -> None:
        self.url = ""
        self.pace = 1_000_000
        self.backwards = False
        self.retry_after = "0"
        self.lost_answers = 0
        self.interrupts = 0
        self.refusals = 0
        self.broken_answers = 0
        self.vanishing = False
        self.max_body_bytes = 2**40
        self.jobs: dict[str, FakeJob] = {}
        self.received: list[Received] = []

    def take_in(self, body: bytes, headers: dict[str, str]) -> tuple[int, FakeJob | dict[str, Any]]:
        """The job of a submission, the same one for the same idempotency key."""
        if len(body) > self.max_body_bytes:
            return 413, problem(413, "too_large")
        key = headers["idempotency-key"]
        for job in self.jobs.values():
            if job.key == key:
                return (202, job) if job.body == body else (422, problem(422, "unprocessable"))
        kind = headers["content-type"]
        items = [body]
        if kind == "application/json":
            items = [json.dumps(json.loads(body)["item"]).encode()]
        elif kind == "application/x-ndjson":
            items = body.splitlines()
        job_id = f"{len(self.jobs) + 1:032x}"
        self.jobs[job_id] = FakeJob(job_id, key, body, items, kind == "application/x-ndjson")
        return 202, self.jobs[job_id]

    @property
    def only(self) -> FakeJob:
        """The one job that there is."""
        (job,) = self.jobs.values()
        return job

    def sent(self, method: str) -> list[Received]:
        return [one for one in self.received if one.method == method]


def problem(status: int, code: str) -> dict[str, Any]:
    return {"status": status, "code": code, "detail": f"it is {code}", "hint": "do otherwise"}


def answer_of(number: int, item: bytes) -> dict[str, Any]:
    """A text is answered with its first word, an empty one is refused; all else is bad."""
    try:
        text = json.loads(item)["text"]
    except ValueError:
        text = "bad"
    if not text:
        return {"item": number, "status": 422, "problem": problem(422, "empty_text")}
    result = {
        "label": text.split()[0], "score": 0.75, "scores": {"bad": 0.25, "good": 0.75},
        "inference_ms": 1.5, "latency_ms": 2.5, "model": "mood", "version": 3,
    }  # fmt: skip
    return {"item": number, "status": 200, "result": result}


class Handler(BaseHTTPRequestHandler):
    """One connection; `fake` and `lock` are the server's."""

    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece; in two, the second would wait for the first to be heard.
    wbufsize = 2**16
    fake: Fake
    lock: threading.Lock

    def do_GET(self) -> None:
        self._locked(self._models if self.path == "/models" else self._get)

    def do_POST(self) -> None:
        self._locked(self._post)

    def do_DELETE(self) -> None:
        self._locked(self._delete)

    def _locked(self, answer: Any) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.lock:
            self.fake.received.append(Received(self.command, self.path, headers, body))
            if self.fake.refusals:
                self.fake.refusals -= 1
                self._say(503, problem(503, "unavailable"))
            else:
                answer(*self.path.partition("?")[0].split("/")[2:], body=body, headers=headers)

    def _post(self, *, body: bytes, headers: dict[str, str]) -> None:
        status, taken = self.fake.take_in(body, headers)
        if self.fake.interrupts:
            self.fake.interrupts -= 1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            self.close_connection = True
            return
        if self.fake.lost_answers:
            self.fake.lost_answers -= 1
            self.close_connection = True
            return
        said = taken.status() if isinstance(taken, FakeJob) else taken
        self._say(status, said, {"retry-after": self.fake.retry_after})

    def _models(self, **_: Any) -> None:
        self._say(200, {"models": [MODEL]})

    def _get(self, job_id: str = "", rest: str = "", **_: Any) -> None:
        if not job_id:
            self._list()
        elif (job := self.fake.jobs.get(job_id)) is None:
            self._say(404, problem(404, "not_found"))
        elif rest:
            self._result(job)
            if self.fake.vanishing:
                self.fake.jobs.clear()
        else:
            self._status(job)

    def _status(self, job: FakeJob) -> None:
        if job.state == "expired":
            self._say(410, problem(410, "gone"))
            return
        if job.state in ("queued", "running"):
            job.work(self.fake.pace, backwards=self.fake.backwards)
        etag = f'"{job.revision}"'
        headers = {"etag": etag, "retry-after": self.fake.retry_after}
        if self.headers.get("if-none-match") == etag:
            self._say(304, None, headers)
        else:
            self._say(200, job.status(), headers)

    def _result(self, job: FakeJob) -> None:
        first = int(parse_qs(urlsplit(self.path).query).get("first", ["0"])[0])
        if job.is_bulk:
            lines = [json.dumps(job.results[n]) + "\n" for n in sorted(job.results) if n >= first]
            self._say(200, "".join(lines).encode(), {"content-type": "application/x-ndjson"})
        elif not job.results:
            self._say(409, problem(409, "conflict"))
        else:
            result = job.results[0]
            self._say(result["status"], result.get("result") or result.get("problem"))

    def _delete(self, job_id: str, **_: Any) -> None:
        job = self.fake.jobs[job_id]
        if job.state in ("done", "failed"):
            self._say(409, problem(409, "conflict"))
            return
        job.state = "cancelled"
        self._say(200, job.status())

    def _list(self) -> None:
        query = {name: value[0] for name, value in parse_qs(urlsplit(self.path).query).items()}
        states = query.get("state", "").split(",")
        found = [
            job.status()
            for job in reversed(self.fake.jobs.values())
            if job.state in states or states == [""]
        ]
        begin = int(query.get("after", 0))
        following = str(begin + PAGE) if begin + PAGE < len(found) else None
        self._say(200, {"jobs": found[begin : begin + PAGE], "next": following})

    def _say(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        if status == 304:
            self.end_headers()
            return
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.fake.broken_answers:
            self.fake.broken_answers -= 1
            self.close_connection = True
            data = data[:-10]
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class' name
        """Says nothing."""


@contextmanager
def serving_jobs() -> Iterator[Fake]:
    """Serve on 127.0.0.1."""
    fake = Fake()
    handler = type("Here", (Handler,), {"fake": fake, "lock": threading.Lock()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
