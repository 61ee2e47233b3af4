r"""Split: the images that a generator for a study may be trained on.

  python main.py --config=configs/split.py:dataset=folder \
    --config.data.folder=DIR_OF_IMAGES --workdir=DIR

For generators that are trained outside skinjax. Writes DIR/split.csv: each
image's id, label, group and split. Train on split=train alone, put the
generator's images into DIR/CLASS, and compare:
--config=configs/study.py:dataset=folder --config.synthetic=DIR. With folds
(HAM10000's default, or --config.folds=0,1,2,3,4) there is DIR/FOLD for each,
and the study gets --config.synthetic=DIR/{fold}.

DIR/provenance.json states what the generator was trained on: if that is not
so, correct it, and list pretrained networks that it was trained through.
"""

from configs import common


@common.arguments(dataset="ham10000", size=0, quick=False)
def get_config(dataset: str, size: int, quick: bool):
  """Return the config; see common.arguments."""
  config = common.base("split", dataset, size)
  # As in configs/study.py: (): all of data.num_folds; (-1,): the fixed split.
  config.folds = common.folds(dataset, quick)
  return config
