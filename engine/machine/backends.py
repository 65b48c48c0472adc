"""Sets up Keras on JAX or on TensorFlow, in code, so that no setting of the user's changes what is computed."""

import contextlib
import importlib.abc
import os
import sys
from pathlib import Path

from engine.machine import child_process, compile_cache, system

PLATFORM_VARIABLE = "SVHN_TUI_PLATFORM"
"""JAX's platform, such as `cpu`, for a worker without a GPU; JAX chooses where it is not set."""
MATMUL_PRECISION = "float32"
"""Precision of matrix products. On GPUs JAX's default is TF32, with 10 bits of each factor; CPUs ignore it."""
JAX_SETTINGS = {
    "jax_enable_x64": False,
    "jax_default_matmul_precision": MATMUL_PRECISION,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_rank_promotion": "allow",
    "jax_numpy_dtype_promotion": "standard",
    "jax_disable_jit": False,
    "jax_disable_most_optimizations": False,
    "jax_debug_nans": False,
    "jax_debug_infs": False,
    "jax_default_device": None,
}
"""All settings that change numbers: JAX's defaults, except for the precision of products."""


class _WithoutTensorFlow(importlib.abc.MetaPathFinder):
    """Prevents the import of TensorFlow. (`None` in `sys.modules` is not enough: Keras's Rescaling accepts it.)"""

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise for TensorFlow; return None for all other modules, which other finders look for."""
        if name.partition(".")[0] == "tensorflow":
            raise ModuleNotFoundError("TensorFlow is not loaded where JAX trains", name=name)


TENSORFLOW_NEEDS = "libcudart.so.12"
WITHOUT_GPU = "TensorFlow sees no GPU here, since its build is for CUDA 12: keras-fit trains on the CPU."

UNNEEDED = {"jax": ("matplotlib", "requests"), "tensorflow": ("matplotlib", "jax")}
"""By backend, modules that Keras and TensorFlow import and do not need: plots, a web monitor, TensorFlow Lite."""


class _WithoutUnneeded(importlib.abc.MetaPathFinder):
    """Prevents the import of these modules while Keras is imported, which shortens that by a quarter to a third.

    A model file can import them, since Keras has been imported by then.
    """

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        """Raise for these modules; return None for all others, which other finders look for."""
        keras = sys.modules.get("keras")
        if name in self._names and keras is not None and not hasattr(keras, "version"):  # the last name that it defines
            raise ModuleNotFoundError(f"Keras is loaded without {name}", name=name)


def clear_environment() -> None:
    """Remove from this process's environment all that must not affect training."""
    needed = child_process.training_environment(os.environ)
    os.environ.clear()
    os.environ.update(needed)


def prepare_jax() -> None:
    """Set up the environment that JAX and Keras read when they are imported."""
    _prepare_keras("jax")
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # a shared GPU stays usable for others
    if platform := os.environ.get(PLATFORM_VARIABLE):
        os.environ["JAX_PLATFORMS"] = platform
    with contextlib.suppress(OSError):  # without the folder everything is compiled again
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(compile_cache.folder())
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "0"
    sys.meta_path.insert(0, _WithoutTensorFlow())  # Keras would import it to save a file: 2 s, 400 MB


def tensorflow_may_see_cards() -> bool:
    """Say whether there is the library of CUDA 12 without which TensorFlow uses no GPU."""
    installed = (Path(folder) / "nvidia/cuda_runtime/lib" / TENSORFLOW_NEEDS for folder in sys.path)
    return any(library.exists() for library in installed) or system.has_library(TENSORFLOW_NEEDS)


def prepare_tensorflow(log_level: int = 2) -> None:
    """Set up the environment that TensorFlow and Keras read when they are imported.

    Args:
        log_level: of TensorFlow: 2 logs its errors, 3 only what ends it.
    """
    _prepare_keras("tensorflow")
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # else it allocates the whole card at once
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = str(log_level)


def _prepare_keras(backend: str) -> None:
    os.environ["KERAS_BACKEND"] = backend
    os.environ["KERAS_HOME"] = os.devnull  # no folder: a keras.json is neither read nor written
    sys.meta_path.insert(0, _WithoutUnneeded(*UNNEEDED[backend]))


def settle_keras() -> None:
    """Set all that changes numbers in Keras; call it after the import."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def settle_tensorflow() -> None:
    """Set all that changes numbers in TensorFlow and Keras; call it before anything is computed."""
    settle_keras()
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)


def settle_jax() -> None:
    """Set all that changes numbers in JAX and Keras; call it before anything is computed."""
    import jax

    for name, value in JAX_SETTINGS.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
    settle_keras()
