"""Committed runs on their way to a tracker: what of a commit it is told, and what it has been told already."""
