"""The choice of pages to label: random draws for the measure, a query strategy for the rest."""
