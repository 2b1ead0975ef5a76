"""Domain generalisation of methods against a baseline, with each domain left out in turn."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lfi.errors import UsageError
from lfi.models import Interactions
from lfi.registry import MODELS, resolve_type

from research.studies.job import read_config
from research.studies.presets import Preset, domain_arm, leave_one_out
from research.studies.reproduce import Request, reproduce
from research.studies.zero_shot import zero_shot_metrics, zero_shot_table


def build_study_preset(args: Namespace) -> Preset:
    """Build the study of the configs of a command line.

    Raises:
        UsageError: if the configs train for different numbers of epochs.
    """
    arms, epochs = [], {}
    for path in map(str, map(Path.resolve, map(Path, args.configs))):
        cfg = read_config(path)
        # Only interactions are cached: other supervision asks the teacher about each view.
        cached = args.cache_teacher and learns_interactions(cfg.model)
        arms.append(replace(domain_arm(path, cache='cache' if cached else None), epochs=args.epochs))
        epochs[arms[-1].name] = args.epochs or cfg.train_cfg.max_epochs
    if len(set(epochs.values())) > 1:
        lengths = ', '.join(f'{name} {number}' for name, number in epochs.items())
        raise UsageError(f'the CONFIGs differ in their epochs ({lengths}): give them --epochs')
    return leave_one_out('', tuple(arms), seeds=tuple(args.seeds))


def learns_interactions(model: Mapping) -> bool:
    """Whether a model config learns from interaction maps."""
    parts = (model.get('supervision') or {}).items()
    kinds = (resolve_type(part, MODELS, f'supervision.{name}') for name, part in parts if part)
    return any(issubclass(kind, Interactions) for kind in kinds)


def main(args: Namespace) -> None:
    """Run the benchmark and write its report."""
    work_dir = Path(args.work_dir).resolve()
    work_dir.mkdir(parents=True, exist_ok=True)
    report = []
    if args.configs:
        request = Request(work_dir, domains=args.domains, jobs=args.jobs, cfg_options=args.cfg_options)
        report.append(reproduce('benchmark_dg', build_study_preset(args), request))
    if args.zero_shot:
        results = []
        for i, (config, checkpoint) in enumerate(args.zero_shot):
            print(f'{config} with {checkpoint}', flush=True)
            results.append(zero_shot_metrics(config, checkpoint, work_dir / f'zero-shot-{i}'))
        report.append(zero_shot_table(results))
        (work_dir / 'zero-shot.json').write_text(json.dumps(results, indent=1))
    text = '\n\n'.join(report)
    print(f'\n{text}\n\nTables and numbers: {work_dir}/*')
    (work_dir / 'results.md').write_text(f'{text}\n')
