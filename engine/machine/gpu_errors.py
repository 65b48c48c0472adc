"""What an error of JAX, cuBLAS, cuDNN or TensorFlow says of the card: its memory is full, or it is sick. Pure.

The libraries raise one type for everything; their texts hold the names of CUDA's own errors.
"""

OUT_OF_MEMORY = (
    "RESOURCE_EXHAUSTED", "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation", "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED", "CUSOLVER_STATUS_ALLOC_FAILED", "CUSPARSE_STATUS_ALLOC_FAILED",
    "without BLAS support", "OOM when allocating",
)  # fmt: skip
"""`without BLAS support`: cuBLAS found no memory for itself when it was first needed."""
CARD_FAULTS = (
    "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC", "CUDA_ERROR_NVLINK_UNCORRECTABLE", "CUDA_ERROR_CONTAINED",
    "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_LAUNCH_TIMEOUT", "unspecified launch failure",
    "CUDA_ERROR_ILLEGAL_ADDRESS", "CUDA_ERROR_ILLEGAL_INSTRUCTION", "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_HARDWARE_STACK_ERROR", "CUDA_ERROR_DEVICE_UNAVAILABLE", "CUDA_ERROR_NO_DEVICE",
    "CUDA_ERROR_INVALID_DEVICE", "CUDA_ERROR_SYSTEM_NOT_READY", "CUDA_ERROR_UNKNOWN", "CUDA_ERROR_NOT_INITIALIZED",
    "CUBLAS_STATUS_EXECUTION_FAILED", "CUBLAS_STATUS_MAPPING_ERROR", "GPU is lost", "fallen off the bus",
)  # fmt: skip
"""After any of them a process can compute nothing more on its card."""


def is_out_of_memory(message: str) -> bool:
    """Say whether an error means that the card's memory is full."""
    return any(sign in message for sign in OUT_OF_MEMORY)


def card_fault(message: str) -> str:
    """Return the sign that an error is the card's fault and not the run's; empty where there is none."""
    if is_out_of_memory(message):
        return ""
    return next((sign for sign in CARD_FAULTS if sign.lower() in message.lower()), "")
