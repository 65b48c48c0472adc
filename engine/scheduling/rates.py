"""Rules for measured rates: which networks are alike, and which gain counts. Pure."""

GAIN = 1.1
"""How many times as fast as the usual arrangement another one must have been before it is chosen."""


def size_class(parameters: int) -> int:
    """Return the class of networks of about this many trainable parameters: twice as many are the next one."""
    return parameters.bit_length()
