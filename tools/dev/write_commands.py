"""Write docs/commands.md: all commands with their arguments, from the parsers.

python -m tools.dev.write_commands
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from lfi.cli.arguments import ArgumentParser
from lfi.cli.main import GROUPS, module_of, parser_of, summary
from lfi.utils import markdown

PAGE = Path(__file__).resolve().parents[2] / 'docs/commands.md'
HEAD = """# Commands

`lfi` works in any folder; `lfi COMMAND --help` prints what this page has. A CONFIG is a file, or the
name of one of LFI's configs, such as `lfi_vit-128x6-p8_shapes`. `eval "$(lfi completion bash)"`
completes commands, options and configs with the tab key, in zsh too.

As a module, `lfi` is `python -P -m lfi` (Python 3.11 and later). Without `-P`, Python runs a `torch.py`
or `lfi.py` of the current folder, which may be a stranger's.

Some commands are also scripts at OpenMMLab's paths: `tools/train.py`, `tools/test.py`,
`tools/misc/print_config.py`, `tools/analysis_tools/benchmark.py` and
`tools/model_converters/publish_model.py`. `tools/dist_train.sh CONFIG 8` starts eight processes, and
`tools/slurm_train.sh` a Slurm job; `dist_test.sh`, `slurm_test.sh` and `dist_cache_teacher.sh` are
beside them. In an installed package, `lfi --help` prints their folder.
"""


def page() -> str:
    """Return the text of the page."""
    names = [name for group in GROUPS.values() for name in group]
    rows = [[f'[`lfi {name}`](#lfi-{name})', summary(name)] for name in names]
    parts = [HEAD, markdown.table(['command', 'effect'], rows)]
    return '\n'.join([*parts, *(section(name) for name in names)]) + '\n'


def section(command: str) -> str:
    """Return the title, the description and the tables of arguments of a command."""
    parser = parser_of(command)
    first, _, rest = (module_of(command).__doc__ or '').strip().partition('\n\n')
    parts = [f'\n## lfi {command}\n', first, f'\n```text\n{rest.strip()}\n```' if rest else '']
    seen: set[str] = set()
    parts += table(parser, seen)
    for value, add in dict(parser.variants).items():
        variant = ArgumentParser(prog=parser.prog, add_help=False)
        add(variant)
        rows = table(variant, seen)
        if rows:
            option = parser.chooser._actions[0].option_strings[0]
            parts += [f'\nWith `{option}{"" if value is True else f" {value}"}`:' if value else '', *rows]
    return '\n'.join(parts)


def table(parser: ArgumentParser, seen: set[str]) -> list[str]:
    """Return the table of the arguments that are not yet `seen`; empty without any."""
    rows = [row for row in arguments(parser) if str(row) not in seen]
    seen.update(map(str, rows))
    return ['', markdown.table(['argument', 'meaning'], rows)] if rows else []


def arguments(parser: ArgumentParser) -> Iterator[list[str]]:
    """Yield the name and the meaning of each argument."""
    for action in parser._actions:
        if action.help in (None, argparse.SUPPRESS) or 'help' in action.dest:
            continue
        formatter = parser._get_formatter()
        values = '' if action.nargs == 0 else formatter._format_args(action, default_metavar(action))
        name = ' '.join(filter(None, [*action.option_strings[:1], values]))
        # Markdown would take a tag as HTML, and two asterisks as emphasis.
        meaning = re.sub(r'([<*])', r'\\\1', formatter._expand_help(action))
        yield [text.replace('|', r'\|') for text in (f'`{name}`', meaning)]


def default_metavar(action: argparse.Action) -> str:
    """Return the name of an argument's value."""
    if action.choices is not None:
        return '{' + ','.join(map(str, action.choices)) + '}'
    return action.dest.upper() if action.option_strings else action.dest


if __name__ == '__main__':
    PAGE.write_text(page())
