"""Predictions by a server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from inferctl.client import Client, ClientError, Model, Options, Outcome, Unreachable
from inferctl.client.inputs import Input
from inferctl.errors import PredictError, UsageError

# A job has time: it gives way to those who wait, and comes back more often.
MAX_RETRIES = 10


class Remote:
    """A model of a running server; `options` names it."""

    def __init__(self, url: str, options: Options, concurrency: int, api_key: str | None) -> None:
        """Ask what is served. Raises PredictError, or UsageError when a choice is left open."""
        self.place = url
        self._concurrency = concurrency
        model = served_model(url, options.get("model"), api_key)
        self._client = Client(url, api_key=api_key, max_retries=MAX_RETRIES)
        self.task = model.task
        self._options: Options = {**options, "model": model.name, "priority": "bulk"}

    def predict_many(self, inputs: Iterable[Input]) -> Iterator[Outcome]:
        """An outcome for each input, in their order. Raises PredictError if the server is gone."""
        for outcome in self._client.predict_many(
            inputs, concurrency=self._concurrency, **self._options
        ):
            if isinstance(outcome, Unreachable):
                raise PredictError(outcome.detail, where=self.place, hint=outcome.hint)
            yield outcome

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def served_model(url: str, name: str | None, api_key: str | None) -> Model:
    """The model that is meant. Raises PredictError, or UsageError when a choice is left open."""
    try:
        # Whether it is there at all should be known at once.
        with Client(url, api_key=api_key, max_retries=0) as asked:
            served = asked.models()
    except ClientError as error:
        raise PredictError(error.detail, where=url, hint=error.hint) from None
    return _choose(url, served, name)


def _choose(url: str, served: Sequence[Model], name: str | None) -> Model:
    if name is None:
        candidates = [model for model in served if model.default] or served
    else:
        candidates = [model for model in served if model.name == name]
    if len(candidates) == 1:
        return candidates[0]
    what = "several models are served" if name is None else f"no model {name!r} is served"
    names = ", ".join(model.name for model in served) or "none"
    raise UsageError(what, where=url, hint=f"--model takes one of {names}")
