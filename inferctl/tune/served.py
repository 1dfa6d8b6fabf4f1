"""`inferctl` in a process that is killed with its parent: `python -m inferctl.tune.served serve …`.

Nobody else would end a candidate's server, which has a session of its own, after a search that was
killed.
"""

from __future__ import annotations

import runpy

from inferctl.orphans import end_with_parent

if __name__ == "__main__":
    end_with_parent()
    runpy.run_module("inferctl", run_name="__main__", alter_sys=True)
