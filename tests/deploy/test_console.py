"""The progress that people see while they wait."""

import io

import pytest

from deploy.base.changes import Changes
from deploy.base.console import Console
from deploy.base.errors import AwsFailure, Failure, Interrupted


@pytest.fixture
def terminal():
    stream = io.StringIO()
    stream.isatty = lambda: True
    return stream


def test_on_a_terminal_one_line_is_updated(terminal, clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    console = Console(terminal)
    show = console.waiting("staging")
    show("Launching", "")
    clock.at = 83
    show("Launching", "Created load balancer")
    show("Launching", "x" * 100)
    console.say("done")
    lines = terminal.getvalue().split("\r\x1b[K")
    assert lines[1:3] == [
        "deploy: 0 min 0 s, staging is Launching",
        "deploy: 1 min 23 s, staging is Launching: Created load balancer"[:59],
    ]
    assert len(lines[3]) == 59
    assert lines[4] == "deploy: done\n"


def test_without_a_terminal_each_change_is_a_line(clock):
    stream = io.StringIO()
    show = Console(stream).waiting("staging")
    for seconds, event in ((0, ""), (10, ""), (20, "a"), (30, "a"), (95, "b")):
        clock.at = seconds
        show("Launching", event)
    assert stream.getvalue().splitlines() == [
        "deploy: staging is Launching",
        "deploy: staging is Launching: a (0 min 20 s)",
        "deploy: staging is Launching: b (1 min 35 s)",
    ]


def test_results_go_to_standard_output_and_all_else_to_standard_error(capsys):
    console = Console()
    console.say("a sentence")
    console.command("eb deploy")
    console.result("a-label")
    printed = capsys.readouterr()
    assert printed.out == "a-label\n"
    assert printed.err == "deploy: a sentence\n+ eb deploy\n"


def test_a_failure_is_always_three_sentences():
    stream = io.StringIO()
    console = Console(stream)
    console.failure(Failure("it broke"))
    what, now, next_ = stream.getvalue().splitlines()
    assert what == "deploy: FAILED: it broke"
    assert now == "deploy:   now: nothing was changed"
    assert next_ == "deploy:   next: see the reason above, then run it again"


NOTHING, SOMETHING = "nothing was changed", "this run made no further changes"


@pytest.mark.parametrize(
    ("result", "dry_run", "now"),
    [
        (None, False, SOMETHING),
        (None, True, NOTHING),
        (AwsFailure("refused", ""), False, NOTHING),
        (AwsFailure("no answer", "", transient=True), False, SOMETHING),  # it may have been done
        (Interrupted(), False, SOMETHING),  # the same
    ],
)
def test_a_failure_says_whether_anything_was_changed(result, dry_run, now):
    stream = io.StringIO()
    console = Console(stream)
    changes = Changes(console, dry_run)

    def act():
        if result:
            raise result

    try:
        with changes.uncounted():
            changes.make("take a lock", lambda: None, None)
        changes.make("eb deploy", act, None)
        failure = Failure("it broke")
    except AwsFailure as refused:
        failure = refused
    except Interrupted:
        failure = Failure("interrupted")
    console.failure(failure)
    assert f"deploy:   now: {now}\n" in stream.getvalue()
