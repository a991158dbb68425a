"""Rerun's web viewer for the page, fetched once in the background."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait

from n3d_core.errors import MissingDependencyError
from n3d_ros.page.content import UnavailableError
from n3d_ros.page.web_viewer import ViewerFile, fetch_viewer


class PageViewer:
    """The viewer's files, once they are there."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._fetched: Future[dict[str, ViewerFile]] = Future()

    def start(self) -> None:
        """Begins to fetch them."""
        self._fetched = ThreadPoolExecutor(1, "viewer").submit(fetch_viewer, self._closing.is_set)

    def files(self) -> Mapping[str, ViewerFile]:
        """The files by name.

        Raises:
            UnavailableError: while they are being fetched, and where there are none.
        """
        if not self._fetched.done():
            raise UnavailableError("the 3D view is starting")
        try:
            return self._fetched.result()
        except MissingDependencyError as error:
            raise UnavailableError(f"no 3D view: {error}") from error

    def close(self) -> None:
        """Gives up what is still being fetched."""
        self._closing.set()
        wait([self._fetched], timeout=1.0)
