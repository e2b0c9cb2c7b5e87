"""Small convolutional networks, trained in numpy: patches as rows of a matrix (im2col)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from qnn.errors import InputError
from qnn.networks.layered import LayeredNetwork
from tests.benchmarks.adversarial_training import Array, score_slopes, train

CLASSES = 10


@dataclass(frozen=True, eq=False)
class Convolution:
    """Kernels (kernel, kernel, channels in, out) that move by a stride over padded images.

    Images are (n, height, width, channels); a fully connected layer is a kernel of an image's size.
    """

    kernel: Array
    bias: Array
    stride: int
    pad: int

    def patches(self, x: Array) -> Array:
        """(n, rows, columns, kernel * kernel * channels): what each position sees."""
        p, k, s = self.pad, len(self.kernel), self.stride
        x = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)))
        rows, columns = ((size - k) // s + 1 for size in x.shape[1:3])
        parts = [
            x[:, i : i + s * rows : s, j : j + s * columns : s] for i in range(k) for j in range(k)
        ]
        return np.concatenate(parts, axis=3)

    def output(self, patches: Array) -> Array:
        """What the layer makes of patches, without a ReLU."""
        flat = self.kernel.reshape(-1, len(self.bias))
        return np.asarray(patches @ flat + self.bias)

    def back(self, slope: Array, shape: tuple[int, ...]) -> Array:
        """The gradient in the images (of this shape) from the one in the output."""
        p, k, s = self.pad, len(self.kernel), self.stride
        flat = self.kernel.reshape(-1, len(self.bias))
        n, height, width, channels = shape
        found = np.zeros((n, height + 2 * p, width + 2 * p, channels))
        rows, columns = slope.shape[1:3]
        parts = np.split(slope @ flat.T, k * k, axis=3)
        for index, part in enumerate(parts):
            i, j = divmod(index, k)
            found[:, i : i + s * rows : s, j : j + s * columns : s] += part
        return found[:, p : p + height, p : p + width]


class Convolutional:
    """Convolutions with a ReLU between each and the next, on square images of one channel."""

    def __init__(self, layers: list[Convolution], height: int) -> None:
        self.layers, self.height = layers, height

    @property
    def parameters(self) -> list[Array]:
        """Kernels and biases, layer by layer."""
        return [array for layer in self.layers for array in (layer.kernel, layer.bias)]

    def gradients(self, x: Array, labels: Array) -> tuple[list[Array], Array]:
        """See `adversarial_training.Classifier`."""
        images, seen = [x.reshape(len(x), self.height, self.height, 1)], []
        for layer in self.layers:
            seen.append(layer.patches(images[-1]))
            images.append(layer.output(seen[-1]))
            if layer is not self.layers[-1]:
                np.maximum(images[-1], 0.0, out=images[-1])
        slope = score_slopes(images[-1].reshape(len(x), -1), labels).reshape(images[-1].shape)
        found: list[Array] = []
        for k in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[k]
            rows = seen[k].reshape(-1, seen[k].shape[3])
            kernel = (rows.T @ slope.reshape(len(rows), -1)).reshape(layer.kernel.shape)
            found = [kernel, slope.sum(axis=(0, 1, 2)), *found]
            slope = layer.back(slope, images[k].shape)
            if k:
                slope = slope * (images[k] > 0.0)
        return found, slope.reshape(x.shape)

    def network(self) -> LayeredNetwork:
        """Each convolution as its matrix: what it makes of every unit image."""
        weights, biases, shape = [], [], (self.height, self.height, 1)
        for layer in self.layers:
            size = int(np.prod(shape))
            zero = layer.output(layer.patches(np.zeros((1, *shape))))
            made = layer.output(layer.patches(np.eye(size).reshape(size, *shape))) - layer.bias
            weights.append(made.reshape(size, -1))
            biases.append(zero.reshape(-1))
            shape = zero.shape[1:]
        return LayeredNetwork(tuple(weights), tuple(biases))


def convolutional(layers: list[str], height: int, rng: np.random.Generator) -> Convolutional:
    """``8@4x4s2p1`` is 8 kernels of 4 by 4, stride 2, padding 1; ``32`` a layer of 32 neurons.

    The ten scores are a layer of their own.
    """
    found, channels, whole = [], 1, height
    for text in [*layers, str(CLASSES)]:
        form = re.fullmatch(r"(\d+)(?:@(\d+)x\2s(\d+)p(\d+))?", text)
        if form is None:
            raise InputError(f"a layer is {text!r}: write 8@4x4s2p1, or 32")
        count = int(form[1])
        kernel, stride, pad = map(int, form.groups()[1:]) if form[2] else (height, 1, 0)
        inputs = kernel * kernel * channels
        weights = rng.normal(size=(kernel, kernel, channels, count)) * np.sqrt(2.0 / inputs)
        found.append(Convolution(weights, np.zeros(count), stride, pad))
        height, channels = (height + 2 * pad - kernel) // stride + 1, count
    return Convolutional(found, whole)


def trained(X: Array, y: Array, layers: list[str], epsilon: float, epochs: int) -> LayeredNetwork:
    """A network of square images, trained against attacks as `adversarial_training.train` does."""
    rng = np.random.default_rng(0)
    model = convolutional(layers, round(np.sqrt(X.shape[1])), rng)
    train(model, X, y, epsilon, epochs, rng)
    return model.network()
