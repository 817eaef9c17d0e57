"""The web app in a real browser: what a person does there, and what nobody else gets to see of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.openai_server import ScriptedServer
from support.web_app import (
    WAIT_MS,
    Served,
    Visitor,
    add_user,
    browsing,
    needs_browser,
    requests_of,
    served,
    visit,
)

pytestmark = needs_browser

PASSWORD = "correct horse battery"
WAITING = """
import pathlib, time
print("the cell has begun", flush=True)
while not pathlib.Path("go").exists():
    time.sleep(0.05)
print("the cell goes on")
"""
PUBLISHING = """
import json
with open("rows.jsonl", "w") as out:
    out.writelines(json.dumps({"text": f"row {i}"}) + "\\n" for i in range(20))
made = deduplicate_dataset("rows.jsonl")
print(publish_dataset(made.id, "ada/rows", private=False))
"""


def cell(code: str, words: str = "Next.") -> str:
    return f"{words}\n<cell>\n{code.strip()}\n</cell>"


@pytest.fixture(scope="module")
def script() -> Iterator[ScriptedServer]:
    with ScriptedServer([]) as server:
        yield server


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, script: ScriptedServer) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("web")
    for name in ("ada", "bob"):
        add_user(folder / "users.txt", name, PASSWORD)
    env = {
        "ML_INTERN_APP_MODELS": "openai:scripted",
        "ML_INTERN_API_KEY": "k",
        "ML_INTERN_BASE_URL": script.url,
    }
    options = ("--users", str(folder / "users.txt"), "--model", "playbook:")
    with served(folder, *options, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with browsing() as chromium:
        yield chromium


@pytest.fixture
def ada(browser: Any, app: Served) -> Iterator[Visitor]:
    visitor = visit(browser, app.url)
    visitor.log_in("ada", PASSWORD)
    yield visitor
    visitor.leave()


def test_a_prompt_is_answered_and_a_second_turn_goes_on(ada: Visitor, app: Served, tmp_path: Path) -> None:
    ada.say("say hello to Ada")
    ada.sees(".mi-said", "say hello to Ada")
    ada.sees(".mi-answer", "Hello, Ada!")
    ada.waits_for("waiting")
    assert (app.home("ada") / "sessions" / ada.session / "session.json").is_file()
    ada.shoot(tmp_path, "web-session")
    ada.say("say hello to Grace")
    ada.sees(".mi-answer", "Hello, Grace!")
    assert ada.page.locator(".mi-said").count() == 2
    assert ada.strayed == []


@pytest.mark.thorough
def test_a_question_is_answered_with_other_arguments(
    ada: Visitor, script: ScriptedServer, tmp_path: Path
) -> None:
    script.replies = [{"text": cell(PUBLISHING)}, {"text": cell("final_answer('published')")}]
    ada.choose("openai:scripted")
    ada.say("publish the rows")
    ada.waits_for("asks")
    ada.sees("#mi-question", "publish_dataset")
    ada.sees("#mi-question", "everybody can read it")
    ada.shoot(tmp_path, "web-approval")
    editor = ada.page.locator("#mi-arguments .cm-content")
    editor.click()
    ada.page.keyboard.press("Control+a")
    ada.page.keyboard.insert_text('{"repo": "ada/private-rows", "private": true}')
    ada.page.click("#mi-allow")
    ada.sees(".mi-published", "private-rows")
    ada.sees(".mi-answer", "published")
    assert not ada.page.locator("#mi-question").is_visible()


@pytest.mark.thorough
def test_a_no_is_told_to_the_brain_with_its_reason(ada: Visitor, script: ScriptedServer) -> None:
    refused = (
        PUBLISHING.replace("print(", "try:\n    print(") + "except ToolError as error:\n    print(error)\n"
    )
    script.replies = [{"text": cell(refused)}, {"text": cell("final_answer('not published')")}]
    ada.choose("openai:scripted")
    ada.say("publish the rows")
    ada.waits_for("asks")
    ada.page.fill("#mi-reason textarea", "the rows are not ours")
    ada.page.click("#mi-deny")
    ada.sees(".mi-answer", "not published")
    ada.sees(".mi-out", "the rows are not ours")


@pytest.mark.thorough
def test_a_reload_in_mid_run_loses_nothing(
    ada: Visitor, app: Served, script: ScriptedServer, tmp_path: Path
) -> None:
    script.replies = [{"text": cell(WAITING, "I wait.")}, {"text": cell("final_answer('**all** there')")}]
    ada.choose("openai:scripted")
    ada.say("wait for me")
    ada.sees(".mi-out", "the cell has begun")
    ada.page.reload()
    ada.sees(".mi-said", "wait for me")
    ada.sees(".mi-out", "the cell has begun")
    ada.waits_for("working")
    ada.shoot(tmp_path, "web-reload")
    (app.home("ada") / "sessions" / ada.session / "workspace" / "go").touch()
    ada.sees(".mi-out", "the cell goes on")
    ada.sees(".mi-answer strong", "all")
    assert ada.page.locator(".mi-said").count() == 1


@pytest.mark.thorough
def test_a_run_is_told_something_stopped_and_resumed(
    ada: Visitor, app: Served, script: ScriptedServer
) -> None:
    script.replies = [{"text": cell(WAITING)}, {"text": cell("final_answer('came to an end')")}]
    ada.choose("openai:scripted")
    ada.say("wait for me")
    ada.sees(".mi-out", "the cell has begun")
    ada.page.click("#mi-stop")
    ada.waits_for("over")
    (app.home("ada") / "sessions" / ada.session / "workspace" / "go").touch()
    ada.page.click("#mi-resume")
    ada.sees(".mi-answer", "came to an end")


@pytest.mark.thorough
def test_two_users_see_nothing_of_each_other(
    ada: Visitor, browser: Any, app: Served, script: ScriptedServer, tmp_path: Path
) -> None:
    ada.say("say hello to the-secret-of-ada")
    ada.sees(".mi-answer", "the-secret-of-ada")
    bob = visit(browser, app.url)
    bob.log_in("bob", PASSWORD)
    bob.say("say hello to the-secret-of-bob")
    bob.sees(".mi-answer", "the-secret-of-bob")
    bob.shoot(tmp_path, "web-user-bob")
    ada.shoot(tmp_path, "web-user-ada")
    assert "secret-of-bob" not in ada.page.content() and "secret-of-ada" not in bob.page.content()
    bob.page.goto(f"{app.url}/?session={ada.session}")
    bob.sees("#mi-error", "There is no such session")
    assert "secret-of-ada" not in bob.page.content()
    journal = app.home("ada") / "sessions" / ada.session / "journal.sqlite"
    taken = bob.page.request.get(f"{app.url}/gradio_api/file={journal}")
    assert taken.status in (403, 404)
    bob.leave()


@pytest.mark.thorough
def test_what_a_model_writes_is_no_html_and_asks_nobody(ada: Visitor, script: ScriptedServer) -> None:
    evil = '<img src=x onerror="window.hacked=1"> <script>window.hacked=1</script> ![pixel](http://web.example/p.png)'
    code = f"print({evil!r})\nfinal_answer({evil!r} + ' [click](javascript:window.hacked=1)')"
    script.replies = [{"text": cell(code, evil)}]
    ada.choose("openai:scripted")
    ada.say(f"show {evil}")
    ada.sees(".mi-answer", "pixel")
    assert ada.page.evaluate("window.hacked") is None
    assert ada.page.locator("#mi-log img, #mi-log script, #mi-log a[href^=javascript]").count() == 0
    assert ada.strayed == []


@pytest.mark.thorough
def test_an_open_page_is_told_and_does_not_ask(ada: Visitor, app: Served, script: ScriptedServer) -> None:
    printing = (
        WAITING + "for number in range(20):\n    print('line', number, flush=True)\n    time.sleep(0.1)\n"
    )
    script.replies = [{"text": cell(printing)}, {"text": cell("final_answer('printed')")}]
    ada.choose("openai:scripted")
    ada.say("print for a while")
    ada.sees(".mi-out", "the cell has begun")
    asked = requests_of(ada.page)
    (app.home("ada") / "sessions" / ada.session / "workspace" / "go").touch()
    ada.sees(".mi-out", "line 19")
    ada.sees(".mi-answer", "printed")
    ada.waits_for("waiting")
    assert [url for url in asked if "/news?" not in url] == []
    ada.page.reload()
    ada.sees(".mi-answer", "printed")
    assert any("/queue/join" in url for url in asked), "requests would have been seen"


@pytest.mark.thorough
def test_an_open_tab_shows_what_a_session_makes_meanwhile(
    ada: Visitor, app: Served, script: ScriptedServer
) -> None:
    making = WAITING + "pathlib.Path('made-while-you-look.txt').write_text('x')\n"
    script.replies = [{"text": cell(making)}, {"text": cell("final_answer('made')")}]
    ada.choose("openai:scripted")
    ada.say("make a file")
    ada.sees(".mi-out", "the cell has begun")
    ada.page.get_by_role("tab", name="Files").click()
    ada.sees("#files-table", "Python script")
    (app.home("ada") / "sessions" / ada.session / "workspace" / "go").touch()
    ada.sees("#files-table", "made-while-you-look.txt")


@pytest.mark.thorough
def test_a_page_outlives_its_server(browser: Any, tmp_path: Path) -> None:
    with served(tmp_path, "--model", "playbook:") as first:
        visitor = visit(browser, first.url)
        visitor.page.goto(first.url)
        visitor.ready()
        visitor.say("say hello to Ada")
        visitor.sees(".mi-answer", "Hello, Ada!")
    visitor.page.wait_for_selector('body[data-mi-offline="yes"]')
    visitor.page.fill("#mi-prompt textarea", "say hello to Grace")
    with served(tmp_path, "--model", "playbook:", port=int(first.url.rpartition(":")[2])):
        visitor.page.wait_for_selector('body:not([data-mi-offline="yes"])[data-mi="over"]')
        visitor.page.wait_for_function(
            "document.querySelector('#mi-prompt textarea').value.includes('Grace')"
        )
        visitor.sees(".mi-answer", "Hello, Ada!")
        visitor.page.click("#mi-send")
        visitor.sees(".mi-answer", "Hello, Grace!")
    visitor.leave()


@pytest.mark.thorough
def test_a_request_to_another_host_would_be_seen(browser: Any, app: Served) -> None:
    visitor = visit(browser, app.url)
    for url in ("http://web.example/pixel.png", "https://other.example/pixel.png"):
        visitor.page.evaluate("url => fetch(url, {mode: 'no-cors'}).catch(() => null)", url)
    assert [asked.rsplit(" ", 1)[0] for asked in visitor.strayed] == [
        "GET http://web.example/pixel.png",
        "CONNECT other.example:443",
    ]
    visitor.leave()


@pytest.mark.slow
@pytest.mark.thorough
@pytest.mark.timeout(600)
def test_a_sentence_ends_with_a_published_model(ada: Visitor, app: Served, tmp_path: Path) -> None:
    uploads = app.home("ada") / "uploads"
    uploads.joinpath("notes.txt").write_text("".join(f"note {i} says {i * 7 % 10}\n" for i in range(3000)))
    ada.choose("playbook:")
    ada.say(f"pretrain a small model on {uploads / 'notes.txt'} in 0.3 minutes and publish it as notes")
    ada.sees(".mi-job")
    ada.shoot(tmp_path, "web-training")
    ada.page.wait_for_selector(".mi-published", timeout=4 * WAIT_MS)
    ada.sees(".mi-published", "local/notes")
    ada.waits_for("waiting")
    ada.shoot(tmp_path, "web-published")
