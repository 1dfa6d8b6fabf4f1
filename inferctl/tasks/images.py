"""What image tasks share: where the pixels come from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, create_model

from inferctl.bundles.manifest import Manifest
from inferctl.refusals import RequestError
from inferctl.settings import LimitsSettings, RuntimeSettings
from inferctl.tasks.base import (
    ITEMS,
    Body,
    Many,
    Prepared,
    Request,
    Task,
    items_request,
    parse_json,
    parse_query,
    schema_name,
)
from inferctl.tasks.bounds import FEW_BYTES, SLACK_NAMES, Bounds
from inferctl.tasks.decode import Pixels, decode_base64, decode_image, too_many_bytes

# A 1x1 grey PNG: the smallest request that is valid for every image model.
EXAMPLE_PNG_B64 = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An encoded image, in base64 if it is a string, and the options of its request."""

    data: Body | str
    options: Any


@dataclass(frozen=True, slots=True)
class ImageContext:
    """What the answer needs of the request: its options and the image's size as sent."""

    options: Any
    width: int
    height: int


class ImageTask(Task):
    """An image in, one row of pixels [1, height, width, 3] uint8."""

    media_types: ClassVar[tuple[str, ...]] = ("image/jpeg", "image/png", "image/webp")
    decodes_off_loop: ClassVar[bool] = True
    options: ClassVar[type[Request]]

    def __init__(
        self, manifest: Manifest, limits: LimitsSettings, runtime: RuntimeSettings
    ) -> None:
        if manifest.image is None:
            raise ValueError("an image task needs manifest.image")
        self._input = manifest.image
        self._tensor = manifest.inputs[0].name
        self._limits = limits
        self._runtime = runtime
        self._usual = self.options()
        self.labels = manifest.labels
        self.schema_name = schema_name(manifest.name)
        self.request = create_model(
            f"{self.schema_name}Request",
            __base__=self.options,
            image_b64=(str, ...),
        )
        self.items_request = items_request(self.schema_name, self.request, limits.max_rows)
        names = len(self.request.model_fields)
        self.bounds = Bounds(None, (limits.max_rows + 1) * (names + 1) + SLACK_NAMES)
        self.answer = self._answer_model()

    @abstractmethod
    def _answer_model(self) -> type[BaseModel]:
        """The answer's schema for this model's labels."""

    def read_json(self, body: Body) -> ImageItem | Many:
        """Parse `{"image_b64": …, options…}`."""
        if len(body) > FEW_BYTES:
            self.guard(body)
        try:
            return self.item(parse_json(self.request, body))
        except RequestError:
            if ITEMS not in body:
                raise
            return self._read_items(body)

    def item(self, request: Any) -> ImageItem:
        """The image and the options."""
        # The options live until the answer; the image must not live with them.
        options = {name: getattr(request, name) for name in self.options.model_fields}
        return ImageItem(request.image_b64, self.options.model_construct(**options))

    def read_raw(self, body: Body, query: Mapping[str, str]) -> ImageItem:
        """Take an encoded image; its options come from the query string."""
        return ImageItem(body, parse_query(self.options, query))

    def element(self, data: Body | str) -> ImageItem:
        """Take an encoded image, in base64 if it is a string."""
        return ImageItem(data, self._usual)

    def preprocess(self, item: ImageItem) -> Prepared:
        """Decode and resize to the model's input."""
        data, most = item.data, self._limits.max_image_bytes
        if isinstance(data, str):
            data = decode_base64(data, most)
        if len(data) > most:
            raise too_many_bytes(most)
        pixels: Pixels = decode_image(
            data, self._input, self._limits.max_pixels, self._runtime.decode
        )
        context = ImageContext(item.options, pixels.sent_width, pixels.sent_height)
        shape = b"%dx%d" % (context.width, context.height)
        return Prepared({self._tensor: pixels.array[None]}, 1, context, shape=shape)

    def example(self) -> dict[str, Any]:
        """A 1x1 PNG."""
        return {"image_b64": EXAMPLE_PNG_B64}
