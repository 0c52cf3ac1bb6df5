"""The network side: datasets, baselines, the cut, the conv stack, exact k-NN and the engine.

What most programs need is here: ``from slicing import mnist5k, TrainedCNN, Recipe``. Each name is
imported when it is first used, so that importing the package takes no time; TensorFlow starts only
where a network is trained, read or converted.
"""

import lazy_loader

from slicing import numba_cache

numba_cache.find_place()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
