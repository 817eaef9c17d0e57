"""Files between the host and an E2B sandbox: both ways, deletions, limits, and a sandbox that lies."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.e2b_server import E2BServer

from ml_intern.errors import InternError
from ml_intern.sandbox import e2b_link, e2b_mirror, e2b_transfer, e2b_tree
from ml_intern.sandbox.base import Limits, Mounts
from ml_intern.sandbox.e2b import E2BSandbox
from ml_intern.sandbox.e2b_folder import Folder
from ml_intern.sandbox.e2b_tree import Tree
from ml_intern.sandbox.host import KernelHost
from ml_intern.sandbox.run import run_in_sandbox

needs_server = pytest.mark.skipif(bool(E2BServer.problem()), reason=E2BServer.problem())


@pytest.fixture
def server() -> Iterator[E2BServer]:
    with E2BServer() as made:
        yield made


@pytest.fixture
def sandbox(server: E2BServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[E2BSandbox]:
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    made = E2BSandbox(server.env)
    yield made
    made.stop()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "work space").mkdir()
    return tmp_path / "work space"


@pytest.fixture
def kernel(open_kernel: Callable[..., KernelHost], sandbox: E2BSandbox, workspace: Path) -> KernelHost:
    return open_kernel(sandbox, mounts=Mounts(workspace))


def trouble(kernel: KernelHost, code: str) -> str:
    """What is wrong with an exchange of files, however it is told."""
    try:
        return kernel.run(code).error
    except InternError as error:
        return str(error)


@needs_server
def test_files_go_in_and_come_out(kernel: KernelHost, workspace: Path) -> None:
    (workspace / "sub").mkdir()
    (workspace / "sub" / "in.txt").write_text("from the host")
    (workspace / "empty").mkdir()
    code = "import os\nos.makedirs('out/deep')\nopen('out/deep/größe.txt', 'w').write('from inside')"
    assert kernel.run(f"{code}\n(open('sub/in.txt').read(), os.path.isdir('empty'))").value == (
        "('from the host', True)"
    )
    assert (workspace / "out" / "deep" / "größe.txt").read_text() == "from inside"


@needs_server
def test_changes_and_removals_follow_in_both_directions(kernel: KernelHost, workspace: Path) -> None:
    kernel.run("import os\nfor name in 'abc': open(name, 'w').write(name)\nos.mkdir('d')")
    (workspace / "a").write_text("changed here")
    (workspace / "b").unlink()
    (workspace / "d").rmdir()
    seen = kernel.run("print(open('a').read(), sorted(os.listdir()))\nos.unlink('c')\nos.mkdir('e')")
    assert seen.output == "changed here ['.ml-intern', 'a', 'c']\n"
    kernel.run("os.rmdir('e')")
    assert sorted(path.name for path in workspace.iterdir()) == ["a"]


@needs_server
def test_a_change_with_the_same_size_within_the_clocks_tick_is_seen(
    kernel: KernelHost, workspace: Path
) -> None:
    code = "\n".join(f"open('f', 'w').write('{n:04}')\necho(1)" for n in range(20))
    assert kernel.run(code + "\nopen('f', 'w').write('last')").ok
    assert (workspace / "f").read_text() == "last"
    for n in range(20):
        (workspace / "g").write_text(f"{n:04}")
        assert kernel.run("open('g').read()").value == f"'{n:04}'"


@needs_server
def test_large_files_go_as_bundles(kernel: KernelHost, workspace: Path, server: E2BServer) -> None:
    content = os.urandom(3_000_000)
    (workspace / "large.bin").write_bytes(content)
    (workspace / "other.bin").write_bytes(content[:100_000])
    before = server.count("/files")
    code = "data = open('large.bin', 'rb').read()\nopen('back.bin', 'wb').write(data[::-1])\nlen(data)"
    assert kernel.run(code).value == "3000000"
    assert (workspace / "back.bin").read_bytes() == content[::-1]
    assert server.count("/files") - before == 2
    (box,) = server.alive
    assert not list((box.root / "opt/ml-intern").glob("in-*"))


@needs_server
def test_very_large_files_go_one_by_one(
    kernel: KernelHost, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (e2b_transfer, e2b_mirror):
        monkeypatch.setattr(module, "BUNDLE_BYTES", 1 << 20)
    content = os.urandom(1_500_000)
    for name in "abc":
        (workspace / name).write_bytes(content + name.encode())
    kernel.run("for n in 'abc':\n    d = open(n, 'rb').read()\n    open('to ' + n, 'wb').write(d[::-1])")
    for name in "abc":
        assert (workspace / f"to {name}").read_bytes() == (content + name.encode())[::-1]
    assert not [path for path in workspace.iterdir() if path.name.startswith(".") and path.is_file()]


@needs_server
def test_a_file_that_cannot_be_written_inside_is_told_once(kernel: KernelHost, workspace: Path) -> None:
    kernel.run("import os\nos.mkdir('closed')\nos.chmod('closed', 0o500)")
    (workspace / "closed" / "f.txt").write_text("x")
    told = trouble(kernel, "pass") + trouble(kernel, "pass")
    assert told.count("cannot be written in the E2B sandbox: 'closed/f.txt'") == 1
    assert kernel.run("os.chmod('closed', 0o700)").ok


@needs_server
def test_an_exchange_in_which_nothing_changed_asks_for_nothing(
    kernel: KernelHost, workspace: Path, server: E2BServer
) -> None:
    for n in range(300):
        (workspace / f"{n}.txt").write_text("x" * 1000)
    kernel.run("pass")
    before = len(server.requests)
    kernel.run("echo(1)")
    assert len(server.requests) - before == 2


@needs_server
def test_a_command_sees_the_workspace_and_what_it_writes_comes_home(
    kernel: KernelHost, sandbox: E2BSandbox, workspace: Path, server: E2BServer
) -> None:
    kernel.run("open('cell.txt', 'w').write('of a cell')")
    (workspace / "host.txt").write_text("of the host")
    script = "cat cell.txt host.txt; echo größer >&2; echo made > made.txt; id -u; exit 3"
    done = run_in_sandbox(sandbox, Mounts(workspace), Limits(), ["bash", "-c", script], 30)
    assert done.returncode == 3 and done.stdout == "of a cellof the hostgrößer\n1000\n"
    assert (workspace / "made.txt").read_text() == "made\n" and len(server.boxes) == 1


@pytest.mark.thorough
@needs_server
def test_a_command_that_takes_too_long_is_ended_inside(
    kernel: KernelHost, sandbox: E2BSandbox, workspace: Path, server: E2BServer
) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run_in_sandbox(sandbox, Mounts(workspace), Limits(), ["sleep", "654"], 3)
    (box,) = server.alive
    for _ in range(1000):
        words = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in box.members()]
        if not any(b"654" in word for word in words):
            break
        time.sleep(0.1)
    else:
        pytest.fail("the command runs on")
    assert kernel.run("1 + 1").value == "2"


@needs_server
def test_shown_folders_are_there_and_hidden_ones_are_not(
    open_kernel: Callable[..., KernelHost], sandbox: E2BSandbox, workspace: Path, tmp_path: Path
) -> None:
    shown, file, hidden = tmp_path / "shown", tmp_path / "one.json", workspace / "hidden"
    for folder in (shown, hidden):
        folder.mkdir()
        (folder / "f.txt").write_text(folder.name)
    file.write_text("{}")
    mounts = Mounts(workspace, read_only=[shown, file], hidden=[hidden])
    kernel = open_kernel(sandbox, mounts=mounts)
    code = f"import os\n(open('{shown}/f.txt').read(), open('{file}').read(), os.path.exists('hidden'))"
    assert kernel.run(code).value == "('shown', '{}', False)"
    for attempt in (f"open('{shown}/f.txt', 'w')", f"open('{shown}/g', 'w')", f"os.unlink('{file}')"):
        assert "PermissionError" in kernel.run(attempt).error
    (shown / "f.txt").write_text("shown anew")
    assert kernel.run(f"open('{shown}/f.txt').read()").value == "'shown anew'"


@needs_server
def test_links_stay_where_they_are(kernel: KernelHost, workspace: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("of the host")
    (workspace / "out").symlink_to(secret)
    (workspace / "folder").symlink_to(tmp_path)
    code = "import os\nos.symlink('/etc/passwd', 'leak')\nos.mkfifo('pipe')\nsorted(os.listdir())"
    assert kernel.run(code).value == "['.ml-intern', 'leak', 'pipe']"
    kernel.run("open('out', 'w').write('x')\nos.mkdir('folder')\nopen('folder/secret.txt', 'w').write('x')")
    assert secret.read_text() == "of the host" and not (workspace / "leak").is_symlink()


@needs_server
def test_files_that_are_too_large_are_told(
    open_kernel: Callable[..., KernelHost],
    sandbox: E2BSandbox,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(e2b_mirror, "EXCHANGE_BYTES", 1 << 20)
    kernel = open_kernel(sandbox, mounts=Mounts(workspace))
    (workspace / "large.bin").write_bytes(bytes(2 << 20))
    assert "2 MB of files would go into the E2B sandbox at once; 1 MB may" in trouble(kernel, "pass")
    (workspace / "large.bin").unlink()
    assert kernel.run("1").value == "1"


@needs_server
def test_growth_inside_is_bounded(
    open_kernel: Callable[..., KernelHost], sandbox: E2BSandbox, workspace: Path
) -> None:
    kernel = open_kernel(sandbox, mounts=Mounts(workspace), limits=Limits(growth_mb=1))
    told = trouble(kernel, "open('large.bin', 'wb').write(bytes(2 << 20))")
    assert "grew by more than 1 MB" in told
    assert not (workspace / "large.bin").exists()
    assert kernel.run("import os\nos.unlink('large.bin')").ok


@needs_server
def test_very_many_files_are_told(kernel: KernelHost, workspace: Path) -> None:
    count = e2b_tree.MAX_FILES + 1
    code = f"import os\nos.mkdir('many')\nfor n in range({count}): open(f'many/{{n}}', 'w').close()"
    assert "more than 20,000 files" in trouble(kernel, code)
    assert kernel.run("import shutil\nshutil.rmtree('many')").ok


LIAR = """#!/bin/sh
'''exec' '{python}' "$0" "$@"
' '''
import base64, json, sys
nonce = sys.argv[-1]
out = sys.stdout
def say(number, kind, value):
    text = json.dumps(value)
    out.write(f"{{number}} {{kind}} {{len(text)}}\\n{{text}}\\n"); out.flush()
out.write("\\n#" + nonce + ' {{"received": 0, "next": 1, "skip": 0}}\\n'); out.flush()
say(1, "s", {{"trees": {report}, "answers": 100, "last": False}})
number = 1
for line in sys.stdin:
    if ' q ' in line:
        asked = json.loads(sys.stdin.readline())
        if asked["do"] == "pack":
            with open(asked["file"], "w") as bundle:
                for path in {paths}:
                    bundle.write(json.dumps({{"tree": 0, "path": path, "mtime": 1, "size": 4}}) + "\\nevil")
        number += 1
        say(number, "r", {{"id": asked["id"], "value": 10}})
"""


def lie(server: E2BServer, report: Any) -> None:
    """New sandboxes have another end of the link: one that reports this."""
    told = json.dumps(report).replace("null", "None")
    server.python = LIAR.format(python=sys.executable, report=told, paths=HOSTILE)


def entry(path: str, content: bytes | None = b"evil", size: int | None = None) -> list[Any]:
    data = None if content is None else base64.b64encode(content).decode()
    return [path, len(content or b"") if size is None else size, 1, 0, data]


@needs_server
def test_a_report_is_taken_over(server: E2BServer, sandbox: E2BSandbox, workspace: Path) -> None:
    lie(server, {"0": {"changed": [entry("new/f.txt")]}})
    sandbox.start_kernel(Mounts(workspace), Limits())
    for _ in range(1000):
        sandbox.pull(Mounts(workspace))
        if (workspace / "new" / "f.txt").exists():
            break
        time.sleep(0.05)
    assert (workspace / "new" / "f.txt").read_bytes() == b"evil"


HOSTILE = [
    "../outside.txt",
    "../empty",
    "link/empty",
    "/tmp/outside.txt",
    "a/../../outside.txt",
    "link/outside.txt",
    "file/below.txt",
    "",
    ".",
    "a//b",
    "nul\0",
    "x" * 300,
    "/".join("d" * 60),
    ".ml-intern/kernel.snapshot",
    "folder",
]


@needs_server
@pytest.mark.parametrize("kind", ["changed", "fetched", "gone", "folders", "gone_folders"])
def test_no_reported_path_leaves_the_workspace(
    server: E2BServer, sandbox: E2BSandbox, workspace: Path, tmp_path: Path, kind: str
) -> None:
    (workspace / "link").symlink_to(tmp_path)
    (workspace / "file").write_text("kept")
    (workspace / "folder").mkdir()
    (workspace / "folder" / "kept").write_text("kept")
    (tmp_path / "empty").mkdir()
    told: dict[str, list[Any]] = {
        "changed": [entry(path) for path in HOSTILE],
        "fetched": [entry(path, None, 4) for path in HOSTILE],
    }
    lie(server, {"0": {"changed" if kind == "fetched" else kind: told.get(kind, HOSTILE)}})
    before = found(tmp_path)
    sandbox.start_kernel(Mounts(workspace), Limits())
    time.sleep(0.3)
    sandbox.pull(Mounts(workspace))
    assert found(tmp_path) == before and not Path("/tmp/outside.txt").exists()


def found(root: Path) -> dict[Path, bytes | None]:
    """All that is there, links not followed."""
    return {p: p.read_bytes() if p.is_file() and not p.is_symlink() else None for p in root.rglob("*")}


@needs_server
@pytest.mark.parametrize(
    "report",
    [
        {"0": {"changed": [entry("f", b"four", size=4_000_000)]}},
        {"0": {"changed": [["f", 1, 1, 0]]}},
        {"0": {"changed": [["f", -1, 1, 0, "AA=="]]}},
        {"0": {"changed": [["f", 1, 1 << 70, 0, "AA=="]]}},
        {"0": {"changed": [["f", 3, 1, 0, "not base64!"]]}},
        {"0": {"changed": "f", "gone": 3, "folders": {"a": 1}}},
        {"7": {"changed": [entry("f")]}},
        {"x": {}},
        [],
    ],
)
def test_a_report_that_makes_no_sense_changes_nothing(
    server: E2BServer, sandbox: E2BSandbox, workspace: Path, report: Any
) -> None:
    (workspace / "kept").write_text("kept")
    lie(server, report)
    sandbox.start_kernel(Mounts(workspace), Limits())
    time.sleep(0.2)
    sandbox.pull(Mounts(workspace))
    assert [path.name for path in workspace.iterdir()] == ["kept"]


@needs_server
def test_a_file_said_to_be_huge_is_not_fetched(
    server: E2BServer, sandbox: E2BSandbox, workspace: Path
) -> None:
    lie(server, {"0": {"changed": [entry("f", None, size=1 << 50)]}})
    sandbox.start_kernel(Mounts(workspace), Limits())
    with pytest.raises(InternError, match="come out of the E2B sandbox"):
        for _ in range(1000):  # until the report has come
            sandbox.pull(Mounts(workspace))
            time.sleep(0.05)


@needs_server
def test_an_end_that_babbles_is_given_up(
    server: E2BServer, sandbox: E2BSandbox, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(e2b_link, "KILL_S", 1.0)
    server.python = "#!/bin/sh\nyes babble\n"
    process = sandbox.start_kernel(Mounts(workspace), Limits())
    time.sleep(0.3)
    process.kill()
    assert process.wait(120) != 0


def test_a_tree_reports_what_changed_once(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path))
    (tmp_path / "a").write_text("a")
    first, _ = tree.changes(1 << 20)
    assert [entry[0] for entry in first["changed"]] == ["a"]
    time.sleep(0.15)
    assert tree.changes(1 << 20)[0] == {}
    (tmp_path / "a").unlink()
    assert tree.changes(1 << 20)[0] == {"gone": ["a"]}


def test_a_change_that_left_size_and_time_as_they_were_is_seen(tmp_path: Path) -> None:
    file, tree, folder = tmp_path / "f", Tree(str(tmp_path)), Folder(tmp_path, True)
    file.write_text("one")
    now = file.stat()
    assert tree.changes(1 << 20)[0]["changed"][0][4] == base64.b64encode(b"one").decode()
    folder.agree("f", now, (3, 1))
    assert tree.changes(1 << 20)[0] == {} and folder.changed(folder.look()[0]) == []
    file.write_text("two")
    os.utime(file, ns=(now.st_mtime_ns, now.st_mtime_ns))
    assert tree.changes(1 << 20)[0]["changed"][0][4] == base64.b64encode(b"two").decode()
    assert folder.changed(folder.look()[0]) == ["f"]


def test_a_tree_that_only_grows_tells_what_was_added(tmp_path: Path) -> None:
    tree = Tree(str(tmp_path), only=["m.jsonl"], append=True)
    with (tmp_path / "m.jsonl").open("w") as file:
        file.write("one\n")
        file.flush()
        assert tree.changes(1 << 20)[0]["changed"][0][3] == 0
        file.write("two\n")
        file.flush()
        path, size, _, start, content = tree.changes(1 << 20)[0]["changed"][0]
    assert (path, size, start, base64.b64decode(content)) == ("m.jsonl", 8, 4, b"two\n")


def test_files_that_are_being_written_wait(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(e2b_tree.INLINE + 1))
    (tmp_path / "small").write_bytes(b"x")
    tree = Tree(str(tmp_path))
    assert [entry[0] for entry in tree.changes(1 << 20, settle_s=60)[0]["changed"]] == ["small"]
    assert [entry[0] for entry in tree.changes(1 << 20)[0]["changed"]][:1] == ["large"]
