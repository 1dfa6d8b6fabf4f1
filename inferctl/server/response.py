"""Our answers as FastAPI wants them."""

from __future__ import annotations

from fastapi import Response

from inferctl.server.call import Reply, as_headers


def response_of(reply: Reply) -> Response:
    """The same answer."""
    return Response(
        reply.body,
        reply.status,
        {key.decode(): value.decode() for key, value in as_headers(reply.extra)},
        media_type=reply.content_type.decode("ascii"),
    )
