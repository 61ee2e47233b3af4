"""Parses pages, and checks what every page of a report must be."""

import base64
import html.parser
import re
from xml.etree import ElementTree

_VOID = {"meta", "img", "br", "hr", "input", "link"}


class Checker(html.parser.HTMLParser):
  """Collects text, tags and attributes; fails where tags do not nest."""

  def __init__(self):
    super().__init__()
    self.open, self.tags, self.text = [], [], []

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in _VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and self.open[-1] != "style":
      self.text.append(data)


def parse(text):
  checker = Checker()
  checker.feed(text)
  checker.close()
  assert not checker.open
  checker.words = " ".join(" ".join(checker.text).split())
  return checker


def words(text):
  return parse(text).words


def check(text):
  """Fail unless a page loads nothing, is accessible, and has whole figures."""
  assert text.lstrip().startswith("<!doctype html>")
  assert not re.search(r"https?:|file:/|@import|url\(", text)
  tags = parse(text).tags
  ids = [a["id"] for _, a in tags if "id" in a]
  assert len(ids) == len(set(ids))
  key = "aria-labelledby"
  assert {a[key] for _, a in tags if key in a} == set(ids)
  for tag, attributes in tags:
    assert tag not in ("script", "link", "iframe", "object")
    assert not any(name.startswith("on") for name in attributes)
    if tag == "html":
      assert attributes["lang"] == "en"
    if tag == "th":
      assert attributes["scope"] in ("row", "col")
    if tag == "img":
      assert len(attributes["alt"]) > 20
    if "src" in attributes:
      kind, content = attributes["src"].split(",")
      assert kind.startswith("data:image/")
      if "svg" in kind:
        assert (
          ElementTree.fromstring(base64.b64decode(content)).tag[-3:] == "svg"
        )
  names = [tag for tag, _ in tags]
  assert names.count("h1") == 1
  assert names.count("caption") == names.count("table") > 0
