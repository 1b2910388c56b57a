"""The client distribution has the modules that the client and the middleware import, and each of them needs no more."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text("utf-8"))
PACKAGE = "provisioning_pipeline"
REQUIRED = {"cryptography", "httpx2", "jwt", "psycopg", "starlette"}
"""What the four requirements bring to be imported: PyJWT's extra brings cryptography."""
HOOKS = {
    # where it is installed, for a machine without certificates
    (f"{PACKAGE}.clients.http", "certifi"),
    # only pydantic calls this
    (f"{PACKAGE}.model.condition", "pydantic_core"),
}


def packed() -> set[str]:
    """The modules in the wheel."""
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert all(source == f"../{target}" for source, target in included.items())
    targets = [ROOT / target for target in included.values()]
    files = [file for target in targets for file in (target.glob("*") if target.is_dir() else [target])]
    return {module_at(file) for file in files if file.suffix == ".py"}


def module_at(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def file_of(module: str) -> Path | None:
    """Where the module is; None: the last part of the name is no module, but something in one."""
    path = ROOT.joinpath(*module.split("."))
    found = [one for one in (path / "__init__.py", path.with_suffix(".py")) if one.is_file()]
    return found[0] if found else None


def imported(module: str) -> Iterator[str]:
    """What a module imports, also inside of functions; not what it imports for types alone."""
    path = file_of(module)
    assert path is not None, module
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            modules = [name for name in inner if node.module.startswith(PACKAGE) and file_of(name)]
            yield from modules or [node.module]


def closure() -> set[str]:
    """Ours: what both parts import, directly or through each other, with the packages around it."""
    found: set[str] = set()
    ahead = [module_at(path) for part in ("client", "gateway") for path in (ROOT / PACKAGE / part).glob("*.py")]
    while ahead:
        module = ahead.pop()
        if module in found:
            continue
        found.add(module)
        ahead += [name for name in imported(module) if name.split(".")[0] == PACKAGE]
        ahead += [module.rpartition(".")[0]] if "." in module else []
    return found


def test_the_wheel_has_what_both_parts_import_and_nothing_else() -> None:
    assert packed() == closure()


@pytest.mark.parametrize("module", sorted(packed()))
def test_a_module_imports_the_standard_library_the_four_requirements_and_modules_in_the_wheel(module: str) -> None:
    allowed = {*sys.stdlib_module_names, *REQUIRED, PACKAGE, *(name for where, name in HOOKS if where == module)}
    assert {name.split(".")[0] for name in imported(module)} <= allowed


def test_both_distributions_take_the_same_releases_of_what_they_share() -> None:
    program = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = set(PROJECT["project"]["dependencies"])
    shared = {"httpx2", "psycopg", "pyjwt", "starlette"}

    def ranges(requirements: list[str]) -> dict[str, str]:
        split = [one.partition(">=") for one in requirements]
        return {name.partition("[")[0]: bounds for name, _, bounds in split if name.partition("[")[0] in shared}

    assert ranges(sorted(needed)) == ranges(program["dependencies"])
    assert {one.partition(">=")[0].partition("[")[0] for one in needed} == shared
    assert PROJECT["project"]["requires-python"] == program["requires-python"]
