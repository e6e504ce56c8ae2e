"""Check the documentation: links, command lines, plans, Python blocks. `make docs` runs it; exit 1 names file and line.

- every relative link of every Markdown file leads to a file, and its #anchor to a heading;
- every `tacit ...` line in a code block or between backticks is one that the command line accepts, and names plans and
  example files that exist;
- every TOML file under examples/ is a plan or a mapping, one that is named like a built-in plan is that plan, and every
  ```toml block is a plan, a mapping, or a change to the storefront plan;
- every ```python block compiles; those of README.md, docs/extend.md and docs/own-data.md run, unless marked no-run.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUN = ("README.md", "docs/extend.md", "docs/own-data.md")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
INLINE = re.compile(r"`(tacit [^`]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its info string, its text, and the line of the text's first line."""

    info: str
    text: str
    line: int


def documents() -> list[Path]:
    """Every Markdown file of the project, but not of environments, data or runs."""
    skipped = {".venv", ".bench", "runs", "data", "build", "dist"}
    found = (path for path in ROOT.rglob("*.md") if not skipped & set(path.relative_to(ROOT).parts))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))


def blocks(text: str) -> tuple[list[Block], list[tuple[int, str]]]:
    """Fenced blocks, and the numbered lines outside of them."""
    found: list[Block] = []
    prose: list[tuple[int, str]] = []
    inside: tuple[str, int] | None = None
    body: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.lstrip().startswith("```"):
            if inside is None:
                inside, body = (line.lstrip().removeprefix("```").strip(), number + 1), []
            else:
                found.append(Block(inside[0], "\n".join(body) + "\n", inside[1]))
                inside = None
        elif inside is None:
            prose.append((number, line))
        else:
            body.append(line)
    return found, prose


def anchors(path: Path) -> set[str]:
    """What headings of a Markdown file are called in links."""
    _, prose = blocks(path.read_text("utf-8"))
    heads = [line.lstrip("#").strip().lower() for _, line in prose if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", head).replace(" ", "-") for head in heads}


def links(path: Path, prose: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Links that lead nowhere."""
    for number, line in prose:
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            place = (path.parent / name).resolve() if name else path
            if not place.exists() or ROOT not in (place, *place.parents):
                yield number, f"the link {target!r} leads nowhere"
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                yield number, f"{name or 'this file'} has no heading #{anchor}"


def commands(found: list[Block], prose: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Command lines that the parser refuses, and plans that are not there."""
    lines = [(number, text) for number, line in prose for text in INLINE.findall(line)]
    for block in found:
        if block.info.split(" ")[0] in ("", "sh", "bash", "console"):
            for offset, line in enumerate(block.text.split("\n")):
                text = line.strip().removeprefix("$ ")
                if text.startswith("tacit "):
                    lines.append((block.line + offset, text))
    for number, text in lines:
        if (why := refused(text)) is not None:
            yield number, f"{text!r}: {why}"


def refused(text: str) -> str | None:
    """Why the command line would not take this, or None."""
    from tacit.cli.commands import built_in
    from tacit.cli.main import parser

    words = shlex.split(text, comments=True)[1:]
    if any(re.fullmatch(r"[A-Z]+|<.*>|\.\.\.", word) for word in words):  # stands for something: RUN, FILE, N
        words = ["1" if word == "N" else word for word in words]
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            arguments = parser().parse_args(words)
    except SystemExit as stop:
        incomplete = len(words) <= 2 and "required" in said.getvalue()  # a command's name alone, in prose
        return None if stop.code == 0 or incomplete else said.getvalue().strip().split("\n")[-1]
    plan = getattr(arguments, "plan", None)
    if plan is None or plan in built_in() or re.fullmatch(r"[A-Z]+|plan\.toml", plan) or (ROOT / plan).is_file():
        return None
    return f"there is no plan {plan!r}"


def toml(text: str) -> str | None:
    """Why a text is neither a plan, nor a mapping, nor a change to the storefront plan; or None."""
    from tacit.cli.commands import plan_of
    from tacit.core.values import DataError, PlanError
    from tacit.data.tabular_mapping import parse_mapping
    from tacit.federation.vocabulary import parse_plan

    try:
        part = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return f"not TOML: {error}"
    if "kind" not in part and {"numeric", "categorical", "label"} & set(part):
        try:
            parse_mapping(text)
        except DataError as error:
            return str(error)
        return None
    import tomli_w

    whole = tomllib.loads(plan_of("storefront").toml())
    for candidate in (text, tomli_w.dumps({key: value for key, value in whole.items() if key != "also"} | part)):
        try:
            parse_plan(candidate)
        except PlanError as error:
            why = str(error)
        else:
            return None
    return why


def examples() -> Iterator[tuple[Path, str]]:
    """Example files that are no plan or mapping, or differ from the built-in plan of their name."""
    from tacit.cli.commands import built_in, plan_of
    from tacit.federation.vocabulary import read_plan

    for path in sorted((ROOT / "examples").glob("*.toml")):
        if (why := toml(path.read_text("utf-8"))) is not None:
            yield path, why
        elif path.stem in built_in() and read_plan(path).digest() != plan_of(path.stem).digest():
            yield path, f"it is not the same plan as the built-in {path.stem!r}: copy it from tacit/cli/plans"
    for path in sorted((ROOT / "examples").glob("*.py")):
        compile(path.read_text("utf-8"), str(path), "exec")


def python(block: Block, run: bool) -> str | None:
    """Why a block does not compile or run, or None."""
    try:
        compile(block.text, "block", "exec")
    except SyntaxError as error:
        return f"Python does not take line {block.line + (error.lineno or 1) - 1}: {error.msg}"
    if not run or "no-run" in block.info:
        return None
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        path = Path("block.py")
        path.write_text(block.text, "utf-8")
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                names = runpy.run_path(str(path))
        except Exception as error:
            return f"it raises {type(error).__name__}: {error}"
    for value in names.values():  # components of docs/extend.md can be built without arguments
        if isinstance(value, type) and value.__module__ == "<run_path>":
            value()
    return None


def main() -> int:
    """Print what is wrong, one line each; 1 if anything is."""
    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp()  # runs of blocks sign with a key of their own
    sys.path.insert(0, str(ROOT))
    wrong = []
    for path in documents():
        name = path.relative_to(ROOT).as_posix()
        found, prose = blocks(path.read_text("utf-8"))
        wrong += [f"{name}:{line}: {why}" for line, why in (*links(path, prose), *commands(found, prose))]
        for block in found:
            kind, why = block.info.split(" ")[0], None
            if kind == "toml":
                why = toml(block.text)
            elif kind == "python":
                why = python(block, name in RUN)
            if why is not None:
                wrong.append(f"{name}:{block.line}: {why}")
    wrong += [f"{path.relative_to(ROOT).as_posix()}:1: {why}" for path, why in examples()]
    print("\n".join(wrong) if wrong else f"{len(documents())} documents and the examples are in order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
