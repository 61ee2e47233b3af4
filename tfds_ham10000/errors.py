"""The one exception for data that are not as they should be."""


class DataError(ValueError):
  """Say which file, line or image is wrong and what would be right."""
