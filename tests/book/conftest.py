"""The built book, a server for it, and a Chromium to read it with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = (
    "_config.yml",
    "_toc.yml",
    "book/**/*",
    "labs/*.ipynb",
    "greenkit/authoring/*.py",
    "_static/*",
    "_extra/**/*",
)
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def unavailable(reason: str) -> NoReturn:
    """Skip, or fail where GREENKIT_REQUIRE_ALL=1 says that nothing may be missing."""
    if os.environ.get("GREENKIT_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason} (GREENKIT_REQUIRE_ALL=1 forbids skipping)")
    pytest.skip(reason)


def _is_fresh(site: Path) -> bool:
    index = site / "searchindex.js"  # the last file that a build writes
    if not index.exists():
        return False
    sources = (path for pattern in SOURCES for path in ROOT.glob(pattern) if path.is_file())
    return index.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def _build(folder: Path) -> Path:
    command = "from jupyter_book.cli.main import main; main()"
    flags = ["--all", "-W", "--keep-going", "-n", "--path-output", str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", command, "build", str(ROOT), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"the strict build of the book fails:\n{done.stdout}\n{done.stderr}")
    return folder / "_build" / "html"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the built book: $GREENKIT_SITE, else a fresh _build/html, else built here."""
    if "GREENKIT_SITE" in os.environ:
        named = Path(os.environ["GREENKIT_SITE"]).resolve()
        assert (named / "searchindex.js").exists(), f"GREENKIT_SITE={named} holds no built book"
        return named
    built = ROOT / "_build" / "html"
    if _is_fresh(built):
        return built
    try:
        import jupyter_book  # noqa: F401
    except ModuleNotFoundError:
        unavailable("jupyter-book is not installed: pip install -e '.[book]'")
    return _build(tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="session")
def pages(site: Path) -> list[Path]:
    """Every page that a reader can open, without the redirect at the root."""
    found = sorted(site.rglob("*.html"))
    return [p for p in found if "_static" not in p.parts and p != site / "index.html"]


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a request that fails is seen by the test."""


@pytest.fixture(scope="session")
def server(site: Path) -> Iterator[str]:
    """Address of the book on a local server."""
    handler = partial(_QuietHandler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium of the system, driven by playwright (no browser is downloaded)."""
    try:
        import axe_playwright_python  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError as error:
        unavailable(f"{error.name} is not installed: pip install -e '.[browser]'")
    program = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if program is None:
        unavailable("Chromium is not installed: apt-get install chromium, or brew install chromium")
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if as_root else []
        )
        yield browser
        browser.close()
