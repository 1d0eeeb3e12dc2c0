"""HTML as a browser reads it: elements with their attributes, and what stands between them."""

from html.parser import HTMLParser
from typing import NamedTuple

VOID = frozenset({"meta", "br", "link", "img", "hr", "input"})


class Element(NamedTuple):
    tag: str
    attributes: dict[str, str]
    within: tuple[str, ...]


class Document(HTMLParser):
    """The elements of a document, its text by the id of the section, and whether every element was closed."""

    def __init__(self, document: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.text: list[str] = []
        self.sections: dict[str, str] = {}
        self._open: list[str] = []
        self._section = ""
        self.feed(document)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append(Element(tag, attributes, tuple(self._open)))
        if tag == "section":
            self._section = attributes.get("id", "verdict")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"closed without being open: {tag}"
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text.append(data)
            self.sections[self._section] = self.sections.get(self._section, "") + data

    def of(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def section(self, name: str) -> str:
        return " ".join(self.sections[name].split())
