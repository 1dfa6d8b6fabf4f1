"""A real Prometheus with the shipped rules, that scrapes one service every second."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import quote, urlsplit

import yaml

from tests.deploy.promtool import SHIPPED

WAIT_S = 20

Labels = tuple[str, ...]


class Prometheus:
    """Listens on a port of its own choice, which is known once it is ready; to be stopped."""

    def __init__(self, folder: Path, service_url: str, key: str) -> None:
        config = adapted(folder, service_url, key)
        self._process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                "--web.listen-address=127.0.0.1:0",
                "--enable-feature=exemplar-storage",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._listens = Event()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        self._url = ""

    def wait_until_ready(self) -> None:
        """Learn the URL."""
        assert self._listens.wait(WAIT_S), "".join(self.lines)
        self._url = self._address()
        self.wait_until(self._is_ready, lambda: "".join(self.lines))

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self.lines.append(line)
                if self._address():
                    self._listens.set()

    def _address(self) -> str:
        """Where it listens, once it has said so."""
        found = re.search(r'msg="?Listening on"? address=(\S+)', "".join(self.lines))
        return f"http://{found[1]}" if found else ""

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self._url}/-/ready", timeout=WAIT_S):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def get(self, path: str) -> Any:
        """What its HTTP API answers; raises HTTPError, of an expression that does not parse too."""
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}", timeout=WAIT_S) as reply:
            return json.load(reply)["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of an expression now."""
        found: list[dict[str, Any]] = self.get(f"query?query={quote(expression)}")["result"]
        return found

    def values(self, expression: str, *labels: str) -> dict[Labels, float]:
        """Its values by these labels."""
        return {
            tuple(sample["metric"].get(label, "") for label in labels): float(sample["value"][1])
            for sample in self.query(expression)
        }

    def wait_until(self, condition: Callable[[], bool], otherwise: Callable[[], object]) -> None:
        """Ask again and again; raises AssertionError with what is `otherwise`."""
        give_up_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < give_up_s, otherwise()
            Event().wait(0.1)

    def wait_for_scrape(self) -> None:
        """Until it has one that was begun after now."""
        now_s = time.time()
        scraped = 'timestamp(up{job="inferctl"}) and up{job="inferctl"} == 1'
        self.wait_until(
            lambda: max(self.values(scraped).values(), default=0.0) > now_s,
            lambda: self.get("targets")["activeTargets"],
        )

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(WAIT_S)
        self._reader.join(WAIT_S)


def adapted(folder: Path, service_url: str, key: str) -> Path:
    """The shipped configuration, with another address, key and pace, and without itself."""
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
    file = folder / "prometheus.yml"
    config = yaml.safe_load(file.read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (scrape,) = (one for one in config["scrape_configs"] if one["job_name"] == "inferctl")
    (folder / "key").write_text(key)
    scrape["authorization"]["credentials_file"] = str(folder / "key")
    scrape["static_configs"] = [{"targets": [urlsplit(service_url).netloc]}]
    config["scrape_configs"] = [scrape]
    file.write_text(yaml.safe_dump(config))
    return file
