"""Who may write, where keys are set."""

import hashlib
import hmac

import pytest

from web import create_app, keys, openapi

KEY, OTHER = "an-open-secret", "another-one"
BORN = {"dateOfBirth": "1990-05-17"}


def digest(key):
    return hashlib.sha256(key.encode()).hexdigest()


@pytest.fixture
def guarded(env, context):
    """A client of an application that knows two keys."""
    return create_app(env | {"API_KEYS": f"{digest(KEY)}, {digest(OTHER).upper()}"}).test_client()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [KEY, OTHER])
def test_each_key_may_write(guarded, key):
    assert guarded.put("/hello/John", json=BORN, headers=bearer(key)).status_code == 204
    assert guarded.delete("/hello/John", headers=bearer(key)).status_code == 204


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "bearer =",
        'Bearer ""',
        "Bearer wrong",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY}x",
        f"Bearer {digest(KEY)}",
        "Bearer \xff",
        f"Bearer key={KEY}",
        "Basic YTpi",
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_other_callers_must_not_write(guarded, method, authorization):
    guarded.put("/hello/John", json=BORN, headers=bearer(KEY))
    headers = {} if authorization is None else {"Authorization": authorization}
    for path, body in (("/hello/John", {"dateOfBirth": "1980-01-01"}), ("/hello/j0hn", None)):
        response = guarded.open(path, method=method, json=body, headers=headers)
        assert response.status_code == 401  # before anything in the request is judged
        assert response.headers["WWW-Authenticate"] == f'Bearer realm="{openapi.TITLE.lower()}"'
        assert response.json["detail"] == keys.DETAIL
        assert response.json["type"] == "about:blank"
    assert guarded.get("/hello/John").status_code == 200


@pytest.mark.parametrize("title", ["Two words", "Orders"])
def test_the_realm_is_quoted_as_rfc_9110_demands(title):
    assert keys.challenge(title).to_header() == f'Bearer realm="{title.lower()}"'


def test_a_request_without_a_token_is_never_valid():
    """Whatever the digests are."""
    assert not keys.is_valid("", frozenset([hashlib.sha256().digest()]))


def test_everybody_may_read(guarded):
    guarded.put("/hello/John", json=BORN, headers=bearer(KEY))
    for path in ("/hello/John", "/livez", "/readyz", "/docs", "/openapi.json"):
        assert guarded.get(path).status_code == 200


def test_without_keys_everybody_may_write(client):
    assert client.put("/hello/John", json=BORN, headers=bearer("any")).status_code == 204
    assert client.delete("/hello/John").status_code == 204


def test_the_document_asks_for_a_key_only_where_one_is_needed(guarded, client):
    with_keys, without = (each.get("/openapi.json").json for each in (guarded, client))
    assert "securitySchemes" not in without["components"]
    assert without["security"] == with_keys["security"] == []
    ((name, scheme),) = with_keys["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for method, operation in with_keys["paths"]["/hello/{username}"].items():
        if method in ("put", "delete"):
            assert operation["security"] == [{name: []}]
            assert operation["responses"]["401"]["$ref"].endswith("/Unauthorized")
        elif method == "get":
            assert "security" not in operation
    assert "Unauthorized" not in str(without["paths"])


def test_every_digest_is_compared_in_constant_time(monkeypatch):
    compared, compare = [], hmac.compare_digest
    monkeypatch.setattr(
        hmac, "compare_digest", lambda one, other: compared.append(other) or compare(one, other)
    )
    digests = frozenset(bytes.fromhex(digest(key)) for key in (KEY, OTHER, "third"))
    assert keys.is_valid(KEY, digests)
    assert set(compared) == digests
