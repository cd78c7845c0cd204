"""The birthday greeting service."""

import os
from collections.abc import Mapping

from flask import Flask

from web import api, config, errors, health, hello, log, storage


def create_app(env: Mapping[str, str] = os.environ) -> Flask:
    """The WSGI application, set up from ``env``. Raises ConfigError on values without sense."""
    app = log.Application(__name__)
    app.config.from_mapping(config.load(env))
    log.init_app(app)
    storage.init_app(app)
    errors.init_app(app)
    api.init_app(app, hello.blueprint, health.blueprint)
    return app
