// What an epoch computes with: one thread's loops over arrays, without the network around them.
//
// A kernel (rows, cols) is cut into panels of PANEL columns, each [row][w, m, v][PANEL]: a pass over weights and moments
// is one stream through memory (1,024 units: 5.4 to 2.6 ms a batch), and the columns of a tile lie so close that its
// rows share no cache sets (256 units: 9 %). The last layer is held transposed, its few units as rows. Everything is
// padded with zeros, so no loop has a remainder. Figures in these comments are microseconds a batch of 32 on cores with
// AVX-512.
//
// Letters: B images of a batch, padded (depth); n images of any block; X inputs; D gradients of the loss before an
// activation; xs, ds, ... strides in elements; r a row, c a column of a kernel.
#include "vectors.h"

enum {
    PANEL = 32,           // columns of a panel; batches are padded to it too: a multiple of every C * L and R
    ROW = 3 * PANEL,      // of a panel, with its moments
    BLOCK = 32, SPAN = 32,  // images and panels of the last layer's forward pass at a time
    LINE = 64,            // bytes of a cache line
    AHEAD = 256,          // of an image are fetched before they are read
#if defined(__x86_64__)
    LOOKED_UP = 4,        // panels that pixels are looked up for
#else
    LOOKED_UP = 0,        // not measured: two loads for a number are more than NEON's cores do meanwhile
#endif
    STRIDE = 272,         // of pixels as float32: not a multiple of 4 KB, or rows would share cache sets
};
enum { LINEAR, RELU, TANH };

INLINE I smaller(I a, I b) { return a < b ? a : b; }
INLINE I padded(I n, I to) { return (n + to - 1) / to * to; }

typedef struct {
    I in, out;          // as given
    I rows, cols;       // padded; the last layer's are exchanged
    I stride;           // of its outputs
    I apart;            // floats from one panel to the next
    int is_last;
    float *kernel;      // packed
    float *bias;        // packed: one row of panels
    float *given[6];    // kernel, bias, their first moments, their second moments
} Layer;

INLINE I panels(const Layer *l) { return l->cols / PANEL; }
INLINE float *panel(const Layer *l, I p) { return l->kernel + p * l->apart; }
INLINE float *bias(const Layer *l, I c) { return l->bias + c / PANEL * ROW + c % PANEL; }

typedef struct {
    V alpha, c1, c2, eps;  // rate corrected for the step; 1 - beta_1; 1 - beta_2
} Adam;

INLINE void adam(float *q, V g, const Adam *a) {  // as Keras writes it
    V w = get(q), m = get(q + PANEL), v = get(q + 2 * PANEL);
    m += (g - m) * a->c1;
    v += (g * g - v) * a->c2;
    w -= (m * a->alpha) / (root(v) + a->eps);
    put(q, w), put(q + PANEL, m), put(q + 2 * PANEL, v);
}

typedef struct {  // a tile whose gradient is known and whose weights are still to be updated
    V g[20];
    float *at;
    const char *ahead;  // weights that will be needed soon, to be fetched meanwhile
} Pending;

// A tile's gradient, A^T D over the batch, while the divider works on the update of the tile before: Adam's division
// and square root cost 10 % of an epoch where they wait for the multiplications (64 units: 142 to 129 us). A (depth,
// rows), D (depth, from column `col` on C vectors), float or bytes.
INLINE void tile(const int rows, const int bytes, const int lines, I depth, const float *A, I as, const void *D, I ds,
                 I col, float *at, Pending *p, const Adam *given) {
    V g[10][C] = {0};
    I k = 0;
    float *from = p->at;
    const char *ahead = p->ahead;
    Adam a = *given;
#define STEP                                                                                       \
    {                                                                                              \
        V d[C];                                                                                    \
        UNROLL for (int c = 0; c < C; c++) { d[c] = fetch(bytes, D, ds, k, col + c * L); HOLD(d[c]); } \
        UNROLL for (int r = 0; r < rows; r++) {                                                    \
            float s = A[k * as + r];                                                               \
            UNROLL for (int c = 0; c < C; c++) g[r][c] += s * d[c];                                \
        }                                                                                          \
        k++;                                                                                       \
    }
    for (int q = 0; q < rows * C; q++) {
        UNROLL for (int u = 0; u < PANEL / (rows * C); u++) STEP
        adam(from, p->g[q], &a);
        UNROLL for (int i = 0; i < lines; i++) __builtin_prefetch(ahead + LINE * i, 0, 2);
        ahead += LINE * lines;
        from += q % C == C - 1 ? ROW - (C - 1) * L : L;
    }
    while (k < depth) STEP
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < C; c++) p->g[r * C + c] = g[r][c];
    p->at = at, p->ahead = ahead;
}
#define TILE(name, rows, bytes, lines)                                                                        \
    static __attribute__((noinline)) void name(I depth, const float *A, I as, const void *D, I ds, I col,     \
                                               float *at, Pending *p, const Adam *a) {                        \
        tile(rows, bytes, lines, depth, A, as, D, ds, col, at, p, a);                                         \
    }
TILE(tile_plain, R, 0, 2)
TILE(tile_last, TQ, 0, 0)
TILE(tile_only, TQ, 1, 0)

static void settle(int rows, Pending *p, float *nowhere, const Adam *a) {  // update the pending tile
    for (int q = 0; q < rows * C; q++) adam(p->at + q / C * ROW + q % C * L, p->g[q], a);
    memset(p->g, 0, sizeof p->g);
    p->at = nowhere;
}

typedef struct {  // a matrix: rows of floats or, where there are none, of bytes, which lie anywhere, from a column on
    const float *floats;
    I stride;
    const uint8_t *const *bytes;
    I from;
} Rows;
INLINE Rows rows_from(Rows x, I b) {
    if (x.floats) x.floats += b * x.stride;
    else x.bytes += b;
    return x;
}

// A table of each byte as float32.
#define FLOATS4(n) n, n + 1, n + 2, n + 3
#define FLOATS16(n) FLOATS4(n), FLOATS4(n + 4), FLOATS4(n + 8), FLOATS4(n + 12)
#define FLOATS64(n) FLOATS16(n), FLOATS16(n + 16), FLOATS16(n + 32), FLOATS16(n + 48)
static const float FLOATS[256] __attribute__((aligned(64))) = {FLOATS64(0), FLOATS64(64), FLOATS64(128), FLOATS64(192)};

// O (n, PANEL) = or += X (n, depth) W (depth rows of a panel). Sums of parts are closer to the truth than one long sum,
// and are what XLA computes too. `ahead`: memory that is needed next, of which a line is fetched meanwhile every `step`
// bytes. Bytes are read where they lie, AHEAD of them fetched before, a line of each row at a time, and looked up as
// float32 (64 units: 140 to 133 us, beside copying and converting them before). Two rows of W a turn: 1 to 2 % where two
// runs of 256 units train side by side.
INLINE void multiply(const int bytes, const char **ahead, I step, I n, Rows X, const float *W, I depth, float *O, I os,
                     int fresh) {
    const char *from = *ahead;
    for (I c = 0; c < PANEL; c += C * L)
        for (I b = 0; b < n; b += R) {
            V o[R][C] = {0};
            const float *w = W + c, *f = bytes ? NULL : X.floats + b * X.stride;
            const uint8_t *x[R] = {0};
            UNROLL for (int r = 0; bytes && r < R; r++) x[r] = X.bytes[b + r] + X.from;
            for (I k = 0, end; k < depth; k = end) {
                end = bytes ? smaller(depth, k + LINE) : depth;
                UNROLL for (int r = 0; bytes && r < R; r++) __builtin_prefetch(x[r] + k + AHEAD, 0, 2);
                TWICE for (I i = k; i < end; i++, w += ROW, from += step) {
                    V d[C];
                    __builtin_prefetch(from, 0, 2);
                    UNROLL for (int q = 0; q < C; q++) { d[q] = get(w + q * L); HOLD(d[q]); }
                    UNROLL for (int r = 0; r < R; r++) {
                        float s = bytes ? FLOATS[x[r][i]] : f[r * X.stride + i];
                        UNROLL for (int q = 0; q < C; q++) o[r][q] += s * d[q];
                    }
                }
            }
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < C; i++) {
                float *to = O + (b + r) * os + c + i * L;
                put(to, fresh ? o[r][i] : get(to) + o[r][i]);
            }
        }
    *ahead = from;
}
#define PRODUCT(name, bytes)                                                                                      \
    static __attribute__((noinline)) void name(const char **ahead, I step, I n, Rows X, const float *W, I depth,  \
                                               float *O, I os, int fresh) {                                       \
        multiply(bytes, ahead, step, n, X, W, depth, O, os, fresh);                                               \
    }
PRODUCT(product_plain, 0)
PRODUCT(product_looked_up, 1)
INLINE void product(const char **ahead, I step, I n, Rows X, const float *W, I depth, float *O, I os, int fresh) {
    if (X.floats) product_plain(ahead, step, n, X, W, depth, O, os, fresh);
    else product_looked_up(ahead, step, n, X, W, depth, O, os, fresh);
}
// The same, while the weights of `next`, as many rows, are fetched, two lines of each (1,024 units: 4 % of an epoch,
// most of it in the evaluation).
static void product_before(const float *next, I n, Rows X, const float *W, I depth, float *O, I os, int fresh) {
    for (I b = 0; b < n; b += R) {
        const char *ahead = (const char *)next + b / R % 2 * LINE;
        product(&ahead, 4 * ROW, R, rows_from(X, b), W, depth, O + b * os, os, fresh);
    }
}

// Logits O (rows, n), transposed, of X (n, cols) through the last layer. SPAN panels at a time for all images: so many
// weights stay in the first cache (linear: 4 % of an epoch, a tenth of the evaluation). Pixels converted to float32
// once and not each time are slower (41 to 32 us): four times as much then comes from the second cache. Of the images
// `ahead`, which are next, a line is fetched into the second cache for each panel (linear, with the images read where
// they are: 7 %); between the multiplications of a tile a fetch costs six times as much.
INLINE void logits(const int bytes, const Layer *l, I n, const void *X, I xs, const uint8_t *const *ahead, float *O,
                   I os) {
    V sums[BLOCK * Q];
    for (I b0 = 0; b0 < n; b0 += BLOCK)
        for (I j = 0; j < l->rows; j += Q) {
            const I images = smaller(n - b0, BLOCK);
            memset(sums + images * Q, 0, (padded(images, L) - images) * Q * sizeof(V));
            for (I p0 = 0; p0 < panels(l); p0 += SPAN)
                for (I b = 0; b < images; b += M) {
                    const float *w = panel(l, p0) + j * ROW;
                    V o[M][Q] = {0};
                    if (p0) memcpy(o, sums + b * Q, sizeof o);
                    for (I p = p0; p < smaller(panels(l), p0 + SPAN); p++, w += l->apart) {
                        if (bytes && j < 2 * Q)  // half of the M images with each of the first Q units
                            __builtin_prefetch(ahead[b0 + b + j / Q * (M / 2) + p % (M / 2)] + p / 2 * LINE, 0, 2);
                        UNROLL for (I c = 0; c < PANEL; c += L) {
                            V d[Q];
                            UNROLL for (int i = 0; i < Q; i++) { d[i] = get(w + i * ROW + c); HOLD(d[i]); }
                            UNROLL for (int r = 0; r < M; r++) {
                                V s = fetch(bytes, X, xs, b0 + b + r, p * PANEL + c);
                                UNROLL for (int i = 0; i < Q; i++) o[r][i] += s * d[i];
                            }
                        }
                    }
                    memcpy(sums + b * Q, o, sizeof o);
                }
            for (I i = 0; i < Q; i++)
                for (I b = 0; b < images; b += L) {
                    V t[L];
                    UNROLL for (int k = 0; k < L; k++) t[k] = sums[(b + k) * Q + i];
                    put(O + (j + i) * os + b0 + b, totals(t) + *bias(l, j + i));
                }
        }
}

// Probabilities in place of the logits O (classes, os) of L images, one in each lane (linear: 2.6 to 0.7 us); their
// losses, and whether each label is the first of the most probable.
static void softmax(I classes, float *O, I os, const int32_t *label, float *loss, int32_t *right) {
    V most = get(O), sum = {0}, best = {0};
    float logit[L];
    N first = {0};
    for (int i = 0; i < L; i++) logit[i] = O[label[i] * os + i];
    for (I j = 1; j < classes; j++) most = choose(get(O + j * os) > most, get(O + j * os), most);
    for (I j = 0; j < classes; j++) {
        V e = exponential(get(O + j * os) - most);
        put(O + j * os, e), sum += e;
    }
    for (I j = 0; j < classes; j++) {
        V o = get(O + j * os) / sum;
        N more = o > best;
        put(O + j * os, o), best = choose(more, o, best), first = (more & (int32_t)j) | (~more & first);
    }
    for (int i = 0; i < L; i++) loss[i] = most[i] - logit[i] + logf(sum[i]), right[i] = first[i] == label[i];
}

static void activate(int activation, const Layer *l, I rows, float *h, I from, I to) {  // columns from..to, in place
    const V zero = {0};
    for (I b = 0; b < rows; b++)
        for (I j = from; j < to; j += L) {
            V o = get(h + b * l->stride + j) + get(bias(l, j));
            if (activation == RELU) o = choose(o <= zero, zero, o);  // what is not a number stays so
            put(h + b * l->stride + j, activation == TANH ? hyperbolic(o) : o);
        }
}
INLINE V slope(int activation, V h) {
    const V zero = {0}, one = zero + 1.f;
    return activation == LINEAR ? one : activation == RELU ? choose(h > zero, one, zero) : one - h * h;
}
INLINE void convert(I rows, I cols, const uint8_t *const *x, I from, float *o) {  // and fetch as many more of each row
    for (I b = 0; b < rows; b++) {
        for (I i = 0; i < cols; i += L) put(o + b * STRIDE + i, pixels(x[b] + from + i));
        for (I i = 0; i < cols; i += LINE) __builtin_prefetch(x[b] + from + cols + i, 0, 2);
    }
}
// Columns of images for products with so many panels: to be looked up or, for more than a few, converted into `buffer`
// (256 units: 1 % of an epoch).
INLINE Rows inputs(I panels, I images, const uint8_t *const *x, I from, I cols, float *buffer) {
    if (panels <= LOOKED_UP) return (Rows){.bytes = x, .from = from};
    const I more = padded(cols, L) - cols, first = from - smaller(from, more);  // never beyond an image's end
    convert(images, cols + more, x, first, buffer);
    return (Rows){.floats = buffer + (from - first), .stride = STRIDE};
}

// Multiply and add in registers alone for so many rounds; return how many were done: what one core can do at most.
double svhn_multiply_adds(int64_t rounds) {
    V sums[R][C], by = (V){0} + 0.999999f;  // the sums differ, or a compiler would keep fewer
    for (int r = 0; r < R; r++) for (int c = 0; c < C; c++) sums[r][c] = by * (float)(r * C + c);
    for (I i = 0; i < rounds; i++) {
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sums[r][c] = sums[r][c] * by + by;
        HOLD(by);
    }
    for (int r = 0; r < R; r++) for (int c = 0; c < C; c++) by += sums[r][c];
    return by[0] < -1 ? 0 : (double)rounds * R * C * L;
}
