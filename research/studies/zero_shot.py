"""Testing trained students on classes that are named when they are tested."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lfi.config_files import tools_root
from lfi.utils import markdown

from .launcher import Launcher
from .settings_digest import fix_roots
from .tool_output import tool_output


def zero_shot_metrics(config: str, checkpoint: str, folder: Path) -> dict:
    """A checkpoint's metrics, with classes that are named when it is tested; the prompts are printed.

    Args:
        config: its path; `predict_by` names the classes.
        checkpoint: of the student.
        folder: for logs and metrics.

    Returns:
        `config`, `checkpoint` and `metrics`.

    Raises:
        UsageError: if the test fails.
    """
    fix_roots()
    out = folder / 'metrics.json'
    command = Launcher().command('test', str(Path(config).resolve()), folder, _resolved(checkpoint))
    command += ['--out', str(out), '--out-item', 'metrics']
    for line in tool_output(command, 'test.py', cwd=tools_root()):
        if 'Zero-shot prompts' in line:
            print(line[line.index('Zero-shot') :], end='', flush=True)
    return dict(config=config, checkpoint=checkpoint, metrics=json.loads(out.read_text()))


def _resolved(checkpoint: str) -> str:
    """A checkpoint's path from any folder; what lies elsewhere, as on the Hub, stays as it is named."""
    return checkpoint if '://' in checkpoint else str(Path(checkpoint).expanduser().resolve())


def zero_shot_table(results: Sequence[dict]) -> str:
    """What `zero_shot_metrics` has found as Markdown, one row a checkpoint."""
    ends = ['domain/mean', 'domain/worst']
    found = dict.fromkeys(name for result in results for name in result['metrics'])
    domains = [name for name in found if name.startswith('domain/') and name not in ends]
    # A data set without domains has its own metrics.
    names = [*domains, *ends] if domains else list(found)
    titles = ['config', 'checkpoint', *(name.removeprefix('domain/') for name in names)]
    lines = []
    for result in results:
        values = [f'{result["metrics"][name]:.1f}' if name in result['metrics'] else '–' for name in names]
        lines.append([Path(result['config']).stem, result['checkpoint'], *values])
    return markdown.table(titles, lines)
