// Trains small networks with `epoch.c` without Python, so that another processor's can be tried in an emulator; prints
// what was measured and the sums of squares of the weights.
#include <stdio.h>
#include EPOCH

static uint32_t state = 1;
static uint32_t drawn(void) { return (state = state * 1664525u + 1013904223u) >> 16; }

static void run(int layers, const int64_t *sizes, int activation, int64_t batch, int threads) {
    enum { IMAGES = 100, TESTS = 70 };
    state = 1;
    uint8_t *pixels = malloc(IMAGES * sizes[0]);
    int32_t labels[IMAGES], order[IMAGES], stop = 0;
    for (int i = 0; i < IMAGES * sizes[0]; i++) pixels[i] = drawn();
    for (int i = 0; i < IMAGES; i++) labels[i] = drawn() % sizes[layers], order[i] = i * 7 % IMAGES;
    float *parameters[6 * MAX_LAYERS];
    for (int l = 0; l < layers; l++)
        for (int s = 0; s < 6; s++) {
            const int64_t size = (s % 2 ? 1 : sizes[l]) * sizes[l + 1];
            float *p = parameters[6 * l + s] = calloc(size, 4);
            for (int64_t i = 0; s < 2 && i < size; i++) p[i] = (drawn() / 65536.f - 0.5f) / (l ? 5 : 500);
        }
    float rates[IMAGES];
    for (int i = 0; i < IMAGES; i++) rates[i] = 1e-4f;
    double found[4];
    const int status = svhn_epoch(layers, sizes, activation, batch, IMAGES, pixels, labels, order, TESTS, pixels, labels,
                                  parameters, 0, rates, 0.9, 0.999, 1e-7, threads, &stop, found);
    printf("%d %.9g %.9g %.9g %.9g", status, found[0], found[1], found[2], found[3]);
    for (int s = 0; s < 6 * layers; s++) {
        double sum = 0;
        for (int64_t i = 0; i < (s % 2 ? 1 : sizes[s / 6]) * sizes[s / 6 + 1]; i++)
            sum += (double)parameters[s][i] * parameters[s][i];
        printf(" %.9g", sum);
        free(parameters[s]);
    }
    printf("\n");
    free(pixels);
}

int main(void) {
    for (int threads = 1; threads < 4; threads += 2) {
        run(1, (int64_t[]){70, 10}, LINEAR, 32, threads);
        run(2, (int64_t[]){100, 33, 17}, RELU, 20, threads);
        run(4, (int64_t[]){60, 40, 70, 20, 7}, TANH, 32, threads);
    }
    printf("%s\n", svhn_instructions());
    return 0;
}
