"""A real Slurm cluster of one node on loopback, from Debian's packages, for as long as the tests need it.

Its daemons are started by hand in a folder of their own, with ports and keys of their own, so it stands beside
any other Slurm of the machine. Without accounting: that needs a database.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from ml_intern.sandbox import tree

WAIT_S = 30
SOFTWARE = ("slurmctld", "slurmd", "munged", "sbatch")
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={node}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={node} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 ThreadsPerCore=1 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes={node} Default=YES MaxTime=01:00:00 State=UP
PartitionName=short Nodes={node} MaxTime=00:01:00 State=UP
PartitionName=closed Nodes={node} State=DOWN
"""


def why_not() -> str:
    """Why no cluster can be started here; nothing where one can."""
    missing = [name for name in SOFTWARE if _program(name) is None]
    if missing:
        return f"there is no {missing[0]}: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "Slurm's daemons are started as root"
    try:
        import submitit  # noqa: F401
    except ImportError:
        return "submitit is not installed"
    return ""


class Cluster:
    """The daemons. `start` waits until the node takes jobs; `stop` ends all that was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.configuration = folder / "slurm.conf"
        self.node = socket.gethostname().partition(".")[0]
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        ports = _free_ports(2)
        self.configuration.write_text(CONFIGURATION.format(node=self.node, folder=self.folder, ports=ports))
        self._munge()
        self._start("slurmctld", "-D", "-f", str(self.configuration))
        self.start_node()

    def start_node(self) -> None:
        self._start("slurmd", "-D", "-f", str(self.configuration), "-N", self.node)
        self.until(lambda: "idle" in self.ask("sinfo", "-h", "-p", "main", "-o", "%T"), "the node")

    def lose_node(self) -> None:
        """As if the power went: the node's daemon and every process of its jobs end at once."""
        daemon = self._daemons.pop("slurmd")
        steps = self._steps()
        lost = {daemon.pid, *steps}.union(*(tree.below(pid) for pid in steps))
        for pid in lost:
            _kill(pid, signal.SIGKILL)
        daemon.wait()
        self.ask("scontrol", "update", f"nodename={self.node}", "state=down", "reason=lost")

    def go_on_now(self, job: str) -> None:
        """A job that was put back waits two minutes by itself, so that late orders to end it miss it."""
        self.until(lambda: "PENDING" in self.ask("squeue", "-h", "-j", job, "-o", "%T"), "the requeue")
        time.sleep(2)
        self.ask("scontrol", "update", f"jobid={job}", "StartTime=now")

    def ask(self, *words: str) -> str:
        env = {**os.environ, "SLURM_CONF": str(self.configuration)}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def until(self, holds, what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < deadline, f"waited for {what}:\n{self._said()}"
            time.sleep(0.05)

    def stop(self) -> None:
        if "slurmctld" in self._daemons:
            self.ask("scancel", "--state=PENDING", "--state=RUNNING", "--full")
        steps = self._steps()
        for pid in steps | set().union(*(tree.below(pid) for pid in steps)):
            _kill(pid, signal.SIGKILL)
        for name in ("slurmd", "slurmctld", "munged"):
            daemon = self._daemons.pop(name, None)
            if daemon is not None:
                daemon.send_signal(signal.SIGTERM)
                try:
                    daemon.wait(10)
                except subprocess.TimeoutExpired:
                    daemon.kill()

    def _steps(self) -> set[int]:
        """The processes by which the node watches over its jobs, known by the spool folder they work in."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes()
                ours = str(self.configuration).encode() in (entry / "environ").read_bytes()
            except OSError:
                continue
            if words.startswith(b"slurmstepd:") and (ours or self._parent(entry) in self._pids()):
                found.add(int(entry.name))
        return found

    def _pids(self) -> set[int]:
        return {daemon.pid for daemon in self._daemons.values()}

    @staticmethod
    def _parent(entry: Path) -> int:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])

    def _munge(self) -> None:
        folder = self.folder / "munge"
        key = folder / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        named = {
            "socket": "socket",
            "key-file": "key",
            "pid-file": "pid",
            "log-file": "log",
            "seed-file": "seed",
        }
        words = [f"--{option}={folder / name}" for option, name in named.items()]
        self._start("munged", "--foreground", "--force", "--num-threads=2", *words)
        self.until((folder / "socket").exists, "munge")

    def _start(self, name: str, *words: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as said:
            self._daemons[name] = subprocess.Popen(
                [str(_program(name)), *words],
                env={"PATH": os.environ["PATH"], "SLURM_CONF": str(self.configuration)},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def _said(self) -> str:
        files: Iterable[Path] = (*self.folder.glob("*.out"), *self.folder.glob("*.log"))
        return "\n".join(f"{file.name}: {file.read_text(errors='replace')[-1500:]}" for file in files)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
