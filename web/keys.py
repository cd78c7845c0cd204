"""API keys: if API_KEYS is set, requests that write need one of them. Reading never does."""

import hashlib
import hmac

from flask import current_app, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

DETAIL = "Send a valid key, in a header Authorization: Bearer <key>."
OPEN = {"GET", "HEAD", "OPTIONS"}  # the methods of requests that change nothing


def require() -> None:
    """Refuse the current request if it may change something and has no valid key.

    A path or a method that does not exist is answered 404 or 405, with and without a key.
    """
    if request.method in OPEN or request.url_rule is None:
        return
    given = request.authorization
    token = given.token if given is not None and given.type == "bearer" else None
    if not is_valid(token or "", current_app.config["API_KEYS"]):
        title: str = current_app.config["API_TITLE"]
        raise Unauthorized(DETAIL, www_authenticate=challenge(title))


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
