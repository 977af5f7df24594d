"""A picture of a run: links a peer and the share of messages held over virtual time, as one small SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

from ssb_rtc.sim.report import Report, Sample
from ssb_rtc.sim.scenario import Scenario

WIDTH: Final = 900
HEIGHT: Final = 320
LEFT, RIGHT, TOP, BOTTOM = 60, 60, 50, 45


def svg(report: Report, scenario: Scenario, samples: Sequence[Sample]) -> str:
    """The picture."""
    end_s = max(1.0, report.virtual_s)
    links_max = max(1.0, max((sample.links for sample in samples), default=0) / 100)

    def x(time_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, time_s / end_s)

    def y(share: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    links = " ".join(f"{x(each.time_s):.1f},{y(each.links / 100 / links_max):.1f}" for each in samples)
    held = " ".join(f"{x(each.time_s):.1f},{y(each.held):.1f}" for each in samples)
    heal_s = min(scenario.faults_s, end_s)
    title = f"{report.scenario}: {report.peers} peers, {report.hubs} hubs, seed {report.seed}"
    ticks = "".join(
        f'<text x="{x(end_s * part / 4):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
        f"{end_s * part / 4:.0f} s</text>"
        for part in range(5)
    )
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" \
font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<rect x="{x(0):.1f}" y="{TOP}" width="{x(heal_s) - x(0):.1f}" height="{HEIGHT - TOP - BOTTOM}" fill="#f6ead9"/>
<text x="{LEFT}" y="20" font-size="15">{escape(title)}</text>
<text x="{LEFT}" y="38" fill="#555">{escape(_subtitle(report))}</text>
<path d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}V{TOP}" fill="none" stroke="#888"/>
<polyline points="{links}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>
<polyline points="{held}" fill="none" stroke="#2c8a3f" stroke-width="1.5"/>
<text x="{LEFT - 6}" y="{y(1) + 4:.1f}" text-anchor="end" fill="#1f5fa8">{links_max:.1f}</text>
<text x="{LEFT - 6}" y="{y(0):.1f}" text-anchor="end" fill="#1f5fa8">0</text>
<text x="{WIDTH - RIGHT + 6}" y="{y(1) + 4:.1f}" fill="#2c8a3f">100 %</text>
<text x="{WIDTH - RIGHT + 6}" y="{y(0):.1f}" fill="#2c8a3f">0 %</text>
{ticks}
<text x="{LEFT}" y="{HEIGHT - 8}" fill="#1f5fa8">links a peer</text>
<text x="{LEFT + 90}" y="{HEIGHT - 8}" fill="#2c8a3f">messages held</text>
<text x="{LEFT + 200}" y="{HEIGHT - 8}" fill="#a3742c">the faults last as long as the ground is coloured</text>
</svg>
"""


def _subtitle(report: Report) -> str:
    if report.converged_after_s is None:
        return "did not converge"
    return f"everybody held everything {report.converged_after_s:.0f} s after the healing"
