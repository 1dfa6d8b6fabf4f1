"""What a line of the request log says: one place for whoever writes, reads or documents it."""

from __future__ import annotations

from typing import Literal, NamedTuple

# When a line has a field.
ALWAYS = "always"
TRACED = "if the request has a `traceparent`, or the service makes traces"
DECODED = "once it was decoded"
RUN = "once it was run"


class LineField(NamedTuple):
    """A member of the JSON object. `when` says which lines have it."""

    name: str
    kind: Literal["string", "number", "string or null", "number or null"]
    when: str
    meaning: str


FIELDS: tuple[LineField, ...] = (
    LineField("time", "string", ALWAYS, "when it was answered: ISO 8601, UTC, to the millisecond"),
    LineField("request_id", "string", ALWAYS, "the client's `X-Request-ID`, or ours"),
    LineField("trace_id", "string", TRACED, "32 hex digits: the W3C trace that it is part of"),
    LineField(
        "route", "string", ALWAYS,
        "`predict`, the path's template, or `unmatched`, as in `inferctl_requests_total`",
    ),
    LineField("method", "string", ALWAYS, "`POST`, ..."),
    LineField("path", "string", ALWAYS, "as it was sent, without the query, cut at 256"),
    LineField("model", "string or null", ALWAYS, "which model it was for, if one is served"),
    LineField("version", "number or null", ALWAYS, "and which of its versions"),
    LineField("key_id", "string or null", ALWAYS, "the name of the API key that it came with"),
    LineField("status", "number", ALWAYS, "of the answer; 499: the client left before it"),
    LineField("outcome", "string", ALWAYS, "`ok`, or the `code` of the problem that was answered"),
    LineField("body_bytes", "number", ALWAYS, "what came of its body"),
    LineField("rows", "number", DECODED, "things to predict; those of all its items"),
    LineField(
        "shape", "string", "once an image or a text was decoded",
        "what it was: `640x480`, width and height as sent; `17 tokens`",
    ),
    LineField(
        "batch_rows", "number", RUN, "rows of the batch that it ran in; the largest of several"
    ),
    LineField("decode_ms", "number", DECODED, "from the body to tensors, a decoder's queue too"),
    LineField("queue_ms", "number", RUN, "from there to the start of its run"),
    LineField("inference_ms", "number", RUN, "the run, which the whole batch shares"),
    LineField("postprocess_ms", "number", RUN, "from the outputs to the answer"),
    LineField("total_ms", "number", ALWAYS, "from its headers to its answer"),
)  # fmt: skip

# The only member, besides the time, of a line that stands for those that were lost before it.
DROPPED_LINES = "dropped_lines"
