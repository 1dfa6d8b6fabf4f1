"""mosec: `python -m benchmarks.peers.mosec_server --address 127.0.0.1 --port PORT`.

With PEER_PREPROCESSORS, that many processes preprocess and feed the ones that run batches; without,
each process does both.
"""

from __future__ import annotations

import os

import mosec  # type: ignore[import-not-found,unused-ignore] # in the peer's own venv

from benchmarks.peers.work import Answer, Array, Body, load_from_environment

WORKERS = int(os.environ.get("PEER_WORKERS", "1"))
MAX_ROWS = int(os.environ.get("PEER_MAX_ROWS", "32"))
WINDOW_MS = int(os.environ.get("PEER_WINDOW_MS", "10"))
PREPROCESSORS = int(os.environ.get("PEER_PREPROCESSORS", "0"))


class Preprocess(mosec.Worker):  # type: ignore[misc,unused-ignore] # as above
    """The first of two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.work = load_from_environment()

    def forward(self, data: Body) -> Array:
        """Body to item."""
        return self.work.preprocess(data)


class Infer(mosec.Worker):  # type: ignore[misc,unused-ignore] # as above
    """The second of two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.work = load_from_environment()

    def forward(self, data: list[Array]) -> list[Answer]:
        """Run a batch."""
        return self.work.infer(data)


class Both(mosec.Worker):  # type: ignore[misc,unused-ignore] # as above
    """The only stage."""

    def __init__(self) -> None:
        super().__init__()
        self.work = load_from_environment()

    def forward(self, data: list[Body]) -> list[Answer]:
        """Preprocess a batch and run it."""
        return self.work.infer([self.work.preprocess(body) for body in data])


if __name__ == "__main__":
    server = mosec.Server()
    if PREPROCESSORS:
        server.append_worker(Preprocess, num=PREPROCESSORS)
    server.append_worker(
        Infer if PREPROCESSORS else Both,
        num=WORKERS,
        max_batch_size=MAX_ROWS,
        max_wait_time=WINDOW_MS,
    )
    server.run()
