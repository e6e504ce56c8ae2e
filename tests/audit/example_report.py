"""A report with every section and no two figures alike, so that a number on a page can be traced."""

from __future__ import annotations

import math
from typing import Any

METRICS = ("hr@10", "ndcg@10", "full.hr@10", "full.ndcg@10")


def arm(seed: int, metrics: tuple[str, ...] = METRICS) -> dict[str, Any]:
    values = {metric: 0.1 + (seed * 0.0713 + place * 0.1317) % 0.8 for place, metric in enumerate(metrics)}
    low = {metric: value - 0.0211 - seed * 0.0007 for metric, value in values.items()}
    high = {metric: value + 0.0233 + seed * 0.0003 for metric, value in values.items()}
    return {**values, "low": low, "high": high}


def curve(seed: int, rounds: int, private: bool) -> list[dict[str, Any]]:
    out = []
    for number in range(1, rounds + 1):
        value = 0.61 - 0.4 * math.exp(-number / 3) - seed * 0.043
        row = {"round": number, "hr@10": value, "low": value - 0.031, "high": value + 0.032, "seconds": 0.1}
        row |= {"bytes_up": 215_304 + seed * 4_111, "bytes_down": 198_765 + seed * 1_003}
        out.append(row | ({"epsilon": 3.87 * math.sqrt(number / rounds)} if private else {}))
    return out


def group(name: str, customers: int, value: float) -> dict[str, Any]:
    return {"group": name, "customers": customers, "hr@10": value, "low": value - 0.0517, "high": value + 0.0523}


def example(rounds: int = 12) -> dict[str, Any]:
    classes = ("accuracy", "auc", "f1", "precision", "recall")
    return {
        "data": {"name": "MovieLens 100K", "note": "volunteers", "customers": 943, "items": 1682, "rows": 100_000},
        "clients": 941,
        "rounds": rounds,
        "trainer": "fused",
        "federated": arm(1),
        "private": arm(2),
        "centralized": arm(3),
        "popularity": arm(4),
        "item_knn": arm(5),
        "classification": {
            "protocol": "like = rating of 4 or more",
            "threshold": 0.47,
            "federated": arm(6, classes) | {"majority": 0.5532},
            "centralized": arm(7, classes) | {"majority": 0.5532},
        },
        "privacy": {
            "training": "private",
            "unit": "customer",
            "epsilon": 3.8714,
            "delta": 2.3e-6,
            "neighbouring": "add-or-remove-one",
            "noise_multiplier": 1.074,
            "clip_norm": 0.52,
            "mechanism": "gaussian",
            "sampling": "poisson",
            "noise_in": "the sum",
            "against": "whoever sees the model",
        },
        "budget": {
            **{"holder": "bank-a", "purpose": "recommendations", "unit": "customer", "delta": 1e-6, "epsilon": 11.7},
            **{"neighbouring": "add-or-remove-one", "others": 2.61, "this_run": 3.22, "reserved": 0.49, "left": 5.38},
            **{"charges": 14, "repeated": 2, "reservation": "9f86d081884c", "entries": [17, 33]},
        },
        "tradeoff": {
            **{"training": "private", "unit": "customer", "neighbouring": "add-or-remove-one", "delta": 2.3e-6},
            **{"customers": 943, "seeds": 3, "levels": {"no noise": 0.6413, "popularity": 0.4009}},
            "points": [
                {"epsilon": 0.5, "hr@10": 0.4617, "low": 0.4321, "high": 0.4918, "spread": 0.0113, "ndcg@10": 0.2514},
                {"epsilon": 4.0, "hr@10": 0.6013, "low": 0.5702, "high": 0.6311, "spread": 0.0041, "ndcg@10": 0.3307},
            ],
        },
        "secure_sum": {"training": "private", "clients": 112, "dropped": 37, "exact": True, "minimum": 51},
        "cost": {
            "seconds": 131.4,
            "bytes_up_per_client": 684_001,
            "bytes_down_per_client": 741_221,
            "peak_memory_mb": 612.4,
        },
        "ledger": {"entries": 63, "verified": True},
        "run_folder": "runs/one two",
        "curves": {"federated": curve(1, rounds, False), "private": curve(2, rounds, True)},
        "groups": {
            "activity": [group("1 (fewest rows)", 238, 0.6131), group("4 (most rows)", 234, 0.7071)],
            "gender": [group("F", 273, 0.6317), group("M", 670, 0.6753)],
            "age_band": [group("18-24", 185, 0.6919), group("other (small groups)", 39, 0.5813)],
        },
        "beyond": {
            "federated": {"coverage@10": 0.4127, "diversity@10": 0.6813, "novelty@10": 8.2131, "low": {}, "high": {}},
            "private": {"coverage@10": 0.2129, "diversity@10": 0.6511, "novelty@10": None},
        },
        "notes": ["Epsilon covers the trained parameters."],
        "sent": ["private: each client's contribution, masked. Never sent: rows."],
        "plan": 'name = "federated"\nrounds = 12\n',
    }


def tabular() -> dict[str, Any]:
    metrics = ("accuracy", "auc", "f1")
    return {
        "data": {"name": "Adult", "rows": 48_842, "features": 105},
        "clients": 8,
        "rounds": 1,
        "federated": arm(1, metrics) | {"majority": 0.7607},
        "centralized": arm(2, metrics),
        "local": arm(3, metrics),
        "privacy": None,
        "secure_sum": None,
        "cost": {"seconds": 7.31, "peak_memory_mb": math.nan},
        "ledger": {"entries": 5, "verified": True},
        "run_folder": "runs/adult",
        "curves": {"federated": [{"round": 1, "bytes_up": 1284, "bytes_down": 1284}]},
        "groups": {},
        "beyond": {},
        "notes": [],
        "sent": ["federated: each client's contribution. Never sent: rows."],
        "plan": 'name = "federated"\n',
    }
