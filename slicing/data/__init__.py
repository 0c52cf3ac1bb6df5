"""Datasets: MNIST in three forms, CIFAR-10 and a user's own images."""

from slicing.data.cifar import cifar10
from slicing.data.dataset import Dataset, Images, Part
from slicing.data.image_files import ImageFiles
from slicing.data.image_folder import folder, image_files
from slicing.data.mnist_family import fashion_mnist, mnist, mnist5k, mnist_held_out
from slicing.data.preparation import Preparation

__all__ = [
    "Dataset",
    "ImageFiles",
    "Images",
    "Part",
    "Preparation",
    "cifar10",
    "fashion_mnist",
    "folder",
    "image_files",
    "mnist",
    "mnist5k",
    "mnist_held_out",
]
