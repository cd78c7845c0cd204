"""Make a message for people, in the forms that those who get it can read.

Usage: python -m scripts.message TITLE [LINE...]      for `aws sns publish --message-structure json`

E-mail gets the lines as they are. Everything else, Slack by way of Amazon Q Developer in chat
applications ("Chatbot") among it, gets the JSON that this expects of custom notifications.
"""

import json
import sys

TITLE_MAX, TEXT_MAX = 250, 8000  # characters, of Chatbot's custom notifications


def structure(title: str, lines: list[str]) -> str:
    """The value of ``Message`` for SNS's Publish with ``MessageStructure`` "json"."""
    text = "\n".join(lines)
    custom = {
        "version": "1.0",
        "source": "custom",
        "content": {
            "textType": "client-markdown",
            "title": title[:TITLE_MAX],
            "description": text[:TEXT_MAX] or title[:TITLE_MAX],
        },
    }
    return json.dumps({"default": json.dumps(custom), "email": f"{title}\n\n{text}\n"})


def subject(title: str) -> str:
    """``title`` as SNS takes it for a subject: one line of less than 100 ASCII characters."""
    return title.encode("ascii", "replace").decode().replace("\n", " ")[:99]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    print(structure(sys.argv[1], sys.argv[2:]))
