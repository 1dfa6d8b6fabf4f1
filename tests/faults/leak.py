"""The negative control: a worker that keeps some bytes of every request, without a switch in it.

Python imports a `sitecustomize` from the path before anything else; this one wraps what a worker
does once for each predict request.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.outbound import sitecustomize

SITECUSTOMIZE = '''\
"""Keep {size} bytes of every request that is over."""

import runpy

from inferctl.server.call import Call

runpy.run_path({outbound!r})  # whose place on the path this file has
kept = []
owed_bytes = 0
end = Call.end


def end_and_keep(call, now_s):
    global owed_bytes
    owed_bytes += {size}
    if owed_bytes >= 512:  # a few bytes of each request are an object of many requests
        kept.append(bytes(owed_bytes - 33))  # 33 are of the object itself
        owed_bytes = 0
    end(call, now_s)


Call.end = end_and_keep
'''


def leaking(folder: Path, bytes_per_request: int) -> dict[str, str]:
    """The environment of a service that leaks so much."""
    folder.mkdir()
    text = SITECUSTOMIZE.format(size=bytes_per_request, outbound=sitecustomize.__file__)
    (folder / "sitecustomize.py").write_text(text)
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
