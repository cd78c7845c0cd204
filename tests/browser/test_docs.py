"""The documentation in a browser."""

import re

import pytest

TELEPHONE = {"viewport": {"width": 375, "height": 800}}
NARROW = {"viewport": {"width": 320, "height": 800}}  # a page of 1280 pixels, enlarged to 400 %
DARK = {"color_scheme": "dark"}

# What axe-core finds in Swagger UI itself: low contrast, a skipped heading level, an unlabelled text
# area for the body, nested buttons, a header outside the landmarks, and code that the keyboard cannot scroll
SWAGGER_UI = {
    "color-contrast",
    "heading-order",
    "label",
    "nested-interactive",
    "region",
    "scrollable-region-focusable",
}


class Operation:
    """One operation on the page of Swagger UI."""

    def __init__(self, page, name):
        self._page = page
        self.block = page.locator(f"#operations-hello-{name}")

    def open(self):
        self.block.locator(".opblock-summary-control").click()
        self.block.locator(".try-out__btn").click()
        return self

    def fill(self, name):
        self.block.locator("tr[data-param-name=username] input").fill(name)
        return self

    def execute(self):
        self.block.locator(".execute").click()
        return self.answer()

    def answer(self):
        """Status and body of the response, once it has arrived."""
        row = self.block.locator(".live-responses-table tbody tr.response")
        row.wait_for()
        status = row.locator(".response-col_status").inner_text().split()[0]
        body = row.locator(".response-col_description .highlight-code")
        return int(status), body.inner_text() if body.count() else ""


def documentation(tab):
    page = tab.open("/docs")
    page.locator("#operations-hello-getGreeting").wait_for()
    return page


@pytest.mark.parametrize("options", [{}, DARK, NARROW], ids=["light", "dark", "narrow"])
def test_a_birthday_is_saved_greeted_and_deleted(new_tab, options):
    tab = new_tab(**options)
    page = documentation(tab)
    assert Operation(page, "saveDateOfBirth").open().execute() == (204, "")  # with its own examples
    status, body = Operation(page, "getGreeting").open().execute()
    assert status == 200
    assert "Hello, John! " in body
    assert Operation(page, "deleteUser").open().execute() == (204, "")
    assert tab.overflow <= 0


def test_names_of_response_headers_are_legible_in_the_dark(new_tab):
    page = documentation(new_tab(**DARK))
    Operation(page, "getGreeting").block.locator(".opblock-summary-control").click()
    row = page.locator("table.headers tr", has_text="X-Request-ID").first
    text = row.locator("td").first.evaluate("cell => getComputedStyle(cell).color")
    assert all(int(part) > 200 for part in re.findall(r"\d+", text)), text


def test_on_a_slow_line_the_page_says_that_it_loads(new_tab):
    """Before Swagger UI's style sheet and program have arrived."""
    tab = new_tab()
    held = []

    def hold(route):
        held.append(route)

    tab.page.route("**/docs/swagger-ui*", hold)
    tab.page.goto(tab.server + "/docs", wait_until="commit")
    painted = "performance.getEntriesByName('first-contentful-paint').length"
    for _ in range(600):  # the page's policy forbids wait_for_function to repeat an expression
        if tab.page.evaluate(painted):
            break
        tab.page.wait_for_timeout(50)
    assert "Loading the documentation" in tab.page.locator("#docs").inner_text()
    for route in held:
        route.continue_()
    tab.page.locator("#operations-hello-getGreeting").wait_for()
    assert "Loading the documentation" not in tab.page.locator("#docs").inner_text()


@pytest.mark.parametrize("name", ["Владимир", "علی\u200cرضا", "Zoë"], ids=ascii)
def test_names_in_any_script_can_be_tried_out(new_tab, name):
    page = documentation(new_tab())
    assert Operation(page, "saveDateOfBirth").open().fill(name).execute()[0] == 204
    status, body = Operation(page, "getGreeting").open().fill(name).execute()
    assert status == 200
    assert name in body


def test_an_error_response_is_shown_unchanged(new_tab):
    tab = new_tab()
    page = documentation(tab)
    status, body = Operation(page, "getGreeting").open().fill("j0hn").execute()
    assert status == 400
    assert "/docs/problems#invalid-request" in body
    (line,) = tab.complaints  # logged by the browser itself for any response with this status
    assert "the server responded with a status of 400" in line
    tab.complaints.clear()


def test_it_can_be_used_by_keyboard(new_tab):
    page = documentation(new_tab())
    operation = Operation(page, "saveDateOfBirth")

    def focus(selector):
        target = operation.block.locator(selector).element_handle()
        for _ in range(60):
            if target.evaluate("element => element === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{selector} cannot be reached with the Tab key")

    for selector in (".opblock-summary-control", ".try-out__btn", ".execute"):
        focus(selector)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"nobody sees that {selector} has the focus"
        page.keyboard.press("Enter")
    assert operation.answer() == (204, "")


def test_the_theme_follows_the_system(new_tab):
    dark, light = new_tab(**DARK), new_tab()
    for path in ("/docs", "/docs/problems"):
        for tab in (dark, light):
            tab.open(path).wait_for_load_state("networkidle")
        assert dark.background != light.background, path
    page = documentation(light)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("document.documentElement.classList.contains('dark-mode')")


@pytest.mark.parametrize("options", [TELEPHONE, TELEPHONE | DARK, {}, DARK], ids=str)
def test_the_page_about_problems_is_accessible(new_tab, options):
    tab = new_tab(**options, java_script_enabled=True)
    page = tab.open("/docs/problems#user-not-found")
    assert page.locator(":target").inner_text() == "user-not-found"
    assert tab.overflow <= 0
    assert found(page) == set()


@pytest.mark.parametrize("options", [{}, DARK, TELEPHONE, TELEPHONE | DARK], ids=str)
def test_axe_finds_only_the_known_issues_of_swagger_ui(new_tab, options):
    page = documentation(new_tab(**options))
    assert found(page) <= SWAGGER_UI
    Operation(page, "saveDateOfBirth").open().execute()
    assert found(page) <= SWAGGER_UI


def test_without_javascript_the_page_says_where_the_description_is(browser, server):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(server + "/docs")
    assert page.locator("noscript a").get_attribute("href") == "/openapi.json"
    page.context.close()


def found(page):
    from axe_playwright_python.sync_playwright import Axe

    return {violation["id"] for violation in Axe().run(page).response["violations"]}
