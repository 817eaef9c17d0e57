"""The Tab key, in the shells themselves: subcommands, options, choices, sessions, jobs, sentences."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from cli_process import environment

from ml_intern.cli.completion import ways
from ml_intern.cli.main import run

SESSIONS = ("20260101-100000-aaaa", "20260102-100000-bbbb")
HEAVY = (
    "pydantic",
    "rich",
    "torch",
    "smolagents",
    "numpy",
    "transformers",
    "prompt_toolkit",
    "gradio",
    "mcp",
)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with two sessions, jobs, a file, and the command on the path."""
    for name in SESSIONS:
        folder = tmp_path / "state" / "sessions" / name
        (folder / "jobs" / f"job-of-{name[-4:]}").mkdir(parents=True)
        (folder / "jobs" / f"job-of-{name[-4:]}" / "spec.json").write_text("{}")
        (folder / "session.json").write_text(json.dumps({"id": name, "prompt": "train: it"}))
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / "own").mkdir()
    own = "---\nname: own\nsummary: s\nsentences:\n  - bake {count} cakes\n---\n"
    (tmp_path / "own" / "own.md").write_text(own)
    (tmp_path / "ml-intern.toml").write_text('playbooks = ["own"]\n')
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "ml-intern"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ml_intern "$@"\n')
    command.chmod(0o755)
    return tmp_path


def shell(home: Path) -> dict[str, str]:
    path = f"{home / 'bin'}:{os.environ['PATH']}"
    return environment(home, PATH=path, ML_INTERN_STATE=str(home / "state"), TERM="xterm")


ASKED = {
    "sess": {"sessions"},
    "--sandbox ": {"local", "docker", "e2b", "none"},
    "--sand": {"--sandbox"},
    "train it --max": {"--max-steps"},
    "--yes compute,pub": {"compute,publish"},
    "jobs ": {"job-of-bbbb", *SESSIONS},
    "jobs 20260101-100000-aaaa ": {"job-of-aaaa"},
    "--state STATE experiments 20260102": {SESSIONS[1]},
    "hub ": {"serve"},
    "hub serve --po": {"--port"},
    "completion ": {"bash", "zsh", "fish"},
    "export --format s": {"script"},
    "pretrain ": {"a"},
    "pretrain a small model on notes.txt ": {"in", "and", "as"},
    "pretrain a small model on notes.txt in 3 ": {"minutes"},
    "bake 3 ": {"cakes"},
    '"pretr': {"pretrain a small model on ", "pretrain a small model on <source>"},
    "'say hello": {"say hello to ", "say hello to <name>"},
    "--eval ": set(),
    "sessions --bogus ": set(),
    "nothing of this is kno": set(),
}  # fmt: skip


@pytest.mark.parametrize("typed", ASKED)
def test_what_a_tab_offers(
    home: Path, typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = f"ml-intern {typed.replace('STATE', str(home / 'state'))}"
    words = [line.partition(" ")[0], line.partition(" ")[2]] if typed[0] in "'\"" else line.split(" ")
    monkeypatch.chdir(home)
    monkeypatch.setenv("ML_INTERN_STATE", str(home / "state"))
    monkeypatch.setenv("_ML_INTERN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "\n".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert run([]) == 0
    offered = {value for _, _, value in (row.partition(",") for row in capsys.readouterr().out.splitlines())}
    assert offered - {""} == ASKED[typed]


def test_bash_takes_what_is_offered(home: Path) -> None:
    lines = [
        "source <(ml-intern completion bash)",
        'compopt() { echo "$*"; }',
        'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMPREPLY=(); _ml_intern_completion ml-intern;'
        ' printf "%s;" "${COMPREPLY[@]}"; echo; }',
        "try ml-intern hub ''",
        "try ml-intern '\"pretr'",
        "try ml-intern pretrain a small model on ''",
    ]
    done = subprocess.run(
        ["bash", "--norc"], input="\n".join(lines), capture_output=True, text=True, cwd=home, env=shell(home),
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    sentence = "pretrain a small model on"
    assert done.stdout.splitlines() == ["serve;", f"{sentence} ;{sentence} <source>;", "-o", "default", ";"]


def test_a_tab_in_a_real_bash(home: Path) -> None:
    main, side = pty.openpty()
    env = shell(home) | {"PS1": "> ", "INPUTRC": "/dev/null"}
    argv = ["bash", "--norc", "--noprofile", "-i"]
    process = subprocess.Popen(
        argv, stdin=side, stdout=side, stderr=side, env=env, cwd=home, start_new_session=True
    )
    os.close(side)
    seen = b""

    def wait_for(cue: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 120
        while cue not in seen:
            assert select.select([main], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(main, 65536)
        seen = seen.partition(cue)[2]

    os.write(
        main, b"bind 'set enable-bracketed-paste off'; source <(ml-intern completion bash); echo rea''dy\n"
    )
    wait_for(b"ready\r\n")
    for typed, shown in ((b"ml-intern sess\t", b"ml-intern sessions "), (b"--js\t", b"--json ")):
        os.write(main, typed)
        wait_for(shown.split(b" ")[-2] + b" ")
    os.write(main, b"\x15ml-intern pretrain a small model on no\t")
    wait_for(b"notes.txt")
    os.write(main, b"\x15exit\n")
    process.wait(120)
    os.close(main)


@pytest.mark.parametrize("name", ["zsh", "fish"])
def test_other_shells_understand_their_script(home: Path, name: str) -> None:
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    script = home / "script"
    script.write_text(
        subprocess.run(
            ["ml-intern", "completion", name], capture_output=True, text=True, env=shell(home), check=True
        ).stdout
    )
    assert subprocess.run([name, "-n", str(script)], env=shell(home), check=False).returncode == 0


def test_fish_offers_the_same(home: Path) -> None:
    if not shutil.which("fish"):
        pytest.skip("fish is not installed")
    typed = ["sess", "hub ", "jobs --js", "pretrain a small model on no", '\\"pretr']
    asks = "; ".join(f'complete -C "ml-intern {text}"; echo ,' for text in typed)
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"ml-intern completion fish | source; {asks}"],
        capture_output=True, text=True, cwd=home, env=shell(home), timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and done.stderr == ""
    offered = [{line.split("\t")[0] for line in part.split("\n")} - {""} for part in done.stdout.split(",\n")]
    sentence = "pretrain a small model on"
    assert offered == [
        *({"sessions"}, {"serve"}, {"--json"}, {"notes.txt"}),
        *({f"{sentence} ", f"{sentence} <source>"}, set()),
    ]


def test_a_tab_in_a_real_zsh(home: Path) -> None:
    if not shutil.which("zsh"):
        pytest.skip("zsh is not installed")
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen(
        ["zsh", "-f", "-i"], stdin=side, stdout=side, stderr=side, env=shell(home) | {"PS1": "> "}, cwd=home,
        start_new_session=True,
    )  # fmt: skip
    os.close(side)
    seen = b""

    def wait_for(cue: bytes) -> None:
        nonlocal seen
        end = time.monotonic() + 120
        while cue not in seen:
            assert select.select([main], [], [], max(0.0, end - time.monotonic()))[0], seen
            seen += os.read(main, 65536)
        seen = seen.partition(cue)[2]

    begin = b"autoload -U compinit; compinit -u -D; source <(ml-intern completion zsh); echo rea''dy\n"
    os.write(main, begin)
    wait_for(b"ready\r\n")
    for typed, shown in (
        (b"ml-intern sess\t", b"sessions"),
        (b"--js\t", b"--json"),
        (b"\x15ml-intern pretrain a small model on no\t", b"notes.txt"),
        (b'\x15ml-intern "pretr\t', b"pretrain a small model on "),
    ):
        os.write(main, typed)
        wait_for(shown)
    os.write(main, b"\x15exit\n")
    process.wait(120)
    os.close(main)


def asked(home: Path, instruction: str, words: str, place: str, *more: str) -> str:
    env = shell(home) | {"_ML_INTERN_COMPLETE": instruction, "COMP_WORDS": words, "COMP_CWORD": place}
    argv = [sys.executable, *(more or ("-m", "ml_intern"))]
    return subprocess.run(
        argv, capture_output=True, text=True, env=env, cwd=home, check=True, timeout=120
    ).stdout


def test_zsh_and_fish_are_told_what_each_is(home: Path) -> None:
    told = asked(home, "zsh_complete", "ml-intern say ", "2")
    assert f"plain\n{SESSIONS[1]}\ntrain: it" in told
    assert "plain,doctor\tSay what works" in asked(home, "fish_complete", "ml-intern doc", "doc")


def test_a_tab_imports_nothing_heavy(home: Path) -> None:
    code = (
        "import sys\nfrom ml_intern.cli.main import run\nrun()\n"
        f"sys.stdout.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    for words, place in (("ml-intern ", "1"), ("ml-intern jobs ", "2")):
        told = asked(home, "bash_complete", words, place, "-c", code)
        assert told.splitlines()[-1].startswith("plain,")


@pytest.mark.parametrize("broken", ["nonsense", "tcsh_complete", "bash_complete"])
def test_a_tab_never_complains(
    broken: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_ML_INTERN_COMPLETE", broken)
    monkeypatch.delenv("COMP_WORDS", raising=False)
    assert run([]) == 1
    assert capfd.readouterr() == ("", "")


def test_the_script_is_that_of_the_own_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert run(["completion"]) == 0 and "commandline -cp" in capsys.readouterr().out
    monkeypatch.setenv("SHELL", "/bin/tcsh")
    assert run(["completion"]) == 2 and "bash|zsh|fish" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("greet everybody", ["greet everybody"]),
        ("say hello to {name} [{times} times]", ["say hello to {name} {times} times", "say hello to {name}"]),
        ("(make|train) it [(now|soon)]", ["make it now", "make it soon", "make it", "train it now",
                                          "train it soon", "train it"]),
        ("do it [in {minutes} minutes], and go", ["do it in {minutes} minutes, and go", "do it, and go"]),
    ],
    ids=["plain", "optional", "choices", "comma"],
)  # fmt: skip
def test_every_way_to_say_a_sentence(pattern: str, expected: list[str]) -> None:
    assert sorted(" ".join(words) for words in ways(pattern)) == sorted(expected)
