"""The bundles that the tests of the export publish, to be checked here."""

from __future__ import annotations

from ..export.conftest import load_tiny, published, store, untraced_exporter

__all__ = ["load_tiny", "published", "store", "untraced_exporter"]
