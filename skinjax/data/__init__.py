"""Data sets and image folders, their provenance, and what is drawn of them."""
