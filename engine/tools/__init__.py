"""Short-lived processes that load Keras or TensorFlow: verify, inspect, strip, benchmark."""
