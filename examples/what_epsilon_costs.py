"""What privacy costs: one plan at several epsilons, beside the same training without noise.

    python examples/what_epsilon_costs.py runs/epsilon

Takes about a minute; needs no data. Each line is one run whose ledger and report lie in a folder of its own.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import tacit


def main(folder: Path) -> None:
    """Run the plans one after the other and print a table."""
    open_plan = tacit.Plan(
        name="federated",
        data=tacit.Storefront(customers=1000, items=400),
        clients=tacit.ByCustomer(),
        model=tacit.MatrixFactorisation(dim=8),
        algorithm=tacit.FedAvg(tacit.SGD(lr=0.5, epochs=4), server_lr=30.0),
        rounds=30,
        cohort=200,
        sampling="poisson",
    )
    plans = {"no noise": open_plan}
    for epsilon in (16.0, 8.0, 4.0, 2.0):
        noise = tacit.Gaussian(clip_norm=1.0, noise_multiplier=0.0, epsilon=epsilon, delta=1e-5)
        plans[f"epsilon {epsilon:g}"] = replace(open_plan, protect=(noise,))
    print(f"{'':<12} HR@10    95 % interval    noise multiplier")
    for name, plan in plans.items():
        result = tacit.run(plan, folder / name.replace(" ", "-"))
        part, privacy = result["federated"], result["privacy"]
        noise_used = f"{privacy['noise_multiplier']:.2f}" if privacy else "-"
        low, high = part["low"]["hr@10"], part["high"]["hr@10"]
        print(f"{name:<12} {part['hr@10']:.3f}    {low:.3f} to {high:.3f}   {noise_used:>8}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/epsilon"))
