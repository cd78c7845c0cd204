"""Draws benchmark results: one bar for each row, as SVG for light and dark pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, ROW, BAR, TOP, MARGIN = 760, 210, 34, 18, 56, 20  # pixels
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .page { fill: #ffffff }
  .title { font-size: 15px; font-weight: 600 }
  .quiet { fill: #59636e }
  .first { fill: #0969da } .second { fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .page { fill: #0d1117 } .quiet { fill: #9198a1 }
    .first { fill: #4493f8 } .second { fill: #ab7df8 }
  }
"""


@dataclass(frozen=True)
class Bar:
    """One row: a name, two stacked quantities, and a remark after them."""

    name: str
    first: float
    second: float
    remark: str


def draw(title: str, legend: tuple[str, str], bars: Sequence[Bar]) -> str:
    """An SVG document with ``title``, the names of the two quantities, and ``bars``."""
    scale = (WIDTH - LABELS - 190) / max(bar.first + bar.second for bar in bars)
    height = TOP + len(bars) * ROW
    page = (
        f'x="{-MARGIN}" y="{-MARGIN}" width="{WIDTH + 2 * MARGIN}" height="{height + 2 * MARGIN}"'
    )
    parts = [
        f'<rect class="page" {page}/>',
        f'<text class="title" x="0" y="16">{escape(title)}</text>',
        *_legend(legend),
        *(part for n, bar in enumerate(bars) for part in _row(bar, TOP + n * ROW, scale)),
    ]
    view = f"{-MARGIN} {-MARGIN} {WIDTH + 2 * MARGIN} {height + 2 * MARGIN}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{view}" role="img" '
        f'aria-label="{escape(title)}">\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _legend(names: tuple[str, str]) -> list[str]:
    parts = []
    for x, kind, name in ((LABELS, "first", names[0]), (LABELS + 170, "second", names[1])):
        parts.append(f'<rect class="{kind}" x="{x}" y="29" width="12" height="12" rx="2"/>')
        parts.append(f'<text class="quiet" x="{x + 18}" y="40">{escape(name)}</text>')
    return parts


def _row(bar: Bar, y: float, scale: float) -> list[str]:
    first, second = bar.first * scale, bar.second * scale
    middle = y + BAR - 4
    end = LABELS + first + second + 8
    return [
        f'<text x="{LABELS - 10}" y="{middle}" text-anchor="end">{escape(bar.name)}</text>',
        f'<rect class="first" x="{LABELS}" y="{y}" width="{first:.1f}" height="{BAR}" rx="2"/>',
        f'<rect class="second" x="{LABELS + first:.1f}" y="{y}" width="{second:.1f}" '
        f'height="{BAR}" rx="2"/>',
        f'<text class="quiet" x="{end:.1f}" y="{middle}">{escape(bar.remark)}</text>',
    ]
