"""Windows of images, as convolutions and pools of ONNX take them in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray


def patches(x: Array, kernel: tuple[int, int], attributes: dict[str, Any], fill: float) -> Array:
    """Windows of x (n, c, h, w) as (n, c, h', w', kh, kw), a view of the padded x."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    if top or left or bottom or right:
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    dh, dw = attributes.get("dilations", (1, 1))
    sh, sw = attributes.get("strides", (1, 1))
    size = ((kernel[0] - 1) * dh + 1, (kernel[1] - 1) * dw + 1)
    windows = sliding_window_view(x, size, axis=(2, 3))
    view: Array = windows[:, :, ::sh, ::sw, ::dh, ::dw]
    return view


def counts(attributes: dict[str, Any], sizes: tuple[int, int]) -> Array:
    """How many numbers each window of an average takes of images (h, w): (1, 1, h', w') or one."""
    kernel = tuple(attributes["kernel_shape"])
    if attributes.get("count_include_pad", 0):
        return np.full((1, 1, 1, 1), float(np.prod(kernel)))
    return np.asarray(patches(np.ones((1, 1, *sizes)), kernel, attributes, 0.0).sum(axis=(4, 5)))


def averages(x: Array, attributes: dict[str, Any]) -> Array:
    """The means (n, c, h', w') of the windows of x (n, c, h, w)."""
    kernel = tuple(attributes["kernel_shape"])
    total = patches(x, kernel, attributes, 0.0).sum(axis=(4, 5))
    return np.asarray(total / counts(attributes, x.shape[2:]))


def explicit_pads(
    attributes: dict[str, Any], kernel: tuple[int, ...], sizes: tuple[int | None, ...]
) -> list[int] | None:
    """What `auto_pad` pads, begins, then ends; None where that depends on a size not known."""
    way, count = attributes["auto_pad"], len(kernel)
    if not count:
        return None
    if way == b"VALID":
        return [0] * (2 * count)
    strides = attributes.get("strides", [1] * count)
    dilations = attributes.get("dilations", [1] * count)
    begins, ends = [], []
    for axis in range(count):
        reach, stride = (kernel[axis] - 1) * dilations[axis] + 1, strides[axis]
        size = sizes[axis] if axis < len(sizes) else None
        if size is None and stride != 1:
            return None
        # At a stride of 1 the pads are the same for every size.
        size = size or stride
        total = max((-(-size // stride) - 1) * stride + reach - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if way == b"SAME_UPPER" else large)
        ends.append(large if way == b"SAME_UPPER" else small)
    return begins + ends


def with_pads(
    attributes: dict[str, Any], kernel: tuple[int, ...], sizes: tuple[int | None, ...]
) -> dict[str, Any]:
    """The attributes with pads in numbers in place of `auto_pad`; as they are where none follow."""
    if attributes.get("auto_pad", b"NOTSET") == b"NOTSET":
        return attributes
    pads = explicit_pads(attributes, kernel, sizes)
    if pads is None:
        return attributes
    kept = {key: value for key, value in attributes.items() if key != "auto_pad"}
    return {**kept, "pads": pads}
