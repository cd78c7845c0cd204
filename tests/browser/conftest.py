"""Fixtures: a browser, and a real server for it to talk to."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STARTED = 60  # seconds, at most


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        reason = f"none of these is installed: {', '.join(BROWSERS)}"
        if os.environ.get("REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason}, and REQUIRE_BROWSER=1")
        pytest.skip(f"{reason}; REQUIRE_BROWSER=1 makes this a failure")
    # The browser's sandbox does not work as root or in most containers; the pages are our own
    options = {"executable_path": program, "args": ["--no-sandbox"]}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(env, app):
    """The address of a server on the migrated database of the tests."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "web"],
        env=os.environ | env | {"PORT": str(port), "WORKERS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        address = f"http://127.0.0.1:{port}"
        wait_until_ready(process, address)
        yield address
    finally:
        process.terminate()
        process.communicate()


def wait_until_ready(process, address):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTED
    while process.poll() is None:
        try:
            assert opener.open(f"{address}/readyz", timeout=5).status == 200
        except OSError:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server has ended")


class Tab:
    """A page, and all errors and warnings that it logged."""

    def __init__(self, page, server):
        self.page, self.server = page, server
        self.complaints, self.elsewhere = [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._remember)

    def _remember(self, request):
        if not request.url.startswith((self.server, "data:")):
            self.elsewhere.append(request.url)

    def open(self, path):
        self.page.goto(self.server + path)
        return self.page

    @property
    def background(self):
        return self.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")

    @property
    def overflow(self):
        """The number of pixels by which the page is wider than its window."""
        return self.page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth")


@pytest.fixture
def new_tab(browser, server, context):
    """Opens tabs, and asserts afterwards that none logged an error or loaded anything from another host."""
    tabs = []

    def make(**options):
        page = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}} | options
        ).new_page()
        tabs.append(Tab(page, server))
        return tabs[-1]

    yield make
    for tab in tabs:
        assert tab.complaints == []
        assert tab.elsewhere == []
        tab.page.context.close()
