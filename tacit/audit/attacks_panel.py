"""The report's part on attacks: which protection stops which attack."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from tacit.audit.tables import Cell, Table
from tacit.audit.typeset import NONE, clean, epsilon, number, scientific, share, span

FEW = 3  # attacks that stand side by side in the width of a report
BROKEN = "\N{BLACK CIRCLE}"  # before a figure whose protection does not hold


@dataclass(frozen=True, slots=True)
class AttacksPart:
    """What stands under the heading "Attacks"."""

    caption: str
    table: Table | None
    audit: str  # a sentence on the canary audit, or empty
    notes: tuple[str, ...]


def attacks_panel(report: Mapping[str, Any]) -> AttacksPart | None:
    """The part of a report that has "attacks"; None where it has none."""
    part = report.get("attacks")
    if not isinstance(part, Mapping):
        return None
    rows = [row for row in _list(part.get("rows")) if isinstance(row, Mapping)]
    names = list(dict.fromkeys(name for row in rows for name in _part(row.get("cells"))))
    shown = [(_question(row), tuple(_cell(_part(row.get("cells")).get(name)) for name in names)) for row in rows]
    refused = [f"{_question(row)} Not tried: {row['refused']}." for row in rows if isinstance(row.get("refused"), str)]
    for row in rows:
        for why, untried in _by_reason(row).items():
            refused.append(f"{_question(row)} Not tried against {', '.join(untried)}: {why.removesuffix('.')}.")
    shown = [line for line, row in zip(shown, rows, strict=True) if row.get("cells")]
    head = tuple((f"{name[:1].upper()}{name[1:]}", "") for name in names)
    words = [part.get("definition"), part.get("simulated")]
    caption = " ".join(f"{w[:1].upper()}{w[1:].removesuffix('.')}." for w in words if isinstance(w, str) and w)
    if shown:
        caption += " In each field the leakage; under it its interval, and AUC of the attack and of guessing."
        caption += f" {BROKEN} = broken: the interval lies above guessing."
    notes = (*refused, *(note for note in _list(part.get("notes")) if isinstance(note, str)))
    table = Table("Attack", head, tuple(shown)) if shown else None
    if table is not None and len(shown) <= FEW:
        table = _upright(table)
    return AttacksPart(caption, table, _audit(part), notes)


def _upright(table: Table) -> Table:
    """A line for each protection instead of one for each attack."""
    rows = tuple((name, tuple(cells[i] for _, cells in table.rows)) for i, (name, _) in enumerate(table.head))
    return Table("Protection", tuple((question, "") for question, _ in table.rows), rows, table.note)


def page(attacks: Mapping[str, Any]) -> str:
    """A page of its own for attacks that came after a run was sealed: well-formed, no script, no network."""
    part = attacks_panel({"attacks": clean(attacks)})
    assert part is not None
    style = (files("tacit.audit") / "templates" / "report.css").read_text(encoding="utf-8")
    title = html.escape(f"Attacks on {clean(str(attacks.get('training', 'a run')))}")
    body = [f"<h1>{title}</h1>", f'<p class="caption">{html.escape(part.caption)}</p>']
    if part.table is not None:
        body.append(_table(part.table))
    body += [f"<p>{html.escape(part.audit)}</p>"] if part.audit else []
    body.append('<ul class="notes">' + "".join(f"<li>{html.escape(note)}</li>" for note in part.notes) + "</ul>")
    policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8"/>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        '<main class="broad">\n<section>\n' + "\n".join(body) + "\n</section>\n</main>\n</body>\n</html>\n"
    )


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name, _ in table.head)
    lines = [
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(
            f'<td data-name="{html.escape(column)}">{html.escape(figure)}<small>{html.escape(small)}</small></td>'
            for (column, _), (figure, small) in zip(table.head, cells, strict=True)
        )
        + "</tr>"
        for name, cells in table.rows
    ]
    return (
        f'<div class="scroll stack attacks"><table><thead><tr><th scope="col">{html.escape(table.corner)}</th>{head}'
        "</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _question(row: Mapping[str, Any]) -> str:
    cells = list(_part(row.get("cells")).values())
    rates = [number(cell.get("rate")) for cell in cells if isinstance(cell, Mapping)]
    unit = next((str(cell.get("unit")) for cell in cells if isinstance(cell, Mapping)), "")
    rate = next((r for r in rates if r), None)
    at = f" ({unit}, at {rate:.1%} false positives)" if rate and len(set(rates)) == 1 else f" ({unit})" if unit else ""
    return f"{row.get('question', '')}{at}"


def _by_reason(row: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why protections could not be tried -> their names."""
    out: dict[str, list[str]] = {}
    for name, why in _part(row.get("untried")).items():
        out.setdefault(str(why), []).append(str(name))
    return out


def _cell(cell: Any) -> Cell:
    if not isinstance(cell, Mapping):
        return NONE, ""
    small = [span(cell.get("low"), cell.get("high"))]
    if number(cell.get("auc")) is not None:
        small.append(f"AUC {share(cell['auc'])} against {share(cell.get('guessed_auc'))}")
    mark = f"{BROKEN} " if cell.get("broken") is True else ""
    return f"{mark}{share(cell.get('share'))}", ", ".join(text for text in small if text)


def _audit(part: Mapping[str, Any]) -> str:
    audit = _part(part.get("audit"))
    if isinstance(audit.get("refused"), str):
        return f"No canary audit: {audit['refused'].removesuffix('.')}."
    if number(audit.get("bound")) is None or number(audit.get("claimed")) is None:
        return ""
    verdict = "The claim holds." if audit.get("holds") is True else "THE CLAIM DOES NOT HOLD."
    name = f" {audit['training']!r}" if isinstance(audit.get("training"), str) else ""
    rounds, of = audit.get("rounds"), audit.get("of_rounds")
    some = f"{rounds} of its {of} rounds" if of not in (None, rounds) else f"{rounds} round{'' if rounds == 1 else 's'}"
    return (
        f"Canary audit: {audit.get('joined')} of {audit.get('canaries')} canary clients joined a re-simulated training"
        f"{name} of {some} with {audit.get('clients')} clients. It claims ε = "
        f"{epsilon(audit['claimed'])} at δ = {scientific(audit.get('delta'))}; what canaries showed proves ε ≥ "
        f"{epsilon(audit['bound'])} at {share(audit.get('confidence'))} confidence. {verdict}"
    )


def _part(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
