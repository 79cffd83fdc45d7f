"""What does the synthetic prior look like? Some series of every family, drawn and saved.

    python benchmarks/prior.py --out docs/images/prior.png

Levels in log units, as the pretraining sees them before they are counted from the present; the
number behind a family is its share of all series.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from explstm import synthetic
from explstm.synthetic import FAMILIES, Prior, draw_levels

SERIES, STEPS, COLUMNS = 6, 120, 5


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("prior.png"))
    options = parser.parse_args()
    families = dict(FAMILIES)
    total = sum(family.share for family in families.values())
    rows = -(-len(families) // COLUMNS)
    figure, axes = plt.subplots(rows, COLUMNS, figsize=(14, 2.6 * rows), layout="constrained")
    for axis, (name, family) in zip(axes.flat, families.items(), strict=False):
        synthetic.FAMILIES = {name: family}
        z_NT = draw_levels(Prior(), np.random.default_rng(options.seed), SERIES, STEPS)
        spread_N1 = np.ptp(z_NT, axis=1)[:, None]  # calm and violent series side by side
        axis.plot(((z_NT - z_NT[:, :1]) / spread_N1).T, linewidth=0.9)
        axis.set_title(f"{name}, {family.share / total:.0%}", fontsize=10)
        axis.set_xticks([0, 60, 120])
        axis.set_yticks([])
    synthetic.FAMILIES = families
    figure.suptitle("Six series of every family, each over its own range", fontsize=11)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
