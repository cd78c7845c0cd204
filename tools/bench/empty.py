"""The least that Flask can do, as a baseline for the application."""

from flask import Flask

app = Flask(__name__)


@app.get("/hello/<username>")
def hello(username: str) -> dict[str, str]:
    """A constant greeting."""
    return {"message": "Hello!"}
