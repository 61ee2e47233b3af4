"""Data sets and image folders, their provenance, batches and augmentation."""
