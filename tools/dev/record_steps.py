"""Record a few training steps of the studies' students, or compare them with a record.

    python tools/dev/record_steps.py work_dirs/steps --studies shapes shapes-few shapes-detector
    python tools/dev/record_steps.py work_dirs/steps --studies shapes shapes-few shapes-detector --compare

A refactoring must not change the numbers of any arm. The first call records each arm's initial weights, the
losses and gradients of three steps, the predictions, and the answers to the teacher's texts. With --compare,
the current code repeats the steps on the same images, from the recorded weights. Steps run on the CPU with
small batches and an online teacher. Arms without data or teacher are skipped. The job before an arm is
recorded in `start/`. After a renaming, --renamed OLD=NEW compares what had the old name.
"""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lfi.cli.arguments import ArgumentParser, positive
from lfi.cli.running import run_tool
from lfi.errors import UsageError
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner, set_random_seed
from torch import Tensor, nn

if TYPE_CHECKING:
    from research.studies.job import Job

ROOT = Path(__file__).resolve().parents[2]
STEPS, BATCH_SIZE = 3, 4
LEARNING_RATE = 0.01
GRADIENT = ', gradient of '


def parse_args() -> Namespace:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path, help='folder of the records, a file for each arm')
    parser.add_argument('--studies', nargs='+', default=['shapes'], help='names of studies (default: shapes)')
    parser.add_argument('--arms', nargs='+', help='names of arms (default: all)')
    parser.add_argument('--compare', action='store_true', help='compare instead of recording')
    parser.add_argument(
        '--tolerance', type=float, default=0.0, metavar='T', help='largest relative difference (default: 0)'
    )
    parser.add_argument(
        '--renamed',
        nargs='+',
        default=[],
        metavar='OLD=NEW',
        help='words that were renamed in names of arms, losses and parameters since the record',
    )
    parser.add_argument('--threads', type=positive, default=1, help='CPU threads (default: %(default)s)')
    return parser.parse_args()


def shrink(cfg: Config) -> Config:
    """Set small batches, loaders in this process and an online teacher in a config, and return it."""
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    for name in ('train_dataloader', 'val_dataloader'):
        loader = cfg[name]
        loader.update(num_workers=0, persistent_workers=False, batch_size=BATCH_SIZE)
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def first_batches(cfg: Config, loader: str, count: int) -> list[dict]:
    """Return the first batches of a loader; they are the same in each process."""
    set_random_seed(0)
    batches = iter(Runner.build_dataloader(cfg[loader], seed=0))
    return [next(batches) for _ in range(count)]


def tensors_in(value: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of nested data with the names of their positions."""
    if isinstance(value, Tensor):
        yield name, value.detach().cpu()
    elif isinstance(value, Mapping):
        for key in value:
            yield from tensors_in(value[key], f'{name}.{key}')
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            yield from tensors_in(part, f'{name}.{index}')
    elif hasattr(value, 'to_dict'):
        yield from tensors_in(value.to_dict(), name)
    elif hasattr(value, 'tensor'):
        yield from tensors_in(value.tensor, name)


def digest_of(value: Any) -> str:
    """Digest of the tensors of nested data."""
    digest = blake2b(digest_size=8)
    # The order of a sample's fields is arbitrary.
    for name, tensor in sorted(tensors_in(value), key=lambda item: item[0]):
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """Copy the weights of a model."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def rename_keys(tensors: Mapping[str, Tensor], renamed: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace old words by new ones in the names of recorded tensors."""
    return {replace_words(name, renamed): tensor for name, tensor in tensors.items()}


def replace_words(text: str, words: Mapping[str, str]) -> str:
    """Replace each key of `words` by its value, all at once."""
    if not words:
        return text
    pattern = '|'.join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.sub(pattern, lambda match: words[match[0]], text)


def run_steps(cfg: Config, weights: Mapping[str, Tensor] | None) -> dict[str, Any]:
    """Run the steps of an arm, and return a digest of the batches, the initial weights and the values.

    Args:
        cfg: config of the arm.
        weights: initial weights; None takes the config's.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    batches = first_batches(cfg, 'train_dataloader', STEPS)
    val_batch = first_batches(cfg, 'val_dataloader', 1)[0]
    set_random_seed(0)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    model.init_weights()
    if weights is not None:
        keys = model.load_state_dict(weights, strict=False)
        if keys.missing_keys or keys.unexpected_keys:
            print(f'  weights: missing {keys.missing_keys[:5]}, unexpected {keys.unexpected_keys[:5]}')
    digest = digest_of([*batches, val_batch])
    record: dict[str, Any] = dict(batches=digest, weights=copy_weights(model), values={})
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=LEARNING_RATE)
    model.train()
    for step, batch in enumerate(batches):
        set_random_seed(step)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        total, log = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        record['values'].update({f'step {step}, {name}': value.detach() for name, value in log.items()})
        gradients = {name: value.grad for name, value in trained.items() if value.grad is not None}
        record['values'].update({f'step {step}{GRADIENT}{name}': g for name, g in gradients.items()})
        optimizer.step()
    model.eval()
    with torch.no_grad():
        record['values'].update(
            {f'predicted{name}': value for name, value in tensors_in(model.test_step(val_batch))}
        )
        if getattr(model, 'readout', None) is not None:
            inputs = model.data_preprocessor(val_batch, False)['inputs']
            answers = model.ask(inputs, model.teacher.text_embeddings)
            record['values'].update(answer_logits=answers.logits, answer_presence=answers.presence)
    record['values'] = {name: value.clone() for name, value in record['values'].items()}
    return record


def differences(values: Mapping[str, Tensor], recorded: Mapping[str, Tensor], tolerance: float) -> list[str]:
    """Describe the differences between current and recorded values."""
    lines = [f'{name} is no longer computed' for name in recorded if name not in values]
    for name, value in values.items():
        if name not in recorded:
            lines.append(f'{name} is new')
        elif value.shape != recorded[name].shape:
            lines.append(f'{name} is {tuple(value.shape)}, and was {tuple(recorded[name].shape)}')
        elif not torch.equal(value, recorded[name]):
            difference = (value.double() - recorded[name].double()).abs().max().item()
            scale = recorded[name].double().abs().max().item()
            if not difference <= tolerance * scale:
                lines.append(f'{name} differs by {difference:.1e} of at most {scale:.1e}')
    return lines


def named_jobs(jobs: Iterable[Job]) -> Iterator[tuple[str, Job]]:
    """Yield jobs with their arm's name, each after the job that must run before it, if any."""
    for job in jobs:
        if job.start is not None:
            yield f'start/{job.arm.name}', job.start
        yield job.arm.name, job


def main(args: Namespace) -> None:
    from research.studies.grid import plan
    from research.studies.presets import PRESETS

    MMLogger.get_current_instance().setLevel('ERROR')
    torch.set_num_threads(args.threads)
    unknown = sorted(set(args.studies) - set(PRESETS))
    if unknown:
        raise UsageError(f'--studies {" ".join(unknown)}: there are {", ".join(PRESETS)}')
    renamed = dict(pair.split('=', 1) for pair in args.renamed)
    old_words = {new: old for old, new in renamed.items()}
    different = 0
    for study in args.studies:
        for name, job in named_jobs(plan(PRESETS[study], [0], [], Path('unused'))):
            if args.arms and name not in args.arms:
                continue
            path = args.folder / study / f'{replace_words(name, old_words if args.compare else {})}.pt'
            recorded = torch.load(path) if args.compare and path.exists() else None
            if args.compare and recorded is None:
                print(f'{study}, {name}: nothing was recorded')
                continue
            try:
                weights = recorded and rename_keys(recorded['weights'], renamed)
                record = run_steps(shrink(job.config()), weights)
            except (FileNotFoundError, ImportError) as error:
                print(f'{study}, {name}: left out, {error}')
                continue
            if recorded is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(record, path)
                print(f'{study}, {name}: {len(record["values"])} values')
                continue
            lines = differences(record['values'], rename_keys(recorded['values'], renamed), args.tolerance)
            if record['batches'] != recorded['batches']:
                lines.insert(0, 'the images differ')
            different += bool(lines)
            print(f'{study}, {name}: {"; ".join(lines[:5]) or "the same"}')
    sys.exit(bool(different))


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    run_tool(main, parse_args())
