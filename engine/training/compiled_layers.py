"""Layers of the compiled epoch that compute what Keras's layers of the same names compute, in another way."""

from collections.abc import Callable

import jax
import keras

NARROW = 16
"""Kernels with at most this many outputs are carried transposed."""

Array = jax.Array


@jax.custom_vjp
def _times(inputs: Array, kernel: Array) -> Array:
    """Multiply (B, n) by (n, m). The kernel's gradient is computed from inputs that were transposed beforehand:
    XLA's CPU code for inputs^T @ delta is slower than a transposition and a plain product."""
    return inputs @ kernel


def _times_forwards(inputs: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return inputs @ kernel, (inputs, kernel)


def _times_backwards(held: tuple[Array, Array], delta: Array) -> tuple[Array, Array]:
    inputs, kernel = held
    barrier: Callable[[Array], Array] = jax.lax.optimization_barrier  # the transposition must not be folded back
    return delta @ kernel.T, barrier(barrier(inputs).T) @ delta


_times.defvjp(_times_forwards, _times_backwards)


class Dense(keras.layers.Dense):
    """Keras's dense layer with a faster gradient for wide kernels."""

    def call(self, inputs: Array, training: bool | None = None) -> Array:
        """Return activation(inputs @ kernel + bias); float32 (B, units) for (B, n)."""
        kernel, bias = self.kernel.value, self.bias.value
        product = inputs @ kernel if kernel.shape[1] <= NARROW else _times(inputs, kernel)
        outputs: Array = self.activation(product + bias)
        return outputs


KINDS = {"Dense": Dense}
"""Layers by the names of those of Keras that they replace."""
