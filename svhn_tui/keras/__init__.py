"""A Keras callback with which the user's own training is recorded; it imports neither Keras nor a backend."""

from svhn_tui.keras.recorder import Recorder

__all__ = ["Recorder"]
