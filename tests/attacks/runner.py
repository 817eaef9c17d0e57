"""Runs the attacks in one kind of sandbox and writes what became of them.

    python tests/attacks/runner.py "local as root" results.json [--only WORD]

The attacked host is a process of its own, started here with secrets in its arguments and environment, a home
and a project; as root in a network of its own where the machine allows it, or as an ordinary user.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if sys.path[1:] and Path(sys.path[1]).resolve() == Path(__file__).resolve().parent:
    del sys.path[1]

from attacks.listeners import own_network
from attacks.model import ATTEMPTED, WON, Attack, Findings, Outcome
from attacks.prelude import prelude

HERE = Path(__file__).resolve()
WHOLE_S = 900.0
AT_ONCE = 3
SMALL = {"memory_mb": 512, "processes": 96, "disk_mb": 64, "file_mb": 64, "growth_mb": 256}
"""Limits of the kernels of attacks that are about something else."""


# The attacked host, in its own process


class Attacked:
    """Runs attacks one after another against one world, and judges each."""

    def __init__(self, base: Path, mark: str, kind: str) -> None:
        from attacks.world import World

        self.world = World(base, mark, kind)
        self.kind = kind
        self._shared: Any = None
        self._raised: list[str] = []
        self._noticed = ""
        self._doing = ""
        threading.excepthook = lambda args: self._raised.append(
            f"{args.exc_type.__name__}: {args.exc_value}"[:300]
        )

    def run(self, attack: Attack) -> dict[str, Any]:
        """One attack: its verdict and the evidence."""
        world = self.world
        planted = dict(attack.plant(world) or {}) if attack.plant else {}
        code = prelude({**world.facts(attack.name), **planted}) + "\n" + attack.code
        before = world.guarded()
        visits, calls = len(world.listeners.visits), len(world.calls)
        size = _used(world.session)
        world.watch.reset()
        self._noticed = ""
        began = time.monotonic()
        outcome = Outcome()
        try:
            (self._job if attack.kind == "job" else self._cell)(attack, code, outcome)
        except Exception as error:
            outcome.raised = f"{type(error).__name__}: {error}"[:500]
            if world.kernel is None:
                world.renew_sandbox()
        outcome.seconds = time.monotonic() - began
        world.watch.look()
        outcome.processes, outcome.resident_mb = world.watch.processes, world.watch.resident_mb
        outcome.grown_mb = (_used(world.session) - size) / 2**20
        outcome.stayers = len(world.watch.marked)
        outcome.calls = world.calls[calls:]
        told = Findings()
        self._judge(attack, outcome, told, before, visits)
        self._ask(attack, outcome, told)
        told.bad += [f"a thread of the host raised {words}" for words in self._raised]
        self._raised.clear()
        world.kernel = None
        if attack.alone or attack.limits:
            self._close(told)
        world.renew()
        return self._entry(attack, outcome, told)

    def _ask(self, attack: Attack, outcome: Outcome, told: Findings) -> None:
        """The attack's own judge, which may find the session unusable."""
        if attack.contained:
            try:
                attack.contained(self.world, outcome, told)
            except Exception as error:
                told.bad.append(f"the session is unusable: {type(error).__name__}: {error}"[:500])
                self._shared.close() if self._shared else None
                self._shared = None
                self.world.renew_sandbox()

    def _cell(self, attack: Attack, code: str, outcome: Outcome) -> None:
        own = attack.alone or bool(attack.limits)
        if own or self._shared is None:
            self._shared = self._kernel(attack)
        kernel = self.world.kernel = self._shared
        kernel.timeout_s, kernel.grace_s = attack.seconds, attack.grace
        heard: list[str] = []
        try:
            result = outcome.result = kernel.run(code, heard.append)
        finally:
            outcome.text = "".join(heard)
        parts = [*heard, result.output, result.value, result.error, result.answer, result.lost]
        outcome.text = "\n".join([*parts, json.dumps(result.variables)])

    def _kernel(self, attack: Attack) -> Any:
        from ml_intern.errors import InternError
        from ml_intern.sandbox.base import Limits
        from ml_intern.sandbox.host import KernelHost

        if self._shared is not None:
            self._shared.close()
            self._shared = None
        world = self.world
        limits = Limits(**{**SMALL, **attack.limits})
        proxies = [spec.proxy() for spec in world.router.specs.values()]
        for again in (True, False):
            kernel = KernelHost(
                world.sandbox, world.mounts(), limits, proxies, world.on_call, attack.seconds, attack.grace
            )
            try:
                self._start(kernel)
                return kernel
            except InternError as error:
                if not again:
                    raise
                # Nothing of the attack has run, so this says nothing about it. It is told with what all did.
                self._noticed += f"{error}\n{self._doing}\n"
                world.renew_sandbox()
        raise AssertionError("unreachable")

    def _start(self, kernel: Any) -> None:
        """Start a kernel; in its last moment, before all is ended, what everybody does is noted."""
        from attacks.diagnosis import diagnosis

        from ml_intern.sandbox import host

        def note() -> None:
            channels = getattr(self.world.sandbox, "_channels", [])
            self._doing = diagnosis(channels[-1] if channels else None)

        self._doing = ""
        timer = threading.Timer(host.START_S - 1, note)
        timer.start()
        try:
            kernel.start()
        finally:
            timer.cancel()

    def _job(self, attack: Attack, code: str, outcome: Outcome) -> None:
        from attacks.world import packages

        from ml_intern.jobs import launch
        from ml_intern.jobs.local import Jobs
        from ml_intern.jobs.model import JobSpec

        world = self.world
        launch.MAX_LOG_BYTES = 16 << 20
        settings = world.settings.model_copy(update=dict(attack.limits))
        jobs = Jobs(world.session / "jobs", world.sandbox, settings, lambda event: None)
        cancels = "# cancel" in attack.code
        spec = JobSpec(
            name="attack",
            method="script",
            config={"code": code},
            timeout_s=attack.seconds,
            inputs=packages(self.kind),
        )
        job = jobs.submit(spec).id
        if cancels:
            _until(lambda: ATTEMPTED in jobs.logs(job).text, attack.seconds)
            jobs.cancel(job)
        outcome.result = jobs.wait([job], attack.seconds + 40)[0]
        folder = jobs.folder_of(job)
        outcome.text = _tail(folder / "log.txt") + outcome.result.model_dump_json()
        outcome.text += jobs.logs(job, -20_000).text + json.dumps(jobs.metrics(job), default=str)[:100_000]
        world.job = folder
        _until(lambda: not world.marked(), 3.0)

    def _judge(self, attack: Attack, outcome: Outcome, told: Findings, before: Any, visits: int) -> None:
        """What is asked of every attack."""
        world = self.world
        if attack.kind == "job":
            self._left(told)
        if outcome.stayers:
            told.good.append(f"{outcome.stayers} processes that were to stay were seen alive from the host")
        for line in dict.fromkeys(line for line in outcome.text.splitlines() if line.startswith(WON)):
            told.bad.append(f"it boasts: {line[:300]}")
        places = world.leaks(outcome.text.encode()) or self._leaked_files(attack)
        told.expect(
            not places, f"none of {len(world.secrets)} secrets came out", f"leaked: {', '.join(places)}"
        )
        after = world.guarded()
        changed = [p for p in {**before, **after} if before.get(p) != after.get(p)]
        told.expect(
            not changed, f"{len(after)} guarded files are unchanged", f"changed: {', '.join(changed)[:600]}"
        )
        came = world.listeners.visits[visits:]
        told.expect(
            not came, f"{len(world.listeners.open)} listeners saw nobody", f"visited: {', '.join(came)}"
        )
        dead = world.dead_decoys()
        told.expect(not dead, f"{len(world.decoys)} processes of the host live", f"ended or stopped: {dead}")
        system = world.changed_system()
        told.expect(not system, "the machine's settings are unchanged", f"changed: {', '.join(system)}")
        plain = attack.may_end and outcome.raised.startswith("InternError")
        told.expect(
            plain or not outcome.raised, "the host raised nothing", f"the host raised {outcome.raised}"
        )
        faults = list(dict.fromkeys(re.sub(r"process \d+", "a process", f) for f in world.watch.faults))
        if world.watch.seen and not faults and self.kind not in ("none", "e2b"):
            told.good.append(
                f"{len(world.watch.seen)} processes seen from the host, none with a right or a namespace of it"
            )
        told.bad += [f"seen from the host: {fault}" for fault in faults[:5]]

    def _leaked_files(self, attack: Attack) -> list[str]:
        """Secrets in what the attack wrote."""
        world, found = self.world, []
        folder = world.workspace if attack.kind == "cell" else world.job or world.workspace
        for place, folders, files in os.walk(folder):
            if place.count("/") > 40:
                folders.clear()
            for name in files[:200]:
                path = Path(place, name)
                if name.endswith(".out"):
                    continue  # the output itself, which was looked at
                with suppress(OSError):
                    if not path.is_symlink() and path.is_file() and path.stat().st_size < 8 << 20:
                        found += world.leaks(path.read_bytes())
        return found

    def _close(self, told: Findings) -> None:
        if self._shared is not None:
            self._shared.close()
            self._shared = None
        _until(lambda: not self.world.marked(), 3.0)
        self._left(told)

    def _left(self, told: Findings) -> None:
        left = self.world.marked()
        told.expect(not left, "no process of the sandbox is left", f"processes left behind: {left}")
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)

    def _entry(self, attack: Attack, outcome: Outcome, told: Findings) -> dict[str, Any]:
        ran = ATTEMPTED in outcome.text
        verdict = "broken" if not ran else "escaped" if told.bad else "contained"
        if told.bad and not ran:
            verdict = "escaped"
        says = self.world.sandbox.describe()
        if verdict == "escaped" and attack.admitted and attack.admitted in says:
            verdict = "admitted"
            told.bad.append(f"the sandbox says so itself: {says}")
        lines = outcome.text.splitlines()
        told_inside = [
            line[:200] for line in dict.fromkeys(lines) if line.startswith(("REFUSED", "READ", "LOOT"))
        ]
        return {
            "name": attack.name,
            "group": attack.group,
            "kind": attack.kind,
            "verdict": verdict,
            "bad": told.bad,
            "good": told.good,
            "inside": told_inside[:12],
            "noticed": self._noticed,
            "said": outcome.text[-1500:] if verdict != "contained" else "",
            "seconds": round(outcome.seconds, 2),
            "processes": outcome.processes,
            "resident_mb": round(outcome.resident_mb),
            "grown_mb": round(outcome.grown_mb),
        }

    def close(self) -> None:
        """End everything; what is still there is told by the last entry."""
        told = Findings()
        self._close(told)
        self.world.sandbox.stop()
        self.leftovers(told)
        self.world.close()
        self.final = told

    def leftovers(self, told: Findings) -> None:
        """Groups and containers that outlived the session."""
        groups = [str(p) for p in Path("/sys/fs/cgroup").glob(f"**/ml-intern-{os.getpid()}-*")]
        told.expect(not groups, "no control group is left", f"left: {', '.join(groups)[:300]}")
        if self.kind == "docker":
            word = str(self.world.base)
            names = subprocess.run(
                ["docker", "ps", "-aq"], capture_output=True, text=True, check=False
            ).stdout.split()
            told_of = subprocess.run(
                ["docker", "inspect", *names], capture_output=True, text=True, check=False
            ).stdout
            told.expect(word not in told_of, "no container is left", "a container is left")


def _used(folder: Path) -> int:
    """Bytes on disk below a folder; not further down than a hundred levels."""
    total = 0
    for place, folders, files in os.walk(folder):
        if place.count("/") > 100:
            folders.clear()
        for name in files:
            with suppress(OSError):
                total += os.lstat(f"{place}/{name}").st_blocks * 512
    return total


def _tail(path: Path, most: int = 200_000) -> str:
    with path.open("rb") as file:
        head = file.read(most)
        size = path.stat().st_size
        file.seek(max(most, size - most)) if size > most else None
        return (head + (file.read(most) if size > most else b"")).decode("utf-8", "replace") + "\n"


def _until(holds: Any, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def attack_inside(base: Path, mark: str, kind: str, out: Path, only: str) -> None:
    """In the host's process: run everything that applies."""
    from attacks.suite import ATTACKS
    from attacks.world import tell

    attacked = Attacked(base, mark, kind)
    found: dict[str, Any] = {}
    began = time.monotonic()
    for attack in ATTACKS:
        if only and not re.search(only, attack.id):
            continue
        if reason := attack.out_of_place(kind):
            found[attack.id] = {
                "name": attack.name,
                "group": attack.group,
                "verdict": "n/a",
                "reason": reason,
            }
            continue
        print(f"{time.monotonic() - began:6.1f} {attack.id}", file=sys.stderr, flush=True)
        found[attack.id] = attacked.run(attack)
        tell(out, {"results": found})
    attacked.close()
    versions = {
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "walls": attacked.world.sandbox.describe(),
    }
    final = {"good": attacked.final.good, "bad": attacked.final.bad}
    told = {"kind": kind, "versions": versions, "results": found, "at the end": final}
    tell(
        out,
        told
        | {"seconds": round(time.monotonic() - began, 1), "network": os.environ.get("ATTACKS_NETWORK", "")},
    )


# The process that starts the host


def run(kind: str, out: Path, only: str = "") -> dict[str, Any]:
    """Run the attacks in a sandbox of one kind; what is told, or why it could not be done."""
    if problem := _problem(kind):
        return {"kind": kind, "problem": problem}
    if kind != "e2b":
        return _run(kind, out, only, {})
    from support.e2b_server import E2BServer

    with E2BServer() as server:
        try:
            return _run(kind, out, only, server.env)
        finally:  # folders without end are one of the attacks: Python's own removal gives up on them
            subprocess.run(["rm", "-rf", str(server.folder)], capture_output=True, check=False)


def _run(kind: str, out: Path, only: str, more: dict[str, str]) -> dict[str, Any]:
    base = Path(tempfile.mkdtemp(prefix="ml-intern-besieged-"))
    mark = "SEKRIT" + secrets.token_hex(3)
    variables = {name: f"{mark}-env-{name}-{secrets.token_hex(8)}" for name in _variables()}
    word = f"{mark}-argv-{secrets.token_hex(8)}"
    inside = [
        sys.executable,
        str(HERE),
        kind,
        str(base / "results.json"),
        "--inside",
        str(base),
        mark,
        word,
        "--only",
        only,
    ]
    home = base / "home"
    home.mkdir()
    env = {**variables, "HOME": str(home), "OMP_NUM_THREADS": "1", "PATH": _path(), **_extra(kind), **more}
    argv = inside
    if kind == "local as a user":
        from support.ordinary import as_ordinary_user

        settings = [f"{name}={value}" for name, value in env.items() if name != "PATH"]
        argv = as_ordinary_user(["env", *settings, *inside], folders=[base])
    errors = base / "errors.txt"
    with errors.open("wb") as file:
        process = subprocess.Popen(
            argv,
            env=env,
            preexec_fn=_network if kind.startswith(("local", "none")) else None,
            cwd="/",
            stderr=file,
        )
    try:
        process.wait(WHOLE_S)
    finally:
        process.kill()
        process.wait()
    end = errors.read_text(errors="replace")[-3000:]
    if not (base / "results.json").exists():
        _clear(base)
        return {"kind": kind, "problem": f"the attacked host ended with {process.returncode}: {end}"}
    found: dict[str, Any] = json.loads((base / "results.json").read_text())
    if process.returncode:
        found["problem"] = f"the attacked host ended with {process.returncode}: {end}"
    _clear(base)
    out.write_text(json.dumps(found, indent=1, ensure_ascii=False))
    return found


def _clear(base: Path) -> None:
    for words in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
        subprocess.run([*words, str(base)], capture_output=True, check=False)
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        Path(folder, f"{base.name}.strewn").unlink(missing_ok=True)


def run_all(kinds: list[str], folder: Path, only: str = "") -> dict[str, dict[str, Any]]:
    """Some kinds at once: most of the time each waits; a watch that comes late would see too much."""
    if "docker" in kinds and not _problem("docker"):
        from support.docker_engine import sandbox_image

        sandbox_image()  # beforehand: packing it would keep this process's E2B server from answering
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda kind: run(kind, folder / f"{kind.replace(' ', '-')}.json", only), kinds)
        return dict(zip(kinds, found, strict=True))


def _network() -> None:
    own_network()


def _path() -> str:
    return os.environ.get("PATH", os.defpath)


def _variables() -> tuple[str, ...]:
    return ("HF_TOKEN", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "E2B_API_KEY")


def _extra(kind: str) -> dict[str, str]:
    extra = {name: os.environ[name] for name in ("DOCKER_HOST", "TMPDIR") if name in os.environ}
    if kind == "docker":
        from support.docker_engine import sandbox_image

        extra["ATTACKS_IMAGE"] = sandbox_image()
    return extra


def _problem(kind: str) -> str:
    """Why this kind cannot be had here."""
    from ml_intern.sandbox.local import LocalSandbox

    if kind in ("local as root", "none"):
        if os.geteuid() != 0:
            return "the tests do not run as root"
        return LocalSandbox.problem() if kind == "local as root" else ""
    if kind == "local as a user":
        import support.ordinary as ordinary

        return LocalSandbox.problem() or ordinary._problem()
    if kind == "docker":
        import importlib.util

        if importlib.util.find_spec("ml_intern.sandbox.docker") is None:
            return "there is no Docker sandbox yet"
        from support.docker_engine import engine_problem

        return engine_problem()
    import importlib.util

    if importlib.util.find_spec("support.e2b_server") is None:
        return "there is no loopback E2B yet"
    from support.e2b_server import E2BServer

    return E2BServer.problem()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--inside", nargs=3)
    given = parser.parse_args()
    if given.inside:
        attack_inside(Path(given.inside[0]), given.inside[1], given.kind, given.out, given.only)
        return
    found = run(given.kind, given.out, given.only)
    for name, entry in found.get("results", {}).items():
        if entry["verdict"] not in ("contained", "admitted", "n/a"):
            print(
                f"{entry['verdict'].upper():10} {name}\n    "
                + "\n    ".join([*entry["bad"], *entry["inside"]])
            )
    print({k: v for k, v in found.items() if k != "results"})
    verdicts = [entry["verdict"] for entry in found.get("results", {}).values()]
    print({v: verdicts.count(v) for v in dict.fromkeys(verdicts)})


if __name__ == "__main__":
    main()
