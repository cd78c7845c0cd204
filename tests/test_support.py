"""What tests share: the database that they refuse to empty."""

import pytest

from tests.support.database import refuse_unless_test


def test_a_database_that_is_not_for_tests_is_refused():
    assert refuse_unless_test("postgresql://me@host/app_test")
    for url in (
        "postgresql://me@host/app",
        "postgresql://me@host",
        "postgresql://me@host/test_x",
    ):
        with pytest.raises(pytest.UsageError, match="ends in _test"):
            refuse_unless_test(url)
