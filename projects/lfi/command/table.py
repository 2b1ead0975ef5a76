"""The commands of `lfi`, and what each is for."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

from lfi.config_files import tools_root

GROUPS = {
    'Begin': ('adapt', 'doctor', 'completion'),
    'Train and test': ('train', 'pretrain', 'test', 'print-config'),
    'Teachers': ('ask', 'teachers', 'eval-teacher', 'cache'),
    'Ask a trained model': ('infer', 'demo'),
    'Label images': ('pseudo-label', 'eval-pseudo-labels'),
    'Export': ('export', 'export-onnx', 'export-tensorrt', 'benchmark', 'publish', 'convert'),
}
"""All commands, in the order of the help."""
SCRIPTS = {
    'ask': 'ask_teacher.py',
    'benchmark': 'analysis_tools/benchmark.py',
    'cache': 'cache_teacher.py',
    'convert': 'model_converters/vit_to_lfi.py',
    'demo': 'demo.py',
    'eval-pseudo-labels': 'eval_pseudo_labels.py',
    'eval-teacher': 'eval_teacher.py',
    'export': 'model_converters/export_student.py',
    'export-onnx': 'model_converters/export_onnx.py',
    'export-tensorrt': 'model_converters/onnx_to_tensorrt.py',
    'infer': 'infer.py',
    'pretrain': 'pretrain.py',
    'print-config': 'misc/print_config.py',
    'pseudo-label': 'pseudo_label.py',
    'publish': 'model_converters/publish_model.py',
    'teachers': 'list_teachers.py',
    'test': 'test.py',
    'train': 'train.py',
}
"""The script of `tools/` that a command runs."""
OWN = {
    'adapt': 'lfi.command.adapt',
    'completion': 'lfi.command.completion',
    'doctor': 'lfi.command.doctor',
}
"""The module of a command that is no tool."""


def commands() -> list[str]:
    """The names of all commands."""
    return sorted({**SCRIPTS, **OWN})


def script_of(command: str) -> Path:
    """The script that a command runs, in a clone or where a wheel has put it."""
    return tools_root() / 'tools' / SCRIPTS[command]


def about(command: str) -> str:
    """The first line of what is written in a command's file, which is not imported."""
    spec = find_spec(OWN[command]) if command in OWN else None
    file = Path(spec.origin) if spec and spec.origin else script_of(command)
    text = ast.get_docstring(ast.parse(file.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0].removesuffix('.')


def overview() -> str:
    """The help of `lfi`: all commands in their groups, with a line each."""
    width = max(map(len, commands()))
    lines = ['usage: lfi COMMAND [ARGUMENTS ...]', '       lfi COMMAND --help', '       lfi --version']
    for title, names in GROUPS.items():
        lines += ['', f'{title}:', *(f'  {name.ljust(width)}  {about(name)}' for name in names)]
    folder = tools_root() / 'tools'
    lines += [
        '',
        "A CONFIG is a file, or the name of one of LFI's: lfi train lfi_vit-tiny_shapes",
        f'Several GPUs: {folder}/dist_train.sh CONFIG 8; dist_test.sh, dist_cache_teacher.sh and slurm_*.sh '
        'lie beside it',
    ]
    return '\n'.join(lines)
