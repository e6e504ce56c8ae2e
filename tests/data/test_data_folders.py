"""Where data are looked for, in order."""

from __future__ import annotations

from pathlib import Path

from tacit.data.folders import cache, folders


def test_folders_come_in_the_stated_order(monkeypatch, tmp_path):
    monkeypatch.setenv("TACIT_DATA", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    expected = (Path("mine"), tmp_path / "sets", Path("data"), tmp_path / "cache" / "tacit")
    assert folders(Path("mine")) == expected
    monkeypatch.delenv("TACIT_DATA")
    assert folders() == expected[2:]


def test_the_cache_is_below_home_unless_said_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for unusable in (None, "", "relative/cache"):
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if unusable is not None:
            monkeypatch.setenv("XDG_CACHE_HOME", unusable)
        assert cache() == tmp_path / ".cache" / "tacit"
