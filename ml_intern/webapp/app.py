"""The page: Gradio components, and what each of them does. All state is in `Pages`; nothing is kept here."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ml_intern.errors import InternError, UsageError
from ml_intern.hosting import Hosted
from ml_intern.router.approval import Answer
from ml_intern.secrets.masking import mask
from ml_intern.webapp.asking import arguments_of, asked
from ml_intern.webapp.house import Home
from ml_intern.webapp.markup import text
from ml_intern.webapp.pages import Pages
from ml_intern.webapp.panels import CurvesPanel, ExperimentsPanel, FilesPanel, JobsPanel, UploadPanel
from ml_intern.webapp.where import News, Where

_TABS = ("Jobs", "Curves", "Experiments", "Files", "Data")
_QUIET = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": None}
"""For every event: no name in an API, no grey veil over the page, and nobody waits for another user."""
_TAKE = "(told) => { window.mi && mi.take(told); }"
_WHERE = "(w, ...rest) => [window.mi ? mi.where() : '', ...rest]"
_WELCOME = """\
<div class="mi-welcome"><h2>What shall be trained, measured or read?</h2>
<p>Say it in one sentence. ML Intern writes code, trains, measures, and asks before anything leaves.</p>
<ul><li><button type="button">pretrain a small model on notes.txt and publish it as notes</button></li>
<li><button type="button">say hello to Ada</button></li></ul></div>"""

Panel = Any


def build(pages: Pages, user_shown: Callable[[str | None], str]) -> gr.Blocks:
    """The page.

    Args:
        pages: Answers it.
        user_shown: HTML of who is logged in, and how to leave.
    """
    with gr.Blocks(title="ML Intern", analytics_enabled=False, fill_width=True) as page:
        Page(pages, user_shown, page)
    return page


class Page:
    """Builds the components and wires them, in the order in which they stand on the page."""

    def __init__(self, pages: Pages, user_shown: Callable[[str | None], str], page: gr.Blocks) -> None:
        self.pages = pages
        self._user_shown = user_shown
        self.where = gr.Textbox(visible="hidden", elem_id="mi-where")
        self.look = gr.Button("look", visible="hidden", elem_id="mi-look")
        self.refresh = gr.Button("refresh", visible="hidden", elem_id="mi-refresh")
        self._sidebar()
        with gr.Tabs(elem_id="mi-tabs"):
            with gr.Tab("Session", id="session"):
                self._session()
            self.panels = self._panels()
        self.news = [
            self.ask,
            self.ask_text,
            self.ask_arguments,
            self.ask_reason,
            self.ask_always,
            self.model,
            self.budget,
        ]
        self._wire(page)

    # What stands where

    def _sidebar(self) -> None:
        with gr.Sidebar(width=300, elem_id="mi-side"):
            gr.HTML('<div class="mi-brand">ML Intern</div>')
            gr.HTML('<a id="mi-new" href="?" data-session="">New session</a>')
            gr.HTML('<nav id="mi-list" aria-label="Sessions"></nav>')
            with gr.Accordion("Model and budget", open=False):
                self.model = gr.Dropdown(
                    self.pages.house.models,
                    label="Model",
                    allow_custom_value=not self.pages.house.apart,
                    info="scheme:name; empty: the server's own",
                    value=None,
                    elem_id="mi-model",
                )
                self.budget = gr.Textbox(
                    label="Budget",
                    placeholder="5 usd, 1h, 500k tokens",
                    elem_id="mi-budget",
                    info="for new sessions; Apply changes this one",
                    max_lines=1,
                )
                self.apply = gr.Button("Apply to this session", size="sm", elem_id="mi-apply")
            self.who = gr.HTML("", elem_id="mi-who")

    def _session(self) -> None:
        gr.HTML(
            '<div id="mi-status" role="status"></div>'
            '<div id="mi-error" role="alert" hidden><span></span><button aria-label="Close">×</button></div>'
            f'{_WELCOME}<div id="mi-log" aria-live="polite"></div>'
        )
        with gr.Column(visible=False, elem_id="mi-question") as self.ask:
            self.ask_text = gr.HTML("")
            self.ask_arguments = gr.Code(
                language="json",
                label="Arguments (you may change them)",
                interactive=True,
                max_lines=14,
                elem_id="mi-arguments",
            )
            self.ask_reason = gr.Textbox(
                label="Reason of a no (the model reads it)", lines=1, max_lines=3, elem_id="mi-reason"
            )
            with gr.Row():
                self.allow = gr.Button("Allow", variant="primary", elem_id="mi-allow")
                self.ask_always = gr.Button("Allow always", elem_id="mi-always")
                self.deny = gr.Button("Deny", variant="stop", elem_id="mi-deny")
        with gr.Column(elem_id="mi-composer"):
            self.prompt = gr.Textbox(
                show_label=False,
                container=False,
                lines=1,
                max_lines=8,
                elem_id="mi-prompt",
                autofocus=True,
                placeholder="What shall be done?",
            )
            with gr.Row(elem_id="mi-buttons"):
                self.undo = gr.Button("Undo", size="sm", elem_id="mi-undo")
                self.resume = gr.Button("Resume", size="sm", elem_id="mi-resume")
                self.stop_step = gr.Button("Stop step", size="sm", elem_id="mi-stop-step")
                self.stop_run = gr.Button("Stop", size="sm", variant="stop", elem_id="mi-stop")
                self.send = gr.Button("Send", size="sm", variant="primary", elem_id="mi-send")

    def _panels(self) -> list[Panel]:
        kinds: Sequence[type[Panel]] = (JobsPanel, CurvesPanel, ExperimentsPanel, FilesPanel, UploadPanel)
        panels = []
        for name, kind in zip(_TABS, kinds, strict=True):
            with gr.Tab(name, id=name.lower()):
                panel: Panel = kind()
                also = [self._uploads] if kind is UploadPanel else []
                if hasattr(panel, "wire"):
                    panel.wire(self._of, *also)
            panels.append(panel)
        return panels

    # What does what

    def _wire(self, page: gr.Blocks) -> None:
        self._on(self.look.click, self._look)
        self._on(page.load, self._look)
        page.load(self._hello, None, [self.who], **_QUIET)
        outputs = [out for panel in self.panels for out in panel.outputs]
        self.refresh.click(self._safely(self._refresh), [self.where], outputs, js=_WHERE, **_QUIET)
        sends = [self.prompt, self.model, self.budget]
        for listen in (self.send.click, self.prompt.submit):
            self._on(listen, self._say, sends, [self.prompt])
        self._on(self.stop_step.click, partial(self._stop, "step"))
        self._on(self.stop_run.click, partial(self._stop, "run"))
        self._on(self.resume.click, self._resume)
        self._on(self.undo.click, self._undo)
        self._on(self.apply.click, self._set, [self.model, self.budget])
        self._on(self.allow.click, partial(self._answer, True, False), [self.ask_arguments])
        self._on(self.ask_always.click, partial(self._answer, True, True), [self.ask_arguments])
        self._on(self.deny.click, partial(self._answer, False, False), [self.ask_reason])

    def _on(
        self, listen: Any, do: Callable[..., list[Any]], inputs: Sequence[Any] = (), more: Sequence[Any] = ()
    ) -> None:
        """Each event says where the page is, and takes the news with its own outputs.

        Each has a payload of its own: the next one must not write over it before the page has read it.
        """
        payload = gr.Textbox(visible="hidden")

        def work(request: gr.Request, where: str, *given: Any) -> list[Any]:
            return do(Where.of(where), *given, request)

        done = listen(work, [self.where, *inputs], [payload, *self.news, *more], js=_WHERE, **_QUIET)
        done.then(None, [payload], None, js=_TAKE, api_visibility="private", show_progress="hidden")

    def _look(self, where: Where, request: gr.Request) -> list[Any]:
        return self._told(self.pages.look(*_who(request), where))

    def _hello(self, request: gr.Request) -> str:
        return self._user_shown(_who(request)[0])

    def _act(self, where: Where, request: gr.Request, deed: Callable[[Home], str]) -> tuple[list[Any], bool]:
        def safe(home: Home) -> str:
            try:
                return deed(home)
            except InternError:
                raise
            except Exception as error:
                raise defect(error) from error

        news = self.pages.act(*_who(request), where, safe)
        return self._told(news), not json.loads(news.payload)["error"]

    def _say(self, where: Where, words: str, model: Any, budget: str, request: gr.Request) -> list[Any]:
        given = {"model": str(model or "").strip(), "budget": (budget or "").strip()}
        told, good = self._act(
            where, request, lambda home: self.pages.say(home, where.session, words or "", given)
        )
        return [*told, "" if good else gr.skip()]

    def _stop(self, what: str, where: Where, request: gr.Request) -> list[Any]:
        return self._act(where, request, lambda home: self.pages.stop(home, where.session, what))[0]

    def _resume(self, where: Where, request: gr.Request) -> list[Any]:
        return self._act(where, request, lambda home: self.pages.go_on(home, where.session))[0]

    def _undo(self, where: Where, request: gr.Request) -> list[Any]:
        return self._act(where, request, lambda home: self.pages.undo(home, where.session))[0]

    def _set(self, where: Where, model: Any, budget: str, request: gr.Request) -> list[Any]:
        given = {"model": str(model or "").strip(), "budget": (budget or "").strip()}
        return self._act(where, request, lambda home: self.pages.set(home, where.session, given))[0]

    def _answer(self, allow: bool, always: bool, where: Where, said: str, request: gr.Request) -> list[Any]:
        def deed(home: Home) -> str:
            answer = (
                Answer(True, arguments=arguments_of(said), always=always)
                if allow
                else Answer(False, said or "")
            )
            return self.pages.answer(home, where.session, where.question, answer)

        return self._act(where, request, deed)[0]

    def _told(self, news: News) -> list[Any]:
        """The updates of `self.news`."""
        asks: list[Any] = [gr.skip()] * 5
        if news.asks_anew:
            asks = asked(news.question)
        fields: list[Any] = [gr.skip()] * 2
        if news.settings is not None:
            model, offered = news.settings["model"], self.pages.house.models
            if self.pages.house.apart and model not in offered:
                model = ""  # of an earlier day; the field takes none but those
            fields = [gr.update(value=model or None), gr.update(value=news.settings["budget"])]
        return [news.payload, *asks, *fields]

    # Panels

    def _of(self, request: gr.Request) -> Hosted | None:
        return self.pages.hosted(*_who(request))

    def _uploads(self, request: gr.Request) -> Path:
        return self.pages.house.home(_who(request)[0]).uploads

    def _refresh(self, where: Where, request: gr.Request) -> list[Any]:
        """The panel that the page shows; it leaves out what the page has already."""
        hosted = self.pages.hosted(*_who(request), where.session)
        updates: list[Any] = []
        for name, panel in zip(_TABS, self.panels, strict=True):
            updates += panel.refresh(hosted) if name == where.tab else [gr.skip()] * len(panel.outputs)
        return updates

    def _safely(self, do: Callable[[Where, gr.Request], list[Any]]) -> Callable[[gr.Request, str], list[Any]]:
        def work(request: gr.Request, where: str) -> list[Any]:
            try:
                return do(Where.of(where), request)
            except InternError as failure:
                raise gr.Error(text(failure), duration=8, print_exception=False) from None
            except Exception as error:  # noqa: BLE001 - the top of a request: one line, and the log
                raise gr.Error(text(defect(error)), duration=8, print_exception=False) from None

        return work


def defect(error: Exception) -> UsageError:
    """One line for the page of what should not have happened; the log has all of it."""
    print(mask("".join(traceback.format_exception(error))), flush=True)  # noqa: T201 - the server's log
    return UsageError(f"This is a defect: {type(error).__name__}.", "The server's log says more.")


def _who(request: gr.Request) -> tuple[str | None, str]:
    return getattr(request, "username", None), str(request.session_hash or "")
