import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.datasets import Shapes
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample

CONFIG = dict(type='lfi.DomainGeneralizationMetric')


def sample(domain, truth, predicted):
    found = DataSample(metainfo=dict(domain=domain))
    return found.set_gt_label(truth).set_pred_score(torch.eye(3)[predicted]).set_pred_label(predicted)


def evaluate(samples, batch_size=4):
    evaluator = Evaluator([dict(CONFIG)])
    for i in range(0, len(samples), batch_size):
        evaluator.process(samples[i : i + batch_size])
    return evaluator.evaluate(len(samples))


def test_domains_count_alike_whatever_their_size():
    rows = [('photo', 0, 0)] * 3 + [('photo', 1, 0)] + [('sketch', 2, 1)] + [('art', 1, 1), ('art', 2, 0)]
    assert evaluate([sample(*row) for row in rows]) == {
        'domain/art': 50.0,
        'domain/photo': 75.0,
        'domain/sketch': 0.0,
        'domain/mean': pytest.approx(125 / 3),
        'domain/worst': 0.0,
    }


ROWS = st.tuples(st.sampled_from(['photo', 'sketch', 'cartoon']), st.integers(0, 2), st.integers(0, 2))


@settings(max_examples=50)
@given(rows=st.lists(ROWS, min_size=1, max_size=30))
def test_it_is_the_accuracy_of_each_domain(rows):
    metrics = evaluate([sample(*row) for row in rows])
    domain, truth, predicted = (np.array(column) for column in zip(*rows))
    plain = {name: 100 * (truth == predicted)[domain == name].mean() for name in set(domain)}
    assert metrics == pytest.approx(
        {
            **{f'domain/{name}': value for name, value in plain.items()},
            'domain/mean': sum(plain.values()) / len(plain),
            'domain/worst': min(plain.values()),
        }
    )


def test_samples_without_a_domain_are_refused():
    bare = DataSample().set_gt_label(0).set_pred_label(0)
    with pytest.raises(ValueError, match=r"no domain.*PackInputs\(meta_keys=\(\.\.\., 'domain'\)\)"):
        evaluate([bare])


def test_shapes_name_their_domain():
    pack = dict(type='mmpretrain.PackInputs', meta_keys=('domain',))
    data = Shapes('val', 12, domains=('photo', 'sketch'), pipeline=[pack])
    samples = [data[i]['data_samples'] for i in range(len(data))]
    metrics = evaluate([found.set_pred_label(int(found.gt_label)) for found in samples])
    assert metrics == {'domain/photo': 100, 'domain/sketch': 100, 'domain/mean': 100, 'domain/worst': 100}
