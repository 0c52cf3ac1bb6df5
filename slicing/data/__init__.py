"""Datasets: MNIST in three forms and a user's own folder of images."""

from slicing.data.dataset import Dataset, Images
from slicing.data.image_folder import folder
from slicing.data.mnist_family import fashion_mnist, mnist, mnist5k, mnist_held_out

__all__ = ["Dataset", "Images", "fashion_mnist", "folder", "mnist", "mnist5k", "mnist_held_out"]
