"""Sub-agents read and answer: at the same time, with memories of their own, out of one budget."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from research_kit import Talks, lines, of_json, play, told

from ml_intern.brains.base import Brain
from ml_intern.brains.factory import build_research_brain
from ml_intern.brains.fallback import FallbackBrain
from ml_intern.errors import NoBrain, UsageError
from ml_intern.session.session import Session
from ml_intern.settings import Settings

READ = "text = read_file('{0}.txt').text\nfinal_answer('{0}: ' + text.strip())"
MANY = "found = research_many(['<a> what is alpha', '<b> what is beta'])"
TELL = "import json\nfinal_answer(json.dumps(found))"


def test_what_comes_back_is_short_and_says_what_was_read(begin: Any) -> None:
    brain = Talks([MANY, TELL], a=["x = 1", READ.format("alpha")], b=[READ.format("beta")])
    result, events = play(begin(brain, budget="1 usd, 1000 tokens"))
    alpha, beta = of_json(result)
    assert alpha["answer"] == "alpha: alpha is 1" and beta["answer"] == "beta: beta is 2"
    assert (alpha["steps"], alpha["tokens"], beta["steps"], beta["tokens"]) == (2, 30, 1, 15)
    assert alpha["ok"] and alpha["path"] == "" and alpha["calls"] == 1
    [source] = alpha["sources"]
    assert source["tool"] == "read_file" and "alpha.txt" in source["arguments"]
    [call] = [e for e in told(events, "ToolFinished") if e.call == source["call"]]
    assert call.source == alpha["research"] == "research:1"
    # The session's own steps are its own; tokens and dollars are everybody's.
    assert result.steps == 2 and result.tokens == {"input": 50, "output": 25}
    assert result.budget["tokens"]["spent"] == 75 and result.cost == pytest.approx(0.05)


def test_events_say_whose_they_are_and_the_journal_has_each_once(begin: Any) -> None:
    brain = Talks([MANY, TELL], a=[READ.format("alpha")], b=[READ.format("beta")])
    run = begin(brain)
    _, events = play(run)
    started, finished = told(events, "ResearchStarted"), told(events, "ResearchFinished")
    assert {e.research for e in started} == {e.research for e in finished} == {"research:1", "research:2"}
    assert {e.question for e in started} == {"<a> what is alpha", "<b> what is beta"}
    assert {e.model for e in started} == {"talks"} and all(e.ok and e.steps == 1 for e in finished)
    assert [e.step for e in told(events, "BrainAnswered") if not e.source] == [1, 2]
    for kind in ("brain", "cell", "cell_done"):
        assert [line.get("source", "") for line in lines(run, kind)].count("research:1") == 1
    sources = {line["source"] for line in lines(run, "intent")}
    assert sources == {"cell-1", "research:1", "research:2"}
    assert [line["event"] for line in lines(run, "event")].count("ToolStarted") == 1
    assert len(lines(run, "research")) == len(lines(run, "research_done")) == 2


@pytest.mark.parametrize(
    "cell",
    [
        MANY,
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as pool:\n"
        "    found = list(pool.map(research, ['<a> what is alpha', '<b> what is beta']))",
    ],
    ids=["in one call", "in threads of a cell"],
)
def test_several_work_at_the_same_time(begin: Any, cell: str) -> None:
    meet = threading.Barrier(2, timeout=120)  # nobody answers before both have asked

    def together() -> str:
        meet.wait()
        return READ.format("alpha")

    result, events = play(begin(Talks([cell, TELL], a=[together], b=[together])))
    assert [row["answer"] for row in of_json(result)] == ["alpha: alpha is 1"] * 2
    kinds = [e.kind for e in events if e.kind.startswith("Research")]
    assert kinds == ["ResearchStarted"] * 2 + ["ResearchFinished"] * 2


def test_no_more_work_at_a_time_than_the_setting_says(begin: Any) -> None:
    working, most = threading.Semaphore(2), []

    def counted() -> str:
        most.append(working.acquire(blocking=False))
        working.release()
        return READ.format("alpha")

    ask = "found = research_many([f'<a> {n}' for n in range(5)])"
    result, events = play(begin(Talks([ask, TELL], a=["x = 1", counted]), research_parallel=2))
    assert most == [True] * 5 and len(of_json(result)) == 5
    at_work = 0
    for event in events:
        at_work += {"ResearchStarted": 1, "ResearchFinished": -1}.get(event.kind, 0)
        assert at_work <= 2


def test_the_same_question_twice_is_two_sub_agents(begin: Any) -> None:
    ask = "found = research_many(['<a> it', '<a> it']) + [research('<a> it')]"
    brain = Talks([ask, TELL], a=[READ.format("alpha")])
    rows = of_json(play(begin(brain))[0])
    assert [row["answer"] for row in rows] == ["alpha: alpha is 1"] * 3
    assert sorted(row["research"] for row in rows) == ["research:1", "research:2", "research:3"]
    assert brain.times("a") == 3


def test_each_has_a_memory_and_a_kernel_of_its_own(begin: Any) -> None:
    look = "final_answer(str('secret_of_main' in globals()) + str('mine' in globals()))"
    main = ["secret_of_main = 'mango'\nprint(secret_of_main)", MANY, TELL]
    brain = Talks(main, a=["mine = 1\nprint('papaya')", look], b=[look])
    rows = of_json(play(begin(brain))[0])
    assert [row["answer"] for row in rows] == ["FalseTrue", "FalseFalse"]
    assert "mango" not in brain.prompts["a"] and "papaya" not in brain.prompts["main"]
    assert "papaya" in brain.prompts["a"] and "papaya" not in brain.prompts["b"]


def test_it_is_told_the_question_the_context_and_how_things_stand(begin: Any) -> None:
    ask = "plan(['count the pears'])\nfound = research('<a> what', context='The run is job-7.', steps=3)"
    brain = Talks([ask, TELL], a=["x = 1", "y = 2", "final_answer('3')"])
    result, _ = play(begin(brain))
    assert of_json(result)["answer"] == "3"
    prompt, system = brain.prompts["a"], brain.systems["a"]
    assert "The run is job-7." in prompt and "count the pears" in system and "You have 3 steps" in system
    assert "read_file(" in system and "write_file(" not in system and "research(" not in system
    assert prompt.count("One step is left") == 1
    assert "research_many(" in brain.systems["main"]


def test_a_long_answer_is_kept_whole_in_a_file(begin: Any, tmp_path: Path) -> None:
    brain = Talks(["found = research('<a> all of it')", TELL], a=["final_answer('x' * 9000 + 'the end')"])
    row = of_json(play(begin(brain))[0])
    assert "characters left out" in row["answer"] and len(row["answer"]) < 4200
    assert Path(row["path"]) == tmp_path / "work" / "long-texts" / "research-1-answer.txt"
    assert Path(row["path"]).read_text() == "x" * 9000 + "the end"


def test_scratch_is_thrown_away(begin: Any) -> None:
    brain = Talks(
        ["found = research('<a> x')", TELL], a=["open('note', 'w').write('n')", "final_answer('1')"]
    )
    run = begin(brain)
    play(run)
    assert [p for p in (run.folder / "research").rglob("*") if p.is_file()] == []


# Brains


class Silent(Brain):
    """No language model."""

    label = "playbook:silent"
    language_model = False

    def __init__(self, *cells: str) -> None:
        super().__init__()
        self.cells = list(cells)

    def generate(self, messages: list[Any], **_: Any) -> Any:
        from ml_intern.brains.base import Ending, answer

        return answer(f"<cell>\n{self.cells.pop(0)}\n</cell>", Ending("stop"), 0, 0)


def test_without_a_language_model_it_is_refused_in_one_line(begin: Any) -> None:
    cell = "try:\n    research('what')\nexcept ToolError as error:\n    final_answer(str(error))"
    result, events = play(begin(Silent(cell)))
    assert "There is no language model here" in result.answer and "\n" not in result.answer
    assert result.status == "done" and not told(events, "ResearchStarted")


def test_sub_agents_may_have_another_brain(
    begin: Any, scripted_server: Callable[..., Any], own_state: Path
) -> None:
    cells = ["found = research('what is alpha')", READ.format("alpha"), "final_answer(found.answer)"]
    server = scripted_server([f"<cell>\n{cell}\n</cell>" for cell in cells])
    settings = Settings.load(
        state=own_state,
        model="openai:large",
        base_url=server.url,
        research_model="openai:small",
        workspace=Path("work"),
        sandbox="none",
        budget="10k tokens",
    )
    run = Session.create(settings, "do it")
    result, events = play(run)
    assert result.answer == "alpha: alpha is 1"
    assert [chat["model"] for chat in server.chats] == ["large", "small", "large"]
    assert [e.model for e in told(events, "ResearchStarted")] == ["openai:small"]
    assert result.budget["tokens"]["spent"] == 45


def test_the_brain_of_sub_agents_is_checked_beforehand(tmp_path: Path) -> None:
    def build(name: str, **more: Any) -> Any:
        return build_research_brain(Settings.load(state=tmp_path, research_model=name, **more), print, {})

    assert build_research_brain(Settings.load(state=tmp_path), print, {}) is None
    with pytest.raises(UsageError, match=r"research_model: .*no language model"):
        build("playbook:")
    with pytest.raises(UsageError, match="research_model: Unknown scheme"):
        build("opnai:x")
    with pytest.raises(NoBrain, match=r"research_model: .*127\.0\.0\.1:9"):
        build("openai:x", model="openai:y", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(NoBrain, match=r"research_model: .*needs a key"):  # another scheme, another address
        build("openai:x", model="hf:y", base_url="http://127.0.0.1:9/v1", api_key="sk-local")


def test_brains_that_fall_back_do_so_once_for_all_threads() -> None:
    meet = threading.Barrier(4, timeout=120)

    class Gone(Talks):
        def generate(self, messages: list[Any], **more: Any) -> Any:
            meet.wait()
            raise NoBrain("gone")

    notices: list[Any] = []
    second = Talks(["x"])
    brain = FallbackBrain([Gone(["x"]), second, Talks(["y"])], notices.append)
    with ThreadPoolExecutor(4) as pool:
        said = list(pool.map(lambda _: brain.generate([{"role": "user", "content": "go"}]), range(4)))
    assert len(said) == 4 and second.times("main") == 4 and len(notices) == 1
