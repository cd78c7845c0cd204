"""Which releases the lock files may name."""

from tools import locks


def test_only_a_fix_with_a_reason_is_adopted_within_a_week(tmp_path):
    (tmp_path / "main.in").write_text(
        "flask  # the web framework; at once: CVE-2026-0001\nclick  # at once:\nurllib3>=2\n"
    )
    assert locks.exempt(tmp_path) == ["--exclude-newer-package=flask=2999-01-01"]
    assert any(option.startswith("--exclude-newer=") for option in locks.COMPILE)
