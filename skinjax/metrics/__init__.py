"""Metrics of classifiers and of generated images."""
