"""Clients that ask without a pause, each on a connection that it keeps, and note what fails."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from .service import Service


class Clients:
    """What they saw. Every answer must be of the version that it says it is of."""

    def __init__(self, service: Service) -> None:
        self._address = urlsplit(service.url).netloc
        self._stop = threading.Event()
        self._counting = threading.Lock()
        self.failures: list[object] = []
        self.versions: Counter[int] = Counter()

    def ask(self, number: int) -> None:
        """One client's life."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        asked = 0.0
        while not self._stop.is_set():
            asked += 1
            row = [asked, float(number), 1.0, 2.0]
            try:
                status, content = self._post(connection, {"inputs": row})
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                return
            version = content.get("version")
            if status != 200 or content["outputs"]["output"] != [value * version for value in row]:
                self.failures.append((status, content))
            with self._counting:
                self.versions[version] += 1
        connection.close()

    def _post(self, connection: http.client.HTTPConnection, body: object) -> tuple[int, dict]:  # type: ignore[type-arg]
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/predict", json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def stop(self) -> None:
        self._stop.set()


@contextmanager
def asking(service: Service, count: int) -> Iterator[Clients]:
    """So many clients, until the end of the block."""
    clients = Clients(service)
    threads = [threading.Thread(target=clients.ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield clients
    finally:
        clients.stop()
        for thread in threads:
            thread.join()
