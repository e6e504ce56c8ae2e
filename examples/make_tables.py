"""Write two small tables of invented customers, to try own data with: orders.csv and customers.csv.

python examples/make_tables.py            # into ./data, one of the folders that tacit looks into
tacit run examples/own-interactions.toml
tacit run examples/own-tabular.toml
"""

from __future__ import annotations

import csv
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import tacit


def main(folder: Path) -> None:
    """Generate a storefront and write its rows the way a shop might export them."""
    shop = tacit.Storefront(customers=300, items=200).load()
    assert shop.time is not None
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["customer", "product", "stars", "when", "gender", "age_band", "region"])
        for customer, item, stars, time in zip(shop.customer, shop.item, shop.rating, shop.time, strict=True):
            when = datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%S")
            who = [shop.attributes[name][customer] for name in ("gender", "age_band", "region")]
            out.writerow([f"C{customer:04d}", shop.titles[item], int(stars), when, *who])
    with (folder / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["orders", "mean_stars", "spread", "days", "gender", "age_band", "store", "satisfied"])
        for customer in range(shop.customers):
            rows = np.flatnonzero(shop.customer == customer)
            rows = rows[np.argsort(shop.time[rows], kind="stable")]
            early, late = np.split(shop.rating[rows], [int(0.7 * len(rows))])
            days = (shop.time[rows[-1]] - shop.time[rows[0]]) // 86_400
            figures = [len(early), f"{early.mean():.3f}", f"{early.std():.3f}", days]
            who = [shop.attributes[name][customer] for name in ("gender", "age_band", "region")]
            out.writerow([*figures, *who, "yes" if late.mean() >= 3.5 else "no"])
    print(f"{len(shop):,} orders and {shop.customers} customers are in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))
