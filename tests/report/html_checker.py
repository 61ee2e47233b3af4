import html.parser

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
