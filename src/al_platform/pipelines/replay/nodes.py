"""Nodes of a replay."""

from typing import Any, NamedTuple, Protocol

from al_platform.domain.replay.figures import ReplayFigures, replay_figures
from al_platform.domain.replay.points import PlayedRun
from al_platform.pipelines.replay.options import ReplayOptions
from al_platform.reports.replay_report import render_replay_report


class Played(NamedTuple):
    """What a player returns.

    Attributes:
        runs: Every run, in the order of the plan.
        about: What it ran on.
        margin: Loss of macro-F1 that the family's gate accepts.
        unit: Currency of costs.
    """

    runs: list[PlayedRun]
    about: dict[str, Any]
    margin: float
    unit: str


class Player(Protocol):
    """Runs the stages of every month of every run."""

    def play(self, options: ReplayOptions) -> Played:
        """Play what has not been played, and return all of it."""
        ...


def play_runs(player: Any, options: ReplayOptions) -> Played:
    """Run every month and quarter of every run.

    Args:
        player: A ``Player``.
        options: The replay.
    """
    runner: Player = player
    return runner.play(options)


def summarise_replay(played: Played, options: ReplayOptions) -> ReplayFigures:
    """Return the figures of what was played."""
    assert options.family is not None
    return replay_figures(
        played.runs,
        name=options.folder,
        family=options.family,
        about=played.about,
        target=options.target,
        margin=played.margin,
        unit=played.unit,
    )


def render_replay(figures: ReplayFigures) -> tuple[str, str]:
    """Return the replay's name and its report, one HTML document."""
    return figures.name, render_replay_report(figures)
