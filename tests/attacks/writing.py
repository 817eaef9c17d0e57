"""Attacks on the host's files: directly, through links and renames, and through the host's own hands."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from attacks.model import Attack, Findings, Outcome, both
from attacks.world import World

GROUP = "files"
MACHINE = "it would change the machine that tests"


def no_trap_left(world: World, outcome: Outcome, told: Findings) -> None:
    """No setuid file of the host's user or root, no device and no file of root's in what the attack wrote."""
    found = []
    for place, folders, names in os.walk(world.workspace):
        for name in [*folders, *names]:
            path = Path(place, name)
            mode = path.lstat()
            trap = mode.st_mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode.st_mode)
            if trap and mode.st_uid in (0, os.geteuid()):
                found.append(f"{name} runs as user {mode.st_uid} for whoever starts it")
            if stat.S_ISBLK(mode.st_mode) or stat.S_ISCHR(mode.st_mode):
                found.append(f"{name} is a device")
            if "security.capability" in _attributes(path):
                found.append(f"{name} carries capabilities")
    told.expect(
        not found, "no setuid file of the host, no device, no capability lies there", "; ".join(found)
    )


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def job_left_no_trap(world: World, outcome: Outcome, told: Findings) -> None:
    """The same, for a job's folder; and no link in its output leads out of it."""
    assert world.job
    folder = world.job
    found = []
    for place, folders, names in os.walk(folder / "output"):
        for name in [*folders, *names]:
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode) and folder / "output" not in path.resolve().parents:
                found.append(f"{name} leads to {path.resolve()}")
            elif mode & (stat.S_ISUID | stat.S_ISGID) and stat.S_ISREG(mode):
                found.append(f"{name} is setuid")
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)):
                found.append(f"{name} is neither file nor folder")
    told.expect(not found, "its output is plain files, no link leads out", "; ".join(found))


def job_files(world: World, outcome: Outcome, told: Findings) -> None:
    """The job's own papers say what the host wrote, and the host's readers still work."""
    assert world.job
    folder = world.job
    told.expect(outcome.result is not None, "its status could be read", outcome.raised)
    if outcome.result is not None:
        told.expect(outcome.result.state in ("succeeded", "failed"), f"it ended as {outcome.result.state}")
        told.expect(outcome.result.id.startswith("attack"), "the status is its own")
    for name in ("spec.json", "config.json", "launch.json", "status.json", "script.py"):
        told.expect("forged" not in (folder / name).read_text()[:200], f"{name} is not rewritten")
    told.expect(not (folder / "cancel").exists(), "nothing was cancelled")


def tools_answered(world: World, outcome: Outcome, told: Findings) -> None:
    """The host was asked, and what it gave held nothing of the host."""
    told.expect(outcome.calls, f"{len(outcome.calls)} calls came to the host")
    leaks = world.leaks(str([c[2] for c in outcome.calls]).encode())
    told.expect(not leaks, "no answer held a secret", f"answers held {', '.join(leaks)}")
    words = "as the host left it"
    told.expect(words not in str([c[2] for c in outcome.calls]), "no answer held the canary")
    told.expect(world.canary.read_text() == f"{words}\n", "the canary is as it was")


def usable_after(world: World, outcome: Outcome, told: Findings) -> None:
    """The session goes on: the next cell runs."""
    again = world.kernel.run("6 * 7")
    told.expect(
        again.value == "42",
        "the next cell runs",
        f"the next cell gave {again.error[-300:]!r}, {again.lost!r}, {again.value!r}",
    )


DIRECT = """
attempted()
def change(path):
    for how in ('a', 'w', 'r+'):
        try:
            with open(path, how) as file: file.write('written by an attack')
            print('READ wrote', path)
        except (OSError, ValueError) as problem:
            refused(path, problem)
    for action in (os.remove, lambda p: os.chmod(p, 0o666), lambda p: os.utime(p, (1, 1)), lambda p: os.truncate(p, 0)):
        try: action(path)
        except OSError as problem: refused(path, problem)
"""

ATTACKS = [
    *both(
        Attack(
            "the host's files, home, project and state",
            GROUP,
            DIRECT
            + """
for path in (W['canary'], W['home'] + '/.bashrc', W['project'] + '/.env', W['state'] + '/sessions/other/session.json'):
    change(path)
for folder in (W['outside'], W['home'], W['project'], W['base'], W['session']):
    change(folder + '/new-file')
""",
        )
    ),
    *both(
        Attack(
            "what is shown read-only: data, other jobs, the kernel, packages, recipes",
            GROUP,
            DIRECT
            + """
import importlib.util
for path in (W['session'] + '/datasets/rows/data.jsonl', W['jobs'] + '/other-1/output/result.json'):
    change(path)
for folder in (os.path.dirname(os.__file__), os.path.dirname(sys.executable), '/usr', '/usr/bin', '/etc', '/'):
    try:
        open(os.path.join(folder, 'trace-of-an-attack'), 'w').close()
        os.remove(os.path.join(folder, 'trace-of-an-attack'))
        won('wrote in ' + folder)
    except OSError as problem:
        refused(folder, problem)
""",
            control=MACHINE,
        )
    ),
    *both(
        Attack(
            "through links in the workspace",
            GROUP,
            DIRECT
            + """
os.symlink(W['canary'], 'link-' + str(os.getpid()))
os.symlink(W['outside'], 'folder-' + str(os.getpid()))
change('link-' + str(os.getpid()))
change('folder-' + str(os.getpid()) + '/canary.txt')
change('folder-' + str(os.getpid()) + '/new-file')
""",
        ),
        contained=job_left_no_trap,
    ),
    *both(
        Attack(
            "by hard links",
            GROUP,
            DIRECT
            + """
for n, path in enumerate((W['canary'], W['home'] + '/.netrc', '/usr/bin/env', sys.executable, W['session'] + '/datasets/rows/data.jsonl')):
    name = f'hard-{os.getpid()}-{n}'
    try:
        os.link(path, name)
        won('hard link to ' + path)
        if 'usr' not in path and path != sys.executable: change(name)
    except OSError as problem:
        refused(path, problem)
""",
            control=MACHINE,
        )
    ),
    *both(
        Attack(
            "by renames and dots",
            GROUP,
            """
attempted()
open('mine', 'w').write('written by an attack')
here = os.open('.', os.O_RDONLY)
targets = [W['outside'] + '/canary.txt', W['outside'] + '/new-file', '../new-file', '../../../../outside/new-file']
for path in targets:
    for what, action in (('rename', lambda: os.replace('mine', path)), ('rename at', lambda: os.rename('mine', path, src_dir_fd=here, dst_dir_fd=here)),
                         ('exchange', lambda: system('renameat2', here, b'mine', -100, path.encode(), 2)),
                         ('open', lambda: os.open(path, os.O_WRONLY | os.O_CREAT, dir_fd=here))):
        try:
            action()
            print('READ', what, path)
            if not os.path.exists('mine'): open('mine', 'w').write('x')
        except OSError as problem:
            refused(f'{what} {path}', problem)
os.rename('mine', 'mine2') if os.path.exists('mine') else None
try:
    os.rename('.', '../elsewhere'); won('moved the workspace')
except OSError as problem:
    refused('move the workspace', problem)
""",
        )
    ),
    *both(
        Attack(
            "by file handles, past the mounts",
            GROUP,
            """
attempted()
class Handle(ctypes.Structure):
    _fields_ = [('bytes', ctypes.c_uint), ('type', ctypes.c_int), ('f', ctypes.c_ubyte * 128)]
handle, number = Handle(128), ctypes.c_int()
for path in (b'.', b'/usr', b'/tmp', b'/'):
    here = os.open(path, os.O_RDONLY)
    try:
        system('name_to_handle_at', here, b'', ctypes.byref(handle), ctypes.byref(number), 0x1000)
    except OSError as problem:
        refused('name_to_handle_at', problem)
    for inode in (2, 1, 128):  # the root of ext4, of btrfs and tmpfs, of xfs
        root = Handle(8, 1)
        struct.pack_into('II', root.f, 0, inode, 0)
        for given in (root, handle):
            try:
                fd = system('open_by_handle_at', here, ctypes.byref(given), os.O_RDONLY)
                won(f'opened a handle: {os.listdir(fd)[:5]}')
            except OSError as problem:
                refused('open_by_handle_at', problem)
""",
            control="root opens handles of its own machine",
        )
    ),
    *both(
        Attack(
            "settings of the kernel below /proc/sys",
            GROUP,
            """
attempted()
for name, value in W['system'].items():
    try:
        with open('/proc/sys/' + name, 'r+') as file: file.write('|/attacked' if 'core' in name else 'attacked')
        if name != 'kernel/hostname' and open('/proc/sys/' + name).read() != value: won('changed ' + name)
    except OSError as problem:
        refused(name, problem)
for path in ('/proc/sysrq-trigger', '/proc/self/oom_score_adj', '/proc/1/oom_score_adj', '/proc/irq/default_smp_affinity', '/proc/mtrr', '/proc/scsi/scsi', '/proc/acpi/wakeup'):
    try:
        if os.stat(path).st_rdev == os.stat('/dev/null').st_rdev: continue  # masked
        with open(path, 'w') as file: file.write('h' if 'sysrq' in path else '-1000' if 'oom' in path else '')
        if 'oom' not in path or open(path).read().strip() == '-1000': won('wrote ' + path)
    except OSError as problem:
        refused(path, problem)
""",
            control=MACHINE,
        )
    ),
    *both(
        Attack(
            "/sys and control groups",
            GROUP,
            """
attempted()
for path in ('/sys/kernel/uevent_helper', '/sys/power/state', '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages', '/sys/module/printk/parameters/time',
             '/sys/fs/cgroup/memory/release_agent', '/sys/fs/cgroup/rdma/release_agent', '/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/pids/cgroup.procs',
             '/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/pids.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'):
    try:
        fd = os.open(path, os.O_WRONLY)
        won('opened for writing ' + path)
    except OSError as problem:
        refused(path, problem)
for line in open('/proc/self/cgroup'):
    place = line.strip().split(':', 2)[2]
    for root in glob.glob('/sys/fs/cgroup/*') + ['/sys/fs/cgroup']:
        try:
            os.mkdir(root + '/attack'); won('made a group in ' + root)
        except OSError as problem:
            refused(root, problem)
        for name in ('release_agent', 'notify_on_release', 'cgroup.procs', 'memory.limit_in_bytes', 'memory.max', 'pids.max'):
            try:
                os.open(root + place + '/' + name, os.O_WRONLY); won('opened ' + root + place + '/' + name)
            except OSError as problem:
                refused(name, problem)
""",
            control=MACHINE,
        )
    ),
    *both(
        Attack(
            "devices: disks, memory, the kernel's log",
            GROUP,
            """
attempted()
allowed = {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'ptmx', 'console', 'fd', 'stdin', 'stdout', 'stderr', 'pts', 'shm', 'core', 'mqueue'}
extra = [n for n in os.listdir('/dev') if n not in allowed and not n.startswith(('nvidia', 'dri', 'kfd'))]
if extra: won(f'devices {extra[:9]}')
for name, kind, major, minor in (('sda', 0o60000, 8, 0), ('vda', 0o60000, 254, 0), ('vda2', 0o60000, 253, 0), ('mem', 0o20000, 1, 1), ('kmsg', 0o20000, 1, 11), ('fuse', 0o20000, 10, 229), ('loop0', 0o60000, 7, 0)):
    for path in (f'/dev/{name}', f'/tmp/{name}-{os.getpid()}', f'node-{name}-{os.getpid()}'):
        if not path.startswith('/dev'):
            try:
                os.mknod(path, kind | 0o666, os.makedev(major, minor))
            except OSError as problem:
                refused(f'mknod {path}', problem)
        for how in (os.O_RDONLY, os.O_WRONLY):
            try:
                os.close(os.open(path, how | os.O_NONBLOCK)); won(f'opened {path}')
            except OSError as problem:
                refused(path, problem)
for path in ('/proc/kcore', '/proc/kmsg', '/dev/console'):
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK); data = os.read(fd, 99)
        if data: won(f'read {path}')
    except OSError as problem:
        refused(path, problem)
""",
            contained=no_trap_left,
            control=MACHINE,
        ),
        contained=job_left_no_trap,
    ),
    *both(
        Attack(
            "a setuid copy for the host to run",
            GROUP,
            """
import shutil
attempted()
for n, source in enumerate((sys.executable, '/bin/sh', '/usr/bin/env')):
    try:
        shutil.copyfile(os.path.realpath(source), f'tool-{n}')
    except OSError as problem:
        refused(source, problem)
        continue
    for mode in (0o6755, 0o4777, 0o2755):
        try:
            os.chmod(f'tool-{n}', mode)
        except OSError as problem:
            refused(oct(mode), problem)
    for user in (0, 1000):
        try:
            os.chown(f'tool-{n}', user, user); won(f'gave a file to user {user}')
        except OSError as problem:
            refused(f'chown {user}', problem)
    try:
        os.setxattr(f'tool-{n}', 'security.capability', struct.pack('<IIIII', 0x02000001, 0xffffffff, 0, 0xffffffff, 0))
        won('gave a file capabilities')
    except OSError as problem:
        refused('file capabilities', problem)
    print(oct(os.stat(f'tool-{n}').st_mode))
""",
            contained=no_trap_left,
        ),
        contained=job_left_no_trap,
    ),
    # Through the host's own hands
    Attack(
        "a link that the host's tools shall follow",
        GROUP,
        """
attempted()
def ask(tool, **given):
    try: loot(repr(tool(**given)), repr(given))
    except ToolError as problem: refused(repr(given)[:80], problem)
os.symlink(W['canary'], 'to-canary'); os.symlink(W['outside'], 'to-folder'); os.symlink(W['home'] + '/.netrc', 'to-netrc')
os.symlink('to-canary', 'to-link'); os.symlink('/proc/self/environ', 'to-environ'); os.symlink('/proc/self/cwd/../home', 'to-home')
os.symlink(W['state'], 'to-state')
for name in ('to-canary', 'to-link', 'to-folder/canary.txt', 'to-folder/new-file', 'to-folder/deep/new-file', 'to-folder/../outside/new-file'):
    ask(write_file, path=name, content='written by the host')
    ask(edit_file, path=name, old='as the host', new='as an attack')
for name in ('to-canary', 'to-link', 'to-folder/canary.txt', 'to-netrc', 'to-environ', 'to-home/.netrc', 'to-state/sessions/other/session.json'):
    ask(read_file, path=name)
    ask(inspect_dataset, source=name)
for name in ('to-folder', 'to-home', 'to-state', '.'):
    ask(list_files, path=name)
ask(launch_script, script='to-canary', name='from-a-link')
""",
        contained=tools_answered,
        alone=True,
        transport=True,
        control="tools run on the host, with walls or without",
        seconds=60,
    ),
    Attack(
        "a link swapped in while the host writes and reads",
        GROUP,
        """
attempted()
os.makedirs('swap'); os.symlink(W['outside'], 'bait'); open('swap/canary.txt', 'w').write('mine')
os.symlink(W['canary'], 'bait-file'); open('swap-file', 'w').write('mine')
stop = False
def swap():
    while not stop:
        try:
            system('renameat2', -100, b'swap', -100, b'bait', 2)
            system('renameat2', -100, b'swap-file', -100, b'bait-file', 2)
        except OSError: pass
threading.Thread(target=swap, daemon=True).start()
for n in range(60):
    for action in (lambda: write_file('swap/canary.txt', 'by the host'), lambda: write_file('swap/new-file', 'by the host'), lambda: write_file('swap-file', 'by the host'),
                   lambda: loot(repr(read_file('swap-file'))), lambda: edit_file('swap-file', 'left', 'right')):
        try: action()
        except ToolError: pass
stop = True
""",
        contained=tools_answered,
        alone=True,
        transport=True,
        control="tools run on the host, with walls or without",
        seconds=60,
    ),
    Attack(
        "pipes, sockets and devices in the way of the host's tools",
        GROUP,
        """
attempted()
os.mkfifo('pipe.txt'); os.mkfifo('pipe.jsonl')
s = socket.socket(socket.AF_UNIX); s.bind('socket.txt')
os.symlink('/dev/zero', 'zero.txt'); os.symlink('/proc/self/fd/0', 'stdin.txt'); os.symlink('loop.txt', 'loop.txt')
for name in ('pipe.txt', 'pipe.jsonl', 'socket.txt', 'zero.txt', 'stdin.txt', 'loop.txt'):
    for action in (lambda: read_file(name), lambda: edit_file(name, 'a', 'b'), lambda: write_file(name, 'x'), lambda: inspect_dataset(name)):
        try: action()
        except ToolError as problem: refused(name, problem)
print(len(list_files('.').files))
""",
        contained=lambda world, outcome, told: told.expect(
            outcome.seconds < 30 and outcome.calls,
            f"the host answered {len(outcome.calls)} calls and did not hang",
        ),
        alone=True,
        transport=True,
        control="tools run on the host, with walls or without",
        seconds=60,
    ),
    Attack(
        "the kernel's own folder as a link, then a crash",
        GROUP,
        """
import shutil
attempted()
shutil.rmtree('.ml-intern', ignore_errors=True)
if os.path.lexists('.ml-intern'): os.rename('.ml-intern', 'moved-away')
os.symlink(W['outside'], '.ml-intern')
sys.stdout.flush()
time.sleep(0.2)
os._exit(3)
""",
        contained=usable_after,
        alone=True,
        transport=True,
        control=True,
    ),
    Attack(
        "the kernel's output file as a link, then a crash",
        GROUP,
        """
attempted()
for name in os.listdir('.ml-intern') if os.path.isdir('.ml-intern') else []:
    if name.endswith('.out'):
        os.remove('.ml-intern/' + name); os.symlink(W['home'] + '/.netrc', '.ml-intern/' + name)
        os.symlink(W['canary'], '.ml-intern/' + name.replace('.out', '.snapshot'))
time.sleep(0.2)
os._exit(3)
""",
        contained=usable_after,
        alone=True,
        transport=True,
        control="the host reads through its own descriptor, with walls or without",
    ),
    Attack(
        "the folder of commands' outputs as a link",
        GROUP,
        """
attempted()
os.symlink(W['outside'], 'command_outputs'); os.symlink(W['outside'], 'cell_outputs')
try:
    print(run_command([sys.executable, '-c', 'print("x" * 100000)']).output_path)
except ToolError as problem:
    refused('run_command', problem)
print('x' * 100_000)
""",
        control="the bare cell writes there itself",
        alone=True,
    ),
    Attack(
        "folders without end, then a restart",
        GROUP,
        """
attempted()
for n in range(1500):
    os.mkdir('d'); os.chdir('d')
open('bottom', 'w').close()
time.sleep(0.2)
os._exit(3)
""",
        contained=usable_after,
        alone=True,
        transport=True,
        control="the bare host does not walk the workspace",
    ),
    Attack(
        "names that are no text, hostile names",
        GROUP,
        """
attempted()
for name in (b'\\xff\\xfe.txt', b'new\\nline', b'\\x1b[2J\\x1b]0;attacked\\x07', b'-rf', b'..\\xe2\\x80\\xae', b'a' * 255):
    open(name, 'w').write('x')
found = list_files('.')
print(found.total, [f.path for f in found.files][:9])
""",
        contained=usable_after,
        alone=True,
        transport=True,
        control="tools run on the host, with walls or without",
    ),
    # Of a job
    Attack(
        "its own papers: status, settings, metrics, cancel",
        GROUP,
        """
attempted()
folder = os.path.dirname(os.getcwd())
for base in (folder, '..', '/proc/self/cwd/..'):
    for name in ('status.json', 'spec.json', 'launch.json', 'config.json', 'script.py', 'alive', 'log.txt', 'cancel', 'supervisor.log', 'status.json.new', '../.lock'):
        for how in ('w', 'a'):
            try:
                open(base + '/' + name, how).write('forged {"state": "succeeded"}')
                print('READ wrote', base, name)
            except OSError as problem: refused(name, problem)
        try: os.replace('mine', base + '/' + name)
        except OSError: pass
for name in ('status.json', 'launch.json', '../other-1/launch.json'):
    read(folder + '/' + name)
""",
        kind="job",
        transport=True,
        contained=job_files,
        control="without walls a job's folder is open to it",
    ),
    Attack(
        "recipes, other jobs, slots and the jobs' lock",
        GROUP,
        DIRECT
        + """
jobs = W['jobs']
for path in (jobs + '/other-1/output/result.json', jobs + '/other-1/cancel', jobs + '/.lock', W['state'] + '/slots/slot-0'):
    change(path)
for folder in (jobs, jobs + '/other-1', jobs + '/other-1/output'):
    try: print('READ', os.listdir(folder))
    except OSError as problem: refused(folder, problem)
recipes = [p for p in glob.glob('/**/jobs/recipes/*.py', recursive=False) + [W.get('recipe', '')] if p]
for path in recipes:
    try: open(path, 'a'); won('opened ' + path)
    except OSError as problem: refused(path, problem)
""",
        kind="job",
        plant=lambda world: {"recipe": str(_recipe())},
        control=MACHINE,
    ),
    Attack(
        "links in output and checkpoints that the host shall publish",
        GROUP,
        """
attempted()
here = os.getcwd(); checkpoints = os.path.join(os.path.dirname(here), 'checkpoints')
os.makedirs('model/deep')
for folder in ('.', 'model', 'model/deep', checkpoints):
    for n, target in enumerate((W['home'] + '/.netrc', W['home'], W['canary'], '/proc/self/environ', '../../../..', W['state'])):
        try: os.symlink(target, f'{folder}/link-{n}')
        except OSError as problem: refused(folder, problem)
os.symlink(W['home'] + '/.netrc', 'model/config.json'); os.symlink(W['home'] + '/.netrc', 'result.json')
os.mkfifo('model/pipe')
os.symlink('model', 'inner')
""",
        kind="job",
        transport=True,
        contained=lambda world, outcome, told: (
            job_left_no_trap(world, outcome, told),
            _tools_read(world, told),
        )[0],
        control="the supervisor settles the output, with walls or without",
    ),
    Attack(
        "metrics that are no metrics",
        GROUP,
        """
import json
attempted()
path = os.path.join(os.path.dirname(os.getcwd()), 'metrics.jsonl')
for action in (lambda: os.remove(path), lambda: os.replace('mine', path), lambda: os.symlink(W['home'] + '/.netrc', path)):
    try: action(); print('READ replaced the metrics')
    except OSError as problem: refused('metrics', problem)
lines = ['[' * 100_000, '{"step": ' + '9' * 6000 + '}', '{"step": 1e999, "loss": NaN}', '{"step": -1, "loss": {"a": [1]}}', 'null', '[]', '"x"',
         '{"step": "x", "loss": "y"}', '\\x00\\x01', '{"total_steps": [], "step": {}}', '{"step": 5, "total_steps": "x"}', '{"step": 6, "loss": 1' + '0' * 400 + '}', '{"step": true, "loss": true}', '{"step": 7' + '0' * 400 + ', "loss": 1}', '{"a' + 'b' * 100_000 + '": 1}', '{"step": 3, "loss": 1.5, "state": "forged", "id": "forged"}']
with open(path, 'a') as file:
    for line in lines: file.write(line + '\\n')
    file.write('{"step": 4, "loss": 2.5}')
""",
        kind="job",
        transport=True,
        contained=job_files,
        control="the metrics are the job's to write, with walls or without",
    ),
    Attack(
        "folders without end in the output",
        GROUP,
        "attempted()\nfor n in range(3000):\n    os.mkdir('d'); os.chdir('d')\nos.symlink(W['home'], 'link')\nopen('bottom', 'w').close()",
        kind="job",
        transport=True,
        contained=lambda world, outcome, told: told.expect(
            outcome.result is not None and outcome.result.state == "succeeded",
            "the job is told as it ended",
            f"told as {getattr(outcome.result, 'state', outcome.raised)}: {getattr(outcome.result, 'failure', '')}",
        ),
        control="the supervisor settles the output, with walls or without",
    ),
]


def _recipe() -> Path:
    from ml_intern.jobs.launch import RECIPES

    return RECIPES / "sft.py"


def _tools_read(world: World, told: Findings) -> None:
    """The host's tools, asked for what the links lead to."""
    assert world.job
    job = world.job
    answers = []
    for name in (
        "output/link-0",
        "output/model/config.json",
        "checkpoints/link-0",
        "checkpoints/link-1/.netrc",
        "output/result.json",
    ):
        for tool, key in (("read_file", "path"), ("inspect_dataset", "source")):
            answers.append(world.router.call(tool, {key: str(job / name)}, source="test"))
    answers.append(world.router.call("job_status", {"job": job.name}, source="test"))
    leaks = world.leaks(str(answers).encode())
    told.expect(
        not leaks, f"{len(answers)} answers of tools held no secret", f"answers held {', '.join(leaks)}"
    )
