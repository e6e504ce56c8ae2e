"""Attacking a finished run: the table, the pages, and the ledger that stays as it was."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from tacit.audit.attacks_panel import attacks_panel, page
from tacit.audit.report_html import render
from tacit.audit.verify import verify
from tacit.cli.main import main
from tacit.core.values import DataError, PlanError, VerificationError
from tacit.data.storefront import Storefront
from tacit.evaluation.attacks.protections import ladder
from tacit.federation.vocabulary import read_plan
from tacit.job.attack import attack_run, audited, quick, stage
from tacit.privacy.secure_sum.sum import SecAgg
from tacit.privacy.transforms.clip import Clip
from tacit.privacy.transforms.distributed_gaussian import DistributedGaussian
from tacit.privacy.transforms.gaussian import Gaussian
from tacit.privacy.transforms.local_gaussian import LocalGaussian


@pytest.fixture(scope="module")
def attacked(finished, tmp_path_factory) -> Path:
    run = shutil.copytree(finished, tmp_path_factory.mktemp("attacked") / "run")
    *rows, found = attack_run(run, cohort=20, canaries=60)
    assert found["rows"] == rows
    return run


@pytest.fixture
def run(attacked, tmp_path) -> Path:
    return shutil.copytree(attacked, tmp_path / "run")


def strict(text: str):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_an_attacked_run_still_verifies_and_its_sealed_files_are_untouched(attacked, finished):
    assert verify(attacked) == verify(finished)
    for name in ("report.json", "report.html", "model.safetensors", "rounds.jsonl", "plan.toml"):
        assert (attacked / name).read_bytes() == (finished / name).read_bytes()


def test_the_table_has_every_protection_and_an_audit_of_the_plans_noise(attacked):
    found = strict((attacked / "attacks.json").read_text())
    assert found["training"] == "federated" and found["definition"].startswith("Data leakage is the share")
    assert {row["attack"] for row in found["rows"]} == {
        "Attributes",
        "CustomerMembership",
        "ItemSets",
        "ModelInversion",
        "SumMembership",
    }
    for row in found["rows"]:
        assert "refused" in row or {"secure sum + DP", "this plan"} <= row["cells"].keys()
        assert "refused" in row or "nothing" in row["cells"] or "rounds?" in row["question"]
    assert found["audit"]["holds"] is True and found["audit"]["canaries"] >= 60


def test_the_page_is_well_formed_and_shows_the_figures(attacked):
    found = strict((attacked / "attacks.json").read_text())
    text = (attacked / "attacks.html").read_text()
    ET.fromstring(text.replace("<!doctype html>\n", ""))
    assert "Canary audit" in text and "Which items does a customer have?" in text
    items = next(row for row in found["rows"] if row["attack"] == "ItemSets")
    assert f"{items['cells']['nothing']['share']:.3f}" in text


@pytest.mark.parametrize("name", ["attacks.json", "attacks.html", "attacks.note"])
@pytest.mark.parametrize("how", ["altered", "missing", "longer"])
def test_what_was_added_is_proven_too(run, capsys, name, how):
    path = run / name
    if how == "missing":
        path.unlink()
    elif how == "longer":
        path.write_bytes(path.read_bytes() + b"\n")
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    with pytest.raises(VerificationError, match=r"attacks\.(json|html|note)"):
        verify(run)
    assert main(["audit", "verify", str(run)]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_attacks_of_another_run_do_not_belong_here(run):
    note = run / "attacks.note"
    text = note.read_text()
    note.write_text(text.replace("ledger ", "ledger 0", 1))
    with pytest.raises(VerificationError, match=r"attacks\.note"):
        verify(run)


def test_attacks_can_be_written_elsewhere_and_say_what_they_cannot_do(finished, tmp_path, capsys):
    with pytest.raises(DataError, match="no finished run"):
        list(attack_run(tmp_path))
    with pytest.raises(PlanError, match="no training 'other', but federated, best"):
        list(attack_run(finished, training="other"))
    assert main(["attack", str(finished), "--cohort", "3"]) == 1
    assert "at least 20" in capsys.readouterr().err
    assert not (finished / "attacks.json").exists()


def test_a_runs_own_report_has_a_quick_part(finished):
    report = strict((finished / "report.json").read_text())
    items, took_part, taught = report["attacks"]["rows"]
    assert taught["cells"].keys() == {"nothing", "secure sum + DP", "this plan"}
    assert not taught["cells"]["secure sum + DP"]["broken"]
    assert {"online at 0.001", "online at 0.01", "threshold auc"} <= taught["cells"]["nothing"]["more"].keys()
    assert items["cells"]["nothing"]["auc"] > 0.99 > items["cells"]["this plan"]["auc"]
    assert took_part["cells"]["nothing"]["share"] > 0.9
    for row in (items, took_part):
        assert row["cells"].keys() == {*(step.name for step in ladder()), "this plan"}
    assert report["attacks"]["audit"]["holds"] is True and report["attacks"]["audit"]["rounds"] >= 1
    assert "<h2>Attacks</h2>" in (finished / "report.html").read_text()


def test_the_quick_part_says_why_a_plan_is_too_small_or_too_large_to_attack(small_plan):
    source = Storefront(customers=20, items=60)
    few = replace(small_plan, data=source, also=(), cohort=0)
    found = quick(few, source.load())
    assert not found["rows"] and "Not attacked: attacks need 40" in found["notes"][0]
    assert attacks_panel({"attacks": found}) is not None
    with pytest.raises(PlanError, match="attacks need 40"):
        stage(few, source.load())


def test_a_report_without_attacks_has_no_such_part():
    assert attacks_panel({}) is None and attacks_panel({"attacks": None}) is None
    assert "<h2>Attacks</h2>" not in render({})


def test_names_on_the_page_are_escaped():
    told = {
        "training": "<b>",
        "rows": [{"question": "<i>?", "cells": {"a&b": {"share": 0.5, "unit": "<u>"}}}],
        "notes": ["<p>"],
    }
    text = page(told)
    ET.fromstring(text.replace("<!doctype html>\n", ""))
    assert "<b>" not in text and "<i>" not in text and "&lt;p&gt;" in text


def test_the_plan_under_attack_is_the_one_in_the_folder(attacked):
    found = strict((attacked / "attacks.json").read_text())
    plan = read_plan(attacked / "plan.toml")
    assert found["plan"] == replace(plan, also=(), baselines=()).digest()


def test_a_plan_with_noise_in_shares_or_drawn_cohorts_is_audited_as_it_draws_and_shares(small_plan):
    source = Storefront(customers=200, items=60)
    data = source.load()
    shares = DistributedGaussian(noise_multiplier=2.0, survivors_at_least=100)
    bare = replace(small_plan, data=source, also=(), baselines=(), protect=(), secure_sum=None, cohort=0, select="last")
    mechanisms = (
        replace(bare, protect=(shares,), secure_sum=SecAgg(minimum=100)),
        replace(bare, protect=(Gaussian(noise_multiplier=2.0),), cohort=50, sampling="poisson", rounds=3),
    )
    for plan, counts in zip(mechanisms, ("gdp", "accounted"), strict=True):
        found = audited(plan, stage(plan, data, 20), data.customers, 200)
        assert found is not None and found["counts"] == counts and found["holds"] is True
    assert audited(bare, stage(bare, data, 20), data.customers, 200) is None
    local = replace(bare, protect=(Clip(1.0), LocalGaussian()))
    found = audited(local, stage(local, data, 20), data.customers, 20)
    assert found is not None and found["holds"] is True and found["canaries"] == 20


def test_a_report_says_why_there_is_no_audit():
    part = attacks_panel({"attacks": {"rows": [], "audit": {"refused": "nothing bounds it."}}})
    assert part is not None and part.audit == "No canary audit: nothing bounds it."
