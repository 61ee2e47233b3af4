"""A counter that benchmarks_test runs in another process; imports little."""

import importlib
import os


def configure():
  """Do nothing; worker.Remote calls this first."""


class Counter:
  def __init__(self, first):
    self.value = first

  def add(self, number):
    self.value += number
    return self.value

  def process(self):
    return os.getpid()

  def load(self, name):
    importlib.import_module(name)

  def fail(self):
    return 1 / 0
