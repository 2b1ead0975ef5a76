"""The pages of the API: what each package exports, read from the sources, which are not imported.

A name stands in the shortest package whose `__all__` has it. Docstrings are Markdown with Google's sections.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

PROJECTS = Path(__file__).parents[2] / 'projects'
SECTION = re.compile(r'^(Args|Returns|Yields|Raises|Examples?|Note):\n((?:(?: +.*)?(?:\n|$))+)', re.M)
ENTRY = re.compile(r'^(\**[\w.]+(?:, \**[\w.]+)*): *', re.M)
Named = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign | ast.Module


@dataclass(frozen=True)
class Source:
    """A module, or a package by its `__init__.py`."""

    name: str
    path: Path

    @property
    def package(self) -> str:
        return self.name if self.path.name == '__init__.py' else self.name.rpartition('.')[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def source(name: str) -> Source | None:
    path = PROJECTS.joinpath(*name.split('.'))
    found = [file for file in (path / '__init__.py', path.with_suffix('.py')) if file.is_file()]
    return Source(name, found[0]) if found else None


def lazy_names(module: ast.Module) -> dict[str, str]:
    """The names that `lfi.utils.lazy_names` finds, with the module of each."""
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith('lazy_names('):
            table = ast.literal_eval(node.value.args[1])
            return {name: of for of, names in table.items() for name in names}
    return {}


def exported(package: Source) -> list[str]:
    """What `__all__` has."""
    module = parsed(package.path)
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name | ast.Tuple):
            names = [target.id for target in ast.walk(node.targets[0]) if isinstance(target, ast.Name)]
            if '__all__' in names:
                return sorted(lazy_names(module) if len(names) > 1 else ast.literal_eval(node.value))
    return []


def definition(of: Source, name: str) -> tuple[Source, Named]:
    """Where a name is defined, and the statement that does it.

    Raises:
        LookupError: If no statement does.
    """
    module = parsed(of.path)
    for node in module.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return of, node
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return of, node
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    parts = of.package.split('.')
                    base = parts[: len(parts) - node.level + 1] if node.level else []
                    if node.module is None:
                        whole = source('.'.join([*base, name]))
                        return whole, parsed(whole.path)
                    return imported('.'.join([*base, *filter(None, [node.module])]), alias.name)
    if name in lazy_names(module):
        return imported(f'{of.package}.{lazy_names(module)[name]}', name)
    raise LookupError(f'{of.name} does not define {name}')


def imported(module: str, name: str) -> tuple[Source, Named]:
    """What `from module import name` gives."""
    found = source(module)
    if found is None:
        raise LookupError(f'{module} is not a module of this package')
    return definition(found, name)


def pages() -> dict[str, str]:
    """The text of each page, by the name of its package."""
    files = sorted(PROJECTS.glob('lfi/**/__init__.py'), key=lambda file: (len(file.parts), file))
    seen: set[tuple[str, str]] = set()
    found = {}
    for file in files:
        folders = file.relative_to(PROJECTS).parts[:-1]
        if folders[1:2] in (('.mim',), ('configs',)):
            # Links and copies that packaging makes.
            continue
        package = Source('.'.join(folders), file)
        objects = {}
        for name in exported(package):
            of, node = definition(package, name)
            if (of.name, name) not in seen:
                seen.add((of.name, name))
                objects[name] = node
        if objects:
            found[package.name] = page(package, objects)
    return found


def page(package: Source, objects: dict[str, Named]) -> str:
    about = markdown(ast.get_docstring(parsed(package.path)) or '')
    rows = [f'| {{py:obj}}`{name}` | {summary(node)} |' for name, node in objects.items()]
    table = ['| name | |', '| --- | --- |', *rows]
    entries = [entry(name, node) for name, node in objects.items()]
    head = [f'# {package.name}', about, f'```{{py:module}} {package.name}\n```', '\n'.join(table)]
    return '\n\n'.join([*head, *entries]) + '\n'


def summary(node: Named) -> str:
    """The first line of a docstring, for a cell of a table."""
    return docstring(node).partition('\n')[0].replace('|', r'\|')


def docstring(node: Named) -> str:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
        return ast.get_docstring(node) or ''
    return f'`{ast.unparse(node.value)}`' if node.value is not None else ''


def entry(name: str, node: Named) -> str:
    if isinstance(node, ast.ClassDef):
        bases = [ast.unparse(base) for base in node.bases]
        text = [f'*Bases:* {", ".join(f"`{base}`" for base in bases)}'] if bases else []
        text += [markdown(docstring(node)), *members(node)]
        return directive('py:class', name + class_arguments(node), '\n\n'.join(text))
    if isinstance(node, ast.FunctionDef):
        return directive('py:function', name + signature(node), markdown(docstring(node)))
    return directive('py:data', name, markdown(docstring(node)))


def members(node: ast.ClassDef) -> Iterator[str]:
    """The public methods and properties that a class defines and describes."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name[0] != '_' and docstring(method):
            marks = {ast.unparse(decorator) for decorator in method.decorator_list}
            text = markdown(docstring(method))
            if marks & {'property', 'cached_property', 'functools.cached_property'}:
                of = f':type: {ast.unparse(method.returns)}\n' if method.returns else ''
                yield directive('py:property', method.name, text, of, ticks=5)
                continue
            kinds = ''.join(f':{mark}:\n' for mark in sorted(marks & {'classmethod', 'staticmethod'}))
            bound = 'staticmethod' not in marks
            call = method.name + signature(method, bound)
            yield directive('py:method', call, text, kinds, ticks=5)


def class_arguments(node: ast.ClassDef) -> str:
    """Those of `__init__`, or a dataclass's fields."""
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and method.name == '__init__':
            return signature(method, bound=True, returns=False)
    if any(ast.unparse(decorator).startswith('dataclass') for decorator in node.decorator_list):
        fields = [field for field in node.body if isinstance(field, ast.AnnAssign)]
        return f'({", ".join(map(ast.unparse, fields))})'
    return ''


def signature(node: ast.FunctionDef, bound: bool = False, returns: bool = True) -> str:
    arguments = ast.unparse(node.args)
    if bound:
        arguments = re.sub(r'^(self|cls)(, )?', '', arguments)
    return f'({arguments})' + (f' -> {ast.unparse(node.returns)}' if returns and node.returns else '')


def directive(kind: str, argument: str, text: str, options: str = '', ticks: int = 6) -> str:
    fence = '`' * ticks
    return f'{fence}{{{kind}}} {argument}\n{options}\n{text}\n{fence}'


def markdown(text: str) -> str:
    """A docstring, its sections as fields."""
    return SECTION.sub(section, text).strip()


def section(match: re.Match) -> str:
    title, body = match[1], dedent(match[2]).strip('\n')
    if title in ('Returns', 'Yields', 'Note'):
        return field(title.lower(), body)
    if title.startswith('Example'):
        return f'```pycon\n{body}\n```\n' if body.startswith('>>>') else f'{body}\n'
    role = {'Args': 'param', 'Raises': 'raises'}[title]
    parts = ENTRY.split(body)
    return ''.join(
        field(f'{role} {name}'.replace('*', r'\*'), text) for name, text in zip(parts[1::2], parts[2::2])
    )


def field(name: str, text: str) -> str:
    lines = inspect.cleandoc(text).splitlines() or ['']
    return '\n'.join([f':{name}: {lines[0]}', *(f'    {line}'.rstrip() for line in lines[1:])]) + '\n'


def write(folder: Path) -> None:
    """Write the pages and their index, and remove those of packages that are gone."""
    texts = {f'{name}.md': text for name, text in pages().items()}
    rows = [f'- [{name[:-3]}]({name}): {text.splitlines()[2]}' for name, text in texts.items()]
    tree = ['```{toctree}', ':hidden:', '', *(name[:-3] for name in texts), '```']
    texts['index.md'] = '\n'.join(['# API', '', 'What each package exports.', '', *rows, '', *tree, ''])
    folder.mkdir(exist_ok=True)
    for old in set(folder.glob('*.md')) - {folder / name for name in texts}:
        old.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)
