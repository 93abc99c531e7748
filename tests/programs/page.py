"""A page as tests read it."""

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Collects tags, links to anything outside, text, and whether every tag is closed."""

    VOID = ("meta", "img", "br", "line", "rect", "circle", "polyline", "polygon", "path", "link")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open, self.links, self.words, self.tags, self.attributes = [], [], [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def assert_closed_in_itself(self) -> None:
        """Every tag is closed, nothing is run and nothing is loaded."""
        assert not self.open, f"not closed: {self.open}"
        assert "script" not in self.tags and "link" not in self.tags
        assert all(re.match("data:image/(png|jpeg);base64,", link) for link in self.links)
        assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", self.html)
        assert not [name for name in self.attributes if name.startswith("on")]
