"""Done when: a person who opens `/` can ask every kind of model, and sees what the server says."""

from __future__ import annotations

import io
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from docs.generate import REPOSITORY
from inferctl.demo.samples import NEGATIVE, POSITIVE
from inferctl.demo.scenes import scene_series
from tests.e2e.browser import Browser
from tests.e2e.formulas import write_formulas
from tests.e2e.service import Service
from tests.faults.guarded import make_key

pytestmark = pytest.mark.e2e

SCREENSHOTS = REPOSITORY / "reports"
SIDE = 640
EXIF_ORIENTATION = 0x0112


@pytest.fixture(scope="module")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The demo's models and two whose answers can be worked out."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(models, folder / "models")
    write_formulas(folder / "models")
    with Service(
        [str(folder / "models"), "--port", "0", "--set", "server.workers=1"], folder
    ) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    running = Browser()
    yield running
    running.quit()


class Page:
    """The page with a model chosen."""

    def __init__(self, browser: Browser, service: Service) -> None:
        self.browser = browser
        self.service = service

    def open(self, model: str) -> None:
        self.browser.open(f"{self.service.url}/#{model}")
        self.browser.one(f"[value={model}]:checked")

    def ask(self, panel: str, content: str) -> None:
        """Type into the panel's text area and press its button."""
        area = self.browser.one(f"#{panel}")
        area.clear()
        area.send_keys(content)
        self.browser.one(f"#{panel}-panel button").click()

    def labels(self) -> list[str]:
        return [label.text for label in self.browser.all("#results .bar-label")]

    def curl(self) -> list[str]:
        """The words of the curl line, as a shell would read them."""
        return shlex.split(self.browser.one("#curl-line").text.replace("\\\n", ""))


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """It ends without an error in the console, a breach of its policy among them."""
    browser.complaints()
    yield Page(browser, service)
    assert browser.complaints() == []


def picture(kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    scene = Image.fromarray(scene_series(424_242, 1)[0].image).resize((SIDE, SIDE // 2))
    scene.save(stream, kind, **options)
    return stream.getvalue()


def plain(colour: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(stream, "PNG")
    return stream.getvalue()


def detections(service: Service, data: bytes, media_type: str = "image/jpeg") -> list[Any]:
    answer = service.request("/models/shapes/predict", data, {"Content-Type": media_type})
    found: list[Any] = answer.json["detections"]
    return found


def assert_boxes_lie_where_they_belong(page: Page, found: list[Any], size: tuple[int, int]) -> None:
    """Each box on the screen is the answer's, in the scale of the picture on the screen."""
    page.browser.wait(lambda: len(page.browser.all("#boxes .box")) == len(found) > 0)
    frame = page.browser.one("#picture").rect
    scale = np.array([frame["width"], frame["height"]]) / size
    for box, detection in zip(page.browser.all("#boxes .box"), found, strict=True):
        assert box.text == f"{detection['label']} {detection['confidence']:.2f}"
        corners = np.array(detection["bbox"]).reshape(2, 2) * scale
        shown = box.rect
        expected = (*(corners[0] + (frame["x"], frame["y"])), *(corners[1] - corners[0]))
        assert np.allclose([shown[k] for k in ("x", "y", "width", "height")], expected, atol=1)


def test_an_image_that_is_dropped_shows_its_boxes(page: Page) -> None:
    data = picture()

    page.open("shapes")
    page.browser.transfer("drop", "#drop", "scene one.jpg", "image/jpeg", data)

    found = detections(page.service, data)
    assert_boxes_lie_where_they_belong(page, found, (SIDE, SIDE // 2))
    assert page.labels() == [detection["label"] for detection in found]
    assert f"{len(found)} objects" in page.browser.one("#verdict").text
    assert "inference" in page.browser.one("#phases").text


@pytest.mark.parametrize(
    ("kind", "orientation"), [("JPEG", 6), ("PNG", 6), ("WEBP", 6), ("WEBP", 7)]
)
def test_an_image_that_lies_on_its_side_is_shown_upright_with_its_boxes(
    page: Page, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    data, media_type = picture(kind, exif=exif), f"image/{kind.lower()}"

    page.open("shapes")
    page.browser.transfer("paste", "body", "turned", media_type, data)

    found = detections(page.service, data, media_type)
    assert_boxes_lie_where_they_belong(page, found, (SIDE // 2, SIDE))
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB").resize((8, 8))
    assert np.abs(page.browser.pixels("#picture", 8) - np.asarray(upright, int)).mean() < 8


def test_a_lower_threshold_shows_more_boxes(page: Page) -> None:
    page.open("shapes")
    page.browser.transfer("drop", "#drop", "scene.jpg", "image/jpeg", picture())
    few = len(page.browser.wait(lambda: page.browser.all("#boxes .box")))

    page.browser.one("#threshold").send_keys(Keys.HOME)

    page.browser.wait(lambda: len(page.browser.all("#boxes .box")) > few)
    assert "confidence_threshold=0" in page.curl()[2]


def test_the_curl_line_asks_what_the_page_asked(page: Page, tmp_path: Path) -> None:
    (tmp_path / "it's one.jpg").write_bytes(picture())

    page.open("shapes")
    page.browser.one("#file").send_keys(str(tmp_path / "it's one.jpg"))
    page.browser.one("#boxes .box")

    program, _, url, header, content_type, data, file = page.curl()
    assert (program, header, data) == ("curl", "-H", "--data-binary")
    sent = (tmp_path / file.removeprefix("@")).read_bytes()
    headers = dict([content_type.split(": ")])
    answer = page.service.request(url.removeprefix(page.service.url), sent, headers)
    assert page.labels() == [found["label"] for found in answer.json["detections"]]


def test_a_text_gets_its_label_and_the_score_of_each(page: Page) -> None:
    page.open("sentiment")
    for text, label in ((POSITIVE, "positive"), (NEGATIVE, "negative")):
        page.ask("text", text)

        page.browser.wait_for_text("#verdict", label)
        assert page.labels()[0] == label
        assert sorted(page.labels()) == ["negative", "positive"]
        assert text in page.curl()[-1]


def test_an_image_gets_its_most_likely_labels(page: Page) -> None:
    page.open("colours")
    for colour in ("red", "blue"):
        page.browser.transfer("drop", "#drop", "plain.png", "image/png", plain(colour))

        page.browser.wait_for_text("#verdict", colour)
        assert page.labels()[0] == colour
        assert len(page.labels()) == 3


def test_a_tensor_model_starts_with_its_example(page: Page) -> None:
    page.open("double")
    assert '"x": [0, 0, 0, 0]' in page.browser.one("#json").get_property("value")

    page.ask("json", '{"inputs": {"x": [1, 2, 3, 4]}}')

    page.browser.wait_for_text("#raw", '"y": [2, 4, 6, 8]')


def test_an_error_is_shown_in_its_line_with_what_to_do(page: Page) -> None:
    page.open("shapes")

    page.browser.transfer("drop", "#drop", "a.gif", "image/gif", b"GIF89a")

    page.browser.wait_for_text("#problem", "415")
    assert "use application/json, image/jpeg" in page.browser.one("#problem").text
    assert page.browser.all("#boxes .box") == []
    assert page.curl()[-1] == "@a.gif"


def test_the_keyboard_is_enough(page: Page) -> None:
    page.open("shapes")
    stops = []
    while "file" not in stops:
        page.browser.press(Keys.TAB)
        stops.append(page.browser.focus.get_attribute("id"))
        assert len(stops) < 20, stops
    page.browser.hold_and_press(Keys.SHIFT, Keys.TAB)
    assert page.browser.focus.get_attribute("value") == "shapes"
    page.browser.press(Keys.ARROW_LEFT)
    assert page.browser.focus.get_attribute("value") == "sentiment"

    page.browser.press(Keys.TAB)
    assert page.browser.focus.get_attribute("id") == "text"
    page.browser.hold_and_press(Keys.CONTROL, "a")
    page.browser.press(NEGATIVE)
    page.browser.hold_and_press(Keys.CONTROL, Keys.ENTER)

    page.browser.wait_for_text("#verdict", "negative")


def test_the_figures_are_those_of_the_service(page: Page) -> None:
    page.open("sentiment")
    page.ask("text", POSITIVE)

    def cells() -> list[str]:
        rows = page.browser.all("#per-model tr")
        texts = [[cell.text for cell in row.find_elements(By.XPATH, "*")] for row in rows]
        return next((row for row in texts if row[0] == "sentiment"), [])

    page.browser.wait_for_text("#verdict", "positive")
    asked = int(page.service.metric('inference_requests_total{model="sentiment"}'))
    page.browser.wait(lambda: cells() and cells()[-1] == f"{asked}" and " ms" in cells()[4])
    assert cells()[1] == "ready, cpu"
    assert float(page.browser.one("[data-key=requests] .value").text) > 0
    assert "ok" in page.browser.one("#state").text


@pytest.mark.parametrize(("scheme", "lightness"), [("light", 245), ("dark", 15)])
def test_it_is_light_or_dark_as_the_person_prefers(page: Page, scheme: str, lightness: int) -> None:
    page.browser.prefer(scheme)
    page.open("shapes")
    page.browser.transfer("drop", "#drop", "scene.jpg", "image/jpeg", picture())
    page.browser.one("#boxes .box")

    page.browser.screenshot(SCREENSHOTS / f"page-{scheme}.png")

    with Image.open(SCREENSHOTS / f"page-{scheme}.png") as shot:
        assert abs(np.mean(shot.convert("RGB").getpixel((2, 2))) - lightness) < 8
    page.browser.prefer("light")


def test_nothing_is_wider_than_a_phone(page: Page) -> None:
    page.browser.resize(360, 740)
    page.open("shapes")
    page.browser.transfer("drop", "#drop", "scene.jpg", "image/jpeg", picture())
    page.browser.one("#boxes .box")

    assert page.browser.wider_than(360, ".unseen, .table *") == []
    page.browser.resize(1280, 1000)


def test_the_documentation_answers_its_own_examples(page: Page) -> None:
    page.browser.open(f"{page.service.url}/docs")
    for model in ("shapes", "sentiment"):
        path = f"[data-path='/models/{model}/predict']"
        page.browser.one(f".opblock-summary:has({path}) .opblock-summary-control").click()
        operation = f".opblock:has({path})"
        page.browser.one(f"{operation} .try-out__btn").click()
        page.browser.one(f"{operation} .execute").click()
        page.browser.wait_for_text(f"{operation} .live-responses-table tbody", "200")


def test_whoever_has_a_key_may_use_the_page(models: Path, tmp_path: Path, browser: Browser) -> None:
    """The browser asks for it by itself: here it is told before."""
    config = tmp_path / "serve.toml"
    key = make_key(config, "me")
    flags = ["--port", "0", "--workers", "1", "--config", str(config)]
    running = Service([str(models), *flags], tmp_path)
    try:
        running.wait_until_ready()
        assert running.request("/").status == 401
        browser.open(running.url.replace("://", f"://any:{key}@") + "/models")

        page = Page(browser, running)
        page.open("sentiment")
        page.ask("text", POSITIVE)

        browser.wait_for_text("#verdict", "positive")
        shown = browser.one("#curl-line").text
        assert '-H "Authorization: Bearer $INFERCTL_API_KEY"' in shown
        assert key not in shown
    finally:
        running.stop()
