"""The words of CONTRIBUTING.md, "Words": what people read is plain technical English."""

import re
from pathlib import Path

import pytest

from tests.support import texts

# By what replaces them in CONTRIBUTING.md; tests may say "nonsense", which is what they send
AVOIDED = {
    "invalid": r"makes? no sense|without sense|is no (number|JSON|TOML|date|list|mapping)\b",
    "is configured in": r"\bstands? (in|there|twice)\b",
    "notifications": r"\b(is|are|was|were) told (of|what|about|as well)\b|who is told|tell the team",
    "again, still, permanently": r"\banew\b|\bonce more\b|\ball the same\b|\bfor ever\b",
    "fix": r"\bmend(s|ed|ing)?\b",
    "the running version": r"\bwhat (runs|waits)\b(?! the)",
    "rollback, return": r"\bways? back\b|\b(goes|went) back\b|\btook back\b",
    "create, release, lower-case": r"\bma[dk]e or changed?\b|\block (is |be )?given back\b|\bsmall letters\b",
    "user not found": r"nobody of that name|no one of that name",
}
ALLOWED = {"CONTRIBUTING.md", "tests/test_words.py", "LICENSE"}


def read():
    """What is written for people, by name."""
    return {
        name: text
        for name, text in texts.read().items()
        if name not in ALLOWED and Path(name).suffix not in {".svg", ".txt"}
    }


@pytest.mark.parametrize("better", AVOIDED)
def test_no_text_has_the_old_words(better):
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]!r}"
        for name, text in read().items()
        for match in re.finditer(AVOIDED[better], text, re.IGNORECASE)
    ]
    assert not found, f"write {better!r} instead"


def test_the_words_of_the_guide_are_found():
    """So that a pattern that never matches is not mistaken for clean texts."""
    for text in ("It makes no sense.", "It stands in a file.", "Who is told?", "Fix it anew.",
                 "Mend it.", "Redeploy what runs.", "The way back.", "Nobody of that name.",
                 "Make or change it.", "The lock is given back.", "Small letters."):  # fmt: skip
        assert any(re.search(one, text, re.IGNORECASE) for one in AVOIDED.values()), text
