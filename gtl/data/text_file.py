"""Files of text: plain, compressed or in an archive, in UTF-8, UTF-16 or Latin-1."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import logging
import lzma
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from gtl.errors import DataError
from gtl.suggest import nearest

_OPENERS: dict[str, Callable[[Any], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_TEXT = (".csv", ".tsv", ".txt", ".smi", ".smiles", ".ism")
_LISTED = 20  # members that a message names
_HEAD = 4096  # bytes in which a byte order mark or a NUL is looked for
_ESCAPED = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as "surrogateescape" gives

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TextFile:
    """A file of text, possibly compressed (``.gz``, ``.bz2``, ``.xz``), possibly in an archive.

    Attributes:
        path: The file, or the zip archive (a wheel is one) that it lies in.
        member: Its path inside the archive; empty if it lies in none.
    """

    path: Path
    member: str = ""

    @staticmethod
    def find(name: str, root: Path | None = None) -> TextFile:
        """Look for a file here, then in ``root``.

        Args:
            name: Path of the file. It may lead through an archive:
                ``molecules.zip/folder/file.csv``; the member may be left out if there is one only.
            root: Where to look if it is not here.

        Raises:
            DataError: If there is no such file, or no such member; offers the nearest.
        """
        here = Path(name).expanduser()
        for path in (here, here if root is None else root / here):
            if path.is_file():
                return _only_member(path) if path.suffix in (".zip", ".whl") else TextFile(path)
            for archive in path.parents:
                if archive.is_file():
                    return _member(archive, path.relative_to(archive).as_posix())
        where = "here" if root is None else f"here or in {root}"
        raise DataError(f"there is no file {name} {where}; check the path")

    @property
    def suffix(self) -> str:
        """The ending that tells what is in it, that of a compression left aside."""
        name = PurePosixPath(self.member or self.path.name)
        return (name.with_suffix("") if name.suffix in _OPENERS else name).suffix.lower()

    @property
    def stem(self) -> str:
        """Its name without folders and endings."""
        return PurePosixPath(self.member or self.path.name).name.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    def open(self) -> BinaryIO:
        """Its bytes, decompressed."""
        opener = _OPENERS.get(PurePosixPath(self.member or self.path.name).suffix, _plain)
        if not self.member:
            return opener(self.path)
        with zipfile.ZipFile(self.path) as archive:  # stays open until the member is closed
            return opener(archive.open(self.member))

    def text(self, newline: str | None = None) -> io.TextIOWrapper:
        """Its characters: UTF-16 by its byte order mark, otherwise UTF-8.

        Bytes that are not UTF-8 are read as Latin-1 (Windows-1252), with one warning.

        Args:
            newline: As for :func:`open`.

        Raises:
            DataError: If the file is not text.
            OSError: If it cannot be read; each kind of compression has errors of its own.
        """
        opened = self.open()
        head = cast(io.BufferedReader, opened).peek(_HEAD)[:_HEAD]
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return io.TextIOWrapper(opened, encoding="utf-16", newline=newline)
        if b"\0" in head:
            opened.close()
            raise DataError(
                f"{self} is not a file of text: it holds NUL bytes; save it as text in UTF-8"
            )
        return _MixedText(opened, str(self), newline)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Lines that are not blank, without the space around them, and their numbers from 1.

        Raises:
            DataError: If the file is damaged or not text.
        """
        try:
            with self.text() as text:
                for number, line in enumerate(text, 1):
                    if line := line.strip():
                        yield number, line
        except DataError:
            raise
        except Exception as error:  # each kind of compression fails in its own way
            reason = " ".join(str(error).split())
            raise DataError(f"{self} cannot be read as text: {reason}") from error


class _MixedText(io.TextIOWrapper):
    """UTF-8 with or without a byte order mark, and other bytes read as Windows-1252."""

    def __init__(self, file: BinaryIO, name: str, newline: str | None) -> None:
        super().__init__(file, encoding="utf-8-sig", errors="surrogateescape", newline=newline)
        self._name, self._warned = name, False

    def read(self, size: int | None = -1, /) -> str:
        return self._decoded(super().read(size))

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        return self._decoded(super().readline(size))

    def __next__(self) -> str:  # type: ignore[override]
        return self._decoded(super().__next__())

    def _decoded(self, text: str) -> str:
        if text.isascii() or not _ESCAPED.search(text):
            return text
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s is not UTF-8 throughout: other bytes are read as Latin-1 (Windows-1252); "
                "save the file as UTF-8 if names look wrong",
                self._name,
            )
        return _ESCAPED.sub(_of_windows, text)


def _of_windows(found: re.Match[str]) -> str:
    byte = bytes([ord(found.group()) - 0xDC00])
    return byte.decode("cp1252", "ignore") or byte.decode("latin-1")


def _plain(file: Any) -> BinaryIO:
    return open(file, "rb") if isinstance(file, Path) else file


def _members(archive: Path) -> list[str]:
    try:
        with zipfile.ZipFile(archive) as opened:
            return [name for name in opened.namelist() if not name.endswith("/")]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{archive} is not a readable zip archive ({error})") from error


def _member(archive: Path, name: str) -> TextFile:
    members = _members(archive)
    if name not in members:
        raise DataError(f"{archive} holds no {name}; {nearest(name, _texts(members))}")
    return TextFile(archive, name)


def _only_member(archive: Path) -> TextFile:
    members = _members(archive)
    if len(members) != 1:
        raise DataError(
            f"{archive} holds {len(members)} files; name one as {archive}/...: "
            f"{', '.join(_texts(members)) or 'none of them looks like text'}"
        )
    return TextFile(archive, members[0])


def _texts(members: list[str]) -> list[str]:
    found = [name for name in members if TextFile(Path(), name).suffix in _TEXT]
    return found[:_LISTED]
