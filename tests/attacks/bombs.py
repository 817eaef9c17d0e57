"""Attacks on what the machine has: processes, memory, disk, descriptors, logs."""

from __future__ import annotations

from typing import Any

from attacks.model import Attack, Check, Findings, Outcome, both
from attacks.world import World

GROUP = "bombs"
MACHINE = "it would use up the machine that tests"
LIMITS = {"processes": 40, "memory_mb": 200, "disk_mb": 24, "file_mb": 24, "growth_mb": 48}
JOB = {"job_memory_mb": 200, "job_file_mb": 24, "job_disk_mb": 48}


def bounded(processes: int = 0, memory_mb: int = 0, disk_mb: int = 0, text: int = 0) -> Check:
    """The host measured no more than this."""

    def check(world: World, outcome: Outcome, told: Findings) -> None:
        if processes:
            told.expect(
                outcome.processes <= processes,
                f"at most {outcome.processes} processes at a time were counted (limit {processes})",
            )
        if memory_mb:
            told.expect(
                outcome.resident_mb <= memory_mb,
                f"at most {outcome.resident_mb:.0f} MB of memory were measured (limit {memory_mb})",
            )
        if disk_mb:
            told.expect(
                outcome.grown_mb <= disk_mb, f"{outcome.grown_mb:.0f} MB of disk were taken (limit {disk_mb})"
            )
        if text:
            told.expect(
                len(outcome.text) <= text, f"the result has {len(outcome.text)} characters (limit {text})"
            )
        if world.kernel is not None:
            again = world.kernel.run("6 * 7")
            if "grew by more" in again.error:  # a late word on what the bomb wrote: what is there may stay
                again = world.kernel.run("6 * 7")
            told.expect(
                again.value == "42",
                "the next cell runs",
                f"the next cell gave {again.error[-300:]!r}, {again.lost!r}, {again.value!r}",
            )
        elif outcome.result is not None:
            told.expect(outcome.result.state in ("succeeded", "failed"), f"the job is {outcome.result.state}")

    return check


def bomb(name: str, code: str, check: Check, job: dict[str, Any] | None = None, **more: Any) -> list[Attack]:
    made = Attack(name, GROUP, code, contained=check, limits=LIMITS, seconds=12, control=MACHINE, **more)
    return both(made, limits=JOB, **(job or {}))


MANY = """
children = []
def child(work):
    pid = os.fork()
    if pid == 0:
        try: work()
        finally: os._exit(0)
    children.append(pid)
def reap():
    for pid in children:
        try: os.kill(pid, 9); os.waitpid(pid, 0)
        except OSError: pass
"""

ATTACKS = [
    *bomb(
        "a fork bomb",
        MANY
        + """
attempted()
for _ in range(3000):
    try: child(lambda: time.sleep(3))
    except OSError as problem:
        refused('fork', problem); break
time.sleep(0.5)
reap()
""",
        bounded(processes=44),
        job={"contained": bounded(processes=270)},
    ),
    *bomb(
        "a fork bomb that doubles",
        """
attempted()
deadline = time.time() + 2
pid = os.getpid()
if os.fork() == 0:
    os.setsid()
    while time.time() < deadline:
        try: os.fork()
        except OSError: time.sleep(0.05)
    os._exit(0)
time.sleep(2.5)
""",
        bounded(processes=44),
        job={"contained": bounded(processes=270)},
    ),
    *bomb(
        "threads without end",
        """
attempted()
stop = threading.Event()
count = 0
try:
    while count < 3000:
        threading.Thread(target=stop.wait, args=(20,), daemon=True).start(); count += 1
except RuntimeError as problem:
    refused('thread', problem)
print('READ threads', count)
if count >= 3000: won('3000 threads')
stop.set()
""",
        bounded(processes=44),
        job={"contained": bounded(processes=270)},
    ),
    *bomb(
        "memory of one process",
        """
attempted()
blocks = []
try:
    for n in range(100):
        blocks.append(bytearray(os.urandom(1) * (8 << 20)))
    time.sleep(0.3)
except MemoryError as problem: refused('memory', problem)
""",
        bounded(memory_mb=260),
        job={"contained": bounded(memory_mb=260)},
    ),
    *bomb(
        "memory of many processes",
        MANY
        + """
attempted()
def eat():
    kept = bytearray(os.urandom(1) * (50 << 20)); time.sleep(2)
for _ in range(16):
    try: child(eat)
    except OSError as problem: refused('fork', problem)
time.sleep(2)
reap()
""",
        bounded(memory_mb=260),
        admitted="memory is bounded for each process",
        job={"contained": bounded(memory_mb=260)},
    ),
    *bomb(
        "shared memory: /dev/shm, mmap, memfd, System V",
        MANY
        + """
import mmap
attempted()
kept = []
def fill(what, action):
    def work():
        try:
            for n in range(40): action(n)
            time.sleep(1)
        except (OSError, MemoryError, ValueError) as problem: refused(what, problem)
    child(work)
def shm(n):
    with open(f'/dev/shm/fill-{n}', 'wb') as file: file.write(b'x' * (10 << 20))
def anonymous(n):
    area = mmap.mmap(-1, 10 << 20); area.write(b'x' * (10 << 20)); kept.append(area)
def memfd(n):
    fd = os.memfd_create('x'); kept.append(fd); os.write(fd, b'x' * (10 << 20))
def sysv(n):
    key = check(libc.shmget(0, 10 << 20, 0o1600)); libc.shmat.restype = ctypes.c_void_p
    ctypes.memset(libc.shmat(key, None, 0), 1, 10 << 20)
for what, action in (('shm', shm), ('mmap', anonymous), ('memfd', memfd), ('sysv', sysv)):
    fill(what, action)
for pid in children: os.waitpid(pid, 0)
print('READ', os.statvfs('/dev/shm').f_bfree)
for path in glob.glob('/dev/shm/fill-*'): os.remove(path)
""",
        bounded(memory_mb=280),
        admitted="memory is bounded for each process",
        job={"contained": bounded(memory_mb=280)},
    ),
    *bomb(
        "private folders filled: /tmp, home, /var/tmp, /dev/shm",
        """
attempted()
for folder in ('/tmp', os.path.expanduser('~'), '/var/tmp', '/dev/shm', '/run', '/run/lock', '/dev', '/dev/mqueue'):
    written = 0
    try:
        for n in range(40):
            with open(f'{folder}/fill-{n}', 'wb') as file: written += file.write(b'x' * (4 << 20))
    except OSError as problem: refused(folder, problem)
    print('READ', written >> 20, 'MB in', folder)
    if written > W['most_mb'] << 20: won(f'{written >> 20} MB in {folder}')
    for path in glob.glob(f'{folder}/fill-*'): os.remove(path)
""",
        bounded(memory_mb=280, disk_mb=60),
        plant=lambda world: {"most_mb": 30},
        job={"contained": bounded(memory_mb=280, disk_mb=60), "plant": lambda world: {"most_mb": 210}},
    ),
    *bomb(
        "one large file",
        """
attempted()
try:
    with open('large', 'wb', buffering=0) as file:
        for n in range(400): file.write(b'x' * (1 << 20))
except OSError as problem: refused('large', problem)
print('READ', os.path.getsize('large') >> 20)
""",
        bounded(disk_mb=30),
        job={"contained": bounded(disk_mb=30)},
    ),
    *bomb(
        "many large files",
        """
attempted()
try:
    for n in range(60):
        with open(f'part-{n}', 'wb', buffering=0) as file: file.write(b'x' * (10 << 20))
        time.sleep(0.15)  # who watches has seconds, on a machine that stalls
    time.sleep(1)
except OSError as problem: refused('part', problem)
print('READ', sum(os.path.getsize(p) for p in glob.glob('part-*')) >> 20)
""",
        bounded(disk_mb=300),
        job={"contained": bounded(disk_mb=300)},
    ),
    *bomb(
        "many small files",
        """
attempted()
try:
    for n in range(60_000):
        if n % 3000 == 0: os.mkdir(f'd{n}'); os.chdir(f'd{n}')
        os.close(os.open(f'{n}', os.O_CREAT | os.O_WRONLY)) if n % 4 else open(f'{n}', 'wb').write(b'x' * 4096)
except OSError as problem: refused('small', problem)
""",
        bounded(disk_mb=300),
        job={"contained": bounded(disk_mb=300)},
    ),
    *bomb(
        "sparse and preallocated files",
        """
attempted()
for what, action in (('truncate', lambda fd: os.truncate(fd, 1 << 45)), ('fallocate', lambda fd: os.posix_fallocate(fd, 0, 4 << 30)), ('write', lambda fd: os.pwrite(fd, b'x', 1 << 40))):
    fd = os.open('sparse-' + what, os.O_CREAT | os.O_RDWR)
    do(what, action, fd)
""",
        bounded(disk_mb=30),
        job={"contained": bounded(disk_mb=30)},
    ),
    *bomb(
        "inodes of the private folders",
        """
attempted()
made = 0
try:
    for n in range(400_000): os.mknod(f'/tmp/i{n}'); made += 1
except OSError as problem: refused('inode', problem)
print('READ', made, 'inodes')
for name in os.listdir('/tmp'):
    if name.startswith('i'): os.remove('/tmp/' + name)
""",
        bounded(memory_mb=280),
        job={"contained": bounded(memory_mb=280)},
    ),
    *bomb(
        "descriptors, pipes, sockets and terminals",
        MANY
        + """
attempted()
def work():
    kept = []
    for what, action in (('files', lambda: kept.append(os.open('/dev/null', os.O_RDONLY))), ('pipes', lambda: kept.extend(os.pipe())),
                         ('sockets', lambda: kept.extend(socket.socketpair())), ('terminals', lambda: kept.extend(os.openpty()))):
        try:
            for _ in range(200_000): action()
        except OSError as problem: refused(what, problem)
        print('READ', what, len(kept), flush=True)
        for thing in kept: os.close(thing) if isinstance(thing, int) else thing.close()
        kept.clear()
for _ in range(3): child(work)
for pid in children: os.waitpid(pid, 0)
""",
        bounded(memory_mb=280, processes=44),
        job={"contained": bounded(memory_mb=280)},
    ),
    *bomb(
        "memory of the kernel: pipe and socket buffers",
        MANY
        + """
import fcntl
attempted()
def work():
    kept = []
    try:
        for _ in range(400):
            a, b = socket.socketpair(); a.setblocking(False); kept += [a, b]
            a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
            try:
                while True: a.send(b'x' * 65536)
            except BlockingIOError: pass
    except OSError as problem: refused('sockets', problem)
    try:
        for _ in range(400):
            r, w = os.pipe(); fcntl.fcntl(w, 1031, 1 << 20); os.set_blocking(w, False)
            os.write(w, b'x' * (1 << 20))
    except OSError as problem: refused('pipes', problem)
for _ in range(4): child(work)
for pid in children: os.waitpid(pid, 0)
""",
        bounded(memory_mb=280, processes=44),
        job={"contained": bounded(memory_mb=280)},
    ),
    *bomb(
        "a flood of output",
        """
attempted()
line = b'x' * 65536
deadline = time.time() + 6
try:
    while time.time() < deadline: os.write(1, line)
except OSError as problem: refused('stdout', problem)
""",
        bounded(disk_mb=60, text=1_000_000),
        job={"contained": bounded(disk_mb=120, text=2_000_000)},
    ),
    *bomb(
        "a flood of output from many children",
        MANY
        + """
attempted()
def shout():
    deadline = time.time() + 3
    while time.time() < deadline:
        try: os.write(1, b'y' * 65536); os.write(2, b'z' * 65536)
        except OSError: time.sleep(0.01)
for _ in range(4): child(shout)
time.sleep(3.2)
reap()
""",
        bounded(disk_mb=60, text=1_000_000),
        job={"contained": bounded(disk_mb=120, text=2_000_000)},
    ),
    Attack(
        "a flood of metrics",
        GROUP,
        """
attempted()
path = os.path.join(os.path.dirname(os.getcwd()), 'metrics.jsonl')
line = b'{"step": 1, "loss": 1.0, "' + b'm' * 1000 + b'": 1}\\n'
try:
    with open(path, 'ab', buffering=0) as file:
        for _ in range(200): file.write(line * 1000)
except OSError as problem: refused('metrics', problem)
""",
        kind="job",
        limits=JOB,
        contained=bounded(disk_mb=80, text=2_000_000),
        control=MACHINE,
    ),
    Attack(
        "a command of the host's tool that floods and grows",
        GROUP,
        """
attempted()
for line in ('import os\\nwhile True: os.write(1, b"x" * 65536)', 'x = []\\nwhile True: x.append(bytearray(b"x" * (8 << 20)))',
             'import os, time\\nfor _ in range(2000):\\n    try:\\n        if os.fork() == 0: time.sleep(3); os._exit(0)\\n    except OSError: break'):
    try: print(run_command([sys.executable, '-c', line], timeout=5).exit_code)
    except ToolError as problem: refused('run_command', problem)
""",
        limits=LIMITS,
        seconds=40,
        contained=bounded(memory_mb=700, processes=300, disk_mb=60, text=1_000_000),
        control=MACHINE,
    ),
    Attack(
        "the first frame is a bomb: a cell of code without end",
        GROUP,
        "attempted()\nx = "
        + "(" * 60
        + "1"
        + ")" * 60
        + "\ntry: compile('(' * 100_000, 'x', 'eval')\nexcept BaseException as problem: refused('compile', problem)\ntry: eval('+'.join(['1'] * 200_000))\nexcept BaseException as problem: refused('eval', problem)\nsys.setrecursionlimit(10 ** 9)\ndef f(): f()\ntry: f()\nexcept BaseException as problem: refused('recursion', problem)\n",
        limits=LIMITS,
        seconds=12,
        contained=bounded(memory_mb=260),
        control=MACHINE,
    ),
]
