"""Training: the tasks, the step, the loop, and the monitoring of a run."""
