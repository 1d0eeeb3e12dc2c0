"""What a training took, for a copy of a report.

What is committed holds no clock figure, so that the same outputs give the same bytes; ``kedro al report --output``
fills them in.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from al_platform.reports.figures import NONE, number
from al_platform.reports.plain import plain

MARK = "<!--cost-->"
_UNPRICED = "no price: set training.price_per_hour"


def with_cost(document: str, record: Mapping[str, Any]) -> str:
    """Return a report with what ``training.json`` says of the training's seconds and cost.

    Page text is escaped in a report, so that no page can write the mark.
    """
    return document.replace(MARK, _table(record))


def _table(record: Mapping[str, Any]) -> str:
    cost, devices = record.get("cost"), record.get("devices", ())
    rows = {
        "Devices": ", ".join(plain(str(device)) for device in devices) or NONE,
        "Seconds of the clock": number(record.get("wall_s"), 1),
        "Seconds of all devices": number(record.get("device_s"), 1),
        "Cost, in the price table's currency": _UNPRICED if cost is None else number(cost, 2),
    }
    lines = Markup("").join(
        Markup('<tr><th scope="row">{}</th><td class="num">{}</td></tr>').format(name, escape(value))
        for name, value in rows.items()
    )
    return Markup("<table><caption>What the training took</caption><tbody>{}</tbody></table>").format(lines)
