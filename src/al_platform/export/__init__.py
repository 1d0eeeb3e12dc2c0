"""What runs the stages elsewhere: one stage list, and what Airflow and Databricks get of it."""
