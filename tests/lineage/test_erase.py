"""A page that is erased is gone everywhere, and the loop goes on."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from quarters import FIRST, SECOND, THIRD, data, files_with

from al_platform.catalog.traffic import without_erased
from al_platform.cli import UserErrors
from al_platform.domain.errors import ConfigError, StoreError
from al_platform.domain.taxonomy import Taxonomy
from al_platform.importing import check_labels, check_pages, check_predictions
from al_platform.lineage.cli import erase, lineage
from al_platform.lineage.erase import erase_page, plan_erasure
from al_platform.lineage.mentions import find_page, write_without_page
from al_platform.lineage.trace import model_lineage
from al_platform.lineage.uses import page_uses
from al_platform.reports.erasable import begin_page, end_page
from al_platform.storage.audit_log import last_lines
from al_platform.storage.erasures import ErasedPages, accepts, page_sha256, tombstones
from al_platform.storage.store import LocalStore, open_store

FOURTH = "2026-11"
REASON = "ticket 17"


def take_out(project, page_id, **options):
    return erase_page(project.loader, page_id, REASON, "somebody", **options)


def store(project, data_class):
    return open_store(project.loader.root(data_class))


def call(project, monkeypatch, *arguments, answer=None):
    monkeypatch.chdir(project.path)
    group = UserErrors(commands=[erase])
    return CliRunner().invoke(group, ["erase", *arguments, "--reason", REASON, "--env", "test"], input=answer)


def everything(project):
    files = (file for file in data(project).rglob("*") if file.is_file())
    return {file.relative_to(data(project)).as_posix(): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def page_id(pages):
    return pages.annotated("train")


@pytest.fixture(scope="module")
def erased(quarters, page_id, tmp_path_factory):
    """A project from which a page of the training data was erased."""
    path = tmp_path_factory.mktemp("erased") / "project"
    shutil.copytree(quarters.path, path)
    project = type(quarters)(path)
    take_out(project, page_id)
    return project


def test_no_file_holds_the_page_or_its_text_any_more(quarters, erased, pages, page_id):
    text = pages.text(page_id)[:80]
    assert files_with(quarters, page_id)
    assert files_with(quarters, text)
    assert not files_with(erased, page_id)
    assert not files_with(erased, text)


def test_nothing_else_went(quarters, erased, page_id):
    for path, before in everything(quarters).items():
        after = (data(erased) / path).read_bytes()
        if path.endswith(".parquet") and before != after:
            old, new = (pq.read_table(data(project) / path) for project in (quarters, erased))
            assert new.schema.equals(old.schema, check_metadata=True)
            assert new.to_pylist() == [row for row in old.to_pylist() if row["page_id"] != page_id]
        elif path.endswith(".jsonl"):
            assert after.splitlines() == [line for line in before.splitlines() if page_id.encode() not in line]
        elif "error_analysis" not in path:
            assert after == before, path


def test_what_was_erased_can_be_read_and_status_still_works(erased, page_id):
    for name in ("dataset", "split_ledger", "labels", "annotations", "batch"):
        assert page_id not in erased.load(f"topics.{name}", cycle=SECOND)["page_id"].to_pylist()
    assert erased.status()["cycle"] == THIRD


def test_the_lineage_says_erased_and_not_altered(erased):
    found = model_lineage(erased.loader, "topics")
    assert not found.damaged
    assert "erased" in {file.state for node in found.nodes for file in node.files}


def test_the_next_month_runs_and_does_not_bring_the_page_back(erased, tmp_path, page_id):
    shutil.copytree(erased.path, tmp_path / "next")
    project = type(erased)(tmp_path / "next")
    project.run("monthly", cycle=FOURTH)
    project.run("monthly", cycle=SECOND)
    assert project.status()["cycle"] == FOURTH
    assert not files_with(project, page_id)


def test_the_tombstone_tells_why_who_and_what_but_not_the_page(erased, page_id):
    for data_class in ("traffic", "labels", "datasets"):
        (tombstone,) = tombstones(store(erased, data_class))
        assert (tombstone.number, tombstone.reason, tombstone.actor) == (1, REASON, "somebody")
        assert tombstone.page_sha256 == page_sha256(page_id)
        assert all(file.rows for file in tombstone.files)
    assert not tombstones(store(erased, "champion"))


def test_the_models_that_saw_the_page_are_named_and_left_alone(own, page_id):
    before = {path: content for path, content in everything(own).items() if "by_digest" in path}
    done = take_out(own, page_id)
    assert {use.role for use in done.models} == {"trained on"}
    assert "champion now" in {use.detail for use in done.models}
    assert before == {path: content for path, content in everything(own).items() if "by_digest" in path}
    again = take_out(own, page_id)
    assert again.models == done.models


def test_what_became_of_an_erased_page_and_which_models_learnt_from_it_is_told_on_asking(erased, page_id, monkeypatch):
    monkeypatch.chdir(erased.path)
    shown = CliRunner().invoke(lineage, ["--page", page_id, "--env", "test"])
    assert f"by somebody, tombstone 1: {REASON}" in shown.output
    assert "trained on, topics" in shown.output
    assert "champion now" in shown.output
    assert "No file names this page." in shown.output
    listed = json.loads(CliRunner().invoke(lineage, ["--page", page_id, "--env", "test", "--json"]).stdout)
    assert {use["data_class"] for use in listed} == {"models"}


def test_erasing_again_changes_nothing(erased, page_id):
    before = everything(erased)
    again = take_out(erased, page_id)
    assert (again.uses, again.tombstones) == ((), 0)
    assert everything(erased) == before


@pytest.mark.parametrize("writes", [0, 1, 7])
def test_a_kill_between_tombstone_and_rewriting_is_finished_by_a_second_run(own, erased, page_id, monkeypatch, writes):
    real, done = LocalStore.upload, []

    def killed(self, source: Path, path: str) -> None:
        if len(done) == writes:
            raise KeyboardInterrupt
        done.append(path)
        real(self, source, path)

    monkeypatch.setattr(LocalStore, "upload", killed)
    with pytest.raises(KeyboardInterrupt):
        take_out(own, page_id)
    assert own.load("topics.dataset", cycle=SECOND).num_rows
    assert own.load("topics.labels", cycle=SECOND).num_rows
    monkeypatch.setattr(LocalStore, "upload", real)
    second = take_out(own, page_id)
    assert second.tombstones == 0
    assert not files_with(own, page_id)
    without_tombstones = [
        {path: content for path, content in everything(project).items() if "erasures" not in path}
        for project in (own, erased)
    ]
    assert without_tombstones[0] == without_tombstones[1]


def test_a_kill_between_two_tombstones_is_finished_by_a_second_run(own, page_id, monkeypatch):
    real, done = LocalStore.create, []

    def killed(self, path: str, content: bytes) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(path)
        real(self, path, content)

    monkeypatch.setattr(LocalStore, "create", killed)
    with pytest.raises(KeyboardInterrupt):
        take_out(own, page_id)
    monkeypatch.setattr(LocalStore, "create", real)
    take_out(own, page_id)
    assert not files_with(own, page_id)
    assert own.load("topics.dataset", cycle=SECOND).num_rows


def test_pages_erased_one_after_another_form_a_chain_that_readers_follow(own, pages, page_id):
    rows = own.load("topics.dataset", cycle=SECOND).num_rows
    others = (pages.mistaken, pages.annotated("audit"))
    for each in (page_id, *others):
        take_out(own, each)
    assert [tombstone.number for tombstone in tombstones(store(own, "labels"))] == [1, 2, 3]
    assert own.load("topics.dataset", cycle=SECOND).num_rows == rows - 3
    assert not model_lineage(own.loader, "topics").damaged
    assert not any(files_with(own, each) for each in (page_id, *others))


def test_another_page_may_be_erased_while_a_killed_erasure_waits_to_be_finished(own, pages, page_id, monkeypatch):
    other = pages.annotated("validation")
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "upload", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take_out(own, page_id)
    take_out(own, other)
    take_out(own, page_id)
    assert not files_with(own, page_id) | files_with(own, other)
    assert own.load("topics.dataset", cycle=SECOND).num_rows


def test_the_mistake_of_a_page_is_taken_out_of_the_error_analysis(own, pages):
    before = own.load("topics.error_analysis", cycle=SECOND)
    take_out(own, pages.mistaken)
    after = own.load("topics.error_analysis", cycle=SECOND)
    assert after == {**before, "mistakes": [row for row in before["mistakes"] if row["page_id"] != pages.mistaken]}


def test_a_file_that_was_changed_by_hand_after_an_erasure_is_still_refused(own, page_id):
    take_out(own, page_id)
    file = next(data(own).glob(f"datasets/topics/{SECOND}/preparation/attempts/*/dataset.parquet"))
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(Exception, match="was changed after it was written"):
        own.load("topics.dataset", cycle=SECOND)


def test_an_erasure_reaches_the_experiments(own, page_id):
    own.run("scoring", "selection", cycle=FOURTH, parameters={"experiment": "probe"})
    folder = data(own) / "experiments/probe/datasets/topics" / FOURTH
    predictions = next(folder.glob("scoring/attempts/*/predictions*.parquet"))
    new = pq.read_table(predictions)["page_id"][0].as_py()
    assert str(predictions.relative_to(data(own))) in files_with(own, new)
    take_out(own, page_id)
    take_out(own, new)
    assert not files_with(own, new)
    own.run("selection", cycle=FOURTH, parameters={"experiment": "probe"})


def test_a_line_announces_each_tombstone_before_it_is_there(own, page_id):
    told = []

    def record(action, subject):
        announced = {"traffic": 0, "labels": 0, "datasets": 0, "models": 0}
        there = {name for name in announced if tombstones(store(own, name))}
        assert subject["data_class"] not in there
        assert files_with(own, page_id)
        told.append((action, subject))

    take_out(own, page_id, record=record)
    assert {action for action, _ in told} == {"erase"}
    assert page_id not in json.dumps(told)
    lines = {subject["data_class"]: (subject["entry"], subject["entry_sha256"]) for _, subject in told}
    assert {"traffic", "labels", "datasets"} <= set(lines)
    for data_class, (entry, digest) in lines.items():
        assert sha256(store(own, data_class).read(entry)).hexdigest() == digest


def test_an_erasure_that_changes_nothing_leaves_no_line_and_one_that_ends_a_killed_one_leaves_one(
    own, page_id, monkeypatch
):
    told = []
    with monkeypatch.context() as patched:
        patched.setattr(LocalStore, "upload", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            take_out(own, page_id)
    take_out(own, page_id, record=lambda *line: told.append(line))
    ((action, subject),) = told
    assert (action, subject["reason"], subject["page_sha256"]) == ("erase", REASON, page_sha256(page_id))
    assert "entry" not in subject
    take_out(own, page_id, record=lambda *line: told.append(line))
    assert len(told) == 1


def test_a_run_that_writes_the_page_meanwhile_is_noticed(own, page_id, monkeypatch):
    real, kept = LocalStore.upload, {}

    def with_a_run_beside(self, source: Path, path: str) -> None:
        if not kept and path.endswith("dataset.parquet"):
            kept[path] = self.read(path)
            (Path(self.root) / path).with_name("again.parquet").write_bytes(kept[path])
        real(self, source, path)

    monkeypatch.setattr(LocalStore, "upload", with_a_run_beside)
    with pytest.raises(StoreError, match="wrote the page again"):
        take_out(own, page_id)
    monkeypatch.setattr(LocalStore, "upload", real)
    take_out(own, page_id)
    assert not files_with(own, page_id)


def test_a_dry_run_lists_and_changes_nothing(own, page_id, monkeypatch):
    before = everything(own)
    result = call(own, monkeypatch, page_id, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "sealed batch, topics" in result.output
    assert "Retrain on the data" in result.output
    assert everything(own) == before


def test_the_command_asks_and_does_nothing_without_a_yes(own, page_id, monkeypatch):
    before = everything(own)
    assert call(own, monkeypatch, page_id, answer="n\n").exit_code == 1
    assert everything(own) == before
    result = call(own, monkeypatch, page_id, "--yes")
    assert result.exit_code == 0, result.output
    assert "champion now" in result.output
    assert not files_with(own, page_id)
    assert last_lines(store(own, "logs"), 1)[0].action == "erase"


def test_a_short_id_is_said_not_to_be_looked_for_in_prose(own, pages, monkeypatch):
    (data(own) / "logs/runs/9").mkdir(parents=True)
    (data(own) / "logs/runs/9/run.log").write_text("failed at p-1\n")
    task = {"data": {"page_id": "p-1", "text": "secret"}}
    (data(own) / "labels/topics/platform/inbox").mkdir(parents=True, exist_ok=True)
    (data(own) / "labels/topics/platform/inbox/a.jsonl").write_text(json.dumps(task))
    result = call(own, monkeypatch, "p-1", "--yes")
    assert "shorter than 6 characters is not looked for in prose" in result.output
    assert "Taken out of 1 files" in result.output
    assert "shorter than" not in call(own, monkeypatch, pages.annotated("train"), "--dry-run").output


def test_a_report_loses_what_it_tells_of_the_page_and_keeps_the_rest(tmp_path):
    file = tmp_path / "challenger_report.html"
    told = [f"<p>before</p>{begin_page(name)}<p>text of it</p>{end_page()}" for name in ("page-12", "page-13")]
    file.write_text("".join(told))
    assert rewritten(file, "page-12") == (1, f"<p>before</p>{told[1]}".encode())
    assert find_page(file, "page-99") is None


def test_an_unknown_page_and_a_reason_that_names_the_page_are_refused(quarters, page_id):
    with pytest.raises(ConfigError, match="No file names page 'nope'"):
        plan_erasure(quarters.loader, "nope", REASON)
    with pytest.raises(ConfigError, match="The reason names the page"):
        erase_page(quarters.loader, page_id, f"because of {page_id}", "somebody")


def test_an_erased_page_is_refused_at_every_import_and_its_id_is_not_kept(erased, page_id):
    gone = ErasedPages.of(store(erased, "traffic"))
    assert gone == ErasedPages.of(store(erased, "labels"))
    taxonomy = Taxonomy(task="single", labels=("a", "b"))
    rows = {"page_id": [page_id, "other"], "text": ["x y", "z w"]}
    for imported in (
        check_pages(pa.table(rows), erased=gone),
        check_labels(pa.table({**rows, "values": ["a", "b"]}), taxonomy, None, erased=gone),
        check_predictions(pa.table({**rows, "a": [0.5, 1.0], "b": [0.5, 0.0]}), taxonomy, None, "v1", erased=gone),
    ):
        assert imported.table["page_id"].to_pylist() == ["other"]
        assert imported.reasons == {"erased": 1}
        assert imported.quarantine["page_id"].to_pylist() == [None]
        assert page_id not in str(imported.quarantine.to_pylist())


def test_a_simulated_source_that_writes_the_same_page_again_is_sifted(erased, page_id):
    again = pa.table({"page_id": [page_id, "other"], "text": ["x", "y"]})
    assert without_erased(store(erased, "traffic"), again)["page_id"].to_pylist() == ["other"]


def test_only_a_path_of_erasures_leads_from_one_digest_to_another(erased):
    (tombstone,) = tombstones(store(erased, "labels"))
    file = tombstone.files[0]
    labels = store(erased, "labels")
    assert accepts(labels, file.path, file.sha256_before, file.sha256_after)
    assert not accepts(labels, file.path, file.sha256_after, file.sha256_before)
    assert not accepts(labels, "another/path", file.sha256_before, file.sha256_after)


def rewritten(file, page_id):
    target = file.with_name("target")
    removed = write_without_page(file, page_id, target)
    return removed, target.read_bytes()


def test_a_table_of_that_page_alone_becomes_an_empty_table_of_the_same_schema(tmp_path):
    schema = pa.schema([pa.field("text", pa.string()), pa.field("page_id", pa.string(), nullable=False)], {b"k": b"v"})
    pq.write_table(pa.table({"text": ["t"], "page_id": ["p1"]}, schema=schema), tmp_path / "x.parquet")
    removed = write_without_page(tmp_path / "x.parquet", "p1", tmp_path / "y.parquet")
    left = pq.read_table(tmp_path / "y.parquet")
    assert (removed, left.num_rows) == (1, 0)
    assert left.schema.equals(schema, check_metadata=True)


def test_row_groups_stay_and_equal_files_give_equal_bytes(tmp_path):
    table = pa.table({"page_id": [f"p{row}" for row in range(10)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=4)
    for target in ("a", "b"):
        write_without_page(tmp_path / "x.parquet", "p1", tmp_path / target)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [pq.ParquetFile(tmp_path / "a").metadata.row_group(group).num_rows for group in range(3)] == [3, 4, 2]


def test_a_quarantine_that_mentions_the_page_where_its_id_is_missing_loses_that_row_alone(tmp_path):
    rows = {"page_id": [None, "other", None], "detail": ["page 'page-12' again", "page-12 is like it", "page-123 too"]}
    pq.write_table(pa.table({**rows, "reason": ["r", "r", "r"]}), tmp_path / "x.parquet")
    write_without_page(tmp_path / "x.parquet", "page-12", tmp_path / "y.parquet")
    assert pq.read_table(tmp_path / "y.parquet")["detail"].to_pylist() == ["page-12 is like it", "page-123 too"]


TASK = {"data": {"page_id": "p1", "text": "secret"}, "annotations": [{"id": 1}]}
OTHER = {"data": {"page_id": "p2", "text": "caf\u00e9"}, "annotations": []}


def test_a_task_goes_with_its_answers_from_a_list_a_line_and_a_document(tmp_path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([TASK, OTHER]))
    assert [json.loads(part) if isinstance(part, bytes) else part for part in rewritten(file, "p1")] == [1, [OTHER]]
    file.write_text(json.dumps(TASK))
    assert rewritten(file, "p1") == (1, b"[]\n")
    for name in ("x.json", "x.jsonl"):
        lines = [json.dumps(OTHER), json.dumps(TASK), "", json.dumps(OTHER)]
        (tmp_path / name).write_text("\n".join(lines))
        assert rewritten(tmp_path / name, "p1") == (1, "\n".join([lines[0], "", lines[3]]).encode())


def test_a_broken_line_that_mentions_the_page_goes_and_another_stays(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_bytes(b'{"data": {"page_id": "page-12", "te\n{"data": {"page_id": "page-13"\n')
    assert rewritten(file, "page-12") == (1, b'{"data": {"page_id": "page-13"\n')


def test_a_file_that_cannot_be_taken_apart_but_names_the_page_is_an_error(tmp_path):
    for name, content in (("x.json", b'[{"page_id": "page-12"'), ("x.xlsx", b"\x00 page-12 \x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(StoreError, match="by hand"):
            find_page(tmp_path / name, "page-12")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreError, match="cannot be read"):
        find_page(tmp_path / "x.parquet", "page-12")


def test_prose_loses_the_id_and_keeps_the_rest(tmp_path):
    (tmp_path / "run.log").write_text("failed at page-12, not at page-123\n")
    assert rewritten(tmp_path / "run.log", "page-12") == (1, b"failed at [erased], not at page-123\n")
    (tmp_path / "ended.json").write_text(json.dumps({"error": "for instance 'page-12'."}))
    removed, content = rewritten(tmp_path / "ended.json", "page-12")
    assert (removed, json.loads(content)) == (1, {"error": "for instance '[erased]'."})


def test_a_month_before_the_page_was_seen_is_not_touched(quarters, erased, page_id):
    assert SECOND in page_id or FIRST in page_id
    other = FIRST if SECOND in page_id else THIRD
    pages = f"traffic/{other}/pages"
    changed = {path for path, content in everything(quarters).items() if (data(erased) / path).read_bytes() != content}
    assert not [path for path in changed if path.startswith(pages)]
    assert all(use.is_of_model for use in page_uses(erased.loader, page_id))


def test_a_batch_that_stopped_a_training_names_the_page_no_more(quarters, page_id, tmp_path):
    shutil.copytree(quarters.path, tmp_path / "project")
    project = type(quarters)(tmp_path / "project")
    path = f"topics/{THIRD}/training/checkpoints/aa/not_finite.json"
    batch = {"step": 1, "epoch": 0, "pages": [{"page_id": name, "values": ["x"]} for name in (page_id, "other page")]}
    store(project, "models").write(path, json.dumps(batch).encode())
    take_out(project, page_id)
    assert [page["page_id"] for page in json.loads(store(project, "models").read(path))["pages"]] == ["other page"]
