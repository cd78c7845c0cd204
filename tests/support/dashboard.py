"""Draw a dashboard as CloudWatch would, from the JSON that is deployed, with example data.

Usage: python -m tests.support.dashboard [FILE]      docs/dashboard.png, if no file is named

The example is an afternoon in production with a deployment and, later, two minutes in which the database
fails over to its standby. Its figures are made up; everything else is the template's.
"""

import hashlib
import json
import math
import random
import re
import sys
from pathlib import Path

from PIL import Image

from tests.support import cloudwatch
from tests.support.aws import ACCOUNT, APPLICATION, LOAD_BALANCER, REGION, TARGET_GROUP
from tests.support.cloudformation import Stack
from tools import interrupts

PICTURE = Path("docs/dashboard.png")
WIDTH = 1600  # pixels
ROW = 46  # pixels of one unit of height
MINUTES = 180
DEPLOYMENT, FAILOVER = range(60, 68), range(131, 133)
COLOURS = ("#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#8c564b")
INSTANCES = ("i-0a41", "i-0b72")
ROUTES = ("/hello/<username>", "/livez", "/readyz", "/docs")
# For each metric: its usual value, and by how much it varies
USUAL = {
    "RequestCount": (5200, 500),
    "HTTPCode_Target_4XX_Count": (60, 12),
    "HTTPCode_ELB_4XX_Count": (3, 2),
    "HTTPCode_Target_5XX_Count": (0, 0),
    "HTTPCode_ELB_5XX_Count": (0, 0),
    "TargetResponseTime": (0.006, 0.001),
    "Duration": (4, 0.6),
    "Unavailable": (0, 0),
    "ServerErrors": (0, 0),
    "DeploymentInProgress": (0, 0),
    "GroupInServiceInstances": (2, 0),
    "GroupDesiredCapacity": (2, 0),
    "HealthyHostCount": (2, 0),
    "CPUUser": (23, 4),
    "CPUUtilization": (24, 3),
    "mem_used_percent": (46, 1),
    "RootFilesystemUtil": (31, 0.1),
    "DatabaseConnections": (14, 1),
    "FreeStorageSpace": (16.4 * 2**30, 2**24),
    "FreeableMemory": (610 * 2**20, 2**23),
    "ReadLatency": (0.0007, 0.0002),
    "WriteLatency": (0.0019, 0.0004),
}
LOGS: dict[str, list[tuple[str, ...]]] = {
    "Requests by route and status": [
        ("method", "route", "status", "requests", "p95_ms"),
        ("GET", "/hello/<username>", "200", "612 840", "3.9"),
        ("PUT", "/hello/<username>", "204", "310 221", "6.2"),
        ("GET", "/hello/<username>", "404", "9 407", "3.6"),
        ("PUT", "/hello/<username>", "400", "1 385", "1.1"),
        ("PUT", "/hello/<username>", "503", "5 187", "3.1"),
    ],
    "Events of the database and its standby": [
        ("time", "message"),
        ("14:12:40", "Multi-AZ instance failover completed"),
        ("14:11:22", "Multi-AZ instance failover started."),
        ("14:11:05", "The primary host of the RDS Multi-AZ instance is unreachable."),
    ],
}


def main():
    """Write the picture."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE
    draw(deployed(), path)
    print(f"{path} is written")  # noqa: T201


def deployed():
    """The dashboard of production, as CloudWatch gets it."""
    from deploy.base import settings
    from deploy.config import environments
    from deploy.resources import monitoring
    from deploy.resources.monitoring import Machinery

    prod = environments.find(settings.load({}), environments.PRODUCTION)
    machinery = Machinery(
        LOAD_BALANCER.partition(":loadbalancer/")[2], TARGET_GROUP.rpartition(":")[2], "group"
    )
    foundation = Stack(environments.FOUNDATION, f"{APPLICATION}-foundation", {})
    parameters = monitoring.parameters(
        prod,
        machinery,
        f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/1",
        foundation.name,
        "example/greetings",
    )
    stack = Stack(environments.OPERATIONS, monitoring.name(prod), parameters, foundation.exports)
    [dashboard] = stack.properties("AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"])


def draw(dashboard, path):
    """Draw all widgets of ``dashboard`` into the file ``path``."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    widgets = dashboard["widgets"]
    height = max(one["y"] + one["height"] for one in widgets)
    with mpl.rc_context({"font.size": 7.5, "svg.hashsalt": "x"}):
        figure = pyplot.figure(
            figsize=(WIDTH / 100, height * ROW / 100), dpi=100, facecolor="#f2f3f3"
        )
        for one in widgets:
            _Widget(figure, one, height).draw()
        figure.savefig(path, metadata={"Software": None})
        pyplot.close(figure)
    with Image.open(path) as picture:  # few colours are enough, and a third of the size
        picture.convert("RGB").quantize(160, dither=Image.Dither.NONE).save(path, optimize=True)


class _Widget:
    """One widget, at its place in the figure."""

    def __init__(self, figure, widget, rows):
        self._figure, self._kind, self._properties = figure, widget["type"], widget["properties"]
        self._left, self._width = widget["x"] / 24, widget["width"] / 24
        self._bottom = 1 - (widget["y"] + widget["height"]) / rows
        self._height, self._rows = widget["height"] / rows, rows

    def draw(self):
        {"text": self._text, "alarm": self._alarms, "metric": self._metrics, "log": self._log}[
            self._kind
        ]()

    def _axes(self, inset=(0, 0, 0, 0), **more):
        """Axes within the widget; ``inset`` from left, bottom, right, top in pixels."""
        left, bottom, right, top = (
            one / (WIDTH if number % 2 == 0 else self._rows * ROW)
            for number, one in enumerate(inset)
        )
        return self._figure.add_axes(
            (
                self._left + left,
                self._bottom + bottom,
                self._width - left - right,
                self._height - bottom - top,
            ),
            **more,
        )

    def _card(self):
        card = self._axes((5, 4, 5, 4), facecolor="white")
        card.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
        for spine in card.spines.values():
            spine.set_color("#d5dbdb")
        card.set_title(self._properties["title"], loc="left", fontsize=9, y=1, pad=-14, x=0.02)
        return card

    def _text(self):
        axes = self._axes((8, 0, 8, 0))
        axes.axis("off")
        text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", self._properties["markdown"])
        marks, _, words = text.partition(" ")
        axes.text(0, 0.5, words, fontsize=13 if marks == "#" else 11, weight="bold", va="center")

    def _alarms(self):
        card = self._card()
        names = [
            arn.rpartition(":")[2].partition("-prod-")[2] for arn in self._properties["alarms"]
        ]
        columns = 7
        rows = math.ceil(len(names) / columns)
        for number, name in enumerate(names):
            x, y = number % columns / columns + 0.015, 0.8 * (1 - (number // columns + 0.5) / rows)
            card.text(
                x,
                y,
                f" OK  {name}",
                fontsize=9,
                va="center",
                color="#1d8102",
                bbox={"facecolor": "#e9f5e5", "edgecolor": "#1d8102", "pad": 4},
            )

    def _metrics(self):
        self._card()
        axes = self._axes((48, 52, 40, 28))
        lines = list(_lines(self._properties))
        for (label, values, side), colour in zip(lines, COLOURS * 2, strict=False):
            target = axes if side != "right" else self._right(axes)
            target.plot(range(MINUTES), values, color=colour, linewidth=1.1, label=label)
        for line in self._properties.get("annotations", {}).get("horizontal", []):
            axes.axhline(line["value"], color="#d13212", linewidth=1, linestyle="--")
            axes.annotate(
                line["label"],
                (1, line["value"]),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="bottom",
                color="#d13212",
                fontsize=7,
            )
        limits = self._properties.get("yAxis", {}).get("left", {})
        axes.set_ylim(bottom=limits.get("min"), top=limits.get("max"))
        if limits.get("max") is None:
            axes.set_ylim(top=axes.get_ylim()[1] * 1.12 or 1)
        axes.set_xlim(0, MINUTES - 1)
        axes.set_xticks(range(0, MINUTES, 60), ["12:00", "13:00", "14:00"])
        axes.grid(color="#eaeded")
        axes.spines[["top", "right"]].set_visible(False)
        handles = [
            handle
            for one in self._figure.axes
            if one in (axes, getattr(self, "_twin", None))
            for handle in one.get_lines()
            if not handle.get_label().startswith("_")
        ]
        axes.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(-0.02, -0.13),
            ncols=4,
            frameon=False,
            fontsize=7,
            handlelength=1.2,
            columnspacing=1,
        )

    def _right(self, axes):
        self._twin = axes.twinx()
        limits = self._properties["yAxis"]["right"]
        self._twin.set_ylim(limits["min"], limits["max"])
        self._twin.set_yticks([0, 1])
        self._twin.spines[["top"]].set_visible(False)
        return self._twin

    def _log(self):
        card = self._card()
        for number, row in enumerate(LOGS[self._properties["title"]]):
            widths = [1, 2.4, 1, 1.3, 1] if len(row) > 2 else [1, 5]
            for column, value in enumerate(row):
                card.text(
                    0.02 + sum(widths[:column]) / sum(widths),
                    0.8 - 0.1 * number,
                    value,
                    fontsize=8,
                    weight="bold" if number == 0 else "normal",
                )


def _lines(properties):
    """The lines of a widget: label, values, the side of their axis."""
    values = {}
    expressions = []
    for one in properties["metrics"]:
        options = one[-1] if isinstance(one[-1], dict) else {}
        if "expression" in options:
            expressions.append(options)
            continue
        name, stat = one[1], options.get("stat", properties.get("stat", ""))
        found = _values(f"{one}", name, stat)
        values[options.get("id", "")] = found
        if options.get("visible", True):
            yield options.get("label", name), found, options.get("yAxis")
    for one in expressions:
        if "SEARCH(" in one["expression"]:
            [(_, name, dimensions)] = cloudwatch.of_widget({"metrics": [[one]]})
            for label in ROUTES if "Route" in dimensions else INSTANCES:
                yield label, _values(label + name, name, ""), None
        else:
            yield one["label"], _computed(one["expression"], values), None


def _computed(expression, values):
    """An expression over other metrics of the widget, for each minute."""
    code = compile(re.sub(r"FILL\((\w+), 0\)", r"\1", expression), "expression", "eval")
    return [
        eval(
            code, {"__builtins__": {}}, {name: one[minute] for name, one in values.items()}
        )  # the template's own
        for minute in range(MINUTES)
    ]


def _values(seed, name, stat):
    """A metric of the example, for each minute."""
    chance = random.Random(hashlib.sha256(seed.encode()).hexdigest())
    usual, spread = USUAL[name]
    factor = {"p95": 2.1, "p99": 3.4}.get(stat, 1)
    found, drift = [], 0.0
    for minute in range(MINUTES):
        drift = 0.85 * drift + chance.uniform(-spread, spread)
        found.append(max(0, factor * (usual + drift) + _incident(name, minute)))
    return found


def _incident(name, minute):
    """What the deployment and the failover add to a metric."""
    if minute in FAILOVER:
        more = {
            "HTTPCode_Target_5XX_Count": 2600,
            "Unavailable": 2600,
            "TargetResponseTime": 0.4,
            "DatabaseConnections": -9,
            "HealthyHostCount": -2,
        }
        return more.get(name, 0)
    if minute in DEPLOYMENT:
        more = {
            "DeploymentInProgress": 1,
            "GroupDesiredCapacity": 1,
            "GroupInServiceInstances": 1,
            "HealthyHostCount": 1,
            "DatabaseConnections": 6,
        }
        return more.get(name, 0)
    return 0


if __name__ == "__main__":
    interrupts.run(main, "the picture may be incomplete")
