"""The one exception for data that are not as they should be."""


class DataError(ValueError):
  """Bad data: says which file, line or image, and what would be right."""
