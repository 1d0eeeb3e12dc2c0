"""Replay's table of contents."""

from kedro.pipeline import Node, Pipeline

from al_platform.pipelines.replay.nodes import play_runs, render_replay, summarise_replay


def create_pipeline() -> Pipeline:
    """Wire a replay: a player of runs in, figures and report out."""
    return Pipeline(
        [
            Node(play_runs, inputs=["replay_player", "params:replay"], outputs="replay_runs", name="play_runs"),
            Node(
                summarise_replay,
                inputs=["replay_runs", "params:replay"],
                outputs="replay_figures",
                name="summarise_replay",
            ),
            Node(render_replay, inputs="replay_figures", outputs="replay_report", name="render_replay"),
        ],
        namespace=None,
    )
