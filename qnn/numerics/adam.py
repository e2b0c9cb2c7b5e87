"""Adam, the gradient step of everything here that trains weights as floats."""

import numpy as np


class Adam:
    """Adam (D. Kingma, J. Ba, ICLR 2015) on a list of arrays, changed in place."""

    def __init__(self, arrays: list[np.ndarray], rate: float) -> None:
        self.arrays, self.rate, self.step_count = arrays, rate, 0
        self.first = [np.zeros_like(array) for array in arrays]
        self.second = [np.zeros_like(array) for array in arrays]

    def step(self, gradients: list[np.ndarray], factor: float = 1.0) -> None:
        """One step along the gradients at `factor` times the rate."""
        self.step_count += 1
        one, two = 1 - 0.9**self.step_count, 1 - 0.999**self.step_count
        for array, first, second, gradient in zip(
            self.arrays, self.first, self.second, gradients, strict=True
        ):
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            array -= self.rate * factor * (first / one) / (np.sqrt(second / two) + 1e-8)
