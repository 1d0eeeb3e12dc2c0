"""Why a page is in a batch."""

AUDIT = "audit"
EXPLORATION = "exploration"
STRATEGY = "strategy"
COLD_START = "cold_start"
CONTROL = "control"
RELABEL = "relabel"
SECOND_OPINION = "second_opinion"
