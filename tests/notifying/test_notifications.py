"""What leaves for Slack and for webhooks, against a real server with the faults of real ones."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.loopback import Answer, Asked, Loopback, Reply, endless
from support.scripted_runs import cell, play

from ml_intern.errors import UsageError
from ml_intern.events import ApprovalNeeded, SessionFinished, TurnFinished
from ml_intern.notifying import Notifier, Target, notifier, read_targets
from ml_intern.notifying.messages import About, Message
from ml_intern.secrets.masking import add_secret
from ml_intern.secrets.secrets import Secrets
from ml_intern.settings import Settings

ABOUT = About("20260101-000000-abcd", "train a model", "openai:x")
DONE = SessionFinished("s", "done", 0, "It scored well.")
SLACK_PATH = "/services/T00000000/B00000000/" + "x" * 24
LONG_S = 60.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy delivers late."""
    monkeypatch.setattr(notifier, "LEAVE_S", LONG_S)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Loopback]]:
    servers: list[Loopback] = []

    def start(answer: Answer) -> Loopback:
        servers.append(Loopback(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


def sending(*targets: Target, told: list[str] | None = None) -> Notifier:
    lines = told if told is not None else []
    return Notifier(targets, ["approval", "done", "failed", "limit", "message"], ABOUT, lines.append)


def slack_checks(asked: Asked) -> Reply:
    """As Slack answers: plain words, and 400 for what it does not take."""
    if asked.method != "POST" or not asked.headers["content-type"].startswith("application/json"):
        return Reply("invalid_payload", 400)
    body = asked.json
    if not body.get("text") or not isinstance(body["text"], str):
        return Reply("no_text", 400)
    for block in body["blocks"]:
        match block:
            case {"type": "header", "text": {"type": "plain_text", "text": text}} if 0 < len(text) <= 150:
                continue
            case {"type": "section", "text": {"type": "mrkdwn", "text": text}} if 0 < len(text) <= 3000:
                continue
            case {"type": "context", "elements": [{"type": "mrkdwn", "text": text}]} if text:
                continue
        return Reply("invalid_blocks", 400)
    return Reply("ok")


def test_slack_takes_what_is_sent(serve: Callable[[Answer], Loopback]) -> None:
    server, told = serve(slack_checks), []
    notifier = sending(Target(server.url + SLACK_PATH, slack=True), told=told)
    question = ApprovalNeeded("call-1", "publish_model", "publish", {"repo": "me/x", "text": "y" * 9000}, "free",
                              "publishing asks", "me/x on the Hub")  # fmt: skip
    notifier.take(question)
    notifier.take(SessionFinished("s", "failed", 1, ""))
    notifier.take(SessionFinished("s", "done", 0, "<!channel> a & b " + "<&>" * 5000))
    notifier.message("half done")
    notifier.flush(LONG_S)
    notifier.close()
    assert told == []
    bodies = [asked.json for asked in server.asked]
    assert [body["blocks"][0]["text"]["text"] for body in bodies] == [
        "Approval needed: publish_model (publish)", "Failed", "Done", "A word from the intern",
    ]  # fmt: skip
    assert bodies[2]["blocks"][1]["text"]["text"].startswith("&lt;!channel&gt; a &amp; b")
    assert "<" not in json.dumps(bodies) and bodies[0]["unfurl_links"] is False


def test_a_webhook_gets_signed_json(serve: Callable[[Answer], Loopback]) -> None:
    server = serve(lambda asked: Reply(status=204))
    notifier = sending(Target(server.url + "/hook", slack=False, secret="it is a secret"))
    notifier.take(TurnFinished(3, "first answer"))
    notifier.take(SessionFinished("s", "limit", 3, ""))
    notifier.close()
    first, second = server.asked
    made = hmac.new(b"it is a secret", first.body, hashlib.sha256).hexdigest()
    assert first.headers["x-hub-signature-256"] == f"sha256={made}"
    assert first.headers["x-ml-intern-event"] == "done"
    assert first.json["session"] == {"id": ABOUT.session, "prompt": ABOUT.prompt, "model": ABOUT.model}
    assert first.json["end"] == {"status": "waiting", "exit_code": None, "answer": "first answer"}
    assert (second.json["kind"], second.json["version"], second.json["approval"]) == ("limit", 1, None)
    assert first.headers["x-ml-intern-delivery"] != second.headers["x-ml-intern-delivery"]


@pytest.mark.parametrize("fault", [429, 500, 503])
def test_what_passes_is_tried_again_when_the_server_says(
    serve: Callable[[Answer], Loopback], fault: int
) -> None:
    server = serve(lambda asked: Reply(status=fault, headers={"Retry-After": "1"} if len(server.asked) < 2 else {})
                   if len(server.asked) < 3 else Reply("ok"))  # fmt: skip
    told: list[str] = []
    notifier = sending(Target(server.url, slack=True), told=told)
    notifier.take(DONE)
    notifier.flush(LONG_S)
    notifier.close()
    assert len(server.asked) == 3 and told == []
    assert server.asked[1].at - server.asked[0].at >= 0.95, "it asked for a second"


def test_who_asks_for_long_is_left_alone(serve: Callable[[Answer], Loopback]) -> None:
    server = serve(lambda asked: Reply(status=429, headers={"Retry-After": "3600"}))
    told: list[str] = []
    notifier = sending(Target(server.url, slack=True), told=told)
    notifier.take(DONE)
    notifier.message("and more")
    notifier.flush(LONG_S)
    notifier.close()
    assert len(server.asked) == 1
    assert told[0].startswith("Slack at 127.0.0.1") and "429" in told[0]


def test_a_webhook_that_is_gone_is_told_once_and_left(serve: Callable[[Answer], Loopback]) -> None:
    server = serve(lambda asked: Reply("no_service\n", 404))
    told: list[str] = []
    notifier = sending(Target(server.url + SLACK_PATH, slack=True), told=told)
    for n in range(5):
        notifier.message(f"{n}")
    notifier.flush(LONG_S)
    notifier.close()
    assert len(server.asked) == 1
    assert len(told) == 1 and "404 no_service. Nothing more is sent there." in told[0]
    assert SLACK_PATH not in told[0]


def test_a_redirect_is_not_followed(serve: Callable[[Answer], Loopback]) -> None:
    other = serve(lambda asked: Reply("ok"))
    server = serve(lambda asked: Reply(status=302, headers={"Location": other.url}))
    told: list[str] = []
    notifier = sending(Target(server.url, slack=False), told=told)
    notifier.take(DONE)
    notifier.flush(LONG_S)
    notifier.close()
    assert other.asked == [] and "302" in told[0]


@pytest.mark.parametrize("fault", ["slow", "closed", "endless"])
def test_nothing_holds_the_session_up(
    serve: Callable[[Answer], Loopback], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "LEAVE_S", 0.3)
    answers = {
        "slow": Reply("ok", delay_s=120),
        "closed": Reply(b"", length=10),
        "endless": Reply(endless(b"x")),
    }
    server = serve(lambda asked: answers[fault])
    url = "http://127.0.0.1:9/hook" if fault == "closed" else server.url
    sender, began = sending(Target(url, slack=False)), time.monotonic()
    for n in range(300):
        sender.message(f"{n}")
        sender.take(DONE)
    assert time.monotonic() - began < 60, "nobody waited"
    sender.flush(0.3)
    sender.close()
    assert time.monotonic() - began < 60


def test_no_more_than_so_many_words_of_the_brain_are_sent(serve: Callable[[Answer], Loopback]) -> None:
    server, told = serve(lambda asked: Reply("ok")), []
    sender = sending(Target(server.url, slack=False), told=told)
    for n in range(notifier.MOST_MESSAGES + 20):
        sender.message(f"{n}")
        sender.flush(LONG_S)
    sender.close()
    assert len(server.asked) == notifier.MOST_MESSAGES and len(told) == 1


def test_credentials_do_not_leave(serve: Callable[[Answer], Loopback]) -> None:
    server = serve(lambda asked: Reply("ok"))
    add_secret("quite-secret-9321-value")
    sender = sending(Target(server.url, slack=False), Target(server.url, slack=True))
    sender.take(SessionFinished("s", "done", 0, "the key is quite-secret-9321-value"))
    sender.take(ApprovalNeeded("c", "t", "publish", {"token": "hf_" + "aB3" * 12}, "free", "asks"))
    sender.close()
    sent = b"".join(asked.body for asked in server.asked)
    assert len(server.asked) == 4 and b"9321" not in sent and b"aB3aB3" not in sent and b"[hidden]" in sent


def test_each_kind_of_end_has_its_word() -> None:
    ends = {s: Message.ending(ABOUT, SessionFinished("s", s, 1, ""), "").kind
            for s in ("done", "failed", "limit", "denied", "no_brain", "interrupted")}  # fmt: skip
    assert ends == {"done": "done", "failed": "failed", "limit": "limit", "denied": "failed",
                    "no_brain": "failed", "interrupted": "stopped"}  # fmt: skip


# Settings


@pytest.mark.parametrize(
    "entry", ["ftp://x", "http://", "slack+", "teams", "http://x:99999", "http://hooks.slack.com/services/a"]
)
def test_what_is_no_target_is_refused_without_showing_it(entry: str) -> None:
    with pytest.raises(UsageError) as refused:
        Settings.load(notify=[entry])
    assert str(refused.value).startswith("Setting notify:") and (
        entry == "slack+" or entry not in str(refused.value)
    )


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'approval'"):
        Settings.load(notify_on="aproval")


def test_slacks_address_comes_from_the_environment_or_env_file(tmp_path: Path) -> None:
    url = "https://hooks.slack.com" + SLACK_PATH
    (tmp_path / ".env").write_text(f"SLACK_WEBHOOK_URL={url}\n")
    settings = Settings.load(notify="slack", state=tmp_path)
    found, problems = read_targets(settings, Secrets({}, tmp_path).env)
    assert [(t.url, t.slack) for t in found] == [(url, True)] and problems == []
    assert SLACK_PATH not in repr(found) + repr(settings)
    elsewhere = {"SLACK_WEBHOOK_URL": "https://evil.example/services/x"}
    assert read_targets(settings, elsewhere)[0] == []
    assert "SLACK_WEBHOOK_URL" in read_targets(settings, {})[1][0]


# Whole sessions


def test_a_run_tells_its_end_and_the_brains_words(
    serve: Callable[[Answer], Loopback], tmp_path: Path
) -> None:
    server = serve(slack_checks)
    secret = server.url.replace("http", "slack+http") + SLACK_PATH
    played = play(
        [cell("notify('half way')\nprint(1)"), cell("final_answer('all done')")], tmp_path, notify=secret
    )
    assert [asked.json["blocks"][0]["text"]["text"] for asked in server.asked] == [
        "A word from the intern",
        "Done",
    ]
    assert "half way" in server.asked[0].json["text"] and "all done" in server.asked[1].json["text"]
    written = b"".join(p.read_bytes() for p in played.session.folder.rglob("*") if p.is_file())
    assert SLACK_PATH.encode() not in written


def test_where_telling_fails_the_run_does_not(tmp_path: Path) -> None:
    server = Loopback(lambda asked: Reply("no_service", 404))
    with server:
        played = play([cell("final_answer('all done')")], tmp_path, notify=server.url)
    assert played.result.status == "done"
    assert [n for n in played.notices if "no_service" in n], played.notices
    assert played.events[-1].kind == "SessionFinished"


def test_a_slack_that_is_not_set_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLACK_WEBHOOK_URL", raising=False)
    played = play([cell("final_answer('all done')")], tmp_path, notify="slack")
    assert [n for n in played.notices if "SLACK_WEBHOOK_URL" in n] and played.result.status == "done"


def test_nobody_is_called_to_a_question_that_nobody_can_answer(
    serve: Callable[[Answer], Loopback], tmp_path: Path
) -> None:
    server = serve(lambda asked: Reply("ok"))
    ask = cell(
        "open('rows.jsonl', 'w').write('{\"text\": \"a row\"}\\n')\n"
        "filter_dataset('rows.jsonl', where='1 = 1', name='x')\n"
        "try:\n    publish_dataset('x', 'me/x', private=False)\nexcept Exception as e:\n    print(e)"
    )
    play([ask, cell("final_answer('no')")], tmp_path, notify=server.url)
    assert "approval" not in [asked.json["kind"] for asked in server.asked]
