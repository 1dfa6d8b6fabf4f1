"""The bundles and the service of the client's tests."""

from __future__ import annotations

from tests.client.conftest import bundles, service

__all__ = ["bundles", "service"]
