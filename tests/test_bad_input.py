"""What users get wrong: a clear error or a counted quarantine, and nothing is lost."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from al_platform.cli import al
from al_platform.domain.errors import ConfigError
from al_platform.runner import RunFailedError
from temporary_project import CYCLE

ENV = ("--env", "test")


@pytest.fixture
def own(project, monkeypatch):
    """A project with one family and pages of its own."""
    project.only("topics")
    project.configure("globals.yml", {"root": "data/own", "traffic": {"source": "imported"}})
    project.configure(
        "parameters/topics.yml",
        {"topics": {"selection": {"budget": 10, "domain_share": None}, "annotation": {"backend": "exchange"}}},
    )
    monkeypatch.chdir(project.path)
    return project


def call(*arguments):
    return CliRunner().invoke(al, [str(argument) for argument in (*arguments, *ENV)])


def write(path, rows):
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def pages(n, **columns):
    return [{"page_id": f"p{i}", "text": " ".join(f"word{i}x{k}" for k in range(12)), **columns} for i in range(n)]


def test_a_missing_column_is_named_with_how_to_map_it(own, tmp_path):
    result = call("import-pages", write(tmp_path / "x.parquet", [{"page_id": "a", "body": "b"}]), "--cycle", CYCLE)
    assert result.exit_code == 1
    assert "Column 'text' is missing" in result.output
    assert "--map text=YOUR_COLUMN" in result.output


def test_a_column_of_the_wrong_type_is_named(own, tmp_path):
    result = call("import-pages", write(tmp_path / "x.parquet", pages(3, visits="many")), "--cycle", CYCLE)
    assert result.exit_code == 1
    assert "visits" in result.output


def test_rows_that_cannot_be_taken_are_counted_and_kept_in_the_quarantine(own, tmp_path):
    rows = [
        *pages(3),
        {"page_id": "p0", "text": "again"},
        {"page_id": None, "text": "x"},
        {"page_id": "e", "text": " "},
    ]
    result = call("import-pages", write(tmp_path / "x.parquet", rows), "--cycle", CYCLE)
    assert result.exit_code == 0, result.output
    assert "3 pages" in result.output
    assert "3 rows set aside (1 duplicate_page_id, 1 no_page_id, 1 no_text)" in result.output.replace("\n", " ")
    quarantine = next((own.path / "data" / "own" / "traffic" / CYCLE / "quarantine").iterdir())
    assert pq.read_table(quarantine)["reason"].to_pylist() == ["duplicate_page_id", "no_page_id", "no_text"]


def test_importing_a_file_again_adds_nothing(own, tmp_path):
    file = write(tmp_path / "x.parquet", pages(3))
    call("import-pages", file, "--cycle", CYCLE)
    again = call("import-pages", file, "--cycle", CYCLE)
    assert "nothing was added" in again.output
    assert len(list((own.path / "data" / "own" / "traffic" / CYCLE / "pages").iterdir())) == 1


def test_a_truncated_file_is_named_and_nothing_is_stored(own, tmp_path):
    file = write(tmp_path / "x.parquet", pages(100))
    file.write_bytes(file.read_bytes()[:-200])
    result = call("import-pages", file, "--cycle", CYCLE)
    assert result.exit_code == 1
    assert "x.parquet is no readable Parquet file" in result.output
    assert not (own.path / "data" / "own").exists()


def test_a_truncated_file_in_the_store_is_named_by_the_run(own, tmp_path):
    call("import-pages", write(tmp_path / "x.parquet", pages(100)), "--cycle", CYCLE)
    stored = next((own.path / "data" / "own" / "traffic" / CYCLE / "pages").iterdir())
    stored.write_bytes(stored.read_bytes()[:-200])
    with pytest.raises(RunFailedError, match="no readable Parquet file"):
        own.run("monthly")


@pytest.mark.parametrize("cycle", ["2026-13", "october", "2026-1"])
def test_what_is_no_month_is_refused_everywhere(own, tmp_path, cycle):
    assert "YYYY-MM" in call("import-pages", write(tmp_path / "x.parquet", pages(3)), "--cycle", cycle).output
    with pytest.raises(ConfigError, match="YYYY-MM"):
        own.run("monthly", cycle=cycle)


def test_an_unknown_family_lists_the_known_ones(own, tmp_path):
    result = call("import-labels", write(tmp_path / "x.parquet", pages(3)), "--family", "topic")
    assert "no family 'topic'" in result.output
    assert "Did you mean 'topics'?" in result.output


def test_labels_outside_the_taxonomy_are_set_aside_with_the_nearest_label(own, tmp_path):
    rows = [{**row, "values": label} for row, label in zip(pages(2), ("sport", "sports"), strict=True)]
    result = call("import-labels", write(tmp_path / "x.parquet", rows), "--family", "topics")
    assert "1 labels of topics taken" in result.output
    quarantine = next((own.path / "data" / "own" / "labels" / "topics" / "quarantine").iterdir())
    assert "Did you mean 'sport'?" in pq.read_table(quarantine)["detail"][0].as_py()


def test_a_file_of_which_nothing_can_be_taken_is_an_error(own, tmp_path):
    rows = [{**row, "values": "cooking"} for row in pages(2)]
    result = call("import-labels", write(tmp_path / "x.parquet", rows), "--family", "topics")
    assert result.exit_code == 1
    assert "None of the 2 rows can be taken as labels: {'label_outside_taxonomy': 2}" in result.output


def test_an_empty_month_says_which_command_brings_pages_in(own):
    with pytest.raises(RunFailedError, match=f"kedro al import-pages FILE --cycle {CYCLE}"):
        own.run("monthly")


def test_a_budget_larger_than_the_pool_says_both_numbers(own, tmp_path):
    call("import-pages", write(tmp_path / "x.parquet", pages(4)), "--cycle", CYCLE)
    with pytest.raises(RunFailedError, match=rf"(?s)10 .*topics {CYCLE}.* 4.*selection.budget"):
        own.run("monthly")


def test_a_nan_among_imported_probabilities_is_set_aside(own, tmp_path):
    good, bad = [0.2] * 5, [float("nan"), 0.2, 0.2, 0.2, 0.2]
    rows = [{"page_id": "p0", "probabilities": good}, {"page_id": "p1", "probabilities": bad}]
    result = call(
        "import-predictions",
        write(tmp_path / "x.parquet", rows),
        "--family",
        "topics",
        "--cycle",
        CYCLE,
        "--model-version",
        "v7",
    )
    assert "1 predictions" in result.output
    assert "1 not_a_probability" in result.output


def test_a_log_of_other_labels_is_refused(own, tmp_path):
    rows = [{"page_id": "p0", "probabilities": [0.5, 0.5]}]
    result = call(
        "import-predictions", write(tmp_path / "x.parquet", rows), "--family", "topics", "--cycle", CYCLE,
        "--model-version", "v7", "--label-order", "cats,dogs",
    )  # fmt: skip
    assert result.exit_code == 1
    assert "cats" in result.output


def test_an_imported_log_takes_the_champions_place_in_its_own_label_order(own, tmp_path):
    call("import-pages", write(tmp_path / "x.parquet", pages(40)), "--cycle", CYCLE)
    order = "tech,sport,politics,entertainment,business"
    rows = [{"page_id": f"p{i}", "probabilities": [0.6, 0.1, 0.1, 0.1, 0.1]} for i in range(40)]
    call(
        "import-predictions", write(tmp_path / "y.parquet", rows), "--family", "topics", "--cycle", CYCLE,
        "--model-version", "v7", "--label-order", order,
    )  # fmt: skip
    own.run(["scoring", "selection"][0])
    scored = own.load("topics.predictions").to_pyarrow()
    assert scored["probabilities"][0].as_py() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.6])
    assert set(scored["model_digest"].to_pylist()) == {"v7"}
    assert scored["margin"][0].as_py() == pytest.approx(0.5)
    own.run("selection")
    assert "strategy" in json.dumps(own.status()["batch"])


def test_five_megabytes_of_text_and_nul_bytes_pass_through_the_month(own, tmp_path):
    rows = [
        *pages(30),
        {"page_id": "huge", "text": "<b>long</b> " * 450_000},
        {"page_id": "nul", "text": "a\0b and\0 more words"},
    ]
    assert call("import-pages", write(tmp_path / "x.parquet", rows), "--cycle", CYCLE).exit_code == 0
    own.run("monthly")
    assert own.status()["pool"] == 32


def test_one_class_only_is_named_when_training(own, tmp_path):
    rows = [{**row, "values": "sport"} for row in pages(60)]
    call("import-labels", write(tmp_path / "l.parquet", rows), "--family", "topics")
    call(
        "import-pages",
        write(
            tmp_path / "x.parquet",
            [{**r, "page_id": "q" + r["page_id"], "text": r["text"] + " new"} for r in pages(40)],
        ),
        "--cycle",
        CYCLE,
    )
    own.run("monthly")
    with pytest.raises(RunFailedError, match=r"(?s)train_model.*sport"):
        own.run("quarterly")


def test_a_mistyped_parameter_of_a_stage_that_does_not_run_stops_the_run_before_its_first_node(project):
    with pytest.raises(ConfigError, match="Did you mean 'margin'"):
        project.run("scoring", parameters={"sentiment": {"evaluation": {"gate": {"margins": 0.1}}}})
    assert not (project.path / "data" / "test").exists()


def test_your_data_does_not_mix_with_a_simulated_source(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project.path)
    result = call("import-pages", write(tmp_path / "x.parquet", pages(3)), "--cycle", CYCLE)
    assert result.exit_code == 1
    assert "docs/own-data.md" in result.output


def test_an_import_corrected_by_an_option_is_taken(own, tmp_path):
    own.configure("parameters/topics.yml", {"topics": {"taxonomy": {"task": "multi", "labels": ["a", "b"]}}})
    file = write(
        tmp_path / "x.parquet", [{**row, "values": "a|b" if row["page_id"] == "p1" else "a"} for row in pages(2)]
    )
    assert "1 labels of topics taken" in call("import-labels", file, "--family", "topics").output
    assert "2 labels of topics taken" in call("import-labels", file, "--family", "topics", "--separator", "|").output


def test_a_missing_label_is_not_taken_for_none_of_them(own, tmp_path):
    own.configure("parameters/topics.yml", {"topics": {"taxonomy": {"task": "multi", "labels": ["a", "b"]}}})
    rows = [{**row, "values": values} for row, values in zip(pages(3), (None, [], ["a"]), strict=True)]
    result = call("import-labels", write(tmp_path / "x.parquet", rows), "--family", "topics")
    assert "2 labels of topics taken" in result.output
    assert "1 no_label" in result.output


def test_a_bad_row_does_not_make_the_good_row_of_the_same_page_a_duplicate(own, tmp_path):
    rows = [{**pages(1)[0], "values": label} for label in ("spoort", "sport")]
    result = call("import-labels", write(tmp_path / "x.parquet", rows), "--family", "topics")
    assert "1 labels of topics taken" in result.output
    assert "1 label_outside_taxonomy" in result.output


def test_csv_ids_and_labels_stay_as_they_are_written(own, tmp_path):
    own.configure("parameters/topics.yml", {"topics": {"taxonomy": {"task": "single", "labels": ["true", "false"]}}})
    (tmp_path / "x.csv").write_text("nr,text,verdict\n007,three good words,true\n")
    call("import-labels", tmp_path / "x.csv", "--family", "topics", "--map", "page_id=nr", "--map", "values=verdict")
    assert own.load("topics.imported_labels").select(["page_id", "values"]).to_pylist() == [
        {"page_id": "007", "values": ["true"]}
    ]


def test_files_whose_other_columns_differ_in_type_go_together(own, tmp_path):
    for number, score in enumerate((1, 0.5)):
        row = {"page_id": f"p{number}", "text": "three good words", "values": "sport", "score": score}
        call("import-labels", write(tmp_path / f"{number}.parquet", [row]), "--family", "topics")
    assert own.load("topics.imported_labels").num_rows == 2


def test_predictions_that_are_no_numbers_are_refused_by_column(own, tmp_path):
    header = "page_id,business,entertainment,politics,sport,tech\n"
    (tmp_path / "x.csv").write_text(header + "a,n.a.,0.1,0.1,0.1,0.1\n")
    arguments = ("--family", "topics", "--cycle", CYCLE, "--model-version", "v7")
    result = call("import-predictions", tmp_path / "x.csv", *arguments)
    assert result.exit_code == 1
    assert "Column 'business' must hold probabilities" in result.output


def test_a_log_about_other_pages_says_so(own, tmp_path):
    call("import-pages", write(tmp_path / "x.parquet", pages(20)), "--cycle", CYCLE)
    rows = [{"page_id": f"other{i}", "probabilities": [0.2] * 5} for i in range(20)]
    arguments = ("--family", "topics", "--cycle", CYCLE, "--model-version", "v7")
    call("import-predictions", write(tmp_path / "y.parquet", rows), *arguments)
    with pytest.raises(RunFailedError, match="None of the 20 imported predictions is about one of the 20 pages"):
        own.run("scoring")


def test_pages_without_a_true_answer_are_counted_and_left_by_simulated_annotators(own, tmp_path):
    own.configure("parameters/topics.yml", {"topics": {"selection": {"budget": 10, "domain_share": None}}})
    rows = pages(30, truth_topics="sport")
    rows[0]["truth_topics"], rows[1]["truth_topics"] = None, "cooking"
    result = call("import-pages", write(tmp_path / "x.parquet", rows), "--cycle", CYCLE)
    assert "2 pages have no valid answer in truth_topics" in result.output
    own.run("monthly")
    assert own.status()["annotated"] >= 8
