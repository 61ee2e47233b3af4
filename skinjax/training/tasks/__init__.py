"""The tasks that train, one file each."""
