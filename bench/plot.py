"""CPU seconds over sockets as an SVG with two logarithmic axes, one line per tool."""

import html
import math
import statistics

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 70, 210, 56, 50
# What is drawn. These colours and the grey of the text are readable on white and
# on black alike: a page's theme does not reach into an image.
COLOURS = {
    "yardstick": "#808080",
    "sockdiag-exporter": "#e4572e",
    "ss -tan": "#2e86de",
    "node_exporter tcpstat": "#1f9d55",
    "collectd tcpconns": "#a55eea",
}
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #7d8590 } .small { font-size: 11px }
.grid { stroke: #8884 } .line { fill: none; stroke-width: 2 }
"""


def cost_over_sockets(rows, caption):
    """Lines for the sizes with 2,000 peers, rings where every socket has its own."""
    medians = {}
    for row in rows:
        if row.get("cpu_seconds") and row["tool"] in COLOURS:
            ring = row["peers"] >= row["sockets"] > 2_000
            key = row["tool"], row["sockets"], ring
            medians.setdefault(key, []).append(row["cpu_seconds"])
    points = {key: statistics.median(costs) for key, costs in medians.items()}
    x = scale([sockets for _, sockets, _ in points], LEFT, WIDTH - RIGHT)
    y = scale(points.values(), HEIGHT - BOTTOM, TOP)

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
             f"<style>{STYLE}</style>",
             text(LEFT, 22, "CPU seconds to look at all TCP sockets once"),
             text(LEFT, 40, caption + "; rings: a peer of its own for each socket", "small")]
    parts += grid(x, y)
    labels = []
    for tool, colour in COLOURS.items():
        line = sorted((sockets, cpu) for (name, sockets, ring), cpu in points.items() if name == tool and not ring)
        if line:
            path = " ".join(f"{x(sockets):.1f},{y(cpu):.1f}" for sockets, cpu in line)
            parts.append(f'<polyline class="line" stroke="{colour}" points="{path}"/>')
            labels.append((y(line[-1][1]), tool, colour))
        for (name, sockets, ring), cpu in points.items():
            if name == tool:
                fill = "none" if ring else colour
                radius = 6 if ring else 3
                parts.append(f'<circle cx="{x(sockets):.1f}" cy="{y(cpu):.1f}" r="{radius}" fill="{fill}" stroke="{colour}"/>')
    parts += legend(labels)
    return "\n".join([*parts, "</svg>", ""])


class scale:
    """Whole decades onto pixels."""

    def __init__(self, figures, first, last):
        figures = list(figures)
        self.low, self.high = math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))
        self.first, self.step = first, (last - first) / max(1, self.high - self.low)

    def __call__(self, figure):
        return self.first + (math.log10(figure) - self.low) * self.step

    def decades(self):
        return [10.0 ** power for power in range(self.low, self.high + 1)]


def grid(x, y):
    for sockets in x.decades():
        yield f'<path class="grid" d="M{x(sockets):.1f} {TOP}V{HEIGHT - BOTTOM}"/>'
        yield text(x(sockets), HEIGHT - BOTTOM + 20, f"{sockets:,.0f}", anchor="middle")
    for seconds in y.decades():
        yield f'<path class="grid" d="M{LEFT} {y(seconds):.1f}H{WIDTH - RIGHT}"/>'
        yield text(LEFT - 8, y(seconds) + 4, f"{seconds:g} s", anchor="end")
    yield text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "sockets", anchor="middle")


def legend(labels):
    """At the ends of the lines, pushed apart where they would overlap."""
    floor = -math.inf
    for height, tool, colour in sorted(labels):
        floor = max(height, floor + 17)
        yield f'<path stroke="{colour}" stroke-width="3" d="M{WIDTH - RIGHT + 12} {floor:.1f}h14"/>'
        yield text(WIDTH - RIGHT + 32, floor + 4, tool)


def text(x, y, content, style="", anchor="start"):
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(content)}</text>'
