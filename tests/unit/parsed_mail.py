"""A mail's HTML as a mail client sees it: elements with their styles, and the text a reader sees."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"br", "meta"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parents: list["Element"] = field(repr=False)
    text: str = ""

    @property
    def classes(self) -> list[str]:
        return self.attributes.get("class", "").split()

    @property
    def style(self) -> dict[str, str]:
        return declarations(self.attributes.get("style", ""))


class ParsedMail(HTMLParser):
    """`elements` in the order of the document, each with its own text and that of what it holds."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(html)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    @property
    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """What a value that broke out of its place would change."""
        return [(element.tag, tuple(element.attributes)) for element in self.elements]

    @property
    def body_text(self) -> str:
        return self.first("body").text

    def first(self, tag: str) -> Element:
        return next(element for element in self.elements if element.tag == tag)

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, list(self._open))
        self.elements.append(element)
        if tag == "br":
            self.handle_data("\n")
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def declarations(css: str) -> dict[str, str]:
    """The properties of a style attribute or of a rule's block."""
    pairs = (declaration.partition(":") for declaration in css.split(";") if declaration.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
