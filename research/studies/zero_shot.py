"""Zero-shot tests of trained students on classes that a config names."""

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
    """Test a checkpoint zero-shot, and print the prompts.

    Args:
        config: path of the config, whose `predict_by` names the classes.
        checkpoint: path or address of the student's checkpoint.
        folder: folder of logs and metrics.

    Returns:
        A dict with `config`, `checkpoint` and `metrics`.

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
    """Make the path of a checkpoint absolute; addresses, such as of the Hub, are unchanged."""
    return checkpoint if '://' in checkpoint else str(Path(checkpoint).expanduser().resolve())


def zero_shot_table(results: Sequence[dict]) -> str:
    """Table of the results of `zero_shot_metrics`, one row per checkpoint, as Markdown."""
    summaries = ['domain/mean', 'domain/worst']
    metrics = dict.fromkeys(name for result in results for name in result['metrics'])
    domains = [name for name in metrics if name.startswith('domain/') and name not in summaries]
    # Data sets without domains have other metrics.
    names = [*domains, *summaries] if domains else list(metrics)
    titles = ['config', 'checkpoint', *(name.removeprefix('domain/') for name in names)]
    lines = []
    for result in results:
        values = [f'{result["metrics"][name]:.1f}' if name in result['metrics'] else '–' for name in names]
        lines.append([Path(result['config']).stem, result['checkpoint'], *values])
    return markdown.table(titles, lines)
