"""The diagrams: drawn by the program, and readable."""

import xml.etree.ElementTree as ET

import pytest

from tools import diagram
from tools.diagram import Area, Picture

PICTURES = {name: draw() for name, draw in diagram.PICTURES.items()}


@pytest.mark.parametrize("name", PICTURES)
def test_each_diagram_is_readable(name):
    assert PICTURES[name].problems() == []


@pytest.mark.parametrize("name", PICTURES)
def test_each_file_is_what_the_program_draws(name):
    path = diagram.FOLDER / f"{name}.svg"
    drawn = PICTURES[name].svg()
    assert path.read_text() == drawn, "run `make diagram`, and look at it"
    assert ET.fromstring(drawn).tag.endswith("}svg")


def picture(**more):
    return Picture("A title", 200, boxes=[(Area(10, 60, 120, 40), ["One"], "box")], **more)


@pytest.mark.parametrize(
    ("drawing", "problem"),
    [
        (picture(labels=[(Area(20, 70, 30, 16), "label")]), "One overlaps 'label'"),
        (picture(labels=[(Area(1190, 70, 30, 16), "label")]), "'label' is outside the page"),
        (picture(lines=[([(0, 80), (200, 80)], False)]), "a line crosses One"),
        (
            picture(
                labels=[(Area(150, 70, 30, 16), "label")], lines=[([(140, 75), (200, 75)], False)]
            ),
            "a line crosses 'label'",
        ),
        (Picture("A title", 200, boxes=[(Area(10, 60, 40, 40), ["A long name"], "box")]), "needs"),
    ],
)
def test_unreadable_layouts_are_detected(drawing, problem):
    assert any(problem in one for one in drawing.problems())
