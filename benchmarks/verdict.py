"""How often is the verdict of a backtest right?

    python benchmarks/verdict.py                  # what is said of the pretrained model
    python benchmarks/verdict.py --sizes          # how often the tests see a difference in nothing

The first prints the share of seeded trials of every kind, horizon and number of windows that is
called "beats" and "loses", in per cent. A random walk cannot be predicted: of it "beats" may be
said in 7 % of trials at most. Exponential growth with noise can be: there the share is the power. A
trial is one series (200 trials) or 20 together (50 trials) of 60 to 200 steps, 24 of them before
the first window at least. Then the verdict on air passengers, 12 steps ahead.

The second draws differences of equal forecasts, and prints the share of trials in which each test
calls them different at the 5 % level: over windows that overlap, and over series.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd
from scipy import stats

from explstm import ExpLSTM
from explstm.backtest import PRETRAINED, measure_scales
from explstm.baselines import naive_forecasts
from explstm.datasets import load_air_passengers
from explstm.frame import Panel, build_panel, forecast_frame
from explstm.significance import bootstrap_series, diebold_mariano
from explstm.verdict import Verdict, judge
from explstm.windows import cut_windows, forecast_windows, window_frame

TRIALS = 200
PANELS = 50
IN_A_PANEL = 20
LENGTHS = (60, 200)
HORIZONS = (6, 12)
WINDOWS = (5, 8, 12)
WINDOWS_OF_AIR_PASSENGERS = (3, 5, 8)
SHORTEST_HISTORY = 24
SEED = 1


def draw_walk(rng: np.random.Generator, length: int) -> np.ndarray:
    """Normal steps, far from 0."""
    return 100 + np.cumsum(rng.normal(size=length))


def draw_geometric_walk(rng: np.random.Generator, length: int) -> np.ndarray:
    """Normal steps of the logarithm, of 5 %."""
    return 100 * np.exp(np.cumsum(rng.normal(0, 0.05, length)))


def draw_growth(rng: np.random.Generator, length: int) -> np.ndarray:
    """Growth of 1 to 8 % a step, with independent noise of 5 %."""
    return 100 * np.exp(rng.uniform(0.01, 0.08) * np.arange(length) + rng.normal(0, 0.05, length))


KINDS = {
    "random walk": draw_walk,
    "geometric random walk": draw_geometric_walk,
    "exponential growth": draw_growth,
}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", action="store_true", help="of the tests, instead of the verdict")
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--panels", type=int, default=PANELS, help="trials of 20 series")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    lines = (
        print_sizes(options.trials)
        if options.sizes
        else print_verdicts(options.kinds, {1: options.trials, IN_A_PANEL: options.panels})
    )
    for line in lines:
        print(line, flush=True)


# ----------------------------------------------------------------------------------------- verdicts


def print_verdicts(kinds: Sequence[str], trials: dict[int, int]) -> Iterator[str]:
    """Rows of the table of verdicts, then the verdicts on air passengers."""
    yield "| kind | series | h | windows | beats, % | loses, % | median skill |"
    yield "|---|---|---|---|---|---|---|"
    for kind in kinds:
        for h, n_windows, size in product(HORIZONS, WINDOWS, trials):
            panel = draw_panel(KINDS[kind], trials[size] * size, h * n_windows)
            table, scales = backtest(panel, h, n_windows)
            verdicts = judge_trials(table, scales, h, size)
            yield _show([kind, size, h, n_windows], verdicts)
    panel = build_panel(load_air_passengers())
    for n_windows in WINDOWS_OF_AIR_PASSENGERS:
        table, scales = backtest(panel, 12, n_windows, season_length=12)
        yield f"\n{judge(table, PRETRAINED, scales, h=12, step_size=12).sentence}"


def draw_panel(draw: Callable[[np.random.Generator, int], np.ndarray], n: int, held: int) -> Panel:
    """Series of 60 to 200 steps, but long enough for a history before the steps held out."""
    series = []
    for i in range(n):
        rng = np.random.default_rng([SEED, i])
        series.append(draw(rng, int(rng.integers(max(60, held + SHORTEST_HISTORY), 201))))
    return build_panel(_tabulate(series))


def backtest(
    panel: Panel, h: int, n_windows: int, season_length: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table of a backtest and its scales; windows do not overlap."""
    model = ExpLSTM(alias=PRETRAINED, season_length=season_length)
    pasts = cut_windows(panel, h, n_windows, h)
    columns = {
        **forecast_windows(pasts, h, lambda past: model.predict(past, h=h)),
        **forecast_windows(
            pasts, h, lambda past: forecast_frame(past, h, naive_forecasts(past, h, season_length))
        ),
    }
    return window_frame(panel, pasts, h, columns), measure_scales(pasts, season_length)


def judge_trials(table: pd.DataFrame, scales: pd.DataFrame, h: int, size: int) -> list[Verdict]:
    """One verdict for every ``size`` series."""
    trial_S = table["unique_id"].str[1:].astype(int) // size
    trial_G = scales["unique_id"].str[1:].astype(int) // size
    by_trial = dict(iter(scales.groupby(trial_G)))
    return [
        judge(part, PRETRAINED, by_trial[trial], h=h, step_size=h)
        for trial, part in table.groupby(trial_S)
    ]


def _show(cells: list[object], verdicts: list[Verdict]) -> str:
    shares = [
        f"{100 * np.mean([verdict.outcome == outcome for verdict in verdicts]):.1f}"
        for outcome in ("beats", "loses")
    ]
    skill = f"{np.median([verdict.skill for verdict in verdicts]):.2f}"
    return _row([*cells, *shares, skill])


def _tabulate(series: list[np.ndarray]) -> pd.DataFrame:
    lengths = [len(values) for values in series]
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{place:05}" for place in range(len(series))], lengths),
            "ds": np.concatenate([np.arange(length) for length in lengths]),
            "y": np.concatenate(series),
        }
    )


# -------------------------------------------------------------------------------------------- sizes


def print_sizes(trials: int) -> Iterator[str]:
    """Rows of both tables of sizes."""
    rng = np.random.default_rng(SEED)
    yield "| windows | of which overlap | corrected test, % | and apart, % |"
    yield "|---|---|---|---|"
    for n, overlap in product((5, 8, 12, 24, 48), (1, 2, 3, 6, 12)):
        if n > overlap:
            noise = rng.normal(size=(trials, n + overlap - 1))
            drawn = np.stack([np.convolve(one, np.ones(overlap), "valid") for one in noise])
            both = np.array([check_windows(one, overlap) for one in drawn])
            yield _row([n, overlap, *(100 * (both <= 0.05).mean(axis=0))])
    yield "\n| series | differences | bootstrap-t, % | percentile, % | BCa, % |"
    yield "|---|---|---|---|---|"
    for n, (name, draw) in product((10, 20, 50), NOISES.items()):
        called = np.array([check_series(draw(rng, n)) for _ in range(trials)])
        yield _row([n, name, *(100 * called.mean(axis=0))])


NOISES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "heavy tails (t, 3)": lambda rng, n: rng.standard_t(3, size=n),
    "skewed (exponential)": lambda rng, n: rng.exponential(size=n) - 1,
    "half of them 0": lambda rng, n: rng.normal(size=n) * (rng.random(n) < 0.5),
}


def check_windows(difference_W: np.ndarray, overlap: int) -> tuple[float, float]:
    """The p-value of all windows, and the larger of it and that of windows that do not overlap."""
    every = diebold_mariano(difference_W, h=overlap, step_size=1).p_value
    apart = diebold_mariano(difference_W[::-overlap], h=1, step_size=1).p_value
    return every, max(every, apart) if np.isfinite(apart) else np.nan


def check_series(difference_N: np.ndarray) -> list[bool]:
    """Whether each bootstrap puts 0 outside of its interval at 95 %."""
    called = [bootstrap_series(difference_N).p_value <= 0.05]
    for method in ("percentile", "BCa"):
        with warnings.catch_warnings(), np.errstate(invalid="ignore"):
            warnings.simplefilter("ignore")  # of BCa where all drawn are equal: it has no interval
            drawn = stats.bootstrap(
                (difference_N,), np.mean, method=method, n_resamples=999, vectorized=True, axis=-1,
                rng=np.random.default_rng(0),
            )  # fmt: skip
        low, high = drawn.confidence_interval
        called.append(low > 0 or high < 0)
    return called


def _row(cells: list[object]) -> str:
    shown = [f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
    return f"| {' | '.join(shown)} |"


if __name__ == "__main__":
    main()
