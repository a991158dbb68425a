"""The architecture of docs/architecture.md, checked on the imports, those under TYPE_CHECKING and in functions too."""

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("n3d_core", "n3d_ros", "training", "bench", "tools/environment")


def modules(package):
    """Module name -> file of a package."""
    files = [path for path in sorted((ROOT / package).rglob("*.py")) if "__pycache__" not in path.parts]
    if package.startswith("tools"):
        return {path.stem: path for path in files}
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(path):
    """Every module that a file imports, anywhere in it; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def graph(package):
    """Module -> the modules of its own package that it imports, not counting packages' own __init__."""
    known = modules(package)
    packages = {name for name, path in known.items() if path.name == "__init__.py"}
    return {
        name: {m for m in imports(path) if m in known and m != name and m not in packages}
        for name, path in known.items()
    }


def cycle(edges):
    """One circle of imports, empty if there is none."""
    done, trail = set(), []

    def visit(node):
        if node in trail:
            return trail[trail.index(node) :]
        if node in done:
            return []
        trail.append(node)
        found = next((c for m in sorted(edges[node]) if (c := visit(m))), [])
        trail.pop()
        done.add(node)
        return found

    return next((found for node in sorted(edges) if (found := visit(node))), [])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package):
    assert cycle(graph(package)) == []


@pytest.mark.parametrize("package", ["n3d_core", "n3d_ros", "training"])
def test_no_two_modules_of_a_package_have_one_name(package):
    counts = Counter(
        name.rpartition(".")[2] for name, path in modules(package).items() if not path.name.startswith("__")
    )
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("package", ["n3d_core", "n3d_ros", "training"])
def test_no_two_classes_of_a_package_have_one_name(package):
    trees = [ast.parse(path.read_text()) for path in modules(package).values()]
    counts = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("n3d_core", {"n3d_ros", "training", "bench", "test", "rclpy", "sensor_msgs", "std_msgs", "vision_msgs"}),
        ("n3d_ros", {"training", "bench", "test"}),
        ("training", {"n3d_ros", "bench", "test", "rclpy"}),
    ],
)
def test_imports_point_downwards_between_packages(package, forbidden):
    wrong = {
        (name, m) for name, path in modules(package).items() for m in imports(path) if m.split(".")[0] in forbidden
    }
    assert wrong == set()


# Each room may import those that stand before it; a row is one floor, whose rooms do not know each other.
FLOORS = [
    {"errors", "atomic_write"},
    {"geometry", "network"},
    {"depth", "reasoning", "backends", "language"},
    {"decoding", "messages", "memory", "display"},
    {"n3d", "view", "recordings"},
    {"cli"},
]


def test_rooms_of_the_core_import_only_lower_floors():
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    upward = defaultdict(set)
    for name, path in modules("n3d_core").items():
        room = name.split(".")[1] if "." in name else ""
        for m in imports(path):
            other = m.split(".")[1] if m.startswith("n3d_core.") else ""
            if room in floor and other in floor and floor[other] > floor[room]:
                upward[name].add(m)
    assert dict(upward) == {}
