"""How good forecasts were: per series, and averaged over series.

| metric | formula for one series | undefined where |
|---|---|---|
| MAE, RMSE | mean of abs(y - f); root of the mean of (y - f)² | |
| R2 | 1 - Σ(y - f)² / Σ(y - mean y)² | y is constant or a single value |
| MAPE | 100 · mean of abs(y - f) / abs(y), in percent | some y is 0 |
| sMAPE | 200 · mean of abs(y - f) / (abs(y) + abs(f)), 0 to 200; 0/0 counts as 0 | |
| MASE | MAE / mean of abs(y_t - y_{t-m}) over the training series | that mean is 0 or unknown |
| RMSLE | root of the mean of (log(1 + y) - log(1 + f))² | some y or f is negative |
| growth_error | 100 · abs(log f - log y) / steps of the last step | that y or f is not positive |
| quantile_loss | pinball loss, mean over all quantiles, the point as the median | no intervals |
| coverage-80 | share of y within the 80 % interval, its ends included | no such interval |

The growth error is how far the mean growth over the forecast is off, in percent per step.

An undefined metric is NaN with a reason, and the overall figure says how many series it averages.
Overall figures are plain means over series (or over series and cutoffs, where there are cutoffs).

Sources: sMAPE as in the M3 competition (Makridakis & Hibon 2000, appendix A); MASE: Hyndman &
Koehler 2006, eq. 3, with seasonal lag m. Computed by ``utilsforecast.losses`` (whose sMAPE is half
of M3's, as a fraction) and, R2 and RMSLE, by scikit-learn.

Axis letters: G groups (a series, or a series and a cutoff), M models, S rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from explstm.ends import name_ends, name_level
from explstm.errors import BackendNotInstalledError, DataError, UsageError

CUTOFF = "cutoff"
GROUP = "unique_id"
TARGET = "y"

Values = NDArray[np.float64]
Reasons = NDArray[np.object_]


@dataclass(frozen=True)
class _Scored:
    """Forecasts in the form all metrics read.

    Attributes:
        table_S: One row per forecast: the group's number, y, and all columns of the models.
        keys_G: Id, and cutoff where there is one, by group.
        models: Names of the models.
        levels: Interval levels.
        starts_G: First row of each group.
        lengths_G: Rows of each group.
    """

    table_S: pd.DataFrame
    keys_G: pd.DataFrame
    models: list[str]
    levels: list[float]
    starts_G: NDArray[np.int64]
    lengths_G: NDArray[np.int64]

    def reduce(self, ufunc: np.ufunc, values_S: NDArray[Any]) -> NDArray[Any]:
        """Reduce the rows of each group to one value."""
        return np.asarray(ufunc.reduceat(values_S, self.starts_G))

    def any_in_group(self, mask_S: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Whether some row of each group is marked."""
        return self.reduce(np.logical_or, mask_S)


def evaluate_forecast(
    frame: Any,
    models: Sequence[str],
    *,
    train: Any = None,
    season_length: int = 1,
    level: Sequence[float] = (),
    id_col: str = "unique_id",
    time_col: str = "ds",
    target_col: str = "y",
) -> tuple[Any, Any]:
    """Score forecasts against what happened.

    Args:
        frame: pandas or polars table with one row per series and date: the id, ``y``, one column
            per model, ``MODEL-lo-80`` and ``MODEL-hi-80`` for every level, and ``cutoff`` where
            there are several forecasts of one series.
        models: Names of the models.
        train: Table of the history before the forecasts (up to each cutoff is used), for MASE.
        season_length: Seasonal lag m of MASE.
        level: Interval levels in percent.
        id_col: Column of ids.
        time_col: Column of dates; ``frame`` may lack it when its rows are in their order.
        target_col: Column of values.

    Returns:
        Two tables of the kind of ``frame``. Per series: id, cutoff where there is one, model,
        metric, value, reason (empty where defined). Overall: model, metric, value, n_series (how
        many are averaged), n_undefined, reason.

    Raises:
        UsageError: No model, or a level or season length out of range.
        DataError: A column is missing, or the table has no rows.
        BackendNotInstalledError: scikit-learn is not installed.
    """
    _check_arguments(models, season_length, level)
    scored = _prepare(frame, list(models), list(level), id_col, time_col, target_col)
    scales = None if train is None else _prepare_train(train, scored, id_col, time_col, target_col)
    broken_GM = _find_broken(scored)
    parts = []
    with np.errstate(over="ignore", invalid="ignore"):  # told as a reason below
        scores = _score_all(scored, scales, season_length, broken_GM)
    for metric, (value_GM, reason_GM) in scores:
        reason_GM = np.where(broken_GM != "", broken_GM, reason_GM)
        reason_GM[(reason_GM == "") & ~np.isfinite(value_GM)] = "the value is too large to compute"
        value_GM = np.where(reason_GM == "", value_GM, np.nan)
        parts.append(_to_rows(scored, metric, value_GM, reason_GM))
    per_series = pd.concat(parts, ignore_index=True).rename(columns={GROUP: id_col})
    overall = _average(per_series)
    return _like(frame, per_series), _like(frame, overall)


# ------------------------------------------------------------------------------------------ metrics


def _score_all(
    scored: _Scored, train: pd.DataFrame | None, season_length: int, broken_GM: Reasons
) -> list[tuple[str, tuple[Values, Reasons]]]:
    from utilsforecast import losses

    defined_GM = np.full_like(broken_GM, "")
    plain: dict[str, tuple[Callable[..., Any], float]] = {
        "MAE": (losses.mae, 1),
        "RMSE": (losses.rmse, 1),
        "sMAPE": (losses.smape, 200),
    }
    result = [
        (metric, (factor * _collect(loss(scored.table_S, scored.models), scored), defined_GM))
        for metric, (loss, factor) in plain.items()
    ]
    result += [
        ("R2", _score_r2(scored, broken_GM)),
        ("MAPE", _score_mape(scored)),
        ("MASE", _score_mase(scored, train, season_length)),
        ("RMSLE", _score_rmsle(scored, broken_GM)),
        ("growth_error", _score_growth(scored)),
    ]
    if scored.levels:
        result.append(("quantile_loss", _score_quantiles(scored)))
    result += [
        (f"coverage-{name_level(level)}", _score_coverage(scored, level)) for level in scored.levels
    ]
    return result


def _score_mape(scored: _Scored) -> tuple[Values, Reasons]:
    from utilsforecast.losses import mape

    zeros_G = scored.reduce(np.add, (scored.table_S[TARGET].to_numpy() == 0).astype(np.int64))
    reason_G = [f"y is 0 at {zeros} of its steps" if zeros else "" for zeros in zeros_G]
    return 100 * _collect(mape(scored.table_S, scored.models), scored), _widen(reason_G, scored)


def _score_r2(scored: _Scored, broken_GM: Reasons) -> tuple[Values, Reasons]:
    y_S = scored.table_S[TARGET].to_numpy()
    constant_G = scored.reduce(np.maximum, y_S) == scored.reduce(np.minimum, y_S)
    single_G = scored.lengths_G < 2
    reason_G = np.where(single_G, "a single value", np.where(constant_G, "y is constant", ""))
    reason_GM = _widen(reason_G, scored)
    r2_score = _import_sklearn().r2_score
    return _score_by_length(scored, r2_score, (broken_GM == "") & (reason_GM == "")), reason_GM


def _score_rmsle(scored: _Scored, broken_GM: Reasons) -> tuple[Values, Reasons]:
    negative_G = scored.any_in_group(scored.table_S[TARGET].to_numpy() < 0)
    reason_GM = _widen(np.where(negative_G, "y is negative at some step", ""), scored)
    for j, model in enumerate(scored.models):
        below_G = scored.any_in_group(scored.table_S[model].to_numpy() < 0)
        reason_GM[below_G & ~negative_G, j] = "the forecast is negative at some step"
    loss = _import_sklearn().root_mean_squared_log_error
    return _score_by_length(scored, loss, (broken_GM == "") & (reason_GM == "")), reason_GM


def _score_growth(scored: _Scored) -> tuple[Values, Reasons]:
    last_G = scored.starts_G + scored.lengths_G - 1
    y_G1 = scored.table_S[TARGET].to_numpy()[last_G, None]
    f_GM = scored.table_S[scored.models].to_numpy()[last_G]
    reason_GM = np.where(f_GM > 0, "", "the last forecast is not positive").astype(object)
    reason_GM = np.where(y_G1 > 0, reason_GM, "the last y is not positive")
    with np.errstate(divide="ignore"):
        distance_GM = np.abs(np.log(f_GM) - np.log(y_G1))
    return 100 * distance_GM / scored.lengths_G[:, None], reason_GM


def _score_mase(
    scored: _Scored, train: pd.DataFrame | None, season_length: int
) -> tuple[Values, Reasons]:
    from utilsforecast.losses import mase

    shape = (len(scored.keys_G), len(scored.models))
    if train is None:
        return np.full(shape, np.nan), np.full(shape, "no training data given", dtype=object)
    value_GM = _collect(mase(scored.table_S, scored.models, season_length, train), scored)
    lag_S = train.groupby(GROUP)[TARGET].shift(season_length)
    scale_G = (train[TARGET] - lag_S).abs().groupby(train[GROUP]).max()
    length_G = train.groupby(GROUP).size().reindex(range(shape[0]), fill_value=0).to_numpy()
    scale_G = scale_G.reindex(range(shape[0])).to_numpy()
    reason_G = np.where(
        length_G == 0,
        "no training data of this series",
        np.where(
            length_G <= season_length,
            f"no more than {season_length} training values",
            np.where(scale_G == 0, f"the training values repeat every {season_length} steps", ""),
        ),
    )
    return value_GM, _widen(reason_G, scored)


def _score_quantiles(scored: _Scored) -> tuple[Values, Reasons]:
    """Mean pinball loss over the median (the point forecast) and both ends of every interval."""
    from utilsforecast.losses import quantile_loss

    ends = [(0.5, "")]
    for level in scored.levels:
        low, high = name_ends("", level)
        ends += [(0.5 - level / 200, low), (0.5 + level / 200, high)]
    losses = [
        _collect(
            quantile_loss(scored.table_S, {model: model + end for model in scored.models}, q),
            scored,
        )
        for q, end in ends
    ]
    return np.mean(losses, axis=0), _lacking_intervals(scored, scored.levels)


def _score_coverage(scored: _Scored, level: float) -> tuple[Values, Reasons]:
    from utilsforecast.losses import coverage

    shown: Any = name_level(level)  # it is only used in the names of columns
    value_GM = _collect(coverage(scored.table_S, scored.models, shown), scored)
    return value_GM, _lacking_intervals(scored, [level])


def _lacking_intervals(scored: _Scored, levels: Sequence[float]) -> Reasons:
    reason_GM = _widen([""] * len(scored.keys_G), scored)
    for j, model in enumerate(scored.models):
        for column in (end for level in levels for end in name_ends(model, level)):
            missing_G = scored.any_in_group(~np.isfinite(scored.table_S[column].to_numpy()))
            reason_GM[missing_G & (reason_GM[:, j] == ""), j] = f"{column} is missing or not finite"
    return reason_GM


def _score_by_length(
    scored: _Scored, loss: Callable[..., Any], defined_GM: NDArray[np.bool_]
) -> Values:
    """Apply a scikit-learn loss to all groups of one length at once, a column each."""
    value_GM = np.full(defined_GM.shape, np.nan)
    y_S = scored.table_S[TARGET].to_numpy()
    for j, model in enumerate(scored.models):
        f_S = scored.table_S[model].to_numpy()
        for length in np.unique(scored.lengths_G):
            chosen_G = np.flatnonzero((scored.lengths_G == length) & defined_GM[:, j])
            if len(chosen_G):
                rows = scored.starts_G[chosen_G] + np.arange(length)[:, None]
                value_GM[chosen_G, j] = loss(y_S[rows], f_S[rows], multioutput="raw_values")
    return value_GM


def _import_sklearn() -> Any:
    try:
        import sklearn.metrics
    except ModuleNotFoundError:
        raise BackendNotInstalledError(
            "METRICS_NOT_INSTALLED",
            "R2 and RMSLE need scikit-learn, which is not installed; run "
            "pip install 'explstm[metrics]'.",
        ) from None
    return sklearn.metrics


# ------------------------------------------------------------------------------------------- tables


def _prepare(
    frame: Any, models: list[str], levels: list[float], id_col: str, time_col: str, target_col: str
) -> _Scored:
    native = nw.from_native(frame, eager_only=True)
    keys = [id_col, CUTOFF] if CUTOFF in native.columns else [id_col]
    _require_columns(native, [*keys, target_col, *models], "frame")
    if len(native) == 0:
        raise DataError("METRIC_NO_ROWS", "frame has no rows to score; check the forecasts' dates.")
    key_S = pd.DataFrame({key: native[key].to_numpy() for key in keys})
    group_S = key_S.groupby(keys, sort=True, dropna=False).ngroup().to_numpy()
    date_S = native[time_col].to_numpy() if time_col in native.columns else np.arange(len(native))
    rows = pd.DataFrame({GROUP: group_S, "date": date_S}).sort_values([GROUP, "date"])
    order_S = rows.index.to_numpy()
    group_S = group_S[order_S]
    starts_G = np.flatnonzero(np.diff(group_S, prepend=-1))
    columns = {GROUP: group_S, TARGET: _to_float(native, target_col)[order_S]}
    ends = [end for model in models for level in levels for end in name_ends(model, level)]
    for column in [*models, *ends]:
        known = column in native.columns
        columns[column] = (
            _to_float(native, column)[order_S] if known else np.full(len(native), np.nan)
        )
    keys_G = key_S.iloc[order_S[starts_G]].reset_index(drop=True).rename(columns={id_col: GROUP})
    lengths_G = np.diff(starts_G, append=len(group_S))
    return _Scored(pd.DataFrame(columns), keys_G, models, levels, starts_G, lengths_G)


def _prepare_train(
    train: Any, scored: _Scored, id_col: str, time_col: str, target_col: str
) -> pd.DataFrame:
    """The training values of every group, by date."""
    native = nw.from_native(train, eager_only=True)
    _require_columns(native, [id_col, time_col, target_col], "train")
    table = pd.DataFrame(
        {
            "id": native[id_col].to_numpy(),
            "time": native[time_col].to_numpy(),
            TARGET: _to_float(native, target_col),
        }
    )
    groups = scored.keys_G.rename(columns={GROUP: "id"}).reset_index(names=GROUP)
    table = table.sort_values("time", kind="stable").merge(groups, on="id")
    if CUTOFF in table:
        table = table[table["time"] <= table[CUTOFF]]
    return table[[GROUP, TARGET]].reset_index(drop=True)


def _find_broken(scored: _Scored) -> Reasons:
    """Why a group cannot be scored at all for a model; empty where it can."""
    y_missing_G = scored.any_in_group(~np.isfinite(scored.table_S[TARGET].to_numpy()))
    broken_GM = _widen(np.where(y_missing_G, "y is missing or not finite", ""), scored)
    for j, model in enumerate(scored.models):
        missing_G = scored.any_in_group(~np.isfinite(scored.table_S[model].to_numpy()))
        broken_GM[missing_G & ~y_missing_G, j] = "the forecast is missing or not finite"
    return broken_GM


def _collect(result: pd.DataFrame, scored: _Scored) -> Values:
    """Values by group and model from what utilsforecast returns, NaN where it dropped a group."""
    indexed = result.set_index(GROUP)[scored.models].reindex(range(len(scored.keys_G)))
    return indexed.to_numpy(dtype=np.float64)


def _widen(reason_G: Any, scored: _Scored) -> Reasons:
    """The same reason for all models."""
    column = np.array(reason_G, dtype=object)[:, None]
    return np.repeat(column, len(scored.models), axis=1)


def _to_rows(scored: _Scored, metric: str, value_GM: Values, reason_GM: Reasons) -> pd.DataFrame:
    n_groups, n_models = value_GM.shape
    rows = scored.keys_G.loc[np.repeat(np.arange(n_groups), n_models)].reset_index(drop=True)
    return rows.assign(
        model=np.tile(np.array(scored.models, dtype=object), n_groups),
        metric=metric,
        value=value_GM.ravel(),
        reason=reason_GM.ravel(),
    )


def _average(per_series: pd.DataFrame) -> pd.DataFrame:
    """Mean over the series where a metric is defined, with their number and the reasons."""
    rows = []
    for (model, metric), part in per_series.groupby(["model", "metric"], sort=False):
        counts = part.loc[part["reason"] != "", "reason"].value_counts()
        rows.append(
            {
                "model": model,
                "metric": metric,
                "value": part["value"].mean(),
                "n_series": len(part) - int(counts.sum()),
                "n_undefined": int(counts.sum()),
                "reason": "; ".join(f"{reason} ({count})" for reason, count in counts.items()),
            }
        )
    return pd.DataFrame(rows)


def _like(frame: Any, table: pd.DataFrame) -> Any:
    """The table in the kind of the caller's frame."""
    native = nw.from_native(frame, eager_only=True)
    if native.implementation.is_pandas():
        return table
    columns = {str(name): table[name].to_list() for name in table.columns}
    return nw.from_dict(columns, backend=native.implementation).to_native()


def _to_float(native: Any, column: str) -> Values:
    try:
        return np.asarray(native[column].cast(nw.Float64).to_numpy(), dtype=np.float64)
    except Exception as error:  # every frame library has its own
        raise DataError(
            "METRIC_NOT_NUMBERS",
            f"column {column!r} holds {native[column].dtype}, not numbers ({str(error)[:80]}); "
            "convert it first.",
        ) from None


def _require_columns(native: Any, needed: Sequence[str], argument: str) -> None:
    missing = [column for column in needed if column not in native.columns]
    if missing:
        raise DataError(
            "METRIC_COLUMN_MISSING",
            f"{argument} has no column {missing[0]!r}, found {', '.join(native.columns)}; name the "
            "columns or add it.",
        )


def _check_arguments(models: Sequence[str], season_length: int, level: Sequence[float]) -> None:
    if isinstance(models, str) or not models:
        raise UsageError(
            "METRIC_MODELS", f"models={models!r} is not a list of names; give the forecast columns."
        )
    if season_length < 1:
        raise UsageError(
            "METRIC_SEASON", f"season_length={season_length} is below 1; use 1 for no season."
        )
    for one in level:
        if not 0 < one < 100:
            raise UsageError(
                "METRIC_LEVEL", f"level={one:g} is not between 0 and 100; use for example 80."
            )
