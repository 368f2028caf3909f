"""Which code of the project a module stands on, as digests that comments and docstrings leave
alone.

The closure is read off the syntax trees, nothing is imported. What a table names by its module's
path (METHODS, BACKBONES) is no import: the plan adds the row that a run uses.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

TOP = ("asma", "demo", "stages")
# How settings are read and runs are recorded: no result depends on them.
LEAVES = frozenset({
    "asma/__init__.py", "asma/cli.py", "asma/grid.py", "asma/imports.py", "asma/mlflow_store.py",
    "asma/params.py", "asma/plan.py", "asma/progress.py", "asma/record.py", "asma/registry.py",
    "asma/streamed.py", "asma/tracking.py", "stages/__init__.py",
})  # fmt: skip
# Where rows stand, each as the path of its class: a new one concerns no run but its own.
TABLES = {"METHODS", "BACKBONES"}
# Data files that modules read, by the module; a folder is every file in it that is no code.
DATA = {
    "asma/data/counts.py": ("asma/data/lists",),
    "asma/data/parse.py": ("asma/data/lists",),
    "asma/report/page.py": ("asma/report",),
    "asma/report/tables.py": ("asma/report",),
}


class Code:
    """The modules below a folder; each is read and parsed once."""

    def __init__(self, root: Path = Path()) -> None:
        self.root = root
        self._needs: dict[str, frozenset[str]] = {}
        self._digests: dict[str, str] = {}

    @cached_property
    def files(self) -> frozenset[str]:
        """Paths of all modules."""
        found = (path for top in TOP for path in (self.root / top).rglob("*.py"))
        return frozenset(path.relative_to(self.root).as_posix() for path in found)

    def path(self, module: str) -> str:
        """The file of a module by its dotted name, `asma.methods.asma`. Raises ValueError."""
        stem = module.replace(".", "/")
        for file in (f"{stem}.py", f"{stem}/__init__.py"):
            if file in self.files:
                return file
        raise ValueError(f"{module}: found no such module below {self.root.resolve()}")

    def imports(self, file: str) -> frozenset[str]:
        """Files of the project that a file imports, with the packages on the way."""
        if file not in self._needs:
            names: set[str] = set()
            for node in ast.walk(self._tree(file)):
                if isinstance(node, ast.Import):
                    names |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
            self._needs[file] = frozenset(self._files(names))
        return self._needs[file]

    def _files(self, names: Iterable[str]) -> Iterator[str]:
        for name in names:
            parts = name.split(".")
            for depth in range(1, len(parts) + 1):
                place = "/".join(parts[:depth])
                yield from {f"{place}.py", f"{place}/__init__.py"} & self.files

    def closure(self, *files: str) -> list[str]:
        """The files that these stand on, themselves included, without LEAVES and empty ones."""
        needed, todo = set(files), [*files]
        while todo:
            new = self.imports(todo.pop()) - needed - LEAVES
            needed |= new
            todo += new
        return sorted(file for file in needed if (self.root / file).stat().st_size)

    def digests(self, *files: str, data: Iterable[str] = ()) -> dict[str, str]:
        """Digest by path of the closure of some modules, of the data files these read, and of
        `data`.
        """
        needed = self.closure(*files)
        places = {place for file in needed for place in DATA.get(file, ())}
        read = {path for place in (*places, *data) for path in self._data(place)}
        return {path: self._digest(path) for path in sorted({*needed, *read})}

    def _data(self, place: str) -> Iterator[str]:
        path = self.root / place
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            if file.is_file() and file.suffix != ".py":
                yield file.relative_to(self.root).as_posix()

    def _digest(self, file: str) -> str:
        if file not in self._digests:
            content = (self.root / file).read_bytes()
            if file.endswith(".py"):
                content = repr(_plain(_what_runs(self._tree(file)))).encode()
            self._digests[file] = hashlib.sha256(content).hexdigest()[:16]
        return self._digests[file]

    def _tree(self, file: str) -> ast.Module:
        return ast.parse((self.root / file).read_text(encoding="utf-8"), file)


def _what_runs(tree: ast.Module) -> ast.Module:
    """A module without docstrings and tables of rows: a plan has the digest of its own row."""
    tree.body = [node for node in tree.body if not (set(_assigned(node)) & TABLES)]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            assert isinstance(body, list)
            if ast.get_docstring(node, clean=False) is not None:
                del body[0]
    return tree


def _assigned(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _plain(node: Any) -> Any:
    """A syntax tree as nested tuples, the same in every version of Python: empty fields are left
    out.
    """
    if isinstance(node, ast.AST):
        fields = ((name, getattr(node, name, None)) for name in node._fields)
        held = tuple((name, _plain(value)) for name, value in fields if value not in (None, []))
        return (type(node).__name__, *held)
    return [_plain(item) for item in node] if isinstance(node, list) else node
