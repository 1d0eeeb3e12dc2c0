"""The bundle for Databricks: jobs, storage and rights as typed objects, checked, then written as YAML."""
