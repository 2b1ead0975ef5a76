import socket

from research.studies.launcher import Launcher, port_for


def test_launchers(tmp_path):
    folder = tmp_path / 'arm/seed-0'
    plain = Launcher(None, None).command('train', 'a.py', folder)
    assert plain[1:] == ['tools/train.py', 'a.py', '--work-dir', str(folder)]
    torchrun = Launcher(8, None).command('test', 'a.py', folder, tmp_path / 'x.pth')
    assert torchrun == [
        *('bash', 'tools/dist_test.sh', 'a.py', str(tmp_path / 'x.pth'), '8', '--work-dir', str(folder))
    ]
    slurm = Launcher(8, 'gpu').command('train', 'a.py', folder)
    assert slurm == ['bash', 'tools/slurm_train.sh', 'gpu', 'lfi-arm', 'a.py', str(folder)]
    slurm = Launcher(8, 'gpu').command('test', 'a.py', folder, tmp_path / 'x.pth')
    assert slurm[:6] == ['bash', 'tools/slurm_test.sh', 'gpu', 'lfi-arm', 'a.py', str(tmp_path / 'x.pth')]


def test_a_cache_is_written_on_this_machine_by_as_many_processes_as_train():
    plain = ['python', '-m', 'lfi', 'cache', 'a.py']
    assert Launcher(python='python').cache_command('a.py') == plain
    assert Launcher(8).cache_command('a.py') == ['bash', 'tools/dist_cache_teacher.sh', 'a.py', '8']
    assert Launcher(8, 'gpu', 'python').cache_command('a.py') == plain


def test_cells_meet_at_ports_that_are_free(monkeypatch):
    monkeypatch.delenv('PORT', raising=False)
    with socket.socket() as taken:
        # Another study on this machine.
        taken.bind(('', 0))
        taken.listen()
        ports = {port_for(slot) for slot in range(20)}
        assert taken.getsockname()[1] not in ports
    assert len(ports) > 1
    monkeypatch.setenv('PORT', '31000')
    assert [port_for(slot) for slot in (0, 1, 1000)] == [31000, 31001, 31000]
