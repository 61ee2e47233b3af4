"""What images are worth: distances, copies, usefulness, and their page."""
