"""The bounded heap: the nearest of all, and the lower index among equally near ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slicing.neighbors import heap

# Few values, so that many are equal.
DISTANCES = st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf, np.nan]), max_size=30)


@given(DISTANCES, st.integers(1, 8), st.randoms())
def test_it_keeps_the_nearest_of_the_lowest_index_in_whatever_order_they_come(distances, k, random):
    kept, indices = np.empty(k), np.empty(k, np.int64)
    heap.clear(kept, indices)
    empty = int(indices[0])
    order = list(range(len(distances)))
    random.shuffle(order)
    for index in order:
        heap.push(kept, indices, distances[index], index)
    assert kept[0] == max(kept)  # the root is the farthest
    heap.sort(kept, indices)
    entries = sorted((d, i) for i, d in enumerate(distances) if not np.isnan(d))
    expected = (entries + [(np.inf, empty)] * k)[:k]
    assert list(zip(kept.tolist(), indices.tolist(), strict=True)) == expected
