"""Blocks by the name of their kind; of all layers by default."""

from evolve.block import groups, kernels, layers, network

KINDS = {"kernel": kernels, "group": groups, "layer": layers, "network": network}


def make_blocks(stack, kind="kernel", layers=None, **options):
    return KINDS[kind](stack, layers, **options)
