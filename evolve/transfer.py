"""How well features tell classes apart, by training images alone: scores of transferability.

Both take the discriminants of the features, which have the principal axes and, along them, the
classes.
"""

import numpy as np

from slicing.engine.penalized import PenalizedDiscriminants

# Precisions of the weights that are tried, in units of the precision of the targets and of the mean
# squared singular value.
_RATIOS = 10.0 ** np.arange(-9.0, 6.0, 0.1)
_TINY = 1e-12


def h_score(found: PenalizedDiscriminants) -> float:
    """Give the share of the features' variance that the classes explain, summed over all axes.

    Source: Y. Bao et al., "An information-theoretic approach to transferability in task transfer
    learning", ICIP 2019, definition 2: tr(cov(f)⁻¹ cov(E[f | y])).
    """
    return float((found.along**2 / found.counts).sum())


def log_evidence(found: PenalizedDiscriminants) -> float:
    """Give the largest log evidence of a Bayesian linear model for each class, a mean, an image.

    Source: K. You et al., "LogME: practical assessment of pre-trained models for transfer
    learning", ICML 2021, section 4. Here the model has a constant, too, which may be any and takes
    one degree of freedom; and of the two precisions, the ratio is the best of a grid, which gives
    the other: their fixed point needs many steps, or ends at another maximum.
    """
    squares, n = found.axes.squares, int(found.counts.sum())
    ratios = _RATIOS * squares.sum() / max(1, len(squares))
    left = ratios / (squares[:, None] + ratios)
    rest = found.counts * (1.0 - found.counts / n) - (found.along**2).sum(axis=0)
    # What the weights leave of the targets' squares, and the weights' own: (n_present, n_ratios).
    losses = rest[:, None].clip(min=0.0) + (found.along**2).T @ left
    precisions = (n - 1) / losses.clip(min=_TINY)
    evidence = np.log(left).sum(axis=0) + (n - 1) * (np.log(precisions / (2.0 * np.pi)) - 1.0)
    return float((evidence / (2 * n)).max(axis=1).mean())
