"""The operations of the application: what its document says, and what its views read."""

import re
from collections.abc import Iterator
from typing import Any

from flask import Flask

from web import create_app

METHODS = ("put", "post", "patch", "get", "delete")  # in the order in which each of them works


def read() -> Any:
    """The OpenAPI document, without a database."""
    app = create_app({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"})
    return app.test_client().get("/openapi.json").json


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    """The path, method and description of each operation, in the order of METHODS."""
    for method in METHODS:
        for path, described in document["paths"].items():
            if method in described:
                yield path, method, described[method]


def parameters(document: Any, path: str, method: str) -> list[Any]:
    """The parameters of an operation, those of its path first."""
    described = document["paths"][path]
    return [*described.get("parameters", ()), *described[method].get("parameters", ())]


def find_reader(app: Flask, path: str, method: str) -> Any:
    """The schema of what an operation reads, or None where it reads nothing."""
    for rule in app.url_map.iter_rules():
        if re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule) == path:
            view: Any = app.view_functions[rule.endpoint]
            view = getattr(getattr(view, "view_class", None), method, view)
            return getattr(view, "reader", None)
    raise LookupError(path)
