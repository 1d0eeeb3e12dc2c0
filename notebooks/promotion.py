# Databricks notebook source
# MAGIC %md
# MAGIC # promotion
# MAGIC One family and one cycle: the widgets `family`, `cycle` (YYYY-MM) and `env` say which. An empty cycle is the last
# MAGIC complete month. On a laptop: `python notebooks/promotion.py family=topics cycle=2026-10 env=test`.

# COMMAND ----------

from al_platform.export.entry import run_notebook

run_notebook("promotion", globals().get("dbutils"))
