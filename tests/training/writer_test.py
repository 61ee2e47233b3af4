"""Tests of training/writer.py: metrics, times, pictures, events."""

import errno
import json
import struct
import types

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2

from skinjax.training import writer


def _lines(path):
  return [
    json.loads(line, parse_constant=pytest.fail)
    for line in path.read_text().splitlines()
  ]


def test_scalars_pictures_and_times(tmp_path):
  with writer.Writer(tmp_path, step=0, total=20) as w:
    w.scalars(10, {"loss": 0.5, "bad": float("nan")})
    w.progress(10, 10, 80, {"loss": 0.5}, 10)
    w.scalars(20, {"loss": 0.25})
    w.progress(20, 10, 80, {"loss": 0.25}, 0)
    w.picture(20, Image.new("L", (6, 4), 7))
  assert _lines(tmp_path / "metrics.jsonl") == [
    {"step": 10, "loss": 0.5, "bad": None},
    {"step": 20, "loss": 0.25},
  ]
  # The first call compiles, so it has no time.
  (line,) = _lines(tmp_path / "timing.jsonl")
  assert line["step"] == 20
  assert line["seconds"] * line["images_per_second"] == pytest.approx(80)
  with Image.open(tmp_path / "samples" / "00000020.png") as image:
    assert image.size == (6, 4)
    assert (np.asarray(image) == 7).all()
  assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_lines_are_on_disk_before_the_writer_closes(tmp_path):
  with writer.Writer(tmp_path, step=0, total=20) as w:
    w.scalars(10, {"loss": 0.5})
    assert len(_lines(tmp_path / "metrics.jsonl")) == 1


def test_a_pause_is_left_out_of_the_speed(tmp_path, monkeypatch):
  clock = types.SimpleNamespace(monotonic=iter([0.0, 100.0, 102.0]).__next__)
  monkeypatch.setattr(writer, "time", clock)
  with writer.Writer(tmp_path, step=0, total=4) as w:
    w.pause()
    w.progress(1, 1, 10, {}, 3)
    w.pause()
    w.progress(2, 1, 10, {}, 2)
  (line,) = _lines(tmp_path / "timing.jsonl")
  assert line == {"step": 2, "seconds": 2.0, "images_per_second": 5.0}


def test_resuming_cuts_both_files_back(tmp_path):
  for name in ("metrics", "timing"):
    (tmp_path / f"{name}.jsonl").write_text(
      '{"step": 10}\n{"step": 20}\n{"step": 30}\n'
    )
  with writer.Writer(tmp_path, step=20, total=40) as w:
    w.scalars(30, {"x": 1.0})
  lines = _lines(tmp_path / "metrics.jsonl")
  assert [line["step"] for line in lines] == [10, 20, 30]
  assert lines[-1] == {"step": 30, "x": 1.0}
  assert [x["step"] for x in _lines(tmp_path / "timing.jsonl")] == [10, 20]


@pytest.mark.parametrize("tail", ['{"step": 20, "lo', "\0\0\0", "{"])
def test_a_line_that_was_cut_short_is_dropped(tmp_path, tail):
  path = tmp_path / "metrics.jsonl"
  path.write_text('{"step": 10}\n' + tail)
  writer.cut_back(path, 20)
  assert path.read_text() == '{"step": 10}\n'


def test_events_can_be_read_back_and_restart_where_the_run_does(tmp_path):
  for first, steps in ((0, (10, 20, 30)), (20, (30,))):
    with writer.Writer(tmp_path, step=first, total=30) as w:
      for step in steps:
        w.scalars(step, {"loss": 1.0 / step})
      w.picture(30, Image.new("RGB", (6, 4)))
      w.sync()
  logs = sorted(
    (tmp_path / "tensorboard").iterdir(), key=lambda p: p.stat().st_mtime_ns
  )
  assert len(logs) == 2
  events = [list(_events(path)) for path in logs]
  assert [e.step for e in events[0]] == [0, 10, 20, 30, 30]
  assert [e.step for e in events[1]] == [0, 21, 30, 30]
  assert events[1][1].session_log.status == event_pb2.SessionLog.START
  (value,) = events[0][2].summary.value
  assert value.tag == "loss"
  assert value.simple_value == pytest.approx(0.05)
  assert events[0][4].summary.value[0].tag == "samples"


def test_a_run_that_starts_again_drops_the_events_of_the_first(tmp_path):
  board = tmp_path / "tensorboard"
  for again in (False, True):
    if again:  # killed before its first checkpoint
      (killed,) = board.iterdir()
      killed.rename(killed.with_name("events.killed"))
    with writer.Writer(tmp_path, step=0, total=30) as w:
      w.scalars(10, {"loss": 1.0})
  (path,) = board.glob("events.out*")
  events = list(_events(path))
  assert [e.step for e in events] == [0, 1, 10]
  assert events[1].session_log.status == event_pb2.SessionLog.START


def _events(path):
  """Yield the events of a file: length, its checksum, data, its checksum."""
  content = path.read_bytes()
  while content:
    (size,) = struct.unpack("<Q", content[:8])
    yield event_pb2.Event.FromString(content[12 : 12 + size])
    content = content[16 + size :]


def test_a_disk_that_fills_up_while_events_are_written_is_an_error(
  tmp_path, monkeypatch
):
  def fail(*_):
    raise OSError(errno.ENOSPC, "No space left on device")

  with writer.Writer(tmp_path, step=0, total=20) as w:
    monkeypatch.setattr(w._board, "write_event", fail)
    with pytest.raises(OSError, match="No space left"):
      w.scalars(10, {"loss": 0.5})


def test_pictures_of_later_steps_go(tmp_path):
  (tmp_path / "samples").mkdir()
  for name in ("00000010.png", "00000020.png", "00000025.png", "mine.png"):
    (tmp_path / "samples" / name).touch()
  with writer.Writer(tmp_path, step=20, total=40):
    pass
  assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
    "00000010.png",
    "00000020.png",
    "mine.png",
  ]


def test_cutting_back_missing_files_makes_none(tmp_path):
  writer.cut_back(tmp_path / "none.jsonl", 5)
  assert not (tmp_path / "none.jsonl").exists()
