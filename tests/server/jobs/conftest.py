"""`async def` tests run."""

from tests.server.loop import pytest_pyfunc_call as pytest_pyfunc_call
