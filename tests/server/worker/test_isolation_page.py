"""The page on isolation has the table of settings as it is in the code."""

from __future__ import annotations

from pathlib import Path

from jupyter_mlsvc_server.worker.settings import SETTINGS

PAGE = Path(__file__).parents[3] / "server_ext" / "docs" / "explanation" / "isolation.md"


def test_the_page_has_all_settings_in_their_order() -> None:
    rows = [
        f"| {row.title} | {' '.join(f'`{word}`' for word in sorted(row.words))} | "
        f"{'put back' if row.write else 'worker retired'} |"
        for row in SETTINGS
    ]
    lines = PAGE.read_text("utf-8").splitlines()
    first = lines.index("| setting | words | after a call |")
    end = lines.index("", first)
    assert lines[first + 2 : end] == rows


def test_titles_are_unlike_each_other() -> None:
    titles = [row.title for row in SETTINGS]
    assert len(set(titles)) == len(titles)
