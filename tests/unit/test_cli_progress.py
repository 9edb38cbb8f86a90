"""What a command says while it waits, where nobody sees a line that is updated."""

from __future__ import annotations

import pytest

from fpm.cli.progress import Progress


def test_in_a_pipe_it_comes_again_when_something_else_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    now = 100.0
    progress = Progress(lambda: now)

    def show(at: float, text: str) -> str:
        nonlocal now
        now = at
        progress.show(text)
        return capsys.readouterr().err

    assert show(100.0, "") == ""
    assert show(101.0, "waiting for 6 pools") == "waiting for 6 pools\n"
    assert show(102.0, "waiting for 1 pool") == ""
    assert show(130.0, "waiting for 1 pool") == ""
    assert show(131.0, "waiting for 6 pools") == "", "that has been said"
    assert show(140.0, "waiting for 1 pool") == "waiting for 1 pool\n"
    assert show(199.0, "waiting for 2 pools") == ""
    assert show(200.0, "waiting for 2 pools") == "waiting for 2 pools\n"
