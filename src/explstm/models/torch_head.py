"""The head of the network and the loss behind it, in PyTorch, without arrays of all forecasts.

A batch has hundreds of times more forecasts (origins by horizon by quantiles) than weights. Forward
and backward go together over blocks of origins that fit the cache, and nothing of a block is kept
but its share of the loss and of the gradients. Quantiles and losses are those of
:mod:`explstm.models.head` and :mod:`explstm.models.losses`, their gradients written by hand.

Axis letters: R origins of a block, C channels, H horizon, Q quantiles, K outputs of the head.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explstm.models.losses import LossConfig
from explstm.models.torch_activations import apply_log_sigmoid

ORIGINS_PER_BLOCK = 4096


@dataclass(frozen=True)
class Targets:
    """What the forecasts of a batch are held against.

    Attributes:
        values_RH: What happened; any finite number where unknown.
        weights_RH: 0 where the target is unknown; some weight must be positive.
        levels_Q: Probabilities of the quantiles.
        loss: How they are scored.
        median: Position of the median among the quantiles.
    """

    values_RH: Tensor
    weights_RH: Tensor
    levels_Q: Tensor
    loss: LossConfig
    median: int


def score(x_RC: Tensor, kernel_KC: Tensor, bias_K: Tensor, targets: Targets) -> Tensor:
    """The loss of the forecasts that the head makes of the channels of picked origins.

    Args:
        x_RC: Channels of every origin.
        kernel_KC: Of the head, outputs ordered horizon first, as PyTorch keeps it.
        bias_K: Of the head.
        targets: What happened.
    """
    n_quantiles = len(targets.levels_Q)
    kernel_KC = kernel_KC.unflatten(0, (-1, n_quantiles)).transpose(0, 1).flatten(0, 1)
    bias_K = bias_K.view(-1, n_quantiles).T.flatten()
    loss: Tensor = Score.apply(x_RC, kernel_KC, bias_K, targets)
    return loss


class Score(torch.autograd.Function):
    """As :func:`score`, of a head whose outputs are ordered quantile first."""

    @staticmethod
    def forward(
        ctx: Any, x_RC: Tensor, kernel_KC: Tensor, bias_K: Tensor, targets: Targets
    ) -> Tensor:
        """The loss; its gradients are taken on the way."""
        d_x_RC, d_kernel_KC, d_bias_K = map(torch.zeros_like, (x_RC, kernel_KC, bias_K))
        total = x_RC.new_zeros(())
        n_quantiles = len(targets.levels_Q)
        scale = 1 / targets.weights_RH.sum()
        for first in range(0, len(x_RC), ORIGINS_PER_BLOCK):
            rows = slice(first, first + ORIGINS_PER_BLOCK)
            raw_KR = torch.addmm(bias_K[:, None], kernel_KC, x_RC[rows].T)
            quantiles_QHR = raw_KR.view(n_quantiles, -1, raw_KR.shape[1])
            closed_QHR = _order(quantiles_QHR, targets.median)
            weights_HR = targets.weights_RH[rows].T.contiguous() * scale
            error_QHR = quantiles_QHR.sub_(targets.values_RH[rows].T.contiguous())
            loss, slope_QHR = _score(error_QHR, weights_HR, targets)
            total += loss
            if any(ctx.needs_input_grad):
                d_raw_KR = _pull(slope_QHR, closed_QHR, targets.median).flatten(0, 1)
                torch.mm(d_raw_KR.T, kernel_KC, out=d_x_RC[rows])
                d_kernel_KC.addmm_(d_raw_KR, x_RC[rows])
                d_bias_K += d_raw_KR.sum(1)
        ctx.gradients = (d_x_RC, d_kernel_KC, d_bias_K)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients taken on the way forward."""
        (d_loss,) = gradients
        return (*(gradient.mul_(d_loss) for gradient in ctx.gradients), None)


def _order(raw_QHR: Tensor, median: int) -> Tensor:
    """Turn raw outputs into rising quantiles, in place; returns ``sigmoid(-raw)`` of the steps."""
    closed_QHR = torch.empty_like(raw_QHR)
    for side in (slice(0, median), slice(median + 1, None)):
        raw_SHR, closed_SHR = raw_QHR[side].neg_(), closed_QHR[side]
        torch.sigmoid(raw_SHR, out=closed_SHR)
        apply_log_sigmoid(raw_SHR, closed_SHR, out=raw_SHR).neg_()
    for q in range(median + 1, len(raw_QHR)):
        raw_QHR[q] += raw_QHR[q - 1]
    for q in range(median - 1, -1, -1):
        torch.sub(raw_QHR[q + 1], raw_QHR[q], out=raw_QHR[q])
    return closed_QHR


def _pull(slope_QHR: Tensor, closed_QHR: Tensor, median: int) -> Tensor:
    """Turn gradients of rising quantiles into those of raw outputs, in place.

    A step moves its own quantile and all beyond it; its own derivative is ``1 - sigmoid(-raw)``.
    """
    for q in range(len(slope_QHR) - 1, median, -1):
        slope_QHR[q - 1] += slope_QHR[q]
    for q in range(median):
        slope_QHR[q + 1] += slope_QHR[q]
    for side in (slice(0, median), slice(median + 1, None)):
        slope_QHR[side].addcmul_(slope_QHR[side], closed_QHR[side], value=-1)
    slope_QHR[:median].neg_()
    return slope_QHR


def _score(error_QHR: Tensor, weights_HR: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Weighted sum of the losses of errors ``forecast - target``, and its gradient."""
    if targets.loss.name != "pinball":
        return _score_median(error_QHR, weights_HR, targets)
    slope_QHR = torch.gt(error_QHR, 0, out=torch.empty_like(error_QHR))
    slope_QHR -= targets.levels_Q[:, None, None]
    slope_QHR *= weights_HR / len(error_QHR)
    return torch.dot(slope_QHR.flatten(), error_QHR.flatten()), slope_QHR


def _score_median(error_QHR: Tensor, weights_HR: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """As :func:`_score`, for the losses of the median alone."""
    error_HR, delta = error_QHR[targets.median], targets.loss.huber_delta
    match targets.loss.name:
        case "mse":
            loss_HR, slope_HR = error_HR.square(), 2 * error_HR
        case "huber":
            slope_HR = error_HR.clamp(-delta, delta)
            loss_HR = slope_HR * (error_HR - 0.5 * slope_HR)
        case _:
            loss_HR, slope_HR = error_HR.abs(), error_HR.sign()
    slope_QHR = torch.zeros_like(error_QHR)
    slope_QHR[targets.median] = weights_HR * slope_HR
    return torch.sum(weights_HR * loss_HR), slope_QHR
