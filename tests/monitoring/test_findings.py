import pytest

from al_platform.domain.estimators import Estimate
from al_platform.monitoring.accuracy import MonthAccuracy
from al_platform.monitoring.drift import FeatureDrift
from al_platform.monitoring.findings import conclude
from al_platform.monitoring.options import MonitoringOptions

DRIFTED = FeatureDrift(
    feature="language", psi=0.4, p=1e-9, n_before=500, n_now=500, largest="de: 1.0% to 30.0%", has_drifted=True
)


def month(low, high, promised=0.8, cycle="2026-10"):
    figure = Estimate(value=(low + high) / 2, low=low, high=high, n=50, set="audit")
    return MonthAccuracy(cycle=cycle, model_digest="ab", accuracy=figure, promised=promised)


def found(drift=(), accuracy=(), quarters=("2026-04",), proposed=(), **options):
    return conclude(
        "topics",
        "2026-10",
        trained_in="2026-04",
        drift=drift,
        accuracy=accuracy,
        quarters=quarters,
        proposed=proposed,
        options=MonitoringOptions(**options),
    )


def test_where_nothing_crossed_a_limit_nothing_is_proposed():
    calm = found([DRIFTED.model_copy(update={"has_drifted": False})], [month(0.74, 0.86)])
    assert (calm.proposes, calm.reasons, calm.waits_because) == (False, (), None)


def test_drift_proposes_a_quarterly_and_says_why():
    alarmed = found([DRIFTED])
    assert alarmed.proposes
    assert alarmed.reasons == ("language drifted: PSI 0.40, de: 1.0% to 30.0%",)


@pytest.mark.parametrize(
    ("accuracy", "proposes"),
    [
        (month(0.60, 0.74), True),
        (month(0.60, 0.76), False),  # the loss of 0.05 may be all that it is
        (month(0.60, 0.74, promised=None), False),
    ],
)
def test_accuracy_has_fallen_where_its_whole_interval_lies_below_what_the_gate_found(accuracy, proposes):
    assert found(accuracy=[accuracy]).proposes is proposes


def test_the_newest_month_decides():
    assert not found(accuracy=[month(0.1, 0.2, cycle="2026-09"), month(0.74, 0.86)]).proposes


@pytest.mark.parametrize(
    ("quarters", "proposed", "why"),
    [
        (["2026-10"], [], "a quarterly ran in 2026-10, within 2 months"),
        (["2026-07", "2026-09"], [], "a quarterly ran in 2026-09, within 2 months"),
        ([], ["2026-09"], "one was proposed in 2026-09, within 2 months"),
        (["2026-08"], ["2026-08"], None),
        ([], ["2026-10"], None),  # this one, seen again
        (["2026-12"], ["2026-11"], None),  # later than the month that is looked at
    ],
)
def test_after_a_quarterly_or_a_proposal_none_is_proposed_for_a_while(quarters, proposed, why):
    alarmed = found([DRIFTED], quarters=quarters, proposed=proposed)
    assert alarmed.waits_because == why
    assert alarmed.proposes is (why is None)
