"""Runtime support: devices, processes, checkpoints, files, randomness."""
