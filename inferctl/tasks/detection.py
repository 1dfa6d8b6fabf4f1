"""image-detection: an image in, labelled boxes in its own pixels out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import BaseModel, Field, create_model

from inferctl.refusals import NonFiniteOutput, RowFailed
from inferctl.tasks.base import Answer, Array, Request, Timed, label_type, rounded
from inferctl.tasks.framing import placed
from inferctl.tasks.images import ImageContext, ImageTask


class DetectionOptions(Request):
    """Options of a detection request."""

    confidence_threshold: float = Field(
        default=0.5, ge=0, le=1, description="boxes below this confidence are left out"
    )
    max_detections: int = Field(
        default=1000, ge=1, le=1000, description="the most confident ones, no more than these"
    )


class DetectionTask(ImageTask):
    """Reads `boxes` [1, k, 4] in 0..1, `scores` [1, k] and `labels` [1, k]; see the manifest."""

    options = DetectionOptions

    def _answer_model(self) -> type[BaseModel]:
        detection = create_model(
            f"{self.schema_name}Detection",
            label=(label_type(self.labels), ...),
            confidence=(float, Field(ge=0, le=1)),
            bbox=(
                list[float],
                Field(
                    min_length=4,
                    max_length=4,
                    description="x1, y1, x2, y2 in pixels of the image, EXIF orientation applied",
                    examples=[[44.9, 37.5, 85.7, 77.9]],
                ),
            ),
        )
        return create_model(
            f"{self.schema_name}Answer",
            __base__=Timed,
            detections=(list[detection], ...),  # type: ignore[valid-type] # a class made at run time
        )

    def postprocess(self, context: ImageContext, outputs: Mapping[str, Array]) -> Answer:
        """Boxes above the threshold, most confident first, scaled to the image as sent."""
        scores = outputs["scores"][0]
        options = context.options
        # Keeps NaN, which is then refused. A score of 0 is a slot that holds nothing.
        kept = ~((scores < options.confidence_threshold) | (scores == 0))
        kept = kept.nonzero()[0][: options.max_detections]
        boxes = self._in_image(outputs["boxes"][0][kept], context).tolist()
        labels = outputs["labels"][0][kept].tolist()
        if any(not 0 <= label < len(self.labels) for label in labels):
            raise RowFailed("the model's output names a label that the model does not have")
        return {
            "detections": [
                {
                    "label": self.labels[label],
                    "confidence": rounded(score),
                    "bbox": [rounded(side, 2) for side in box],
                }
                for box, score, label in zip(boxes, scores[kept].tolist(), labels, strict=True)
            ]
        }

    def _in_image(self, boxes: Array, context: ImageContext) -> Array:
        """Boxes [n, 4] in 0..1 of the model's input as pixels of the image as sent.

        Of a letterboxed image they end at its edges: what a model finds in the border is not there.
        """
        sent = np.array((context.width, context.height) * 2)
        if self._input.resize != "letterbox":
            whole: Array = boxes * sent
            return whole
        if not np.isfinite(boxes).all():
            raise NonFiniteOutput("the model's output is not a finite number")
        place = placed((context.width, context.height), self._input)
        row = np.array((self._input.width, self._input.height) * 2)
        inside: Array = (boxes * row - place.corner * 2) / (place.size * 2) * sent
        return inside.clip(0, sent)
