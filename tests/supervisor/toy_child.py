"""A child that obeys: it says what it was told, burns CPU, and dies the way it is asked to."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from typing import Any

from inferctl.arena.wire import Control


def main() -> None:
    control = Control(socket.socket(fileno=int(sys.argv[1])))
    live(control, control.receive())


def live(control: Control, spec: dict[str, Any] | None = None) -> None:
    control.send({"event": "told", "spec": spec, "session": os.getsid(0) == os.getpid()})
    while (message := control.receive()) is not None:
        obey(control, message)


def obey(control: Control, message: dict[str, Any]) -> None:
    if "say" in message:
        for number in range(message["say"]):
            control.send({"event": number})
    if "write" in message:
        os.write(message["fd"], message["write"].encode())
    if "burn_s" in message:
        while time.process_time() < message["burn_s"]:
            pass
    if "exit" in message:
        sys.exit(message["exit"])
    if "signal" in message:
        os.kill(os.getpid(), signal.Signals[message["signal"]])


if __name__ == "__main__":
    main()
