"""Errors of a card as JAX, cuBLAS and TensorFlow word them."""

import pytest

from engine.machine import gpu_errors

FULL = [
    "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 4294967296 bytes.",
    "INTERNAL: Failed to allocate 67108864 bytes for new constant: CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    "INTERNAL: failed to create cublas handle: CUBLAS_STATUS_ALLOC_FAILED",
    "UNIMPLEMENTED: Attempting to perform BLAS operation using StreamExecutor without BLAS support",
    "OOM when allocating tensor with shape[50000,3072]",
]
SICK = [
    "INTERNAL: CUDA_ERROR_ECC_UNCORRECTABLE: uncorrectable ECC error encountered",
    "INTERNAL: Failed to launch CUDA kernel: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
    "INTERNAL: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered",
    "INTERNAL: CUDA_ERROR_DEVICE_UNAVAILABLE: CUDA-capable device(s) is/are busy or unavailable",
    "GPU is lost. Reboot the system to recover this GPU",
]
OTHER = ["INVALID_ARGUMENT: dot_general requires contracting dimensions to have the same shape", "division by zero", ""]


@pytest.mark.parametrize("message", FULL)
def test_a_full_memory_is_recognised_in_all_its_forms(message: str):
    assert gpu_errors.is_out_of_memory(message)
    assert not gpu_errors.card_fault(message)


@pytest.mark.parametrize("message", SICK)
def test_a_sick_card_is_told_from_a_faulty_run(message: str):
    assert gpu_errors.card_fault(message)
    assert not gpu_errors.is_out_of_memory(message)


@pytest.mark.parametrize("message", OTHER)
def test_other_errors_are_the_runs(message: str):
    assert not gpu_errors.card_fault(message)
    assert not gpu_errors.is_out_of_memory(message)
