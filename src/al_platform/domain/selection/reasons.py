"""Why a page was drawn at random."""

AUDIT = "audit"
EXPLORATION = "exploration"
