"""Replays: real runs of the stages on a labelled archive, month after month, in stores of their own."""
