"""From predictions to a verdict with intervals, and to a page that shows it."""
