"""Replays: the loop over a labelled archive, several times, and what that says about strategy, budget and cadence."""
