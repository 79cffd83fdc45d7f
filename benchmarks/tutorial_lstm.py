"""The LSTM of the usual tutorial, for comparison: min-max scaling, next value, recursion.

One network per series (or one for all, where pooled): every value scaled to 0..1 by the smallest
and largest value of the training part, a window of the last values in, the next value out, mean
squared error, Adam at 0.001; forecasts are fed back as inputs. Nothing in it is made weak on
purpose: width, epochs and window are those that tutorials use.
"""

import numpy as np
import torch
from torch import nn

WINDOW = 12
HIDDEN = 50
EPOCHS = 100
BATCH_SIZE = 32
LEARNING_RATE = 1e-3


class TutorialLSTM(nn.Module):
    """LSTM over a window (B, W, 1), dense layer to the next value (B, 1)."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.lstm = nn.LSTM(1, HIDDEN, batch_first=True)
        self.dense = nn.Linear(HIDDEN, 1)

    def forward(self, window_BW1: torch.Tensor) -> torch.Tensor:
        """Return the next value."""
        return self.dense(self.lstm(window_BW1)[0][:, -1])


def forecast_tutorial(
    histories: list[np.ndarray], h: int, seed: int, *, pooled: bool
) -> np.ndarray:
    """Train on the histories and forecast ``h`` steps after each, shape (N, h)."""
    low_N = np.array([y.min() for y in histories])
    span_N = np.array([np.ptp(y) or 1.0 for y in histories])
    scaled = [(y - low) / span for y, low, span in zip(histories, low_N, span_N, strict=True)]
    groups = [scaled] if pooled else [[z] for z in scaled]
    z_Nh = np.concatenate([_forecast_group(group, h, seed) for group in groups])
    return z_Nh * span_N[:, None] + low_N[:, None]


def _forecast_group(scaled: list[np.ndarray], h: int, seed: int) -> np.ndarray:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TutorialLSTM()
        _train(model, scaled)
    window_NW = np.stack([z[-WINDOW:] for z in scaled])
    for _ in range(h):
        inputs = torch.tensor(window_NW[:, -WINDOW:, None], dtype=torch.float32)
        with torch.no_grad():
            window_NW = np.concatenate([window_NW, model(inputs).numpy()], axis=1)
    return window_NW[:, -h:]


def _train(model: TutorialLSTM, scaled: list[np.ndarray]) -> None:
    windows = np.concatenate(
        [np.lib.stride_tricks.sliding_window_view(z, WINDOW + 1) for z in scaled]
    )
    data = torch.tensor(windows, dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(EPOCHS):
        for batch in data[torch.randperm(len(data))].split(BATCH_SIZE):
            loss = nn.functional.mse_loss(model(batch[:, :-1, None]), batch[:, -1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
