"""How the page looks: fonts, colours, its own style and script. Nothing is fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

HERE = Path(__file__).parent


def theme() -> gr.themes.Base:
    """Fonts of the reader's own system: nothing is fetched."""
    sans = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    return gr.themes.Base(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=sans,
        font_mono=mono,
        radius_size="md",
        spacing_size="md",
    )


def head() -> str:
    """What stands in the page's head: its own script."""
    return f"<script>{(HERE / 'page.js').read_text(encoding='utf-8')}</script>"


def style() -> str:
    """The page's own style.

    Gradio takes each rule twice: as it is, and with a selector of its own before it, which weighs more. So
    rules that begin at ``body`` say ``!important``, and what differs in the dark are variables.
    """
    return (HERE / "style.css").read_text(encoding="utf-8")
