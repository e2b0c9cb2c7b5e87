"""Imports go down only: between the rooms, and between what stands in a room.

Imports within functions and for types alone count like any other.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up; rooms of one floor do not import each other.
FLOORS = {
    "qnn": (
        ("errors",),
        ("registry",),
        ("numerics",),
        ("features",),
        ("losses", "networks"),
        ("certificates", "semidefinite"),
        ("quantization",),
        ("training", "robustness", "moments"),
    ),
    "pipeline": (
        ("logs",),
        ("configuration",),
        ("datasets", "results"),
        ("plans", "reports"),
        ("sweeps", "tracking"),
        ("studies",),
        ("retraining",),
        ("commands",),
        ("__main__",),
    ),
}
MOST = 12

Arrow = tuple[str, str]


def modules(root: Path) -> dict[str, Path]:
    paths = (path for top in FLOORS for path in (root / top).rglob("*.py"))
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def arrows(root: Path) -> set[Arrow]:
    """Which module imports which."""
    known, found = modules(root), set()
    for name, path in known.items():
        for whole, module in imports(path.read_text(encoding="utf-8")):
            target = whole if whole in known else module
            found |= {(name, target)} if target in known and target != name else set()
    return found


@cache
def imports(text: str) -> tuple[tuple[str, str], ...]:
    """What a module's text imports: each name with its place, and the place."""
    found: list[tuple[str, str]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{node.module}: a relative import"
            found += [(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names]
    return tuple(found)


def upward(root: Path) -> list[str]:
    """Arrows that go up, or to the side, between the rooms of a package."""
    found = []
    for name, target in sorted(arrows(root)):
        (top, *rest), (other, *beyond) = name.split("."), target.split(".")
        if not rest or not beyond or rest[0] == beyond[0]:
            continue
        if top != other:
            bad = top == "qnn"
        else:
            floor = {room: k for k, rooms in enumerate(FLOORS[top]) for room in rooms}
            bad = floor[beyond[0]] >= floor[rest[0]]
        if bad:
            found.append(f"{name} -> {target}")
    return found


def folders(root: Path) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """Each folder, with the imports between what stands in it: modules and folders; its face."""
    found = arrows(root)
    for folder in [name for name, path in modules(root).items() if path.name == "__init__.py"]:
        graph: dict[str, set[str]] = {}
        for arrow in found:
            if all(f"{name}.".startswith(f"{folder}.") for name in arrow):
                name, target = ((f"{one}.").split(".")[folder.count(".") + 1] for one in arrow)
                if name != target:
                    graph.setdefault(name, set()).add(target)
        yield folder, graph


def circles(root: Path) -> list[str]:
    found = []
    for folder, graph in folders(root):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            found.append(f"{folder}: {' <- '.join(error.args[1])}")
    return found


def test_imports_go_down_only() -> None:
    assert upward(ROOT) == []


def test_no_circles_within_a_room() -> None:
    assert circles(ROOT) == []


def test_rooms_are_known_and_not_crowded() -> None:
    for top, floors in FLOORS.items():
        known = {room for rooms in floors for room in rooms}
        there = {path.stem for path in (ROOT / top).iterdir() if "__pycache__" not in path.name}
        assert there - {"__init__"} <= known
    for folder in {path.parent for path in modules(ROOT).values()}:
        listed = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(listed) <= MOST, folder


def test_the_trusted_kernel_sees_arithmetic_and_losses_alone() -> None:
    seen = {target for name, target in arrows(ROOT) if name.startswith("qnn.certificates")}
    rooms = {".".join(target.split(".")[:2]) for target in seen}
    assert rooms <= {"qnn.certificates", "qnn.numerics", "qnn.losses", "qnn.errors"}


@pytest.mark.parametrize(
    ("room", "line", "said"),
    [
        ("qnn/losses/made_up.py", "import qnn.training.fit", "qnn.losses.made_up -> qnn.training"),
        (
            "qnn/certificates/made_up.py",
            "def f():\n    from qnn.training import fit",
            "qnn.certificates.made_up -> qnn.training.fit",
        ),
        (
            "pipeline/plans/made_up.py",
            "import typing\nif typing.TYPE_CHECKING:\n    import pipeline.sweeps.driver",
            "pipeline.plans.made_up -> pipeline.sweeps.driver",
        ),
        ("qnn/features/made_up.py", "import pipeline.logs", "qnn.features.made_up -> pipeline"),
    ],
)
def test_a_new_upward_import_is_seen(tmp_path: Path, room: str, line: str, said: str) -> None:
    for path in modules(ROOT).values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    before = upward(tmp_path)
    (tmp_path / room).write_text(line, encoding="utf-8")
    (new,) = set(upward(tmp_path)) - set(before)
    assert new.startswith(said)


def test_the_readme_maps_every_room_and_counts_the_trusted_lines() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for top, floors in FLOORS.items():
        for path in sorted((ROOT / top).glob("*/__init__.py")):
            assert f"`{top}/{path.parent.name}/" in text
        assert floors
    stated = re.search(r"are the ([\d,]+) of `qnn/certificates/`, with the ([\d,]+) of", text)
    assert stated is not None
    inside, beneath = (int(number.replace(",", "")) for number in stated.groups())
    known, every = modules(ROOT), arrows(ROOT)
    # Losses are found by their files' names, so no import says which.
    seen = {name for name in known if name.startswith(("qnn.certificates", "qnn.losses"))}
    while new := {target for name, target in every if name in seen} - seen:
        seen |= new
    lines = {name: len(known[name].read_text(encoding="utf-8").splitlines()) for name in seen}
    kernel = sum(size for name, size in lines.items() if name.startswith("qnn.certificates"))
    assert abs(inside - kernel) <= 0.05 * kernel, kernel
    imported = sum(lines.values()) - kernel
    assert abs(beneath - imported) <= 0.05 * imported, lines


def test_every_room_says_what_it_is_for_and_lists_its_names() -> None:
    known = modules(ROOT)
    for name, path in known.items():
        if path.name == "__init__.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert ast.get_docstring(tree), name
            listed = [
                ast.literal_eval(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            ]
            assert listed, name
            room = importlib.import_module(name)
            for one in listed[0]:
                assert f"{name}.{one}" in known or getattr(room, one) is not None
