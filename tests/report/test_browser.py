"""A browser shows the page of a report on a phone and on a desk, in light and in dark colors.

Chromium is driven through its debugging pipe, which needs no other package.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gtl.report import report

NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe", "about:blank"),
)


def find_browser() -> str | None:
    """Path of a Chromium, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """Chromium, driven through file descriptors 3 and 4; a context manager."""

    def __init__(self, path: str, home: Path):
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        def connect() -> None:
            a, b = os.dup(to_read), os.dup(to_write)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self._process = subprocess.Popen(
            [path, *_FLAGS[:-1], f"--user-data-dir={home}", _FLAGS[-1]],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._count, self._rest, self.requests = 0, b"", []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait(20)
        os.close(self._read)
        os.close(self._write)

    def show(self, page: Path, width: int, height: int, scheme: str) -> None:
        """Load a page."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"]["value"]

    def screenshot(self, file: Path, whole: bool = False) -> Path:
        """Write what is shown, or the whole page, to a PNG file."""
        options: dict[str, Any] = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            options = {"clip": clip, "captureBeyondViewport": True}
        found = self.call("Page.captureScreenshot", **options)
        file.write_bytes(base64.b64decode(found["data"]))
        return file

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol for the page."""
        return self._call(method, self._session, **params)

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self._count:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            if not more:
                raise RuntimeError("the browser ended")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        found = json.loads(text)
        if found.get("method") == "Network.requestWillBeSent":
            self.requests.append(found["params"]["request"]["url"])
        return found


@pytest.fixture
def page(write_run, tmp_path):
    """A report of two methods with long names."""
    for seed in range(3):
        write_run(f"alone-{seed}", seed, 0.7 + seed / 100, data="smiles:" + "long/" * 30)
        write_run(f"helped-{seed}", seed, 0.8, tasks=("motif",), data="smiles:" + "long/" * 30)
    return report(tmp_path / "runs", label={"equal": "unbroken" * 30}).folder / "report.html"


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_the_window_and_can_be_read_in_both_schemes(page, tmp_path, width, scheme):
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium is installed; on Debian: apt-get install chromium")
    with Browser(path, tmp_path / "browser") as browser:
        browser.show(page, width, 844, scheme)
        assert browser.value("document.documentElement.scrollWidth") == width
        ink = browser.value("getComputedStyle(document.body).color")
        paper = browser.value("getComputedStyle(document.body).backgroundColor")
        text = "document.querySelector('.panel svg text')"
        assert browser.value(f"getComputedStyle({text}).fill") == ink
        dark, light = sorted(_brightness(color) for color in (ink, paper))
        assert light - dark > 450
        assert (_brightness(paper) == light) == (scheme == "light")
        widths = "[...document.querySelectorAll('.panel svg')].map(e => e.clientWidth)"
        assert 280 < browser.value(f"Math.min(...{widths})") <= width
        assert {url.partition(":")[0] for url in browser.requests} <= {"file", "data"}
        assert browser.screenshot(tmp_path / "shot.png").stat().st_size > 10_000


def _brightness(color):
    return sum(map(int, re.findall(r"\d+", color)[:3]))
