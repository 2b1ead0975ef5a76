"""The human study: the pairs, the page in a real browser, and the answers."""

import json
import re

import numpy as np
import pytest
import torch

from research.human_study import (
    Pair,
    StudyError,
    analyse,
    build_study,
    catch_pairs,
    read_key,
    read_raters,
)
from research.human_study.study import overlay

SOURCES = dict(A='one.py, one.pth', B='two.py, two.pth')


def peak(row, col, grid=8):
    heat = torch.zeros(grid, grid)
    heat[row, col] = 1
    return heat


def make_pairs(count, images=None):
    """A looks at the upper left, B at the lower right; the pictures differ."""
    rng = np.random.default_rng(0)
    return [
        Pair(
            f'photos/{i % (images or count)}.jpg',
            'goldfish' if i else '</script><b>odd & "quoted"',
            rng.integers(0, 256, (48, 64, 3), dtype=np.uint8),
            dict(A=peak(1, 1), B=peak(6, 6, 12)),
        )
        for i in range(count)
    ]


def make_study(count=6, catches=2, seed=0):
    return build_study([*make_pairs(count), *catch_pairs(make_pairs(catches), catches)[0]], SOURCES, seed)


def trials_of(page):
    text = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL).group(1)
    return json.loads(text)['trials']


def test_a_map_is_drawn_by_the_ranks_of_its_places():
    picture = np.full((32, 32, 3), 90, np.uint8)
    heat = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    # Another sharpness is the same picture.
    np.testing.assert_array_equal(overlay(picture, heat), overlay(picture, (10 * heat).exp()))
    bright = overlay(picture, peak(1, 6)).sum(-1)
    row, col = np.unravel_index(bright.argmax(), bright.shape)
    assert abs(row - 5.5) <= 1 and abs(col - 25.5) <= 1
    for grid in (4, 6, 7, 14):
        for side in (160, 288, 320):
            flat = overlay(np.full((side, side, 3), 90, np.uint8), torch.zeros(grid, grid))
            assert (flat == flat[0, 0]).all()


def test_a_map_that_is_not_finite_is_refused():
    heat = peak(1, 1)
    heat[0, 0] = float('nan')
    with pytest.raises(StudyError, match=r"map B of 'cat' in a.jpg is not finite"):
        Pair('a.jpg', 'cat', np.zeros((32, 32, 3), np.uint8), dict(A=peak(1, 1), B=heat))


def test_catch_trials_are_of_the_pairs_that_agree():
    picture = np.zeros((32, 32, 3), np.uint8)
    pairs = [
        Pair('apart', 'cat', picture, dict(A=peak(1, 1), B=peak(6, 6))),
        Pair('together', 'cat', picture, dict(A=peak(2, 5), B=peak(2, 5))),
        Pair('flat', 'cat', picture, dict(A=torch.zeros(4, 4), B=peak(2, 5))),
    ]
    (catch,), agreement = catch_pairs(pairs, 1)
    assert agreement == pytest.approx(1)
    assert catch.image == 'together'
    right, wrong = catch.maps['right'], catch.maps['wrong']
    assert right[10, 22] > 0.99 and wrong[10, 22] < -0.99
    more, agreement = catch_pairs(pairs, 2)
    assert [pair.image for pair in more] == ['together', 'flat'] and agreement == 0
    assert catch_pairs(pairs, 0) == ([], 0)


def test_the_page_does_not_say_what_is_what():
    page, key = make_study(40, 10)
    for trial in trials_of(page):
        assert set(trial) == {'id', 'concept', 'image', 'first', 'second'}
    for word in ('one.p', 'two.p', 'photos/', 'wrong'):
        assert word not in page
    assert list(key['trials']) == [trial['id'] for trial in trials_of(page)]
    sides = [(trial['first'], trial['second']) for trial in key['trials'].values()]
    # Each source comes first in half of the pairs, the right side in half of the catch trials.
    assert sides.count(('A', 'B')) == sides.count(('B', 'A')) == 20
    assert sides.count(('right', 'wrong')) == sides.count(('wrong', 'right')) == 5
    # Catch trials stand among the others.
    assert {frozenset(pair) for pair in sides[:25]} == {frozenset('AB'), frozenset({'right', 'wrong'})}


def test_the_same_input_is_the_same_study():
    assert make_study() == make_study()
    ids = {make_study(seed=seed)[1]['study'] for seed in range(3)} | {make_study(5)[1]['study']}
    assert len(ids) == 4


def test_the_page_asks_no_server():
    page, _ = make_study()
    assert not re.search(r'https?://|src="(?!data:)|@import|url\(', page)
    assert "default-src 'none'" in page


# Answers


def write_answers(folder, key, name, choose, trials=None, **fields):
    """The file that the page would save; `choose` gives 'first', 'second' or 'tie' for a trial of the key."""
    answers = {}
    for i, (trial, sides) in enumerate(key['trials'].items()):
        if trials is None or i < trials:
            wanted, on_left = choose(sides), i % 3 != 0
            side = {'first': ('right', 'left')[on_left], 'second': ('left', 'right')[on_left]}
            answers[trial] = dict(choice=side.get(wanted, 'tie'), first_on_left=on_left)
    path = folder / f'answers-{name}.json'
    path.write_text(json.dumps(dict(study=key['study'], rater=name, answers=answers) | fields))
    return path


def prefers(*wanted):
    """The side that shows one of these, and a tie where neither does."""

    def choose(sides):
        for side in ('first', 'second'):
            if sides[side] in wanted:
                return side
        return 'tie'

    return choose


@pytest.fixture
def key(tmp_path):
    path = tmp_path / 'study.key.json'
    path.write_text(json.dumps(make_study(10, 5)[1]))
    return read_key(path)


def test_answers_are_read_by_the_key(tmp_path, key):
    files = [
        write_answers(tmp_path, key, 'for-a', prefers('A', 'right')),
        write_answers(tmp_path, key, 'for-b', prefers('B', 'right')),
        write_answers(tmp_path, key, 'no-difference', prefers('right')),
        write_answers(tmp_path, key, 'half', prefers('A', 'right'), trials=8),
        write_answers(tmp_path, key, 'asleep', prefers('A', 'wrong')),
        write_answers(tmp_path, key, 'silent', prefers('A', 'right'), trials=0),
    ]
    text, found = analyse(read_raters(files, key), key, 0.8)
    rows = {row.pop('rater'): row for row in found['raters']}
    caught = dict(answered=5, right=5)
    assert rows['for-a'] == dict(pairs=10, catches=caught, A=10, tie=0, B=0, used=True)
    assert rows['for-b'] == dict(pairs=10, catches=caught, A=0, tie=0, B=10, used=True)
    assert rows['no-difference'] == dict(pairs=10, catches=caught, A=0, tie=10, B=0, used=True)
    assert rows['asleep']['catches'] == dict(answered=5, right=0)
    assert [name for name, row in rows.items() if not row['used']] == ['asleep', 'silent']
    assert 'Left out: asleep, silent. Raters are used if they answered a catch trial, and 80%' in text
    half = rows['half']['pairs']
    assert half + rows['half']['catches']['answered'] == 8 and rows['half']['A'] == half
    assert 'Incomplete, with missing pairs skipped: half.' in text
    assert f'| half | {half} of 10 | {8 - half} of 5 |' in text
    results = found['results']
    assert results['answers'] == 30 + half and results['raters'] == 4
    assert results['win_rate']['value'] == pytest.approx((10 + 5 + half) / (30 + half))
    assert found['sources'] == SOURCES and found['study'] == key['study']


def test_without_catch_trials_nobody_is_left_out(tmp_path):
    key = make_study(4, 0)[1]
    files = [write_answers(tmp_path, key, 'anna', prefers('B'))]
    text, found = analyse(read_raters(files, key), key, 0.8)
    assert found['raters'][0]['used'] and found['results']['win_rate']['value'] == 0
    assert 'Left out' not in text and 'Incomplete' not in text


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(study='another'), "anna.json belongs to the study 'another', the key to '{study}'"),
        (dict(rater=None), 'anna.json holds no answers: save them with the button'),
        (dict(answers=[]), 'anna.json holds no answers: save them with the button'),
        (dict(answers={'999': {}}), "there is no trial '999' in the study"),
        (dict(answers={'001': dict(choice='left')}), "'001' does not say which map was on the left"),
        (
            dict(answers={'001': dict(choice='A', first_on_left=True)}),
            "choice='A' of the trial '001' must be one",
        ),
    ],
)
def test_answers_that_cannot_be_used_say_why(tmp_path, key, fields, message):
    path = write_answers(tmp_path, key, 'anna', prefers('A'), **fields)
    with pytest.raises(StudyError, match=re.escape(message.format(**key))):
        read_raters([path], key)


def test_files_that_cannot_be_used_say_why(tmp_path, key):
    first = write_answers(tmp_path, key, 'anna', prefers('A', 'right'))
    again = write_answers(tmp_path, key, 'again', prefers('B', 'right'), rater=' Anna')
    with pytest.raises(StudyError, match="anna.json and .*again.json are both of the rater ' Anna'"):
        read_raters([first, again], key)
    composed, decomposed = 'Jos\u00e9  B.', 'Jose\u0301 B.'
    one = write_answers(tmp_path, key, 'one', prefers('A'), rater=composed)
    other = write_answers(tmp_path, key, 'other', prefers('A'), rater=decomposed)
    with pytest.raises(StudyError, match='one.json and .*other.json are both of the rater'):
        read_raters([one, other], key)
    trial = next(iter(key['trials'].values()))
    changed = tmp_path / 'changed.json'
    for change in (
        {'image': None},
        {'first': 'X'},
        {'first': ['A']},
        {'first': 'A', 'second': 'A'},
        {'first': 'A', 'second': 'wrong'},
        {'second': None},
    ):
        changed.write_text(json.dumps(dict(key, trials={'001': {**trial, **change}})))
        with pytest.raises(
            StudyError, match='changed.json was changed: each of its trials must have an image'
        ):
            read_key(changed)
    for sources in ([], 'A', {'A': 'one'}):
        changed.write_text(json.dumps(dict(key, sources=sources)))
        with pytest.raises(StudyError, match='changed.json was changed: its sources must describe A and B'):
            read_key(changed)
    changed.write_text('[' * 100_000)
    with pytest.raises(StudyError, match='changed.json is not a JSON file'):
        read_key(changed)
    with pytest.raises(StudyError, match='missing.json cannot be read: No such file'):
        read_raters([tmp_path / 'missing.json'], key)
    with pytest.raises(StudyError, match='anna.json is not a key of a study'):
        read_key(first)
    (tmp_path / 'truncated.json').write_text('{"study": ')
    with pytest.raises(StudyError, match='truncated.json is not a JSON file'):
        read_raters([tmp_path / 'truncated.json'], key)
    (tmp_path / 'list.json').write_text('[]')
    with pytest.raises(StudyError, match='list.json holds a list'):
        read_raters([tmp_path / 'list.json'], key)
    asleep = write_answers(tmp_path, key, 'asleep', prefers('A', 'wrong'))
    with pytest.raises(StudyError, match='no rater is left: catch trials right: asleep 0 of 5'):
        analyse(read_raters([asleep], key), key, 0.8)
    catch_only = write_answers(tmp_path, key, 'catch', prefers('right'))
    kept = json.loads(catch_only.read_text())
    kept['answers'] = {
        k: v for k, v in kept['answers'].items() if key['trials'][k]['first'] in ('right', 'wrong')
    }
    catch_only.write_text(json.dumps(kept))
    with pytest.raises(StudyError, match='no pair of A and B was answered'):
        analyse(read_raters([catch_only], key), key, 0.8)


# The page


class Study:
    """The page of a study in a browser, as a rater uses it."""

    def __init__(self, context, folder, count=6, catches=2):
        self.html, self.key = make_study(count, catches)
        self.trials = trials_of(self.html)
        path = folder / 'study.html'
        path.write_text(self.html, encoding='utf-8')
        # In every tab a rater looks at each pair for a second.
        context.add_init_script('let now = 0; window.look = 1000; performance.now = () => (now += look);')
        self.page = context.new_page()
        self.requests, self.errors = [], []
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.on('console', lambda message: self.errors.append(message.text))
        self.page.goto(path.as_uri())

    def enter(self, rater):
        self.page.get_by_label('Your name').fill(rater)
        self.page.get_by_role('button', name='Begin').click()

    def shown(self):
        """The trial's name, and what lies left and right."""
        left, right = (self.page.locator(f'#{side}').get_attribute('src') for side in ('left', 'right'))
        trial = next(t for t in self.trials if {t['first'], t['second']} == {left, right})
        sides = self.key['trials'][trial['id']]
        what = (sides['first'], sides['second'])
        return trial['id'], what if trial['first'] == left else what[::-1]

    def place(self):
        return self.page.locator('#place').inner_text()

    def pressed(self):
        return [b.get_attribute('data-choice') for b in self.page.locator('[aria-pressed=true]').all()]

    def save(self, folder, button='Save answers'):
        with self.page.expect_download() as download:
            self.page.get_by_role('button', name=button, exact=True).click()
        path = folder / download.value.suggested_filename
        download.value.save_as(path)
        return path


@pytest.fixture
def study(browser, tmp_path):
    context = browser.new_context(viewport=dict(width=1200, height=850))
    context.set_default_timeout(60_000)
    study = Study(context, tmp_path)
    yield study
    context.close()
    assert study.errors == []
    assert {url.partition(':')[0] for url in study.requests} <= {'file', 'data', 'blob'}


def test_a_rater_goes_through_the_study(study, tmp_path):
    page, n = study.page, len(study.trials)
    assert f'You will see {n} pairs' in page.inner_text('#start')
    study.enter('Anna B.')
    tied, by_click = None, False
    for number in range(1, n + 1):
        assert study.place() == f'{number} of {n}'
        name, what = study.shown()
        assert page.inner_text('#concept') == next(t['concept'] for t in study.trials if t['id'] == name)
        left = what[0] in ('A', 'right')
        if by_click:
            page.get_by_role('button', name='Left' if left else 'Right').click()
        else:
            page.keyboard.press(('ArrowLeft' if left else 'ArrowRight') if number % 3 else '31'[left])
        by_click = not by_click
        if number == 4:
            page.reload()
            # It remembers who rated, and whoever comes says who they are.
            assert page.get_by_label('Your name').input_value() == 'Anna B.'
            page.get_by_role('button', name='Begin').click()
            assert page.inner_text('.bar [data-name]') == 'Anna B.'
            assert study.place() == f'5 of {n}'
            assert page.locator('#progress').get_attribute('value') == '4'
            # Back, and another answer.
            page.keyboard.press('Backspace')
            assert study.shown()[0] == name and study.pressed() == ['left' if left else 'right']
            page.keyboard.press('2')
            tied = name
            assert study.place() == f'5 of {n}' and study.pressed() == []
    page.get_by_text('Done. Thank you, Anna B.!').wait_for()
    page.keyboard.press('Backspace')
    assert study.place() == f'{n} of {n}' and len(study.pressed()) == 1
    page.keyboard.press('ArrowLeft' if left else 'ArrowRight')

    file = study.save(tmp_path)
    assert file.name == f'answers-{study.key["study"]}-Anna-B-.json'
    (rater,) = read_raters([file], study.key)
    assert rater.name == 'Anna B.'
    wanted = {t: 'A' if 'A' in s.values() else 'right' for t, s in study.key['trials'].items()}
    assert rater.chosen == wanted | {tied: 'tie'}


def test_each_rater_has_an_order_and_sides_of_their_own(study, tmp_path):
    def walk():
        seen = []
        for _ in study.trials:
            seen.append(study.shown())
            study.page.keyboard.press('ArrowDown')
        return seen

    study.enter('anna')
    orders = [walk()]
    study.page.get_by_role('button', name='Another rater').click()
    study.enter('ben')
    orders.append(walk())
    assert orders[0] != orders[1]
    assert dict(orders[0]).keys() == dict(orders[1]).keys()
    assert any(dict(orders[0])[name] != what for name, what in orders[1])
    # Both are kept.
    files = [study.save(tmp_path)]
    study.page.get_by_role('button', name='Another rater').click()
    study.enter(' anna ')
    files.append(study.save(tmp_path))
    raters = read_raters(files, study.key)
    assert [rater.name for rater in raters] == ['ben', 'anna']
    for rater in raters:
        assert set(rater.chosen.values()) == {'tie'} and len(rater.chosen) == len(study.trials)


def test_half_of_a_study_can_be_saved(study, tmp_path):
    study.enter('carl')
    study.page.keyboard.press('1')
    (rater,) = read_raters([study.save(tmp_path, 'Save answers so far')], study.key)
    assert len(rater.chosen) == 1


@pytest.fixture
def two_tabs(study):
    """A second tab that still shows the first pair, after two answers in the first; their trials' names."""
    study.enter('carl')
    first, second = study.page, study.page.context.new_page()
    second.goto(first.url)
    second.get_by_role('button', name='Begin').click()
    names = []
    for _ in range(2):
        names.append(study.shown()[0])
        first.keyboard.press('1')
    study.page = second
    second.locator('#place').wait_for()
    assert study.place().startswith('1 of')
    # The browser tells a tab of another one's answers a moment later.
    kept = first.evaluate('JSON.stringify(localStorage)')
    second.wait_for_function('kept => JSON.stringify(localStorage) === kept', arg=kept)
    return names


def choices_in(file):
    return {name: given['choice'] for name, given in json.loads(file.read_text())['answers'].items()}


def test_two_tabs_lose_no_answers(study, two_tabs, tmp_path):
    study.page.keyboard.press('2')
    assert study.place().startswith('2 of')
    file = study.save(tmp_path, 'Save answers so far')
    assert choices_in(file) == dict(zip(two_tabs, ('tie', 'left')))


def test_a_tab_saves_what_another_has_answered(study, two_tabs, tmp_path):
    file = study.save(tmp_path, 'Save answers so far')
    assert choices_in(file) == dict.fromkeys(two_tabs, 'left')


def test_slips_answer_nothing(study):
    page = study.page
    study.page.get_by_label('Your name').fill('  ')
    page.get_by_role('button', name='Begin').click()
    assert page.locator('#rate').is_hidden()
    # In the field of the name keys are letters.
    study.enter('3')
    assert study.place().startswith('1 of')
    page.get_by_role('button', name='Left').dblclick()
    assert study.place().startswith('2 of')
    page.keyboard.down('ArrowRight')
    page.keyboard.down('ArrowRight')
    page.keyboard.up('ArrowRight')
    assert study.place().startswith('3 of')
    page.keyboard.press('Control+1')
    assert study.place().startswith('3 of')
    page.evaluate('look = 100')
    page.keyboard.press('ArrowRight')
    assert study.place().startswith('3 of')
    page.evaluate('look = 1000')
    page.get_by_role('button', name='Left').focus()
    for _ in range(3):
        page.keyboard.down('Enter')
    page.keyboard.up('Enter')
    assert study.place().startswith('4 of')
    for _ in range(5):
        page.keyboard.press('Backspace')
    assert study.place().startswith('1 of')
    assert page.get_by_role('button', name='Back', exact=True).is_disabled()


def test_it_is_used_without_a_mouse(study):
    page = study.page
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.id') == 'rater'
    page.keyboard.type('dora')
    page.keyboard.press('Enter')
    assert page.evaluate('document.activeElement.id') == 'question'
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.dataset.choice') == 'left'
    assert page.evaluate('getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    page.keyboard.press('Enter')
    assert study.place().startswith('2 of')
    page.keyboard.press('Tab')
    assert page.evaluate('document.activeElement.dataset.choice') == 'tie'
    page.keyboard.press('Space')
    assert study.place().startswith('3 of')


def test_all_has_a_name_for_those_who_do_not_see_it(study):
    study.enter('emil')
    page = study.page
    assert page.locator('html').get_attribute('lang') == 'en'
    assert all(image.get_attribute('alt') for image in page.locator('img').all())
    for role, names in dict(
        button=['Left', 'No difference', 'Right', 'Save answers so far', 'Another rater'],
        progressbar=['Pairs answered'],
        heading=['Which map lies better on'],
        status=[None],
    ).items():
        for name in names:
            assert page.get_by_role(role, name=name).count() == 1


@pytest.mark.parametrize('width', [320, 390, 768, 1400])
def test_it_fits_the_screen(study, width):
    page = study.page
    page.set_viewport_size(dict(width=width, height=720))
    for enter in (lambda: None, lambda: study.enter('fred')):
        enter()
        assert page.evaluate('document.documentElement.scrollWidth') <= width
    boxes = [page.locator(f'[data-choice={choice}]').bounding_box() for choice in ('left', 'tie', 'right')]
    assert all(box['height'] >= 40 and box['width'] >= 80 for box in boxes)
    assert boxes[0]['x'] + boxes[0]['width'] <= boxes[2]['x']
    assert boxes[0]['y'] == boxes[2]['y']
    for choice in ('left', 'right'):
        image = page.locator(f'#{choice}')
        assert image.evaluate('image => image.complete && image.naturalWidth') == 320
        box = image.bounding_box()
        assert box['width'] / box['height'] == pytest.approx(64 / 48, rel=0.02)
