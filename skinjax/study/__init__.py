"""Studies: whether synthetic images help a classifier, and the report."""
