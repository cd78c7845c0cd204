"""The least that Flask can do: what the application is compared with."""

from flask import Flask

app = Flask(__name__)


@app.get("/hello/<username>")
def hello(username: str) -> dict[str, str]:
    """Greet, without a look at anything."""
    return {"message": "Hello!"}
