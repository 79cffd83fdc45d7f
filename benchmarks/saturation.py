"""How often is growth that goes on called saturating or broken, and how often is a ceiling found?

    python benchmarks/saturation.py                   # 120 steps
    python benchmarks/saturation.py --length 40 --series 200 --seed 1

Generated series (``explstm.datasets.make_growth_series``, a few made here), judged as the growth
report judges them: logarithm, season of 12 taken away, tests at the 5 % level. For each kind the
share, in per cent, that is called ``saturating``, ``slowing``, ``broken``; the share with p <= 0.05
against exponential growth, of the break test, and of the CUSUM test on the residuals of constant
growth (statsmodels ``breaks_cusumolsresid``, Ploberger & Kraemer 1992); and how often the 80 %
interval of the ceiling holds the true one. Prints a table in Markdown.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.diagnostic import breaks_cusumolsresid

from explstm.datasets import make_growth_series
from explstm.frame import build_panel
from explstm.saturation import TEST_LEVEL, Judgement, judge_growth
from explstm.seasonality import remove_seasonality

SEASON = 12


@dataclass(frozen=True)
class Case:
    """A kind of series: their logarithms (N, T) from a number of series, a length and a seed."""

    name: str
    make: Callable[[int, int, int], np.ndarray]
    ceiling: float | None = None


def generated(kind: str, noise: float) -> Callable[[int, int, int], np.ndarray]:
    """Of the data sets that come with the package."""

    def make(n: int, length: int, seed: int) -> np.ndarray:
        table, _ = make_growth_series(kind, n, length, noise, seed)
        return np.log(build_panel(table).y_S).reshape(n, length)

    return make


def walking(path: Callable[[np.ndarray], np.ndarray], step: float, around: float, persist: float):
    """A path with random-walk errors, noise around them, or steps that persist."""

    def make(n: int, length: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        steps = rng.normal(0.0, step, (n, length))
        for t in range(1, length):
            steps[:, t] += persist * steps[:, t - 1]
        walk = path(np.arange(length) / length) + np.cumsum(steps, axis=1)
        return walk + rng.normal(0.0, around, (n, length))

    return make


def logistic(reached: float, middle: float) -> Callable[[np.ndarray], np.ndarray]:
    """A logistic curve with ceiling 1, of which the last step has reached a share."""
    speed = np.log(reached / (1.0 - reached)) / (1.0 - middle)
    return lambda t: -np.log1p(np.exp(-speed * (t - middle)))


CASES = (
    Case("exponential, noise 5 %", generated("exponential", 0.05)),
    Case("exponential, noise 1 %", generated("exponential", 0.01)),
    Case("exponential, random walk 3 %", generated("random_walk", 0.0)),
    Case("exponential, walk 3 % and noise 5 %", generated("random_walk", 0.05)),
    Case("exponential, rates persist (0.5)", walking(lambda t: 1.2 * t, 0.02, 0.0, 0.5)),
    Case("exponential and season, noise 5 %", generated("seasonal", 0.05)),
    Case("straight line, noise 2 %", generated("linear", 0.02)),
    Case("straight line, walk 2 %", walking(lambda t: np.log1p(4 * t), 0.02, 0.0, 0.0)),
    Case("power 0.5 to 2, noise 5 %", generated("power", 0.05)),
    Case("logistic, noise 5 %", generated("logistic", 0.05)),
    Case("Gompertz, noise 5 %", generated("gompertz", 0.05)),
    Case("logistic, 75 % reached, noise 5 %", walking(logistic(0.75, 0.7), 0, 0.05, 0), 1.0),
    Case("logistic, 90 % reached, noise 5 %", walking(logistic(0.9, 0.6), 0, 0.05, 0), 1.0),
    Case("logistic, 90 % reached, walk 2 %", walking(logistic(0.9, 0.6), 0.02, 0, 0)),
    Case("logistic, 35 % reached, noise 5 %", walking(lambda t: logistic(0.9, 0.6)(0.487 * t),
                                                      0, 0.05, 0), 1.0),
    Case("rate halves at once, walk 2 %", walking(lambda t: 3 * t - 1.5 * np.maximum(t - 0.5, 0),
                                                  0.02, 0, 0)),
    Case("rate 2 % to 0 at once, noise 5 %", walking(lambda t: 2.4 * np.minimum(t, 0.5),
                                                     0, 0.05, 0)),
)  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=120)
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(
        "| series | saturating | slowing | broken | p exponential | p break | p CUSUM | ceiling "
        "held | ms |\n|---|---|---|---|---|---|---|---|---|"
    )
    for case in CASES:
        print(judge_case(case, options.series, options.length, options.seed), flush=True)


def judge_case(case: Case, n: int, length: int, seed: int) -> str:
    """One row of the table."""
    z_NT = case.make(n, length, seed)
    _, z_S = remove_seasonality(z_NT.ravel(), np.arange(n + 1) * length, SEASON)
    started = time.process_time()
    judged = [judge_growth(z_T) for z_T in z_S.reshape(n, length)]
    spent = 1000 * (time.process_time() - started) / n
    rates_NT = np.diff(z_S.reshape(n, length), axis=1)
    cusum_N = [breaks_cusumolsresid(rates - rates.mean(), ddof=1)[1] for rates in rates_NT]
    shares = [
        *(np.mean([found.word == word for found in judged])
          for word in ("saturating", "slowing", "broken")),
        np.mean([found.p_exponential <= TEST_LEVEL for found in judged]),
        np.mean([found.p_break <= TEST_LEVEL for found in judged]),
        np.mean(np.array(cusum_N) <= TEST_LEVEL),
    ]  # fmt: skip
    cells = [f"{100 * share:.1f}" for share in shares]
    return f"| {case.name} | {' | '.join(cells)} | {held(case, judged)} | {spent:.0f} |"


def held(case: Case, judged: list[Judgement]) -> str:
    """How many intervals hold the true ceiling, of those that were given."""
    tops = [found.ceiling for found in judged if found.ceiling is not None]
    if case.ceiling is None or not tops:
        return ""
    inside = [top.low <= np.log(case.ceiling) <= top.high for top in tops]
    return f"{100 * np.mean(inside):.0f} % of {len(tops)}"


if __name__ == "__main__":
    main()
