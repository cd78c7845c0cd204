"""The documentation pages as HTTP sees them; tests/browser tries them in a browser."""

import re

import pytest

from web import docs

PAGES = ("/docs", "/docs/problems")


def references(page):
    return re.findall(r'(?:src|href)="([^"]+)"', page.text)


@pytest.mark.parametrize("path", PAGES)
def test_the_pages_load_nothing_from_another_host(client, path):
    page = client.get(path)
    assert page.status_code == 200
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page.text)
    assert loaded
    assert all(re.fullmatch(r"/docs/[\w.-]+", url) for url in loaded)


@pytest.mark.parametrize("path", PAGES)
def test_the_links_of_the_pages_to_this_host_work(client, path):
    inside = [url for url in references(client.get(path)) if "://" not in url]
    assert inside
    for url in inside:
        assert client.get(url, buffered=True).status_code == 200, url


def test_the_page_about_problems_explains_every_type_without_javascript(client):
    page = client.get("/docs/problems").text
    shared = client.get("/openapi.json").json["components"]["responses"].values()
    examples = [one["content"]["application/problem+json"]["example"] for one in shared]
    explained = {one["type"]: one["status"] for one in examples if one["type"] != "about:blank"}
    assert explained
    for kind, status in explained.items():
        name = kind.removeprefix("/docs/problems#")
        assert re.search(rf'<h2 id="{name}">{name}</h2>\s*<p>\s*Status {status}\.', page)
    assert "<script" not in page


def test_the_root_path_redirects_to_the_documentation(client):
    front = client.get("/", base_url="https://host:8443")
    assert (front.status_code, front.headers["Location"]) == (302, "/docs")
    empty = client.get("/", environ_overrides={"PATH_INFO": ""})
    assert (empty.status_code, empty.headers["Location"]) == (302, "/docs")


@pytest.mark.parametrize("name", docs.ASSETS)
def test_assets_are_kept_until_they_change(client, name):
    url = next(url for url in references(client.get("/docs")) if name in url)
    first = client.get(url, buffered=True)
    assert first.headers["Cache-Control"] == "no-cache"  # keep it, and ask whether it has changed
    kept = {"If-None-Match": first.headers["ETag"]}
    again = client.get(url, headers=kept, buffered=True)
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["oauth2-redirect.html", "..%2F__init__.py", "docs.html", "%00"])
def test_only_the_assets_of_the_pages_are_served(client, name):
    assert client.get(f"/docs/{name}").status_code == 404
    assert client.get(f"/static/{name}").status_code == 404
