"""Closures and digests on a small package."""

from __future__ import annotations

from pathlib import Path

import pytest

from asma.imports import DATA, LEAVES, Code

ROOT = Path(__file__).resolve().parents[1]
FILES = {
    "asma/__init__.py": "",
    "asma/plan.py": "import json\n",
    "asma/low.py": '"""Low."""\nX = 1\n',
    "asma/mid/__init__.py": "from asma import low\n",
    "asma/mid/row.py": "from asma.mid import low\n",
    "asma/lazy.py": "from importlib import import_module\n",
    "stages/one.py": '"""One."""\nfrom asma import lazy, plan\nimport asma.mid\n',
    "stages/two.py": "from asma.low import X\n",
    "asma/layouts/a.yaml": "joints: 1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_a_closure_has_what_is_imported_and_no_leaves(root: Path) -> None:
    code = Code(root)
    assert code.closure("stages/one.py") == [
        "asma/lazy.py",
        "asma/low.py",
        "asma/mid/__init__.py",
        "stages/one.py",
    ]
    assert code.closure("stages/two.py") == ["asma/low.py", "stages/two.py"]
    assert "asma/mid/row.py" in code.closure("stages/two.py", code.path("asma.mid.row"))
    with pytest.raises(ValueError, match=r"asma\.gone: found no such module"):
        code.path("asma.gone")


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""Low."""\nX = 1\n', '"""Lower.\n\nAnd lower."""\n# a comment\nX  =  (1)\n', True),
        ("def f(x):\n    return x\n", 'def f(x):\n    """Says."""\n\n    return x  # it\n', True),
        ("class A:\n    x = 1\n", 'class A:\n    """Says."""\n    x = 1\n', True),
        ("X = 1\n", "X = 2\n", False),
        ("X = 'a'\n", "X = 'b'\n", False),
        ("def f(x, y=None):\n    return x\n", "def f(x, y):\n    return x\n", False),
        ("X = {'a': 1, **{}}\n", "X = {'a': 1}\n", False),
        ("METHODS = {'a': 'x:A'}\n", "METHODS = {'a': 'x:A', 'b': 'y:B'}\n", True),
        ("X = 1\n", "X = True\n", False),
        ("X = 1\n", "X = 1.0\n", False),
    ],
)
def test_a_digest_is_of_what_code_does_and_not_of_how_it_is_told(
    root: Path, before: str, after: str, same: bool
) -> None:
    found = []
    for text in (before, after):
        (root / "asma" / "low.py").write_text(text)
        found.append(Code(root).digests("stages/two.py"))
    assert (found[0] == found[1]) is same


def test_data_files_count_by_their_bytes(root: Path) -> None:
    before = Code(root).digests("stages/two.py", data=["asma/layouts/a.yaml"])
    assert list(before) == ["asma/layouts/a.yaml", "asma/low.py", "stages/two.py"]
    (root / "asma" / "layouts" / "a.yaml").write_text("joints: 1 # one\n")
    after = Code(root).digests("stages/two.py", data=["asma/layouts/a.yaml"])
    assert [path for path in before if before[path] != after[path]] == ["asma/layouts/a.yaml"]


def test_every_data_file_of_the_package_is_somebodys() -> None:
    known = {"asma/layouts", *(place for places in DATA.values() for place in places)}
    for path in (ROOT / "asma").rglob("*"):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in name:
            assert name.rpartition("/")[0] in known, name


def test_what_the_lists_name_is_there() -> None:
    for place in DATA:
        assert (ROOT / place).is_file(), place
    missing = {name for name in LEAVES if not (ROOT / name).is_file()}
    assert missing <= {"asma/record.py"}
