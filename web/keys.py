"""API keys: if API_KEYS is set, requests that write need one of them. Reading never does."""

import functools
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

DETAIL = "Send a valid key, in a header Authorization: Bearer <key>."


def required(view: Callable[..., Any]) -> Callable[..., Any]:
    """``view``, which first refuses a request without a valid key, if keys are required."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        digests: frozenset[bytes] = current_app.config["API_KEYS"]
        if digests and not is_valid(_key(), digests):
            title: str = current_app.config["API_TITLE"]
            raise Unauthorized(DETAIL, www_authenticate=challenge(title))
        return view(*args, **kwargs)

    guarded._apidoc = getattr(view, "_apidoc", {}) | {"needs_key": True}  # type: ignore[attr-defined]
    return guarded


def challenge(title: str) -> WWWAuthenticate:
    """What a response of status 401 asks for, on behalf of the API with this ``title``."""
    # As a parameter, a realm of one word would not be quoted; RFC 9110, section 11.5, demands that
    return WWWAuthenticate("bearer", token=f'realm="{title.lower()}"')


def is_valid(key: str, digests: frozenset[bytes]) -> bool:
    """Whether one of ``digests`` is the SHA-256 digest of ``key``; an empty key is never valid.

    All of them are compared, each in constant time. A digest without salt is enough, because keys
    are random and long, unlike passwords.
    """
    digest = hashlib.sha256(key.encode()).digest()
    return sum(hmac.compare_digest(digest, known) for known in digests) > 0 and key != ""


def _key() -> str:
    """The token of the current request, or empty text if it has none."""
    given = request.authorization
    return given.token or "" if given is not None and given.type == "bearer" else ""
