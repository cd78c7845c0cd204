"""Draw the system diagrams, docs/*.svg: the running service, its delivery, and one deployment.

Usage: python -m tools.diagram [--check]      (make diagram; the check writes nothing)

The pictures are 1200 pixels wide, for light and dark backgrounds. All positions are set in this
file, because no layout program keeps labels apart; ``problems`` says where they would overlap.
"""

import sys
from dataclasses import dataclass, field
from html import escape
from itertools import combinations, pairwise
from pathlib import Path

from tools import interrupts

FOLDER = Path(__file__).parent.parent / "docs"
WIDTH = 1200
SIZE, SMALL, TITLE = 14, 12.5, 17  # pixels, of letters
STYLE = """
text { font-family: "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: #1b1f24 }
.small { font-size: 12.5px; fill: #4a535e }
.name { font-size: 14px; font-weight: 600 }
.title { font-size: 17px; font-weight: 600 }
.label { font-size: 12.5px; fill: #33404d }
.page { fill: #ffffff }
.frame { fill: #f3f6f9; stroke: #9aa7b4 }
.inner { fill: #e9f0f7; stroke: #9aa7b4 }
.box { fill: #ffffff; stroke: #33608f; stroke-width: 1.5 }
.data { fill: #eef7ee; stroke: #2f7a3b; stroke-width: 1.5 }
.outside { fill: #fff6e5; stroke: #b06d00; stroke-width: 1.5 }
.line { fill: none; stroke: #33404d; stroke-width: 1.5 }
.guide { fill: none; stroke: #b4bfca; stroke-width: 1 }
.dashed { stroke-dasharray: 6 4 }
marker path { fill: #33404d }
@media (prefers-color-scheme: dark) {
  text { fill: #e8edf2 }
  .small { fill: #b4bfca }
  .label { fill: #d3dbe3 }
  .page { fill: #0d1117 }
  .frame { fill: #151b23; stroke: #55616e }
  .inner { fill: #1b2430; stroke: #55616e }
  .box { fill: #10202f; stroke: #6ea8e0 }
  .data { fill: #12251a; stroke: #6fbf7d }
  .outside { fill: #2b2110; stroke: #d9a441 }
  .line { stroke: #b4bfca }
  .guide { stroke: #55616e }
  marker path { fill: #b4bfca }
}
"""


@dataclass(frozen=True)
class Area:
    """A rectangle by its upper left corner, width and height, in pixels."""

    x: float
    y: float
    width: float
    height: float

    def meets(self, other: "Area") -> bool:
        """Whether the two overlap."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def holds(self, other: "Area") -> bool:
        """Whether it contains ``other`` completely."""
        return (
            self.x <= other.x
            and other.x + other.width <= self.x + self.width
            and self.y <= other.y
            and other.y + other.height <= self.y + self.height
        )


@dataclass
class Picture:
    """A drawing with boxes in frames, lines between them, and labels."""

    title: str
    height: float
    frames: list[tuple[Area, str, str]] = field(default_factory=list)  # rectangle, title, CSS class
    boxes: list[tuple[Area, list[str], str]] = field(
        default_factory=list
    )  # rectangle, lines, class
    guides: list[float] = field(default_factory=list)  # vertical lines, by x, below everything
    lines: list[tuple[list[tuple[float, float]], bool]] = field(default_factory=list)
    labels: list[tuple[Area, str]] = field(default_factory=list)

    def frame(
        self, x: float, y: float, width: float, height: float, title: str, kind: str = "frame"
    ) -> None:
        """An area around boxes that belong together."""
        self.frames.append((Area(x, y, width, height), title, kind))

    def box(self, x: float, y: float, width: float, *lines: str, kind: str = "box") -> None:
        """A component: its name, and lines about it."""
        height = 16 + 18 * len(lines)
        self.boxes.append((Area(x, y, width, height), list(lines), kind))

    def line(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """Add an arrow along ``points``, with its head at the last one."""
        self.lines.append((list(points), dashed))

    def label(self, x: float, y: float, text: str) -> None:
        """Add text beside a line, positioned by the left end of the text."""
        self.labels.append((Area(x, y - 12, _width(text, SMALL), 16), text))

    def problems(self) -> list[str]:
        """The faults in the layout: parts that overlap, or do not fit."""
        named = [(area, lines[0]) for area, lines, _ in self.boxes]
        texts = [(area, repr(text)) for area, text in self.labels]
        page = Area(0, 0, WIDTH, self.height)
        found = [
            f"{name} is outside the page" for area, name in named + texts if not page.holds(area)
        ]
        for area, lines, _ in self.boxes:
            needed = 12 + max(_width(lines[0], SIZE * 1.06), *(_width(one, SMALL) for one in lines))
            if needed > area.width:
                found.append(f"{lines[0]} needs {needed:.0f} pixels")
        for (one, name), (two, other) in combinations(named + texts, 2):
            if one.meets(two):
                found.append(f"{name} overlaps {other}")
        crossed = [(_inside(area), name) for area, name in named] + texts
        ways = [_along(*pair) for points, _ in self.lines for pair in pairwise(points)]
        found += [
            f"a line crosses {name}" for way in ways for area, name in crossed if way.meets(area)
        ]
        return found

    def svg(self) -> str:
        """The picture as an SVG document."""
        out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height:g}" '
            f'width="{WIDTH}" height="{self.height:g}" role="img" '
            f'aria-label="{escape(self.title)}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L10 5L0 10z"/></marker></defs>',
            f'<rect class="page" width="{WIDTH}" height="{self.height:g}"/>',
            f'<text class="title" x="20" y="30">{escape(self.title)}</text>',
        ]
        for area, title, kind in self.frames:
            out.append(_rectangle(area, kind, 8))
            out.append(
                f'<text class="small" x="{area.x + 12:g}" y="{area.y + 20:g}">'
                f"{escape(title)}</text>"
            )
        for x in self.guides:
            out.append(f'<path class="guide" d="M{x:g} 84V{self.height - 16:g}"/>')
        for points, dashed in self.lines:
            path = " ".join(f"{x:g},{y:g}" for x, y in points)
            kind = "line dashed" if dashed else "line"
            out.append(f'<polyline class="{kind}" points="{path}" marker-end="url(#arrow)"/>')
        for area, lines, kind in self.boxes:
            out.append(_rectangle(area, kind, 6))
            for number, text in enumerate(lines):
                name = "small" if number else "name"
                out.append(
                    f'<text class="{name}" text-anchor="middle" x="{area.x + area.width / 2:g}" '
                    f'y="{area.y + 21 + 18 * number:g}">{escape(text)}</text>'
                )
        for area, text in self.labels:
            if self.guides:
                out.append(_rectangle(area, "page", 0))
            out.append(
                f'<text class="label" x="{area.x:g}" y="{area.y + 12:g}">{escape(text)}</text>'
            )
        return "\n".join([*out, "</svg>", ""])


def _width(text: str, size: float) -> float:
    """The greatest width of ``text``, in pixels, in any of the fonts."""
    return len(text) * size * 0.58


def _along(begin: tuple[float, float], end: tuple[float, float]) -> Area:
    (left, right), (top, bottom) = sorted((begin[0], end[0])), sorted((begin[1], end[1]))
    return Area(left, top, max(right - left, 1), max(bottom - top, 1))


def _inside(area: Area) -> Area:
    """The area without its border, on which lines begin and end."""
    return Area(area.x + 2, area.y + 2, area.width - 4, area.height - 4)


def _rectangle(area: Area, kind: str, radius: int) -> str:
    return (
        f'<rect class="{kind}" x="{area.x:g}" y="{area.y:g}" width="{area.width:g}" '
        f'height="{area.height:g}" rx="{radius}"/>'
    )


def serving() -> Picture:
    """The parts that serve a request, and the copies of the data."""
    it = Picture("The running service: one environment in its home region, and its backups", 630)
    it.box(20, 150, 130, "People", "and programs", kind="outside")
    it.box(20, 330, 130, "DNS", "public name", kind="outside")
    it.line((85, 330), (85, 202), dashed=True)
    it.label(92, 275, "resolves")
    it.frame(215, 50, 965, 425, "AWS home region")
    it.frame(230, 80, 640, 275, "VPC of the environment", "inner")
    it.box(250, 150, 150, "Load balancer", "certificate (ACM)", "checks /readyz")
    it.line((150, 176), (250, 176))
    it.label(158, 168, "https")
    for y, zone in ((115, "zone A"), (265, "zone B")):
        it.box(450, y, 150, "Instance", "nginx, container", zone)
        it.line((400, 185), (425, 185), (425, y + 35), (450, y + 35))
    it.box(700, 115, 150, "PostgreSQL 18", "primary", "zone A", kind="data")
    it.box(700, 265, 150, "PostgreSQL 18", "standby", "zone B", kind="data")
    it.line((600, 150), (700, 150))
    it.label(603, 142, "TLS, verified")
    it.line((600, 300), (650, 300), (650, 168), (700, 168))
    it.line((775, 185), (775, 265), dashed=True)
    it.label(782, 229, "in sync")
    it.box(960, 75, 200, "Secrets Manager", "passwords, API keys, DSN", kind="data")
    it.box(960, 155, 200, "CloudWatch", "logs, metrics, alarms", kind="data")
    it.box(960, 235, 200, "ECR, S3", "images, bundles, locks", kind="data")
    it.box(960, 385, 200, "KMS", "keys: database, secrets", kind="data")
    it.line((525, 115), (525, 101), (960, 101), dashed=True)
    it.line((915, 101), (915, 181), (960, 181), dashed=True)
    it.line((915, 181), (915, 261), (960, 261), dashed=True)
    it.label(540, 95, "each instance: secrets, logs, images")
    it.box(675, 385, 200, "AWS Backup", "every night, kept 35 days", kind="data")
    it.line((775, 335), (775, 385))
    it.label(790, 375, "snapshot, 06:00 UTC")
    it.frame(215, 500, 965, 110, "Two other regions: nothing runs there until a recovery")
    it.box(675, 540, 200, "Vault in each", "copies, own key, lock", kind="data")
    it.box(960, 540, 200, "ECR, S3, secrets", "same digest and bundle", kind="data")
    it.box(240, 540, 210, "Recovered environment", "in one of them, or at home")
    it.line((775, 437), (775, 540))
    it.label(790, 492, "copy")
    it.line((1010, 287), (1010, 370), (930, 370), (930, 520), (1010, 520), (1010, 540), dashed=True)
    it.label(938, 492, "replicas")
    it.line((675, 566), (450, 566), dashed=True)
    it.label(540, 558, "recover")
    it.line((85, 382), (85, 566), (240, 566), dashed=True)
    it.label(92, 470, "after a recovery")
    return it


def shipping() -> Picture:
    """The way of a version to production, and of an error to the team."""
    it = Picture("Delivery and monitoring: commit to production, error to the team", 525)
    it.box(20, 120, 140, "GitHub", "push to main", kind="outside")
    it.box(220, 250, 156, "Pull requests", "make ci, own role")
    it.line((90, 172), (90, 276), (220, 276))
    it.label(98, 268, "pull request")
    it.frame(200, 50, 980, 150, "CodePipeline: each stage runs make or the script in CodeBuild")
    stages = (
        ("Verify", "make ci", "image tests"),
        ("Build", "image, scan", "SBOM, version"),
        ("Staging", "deploy, smoke test", "or roll back"),
        ("Release", "window open,", "or approval"),
        ("Production", "deploy, smoke test", "or roll back"),
    )
    for number, lines in enumerate(stages):
        it.box(220 + 192 * number, 105, 156, *lines)
        if number:
            it.line((184 + 192 * number, 140), (220 + 192 * number, 140))
    it.line((160, 146), (220, 146))
    it.box(412, 280, 156, "ECR, S3", "digest, bundle", kind="data")
    it.line((490, 175), (490, 280))
    it.label(498, 262, "publish once")
    it.box(604, 280, 156, "Beanstalk", "staging", kind="box")
    it.box(988, 280, 156, "Beanstalk", "production", kind="box")
    it.line((682, 175), (682, 280))
    it.line((1066, 175), (1066, 280))
    it.label(690, 262, "eb deploy")
    it.label(1074, 262, "eb deploy")
    it.line((568, 306), (604, 306), dashed=True)
    it.line((760, 306), (988, 306), dashed=True)
    it.label(775, 298, "same digest, same label")
    it.frame(200, 375, 980, 130, "Monitoring, for each environment")
    it.box(960, 430, 200, "CloudWatch", "logs, metrics, dashboard", kind="data")
    it.line((1066, 332), (1066, 430), dashed=True)
    it.label(1074, 362, "logs, metrics")
    it.box(700, 430, 190, "Alarms", "one cause, one message")
    it.line((960, 456), (890, 456))
    it.box(450, 430, 180, "SNS topics", "team, escalation")
    it.line((700, 456), (630, 456))
    it.box(220, 430, 170, "E-mail, Slack", "alarm, then all-clear", kind="outside")
    it.line((450, 456), (390, 456))
    it.box(20, 430, 140, "Sentry", "types and frames", kind="outside")
    it.line((1000, 332), (1000, 352), (90, 352), (90, 430), dashed=True)
    it.label(215, 346, "unhandled exceptions, without names, paths or texts")
    return it


def deploying() -> Picture:
    """One deployment, from top to bottom."""
    it = Picture("One deployment of build_and_deploy.sh", 650)
    columns = {
        "script": 100,
        "S3": 270,
        "SNS": 440,
        "Beanstalk": 640,
        "instances": 880,
        "public name": 1090,
    }
    kinds = {"script": "box", "public name": "outside"}
    for name, x in columns.items():
        it.box(x - 75, 50, 150, name, kind=kinds.get(name, "data"))
        it.guides.append(x)
    steps = (
        ("script", "S3", "acquire the lock"),
        ("script", "Beanstalk", "wait until Ready, note the running version"),
        ("script", "Beanstalk", "eb deploy"),
        ("Beanstalk", "instances", "new batch: pull, migrate"),
        ("instances", "Beanstalk", "healthy: /readyz answers 200"),
        ("Beanstalk", "instances", "old batches drain, then follow"),
        ("script", "Beanstalk", "verify: every instance runs it, Green and Ok"),
        ("script", "public name", "smoke test: save, read, reject, delete; the version"),
        ("script", "Beanstalk", "if anything failed: roll back, and verify again"),
        ("script", "S3", "record the result"),
        ("script", "SNS", "notify"),
        ("script", "S3", "release the lock"),
    )
    for number, (begin, end, text) in enumerate(steps):
        y = 122 + 46 * number
        left = min(columns[begin], columns[end])
        it.line((columns[begin], y), (columns[end], y), dashed=text.startswith("if "))
        it.label(left + 12, y - 8, text)
    return it


PICTURES = {"production": serving, "delivery": shipping, "deployment": deploying}


def main() -> None:
    """Exits with a message if a picture is not readable, or is out of date."""
    for name, draw in PICTURES.items():
        picture, path = draw(), FOLDER / f"{name}.svg"
        if found := picture.problems():
            raise SystemExit(f"{path.name}: {'; '.join(found)}")
        if "--check" not in sys.argv:
            path.write_text(picture.svg())
        elif not path.exists() or path.read_text() != picture.svg():
            raise SystemExit(
                f"docs/{path.name} is not what tools/diagram.py draws: run `make diagram`"
            )


if __name__ == "__main__":
    interrupts.run(main, "the picture that it was drawing may be incomplete")
