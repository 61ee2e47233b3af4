"""Numbers that say how good classifiers and generated images are."""
