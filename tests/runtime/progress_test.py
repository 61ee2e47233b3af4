"""Tests of runtime/progress.py."""

import time

import pytest

from skinjax.runtime import progress


@pytest.mark.parametrize(
  ("seconds", "words"),
  [
    (0, "0 s"),
    (59.6, "1 min 00 s"),
    (3599.7, "1 h 00 min"),
    (7500, "2 h 05 min"),
    (90_061, "25 h 01 min"),
  ],
)
def test_duration(seconds, words):
  assert progress.duration(seconds) == words


def test_lines_are_logged_with_pauses_and_the_time_left(monkeypatch, caplog):
  caplog.set_level("INFO")
  times = iter([100.0, 104.0, 106.0, 110.0, 112.0])
  monkeypatch.setattr(time, "monotonic", lambda: next(times))
  tell = progress.logger("Images")
  for done in (1, 2, 3, 4):
    tell(done, 10)
  # 6 s for 2 of them: 24 s for 8; 12 s for 4: 18 s for 6.
  assert [record.message for record in caplog.records] == [
    "Images: 2 of 10, 24 s left",
    "Images: 4 of 10, 18 s left",
  ]
