"""The documentation pages as HTTP sees them; tests/browser tries them in a browser."""

import gzip
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
    assert all(re.fullmatch(r"/docs/[\w.-]+\?v=[0-9a-f]{16}", url) for url in loaded)


@pytest.mark.parametrize("path", PAGES)
def test_the_links_of_the_pages_to_this_host_work(client, path):
    inside = [url for url in references(client.get(path)) if "://" not in url]
    assert inside
    for url in inside:
        assert client.get(url).status_code == 200, url


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
def test_assets_are_compressed_and_cached(client, name):
    url = next(url for url in references(client.get("/docs")) if name in url)
    plain = client.get(url)
    packed = client.get(url, headers={"Accept-Encoding": "br, gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    for response in (plain, packed):
        assert response.headers["Vary"] == "Accept-Encoding"
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    again = client.get(url, headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_an_asset_without_a_content_hash_is_revalidated(client):
    for url in ("/docs/docs.js", "/docs/docs.js?v=0123456789abcdef"):
        assert client.get(url).headers["Cache-Control"] == "no-cache"


def test_the_page_is_small_on_a_slow_line(client):
    urls = {url for url in references(client.get("/docs")) if url.startswith("/docs/")}
    packed = [client.get(url, headers={"Accept-Encoding": "gzip"}).data for url in urls]
    assert sum(map(len, packed)) < 700_000  # of 1.9 MB


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br"])
def test_clients_without_compression_get_plain_assets(client, accepted):
    response = client.get("/docs/docs.js", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in response.headers
    assert b"SwaggerUIBundle" in response.data


@pytest.mark.parametrize("name", ["oauth2-redirect.html", "..%2F__init__.py", "docs.html", "%00"])
def test_only_the_assets_of_the_pages_are_served(client, name):
    assert client.get(f"/docs/{name}").status_code == 404
    assert client.get(f"/static/{name}").status_code == 404
