"""LitServe: `python -m benchmarks.peers.litserve_server PORT`."""

from __future__ import annotations

import os
import sys
from typing import Any

import litserve  # type: ignore[import-not-found,unused-ignore] # in the peer's own venv

from benchmarks.peers.work import Answer, Array, load_from_environment

WORKERS = int(os.environ.get("PEER_WORKERS", "1"))
MAX_ROWS = int(os.environ.get("PEER_MAX_ROWS", "32"))
WINDOW_S = float(os.environ.get("PEER_WINDOW_MS", "10")) / 1e3
FAST_QUEUE = os.environ.get("PEER_FAST_QUEUE") == "1"


class Peer(litserve.LitAPI):  # type: ignore[misc,unused-ignore] # as above
    """The shared work in LitServe's hooks."""

    def setup(self, device: str) -> None:
        """Load in the worker process."""
        self.work = load_from_environment()

    # LitServe takes an annotation here for the type of its HTTP parameter; without one it is JSON.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        """Body to item."""
        return self.work.preprocess(request)

    def batch(self, inputs: list[Array]) -> list[Array]:
        """Keep a list: items differ in length."""
        return inputs

    def predict(self, batch: list[Array]) -> list[Answer]:
        """Run a batch."""
        return self.work.infer(batch)

    def unbatch(self, output: list[Answer]) -> list[Answer]:
        """One answer for each item, as they are."""
        return output

    def encode_response(self, output: Answer) -> dict[str, Any]:
        """The answer is JSON already."""
        return output


if __name__ == "__main__":
    api = Peer(max_batch_size=MAX_ROWS, batch_timeout=WINDOW_S)
    server = litserve.LitServer(
        api, accelerator="cpu", workers_per_device=WORKERS, timeout=120, fast_queue=FAST_QUEUE
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
