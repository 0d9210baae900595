"""The rows of a CSV file that somebody else wrote, with line numbers for what is wrong."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from kubesprint.core.errors import Refused


def csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped fields of every row that is not blank, the header included.

    Raises:
        Refused: naming file and line; it cannot be read, is not UTF-8 text, or is not CSV.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise Refused(f"{file}: cannot be read: {error.strerror}; give a CSV file") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{file}: is not UTF-8 text (byte {error.start}); give a CSV file") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                yield reader.line_num, fields
    except csv.Error as error:
        raise Refused(f"{file}:{reader.line_num}: is not CSV: {error}") from error
