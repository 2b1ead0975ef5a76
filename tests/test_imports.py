"""Which parts of the package may import which: arrows run from a higher floor to a lower one."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import lfi
import pytest

PACKAGE = Path(lfi.__file__).parent
FLOORS = (
    {'errors', 'ops', 'version'},
    {'utils'},
    {'config_files', 'registry'},
    {'concepts', 'structures', 'student_folder', 'unreadable'},
    {'datasets'},
    {'models.backbones', 'models.losses', 'models.teachers'},
    {'models.adapters', 'models.batches', 'models.readout'},
    {'models.supervision'},
    {'models.controls'},
    {'models.students'},
    {'models'},
    {'engine'},
    {'export', 'visualization'},
    {'evaluation'},
    {'adaptation', 'safe_loading'},
    {'new_config'},
    {'hub'},
    {'apis'},
    {'pseudo_labels'},
    {'cli'},
    {'__main__', 'lfi'},
)
"""The parts of the package, from the ground up. A part imports nothing from its own floor or above."""
APART = [
    ('models', 'datasets'),
    ('models', 'engine'),
    ('models', 'config_files'),
]
"""Parts that know nothing of another, though it lies below."""


def part_of(names: list[str]) -> str:
    """The part that a module belongs to, by its names below `lfi`."""
    return '.'.join(names[: 2 if names[:1] == ['models'] else 1]) or 'lfi'


def imported_parts(path: Path, package: Path = PACKAGE) -> Iterator[str]:
    """The parts of the package that a file imports, wherever in the file."""
    yield from map(part_of, imported_modules(path, package))


def imported_modules(path: Path, package: Path = PACKAGE) -> Iterator[list[str]]:
    """The modules of the package that a file imports, by their names below `lfi`."""
    folder = list(path.relative_to(package).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            modules = [alias.name.split('.') for alias in node.names]
            yield from (names[1:] for names in modules if names[0] == 'lfi')
        if isinstance(node, ast.ImportFrom):
            names = node.module.split('.') if node.module else []
            if node.level:
                names = [*folder[: len(folder) - node.level + 1], *names]
            elif names[0] == 'lfi':
                names = names[1:]
            else:
                continue
            for alias in node.names:
                inner = package.joinpath(*names, alias.name)
                is_module = inner.is_dir() or inner.with_suffix('.py').is_file()
                yield [*names, alias.name] if is_module else names


def sources() -> Iterator[tuple[Path, str]]:
    """The files of the package that are written by hand, each with its part."""
    for path in sorted(PACKAGE.rglob('*.py')):
        names = list(path.relative_to(PACKAGE).with_suffix('').parts)
        # What an installation has put there is not the package's own.
        if names[0] not in ('configs', '.mim'):
            yield path, part_of(names[:-1] if names[-1] == '__init__' else names)


def test_imports_run_from_a_higher_floor_to_a_lower_one():
    floor_of = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
    for path, part in sources():
        assert part in floor_of, f'{path}: give {part!r} a floor in {Path(__file__).name}'
        for other in imported_parts(path):
            upwards = part != other and floor_of[part] <= floor_of[other]
            assert not upwards, f'{path} imports {other!r}, which is on no lower floor than {part!r}'


def test_the_package_and_its_tools_import_no_research():
    tools = [path for path in (PACKAGE.parents[1] / 'tools').rglob('*.py') if 'dev' not in path.parts]
    for path in [*(path for path, _ in sources()), *tools]:
        names = {
            name.name if isinstance(node, ast.Import) else node.module or ''
            for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        of_research = {name for name in names if name.partition('.')[0] == 'research'}
        # It begins the quickstart of a clone.
        assert not of_research or path.name == 'quickstart.py', f'{path} imports {of_research}'


def test_no_files_import_one_another():
    graph = {}
    for path, _ in sources():
        names = path.relative_to(PACKAGE).with_suffix('').parts
        own = tuple(names[:-1] if names[-1] == '__init__' else names)
        # A package imports its modules before these can import it.
        graph[own] = {tuple(found) for found in imported_modules(path) if tuple(found) != own}
    list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize(('part', 'other'), APART)
def test_parts_that_know_nothing_of_another(part, other):
    for path, own in sources():
        if own.split('.')[0] == part:
            found = {name.split('.')[0] for name in imported_parts(path)}
            assert other not in found, f'{path} imports {other!r}'


@pytest.mark.parametrize(
    ('statement', 'parts'),
    [
        ('import lfi.engine.launch', ['engine']),
        ('import torch, lfi', ['lfi']),
        ('from lfi import registry', ['registry']),
        ('from lfi.structures.views import tensor_like', ['structures']),
        ('from . import batches, students', ['models.batches', 'models.students']),
        ('from .students import readout', ['models.students']),
        ('from ..engine import launch', ['engine']),
        ('def f():\n    from lfi.datasets import Shapes', ['datasets']),
        ('from torch import nn', []),
    ],
)
def test_every_way_to_import_is_seen(statement, parts, tmp_path):
    for name in ('models/batches.py', 'models/students/readout.py', 'registry.py'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    file = tmp_path / 'models/own.py'
    file.write_text(statement)
    assert list(imported_parts(file, tmp_path)) == parts
