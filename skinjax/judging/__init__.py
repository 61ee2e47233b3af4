"""Evaluations of images: distances, copies, usefulness, and their page."""
