"""A headless Chromium, driven over its DevTools protocol. It draws without a GPU."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ["--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def find_chromium() -> str | None:
    """The program's path; None where it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chromium:
    """One page, for the length of a `with` block.

    Args:
        program: see `find_chromium`.
        url: of the page.
        profile: an empty folder.

    `errors` holds the exceptions of its scripts and what they logged as errors.
    """

    def __init__(self, program: str, url: str, profile: Path) -> None:
        command = [program, *_OPTIONS, "--window-size=1280,900", f"--user-data-dir={profile}"]
        self._command = [*command, "--remote-debugging-port=0", url]
        self._port_file = profile / "DevToolsActivePort"
        self._calls = 0
        self.errors: list[str] = []

    def __enter__(self) -> Chromium:
        from websockets.sync.client import connect

        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: self._port_file.exists() and self._port_file.read_text().strip(), 120)
        tabs = f"http://127.0.0.1:{self._port_file.read_text().split()[0]}/json"
        (tab,) = until(lambda: [t for t in json.load(urllib.request.urlopen(tabs)) if t["type"] == "page"], 120)
        self._socket = connect(tab["webSocketDebuggerUrl"], max_size=None, open_timeout=120).__enter__()
        self._call("Runtime.enable")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(30)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self._call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def text(self, selector: str) -> str:
        """What can be read in an element; empty where there is none."""
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText") or ""

    def screenshot(self, path: Path) -> None:
        """Writes what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot")["data"]))

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=300))
            if message.get("id") == self._calls:
                assert "error" not in message, message
                return message["result"]
            if message.get("method") == "Runtime.exceptionThrown" or message.get("params", {}).get("type") == "error":
                self.errors.append(json.dumps(message["params"])[:500])


def until(condition: Callable[[], Any], timeout_s: float) -> Any:
    """Waits until `condition` returns something true, which is returned; fails at the time-out."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < end, f"nothing came within {timeout_s} s"
        time.sleep(0.2)
    return found
