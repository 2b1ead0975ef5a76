from research.studies.settings_digest import settings_digest


def test_scopes_and_watchers_do_not_count_and_values_do():
    settings = dict(model=dict(type='A', heads=[dict(type='B', n=1)]), options=('x=1',))
    scoped = dict(
        model=dict(_scope_='mmdet', type='A', heads=[dict(_scope_='lfi', type='B', n=1)]), options=('x=1',)
    )
    assert settings_digest(settings, 3) == settings_digest(scoped, 3)
    assert settings_digest(dict(hooks=dict(a=1))) == settings_digest(
        dict(hooks=dict(a=1, non_finite=dict(type='B')))
    )
    assert settings_digest(settings, 3) != settings_digest(settings, 4)
    changed = dict(model=dict(type='A', heads=[dict(type='B', n=2)]), options=('x=1',))
    assert settings_digest(settings) != settings_digest(changed)


def test_the_order_of_keys_does_not_count():
    assert settings_digest(dict(a=1, b=dict(c=2, d=3))) == settings_digest(dict(b=dict(d=3, c=2), a=1))


def test_where_data_and_teachers_lie_does_not_count(monkeypatch):
    def digest(data, teachers, name='PACS'):
        monkeypatch.setenv('LFI_DATA_ROOT', data)
        monkeypatch.setenv('LFI_TEACHER_ROOT', teachers)
        return settings_digest(dict(data_root=f'{data}/{name}', teacher=[f'{teachers}/lite0']))

    assert digest('/a/data', '/a/data/teachers') == digest('/a/teachers/data', '/a/teachers')
    assert digest('data', 'checkpoints') == digest('/mnt/data', '../teachers') == digest('/a', '/a/b')
    assert digest('data', 'checkpoints') != digest('data', 'x', 'VLCS')
    monkeypatch.delenv('LFI_DATA_ROOT')
    monkeypatch.delenv('LFI_TEACHER_ROOT')
    assert settings_digest(dict(data_root='data/PACS', teacher=['checkpoints/lite0'])) == digest('/a', '/b')
