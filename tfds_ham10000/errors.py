"""The exception for invalid data."""


class DataError(ValueError):
  """Invalid data; names the file, line or image and what is expected."""
