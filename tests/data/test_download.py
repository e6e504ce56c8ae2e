"""Downloads: checked before unpacking, nothing outside the target, all or nothing. No network is used."""

from __future__ import annotations

import hashlib
import io
import stat
import urllib.error
import zipfile
from dataclasses import replace

import pytest

from tacit.core.values import DataError
from tacit.data.download import ARCHIVES, TERMS, Archive, fetch, get


def zipped(members: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        if link:
            info = zipfile.ZipInfo(link)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(info, "/etc")
    return buffer.getvalue()


def archive(raw: bytes) -> Archive:
    md5 = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    sha256 = hashlib.sha256(raw).hexdigest()
    return Archive("https://films.example/ml.zip", len(raw), md5, sha256, "ml", ("u.data", "u.user"))


class Response(io.BytesIO):
    """What urlopen returns: bytes, and the address they came from in the end."""

    url = ""

    def geturl(self):
        return self.url


def opener(raw: bytes, leads_to: str = "https://films.example/ml.zip"):
    """Stands in for urlopen; `asked` remembers the addresses."""

    def open_(url, timeout):
        open_.asked.append(url)
        response = Response(raw)
        response.url = leads_to
        return response

    open_.asked = []
    return open_


GOOD = {"ml/": b"", "ml/u.data": b"1\t1\t5\t9\n", "ml/u.user": b"1|24|M|writer|85711\n", "ml/more/README": b"terms"}


def test_a_set_is_fetched_checked_and_unpacked_without_its_top_folder(tmp_path, capsys):
    raw = zipped(GOOD)
    web = opener(raw)
    target = fetch(archive(raw), tmp_path / "new" / "movielens", web)
    assert target == tmp_path / "new" / "movielens"
    assert (target / "u.data").read_bytes() == GOOD["ml/u.data"]
    assert (target / "more" / "README").read_bytes() == b"terms"
    assert [path.name for path in target.parent.iterdir()] == ["movielens"]
    assert capsys.readouterr() == ("", "")
    assert fetch(archive(raw), target, web) == target
    assert web.asked == ["https://films.example/ml.zip"]


def refused(tmp_path, given: Archive, web, message):
    with pytest.raises(DataError, match=message):
        fetch(given, tmp_path / "movielens", web)
    assert not (tmp_path / "movielens").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_the_published_one_is_not_unpacked(tmp_path):
    raw = zipped(GOOD)
    good = archive(raw)
    refused(tmp_path, replace(good, md5="0" * 32), opener(raw), f"md5 0+ was needed, found {good.md5}")
    refused(tmp_path, replace(good, sha256="0" * 64), opener(raw), "sha256 0+ was needed")
    refused(tmp_path, good, opener(raw + b"x"), "is longer than")
    refused(tmp_path, good, opener(raw[:-1]), "is not the published file")


@pytest.mark.parametrize(
    "name", ["../evil", "ml/../../evil", "/etc/evil", "other/u.data", "evil", "ml\\..\\evil", "C:/x"]
)
def test_a_member_outside_the_top_folder_refuses_the_whole(tmp_path, name):
    raw = zipped(GOOD | {name: b"x"})
    raw = raw.replace(name.replace("\\", "/").encode(), name.encode())  # zipfile would tidy a backslash
    refused(tmp_path, archive(raw), opener(raw), "holds a member outside of ml/; nothing was unpacked")


def test_a_link_is_refused(tmp_path):
    raw = zipped(GOOD, link="ml/shortcut")
    refused(tmp_path, archive(raw), opener(raw), "holds a member outside")


def test_an_archive_that_lacks_a_file_or_is_none_is_refused(tmp_path):
    raw = zipped({"ml/u.data": b"x"})
    refused(tmp_path, archive(raw), opener(raw), "lacks u.user")
    refused(tmp_path, archive(b"no zip"), opener(b"no zip"), "is not a readable zip file")


def test_only_https_is_used(tmp_path):
    raw = zipped(GOOD)
    web = opener(raw)
    refused(tmp_path, replace(archive(raw), url="http://films.example/ml.zip"), web, "only https is used")
    assert web.asked == []
    refused(tmp_path, archive(raw), opener(raw, "http://films.example/x"), "without https")


def test_no_connection_is_told_with_a_way_out(tmp_path):
    def offline(url, timeout):
        raise urllib.error.URLError("no route")

    refused(tmp_path, archive(b""), offline, "cannot be reached .*no route.*download it by hand")


def test_what_is_in_the_way_is_left_alone(tmp_path):
    raw = zipped(GOOD)
    target = tmp_path / "movielens"
    target.mkdir()
    (target / "mine.txt").write_text("kept")
    with pytest.raises(DataError, match=r"is in the way and does not hold u.data, u.user"):
        fetch(archive(raw), target, opener(raw))
    assert (target / "mine.txt").read_text() == "kept"
    (target / "mine.txt").unlink()
    assert (fetch(archive(raw), target, opener(raw)) / "u.data").is_file()


def test_only_known_sets_can_be_had_and_each_states_its_terms(tmp_path):
    with pytest.raises(DataError, match="'adult' cannot be downloaded; known: movielens-100k, movielens-1m"):
        get("adult", tmp_path)
    assert set(TERMS) == set(ARCHIVES)
    for name, terms in TERMS.items():
        assert "do not redistribute" in terms
        assert "no commercial" in terms
        assert ARCHIVES[name].url.startswith("https://files.grouplens.org/")
        with pytest.raises(DataError, match="is not the published file"):
            get(name, tmp_path, opener(b"not it"))
