"""Shared by the package's tests."""


def pytest_ignore_collect(collection_path, config):
  """Skip the builder tests, which import TensorFlow, unless slow tests run."""
  builders = collection_path.name.endswith("_dataset_builder_test.py")
  return True if builders and config.option.markexpr == "not slow" else None
