"""The files of Rerun's web viewer, to be served by a program of ours.

The viewer (HTML, JavaScript and WebAssembly) lies inside the `rerun` program of the SDK's wheel, and only its own web
server gives it out. That server is not what a robot should run: the data server beside it lets any web site read what
is logged (`access-control-allow-origin` is whatever the caller says). So it is started on loopback, without data, for
as long as it takes to fetch the files.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from n3d_core.display.recording import import_rerun
from n3d_core.errors import MissingDependencyError

LOOPBACK = "127.0.0.1"
FILES = ("index.html", "re_viewer.js", "re_viewer_bg.wasm", "favicon.svg")
_PATIENCE_S = 120.0


@dataclass(frozen=True)
class ViewerFile:
    """A file to be served. `headers` are those that the viewer relies on, its content type among them."""

    data: bytes
    headers: Mapping[str, str]


def fetch_viewer(unwanted: Callable[[], bool] = lambda: False) -> dict[str, ViewerFile]:
    """The viewer's files by name (about 40 MB); takes seconds, and gives up where `unwanted` says so.

    Raises:
        MissingDependencyError: if the Rerun SDK is not installed, or its viewer does not start.
    """
    import_rerun()
    with tempfile.TemporaryDirectory() as scratch:
        port = _free_port()
        nothing = f"http://{LOOPBACK}:{port}/none.rrd"  # given something to show, no data server is started
        command = [sys.executable, "-m", "rerun", "--serve-web", "--bind", LOOPBACK, "--web-viewer-port", str(port)]
        with open(Path(scratch) / "log", "w+") as log:
            process = subprocess.Popen([*command, nothing], stdout=log, stderr=log, env=_unwatched(Path(scratch)))
            try:
                end = time.monotonic() + _PATIENCE_S
                return {
                    name: _fetch(
                        f"http://{LOOPBACK}:{port}/{name}", process, lambda: unwanted() or time.monotonic() > end
                    )
                    for name in FILES
                }
            except OSError as error:
                log.seek(0)
                raise MissingDependencyError(
                    f"Rerun's web viewer does not start ({error}): its program says {log.read()[-500:]!r}; "
                    "pip install --force-reinstall 'n3d-ros[rerun]'"
                ) from error
            finally:
                process.terminate()
                process.wait()


def _fetch(url: str, process: subprocess.Popen[bytes], give_up: Callable[[], bool]) -> ViewerFile:
    """A file of a server that may still be starting."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=_PATIENCE_S) as response:
                kept = {
                    name: value for name in ("Content-Type", "rerun-final-length") if (value := response.headers[name])
                }
                return ViewerFile(response.read(), kept)
        except urllib.error.HTTPError:
            raise
        except OSError:
            if process.poll() is not None:
                raise OSError(f"exit code {process.returncode}") from None
            if give_up():
                raise
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _unwatched(scratch: Path) -> dict[str, str]:
    """An environment in which the program reports no usage to its makers; the user's own setting is left as it is."""
    settings = scratch / "rerun" / "analytics.json"
    settings.parent.mkdir()
    unknown = {"analytics_id": "", "metadata": {}, "config_file_path": str(settings), "data_dir_path": str(scratch)}
    settings.write_text(json.dumps({"analytics_enabled": False, **unknown}))
    return {**os.environ, "XDG_CONFIG_HOME": str(scratch)}
