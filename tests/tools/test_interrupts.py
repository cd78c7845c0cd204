"""Ctrl-C in the programs that `make` runs."""

import runpy
import sys
from pathlib import Path

import pytest

# They have states of their own to tell of, and their tests
OTHERS = {"tools/run.py", "tools/install.py"}
PROGRAMS = {
    str(path)
    for path in [*Path("tools").rglob("*.py"), Path("tests/support/dashboard.py")]
    if "__main__" in path.read_text()
}


@pytest.mark.parametrize("program", sorted(PROGRAMS - OTHERS))
def test_ctrl_c_prints_one_line_that_says_what_is_left(program, capsys):
    def interrupt(frame, event, argument):
        if (frame.f_globals.get("__name__"), frame.f_code.co_name) == ("__main__", "main"):
            sys.setprofile(None)
            raise KeyboardInterrupt

    before = sys.getprofile()
    sys.setprofile(interrupt)
    try:
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(program, run_name="__main__")
    finally:
        sys.setprofile(before)
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip().startswith("Interrupted: ")
