"""Everything about every model in one place: one HTML file in the store, made from what was committed."""
