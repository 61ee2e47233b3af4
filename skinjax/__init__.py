"""skinjax: do synthetic images help a classifier trained on few real ones?

From Python, without flags and without the data set:

```
generator = skinjax.load_generator("acgan64")      # or a workdir
images = generator.sample(["mel", "df"], seed=0)   # uint8 [2, 64, 64, 3]
classifier = skinjax.load_classifier("classifier64")
probabilities = classifier.predict(images)         # float32 [2, classes]
```
"""

__version__ = "0.2.0"


def load_generator(path, which="latest"):
  """Load a trained generator; see synthesis/generators.py.

  Args:
    path: the workdir that trained it, or the name of one shipped with skinjax;
      see released/.
    which: the checkpoint, `latest` or `best`.

  Returns:
    `Generator`, with `class_names` and `sample(labels, seed=0)`.

  Raises:
    InputError: there is no such generator or checkpoint, or it is damaged. It
      is a ValueError; its message says what would be right.
  """
  from skinjax.synthesis import generators  # keeps `import skinjax` fast

  return generators.load(path, which)


def load_classifier(path):
  """Load a trained classifier; see training/predict.py.

  Args:
    path: as in `load_generator`.

  Returns:
    `Classifier`, with `class_names` and `predict(images)`.

  Raises:
    InputError: as in `load_generator`.
  """
  from skinjax.training import predict

  return predict.load(path)
