"""Attacks on secrets: environment, files, other processes, keyrings, the host's tools."""

from __future__ import annotations

from attacks.model import Attack, Findings, Outcome, both
from attacks.world import World

GROUP = "secrets"


def files(name: str, folder: str, words: str) -> list[Attack]:
    """Read files of the host where they are, and where they would be for the user inside."""
    code = f"""
attempted()
for name in {words}:
    for folder in (W[{folder!r}], os.path.expanduser('~'), '/root', '/proc/self/root' + W[{folder!r}]):
        read(os.path.join(folder, name))
"""
    return both(Attack(name, GROUP, code))


def refuses_secrets(world: World, outcome: Outcome, told: Findings) -> None:
    refused = [c for c in outcome.calls if not c[2].ok]
    told.expect(outcome.calls, f"{len(outcome.calls)} calls came to the host, {len(refused)} were refused")
    answers = str([c[2] for c in outcome.calls]).encode()
    leaks = world.leaks(answers)
    told.expect(not leaks, "no answer held a secret", f"answers held {', '.join(leaks)}")


def own_launch(world: World) -> dict[str, str]:
    (world.session / "jobs/other-1/launch.json").write_text(
        '{"argv": [], "end": [], "pass_on": ["E2B_API_KEY"]}'
    )
    return {}


ATTACKS = [
    *both(
        Attack(
            "its own environment",
            GROUP,
            """
attempted()
loot(repr(dict(os.environ)), 'os.environ')
loot(repr(os.environb), 'os.environb')
environ = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
n = 0
while environ[n]:
    loot(environ[n], 'environ'); n += 1
read('/proc/self/environ')
read('/proc/self/cmdline')
""",
            control="without walls the environment is cleared, too",
        )
    ),
    *both(
        Attack(
            "the environment of every process",
            GROUP,
            "attempted()\nfor pid in pids() + W['decoys'] + [W['host'], W['parent'], 1, os.getppid()]:\n    read(f'/proc/{pid}/environ')",
        )
    ),
    *both(
        Attack(
            "the arguments of every process",
            GROUP,
            "attempted()\nfor pid in pids() + W['decoys'] + [W['host'], W['parent']]:\n    read(f'/proc/{pid}/cmdline')\n    read(f'/proc/{pid}/comm')",
        )
    ),
    *both(
        Attack(
            "everything of process 1",
            GROUP,
            """
attempted()
for name in ('environ', 'cmdline', 'auxv', 'stack', 'maps'):
    read('/proc/1/' + name)
memory(1)
for name in W['home_files']:
    read('/proc/1/root' + W['home'] + '/' + name)
    read('/proc/1/cwd' + W['home'] + '/' + name)
for fd in range(64):
    read(f'/proc/1/fd/{fd}')
""",
            control="process 1 of the machine that tests is no business of theirs",
        )
    ),
    *both(
        Attack(
            "the memory of its parent",
            GROUP,
            "attempted()\nmemory(os.getppid())\nmemory(W['host'])",
        )
    ),
    *both(
        Attack(
            "the memory of a process of the host",
            GROUP,
            "attempted()\nfor pid in W['decoys']:\n    memory(pid)\nfor pid in pids():\n    if pid not in (os.getpid(), W['host'], W['parent']) and len(pids()) < 40: memory(pid)",
        )
    ),
    *both(
        Attack(
            "memory by process_vm_readv",
            GROUP,
            """
class iovec(ctypes.Structure):
    _fields_ = [('base', ctypes.c_void_p), ('len', ctypes.c_size_t)]
attempted()
for pid in {*W['decoys'], W['host'], os.getppid(), 1}:
    try:
        maps = open(f'/proc/{pid}/maps').read().splitlines()
    except OSError as problem:
        refused(f'maps of {pid}', problem)
        maps = ['400000-500000 rw-p', '7ffff0000000-7ffff0100000 rw-p']
    tried = 0
    for line in maps:
        span, rights = line.split()[:2]
        if 'rw' not in rights or tried > 300:
            continue
        tried += 1
        first, last = (int(x, 16) for x in span.split('-'))
        size = min(last - first, 16 << 20)
        buffer = ctypes.create_string_buffer(size)
        here, there = iovec(ctypes.addressof(buffer), size), iovec(first, size)
        try:
            got = check(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))
            loot(buffer.raw[:got], f'memory of {pid}')
        except OSError as problem:
            refused(f'process_vm_readv {pid}', problem)
            break
""",
        )
    ),
    *both(
        Attack(
            "root, cwd and files of every process",
            GROUP,
            """
attempted()
for pid in [*pids(), *W['decoys'], W['host'], W['parent']]:
    for name in ('.netrc', '.cache/huggingface/token'):
        read(f"/proc/{pid}/root{W['home']}/{name}")
    for name in ('.env', '../home/.netrc'):
        read(f'/proc/{pid}/cwd/{name}')
    for fd in range(3, 40):
        if os.path.exists(f'/proc/{pid}/fd/{fd}'):
            read(f'/proc/{pid}/fd/{fd}')
            read(f'/proc/{pid}/fd/{fd}/home/.netrc')
    read(f'/proc/{pid}/task/{pid}/environ')
""",
        )
    ),
    *both(
        Attack(
            "descriptors that it inherited",
            GROUP,
            """
attempted()
seen = []
for fd in range(3, 1024):
    try:
        os.fstat(fd)
    except OSError:
        continue
    seen.append((fd, os.readlink(f'/proc/self/fd/{fd}') if os.path.exists(f'/proc/self/fd/{fd}') else '?'))
    for path in ('home/.netrc', '../home/.netrc', '.netrc'):
        try:
            loot(os.read(os.open(path, os.O_RDONLY, dir_fd=fd), 9999), f'fd {fd} {path}')
        except OSError:
            pass
    try:
        loot(os.pread(fd, 1 << 20, 0), f'fd {fd}')
    except OSError:
        pass
print(seen)
""",
            control="the host closes its descriptors in every child, with walls or without",
        )
    ),
    *files(
        "the Hub's token in the home's cache",
        "home",
        "['.cache/huggingface/token', '.cache/huggingface/stored_tokens']",
    ),
    *files(
        "netrc and git credentials",
        "home",
        "['.netrc', '.git-credentials', '.config/gh/hosts.yml', '.pypirc', '.config/pip/pip.conf']",
    ),
    *files(
        "keys of ssh, AWS and Docker",
        "home",
        "['.ssh/id_ed25519', '.aws/credentials', '.docker/config.json']",
    ),
    *files("shell history and start files", "home", "['.bash_history', '.bashrc']"),
    *files("env files and git's configuration of the project", "project", "W['project_files']"),
    *files("the state folder and other sessions", "state", "W['state_files']"),
    Attack(
        "the session's own journal, ledger and sealed items",
        GROUP,
        """
attempted()
for name in ('journal.sqlite', 'journal.sqlite-wal', 'ledger.sqlite', 'ledger.sqlite-wal', 'ledger-notes.txt',
             'evals/sealed/items.jsonl', 'evals/jobs/hidden-1/output/labels.txt'):
    read(W['session'] + '/' + name)
    read('../' + name)
    read(W['workspace'] + '/../' + name)
    read(W['jobs'] + '/../' + name)
""",
    ),
    *both(
        Attack(
            "folders of the session and all that lies there",
            GROUP,
            """
attempted()
count = 0
for top in (W['base'], W['session'], W['jobs'], os.path.dirname(W['base']), '/home', '/root', '/mnt', '/srv', '/opt', '/run', '/var/lib'):
    for place, folders, names in os.walk(top):
        for name in names:
            count += 1
            if count < 2000:
                read(os.path.join(place, name), 1 << 16)
print('READ', count, 'files')
""",
            plant=own_launch,
            control="it would walk through the home of who runs the tests",
        )
    ),
    *both(
        Attack(
            "what lies in the host's temporary folders",
            GROUP,
            "attempted()\nfor path in W['strewn']:\n    read(path)\nfor top in ('/tmp', '/var/tmp', '/dev/shm'):\n    for path in glob.glob(top + '/*.strewn'):\n        read(path)",
        )
    ),
    *both(
        Attack(
            "keys in the kernel's keyrings",
            GROUP,
            """
attempted()
def take(key, where):
    buffer = ctypes.create_string_buffer(4096)
    try:
        size = system('keyctl', 11, key, buffer, 4096)  # first: then the buffer is full
        loot(buffer.raw[:size], where)
    except OSError as problem:
        refused(where, problem)
for ring in (-1, -2, -3, -4, -5):
    for place in ('session-keyring', 'user-keyring'):
        try:
            take(system('keyctl', 10, ring, b'user', f"{W['mark']}:{place}".encode(), 0), f'found in ring {ring}')
        except OSError as problem:
            refused(f'search ring {ring}', problem)
    buffer = ctypes.create_string_buffer(4096)
    try:
        size = system('keyctl', 11, ring, buffer, 4096)
        for key in struct.unpack(f'{size // 4}i', buffer.raw[:size]):
            take(key, f'key of ring {ring}')
    except OSError as problem:
        refused(f'list ring {ring}', problem)
for key in W['keys']:
    take(key, f'key {key} by its number')
for place in ('session-keyring', 'user-keyring'):
    try:
        take(system('request_key', b'user', f"{W['mark']}:{place}".encode(), None, 0), 'requested')
    except OSError as problem:
        refused('request_key', problem)
for line in read('/proc/keys').decode().splitlines():
    take(int(line.split()[0], 16), 'a key of /proc/keys')
""",
        )
    ),
    *both(
        Attack(
            "its own memory: what the kernel was told",
            GROUP,
            "attempted()\nmemory(os.getpid())",
            control="the bare kernel is told as little",
        )
    ),
    Attack(
        "objects of the host, by gc, frames and modules",
        GROUP,
        """
import gc, inspect
attempted()
for thing in gc.get_objects():
    if isinstance(thing, (dict, list, tuple)):
        try:
            loot(repr(thing)[:200000], 'gc')
        except Exception:
            pass
frame = sys._getframe()
while frame:
    loot(repr(frame.f_locals)[:200000], 'frames'); frame = frame.f_back
for thread, frame in sys._current_frames().items():
    loot(repr(frame.f_locals)[:200000], 'threads')
loot(repr(sys.argv) + repr(sys.orig_argv) + repr(getattr(sys, 'warnoptions', '')), 'argv')
""",
        control="the bare kernel is told as little",
        transport=True,
    ),
    Attack(
        "asking the host's tools for secret files",
        GROUP,
        """
attempted()
def ask(tool, **given):
    try:
        loot(repr(tool(**given)), repr(given))
    except BaseException as problem:
        loot(repr(problem), repr(given))
        refused(repr(given)[:80], problem)
for folder, names in (('home', W['home_files']), ('project', W['project_files']), ('state', W['state_files'])):
    for name in names:
        path = W[folder] + '/' + name
        for given in (path, '../../../../..' + path, 'file://' + path, path + '/.', '/proc/self/root' + path):
            ask(read_file, path=given)
        ask(inspect_dataset, source=path)
        ask(list_files, path=os.path.dirname(path), pattern='*')
for path in ('/proc/self/environ', '/proc/self/cmdline', '/proc/%d/environ' % W['host'], '/proc/%d/mem' % W['host'],
             W['session'] + '/journal.sqlite', W['session'] + '/evals/sealed/items.jsonl', '~/.netrc', '$HOME/.netrc'):
    ask(read_file, path=path)
    ask(inspect_dataset, source=path)
ask(run_command, command='env; cat /proc/*/environ /proc/*/cmdline ' + W['home'] + '/.netrc ' + W['canary'])
ask(list_files, path=W['home'])
ask(list_files, path='/')
""",
        contained=refuses_secrets,
        control="tools run on the host, with walls or without",
        seconds=60,
        transport=True,
    ),
]
