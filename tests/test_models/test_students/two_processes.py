"""Students that train in two processes, without a search for parameters that got no gradient.

    RANK=0 python tests/test_models/test_students/two_processes.py FILE &
    RANK=1 python tests/test_models/test_students/two_processes.py FILE

The processes meet by FILE. Each prints what came of every student, as JSON: what is not alike in both, or an
error, and nothing for one that trained. It is a process of its own: DDP joins processes once.
"""

import copy
import json
import os
import sys
from itertools import combinations
from pathlib import Path

import torch
from lfi.models.students import student
from mmengine.logging import MMLogger
from mmengine.model import MMDistributedDataParallel
from torch import distributed

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from small_students import ADAPTER, OF_MAPS, PARTS, batch, interactions, parts, small_classifier  # noqa: E402

TEACHER = dict(extractor='dense', input_size=32)
BACKBONES = dict(vit={}, adapter=dict(backbone=ADAPTER, **OF_MAPS))
WEIGHTS = ('spatial_weight', 'semantic_weight', 'presence_weight')


def supervisions() -> dict[str, dict]:
    """Each part alone, each pair, all of them; interactions by each subset of their weights; controls."""
    chosen = [(name,) for name in PARTS] + list(combinations(PARTS, 2)) + [tuple(PARTS)]
    found = {'+'.join(names): dict(supervision=parts(*names)) for names in chosen}
    for off in (off for n in range(1, 3) for off in combinations(WEIGHTS, n)):
        found['without ' + ', '.join(off)] = dict(supervision=interactions(**dict.fromkeys(off, 0)))
    for control in ('OtherImage', 'MeanTarget'):
        taught = parts(*(name for name in PARTS if name != 'prior'))
        found[control] = dict(supervision=taught, control=dict(type=f'lfi.{control}'))
    found['a parameter that nothing reads'] = dict(unread=True)
    found['by texts'] = dict(
        supervision=parts('interactions', 'logit_kd'), predict_by=dict(type='lfi.ByTexts')
    )
    return found


def train(rank: int, unread: bool = False, **arguments: object) -> str:
    """Two steps, the second of them without labels in one process; what is not alike afterwards.

    Args:
        rank: of this process.
        unread: whether the model has a parameter that nothing reads, which must be found.
        **arguments: of the student.
    """
    model = small_classifier('shapes-tiny', teacher=TEACHER, **copy.deepcopy(arguments))
    if unread:
        model.unread = torch.nn.Parameter(torch.zeros(1))
    wrapped = MMDistributedDataParallel(model, broadcast_buffers=False, find_unused_parameters=False)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    for hidden in ((), (0, 1) if rank else ()):
        inputs, samples = batch(shapes=(None, None), labels=(rank, 2), hidden=hidden)
        losses = wrapped(inputs + rank, samples, mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    # What a step of both leaves is the same in both.
    for name, parameter in model.named_parameters():
        first = parameter.detach().clone()
        distributed.broadcast(first, 0)
        if parameter.requires_grad and parameter.grad is None:
            return f'{name} has no gradient'
        if not torch.equal(first, parameter):
            return f'{name} differs'
    return ''


def main() -> None:
    torch.set_num_threads(1)
    MMLogger.get_current_instance().setLevel('ERROR')
    rank = int(os.environ['RANK'])
    distributed.init_process_group('gloo', init_method=f'file://{sys.argv[1]}', rank=rank, world_size=2)
    # Each would load it anew.
    build = student.build_teacher
    student.build_teacher = lambda *args: built[0] if built else built.append(build(*args)) or built[0]
    built: list = []
    found = {}
    for (backbone, own), (name, taught) in (
        (own, taught) for own in BACKBONES.items() for taught in supervisions().items()
    ):
        try:
            found[f'{name} ({backbone})'] = train(rank, **own, **taught)
        except Exception as error:
            found[f'{name} ({backbone})'] = f'{type(error).__name__}: {error}'.splitlines()[0]
    distributed.destroy_process_group()
    print(json.dumps(found))


if __name__ == '__main__':
    main()
