"""Nearest real images of generated ones, in any orientation.

A lesion has no upright position, and networks are trained on its flips and
right-angle rotations: a copy may be any of the 8. Each reference is one vector,
each query one vector per orientation, of which the nearest counts.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np

# Rows of distances computed at a time: few enough to stay in caches.
_BLOCK = 512


@dataclasses.dataclass(frozen=True)
class Nearest:
  """The nearest reference of each of m queries; if none, -1 and infinity."""

  index: np.ndarray  # int64 [m], of the reference
  orientation: np.ndarray  # int64 [m], of the query; see pixels.orientations
  distance: np.ndarray  # float64 [m], Euclidean


def nearest(
  queries: np.ndarray,
  references: np.ndarray,
  *,
  query_groups: np.ndarray | None = None,
  reference_groups: np.ndarray | None = None,
  progress: Callable[[int, int], None] = lambda done, total: None,
) -> Nearest:
  """Find the nearest reference of each query, in any orientation.

  Matrix products find the nearest reference for each orientation. Its distance
  is then recomputed by subtraction, so that it is 0 for a copy.

  `queries` are [k, m, d] floats, one [m, d] per orientation, or [m, d];
  `references` are [n, d]. If lesions are given, `query_groups` [m] and
  `reference_groups` [n], references of the query's own lesion are skipped.
  `progress(done, total)` is called with numbers of queries, those of all
  orientations.

  Raises:
    ValueError: a set is empty or not finite.
  """
  queries, references = _require_vectors(queries, references)
  excluded = None
  if query_groups is not None:
    both = np.concatenate([query_groups, reference_groups])
    codes = np.unique(both, return_inverse=True)[1]
    excluded = np.split(codes, [queries.shape[1]])
  turns, count = queries.shape[:2]
  index = np.empty((turns, count), np.int64)
  squares = np.empty((turns, count))
  for turn, rows, block in _blocks(queries, references):
    if excluded:
      block[excluded[0][rows, None] == excluded[1]] = np.inf
    best = block.argmin(1)
    index[turn, rows] = best
    difference = queries[turn, rows] - references[best]
    exact = np.einsum("md,md->m", difference, difference, dtype=np.float64)
    lost = np.isinf(block[np.arange(len(best)), best])
    squares[turn, rows] = np.where(lost, np.inf, exact)
    progress(turn * count + rows.start + len(best), turns * count)
  turn = squares.argmin(0)
  column = np.arange(count)
  squares, index = squares[turn, column], index[turn, column]
  none = np.isinf(squares)
  return Nearest(np.where(none, -1, index), turn, np.sqrt(squares))


def distances_by_group(
  queries: np.ndarray, references: np.ndarray, groups: np.ndarray
) -> np.ndarray:
  """Compute each query's distance to the nearest image of each lesion.

  `queries`, `references` and errors are as in `nearest`; `groups` are [n]
  integers, 0 to g - 1 for g lesions.

  Returns:
    float32 [m, g] Euclidean distances. Those of copies may differ from 0 by
    about a thousandth of the vectors' length.
  """
  queries, references = _require_vectors(queries, references)
  order = np.argsort(groups, kind="stable")
  starts = np.searchsorted(groups[order], range(max(groups) + 1))
  result = np.full((queries.shape[1], len(starts)), np.inf, np.float32)
  for _, rows, block in _blocks(queries, references[order]):
    # Most lesions have one image.
    least = block
    if len(starts) < len(order):
      least = np.minimum.reduceat(block, starts, axis=1)
    np.minimum(result[rows], least, out=result[rows])
  return np.sqrt(np.maximum(result, 0))


def _require_vectors(queries, references):
  queries = np.asarray(queries, np.float32)
  references = np.asarray(references, np.float32)
  queries = queries[None] if queries.ndim == 2 else queries
  if not queries.size or not references.size:
    raise ValueError("There are no queries, or no references.")
  if not (np.isfinite(queries).all() and np.isfinite(references).all()):
    raise ValueError("Vectors must be finite.")
  return queries, references


def _blocks(queries, references) -> Iterator[tuple[int, slice, np.ndarray]]:
  """Yield orientation, slice of queries, and squared distances to all."""
  # Centring keeps more digits of the distances.
  centre = references.mean(0)
  references = references - centre
  norms = np.einsum("nd,nd->n", references, references)
  factors = np.ascontiguousarray(-2 * references.T)
  for turn, vectors in enumerate(queries):
    for start in range(0, len(vectors), _BLOCK):
      rows = slice(start, start + _BLOCK)
      part = vectors[rows] - centre
      block = part @ factors
      block += norms
      block += np.einsum("md,md->m", part, part)[:, None]
      yield turn, rows, block
