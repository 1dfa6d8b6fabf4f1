"""The load tests' modules are found as Locust finds them: their folder is on the path."""

from __future__ import annotations

import sys

from inferctl.bench.generator import loadtests_folder

sys.path.insert(0, str(loadtests_folder()))
