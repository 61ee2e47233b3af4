"""A drawn stand-in for HAM10000, as a TFDS data set: toy_lesions."""
