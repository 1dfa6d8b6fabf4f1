"""A small server process with the paths that the bench asks, and exact counts of its own.

Prints its port when it listens and `first` when the first prediction comes in.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from typing import Any

import uvicorn
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

EVERY_NTH_FAILS = 10
ROWS = 4

REGISTRY = CollectorRegistry()
MODEL = ["model"]
REQUESTS = Counter("inference_requests", "answers", [*MODEL, "outcome"], registry=REGISTRY)
BATCHES = Histogram("inference_batch_size", "rows", MODEL, buckets=(1, 2, 4, 8), registry=REGISTRY)
SECONDS = {
    name: Histogram(f"inferctl_{name}_seconds", name, MODEL, registry=REGISTRY)
    for name in ("queue", "run", "decode")
}
CPU = Counter("inferctl_process_cpu_seconds", "CPU", ["role"], registry=REGISTRY)

MODELS = {
    name: {"name": name, "version": 3, "task": task, "labels": [], "limits": {}, "example": example}
    for name, task, example in (
        ("shapes", "image-detection", {"image_b64": ""}),
        ("mood", "text-classification", {"text": "x"}),
        ("broken", "text-classification", {"text": "x"}),
    )
}
seen = 0


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer one request."""
    if scope["type"] == "lifespan":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    status, answer = await reply(scope["path"], body)
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": answer})


async def reply(path: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the answer."""
    if path == "/models":
        return 200, json.dumps({"models": list(MODELS.values())}).encode()
    if path == "/readyz":
        return 200, b"{}"
    if path == "/metrics":
        return 200, generate_latest(REGISTRY)
    name, _, verb = path.removeprefix("/models/").partition("/")
    if name not in MODELS:
        return 404, b"{}"
    if not verb:
        return 200, json.dumps(MODELS[name]).encode()
    return await predict(name, json.loads(body))


async def predict(name: str, request: dict[str, str]) -> tuple[int, bytes]:
    """Every EVERY_NTH_FAILS-th request is refused; the others are counted as batches of ROWS."""
    global seen
    seen += 1
    number = seen
    if number == 1:
        sys.stdout.write("first\n")
        sys.stdout.flush()
    assert request.keys() in ({"text"}, {"image_b64"})
    if name == "broken":
        return 500, b"{}"
    await asyncio.sleep(0.02)
    if number % EVERY_NTH_FAILS == 0:
        REQUESTS.labels(name, "overloaded").inc()
        return 429, b"{}"
    REQUESTS.labels(name, "ok").inc()
    BATCHES.labels(name).observe(ROWS)
    SECONDS["queue"].labels(name).observe(0.002)
    SECONDS["run"].labels(name).observe(0.004)
    SECONDS["decode"].labels(name).observe(0.001)
    CPU.labels("engine").inc(0.003)
    CPU.labels("worker").inc(0.002)
    return 200, b"{}"


def main() -> None:
    """Serve on a free port until killed."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
