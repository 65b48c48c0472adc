"""A model file as users write them; tests run it through the program."""

from tensorflow import keras

layers = keras.layers


class Scale(keras.layers.Layer):
    """Multiplies by a weight."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(), initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


class Counting(keras.layers.Layer):
    """Keeps a count outside of Keras's variables."""

    calls = 0

    def call(self, inputs):
        self.calls += 1
        return inputs * float(self.calls)


class OnTensorFlow(keras.layers.Layer):
    """Uses a function of TensorFlow."""

    def call(self, inputs):
        import tensorflow as tf

        return tf.nn.elu(inputs)


def residual(input_shape, classes, width=16, depth=1):
    given = keras.Input(input_shape)
    x = layers.Rescaling(1 / 255)(layers.Flatten()(given))
    x = layers.Dense(width, activation="relu")(x)
    for _ in range(depth):
        x = layers.Add()([x, Scale()(layers.Dense(width, activation="relu")(x))])
    return keras.Model(given, layers.Dense(classes, activation="softmax")(x))


def normalized(input_shape, classes, rate=0.5):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Rescaling(1 / 255),
            layers.Dense(16, use_bias=False),  # normalization takes a bias away: its gradient would be rounding alone
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(rate),
            layers.Dense(classes),
            layers.Softmax(),
        ]
    )


def counting(input_shape, classes):
    return keras.Sequential(
        [keras.Input(input_shape), layers.Flatten(), Counting(), layers.Dense(classes, activation="softmax")]
    )


def tensorflow_only(input_shape, classes, width=8):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Rescaling(1 / 255),
            layers.Dense(width),
            OnTensorFlow(),
            layers.Dense(classes, activation="softmax"),
        ]
    )


def regularized(input_shape, classes):
    return keras.Sequential(
        [keras.Input(input_shape), layers.Flatten(), layers.Dense(classes, "softmax", kernel_regularizer="l2")]
    )


def no_softmax(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(classes)])


def wrong_shape(input_shape, classes):
    return keras.Sequential([keras.Input(input_shape), layers.Flatten(), layers.Dense(classes + 1, "softmax")])


def no_model(input_shape, classes):
    return [input_shape, classes]


def broken(input_shape, classes, width=3):
    return _deeper(width)


def _deeper(width):
    raise ValueError(f"width {width} is not even")


def two_outputs(input_shape, classes):
    given = keras.Input(input_shape)
    x = layers.Flatten()(given)
    return keras.Model(given, [layers.Dense(classes, "softmax")(x), layers.Dense(classes, "softmax")(x)])


def two_inputs(input_shape, classes):
    both = [keras.Input(input_shape), keras.Input(input_shape)]
    return keras.Model(both, layers.Dense(classes, "softmax")(layers.Flatten()(layers.Add()(both))))


def of_a_lambda(input_shape, classes):
    first = layers.Lambda(lambda x: x / 255)
    return keras.Sequential([keras.Input(input_shape), first, layers.Flatten(), layers.Dense(classes, "softmax")])


def leaving(input_shape, classes):
    raise SystemExit(3)


def neighbour(input_shape, classes):
    import a_module_beside_this_one

    return a_module_beside_this_one.build(input_shape, classes)


class Subclassed(keras.Model):
    """A model that has only `call`."""

    def __init__(self, classes, **given):
        super().__init__(**given)
        self.classes, self.flat, self.last = classes, layers.Flatten(), layers.Dense(classes, "softmax")

    def call(self, inputs):
        return self.last(self.flat(inputs))

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


def subclassed(input_shape, classes):
    return Subclassed(classes)
