"""The choice of pages to label: random draws for the measure, a query strategy for the rest."""

from al_platform.domain.selection.audit import draw_audit, draw_random_pages, read_frame
from al_platform.domain.selection.choose import Selection, SelectionSummary, choose_batch
from al_platform.domain.selection.eligible import Pool
from al_platform.domain.selection.options import SelectionOptions
from al_platform.domain.selection.shortlist import Shortlist, shortlist
from al_platform.domain.selection.strategies import STRATEGIES, QueryStrategy, strategy_named
from al_platform.domain.selection.uncertainty import uncertainty_scalars

__all__ = [
    "STRATEGIES",
    "Pool",
    "QueryStrategy",
    "Selection",
    "SelectionOptions",
    "SelectionSummary",
    "Shortlist",
    "choose_batch",
    "draw_audit",
    "draw_random_pages",
    "read_frame",
    "shortlist",
    "strategy_named",
    "uncertainty_scalars",
]
