"""What a run leaves behind: provable to the last byte, complete, and without anybody's data."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tacit.audit.verify import verify
from tacit.cli.main import main
from tacit.core.plan import Plan
from tacit.core.values import DataError, VerificationError
from tacit.federation.vocabulary import read_plan

FILES = (
    "plan.toml",
    "rounds.jsonl",
    "report.json",
    "report.html",
    "model.safetensors",
    "plans/federated.toml",
    "plans/best.toml",
    "ledger/entries.jsonl",
    "ledger/checkpoints",
    "ledger/key.pub",
)


def strict(text: str):
    """JSON as its standard has it: no NaN, no Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def test_a_finished_run_holds_what_it_should_and_verifies(run, capsys):
    assert {str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()} == set(FILES)
    assert main(["audit", "verify", str(run)]) == 0
    assert re.search(r"verified: 11 entries, 11 signed checkpoints, root [0-9a-f]{64}", capsys.readouterr().out)
    assert main(["audit", "verify", str(run), "--json"]) == 0
    assert strict(capsys.readouterr().out)["verified"] is True


@pytest.mark.parametrize("place", [0.0, 0.13, 0.5, 0.86, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_any_altered_byte_is_found_and_its_file_named(run, capsys, name, place):
    whole = bytearray((run / name).read_bytes())
    whole[round(place * (len(whole) - 1))] ^= 1
    (run / name).write_bytes(whole)
    assert main(["audit", "verify", str(run)]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert name in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "empty", "longer"])
def test_a_file_that_is_missing_or_cut_or_extended_is_named(run, name, how):
    path = run / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else path.read_bytes() + b"\n")
    with pytest.raises(VerificationError, match=re.escape(name.split("/")[-1])):
        verify(run)


def test_a_round_that_is_told_differently_is_named_by_its_number(run):
    lines = (run / "rounds.jsonl").read_text().splitlines()
    record = json.loads(lines[4])
    record["epsilon"], record["hr@10"] = 0.01, 0.99
    lines[4] = json.dumps(record, sort_keys=True)
    (run / "rounds.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(VerificationError, match=r"rounds\.jsonl line 5"):
        verify(run)


def test_an_unfinished_run_is_not_verified_as_a_finished_one(warm, small_toml, tmp_path):
    (tmp_path / "small.toml").write_text(small_toml())
    die = {"at": "tacit.job.checkpoint:save", "call": 3, "when": "before"}
    warm.run("run", tmp_path / "small.toml", "--out", tmp_path / "run", "--quiet", die=die)
    with pytest.raises(VerificationError, match="not finished"):
        verify(tmp_path / "run")
    assert verify(tmp_path / "run", finished=False).entries == 4


def test_the_public_key_can_be_kept_elsewhere_and_pinned(run, tmp_path, capsys):
    kept = shutil.copy(run / "ledger" / "key.pub", tmp_path / "kept.pub")
    assert main(["audit", "verify", str(run), "--key", str(kept)]) == 0
    line = kept.read_text()
    other = line[:-6] + ("A" if line[-6] != "A" else "B") + line[-5:]
    for text in (other, "", "no key", line + line):
        kept.write_text(text)
        assert main(["audit", "verify", str(run), "--key", str(kept)]) == 1
    assert main(["audit", "verify", str(run), "--key", str(tmp_path / "absent")]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_the_report_holds_the_keys_that_the_documentation_lists(run):
    report = strict((run / "report.json").read_text())
    keys = {"data", "clients", "rounds", "federated", "best", "centralized", "popularity", "privacy", "secure_sum"}
    assert keys | {"cost", "ledger", "run_folder"} <= set(report)
    for arm in ("federated", "best", "centralized", "popularity"):
        for metric in ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10"):
            value, low, high = report[arm][metric], report[arm]["low"][metric], report[arm]["high"][metric]
            assert 0.0 <= low <= value <= high <= 1.0
    assert report["clients"] == 40 and report["rounds"] == 3
    assert {"unit", "epsilon", "delta", "neighbouring"} <= set(report["privacy"])
    assert report["privacy"]["unit"] == "customer" and report["privacy"]["sampling"] == "fixed"
    assert report["secure_sum"] == {
        **report["secure_sum"],
        "clients": 20,
        "dropped": 0,
        "exact": True,
        "training": "federated",
    }
    assert {"seconds", "bytes_up_per_client", "bytes_down_per_client", "peak_memory_mb"} <= set(report["cost"])
    assert all(report["cost"][key] > 0 for key in ("seconds", "bytes_up_per_client", "bytes_down_per_client"))
    assert report["ledger"] == {"entries": 11, "verified": True}


def test_the_plan_of_a_run_is_the_plan(run, small_plan):
    assert isinstance(small_plan, Plan)
    assert read_plan(run / "plan.toml") == small_plan
    with safe_open(run / "model.safetensors", "np") as file:
        assert file.metadata()["plan"] == small_plan.digest()


def test_each_round_stands_in_rounds_jsonl_and_in_the_ledger(run):
    records = [strict(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    entries = [strict(line) for line in (run / "ledger" / "entries.jsonl").read_text().splitlines()]
    assert [(r["training"], r["number"]) for r in records] == [(n, i) for n in ("federated", "best") for i in (1, 2, 3)]
    assert [e["kind"] for e in entries] == ["plan", *["file", *["round"] * 3] * 2, "file", "result"]
    told = [entry for entry in entries if entry["kind"] == "round"]
    for record, entry in zip(records, told, strict=True):
        for key in ("training", "number", "plan", "cohort", "clients", "dropped", "update"):
            assert record[key] == entry[key]
    spent = [entry["epsilon"] for entry in told[:3]]
    assert spent == sorted(spent) and spent[0] > 0.0
    assert all("epsilon" not in entry for entry in told[3:]), "the second training spends nothing"
    assert len({entry["update"] for entry in told}) == 6


def test_the_models_of_a_run_are_the_shared_parameters_and_no_others(run):
    models = load_file(run / "model.safetensors")
    assert set(models) == {"federated/items", "best/items"}
    assert all(value.shape == (60, 4) and value.dtype == np.float32 for value in models.values())


def test_the_ledger_speaks_of_the_very_model_that_is_in_the_folder(run):
    """Update digests are of the shared parameters; the second training kept one of its rounds, the first its last."""
    models = load_file(run / "model.safetensors")
    entries = [json.loads(line) for line in (run / "ledger" / "entries.jsonl").read_text().splitlines()]
    updates = {name: [e["update"] for e in entries if e.get("training") == name] for name in ("federated", "best")}
    found = {name: hashlib.sha256(models[f"{name}/items"].tobytes()).hexdigest() for name in updates}
    assert found["federated"] == updates["federated"][-1]
    assert found["best"] in updates["best"]


@pytest.fixture(scope="module")
def kept(finished, tmp_path_factory) -> Path:
    """A run whose state was not forgotten at its end."""
    from tacit.job.run import run_job

    folder = tmp_path_factory.mktemp("kept") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tacit.job.run.close", lambda folder: None)
        for _ in run_job(read_plan(finished / "plan.toml"), folder):
            pass
    return folder


def test_a_finished_run_keeps_no_private_parameters(run):
    assert not (run / "state").exists()
    assert not list(run.rglob("round-*"))


def test_private_parameters_stay_in_the_state_of_their_nodes(kept):
    """Each customer's vector is looked for byte by byte in everything else that a run writes."""
    public = [kept / name for name in FILES]
    stores = list((kept / "state").rglob("round-*.safetensors"))
    assert len(stores) == 2 * 2 * 3  # two trainings, the newest two rounds, three nodes
    for store in stores:
        for vector in load_file(store)["user"]:
            for path in public:
                assert vector.tobytes() not in path.read_bytes()
                assert repr(float(vector[0])) not in path.read_bytes().decode("latin-1")


def test_the_report_is_one_page_that_needs_nothing_else(run):
    page = (run / "report.html").read_text()
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page)
    assert "<script src" not in page and "@import" not in page
    assert page.lstrip().lower().startswith("<!doctype html>")


def test_a_result_shows_itself_in_print_and_in_a_notebook(run):
    from tacit.job.run import run_job

    (result,) = run_job(read_plan(run / "plan.toml"), run)
    text, cell = str(result), result._repr_html_()
    for shown in (text, cell):
        assert "popularity" in shown.lower()
        assert "epsilon" in shown.lower() or "ε" in shown
    assert "neighbouring relation replace-one" in text
    assert result["federated"]["hr@10"] == result.report["federated"]["hr@10"]
    assert set(result.models) == {"federated", "best"}
    assert "array" not in repr(result)


def test_what_a_node_keeps_can_be_read_by_its_owner_only_in_binary_files(kept):
    """No pickle anywhere: every state file is a safetensors file, or JSON without a row of anybody's."""
    for path in (kept / "state").rglob("*"):
        if path.is_file():
            assert path.name in ("data.json", "cost.json") or path.suffix == ".safetensors"
            (strict(path.read_text()) if path.suffix == ".json" else load_file(path))


def test_two_processes_do_not_work_in_one_folder(finished, tmp_path):
    from tacit.job.run import run_job
    from tacit.job.run_folder import locked

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "plan.toml").write_bytes((finished / "plan.toml").read_bytes())
    with locked(folder), pytest.raises(DataError, match="another process"):
        next(run_job(read_plan(finished / "plan.toml"), folder))
    next(run_job(read_plan(finished / "plan.toml"), folder))


def test_data_that_changed_between_a_crash_and_a_resume_are_noticed(tmp_path):
    from dataclasses import replace

    from tacit.data.storefront import Storefront
    from tacit.job.run_folder import same_data

    shop = Storefront(30, 50).load()
    same_data(tmp_path, shop)
    same_data(tmp_path, Storefront(30, 50).load())
    item = shop.item.copy()
    item[7] = (item[7] + 1) % 50
    with pytest.raises(DataError, match="restore the data"):
        same_data(tmp_path, replace(shop, item=item))


def test_a_round_carries_the_digest_of_the_plan_that_lies_beside_it(run):
    lines = (run / "rounds.jsonl").read_text().splitlines()
    told = {record["training"]: record["plan"] for record in map(json.loads, lines)}
    for training, digest in told.items():
        assert hashlib.sha256((run / "plans" / f"{training}.toml").read_bytes()).hexdigest() == digest
        assert read_plan(run / "plans" / f"{training}.toml").digest() == digest
