"""image-classification: an image in, its most likely labels out."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field, create_model

from inferctl.tasks.base import Answer, Array, Request, Timed, label_type, rounded
from inferctl.tasks.images import ImageContext, ImageTask


class ClassificationOptions(Request):
    """Options of a classification request."""

    top_k: int = Field(default=5, ge=1, le=1000, description="how many predictions to return")


class ClassificationTask(ImageTask):
    """Reads `scores` [1, labels], which sum to 1."""

    options = ClassificationOptions

    def _answer_model(self) -> type[BaseModel]:
        label = label_type(self.labels)
        score = (float, Field(ge=0, le=1))
        prediction = create_model(f"{self.schema_name}Prediction", label=(label, ...), score=score)
        return create_model(
            f"{self.schema_name}Answer",
            __base__=Timed,
            label=(label, ...),
            score=score,
            predictions=(list[prediction], ...),  # type: ignore[valid-type] # a class made at run time
        )

    def postprocess(self, context: ImageContext, outputs: Mapping[str, Array]) -> Answer:
        """The `top_k` most likely labels."""
        scores = outputs["scores"][0]
        best = scores.argsort()[::-1][: context.options.top_k].tolist()
        predictions = [{"label": self.labels[i], "score": rounded(scores[i])} for i in best]
        return {**predictions[0], "predictions": predictions}
