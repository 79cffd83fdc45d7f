"""A folder of Parquet as one panel: the same whatever the files, the bad set aside."""

import numpy as np
import pandas as pd
import pytest

from explstm.errors import DataError
from explstm.fingerprint import fingerprint_panel
from explstm.frame import build_panel
from part_data import H, cut_rows, make_bad_series, make_series, write_files

pytest.importorskip("pyarrow")

from explstm import scaleout
from explstm.scaleout.dataset import Dataset, read_panel
from explstm.scaleout.options import Reading

PLAIN = {"freq": None, "fill": "error", "id_col": "unique_id", "time_col": "ds", "target_col": "y"}


def read(folder, **changes):
    contents = read_panel(Dataset(folder, Reading(**{**PLAIN, **changes})))
    return contents.panel, contents.letters


def test_the_panel_is_that_of_the_whole_table_whatever_the_files(tmp_path):
    df = make_series(12)
    whole = fingerprint_panel(build_panel(df))
    shuffled = df.sample(frac=1, random_state=0)
    for name, tables in (
        ("one", [df]),
        ("rows", cut_rows(df, 5)),
        ("mixed", cut_rows(shuffled, 3)),
    ):
        panel, letters = read(write_files(tmp_path / name, tables))
        assert fingerprint_panel(panel) == whole and letters == []
        assert panel.plain_freq == "MS"


def test_what_a_forecast_sets_aside_is_set_aside(tmp_path):
    df = pd.concat([make_series(6), make_bad_series(5)])
    first, second = cut_rows(df, 2)
    nameless = pd.concat([second, df.iloc[:3].assign(unique_id=None)])
    data = write_files(tmp_path / "data", [first, nameless])
    (data / "corrupt.parquet").write_bytes(b"PAR1 not at all")
    panel, letters = read(data)
    assert panel.ids_N.tolist() == [f"s{i:04d}" for i in range(6)]
    scaleout.forecast(data, tmp_path / "out", H, workers=1)
    assert {"DATA_BAD_ID", "DATA_CORRUPT", "DATA_GAP"} <= {letter["code"] for letter in letters}
    by = ["unique_id", "file"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(letters).sort_values(by, ignore_index=True),
        pd.read_parquet(tmp_path / "out" / "dead-letters.parquet").sort_values(
            by, ignore_index=True
        ),
        check_dtype=False,
    )


def test_a_file_that_is_damaged_inside_leaves_none_of_its_rows(tmp_path):
    data = write_files(tmp_path, cut_rows(make_series(6), 2), write_page_checksum=True)
    path = data / "file-001.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[60:64] = b"\xff\xff\xff\xff"
    path.write_bytes(damaged)
    panel, [letter] = read(data)
    assert panel.n_series == 3
    assert (letter["file"], letter["code"]) == ("file-001.parquet", "DATA_CORRUPT")


def test_data_of_which_nothing_can_be_used_are_refused(tmp_path):
    bad = write_files(tmp_path / "bad", [make_series(2).assign(y=np.inf)])
    with pytest.raises(DataError, match="no series can be used; of the first: "):
        read(bad, freq="MS")
    with pytest.raises(DataError, match="FREQ_UNKNOWN: no series tells the frequency"):
        read(bad)
