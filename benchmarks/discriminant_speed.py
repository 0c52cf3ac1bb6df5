"""The speed of `evolve.fitness.discriminant.DiscriminantFitness`, beside Keras and scikit-learn.

`benchmarks.fitness_speed` runs it, and says what is measured.
"""

import numpy as np

from benchmarks.fitness_cases import CASES
from benchmarks.fitness_report import DiscriminantResult
from benchmarks.machine import Sgemm, rest, timed
from benchmarks.peers import KerasFeatures
from evolve.block import Block
from evolve.fitness.discriminant import DiscriminantFitness
from evolve.protocols import Split
from slicing.data import Images
from slicing.stack import ConvStack

# Generations that ours evaluates in each round.
_GENERATIONS = 3


class KerasRidge:
    """Features by Keras, and scikit-learn's ridge regression with every image left out in turn.

    Parameters
    ----------
    stack : ConvStack
    images : Images
        Each is a query against all others.
    ridge : float
    """

    def __init__(self, stack: ConvStack, images: Images, ridge: float) -> None:
        self._features = KerasFeatures(stack, images.images)
        self._targets = np.eye(int(images.labels.max()) + 1)[images.labels]
        # Here, not above: it takes seconds.
        from sklearn.linear_model import RidgeCV

        self._regression = RidgeCV([ridge], store_cv_results=True)

    def __call__(self, stack: ConvStack) -> float:
        """Learn the regression with the weights of ``stack``, and give its loss."""
        errors = self._regression.fit(self._features(stack), self._targets).cv_results_
        return float(errors.sum(axis=1).mean())


def measure(
    stack: ConvStack, references: Images, repeats: int, evaluations: int
) -> DiscriminantResult:
    """Measure a kernel of the last convolution, in turns.

    Parameters
    ----------
    stack : ConvStack
    references : Images
    repeats : int
        Rounds, of some generations of ours and a candidate of each peer.
    evaluations : int
        Candidates of a block.
    """
    case = CASES["last_layer_kernel"]
    block, candidates = case.block(stack), case.candidates(stack)
    n = len(references)
    fitness = DiscriminantFitness(stack, Split(references, None), max_references=n, shift=0)
    stacks = [block.write(stack, candidate) for candidate in candidates]
    fitness.bind(block)
    found = fitness.losses(candidates)
    peers = {"keras+sklearn": KerasRidge(stack, references, fitness.ridge)}
    for peer in peers.values():
        peer(stack)
    sgemm, ours, shared = Sgemm(), list[float](), list[float]()
    took: dict[str, list[float]] = {name: [] for name in peers}
    differences: dict[str, list[float]] = {name: [] for name in peers}
    for turn in range(repeats):
        sgemm.measure()
        rest()
        shared.append(timed(_next_block, fitness, stack, block)[1])
        ours += [timed(fitness.losses, candidates)[1] for _ in range(_GENERATIONS)]
        index = turn % len(candidates)
        for name, peer in peers.items():
            rest()
            loss, seconds = timed(peer, stacks[index])
            took[name].append(seconds)
            differences[name].append(abs(loss / found[index] - 1.0))
    ours_s, block_s = float(np.median(ours)) / len(candidates), float(np.median(shared))
    peer_s = {name: float(np.median(times)) for name, times in took.items()}
    return DiscriminantResult(
        references=n,
        ours_s=ours_s,
        ours_with_block_s=ours_s + block_s / evaluations,
        block_s=block_s,
        peers=peer_s,
        ratio={name: value / ours_s for name, value in peer_s.items()},
        difference={name: max(shares) for name, shares in differences.items()},
        sgemm_share=_flops(stack, n) / (1e9 * sgemm.gflops) / ours_s,
        sgemm_gflops=sgemm.gflops,
        repeats=repeats,
    )


def _next_block(fitness: DiscriminantFitness, stack: ConvStack, block: Block) -> None:
    """Do what a schedule does between the candidates of two blocks."""
    fitness.adopt(stack, fitness.loss)
    _ = fitness.loss
    fitness.bind(block)


def _flops(stack: ConvStack, n_images: int) -> int:
    """Count the operations of a candidate: its convolution, and two products."""
    n_features = int(np.prod(stack.feature_shape))
    n_moving = n_features // stack.convs[-1].n_kernels
    products = 2 * 2 * n_images * (n_features - n_moving) * n_moving
    return CASES["last_layer_kernel"].flops(stack, n_images, 0) + products
