"""What a run stands on: devices, processes, checkpoints, files, randomness."""
