"""Shared by all pages: figures, sheets of images, rendering to one file."""
