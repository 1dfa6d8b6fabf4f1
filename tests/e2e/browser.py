"""A headless Chromium that looks at a page as a person would."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from shutil import which
from typing import Any

import numpy as np
import numpy.typing as npt
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WAIT_S = 10
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--disable-extensions", "--hide-scrollbars", "--window-size=1280,1000",
    # A box that still fades in has no text yet.
    "--force-prefers-reduced-motion",
)  # fmt: skip

# A file in the hands of the pointer, or of the clipboard.
TRANSFER = """
const [kind, target, name, type, base64] = arguments;
const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, { type }));
const options = { bubbles: true, cancelable: true };
const event = kind === "paste"
  ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
  : new DragEvent(kind, { ...options, dataTransfer: transfer });
document.querySelector(target).dispatchEvent(event);
"""


PIXELS = """
const [selector, side] = arguments;
const context = new OffscreenCanvas(side, side).getContext("2d");
context.imageSmoothingQuality = "high";
context.drawImage(document.querySelector(selector), 0, 0, side, side);
return [...context.getImageData(0, 0, side, side).data];
"""
WIDER = """
const [width, exempt] = arguments;
return [...document.querySelectorAll(`body *:not(${exempt})`)]
  .filter((each) => each.getBoundingClientRect().right > width)
  .map((each) => each.outerHTML);
"""


class Browser:
    """Finds by CSS selector, and waits for what it expects."""

    def __init__(self) -> None:
        chromium, driver = which("chromium"), which("chromedriver")
        assert chromium, "the page is tested in Chromium: run `make browser`"
        assert driver, "Chromium needs its driver: run `make browser`"
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for argument in ARGUMENTS:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(driver))

    def quit(self) -> None:
        self.driver.quit()

    def open(self, url: str) -> None:
        # A page that differs in its fragment alone would not be loaded anew.
        self.driver.get("about:blank")
        self.driver.get(url)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The element, once it is there."""
        return self.wait(lambda: next(iter(self.all(selector)), None))

    def wait(self, condition: Callable[[], Any]) -> Any:
        """What the condition gives, once it is true."""
        return WebDriverWait(self.driver, WAIT_S, 0.05).until(lambda _: condition())

    def wait_for_text(self, selector: str, text: str) -> None:
        self.wait(lambda: text in self.one(selector).text)

    def transfer(self, kind: str, target: str, name: str, media_type: str, data: bytes) -> None:
        """Drop a file on an element, or paste it there."""
        encoded = base64.b64encode(data).decode("ascii")
        self.driver.execute_script(TRANSFER, kind, target, name, media_type, encoded)

    def press(self, *keys: str) -> None:
        """Strike keys one after the other, wherever the focus is."""
        ActionChains(self.driver).send_keys(*keys).perform()

    def hold_and_press(self, held: str, key: str) -> None:
        ActionChains(self.driver).key_down(held).send_keys(key).key_up(held).perform()

    @property
    def focus(self) -> WebElement:
        return self.driver.switch_to.active_element

    def pixels(self, selector: str, side: int) -> npt.NDArray[np.int64]:
        """An image as it is shown, scaled to a square: [side, side, 3]."""
        values = self.driver.execute_script(PIXELS, selector, side)
        return np.reshape(values, (side, side, 4))[..., :3]

    def wider_than(self, width: int, exempt: str) -> list[str]:
        """What reaches over the right edge of a screen of that width."""
        found: list[str] = self.driver.execute_script(WIDER, width, exempt)
        return found

    def prefer(self, scheme: str) -> None:
        """`light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def screenshot(self, path: Path) -> None:
        """The page from top to bottom, as PNG."""
        options = {"format": "png", "captureBeyondViewport": True}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", options)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def complaints(self) -> list[str]:
        """The console's errors since the last look, refusals of the server apart."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if entry["source"] != "network"
        ]
