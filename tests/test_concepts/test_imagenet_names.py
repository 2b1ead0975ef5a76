from lfi.concepts import concept_names


def test_a_wide_vocabulary_around_a_tasks_own_classes():
    names = concept_names(dict(type='lfi.ImageNetNames'))
    assert len(set(names)) > 990
    assert names[:2] == ['tench', 'goldfish']
    wide = concept_names(dict(type='lfi.PACS', extra=dict(type='lfi.ImageNetNames')))
    assert wide[:7] == concept_names(dict(type='lfi.PACS'))
    assert set(names) < set(wide)
