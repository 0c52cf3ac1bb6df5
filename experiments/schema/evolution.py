"""Options of what evolves the kernels: protocol, block, strategy, fitness, optimizer, executor."""

from dataclasses import dataclass, field
from enum import Enum

from omegaconf import II, MISSING

from experiments.schema.engine import Metric


class Order(Enum):
    """In which order the blocks are optimized."""

    layer = "layer"
    random = "random"
    importance = "importance"


class HandOver(Enum):
    """What a block hands over."""

    mean = "mean"
    best = "best"


class Objective(Enum):
    """How the neighbors of a query are judged."""

    neighbors = "neighbors"
    accuracy = "accuracy"


@dataclass
class Protocol:
    """Which images are queries, and which are references."""

    _target_: str = MISSING
    """The function that gives the images their roles."""


@dataclass
class LeaveOneOut(Protocol):
    """The training images, without each query itself."""

    _target_: str = "evolve.protocols.leave_one_out"


@dataclass
class Validation(Protocol):
    """A held-out part of the training images."""

    _target_: str = "evolve.protocols.validation"
    fraction: float = 0.2
    """Part of the training images that is held out."""


@dataclass
class TestSet(Protocol):
    """The test images."""

    _target_: str = "evolve.protocols.test_set"
    # Its name begins as those of pytest's classes.
    __test__ = False


@dataclass
class Block:
    """What moves together."""

    _target_: str = MISSING
    """The function that divides a network into blocks."""
    layers: list[int] | None = field(default_factory=lambda: [-1])
    """Convolutions to evolve, counted from 1, or from the last with -1; null: all."""


@dataclass
class Kernels(Block):
    """One kernel."""

    _target_: str = "evolve.block.kernels"


@dataclass
class Groups(Block):
    """Some kernels of a layer."""

    _target_: str = "evolve.block.groups"
    size: int = 8
    """Kernels a block; the last of a layer may have fewer."""


@dataclass
class Layers(Block):
    """A layer."""

    _target_: str = "evolve.block.layers"


@dataclass
class Network(Block):
    """All layers."""

    _target_: str = "evolve.block.network"


@dataclass
class Serial:
    """One block after the other."""

    _target_: str = "evolve.schedule.Serial"
    """The class."""
    generations: int = 14
    """Generations a block."""
    passes: int = 1
    """Passes over all blocks; 0 leaves the kernels unchanged."""
    order: Order = Order.random
    """Within a layer: kernel by kernel, shuffled again in every pass, or first those without which
    the loss is highest (importance)."""
    step: float = 1.0
    """Initial step size, in standard deviations of the block's weights."""
    hand_over: HandOver = HandOver.mean
    """What an improved block hands over: the mean of the distribution, or the best candidate."""
    patience_generations: int | None = None
    """Generations without a new best after which a block ends."""
    patience_blocks: int | None = None
    """Blocks in a row that are not plugged in after which the run ends."""
    target_loss: float | None = None
    """Loss at which a block, and the run, ends."""
    max_evaluations: int | None = None
    """Budget of evaluations for the whole run: whole generations, and one a block for what it
    hands over. A kernel of the default network takes 281, and there are 64."""
    max_seconds: float | None = None
    """Budget of seconds for the whole run; its result then depends on the machine's speed."""


@dataclass
class Parallel(Serial):
    """Blocks side by side."""

    _target_: str = "evolve.schedule.Parallel"
    """The class."""
    synchronize: int | None = None
    """Blocks a group; null: all blocks of a layer."""


@dataclass
class Fitness:
    """What is minimized."""

    _target_: str = MISSING
    """The class."""


@dataclass
class Discriminants(Fitness):
    """Error of the linear discriminants."""

    _target_: str = "evolve.fitness.discriminant.DiscriminantFitness"
    max_references: int = 10000
    """Training images that a candidate sees; of more, others are sampled for every network."""
    shift: int | None = None
    """Largest random shift of each of them, in pixels; drawn again for every network. null: 1, and
    0 where the images are a frozen network's maps."""
    seed: int = II("seed")
    """Seed of these choices."""


@dataclass
class KNNFitness(Fitness):
    """Loss of the k-NN on the features."""

    _target_: str = "evolve.fitness.knn.KNNFitness"
    objective: Objective = Objective.accuracy
    """The smooth vote of the neighbors, or the accuracy."""
    k: int = II("slicing.k")
    """Neighbors that vote for the accuracy."""
    metric: Metric | None = field(default=II("slicing.metric"))
    """Distance between features."""


@dataclass
class Neighbors(KNNFitness):
    """The smooth vote of the neighbors."""

    neighbors: int = 32
    """Neighbors in the soft vote."""
    temperature: float = 0.2
    """Temperature of the soft vote, in units of the mean distance to the neighbors."""


@dataclass
class Optimizer:
    """An optimizer of one block."""

    _target_: str = MISSING
    """The class."""
    population: int | None = None
    """Candidates a generation; null: 4 + 3 ln(dim)."""
    bounds: float | None = 10.0
    """How far from its start each weight may move, in units of the initial step size; null: any."""


@dataclass
class CMAES(Optimizer):
    """CMA-ES of pycma."""

    _target_: str = "evolve.optimizers.CMAES"
    restarts: int = 9
    """How often a search that has converged or is stuck starts again."""
    population_growth: float = 2.0
    """By what the population is multiplied at every restart."""


@dataclass
class SepCMAES(CMAES):
    """CMA-ES with diagonal covariance."""

    _target_: str = "evolve.optimizers.SepCMAES"


@dataclass
class VkDCMAES(CMAES):
    """CMA-ES with diagonal plus low-rank covariance."""

    _target_: str = "evolve.optimizers.VkDCMAES"


@dataclass
class DeapCMAES(Optimizer):
    """CMA-ES of DEAP."""

    _target_: str = "evolve.optimizers.DeapCMAES"


@dataclass
class DeapGA(Optimizer):
    """Genetic algorithm of DEAP."""

    _target_: str = "evolve.optimizers.DeapGA"
    crossover: float = 0.9
    """Probability that a pair of parents crosses."""
    blend: float = 0.3
    """How far a child's gene may lie outside its parents', in units of their distance."""
    mutation: float = 0.1
    """Probability that a gene mutates."""
    mutation_step: float = 0.3
    """Standard deviation of a mutation, in units of the initial step size."""
    elites: int = 2
    """Best individuals that stay in the pool."""
    tournament: int = 3
    """Individuals drawn for a tournament."""


@dataclass
class PSO(Optimizer):
    """Particle swarm of pyswarms."""

    _target_: str = "evolve.optimizers.PSO"
    inertia: float = 0.7298
    """How much of its velocity a particle keeps."""
    c1: float = 1.49618
    """Pull toward the best position of the particle itself."""
    c2: float = 1.49618
    """Pull toward the best position of those it follows."""
    max_velocity: float | None = None
    """Largest step of a weight, in units of the initial step size; null: any."""


@dataclass
class PSOLocal(PSO):
    """Particle swarm with neighborhoods."""

    _target_: str = "evolve.optimizers.PSOLocal"
    neighbors: int = 3
    """Size of a neighborhood, the particle included."""


@dataclass
class RandomSearch(Optimizer):
    """Random search."""

    _target_: str = "evolve.optimizers.RandomSearch"


@dataclass
class Executor:
    """Where candidates are evaluated."""

    _target_: str = MISSING
    """The class."""


@dataclass
class SerialExecutor(Executor):
    """The run's own process."""

    _target_: str = "evolve.executors.SerialExecutor"


@dataclass
class Processes(Executor):
    """Processes of this machine."""

    _target_: str = "evolve.executors.ProcessExecutor"
    workers: int | None = None
    """Processes; null: one a core."""


@dataclass
class Ray(Executor):
    """A Ray cluster."""

    _target_: str = "evolve.executors.RayExecutor"
    workers: int | None = None
    """Workers; null: one a core of the cluster."""
    address: str | None = None
    """Address of a running cluster, such as ray://host:10001 or auto; null starts one on this
    machine."""
