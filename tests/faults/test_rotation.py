# SPDX-License-Identifier: MIT
"""Does every line of a log come once, in order, however it is rotated under full load?"""

import pytest

from faults.rotation import KERNELS, STYLES, course, told, used_again
from faults.rows import Broken


SEEDS = {"small": (range(3), 12), "large": (range(20), 60)}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", ["small", pytest.param("large", marks=pytest.mark.slow)])
def test_every_line_comes_once(tmp_path, style, kernel, size):
    """Through every rotation and restart the reader has each line once, and in order."""
    seeds, rotations = SEEDS[size]
    for seed in seeds:
        folder = tmp_path / str(seed)
        folder.mkdir()
        numbers, total = course(folder, style, rotations, seed, kernel)

        assert numbers == list(range(total)), told(numbers, total)


def test_an_inode_that_is_used_again(tmp_path):
    """A new file with the number of a deleted one is read from its start."""
    try:
        lines, written = used_again(tmp_path)
    except Broken as error:
        pytest.skip(str(error))

    assert written == lines
