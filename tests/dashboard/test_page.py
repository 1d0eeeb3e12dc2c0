from dataclasses import replace
from datetime import UTC, datetime

import pytest

from al_platform.catalog.champion import ChampionEntry
from al_platform.dashboard.evidence import FamilyEvidence, Month, Newest, Quarter
from al_platform.dashboard.freshness import age_days
from al_platform.dashboard.job_runs import JobRun
from al_platform.dashboard.links import Links
from al_platform.dashboard.options import DashboardOptions
from al_platform.dashboard.page import Source, build_dashboard, promise
from al_platform.dashboard.render import render_dashboard
from al_platform.domain.staleness import Staleness
from al_platform.records.shares import Drift
from al_platform.reports.figures import Figure, Gain, VerdictFigures
from al_platform.stages import STAGES
from al_platform.storage.run_record import start_of
from report_inputs import CHALLENGER, CHAMPION, STALENESS, VERDICT
from reports.read_html import Document

NOW = datetime(2026, 11, 23, tzinfo=UTC)
HOSTILE = "<script>document.title='hacked'</script>\"'><img src=x onerror=alert(1)>\u202e"
SOURCE = Source(
    environment="test",
    experiment=None,
    currency="EUR",
    next_command=None,
    models_root="/data/models",
    logs_root="/data/logs",
    links=Links("/data/logs/dashboard"),
    now=NOW,
)


def month(cycle="2026-10", **known):
    drift = Drift({"sport": 0.4, "tech": 0.6}, {"sport": 0.35, "tech": 0.65}, "2026-07", 500)
    figures = {"pages": 500, "answers": 120, "labels": 40, "agreement": 0.8, "wall_s": 90.0, "size_bytes": 1 << 20}
    return Month(**{"cycle": cycle, **figures, "cost": 9.6, "drift": drift, **known})


def quarter(cycle="2026-10", gain=0.02, verdict="promote", **known):
    figures = {
        "verdict": VerdictFigures.model_validate({**VERDICT, "verdict": verdict}),
        "challenger": Figure(value=0.81, low=0.78, high=0.84),
        "champion": Figure(value=0.79, low=0.75, high=0.82),
        "gain": None if gain is None else Gain(point=gain, lower=gain - 0.01, upper=gain + 0.01, n=400),
        "labelled": 0.93,
        "staleness": None,
        "report": "topics/2026-10/evaluation/attempts/r/challenger_report.html",
    }
    return Quarter(**{"cycle": cycle, **figures, **known})


def champion(digest=CHALLENGER, **known):
    entry = {"number": 1, "family": "topics", "cycle": "2026-10", "model_digest": digest, "previous": None}
    return ChampionEntry(**{**entry, "reason": "gate", "verdict_digest": None, "at": "2026-11-02T04:00:00", **known})


def family(name="topics", **known):
    newest = {stage.name: Newest("2026-10", "2026-11-02T04:00:00.000+00:00") for stage in STAGES}
    whole = {"months": (month(),), "quarters": (quarter(),), "champions": (champion(),), "newest": newest}
    return FamilyEvidence(**{"name": name, **whole, **known})


def run(state="done", number=1, pipeline="monthly", **known):
    start = start_of(f"run-{number}", "test", (pipeline,), "2026-10").model_copy(update=known)
    return JobRun(f"run-{number}", state, start, start.began_at)


def build(*families, runs=(), source=SOURCE, **options):
    return build_dashboard(families, runs, source, DashboardOptions(**options))


def texts(dashboard):
    return [notice.text for notice in dashboard.notices]


def test_where_all_is_well_nothing_needs_attention():
    dashboard = build(family(), runs=[run()])
    assert dashboard.notices == ()
    assert dashboard.headline == "Everything is on time"


def test_a_champion_is_worth_what_the_newest_quarter_that_judged_it_found():
    as_challenger = build(family()).families[0]
    as_champion = build(family(champions=(champion(CHAMPION),))).families[0]
    unknown = build(family(champions=(champion("12" * 32),))).families[0]
    assert [view.facts[0].value for view in (as_challenger, as_champion, unknown)] == ["0.810", "0.790", "–"]


def test_the_promise_names_every_loss():
    told = promise([quarter("2026-04", None), quarter("2026-07", -0.01, "iterate"), quarter("2026-10", 0.02)])
    assert told.title == "Better than the champion before in 1 of 2 quarters"
    assert told.detail == "Not better: 2026-07 (−0.010, iterate)."
    assert told.tone == "warning"


def test_one_quarter_is_told_as_one():
    assert promise([quarter(gain=-0.02)]).title == "Better than the champion before in 0 of 1 quarter"


def test_a_family_is_named_in_notices_as_everywhere_else():
    rejected = family(name="brand_safety", quarters=(quarter(verdict="reject"),))
    assert "brand safety: the challenger of 2026-10 was rejected." in texts(build(rejected))


def test_the_promise_is_kept_where_every_challenger_was_better_and_says_what_standing_still_would_cost():
    told = promise([quarter("2026-04", None), quarter(staleness=Staleness.model_validate(STALENESS))])
    assert told.tone == "good"
    assert "+0.220 macro-F1 against the champion of 2026-04 (+0.010 to +0.300)" in told.detail


@pytest.mark.parametrize("quarters", [(), (quarter(gain=None),)])
def test_nothing_is_promised_before_a_challenger_met_a_champion(quarters):
    assert promise(quarters).tone == "quiet"


def test_a_stage_ages_from_the_end_of_its_month():
    assert age_days("2026-10", NOW) == 22
    assert age_days("2026-12", NOW) == 0


def test_a_stage_beyond_its_limit_is_red_and_named_and_one_that_never_ran_is_neither():
    newest = {"scoring": Newest("2026-08", "2026-09-02T04:00:00.000+00:00")}
    dashboard = build(family(newest=newest), family("sentiment"))
    rows = {row.stage: row.cells for row in dashboard.freshness}
    assert [cell.tone for cell in rows["scoring"]] == ["bad", "good"]
    assert [cell.tone for cell in rows["training"]] == ["quiet", "good"]
    assert texts(dashboard) == ["topics is late: scoring, newest month 2026-08."]


def test_each_cadence_has_its_limit():
    stale = {name: Newest("2026-08", "2026-09-02T04:00:00.000+00:00") for name in ("scoring", "training")}
    tones = {row.stage: row.cells[0].tone for row in build(family(newest=stale)).freshness}
    assert (tones["scoring"], tones["training"]) == ("bad", "good")
    strict = build(family(newest=stale), freshness_days={"quarterly": 80}).freshness
    assert {row.stage: row.cells[0].tone for row in strict}["training"] == "bad"


def test_a_lost_or_failed_run_needs_attention_until_its_like_is_done():
    lost, done = run("lost", 1), run("done", 2)
    assert texts(build(family(), runs=[lost])) == ["monthly of 2026-10 was lost, and was not run again."]
    assert texts(build(family(), runs=[done, lost])) == []
    assert texts(build(family(), runs=[run("failed", 3, "quarterly"), done])) == [
        "quarterly of 2026-10 failed, and was not run again."
    ]


def test_figures_beyond_their_limits_are_named():
    drift = Drift({"sport": 0.6}, {"sport": 0.3}, "2026-07", 500)
    doubtful = family(months=(month(drift=drift, agreement=0.5),), quarters=(quarter(verdict="reject"),))
    assert texts(build(doubtful)) == [
        "topics: the challenger of 2026-10 was rejected.",
        "topics: sport moved by +30.0 points in 2026-10.",
        "topics: annotators agree too little in 2026-10, alpha 0.50.",
    ]


def test_families_share_their_axes():
    views = build(family(months=(month("2026-01"),)), family("sentiment", months=(month("2026-10"),))).families
    ticks = [Document(str(view.labels.svg)).text for view in views]
    assert ticks[0] == ticks[1]
    assert {"2026-01", "2026-10"} <= set(ticks[0])


def test_every_chart_has_its_figures_as_a_table():
    document = Document(render_dashboard(build(family())))
    charts = [element for element in document.of("svg") if element.attributes.get("role") == "img"]
    tables = [element for element in document.of("table") if "figure" in element.within and "details" in element.within]
    assert len(charts) == len(tables) == 6


def test_reports_are_linked_and_where_no_link_works_their_path_is_shown():
    linked = Document(render_dashboard(build(family())))
    path = "topics/2026-10/evaluation/attempts/r/challenger_report.html"
    assert f"../../models/{path}" in [element.attributes["href"] for element in linked.of("a")]
    elsewhere = render_dashboard(build(family(), source=replace(SOURCE, models_root="s3://models")))
    assert path in Document(elsewhere).section("champions")


def test_an_environment_without_any_run_says_what_to_type():
    empty = FamilyEvidence("topics", (), (), (), {})
    source = replace(SOURCE, next_command="kedro run --pipelines=monthly --env test")
    document = Document(render_dashboard(build(empty, source=source)))
    assert "kedro run --pipelines=monthly --env test" in " ".join(document.text)
    assert "Nothing has run yet" in " ".join(document.text)
    assert document.of("svg") == []


def test_a_month_without_figures_is_shown_with_what_there_is():
    bare = month(pages=None, labels=None, agreement=None, drift=None)
    document = Document(render_dashboard(build(family(months=(bare,), quarters=(), champions=()))))
    assert "No champion yet" in document.section("champions")


def test_hostile_names_and_messages_stay_text():
    drift = Drift({HOSTILE: 1.0}, {}, "2026-07", 5)
    by_hand = champion(kind="by_hand", actor=HOSTILE, reason=HOSTILE)
    hostile = family(HOSTILE, months=(month(drift=drift),), champions=(by_hand,))
    runs = [
        replace(run("failed", actor=HOSTILE, host=HOSTILE, pipelines=(HOSTILE,)), error=HOSTILE),
        run(number=2, orchestrator="javascript:alert(1)"),
    ]
    page = render_dashboard(build(hostile, runs=runs, source=replace(SOURCE, environment=HOSTILE, currency=HOSTILE)))
    document = Document(page)
    assert document.of("script") == document.of("img") == []
    assert "javascript:" not in page
    assert "\u202e" not in page
    assert "<script>document.title='hacked'</script>" in " ".join(document.text)


def test_a_message_without_end_is_cut():
    failed = replace(run("failed"), error="word " * 10_000)
    assert len(render_dashboard(build(family(), runs=[failed]))) < 100_000


def test_the_page_asks_for_nothing_and_runs_nothing():
    document = Document(render_dashboard(build(family(), runs=[run()])))
    policy = next(e for e in document.of("meta") if e.attributes.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy.attributes["content"]
    for tag in ("script", "link", "img", "iframe", "object"):
        assert document.of(tag) == []
