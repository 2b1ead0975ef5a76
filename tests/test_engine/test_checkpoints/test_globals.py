import importlib.util
import pickle
import signal
import zipfile
from collections import OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from lfi.engine import CorruptedCheckpointError, UnsafeCheckpointError
from lfi.engine.checkpoints.reading import load_from_local
from mmengine.logging import HistoryBuffer

HOSTILE_FILES = Path(__file__).parents[3] / 'tools/dev/hostile_files.py'


def hostile_files():
    spec = importlib.util.spec_from_file_location('hostile_files', HOSTILE_FILES)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile = hostile_files()
STATISTICS = "functions of the file as mmengine's statistics"
REFUSED = {
    'an array of objects over raw bytes': 'numpy.ndarray is called',
    'the same, made by `__new__`': 'numpy.ndarray is called',
    'an address in memory for numpy to read': 'HistoryBuffer is called',
    'an array of 2^46 bytes': 'numpy.ndarray is called',
    'a dtype of numbers with the flags of objects': 'a dtype of numpy has another state',
    'a number of a dtype of objects': 'numpy.dtype is called for other values than plain numbers',
    'a dtype with a field of objects': 'numpy.dtype is called for other values than plain numbers',
    'a dtype that holds arrays of objects': 'numpy.dtype is called for other values than plain numbers',
    'an empty array of too many numbers': 'which no memory holds',
    'an array larger than its bytes': '2 numbers of numpy are given by 8 bytes',
    'an array that is filled twice': 'an array of numpy is filled twice',
    'a truth value that is neither 0 nor 1': 'a truth value of numpy is neither 0 nor 1',
    'a history that is no array': 'a HistoryBuffer has another state',
    'a history without a state': 'a HistoryBuffer has no state',
    'a class of numpy that is not called': 'numpy.ndarray is stored and not called',
    'a function that is not called': 'builtins.getattr is stored and not called',
}


def test_all_hostile_files_are_tried():
    assert set(REFUSED) | {STATISTICS, hostile.BOMB} == set(hostile.HOSTILE)


@pytest.mark.parametrize('name', REFUSED)
def test_hostile_file_is_refused(tmp_path, name):
    file = tmp_path / 'hostile.pth'
    hostile.write_hostile(file, name)
    before = set(torch.serialization.get_safe_globals())
    with pytest.raises(UnsafeCheckpointError, match='no code of it was run') as caught:
        load_from_local(str(file))
    assert f'{file} was refused' in str(caught.value) and REFUSED[name] in str(caught.value)
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize('name', hostile.CONTRADICTORY)
def test_contradictory_file_is_corrupted(tmp_path, name):
    file = tmp_path / 'contradictory.pth'
    hostile.write_hostile(file, name)
    with pytest.raises(
        CorruptedCheckpointError, match=r'contradictory\.pth is truncated or corrupted'
    ) as caught:
        load_from_local(str(file))
    assert '\n' not in str(caught.value)


def test_a_storage_smaller_than_its_tensor_is_corrupted(tmp_path):
    file = tmp_path / 'short.pth'
    torch.save({'weight': torch.ones(100)}, tmp_path / 'good.pth')
    hostile.shorten_storage(tmp_path / 'good.pth', file)
    with pytest.raises(CorruptedCheckpointError, match=r'short\.pth is truncated or corrupted') as caught:
        load_from_local(str(file))
    assert '\n' not in str(caught.value)


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='needs a timer')
def test_a_tuple_in_a_tuple_many_times_is_visited_once(tmp_path):
    def stop(*args):
        raise TimeoutError('the tuples are visited again and again')

    file = tmp_path / 'bomb.pth'
    hostile.write_hostile(file, hostile.BOMB, {'array': np.ones(2)})
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 60)
    try:
        bomb = load_from_local(str(file))['payload']
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert bomb[0] is bomb[1]


def test_tuples_that_are_too_deep_are_refused(tmp_path):
    file = tmp_path / 'deep.pth'
    torch.save({'payload': (np.arange(3), 'end')}, tmp_path / 'shallow.pth')
    with zipfile.ZipFile(tmp_path / 'shallow.pth') as shallow, zipfile.ZipFile(file, 'w') as deep:
        for name in shallow.namelist():
            record = shallow.read(name)
            if name.endswith('data.pkl'):
                # A pickler goes by recursion, so the tuples are put into what it wrote, around the last one.
                before, last, after = record.rpartition(pickle.TUPLE2)
                record = before + last + pickle.TUPLE1 * 100_000 + after
            deep.writestr(name, record)
    with pytest.raises(CorruptedCheckpointError, match='it holds objects more than 300 deep'):
        load_from_local(str(file))


def test_hostile_file_does_not_crash_a_process(new_python, tmp_path):
    file = tmp_path / 'hostile.pth'
    code = f'from lfi.engine.checkpoints.reading import load_from_local; load_from_local({str(file)!r})'
    hostile.write_hostile(file, hostile.CRASHING[0])
    process = new_python.run(['-c', code], tmp_path)
    # Not -11, SIGSEGV.
    assert process.returncode == 1 and 'UnsafeCheckpointError' in process.stdout


def test_what_the_user_allowed_of_numpy_is_guarded_too(tmp_path):
    file = tmp_path / 'hostile.pth'
    hostile.write_hostile(file, 'an array of objects over raw bytes')
    # mmengine's own list, under which the file crashes the process.
    allowed = [np.ndarray, np.dtype, type(np.dtype('f8')), HistoryBuffer, hostile.MULTIARRAY._reconstruct]
    with torch.serialization.safe_globals(allowed):
        with pytest.raises(UnsafeCheckpointError, match='numpy.ndarray is called'):
            load_from_local(str(file))
        assert set(allowed) <= set(torch.serialization.get_safe_globals())


def test_a_file_does_not_change_the_statistics_of_mmengine(tmp_path):
    file = tmp_path / 'hostile.pth'
    hostile.write_hostile(file, STATISTICS)
    history = load_from_local(str(file))['payload']
    assert type(history) is HistoryBuffer
    assert history.statistics('mean') == history.mean()
    assert HistoryBuffer._statistics_methods['mean'] is HistoryBuffer.mean


def numbers() -> dict:
    codes = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    # Two types of one size have one name in a pickle.
    kinds = [np.dtype(np.dtype(code).str) for code in codes]
    return {
        'arrays': [np.arange(6).reshape(2, 3).astype(kind) for kind in kinds],
        'swapped': np.arange(3, dtype='>i4'),
        'columns': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        'shapes': (np.array(1.5), np.zeros((0, 3))),
        'scalars': [kind.type(1) for kind in kinds],
        'dtype': np.dtype('>f4'),
        'large': np.arange(1000.0),
    }


@pytest.mark.parametrize('core', ['core', '_core'])
def test_numbers_come_back_as_they_were(tmp_path, core):
    file = tmp_path / 'numbers.pth'
    saved = numbers()
    saved['again'] = saved['large']
    # Not zipped, the names can be exchanged for those of numpy 1 and of numpy 2.
    torch.save(saved, file, _use_new_zipfile_serialization=False)
    names = file.read_bytes().replace(b'numpy._core.', b'numpy.core.')
    file.write_bytes(names.replace(b'numpy.core.', f'numpy.{core}.'.encode()))
    loaded = load_from_local(str(file))
    assert loaded['again'] is loaded['large'] and loaded['large'].flags.writeable
    assert loaded['columns'].flags.f_contiguous
    assert loaded['dtype'] == saved['dtype']
    # numpy reads numbers in the other byte order into its own.
    assert_same(loaded['swapped'], saved['swapped'].astype('i4'))
    for name in ('columns', 'large'):
        assert_same(loaded[name], saved[name])
    for name in ('arrays', 'scalars', 'shapes'):
        assert type(loaded[name]) is type(saved[name])
        for found, expected in zip(loaded[name], saved[name], strict=True):
            assert_same(found, expected)


def assert_same(found, expected) -> None:
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found, expected, strict=True)


Pair = namedtuple('Pair', 'first second')


class Attributes:
    def __init__(self, value):
        self.value = value


class Slot:
    __slots__ = ('value',)

    def __init__(self, value):
        self.value = value


def test_no_guard_is_left_in_what_a_file_holds(tmp_path):
    file = tmp_path / 'places.pth'
    kind, array = np.dtype('f4'), np.arange(3)
    state = OrderedDict(weight=torch.ones(2))
    state._metadata = {'': {'kind': kind}}
    saved = {
        'key': {kind: 1, ('f4', (kind,)): 2},
        'set': {kind},
        'pair': Pair(array, kind),
        'attributes': Attributes([array, (kind, {'key': array})]),
        'state': state,
    }
    torch.save(saved, file)
    with torch.serialization.safe_globals([Pair, Attributes]):
        loaded = load_from_local(str(file))
    assert loaded['key'] == saved['key'] and loaded['set'] == saved['set']
    assert list(loaded['key']) == list(saved['key'])
    assert type(loaded['pair']) is Pair and loaded['pair'].second == kind
    assert_same(loaded['pair'].first, array)
    kept, (inner_kind, inner) = loaded['attributes'].value
    assert inner_kind == kind and inner['key'] is kept
    assert_same(kept, array)
    assert type(loaded['state']) is OrderedDict and loaded['state']._metadata == state._metadata


def test_a_guard_that_cannot_be_replaced_is_refused(tmp_path):
    file = tmp_path / 'slot.pth'
    torch.save({'payload': Slot(np.arange(3))}, file)
    with torch.serialization.safe_globals([Slot]):
        with pytest.raises(UnsafeCheckpointError, match=r'Slot` holds an array or dtype of numpy'):
            load_from_local(str(file))
        torch.save({'payload': Slot([np.arange(3)])}, file)
        assert_same(load_from_local(str(file))['payload'].value[0], np.arange(3))


@pytest.mark.parametrize('value', [np.array(['a', 'b']), np.str_('a'), np.array([None])])
def test_texts_and_objects_of_numpy_stay_guarded_though_the_user_allows_them(tmp_path, value):
    file = tmp_path / 'texts.pth'
    torch.save({'payload': value}, file)
    multiarray = hostile.MULTIARRAY
    allowed = [np.ndarray, np.dtype, type(value.dtype), multiarray._reconstruct, multiarray.scalar]
    said = r'whatever torch\.serialization\.add_safe_globals allows: save texts'
    with torch.serialization.safe_globals(allowed), pytest.raises(UnsafeCheckpointError, match=said):
        load_from_local(str(file))
