# Databricks notebook source
# MAGIC %md
# MAGIC # annotation_ingest
# MAGIC One family and one cycle: the widgets `family`, `cycle` (YYYY-MM) and `env` say which. An empty cycle is the last
# MAGIC complete month. On a laptop: `python notebooks/annotation_ingest.py family=topics cycle=2026-10 env=test`.

# COMMAND ----------

from al_platform.export.entry import run_notebook

run_notebook("annotation_ingest", globals().get("dbutils"))
