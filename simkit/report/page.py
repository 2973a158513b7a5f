"""Pieces of a web page; every text is escaped here and nowhere else."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from simkit.report.figures import Figure

Cell = str | float | int | None
DOI = re.compile(r"\b(10\.\d{4,9}/[^\s,;]+)|\barXiv:(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Number:
    """A number worth showing first."""

    value: float | None
    unit: str
    label: str


SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def digits(value: Cell, significant: int = 3) -> str:
    """A number with a few significant digits; texts stay, and what is unknown is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if not -4 <= size < 6:
        mantissa, exponent = f"{value:.{significant - 1}e}".split("e")
        return f"{mantissa}·10".replace("-", "−") + str(int(exponent)).translate(SUPERSCRIPTS)
    return f"{value:.{max(significant - 1 - size, 0)}f}".replace("-", "−")


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; ``kind`` may be ``lead`` or ``warning``."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def numbers(values: Sequence[Number]) -> str:
    """Cards with one number each; those that are unknown are left out."""
    cards = [
        f"<div><strong>{escape(digits(one.value))} <small>{escape(one.unit)}</small></strong>"
        f"<span>{escape(one.label)}</span></div>"
        for one in values
        if one.value is not None
    ]
    return f'<div class="numbers">{"".join(cards)}</div>' if cards else ""


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], code: Sequence[str] = ()) -> str:
    """A table; columns of numbers are aligned to the right, those named in ``code`` are set in a fixed width."""
    numeric = [all(not isinstance(row[i], str) for row in rows) for i in range(len(columns))]

    def kind(index: int) -> str:
        if columns[index] in code:
            return ' class="code"'
        return ' class="number"' if numeric[index] else ""

    head = "".join(f"<th{kind(i)} scope='col'>{escape(name)}</th>" for i, name in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(i)}>{escape(digits(cell))}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def image(figure: Figure) -> str:
    """A picture."""
    return f'<img src="{figure.data_uri}" alt="{escape(figure.description, quote=True)}">'


def figures(pictures: Sequence[Figure]) -> str:
    """Pictures side by side where there is room, with their captions."""
    parts = []
    for picture in pictures:
        caption = f"<figcaption>{escape(picture.caption)}</figcaption>" if picture.caption else ""
        parts.append(f"<figure>{image(picture)}{caption}</figure>")
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def citations(references: Sequence[str]) -> str:
    """A numbered list; DOIs and arXiv numbers become links."""

    def linked(match: re.Match[str]) -> str:
        doi, arxiv = match[1], match[2]
        address = f"https://doi.org/{doi}" if doi else f"https://arxiv.org/abs/{arxiv}"
        return f'<a href="{address}">{match[0]}</a>'

    items = "".join(f"<li>{DOI.sub(linked, escape(one))}</li>" for one in references)
    return f'<ol class="citations">{items}</ol>'


def section(title: str, *parts: str) -> str:
    """A titled part of the page."""
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def page(title: str, lead: str, picture: Figure | None, body: str, foot: str) -> str:
    """The whole page, with its style inside."""
    style = files("simkit.report").joinpath("style.css").read_text(encoding="utf-8")
    drawn = image(picture) if picture else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body><main><header><div><h1>{escape(title)}</h1>{paragraph(lead, 'lead')}</div>{drawn}</header>\n"
        f"{body}\n<footer>{escape(foot)}</footer></main></body></html>\n"
    )
