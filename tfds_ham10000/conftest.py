"""What the tests of the package share."""


def pytest_ignore_collect(collection_path, config):
  """Leave TensorFlow unimported where only slow tests would use it."""
  builders = collection_path.name.endswith("_dataset_builder_test.py")
  return True if builders and config.option.markexpr == "not slow" else None
