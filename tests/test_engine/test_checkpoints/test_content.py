"""What is found in an object, and exchanged in it."""

import time
from collections import OrderedDict, deque, namedtuple

import pytest
from lfi.engine.checkpoints.content import exchange, reachable

Pair = namedtuple('Pair', 'first second')


class Old:
    """Stands for an object to be exchanged."""


class Thing:
    def __init__(self, value):
        self.value = value


class TupleWithAttributes(tuple):
    pass


def exchanged(content, old, new):
    return exchange(content, reachable(content), {id(old): new})


@pytest.mark.parametrize(
    'make',
    [
        lambda x: x,
        lambda x: {'a': 1, x: x, 'b': 2},
        lambda x: OrderedDict([('a', 1), (x, x), ('b', 2)]),
        lambda x: [1, x],
        lambda x: deque([1, x], maxlen=2),
        lambda x: {1, x},
        lambda x: frozenset({1, x}),
        lambda x: (1, (x, frozenset({(x,)}))),
        lambda x: Pair(1, [Pair(x, 2)]),
        lambda x: {(1, (x,)): [{x}]},
    ],
)
def test_exchange_in_containers(make):
    old = Old()
    found = exchanged(make(old), old, 'new')
    assert found == make('new') and type(found) is type(make('new'))
    if isinstance(found, dict):
        assert list(found) == list(make('new'))


def test_exchange_in_attributes():
    old = Old()
    owner = TupleWithAttributes([old])
    owner.more = [old]
    thing = exchanged(Thing(owner), old, 'new')
    assert thing.value == ('new',) and type(thing.value) is TupleWithAttributes
    assert thing.value.more == ['new']


def test_what_holds_no_exchanged_object_stays_the_same_object():
    old, kept = Old(), (1, [2])
    content = exchanged({'kept': kept, 'old': old}, old, 'new')
    assert content['kept'] is kept


def test_what_is_there_twice_is_exchanged_for_one_object():
    old = Old()
    shared = (old,)
    first, second = exchanged([shared, (shared,)], old, 'new')
    assert first == ('new',) and second[0] is first


def test_types_that_refuse_are_left_as_they_are():
    old = Old()
    value = time.struct_time([old] * 9)
    assert exchanged([value], old, 'new')[0] is value


def test_an_object_may_hold_itself():
    old = Old()
    content = [old]
    content.append((content,))
    assert exchanged(content, old, 'new')[1][0] is content and content[0] == 'new'


def test_what_is_found_is_found_once_and_not_in_leaves_and_code():
    shared, leaf = [1, 'a'], Thing([2])
    found = reachable({'a': (shared, shared), 'leaf': leaf, 'code': time.sleep}, (Thing,))
    assert sum(value is shared for value in found) == 1
    assert sum(value is leaf for value in found) == 1
    assert leaf.value not in [value for value in found if type(value) is list]
    assert time not in found and 1 not in found and 'a' not in found


def test_what_is_too_deep_is_refused():
    content = []
    for _ in range(250):
        content = [content]
    assert len(reachable(content)) == 251
    for _ in range(100_000):
        content = (content,)
    with pytest.raises(RecursionError, match='more than 300 deep'):
        reachable(content)


def test_exchange_in_deep_tuples_takes_no_recursion():
    old = Old()
    content = [old]
    for _ in range(100_000):
        content.append((content[-1],))
    exchanged(content, old, 'new')
    value = content[-1]
    for _ in range(100_000):
        (value,) = value
    assert value == 'new'
