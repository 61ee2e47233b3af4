"""Whether images help a classifier: arms, intervals, verdict, and its page."""
