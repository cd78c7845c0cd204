"""Fixtures: a browser, and a real server for it to talk to."""

import shutil

import pytest

from tests.browser.tab import Tab
from tests.support.needs import refuse
from tests.support.server import serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in item.path.parts:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        refuse(f"none of these is installed: {', '.join(BROWSERS)}", "BROWSER")
    # The browser's sandbox does not work as root or in most containers; the pages are our own
    options = {"executable_path": program, "args": ["--no-sandbox"]}
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(**options)
        yield running
        running.close()


@pytest.fixture(scope="session")
def server(env, app, tmp_path_factory):
    """The address of a server on the migrated database of the tests."""
    with serving(env | {"WORKERS": "1"}, tmp_path_factory.mktemp("server")) as web:
        yield f"http://127.0.0.1:{web.port}"


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
