"""What the loop promises over months of traffic that drifts: ten seeds, paired, real stages."""

import os
from dataclasses import replace

import pytest
from benchmarks.loop import copy_project
from benchmarks.replay import SCENARIOS, play
from scipy.stats import ttest_1samp

pytestmark = pytest.mark.real

SEEDS = 10
MONTHS = 4


@pytest.fixture(scope="module")
def default(tmp_path_factory):
    """The figures of the default strategy beside random, on a small synthetic web."""
    scenario = replace(SCENARIOS["drift"], cycles=MONTHS, seeds=SEEDS)
    project = copy_project(tmp_path_factory.mktemp("drift"))
    figures = play(scenario, project, quick=False, workers=os.cpu_count() or 1)
    (found,) = (each for each in figures.settings if each.setting.strategy == "default")
    return found


def p_of_no_gain(gain):
    assert gain.n == SEEDS
    return ttest_1samp(gain.values, 0, alternative="greater").pvalue


def test_labels_that_the_strategy_chose_teach_more_than_as_many_drawn_at_random(default):
    assert p_of_no_gain(default.against_random) < 0.05


def test_the_champion_in_use_beats_the_first_one_left_as_it_was(default):
    assert p_of_no_gain(default.against_frozen) < 0.05
