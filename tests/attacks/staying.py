"""Attacks that outlive what they were started from: daemons, traps for the next start and for the host."""

from __future__ import annotations

from attacks.model import Attack, Findings, Outcome, both
from attacks.world import World

GROUP = "staying"
CLEARS = "the next tests would meet what it leaves"

DAEMON = """
import signal, time, os, sys
for number in (1, 2, 13, 15): signal.signal(number, signal.SIG_IGN)
"""


def goes_on(world: World, outcome: Outcome, told: Findings) -> None:
    """The next cell runs."""
    again = world.kernel.run("6 * 7")
    told.expect(
        again.value == "42",
        "the next cell runs",
        f"the next cell gave {again.error[-300:]!r}, {again.lost!r}, {again.value!r}",
    )


def told_plainly(world: World, outcome: Outcome, told: Findings) -> None:
    """What a cell does to its own workspace is its loss; the host goes on, or says in a line why it cannot."""
    from ml_intern.errors import InternError

    try:
        again = f"value {world.kernel.run('6 * 7').value!r}"
    except InternError as error:
        again = f"one line: {error}"
    told.expect(again, f"the next cell gave {again}"[:300])


def ended(world: World, outcome: Outcome, told: Findings) -> None:
    """The job is over, soon, and said so."""
    state = getattr(outcome.result, "state", outcome.raised)
    told.expect(
        state in ("succeeded", "failed", "cancelled"), f"the job is {state}", f"the job is still {state}"
    )
    told.expect(
        outcome.seconds < 20, f"over after {outcome.seconds:.1f} s", f"it took {outcome.seconds:.1f} s"
    )


def host_untouched(world: World, outcome: Outcome, told: Findings) -> None:
    """The host starts its programs again beside the traps, and none of them runs the attacker's code."""
    world.kernel.run("1 + 1")
    world.router.call("run_command", {"command": "true"}, source="test")
    world.router.call("list_files", {"path": "."}, source="test")
    from ml_intern.jobs.model import JobSpec

    job = world.services.jobs.submit(JobSpec(name="after", method="script", config={"code": "print(1)"}))
    world.services.jobs.wait([job.id], 30)
    told.expect(
        not (world.outside / "pwned").exists(),
        "no program of the host ran its code",
        "a program of the host ran its code",
    )
    goes_on(world, outcome, told)


FORKS = f"""
attempted()
code = {DAEMON!r} + "time.sleep(600)"
def daemon():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.chdir('/'); os.umask(0)
            for fd in range(3): os.close(fd) if fd else None
            os.execve(sys.executable, [sys.executable, '-I', '-c', code, W['sandboxed']], {{}})
        os._exit(0)
    os.wait()
daemon(); daemon()
time.sleep(0.3)
"""

ATTACKS = [
    *both(
        Attack("a daemon by two forks and a session of its own", GROUP, FORKS, alone=True, transport=True),
        contained=ended,
        control="the supervisor ends orphans, with walls or without",
    ),
    *both(
        Attack(
            "children that ignore every signal and hold the streams open",
            GROUP,
            f"""
attempted()
code = {DAEMON!r} + "time.sleep(600)"
for n in range(3):
    subprocess.Popen([sys.executable, '-I', '-c', code, W['sandboxed']], close_fds=False, start_new_session=n % 2 == 0, pass_fds=list(range(3, 12)) if n == 5 else ())
time.sleep(0.3)
""",
            alone=True,
            control="a bare kernel's group is ended, sessions of their own are not",
        ),
        contained=ended,
    ),
    *both(
        Attack(
            "a chain that forks faster than it is killed",
            GROUP,
            """
attempted()
code = "import os, sys, time\\ndeadline = time.time() + 60\\nos.setsid() if os.getpid() != os.getsid(0) else None\\nwhile time.time() < deadline:\\n    if os.fork(): os._exit(0)\\n    try: os.setsid()\\n    except OSError: pass\\n    time.sleep(0.001)"
for _ in range(3): subprocess.Popen([sys.executable, '-I', '-c', code, W['sandboxed']], start_new_session=True)
time.sleep(0.5)
""",
            alone=True,
            control="nothing ends it without walls",
        ),
        contained=ended,
    ),
    *both(
        Attack(
            "stopped children, and the kernel ends",
            GROUP,
            f"""
attempted()
code = {DAEMON!r} + "os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)"
for _ in range(2): subprocess.Popen([sys.executable, '-I', '-c', code, W['sandboxed']], start_new_session=True, env={{}})
time.sleep(0.3)
sys.stdout.flush()
os._exit(0)
""",
            alone=True,
            contained=goes_on,
        ),
        contained=ended,
        control="the supervisor ends orphans, with walls or without",
    ),
    Attack(
        "a job that goes on after it was cancelled",
        GROUP,
        FORKS
        + f"# cancel\nexec({DAEMON!r})\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass\n",
        kind="job",
        transport=True,
        seconds=15,
        contained=ended,
        control="the supervisor ends it, with walls or without",
    ),
    Attack(
        "a job that goes on after its time",
        GROUP,
        FORKS + f"exec({DAEMON!r})\nwhile True:\n    try: time.sleep(1)\n    except BaseException: pass\n",
        kind="job",
        transport=True,
        seconds=6,
        contained=ended,
        control="the supervisor ends it, with walls or without",
    ),
    Attack(
        "a job that stops itself and is cancelled",
        GROUP,
        "attempted()\n# cancel\nsys.stdout.flush()\nos.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)\n",
        kind="job",
        transport=True,
        seconds=15,
        contained=ended,
        control="the supervisor ends it, with walls or without",
    ),
    Attack(
        "a job that kills what watches it",
        GROUP,
        """
attempted()
for pid in {os.getppid(), *pids()} - {os.getpid()}:
    try:
        os.kill(pid, 9); print('READ signalled', pid)
    except OSError as problem: refused(f'kill {pid}', problem)
os.killpg(0, 15)
time.sleep(2)
""",
        kind="job",
        transport=True,
        seconds=8,
        contained=lambda world, outcome, told: (
            ended(world, outcome, told),
            told.expect(
                outcome.result and (outcome.result.failure is None or outcome.result.failure.kind != "lost"),
                "its supervisor lived on",
                "its supervisor was killed",
            ),
        ),
        control="without walls it reaches every process of the user",
    ),
    Attack(
        "modules and start files for the next Python that starts here",
        GROUP,
        """
attempted()
trap = f"open({W['outside'] + '/pwned'!r}, 'w').write('x')\\n"
os.makedirs('ml_intern', exist_ok=True); os.makedirs('.git/hooks', exist_ok=True)
for name in ('json.py', 'os.py', 'ast.py', 'typing.py', 'threading.py', 'sitecustomize.py', 'usercustomize.py', 'ml_intern/__init__.py', 'numpy.py', '_bootlocale.py', 'conftest.py', 'trap.pth', 'pyvenv.cfg',
             '.env', 'ml-intern.toml', '.bashrc', '.profile', 'Makefile', 'env', 'sh', 'bwrap', 'docker', 'python', 'python3'):
    with open(name, 'w') as file: file.write('#!/bin/sh\\necho x > ' + W['outside'] + '/pwned\\n' if name in ('env', 'sh', 'bwrap', 'docker', 'python', 'python3') else trap)
    os.chmod(name, 0o755)
for name in ('pre-commit', 'post-checkout', 'fsmonitor'):
    with open('.git/hooks/' + name, 'w') as file: file.write('#!/bin/sh\\necho x > ' + W['outside'] + '/pwned\\n')
    os.chmod('.git/hooks/' + name, 0o755)
with open('.git/config', 'w') as file: file.write('[core]\\nfsmonitor = .git/hooks/fsmonitor\\n')
time.sleep(0.1)
os._exit(0)
""",
        contained=host_untouched,
        alone=True,
        transport=True,
        control=CLEARS,
    ),
    Attack(
        "the workspace made unusable",
        GROUP,
        """
import shutil
attempted()
for name in os.listdir('.'):
    try: shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.remove(name)
    except OSError as problem: refused(name, problem)
os.chmod('.', 0)
time.sleep(0.1)
os._exit(0)
""",
        contained=told_plainly,
        may_end=True,
        alone=True,
        transport=True,
        control=CLEARS,
    ),
    Attack(
        "timers and services of the system",
        GROUP,
        """
attempted()
for path in ('/etc/cron.d/attack', '/var/spool/cron/crontabs/root', '/etc/systemd/system/attack.service', '/etc/profile.d/attack.sh', '/etc/ld.so.preload', '/etc/rc.local',
             W['home'] + '/.config/systemd/user/attack.service', W['home'] + '/.config/autostart/attack.desktop', W['home'] + '/.profile', W['home'] + '/.ssh/authorized_keys'):
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True); os.write(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), b'attack'); print('READ wrote', path)
        if not path.startswith(W['home']): won('wrote ' + path)
    except OSError as problem: refused(path, problem)
""",
        control="it would change the machine that tests",
        contained=lambda world, outcome, told: told.expect(
            not (world.home / ".ssh/authorized_keys").exists(), "no key was added to the host's home"
        ),
    ),
]
