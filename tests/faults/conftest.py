"""The demo's bundles and services on them, as in tests/e2e."""

from __future__ import annotations

from tests.e2e.conftest import models, service, start

__all__ = ["models", "service", "start"]
