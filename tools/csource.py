# SPDX-License-Identifier: Apache-2.0
"""What the check scripts know of C: which files there are, source without
comments and strings, and where functions begin and end."""
import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE_FOLDERS = ("src", "include", "guest", "tests", "bench")
BLANKED = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.M)


def files(folders, suffixes):
    """Paths relative to the root, sorted."""
    found = []
    for folder in folders:
        for base, names, leaves in os.walk(ROOT / folder):
            names[:] = [n for n in names if n not in ("__pycache__",)]
            found += [Path(base, leaf).relative_to(ROOT) for leaf in leaves
                      if Path(leaf).suffix in suffixes]
    return sorted(found)


def tree():
    """Every file of the tree that is not built or fetched."""
    found = []
    for base, names, leaves in os.walk(ROOT):
        names[:] = [n for n in names
                    if n not in (".git", ".cache", "__pycache__")
                    and not (n.startswith("build") and Path(base) == ROOT)]
        found += [Path(base, leaf).relative_to(ROOT) for leaf in leaves]
    return sorted(p for p in found if p.suffix not in (".o", ".pyc", ".log"))


def read(path):
    return (ROOT / path).read_text(errors="replace")


def _blank(match):
    """Same length and lines, nothing in it; literals keep their quotes."""
    text = match.group(0)
    keep = text[0] if text[0] in "\"'" else ""
    body = re.sub(r"[^\n]", " ", text)
    return keep + body[1:-1] + keep if keep else body


def without_comments(text):
    return BLANKED.sub(_blank, text)


def without_directives(text):
    return DIRECTIVE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


class Function:
    """Lines of the body between the braces, deepest brace, parameters."""

    def __init__(self, name, line, params):
        self.name = name
        self.line = line
        self.params = params
        self.lines = 0
        self.depth = 1


HEAD = re.compile(r"([A-Za-z_]\w*)\s*\(")


def _head_of(text):
    """Name and parameter count of the function whose brace opens after text,
    or None where the brace is an initializer or a type."""
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)", "", text, flags=re.S).strip()
    if not text.endswith(")") or "=" in text.split("(")[0]:
        return None
    match = HEAD.search(text)
    if not match:
        return None
    params = text[match.end():-1]
    params = re.sub(r"\([^()]*\)", "", params)
    count = 0 if params.strip() in ("", "void") else params.count(",") + 1
    return match.group(1), count


def _initializer(code, at):
    before = code[max(0, at - 200):at].rstrip()
    return before.endswith(("=", ",", "{", ")")) and not re.search(
        r"\b(if|for|while|switch)\b[^;{}]*$|\)$", before) \
        or bool(re.search(r"\(\s*(const\s+)?(struct\s+)?\w+\s*(\[\w*\])?\s*\)$",
                          before) and not re.search(
                              r"\b(if|for|while|switch)\b[^;{}]*$", before))


def functions(text):
    code = without_directives(without_comments(text))
    found, depth, start = [], 0, 0
    current = None
    skipped = []
    for match in re.finditer(r"[{};]", code):
        at, char = match.start(), match.group(0)
        if char == "{":
            if depth == 0:
                head = _head_of(code[start:at])
                current = head and Function(
                    head[0], code.count("\n", 0, at) + 1, head[1])
            plain = depth > 0 and _initializer(code, at)
            skipped.append(plain)
            depth += 1
            if current and not plain:
                real = depth - sum(skipped)
                current.depth = max(current.depth, real)
        elif char == "}":
            depth = max(0, depth - 1)
            if skipped:
                skipped.pop()
            if depth == 0:
                if current:
                    end = code.count("\n", 0, at) + 1
                    current.lines = max(0, end - current.line - 1)
                    found.append(current)
                current = None
                start = at + 1
        elif depth == 0:
            start = at + 1
    return found


def declarations(text):
    """(line, text) of what ends with a semicolon outside of braces."""
    code = without_directives(without_comments(text))
    depth, start = 0, 0
    for match in re.finditer(r"[{};]", code):
        at, char = match.start(), match.group(0)
        if char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                # After a body; a type or an initializer goes on to its ";".
                rest = code[at + 1:at + 80].lstrip()
                start = at + 1
                if rest[:1] in (";", ",", "["):
                    continue
        elif depth == 0:
            piece = code[start:at]
            line = code.count("\n", 0, start + len(piece)
                              - len(piece.lstrip())) + 1
            yield line, piece.strip()
            start = at + 1


def exceptions(kinds):
    """tools/budget-exceptions: kind, what, limit, reason."""
    found = {}
    for line in read("tools/budget-exceptions").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        kind, what, limit, *reason = line.split()
        if not reason:
            raise SystemExit(f"budget-exceptions: no reason: {line}")
        if kind in kinds:
            found[kind, what] = int(limit) if limit.isdigit() else limit
    return found
