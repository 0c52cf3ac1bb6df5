"""What is minimized: the loss of candidates for a block of kernels."""

from evolve.fitness.base import Fitness as Fitness
from evolve.fitness.discriminant import DiscriminantFitness as DiscriminantFitness
from evolve.fitness.knn import KNNFitness as KNNFitness
