import logging

import pytest

from al_platform import progress


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, logger="al_platform")
    return caplog


def test_a_line_comes_when_the_last_one_is_old_enough(lines, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    line = progress.LogLine("fine-tuning, steps", 2_000)
    told = []
    for done, seconds in ((1, 5.0), (2, 16.0), (3, 20.0), (4, 32.0)):
        now[0] = seconds
        line.tell(done)
        told.append(len(lines.records))
    assert told == [0, 1, 1, 2]
