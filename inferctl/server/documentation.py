"""The OpenAPI document of the service, as it is just now."""

from __future__ import annotations

import copy
from collections.abc import Callable

import orjson

from inferctl.arena.spec import Roster
from inferctl.server.catalogue import Catalogue
from inferctl.server.jobs.document import add_deferral
from inferctl.server.openapi import Document, add_predict_paths
from inferctl.server.protocols import add_protocol_paths


class Documentation:
    """The document of what is served, made when it is asked for: a client does, in hours.

    `fastapis` makes the document of the routes that depend on no model, and keeps it.
    """

    def __init__(self, fastapis: Callable[[], Document], catalogue: Catalogue) -> None:
        self._fastapis = fastapis
        self._catalogue = catalogue
        self._roster: Roster | None = None
        self._written = b""

    def written(self) -> bytes:
        """As JSON."""
        catalogue = self._catalogue
        if self._roster is not catalogue.roster:
            offers = [model.offer for model in catalogue.models.values()]
            document = copy.deepcopy(self._fastapis())
            _without_fastapis_errors(document)
            add_predict_paths(document, offers, catalogue.roster.default)
            add_protocol_paths(document, offers)
            add_deferral(document, offers)
            self._written = orjson.dumps(document)
            self._roster = catalogue.roster
        return self._written


def _without_fastapis_errors(document: Document) -> None:
    """FastAPI documents a validation error of its own for every parameter; none is sent."""
    for operations in document["paths"].values():
        for operation in operations.values():
            if "HTTPValidationError" in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
