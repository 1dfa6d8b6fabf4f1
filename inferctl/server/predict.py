"""The hot path: from a request to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson

from inferctl.errors import (
    DeadlineExceeded,
    NotFound,
    RequestTimeout,
    Unavailable,
    Unprocessable,
    UnsupportedMedia,
)
from inferctl.server.call import Call, Reply
from inferctl.server.link import EngineLink
from inferctl.server.served import ServedModel
from inferctl.settings import ServerSettings
from inferctl.tasks.base import JSON, Prepared

DECODE_THREADS = 2
PREDICT = "/predict"


class Predict:
    """`POST /predict` and `POST /models/{name}/predict`."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        default: ServedModel | None,
        link: EngineLink,
        is_loaded: Callable[[], bool],
        settings: ServerSettings,
    ) -> None:
        self._models = models
        self._default = default
        self._link = link
        self._is_loaded = is_loaded
        self._max_body_bytes = settings.max_body_bytes
        self._timeout_s = settings.request_timeout_ms / 1000
        self._decoders = ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode")

    async def __call__(self, call: Call) -> Reply:
        """Answer a request. Raises RequestError and below."""
        model = self._model(call)
        if not self._is_loaded():
            raise Unavailable("the models are still loading", hint="wait for /readyz")
        slot = model.admit()
        try:
            async with asyncio.timeout(self._timeout_s):
                item = await self._read(call, model)
                async with model.gate:
                    prepared = await self._prepare(call, model, item)
                    model.write(slot, prepared, call.begun_s + self._timeout_s)
                    await call.wait(self._link.start(model, slot))
                    return self._answer(call, model, slot, prepared)
        except TimeoutError:
            if not call.body_received:
                raise RequestTimeout("the body did not arrive in time") from None
            raise DeadlineExceeded("the deadline passed", hint="retry, or raise it") from None
        finally:
            self._link.release(model, slot)

    def _model(self, call: Call) -> ServedModel:
        """The model that the path names, or the default one."""
        if call.path == PREDICT:
            model = self._default
            missing = "no model is marked as default", "use /models/{name}/predict"
        else:
            model = self._models.get(call.path.split("/")[2])
            missing = "no such model", "GET /models lists them"
        if model is None:
            raise NotFound(missing[0], hint=missing[1])
        call.model, call.version = model.name, model.manifest.version
        return model

    async def _read(self, call: Call, model: ServedModel) -> Any:
        """Read and validate the body, in the form its content type says."""
        media_type = call.media_type()
        task = model.task
        if media_type != JSON and media_type not in task.media_types:
            allowed = ", ".join((JSON, *task.media_types))
            raise UnsupportedMedia("this content type is not taken", hint=f"use {allowed}")
        query = call.query
        version = query.pop("version", "")
        if version not in ("", str(model.manifest.version)):
            raise NotFound("this version is not served", hint="GET /models lists them")
        if media_type == JSON and query:
            raise Unprocessable("options of a JSON request go into its body", hint="see /docs")
        body = await call.body(self._max_body_bytes)
        return task.read_json(body) if media_type == JSON else task.read_raw(body, query)

    async def _prepare(self, call: Call, model: ServedModel, item: Any) -> Prepared:
        """Decode or tokenise; long work leaves the event loop."""
        begun_s = time.monotonic()
        task = model.task
        if task.decodes_off_loop:
            loop = asyncio.get_running_loop()
            prepared = await loop.run_in_executor(self._decoders, task.preprocess, item)
        else:
            prepared = task.preprocess(item)
        took_s = time.monotonic() - begun_s
        model.decode_seconds.observe(took_s)
        call.mark("decode", took_s * 1000)
        return prepared

    def _answer(self, call: Call, model: ServedModel, slot: int, prepared: Prepared) -> Reply:
        arena = model.arena
        queue_s = float(arena.started_s[slot] - arena.submitted_s[slot])
        run_s = float(arena.finished_s[slot] - arena.started_s[slot])
        begun_s = time.monotonic()
        answer = model.task.postprocess(prepared.context, model.outputs(slot))
        model.queue_seconds.observe(queue_s)
        call.mark("queue", queue_s * 1000)
        call.mark("inference", run_s * 1000)
        call.mark("postprocess", (time.monotonic() - begun_s) * 1000)
        answer["inference_ms"] = round(run_s * 1000, 3)
        answer["latency_ms"] = round(call.elapsed_ms, 3)
        answer["model"] = model.name
        answer["version"] = model.manifest.version
        return Reply(200, orjson.dumps(answer))
