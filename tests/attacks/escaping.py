"""Attacks on the walls themselves: other processes, namespaces, mounts, rights, rarely used system calls."""

from __future__ import annotations

from attacks.model import Attack, both

GROUP = "walls"
MACHINE = "it would change the machine that tests"
OTHERS = "it would reach processes of who runs the tests"

ATTACKS = [
    *both(
        Attack(
            "ptrace of the host's processes and of process 1",
            GROUP,
            """
attempted()
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for pid in (*W['decoys'], W['host'], W['parent'], 1, os.getppid()):
    if pid in (0, os.getpid()): continue
    for request in (16, 0x4206):  # attach, seize
        ctypes.set_errno(0)
        try:
            check(libc.ptrace(request, pid, None, None))
            won(f'traces process {pid}'); libc.ptrace(17, pid, None, None)
        except OSError as problem: refused(f'ptrace {pid}', problem)
""",
            control=OTHERS,
        )
    ),
    *both(
        Attack(
            "ptrace of a process of the host",
            GROUP,
            """
attempted()
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
for pid in W['decoys']:
    child = os.fork()
    if child == 0:  # what a child traces goes on when the child ends
        try:
            check(libc.ptrace(0x4206, pid, None, None)); won(f'traces process {pid}')
        except OSError as problem: refused(f'ptrace {pid}', problem)
        os._exit(0)
    os.waitpid(child, 0)
""",
        )
    ),
    *both(
        Attack(
            "signals to everybody: kill -9 -1",
            GROUP,
            """
attempted()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for numbers in ((signal.SIGTERM,), (signal.SIGSTOP, signal.SIGCONT)):
    pid = os.fork()
    if pid == 0:
        for number in numbers:
            try: os.kill(-1, number)
            except OSError as problem: refused('kill -1', problem)
        os._exit(0)
    os.waitpid(pid, 0)
try: os.kill(-1, signal.SIGKILL)
except OSError as problem: refused('kill -1', problem)
""",
            alone=True,
            control=MACHINE,
        ),
        seconds=8.0,
    ),
    *both(
        Attack(
            "signals to a process of the host by its number",
            GROUP,
            """
attempted()
for pid in W['decoys']:
    for what, action in (('kill', lambda: os.kill(pid, 9)), ('group', lambda: os.killpg(os.getpgid(pid), 0)), ('pidfd', lambda: signal.pidfd_send_signal(os.pidfd_open(pid), 9))):
        try: action(); print('READ signalled', pid)
        except OSError as problem: refused(f'{what} {pid}', problem)
""",
        )
    ),
    *both(
        Attack(
            "signals and priorities of the host itself",
            GROUP,
            """
import fcntl
attempted()
for pid in (W['host'], W['parent'], *W['decoys']):
    do(f'kill {pid}', os.kill, pid, 0)
    do(f'priority of {pid}', os.setpriority, os.PRIO_PROCESS, pid, 19)
    do(f'affinity of {pid}', os.sched_setaffinity, pid, {0})
    try:
        other = os.pidfd_open(pid); do(f'descriptor of {pid}', system, 'pidfd_getfd', other, 1, 0)
    except OSError as problem: refused(f'pidfd {pid}', problem)
do('limits of the host', __import__('resource').prlimit, W['host'], __import__('resource').RLIMIT_NOFILE)
a, b = socket.socketpair()
try:
    fcntl.fcntl(a, fcntl.F_SETOWN, W['decoys'][0]); won('would signal by SIGIO')
except OSError as problem: refused('F_SETOWN', problem)
do('real time', os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50))
do('niceness below zero', os.setpriority, os.PRIO_PROCESS, 0, -5)
""",
            control=OTHERS,
        )
    ),
    *both(
        Attack(
            "user namespaces, by unshare and by clone",
            GROUP,
            """
attempted()
def inside():
    status = open('/proc/self/status').read()
    return re.search(r'CapEff:\\s*(\\w+)', status)[1]
for name, flags in (('user', 0x10000000), ('user and mount', 0x10020000), ('user and net', 0x50000000), ('all', 0x7e020000)):
    pid = os.fork()
    if pid == 0:
        try:
            check(libc.unshare(flags)); won(f'unshare of {name}, capabilities {inside()}'); time.sleep(0.3)
        except OSError as problem: refused(f'unshare {name}', problem)
        os._exit(0)
    os.waitpid(pid, 0)
class Args(ctypes.Structure):
    _fields_ = [(n, ctypes.c_uint64) for n in ('flags', 'pidfd', 'child', 'parent', 'exit_signal', 'stack', 'size', 'tls', 'tids', 'tid_size', 'cgroup')]
given = Args(flags=0x10000000, exit_signal=17)
try:
    pid = system('clone3', ctypes.byref(given), ctypes.sizeof(given))
    if pid == 0: libc._exit(0)
    won('clone3 made a user namespace')
except OSError as problem: refused('clone3', problem)
for path in ('/proc/self/uid_map', '/proc/self/gid_map', '/proc/self/setgroups'):
    try:
        os.write(os.open(path, os.O_WRONLY), b'0 0 1'); won('wrote ' + path)
    except OSError as problem: refused(path, problem)
""",
            control="a machine may forbid user namespaces of its own accord",
        )
    ),
    *both(
        Attack(
            "other namespaces, without a user namespace",
            GROUP,
            """
attempted()
for name, flag in (('mount', 0x20000), ('uts', 0x4000000), ('ipc', 0x8000000), ('pid', 0x20000000), ('net', 0x40000000), ('cgroup', 0x2000000), ('time', 0x80)):
    pid = os.fork()
    if pid == 0:
        do('unshare ' + name, lambda: check(libc.unshare(flag))); os._exit(0)
    os.waitpid(pid, 0)
for pid in (1, os.getppid(), *W['decoys'], W['host']):
    for name in ('mnt', 'net', 'pid', 'user', 'uts', 'ipc', 'cgroup'):
        try:
            fd = os.open(f'/proc/{pid}/ns/{name}', os.O_RDONLY)
        except OSError as problem:
            refused(f'ns/{name} of {pid}', problem); continue
        do(f'setns {name} of {pid}', lambda: check(libc.setns(fd, 0)))
    try:
        do(f'setns by pidfd of {pid}', lambda: check(libc.setns(os.pidfd_open(pid), 0x7e020000)))
    except OSError as problem: refused('pidfd', problem)
""",
            control="root makes namespaces at will",
        )
    ),
    *both(
        Attack(
            "mounts: new, bound, taken away, writable again",
            GROUP,
            """
attempted()
os.makedirs('here', exist_ok=True)
def mount(*a): return check(libc.mount(*a))
for what, given in (('tmpfs', (b'none', b'here', b'tmpfs', 0, None)), ('proc', (b'proc', b'here', b'proc', 0, None)), ('bind', (b'/', b'here', None, 4096 | 16384, None)),
                    ('cgroup', (b'cgroup', b'here', b'cgroup', 0, b'rdma')), ('cgroup2', (b'cgroup2', b'here', b'cgroup2', 0, None)), ('sysfs', (b'sysfs', b'here', b'sysfs', 0, None)),
                    ('disk', (b'/dev/vda', b'here', b'ext4', 0, None)), ('overlay', (b'o', b'here', b'overlay', 0, b'lowerdir=/,upperdir=/tmp,workdir=/tmp')),
                    ('root writable', (None, b'/', None, 32 | 4096, None)), ('usr writable', (None, b'/usr', None, 32 | 4096, None)), ('shared', (None, b'/', None, (1 << 20) | 16384, None))):
    do('mount ' + what, mount, *given)
for path in (b'/tmp', b'/home/intern', b'/proc', b'/dev', b'/', W['workspace'].encode()):
    for flags in (0, 2):
        do(f'umount {path}', lambda: check(libc.umount2(path, flags)))
try:
    fs = system('fsopen', b'tmpfs', 0); won('fsopen')
    do('fsconfig', system, 'fsconfig', fs, 6, None, None, 0)
except OSError as problem: refused('fsopen', problem)
do('open_tree', system, 'open_tree', -100, b'/', 1)
attributes = struct.pack('QQQQ', 0, 1, 0, 0)
do('mount_setattr', system, 'mount_setattr', -100, b'/usr', 0, attributes, 32)
do('pivot_root', system, 'pivot_root', b'.', b'.')
do('chroot', os.chroot, '.')
""",
            control="root mounts at will",
        )
    ),
    *both(
        Attack(
            "setuid programs of the system, and root by asking for it",
            GROUP,
            """
attempted()
for name in ('su', 'sudo', 'mount', 'umount', 'newgrp', 'passwd', 'chsh', 'gpasswd', 'pkexec', 'newuidmap', 'fusermount', 'fusermount3', 'unix_chkpwd', 'bwrap'):
    for folder in ('/bin', '/usr/bin', '/usr/sbin', '/sbin'):
        path = f'{folder}/{name}'
        try:
            found = os.stat(path)
        except OSError: continue
        if not found.st_mode & 0o6000: continue
        child = subprocess.Popen([path, *(['-c', 'id'] if name == 'su' else ['--help'])], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        users = set()
        for _ in range(20):
            try: users |= set(re.search(r'Uid:\\s+(.*)', open(f'/proc/{child.pid}/status').read())[1].split())
            except (OSError, TypeError): break
        try:
            said = child.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            child.kill(); said = child.communicate()[0]
        if '0' in users and '0' not in re.search(r'Uid:\\s+(.*)', open('/proc/self/status').read())[1].split(): won(f'{path} runs as root')
        if b'uid=0' in said and os.getuid(): won(f'{path} gave root')
for what, action in (('setuid', lambda: os.setuid(0)), ('setresuid', lambda: os.setresuid(0, 0, 0)), ('setgid', lambda: os.setgid(0)), ('setgroups', lambda: os.setgroups([0]))):
    do(what, action)
""",
            control="root is root",
        )
    ),
    *both(
        Attack(
            "capabilities: taken, kept, made ambient",
            GROUP,
            """
attempted()
header = struct.pack('II', 0x20080522, 0)
data = struct.pack('IIIIII', 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff)
do('capset', system, 'capset', header, data)
for number in (0, 1, 6, 12, 16, 21):
    do(f'ambient {number}', lambda: check(libc.prctl(47, 2, number, 0, 0)))
    if libc.prctl(23, number, 0, 0, 0) == 1 and 'CapBnd:\\t0000000000000000' not in open('/proc/self/status').read():
        print('READ bounding set holds', number)
do('forget no-new-privileges', lambda: check(libc.prctl(38, 0, 0, 0, 0)))
status = open('/proc/self/status').read()
for name in ('CapEff', 'CapPrm', 'CapInh', 'CapAmb'):
    if int(re.search(name + r':\\s*(\\w+)', status)[1], 16): won(f'{name} is not empty')
if not re.search(r'NoNewPrivs:\\s*1', status): won('new privileges are not barred')
""",
            control="root has them all",
        )
    ),
    *both(
        Attack(
            "rarely used system calls: bpf, perf, io_uring, userfaultfd, modules",
            GROUP,
            """
attempted()
do('bpf map', system, 'bpf', 0, struct.pack('IIII', 2, 4, 4, 1) + bytes(100), 116)
program = struct.pack('IIQQ', 1, 2, 0, 0) + bytes(100)
do('bpf program', system, 'bpf', 5, program, 120)
for kind, config in ((1, 0), (0, 0), (2, 0)):
    attributes = struct.pack('IIQ', kind, 112, config) + bytes(96)
    do(f'perf of the whole machine {kind}', system, 'perf_event_open', attributes, -1, 0, -1, 0)
    for pid in W['decoys']:
        do(f'perf of {pid}', system, 'perf_event_open', attributes, pid, -1, -1, 0)
do('userfaultfd of the kernel', system, 'userfaultfd', 0o2000000)
do('io_uring', system, 'io_uring_setup', 4, ctypes.create_string_buffer(120))
do('kexec', system, 'kexec_load', 0, 0, None, 0)
do('a module', system, 'init_module', b'x', 1, b'')
do('accounting', system, 'acct', b'/tmp/acct')
do('swap', system, 'swapon', b'/tmp/swap', 0)
do('the clock', system, 'settimeofday', struct.pack('ll', int(time.time()), 0), None)
do('the name of the host', system, 'sethostname', b'attacked', 8)
do('ports', system, 'iopl', 3) if platform.machine() == 'x86_64' else None
do('restart keys', system, 'reboot', 0xfee1dead, 672274793, 0x89ABCDEF, None)
buffer = ctypes.create_string_buffer(4096)
do("the kernel's log", system, 'syslog', 3, buffer, 4096)
""",
            control=MACHINE,
        )
    ),
    *both(
        Attack(
            "typing into the terminal of the host",
            GROUP,
            """
import fcntl
attempted()
for path in ('/dev/tty', '/dev/console', '/dev/pts/0', '/dev/pts/1', '/proc/1/fd/0', f"/proc/{W['host']}/fd/0", '/dev/stdin'):
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as problem: refused(path, problem); continue
    if os.isatty(fd):
        do('TIOCSTI ' + path, fcntl.ioctl, fd, 0x5412, b'x')
        do('TIOCLINUX ' + path, fcntl.ioctl, fd, 0x541C, b'\\x02')
for fd in range(64):
    try:
        if os.isatty(fd): do(f'TIOCSTI {fd}', fcntl.ioctl, fd, 0x5412, b'x')
    except OSError: pass
print('READ session', os.getsid(0), 'of', os.getpid())
""",
            control="it would type into the terminal of who runs the tests",
        )
    ),
    *both(
        Attack(
            "keys: planting, changing and ending those of the host",
            GROUP,
            """
attempted()
for key in W['keys']:
    for what, given in (('update', (2, key, b'forged', 6)), ('revoke', (3, key)), ('permissions', (5, key, 0x3f3f3f3f)), ('invalidate', (21, key)), ('clear the session', (7, -3))):
        do(f'{what} key {key}', system, 'keyctl', *given)
""",
            control="the other attacks need the keys",
        )
    ),
    *both(
        Attack(
            "what stays behind in shared places of the system",
            GROUP,
            """
attempted()
name = W['sandboxed']
for what, action in (('System V memory', lambda: check(libc.shmget(0x5eed, 4096, 0o1666))), ('semaphores', lambda: check(libc.semget(0x5eed, 1, 0o1666))), ('a message queue', lambda: check(libc.msgget(0x5eed, 0o1666)))):
    try: action(); print('READ made', what)
    except OSError as problem: refused(what, problem)
for folder in ('/dev/shm', '/tmp', '/var/tmp', '/run', '/run/lock', '/var/lock', '/var/spool/cron', '/var/crash', '/home/intern'):
    try: open(f'{folder}/{name}', 'w').write('left'); print('READ wrote', folder)
    except OSError as problem: refused(folder, problem)
""",
            contained=lambda world, outcome, told: _nothing_shared(world, told),
            control="the bare cell leaves them, and the next test would find them",
        )
    ),
]


def _nothing_shared(world, told) -> None:  # type: ignore[no-untyped-def]
    from pathlib import Path

    word = "sandboxed-" + world.base.name[-8:]
    folders = (
        "/dev/shm",
        "/tmp",
        "/var/tmp",
        "/run",
        "/run/lock",
        "/var/spool/cron",
        "/var/crash",
        "/home/intern",
    )
    left = [folder for folder in folders if Path(folder, word).exists()]
    told.expect(not left, "nothing of it is in the host's shared folders", f"left in {', '.join(left)}")
    keys = [
        k
        for name in ("shm", "sem", "msg")
        for k in Path(f"/proc/sysvipc/{name}").read_text().split("\n")[1:]
        if k.split()[:1] == [str(0x5EED)]
    ]
    told.expect(not keys, "nothing of it is in the host's System V tables", f"left: {keys}")
