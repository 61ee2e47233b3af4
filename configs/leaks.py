r"""Leaks: whether a train/test split of HAM10000 lets training see the test.

  python main.py --config=configs/leaks.py \
    --config.train=train.csv --config.test=test.csv

Tells by class which test images share an image, a lesion or a known duplicate
with training, and ends with exit code 1 if any does. A table of images is CSV
with a column image_id (or image, path, …; skinjax/image_tables.py has all), or
plain text with an id or a path a line. Lesions are looked up in HAM10000's
table in --config.data.manual_dir=DIR; without one, in the tables' own column
lesion_id, or in ham10000 where it is prepared. With --workdir=DIR,
DIR/leaks.csv and DIR/leaks.json have all of it.

Of the other keys only data.data_dir and data.size matter, which say where a
prepared ham10000 is; nothing is drawn, cut or trained, and quick is the same.
"""

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Returns the config; see common.arguments."""
  del quick  # It takes a second either way.
  config = common.base("leaks", dataset, size)
  # Tables of the images of the split that is looked into.
  config.train = ""
  config.test = ""
  return config
