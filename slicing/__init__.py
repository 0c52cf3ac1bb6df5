"""The network side: datasets, baselines, the cut, the conv stack, exact k-NN and the engine."""
