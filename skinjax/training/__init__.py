"""What trains networks: tasks, the step, the loop, and what a run watches."""
