# Every target makes its own environment first; a second call reinstalls nothing.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
KEDRO := $(BIN)/kedro
ENV ?= databricks
export DO_NOT_TRACK := 1

.DEFAULT_GOAL := help
.PHONY: help install monthly quarterly loop status viz s3 label-studio check format test coverage test-real package dags lock bench-loop bench-ngram bench-training bench-scoring bench-gate bench-duel bench-storage bench-growth bench-label-efficiency bench-selection bench-dashboard bench-query bench-tracking bench-export spark bench-peers bench-annotation bench-replay clean

help:  ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed  ## Make the environment from the lock file

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable . && touch $@

monthly: install  ## Score, select, ingest and prepare the last complete month
	$(KEDRO) run --pipelines=monthly

quarterly: install  ## Train, evaluate and promote on what the months prepared
	$(KEDRO) run --pipelines=quarterly

loop: install  ## Months and quarters on a synthetic web, until a second champion chooses
	$(KEDRO) al loop --env=synthetic

status: install  ## Show where every family stands
	$(KEDRO) al status

viz: install  ## Browse the lineage of families, stages and datasets
	$(KEDRO) viz run

s3: install  ## Start a local S3 server (SeaweedFS)
	$(BIN)/python -m servers.s3

spark: install  ## Add PySpark to the environment, for engine: spark (needs Java 17)
	$(BIN)/pip install --quiet --disable-pip-version-check -r servers/spark.lock

label-studio: install  ## Start a local Label Studio with a project for each family
	$(BIN)/python -m servers.label_studio

check: install  ## Lint, format, types, and the direction of imports
	$(BIN)/ruff check && $(BIN)/ruff format --check && $(BIN)/mypy && $(BIN)/lint-imports

format: install  ## Format the code
	$(BIN)/ruff check --fix && $(BIN)/ruff format

test: install  ## Run the tests
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --junitxml=build/tests.xml

coverage: install  ## Run the tests and list the lines that none runs (half as long again)
	$(BIN)/pytest --numprocesses=auto --dist=loadfile --cov --cov-report=term:skip-covered

test-real: install  ## Run the tests against real servers and a browser
	$(BIN)/pytest -m real --numprocesses=auto --dist=loadfile --junitxml=build/tests-real.xml

dags: install  ## Write the Airflow DAGs of ENV (databricks) to airflow_dags/
	$(KEDRO) al export airflow --env=$(ENV)

package: install  ## Build the wheel and the configuration archive into dist/
	rm -rf dist && $(KEDRO) package

lock:  ## Resolve the lock file again (needs uv)
	uv pip compile --quiet --universal --python-version=3.11 --all-extras --no-emit-package=pyspark --no-emit-package=py4j --no-annotate --no-header pyproject.toml -o requirements.lock

bench-loop: install  ## Time and memory of the loop (QUICK=1: short)
	$(BIN)/python benchmarks/loop.py

bench-ngram: install  ## Accuracy of the n-gram model beside TF-IDF + logistic regression (QUICK=1: short)
	$(BIN)/python benchmarks/ngram.py

bench-training: install  ## Fine-tuning beside transformers.Trainer, n-gram and TF-IDF (QUICK=1: short)
	$(BIN)/python -m benchmarks.training

bench-scoring: install  ## Transformer scoring beside transformers.pipeline (QUICK=1: short)
	$(BIN)/python -m benchmarks.scoring

bench-gate: install  ## Errors and power of the gate, by simulation (QUICK=1: short)
	$(BIN)/python benchmarks/gate.py

bench-duel: install  ## Power of duels beside plain audit pages, by simulation
	$(BIN)/python -m benchmarks.duel

bench-storage: install  ## The store: S3 beside a local disk, commits, races (QUICK=1: short)
	$(BIN)/python -m benchmarks.storage

bench-growth: install  ## What a month reads and takes with ten times the labels (QUICK=1: short)
	$(BIN)/python benchmarks/growth.py

bench-annotation: install  ## Label Studio with 10,000 pages, and Dawid-Skene beside a majority (QUICK=1: short)
	$(BIN)/python -m benchmarks.annotation

bench-replay: install  ## Replays of the corpus, a synthetic web and AL_BENCH_DATA (QUICK=1: short)
	$(BIN)/python -m benchmarks.replay

bench-query: install  ## Questions to ten thousand runs (QUICK=1: short)
	$(BIN)/python -m benchmarks.query

bench-export: install  ## Time of both exports, and what faults cost: runs and alerts (QUICK=1: short)
	$(BIN)/python -m benchmarks.export

bench-dashboard: install  ## Time and size of the dashboard of 3 families and 36 cycles (QUICK=1: short)
	$(BIN)/python -m benchmarks.dashboard

bench-tracking: install  ## The loop without a tracker and with W&B; dashboard, questions (QUICK=1: short)
	$(BIN)/python -m benchmarks.tracking

bench-label-efficiency: install  ## Labels that each query strategy needs, on AL_BENCH_DATA (QUICK=1: short)
	$(BIN)/python -m benchmarks.label_efficiency

bench-peers: install  ## Selection beside baal, modAL, small-text, scikit-activeml (QUICK=1: short)
	$(BIN)/python -m benchmarks.peers && $(BIN)/python -m benchmarks.tables

bench-selection: install  ## Pages per second of selection (QUICK=1: short)
	$(BIN)/python -m benchmarks.selection && $(BIN)/python -m benchmarks.tables

clean:  ## Remove the environment; the store stays
	rm -rf $(VENV)
