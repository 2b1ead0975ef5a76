"""Record what the students of the studies compute in a few steps, or compare it with what was recorded.

    python tools/dev/record_steps.py work_dirs/steps --studies shapes shapes-few shapes-detector
    python tools/dev/record_steps.py work_dirs/steps --studies shapes shapes-few shapes-detector --compare

A refactoring must leave each arm's numbers as they are. Of each arm the first call keeps the weights, and of
three steps the losses and the gradients, then the predictions and the answers to the teacher's texts. With
--compare the same images go through the code of today, from the weights that were kept. Steps are of small
batches, on the CPU, and ask the teacher online; arms whose data or teachers are not here are left out. What
was recorded before supervision had parts compares too. What runs before an arm is in `start/`.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Collection, Iterable, Iterator, Mapping
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
    parser.add_argument('folder', type=Path, help='of what is recorded: a file for each arm')
    parser.add_argument('--studies', nargs='+', default=['shapes'], help='names (default: shapes)')
    parser.add_argument('--arms', nargs='+', help='only these (default: all)')
    parser.add_argument('--compare', action='store_true', help='compare in place of recording')
    parser.add_argument(
        '--tolerance', type=float, default=0.0, metavar='T', help='largest difference (default: none)'
    )
    parser.add_argument('--threads', type=positive, default=1, help='of the CPU (default: %(default)s)')
    return parser.parse_args()


def shrunk(cfg: Config) -> Config:
    """The config with small batches, loaders in this process, and a teacher that is asked online."""
    if cfg.model.get('teacher'):
        cfg.model.teacher.cache = None
    for name in ('train_dataloader', 'val_dataloader'):
        loader = cfg[name]
        loader.update(num_workers=0, persistent_workers=False, batch_size=BATCH_SIZE)
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', dict(type='default_collate'))
    return cfg


def first_batches(cfg: Config, loader: str, count: int) -> list[dict]:
    """The first batches of a loader, the same in each process."""
    set_random_seed(0)
    batches = iter(Runner.build_dataloader(cfg[loader], seed=0))
    return [next(batches) for _ in range(count)]


def tensors_in(value: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """The tensors of nested data, by their places."""
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
    """A digest of the tensors of nested data."""
    found = blake2b(digest_size=8)
    # Samples give their fields in any order.
    for name, tensor in sorted(tensors_in(value), key=lambda each: each[0]):
        found.update(name.encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The weights, copied."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def name_of_today(name: str, names: Collection[str]) -> str:
    """A parameter's name, from one of before supervision had parts.

    Args:
        name: as it was recorded.
        names: of the model's parameters and buffers.
    """
    last = name.partition('.')[2]
    parts = (known for known in names if known.startswith('supervision.') and known.endswith(f'.{last}'))
    return name if name in names else next(parts, name)


def values_of_today(kept: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Recorded values, with those of gradients by the parameters' names of today; `names` as above."""
    found = {}
    for key, value in kept.items():
        before, is_gradient, name = key.partition(GRADIENT)
        found[f'{before}{GRADIENT}{name_of_today(name, names)}' if is_gradient else key] = value
    return found


def steps_of(cfg: Config, weights: Mapping[str, Tensor] | None) -> dict[str, Any]:
    """What an arm computes.

    Args:
        cfg: of the arm.
        weights: that it begins with; None for its own.
    """
    init_default_scope(cfg.get('default_scope', 'mmengine'))
    batches = first_batches(cfg, 'train_dataloader', STEPS)
    seen = first_batches(cfg, 'val_dataloader', 1)[0]
    set_random_seed(0)
    model = MODELS.build({'data_preprocessor': cfg.get('data_preprocessor'), **cfg.model})
    model.init_weights()
    if weights is not None:
        own = model.state_dict().keys()
        weights = {name_of_today(name, own): value for name, value in weights.items()}
        left = model.load_state_dict(weights, strict=False)
        if left.missing_keys or left.unexpected_keys:
            print(f'  weights: missing {left.missing_keys[:5]}, without a place {left.unexpected_keys[:5]}')
    found: dict[str, Any] = dict(batches=digest_of([*batches, seen]), weights=weights_of(model), values={})
    trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(trained.values(), lr=LEARNING_RATE)
    model.train()
    for step, batch in enumerate(batches):
        set_random_seed(step)
        losses = model(**model.data_preprocessor(batch, True), mode='loss')
        total, log = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        found['values'].update({f'step {step}, {name}': value.detach() for name, value in log.items()})
        gradients = {name: value.grad for name, value in trained.items() if value.grad is not None}
        found['values'].update({f'step {step}{GRADIENT}{name}': g for name, g in gradients.items()})
        optimizer.step()
    model.eval()
    with torch.no_grad():
        found['values'].update(
            {f'predicted{name}': value for name, value in tensors_in(model.test_step(seen))}
        )
        if getattr(model, 'readout', None) is not None:
            inputs = model.data_preprocessor(seen, False)['inputs']
            answers = model.ask(inputs, model.teacher.texts)
            found['values'].update(answer_logits=answers.logits, answer_presence=answers.presence)
    found['values'] = {name: value.clone() for name, value in found['values'].items()}
    return found


def differences(found: Mapping[str, Tensor], kept: Mapping[str, Tensor], tolerance: float) -> list[str]:
    """What differs, in words."""
    said = [f'{name} is not computed any more' for name in kept if name not in found]
    for name, value in found.items():
        if name not in kept:
            said.append(f'{name} is new')
        elif value.shape != kept[name].shape:
            said.append(f'{name} is {tuple(value.shape)}, and was {tuple(kept[name].shape)}')
        elif not torch.equal(value, kept[name]):
            off = (value.double() - kept[name].double()).abs().max().item()
            scale = kept[name].double().abs().max().item()
            if not off <= tolerance * scale:
                said.append(f'{name} differs by {off:.1e} of at most {scale:.1e}')
    return said


def cells_of(jobs: Iterable[Job]) -> Iterator[tuple[str, Job]]:
    """Cells by their arm's name, each after the one that runs before it, if there is any."""
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
    different = 0
    for study in args.studies:
        for name, job in cells_of(plan(PRESETS[study], [0], [], Path('unused'))):
            if args.arms and name not in args.arms:
                continue
            path = args.folder / study / f'{name}.pt'
            kept = torch.load(path) if args.compare and path.exists() else None
            if args.compare and kept is None:
                print(f'{study}, {name}: nothing was recorded')
                continue
            try:
                found = steps_of(shrunk(job.config()), kept and kept['weights'])
            except (FileNotFoundError, ImportError) as error:
                print(f'{study}, {name}: left out, {error}')
                continue
            if kept is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.save(found, path)
                print(f'{study}, {name}: {len(found["values"])} values')
                continue
            values = values_of_today(kept['values'], found['weights'].keys())
            said = differences(found['values'], values, args.tolerance)
            if found['batches'] != kept['batches']:
                said.insert(0, 'its images are others')
            different += bool(said)
            print(f'{study}, {name}: {"; ".join(said[:5]) or "the same"}')
    sys.exit(bool(different))


if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))
    run_tool(main, parse_args())
