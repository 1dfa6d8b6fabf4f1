"""Sample inputs for the demo and for load tests: drawn scenes as JPEG files, and sentences."""

import json
from pathlib import Path

from PIL import Image

from inferctl.demo.scenes import LABELS, Scene, scene_series

SAMPLE_SEED = 60_001
TRUTH_FILE = "truth.json"

_QUALITY = 90

POSITIVE = "The film was wonderful and I loved every minute of it."
NEGATIVE = "Terrible service and cold food, we will never return."

SAMPLE_TEXTS: tuple[str, ...] = (
    POSITIVE,
    NEGATIVE,
    "I loved this film, the acting was wonderful.",
    "The soup was cold and the waiter was rude.",
    "Great phone, the battery is reliable and the screen is bright.",
    "It was a complete waste of money.",
    "We enjoyed our stay and the staff were very friendly.",
    "The plot was predictable and the ending was dull.",
    "Not bad at all, in my opinion.",
    "The room was clean, quiet and comfortable.",
    "My headset stopped working after a week and the support was unhelpful.",
    "Everyone admired the writing, and the characters were inspiring.",
    "The hotel was far from perfect.",
    "I would recommend it to anyone.",
    "I want my money back.",
    "The pizza was delicious but the service was terribly slow.",
    "The cast was weak, but the story was so gripping that I really enjoyed it.",
    "Although the lobby looked shabby, our room was spotless and the bed was comfortable.",
    "We went there on a monday after work, and to be honest the dinner was excellent.",
    "I bought it last week, the parcel came by post, and the display was broken.",
    "What a masterpiece!",
    "What a disappointment!",
    "I did not like the soundtrack.",
    "There was nothing wrong with the food, it was fresh and tasty.",
    "The critics said it was brilliant and they were wrong.",
    "The camera takes sharp pictures and the software is fast.",
    "The laptop is slow, the keyboard is flimsy and the speaker is awful.",
    "My kids adored the pool and we would gladly return next summer.",
    "The novel was confusing, the prose was pretentious and the chapters were tedious.",
    "I expected a boring concert and got a beautiful one.",
    "The manager was polite, the delivery was prompt and the price was fair.",
    "Nobody enjoyed the meal.",
    "The balcony had a stunning view and the breakfast was one of the best of the year.",
    "I do not think that the service was good.",
    "The garage was careless and the driver was late, so I asked for a refund.",
    "This is the best book I have ever read, the opening was haunting and the ending moving.",
    "We stayed for two hours with my family, the music was lovely, the waitress was kind, the "
    "dessert was divine, and all in all it was a pleasure that we would happily repeat.",
    "It rained all day during our trip, the carpet was damp, the shower was broken, the reception "
    "was closed, and when we called the manager he was rude and would not help us.",
    "I got it for my birthday, it came in a blue box, my brother has one too, and after using it "
    "for a month I must say that it works perfectly and that I am very happy with it.",
    "We had read about it, a colleague had told me that it was amazing, and I really wanted to "
    "like it, but the story was silly, the pacing was slow and the dialogue was horrible.",
)


def write_images(folder: Path, count: int, seed: int = SAMPLE_SEED) -> list[Scene]:
    """Write `count` scenes as JPEG files, and what they hold as `truth.json`; return the scenes.

    The truth maps each file name to boxes, xyxy in pixels, and label names. JPEG loses a little,
    so the files are not bit-identical to the returned images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scenes = scene_series(seed, count)
    truth = {}
    for index, scene in enumerate(scenes):
        name = f"scene-{index:03d}.jpg"
        Image.fromarray(scene.image).save(folder / name, quality=_QUALITY)
        truth[name] = {
            "boxes": [[round(edge, 2) for edge in box] for box in scene.boxes.tolist()],
            "labels": [LABELS[label] for label in scene.labels.tolist()],
        }
    (folder / TRUTH_FILE).write_text(json.dumps(truth, indent=2) + "\n", encoding="utf-8")
    return scenes
