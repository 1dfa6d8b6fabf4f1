"""`async def` tests run, and tests of both doors run once through each."""

from __future__ import annotations

import pytest

from tests.server.doors import DOORS, Door
from tests.server.loop import pytest_pyfunc_call as pytest_pyfunc_call


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
def door(request: pytest.FixtureRequest) -> Door:
    """A way into a worker."""
    way: Door = request.param
    return way
