"""What the DAGs of al-platform are made of; for Airflow's plugins folder. Needs neither Kedro nor al_platform."""
