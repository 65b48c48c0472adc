// One epoch of a dense network (linear, ReLU or tanh) with softmax cross-entropy and Adam, and its evaluation, on NumPy
// arrays in Keras's layout. Stateless: nothing outlives a call, so two threads may train two networks.
//
// Bits: every element is summed in one fixed order whatever thread does it, so the number of threads changes none.
// Layout: an epoch works on packed copies. A kernel (rows, cols) is cut into panels of columns, each [row][w, m, v]
// [width]: a pass over weights and moments is one stream through memory (1,024 units: 5.4 to 2.6 ms a batch). The last
// layer is held transposed, its few units as rows. Everything is padded with zeros, so no loop has a remainder. Copying
// in and out takes 0.8 % of an epoch. Figures in these comments are microseconds a batch of 32 on cores with AVX-512.
//
// Letters: B images of a batch, padded (depth); n images of any block; X inputs; D gradients of the loss before an
// activation; xs, ds, ... strides in elements; r a row, c a column of a kernel; T threads.
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, size)
#endif

// L lanes of a vector; a tile is R rows of C vectors of sums; TQ rows in the last layer's update; M images x Q units in
// its logits. As many sums as hide the latency of a multiply-add and leave registers for the operands: 32 registers
// with AVX-512 and NEON, 16 with AVX and SSE.
#if defined(__AVX512F__)
enum { L = 16, R = 8, TQ = 10, M = 4 };
#define NAME "avx512"
#elif defined(__AVX__)
enum { L = 8, R = 4, TQ = 5, M = 2 };
#ifdef __FMA__
#define NAME "avx2"
#else
#define NAME "avx"
#endif
#elif defined(__aarch64__)
enum { L = 4, R = 8, TQ = 10, M = 4 };
#define NAME "neon"
#else
enum { L = 4, R = 4, TQ = 5, M = 2 };
#define NAME "128 bits"
#endif
enum {
    C = 2,
    Q = 5,
    PAD = 32,         // batches and columns are padded to it: a multiple of every C * L and R
    WIDTH = 256,      // columns of a panel, at most
    CHUNK = 192,      // rows that are updated before the next batch goes through them; half of them from 256 columns on
    BLOCK = 32, SPAN = 2,  // images and panels of the last layer's forward pass at a time
    EVAL = 64,        // test images at a time
    DEPTH = 256,      // of their pixels at a time
    MAX_LAYERS = 16,
    MAX_THREADS = 64,
    MAX_CLASSES = 100,
};
enum { DONE, NO_MEMORY, NOT_TRAINABLE, NO_THREAD, STOPPED };  // as native_trainer.py knows them
enum { LINEAR, RELU, TANH };

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#if defined(__x86_64__)
#define HOLD(v) __asm__("" : "+v"(v))  // keep in a register what the compiler would load again for each use
#else
#define HOLD(v)
#endif

typedef float V __attribute__((vector_size(4 * L)));
typedef float U __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef int32_t N __attribute__((vector_size(4 * L)));
typedef uint8_t P __attribute__((vector_size(L), aligned(1), may_alias));
typedef int64_t I;

INLINE V get(const float *p) { return (V) * (const U *)p; }
INLINE void put(float *p, V v) { *(U *)p = (U)v; }
INLINE V pixels(const uint8_t *p) {  // L of them as float32
#if defined(__AVX512F__)  // GCC 12 takes them apart one by one otherwise: 81 instead of 36 us (linear)
    return (V)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
#elif defined(__AVX2__)
    return (V)_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
#else
    return __builtin_convertvector(*(const P *)p, V);
#endif
}
INLINE V fetch(const int bytes, const void *p, I at) {
    return bytes ? pixels((const uint8_t *)p + at) : get((const float *)p + at);
}
INLINE V root(V a) {
    float t[L];
    put(t, a);
    for (int i = 0; i < L; i++) t[i] = sqrtf(t[i]);  // one instruction
    return get(t);
}
INLINE float total(V v) {  // halves added to halves, in the same order whatever the compiler
    float t[L];
    put(t, v);
    for (int h = L / 2; h; h /= 2)
        for (int i = 0; i < h; i++) t[i] += t[i + h];
    return t[0];
}
INLINE V choose(N mask, V yes, V no) { return (V)(((N)yes & mask) | ((N)no & ~mask)); }

// e^x for x <= 0, within 2 units in the last place. Coefficients: expf of the Cephes Mathematical Library (S. Moshier).
INLINE V exponential(V x) {
    const V zero = {0}, magic = zero + 12582912.f;  // 1.5 * 2^23: what is added to it is rounded to a whole number
    V t = x * 1.44269504088896341f + magic, n = t - magic, r = x - n * 0.693359375f + n * 2.12194440e-4f;
    V p = ((((1.9875691500e-4f * r + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r +
           1.6666665459e-1f) * r + 5.0000001201e-1f;
    V scale = (V)(((N)t - (N)magic + 127) << 23);
    return choose(x < zero - 87.f, zero, (p * r * r + r + 1.f) * scale);
}
// tanh as XLA computes it, so that units saturate at the same inputs: the rational function of Eigen's
// generic_fast_tanh_float, x itself below 0.0004, and 1 beyond 7.9988.
INLINE V hyperbolic(V x) {
    const V zero = {0}, one = zero + 1.f, most = zero + 7.99881172180175781f;
    V c = choose(x > most, most, choose(x < -most, -most, x)), s = c * c;
    V p = ((((((-2.76076847742355e-16f * s + 2.00018790482477e-13f) * s - 8.60467152213735e-11f) * s +
              5.12229709037114e-08f) * s + 1.48572235717979e-05f) * s + 6.37261928875436e-04f) * s +
           4.89352455891786e-03f) * c;
    V q = ((1.19825839466702e-06f * s + 1.18534705686654e-04f) * s + 2.26843463243900e-03f) * s +
          4.89352518554385e-03f;
    V found = choose((x < zero + 0.0004f) & (x > zero - 0.0004f), x, p / q);
    return choose(x > most, one, choose(x < -most, -one, found));
}

typedef struct {
    V alpha, c1, c2, eps;  // rate corrected for the step; 1 - beta_1; 1 - beta_2
} Adam;

INLINE void adam(float *q, I width, V g, const Adam *a) {  // as Keras writes it
    V w = get(q), m = get(q + width), v = get(q + 2 * width);
    m += (g - m) * a->c1;
    v += (g * g - v) * a->c2;
    w -= (m * a->alpha) / (root(v) + a->eps);
    put(q, w), put(q + width, m), put(q + 2 * width, v);
}

typedef struct {  // a tile whose gradient is known and whose weights are still to be updated
    V g[20];
    float *at;
    I row, width;
    const char *ahead;  // what will be needed later, to be fetched meanwhile
} Pending;

// A tile's gradient, A^T D over the batch, while the divider works on the update of the tile before: Adam's division
// and square root cost 3 % between multiplications. A (depth, rows), D (depth, cols vectors), float or bytes.
INLINE void tile(const int rows, const int cols, const int bytes, const int lines, I depth, const float *A, I as,
                 const void *D, I ds, float *at, I width, Pending *p, const Adam *given) {
    V g[10][2] = {0};
    I k = 0;
    float *from = p->at;
    const char *ahead = p->ahead;
    const I jump = p->row - cols * L, old = p->width;
    Adam a = *given;
    HOLD(a.alpha); HOLD(a.c1); HOLD(a.c2); HOLD(a.eps);
#define STEP                                                                          \
    {                                                                                 \
        V d[2];                                                                       \
        UNROLL for (int c = 0; c < cols; c++) d[c] = fetch(bytes, D, k * ds + c * L); \
        UNROLL for (int r = 0; r < rows; r++) {                                       \
            float s = A[k * as + r];                                                  \
            UNROLL for (int c = 0; c < cols; c++) g[r][c] += s * d[c];                \
        }                                                                             \
        k++;                                                                          \
    }
    for (int q = 0; q < rows * cols; q++) {
        UNROLL for (int u = 0; u < PAD / (rows * cols); u++) STEP
        adam(from, old, p->g[q], &a);
        UNROLL for (int i = 0; i < lines; i++) __builtin_prefetch(ahead + 64 * i, 0, 2);
        ahead += 64 * lines;
        from += L + ((q & (cols - 1)) == cols - 1 ? jump : 0);
    }
    while (k < depth) STEP
    UNROLL for (int r = 0; r < rows; r++) UNROLL for (int c = 0; c < cols; c++) p->g[r * cols + c] = g[r][c];
    p->at = at, p->row = 3 * width, p->width = width, p->ahead = ahead;
}
#define TILE(name, rows, bytes, lines)                                                                             \
    static __attribute__((noinline)) void name(I depth, const float *A, I as, const void *D, I ds, float *at,      \
                                               I width, Pending *p, const Adam *a) {                               \
        tile(rows, C, bytes, lines, depth, A, as, D, ds, at, width, p, a);                                         \
    }
TILE(tile_plain, R, 0, 2)
TILE(tile_last, TQ, 0, 0)
TILE(tile_only, TQ, 1, 0)

static void settle(int rows, Pending *p, float *nowhere, const Adam *a) {  // update the pending tile, if there is one
    for (int r = 0; p->at != nowhere && r < rows; r++)
        for (int c = 0; c < C; c++) adam(p->at + r * p->row + c * L, p->width, p->g[r * C + c], a);
    memset(p->g, 0, sizeof p->g);
    p->at = nowhere, p->row = 12 * L, p->width = 4 * L;
}

// O (n, cols) = or += X (n, depth) W (depth, cols). Sums of parts are closer to the truth than one long sum, and are
// what XLA computes too. `ahead`: memory that is needed next, fetched meanwhile.
INLINE void multiply(const int fetching, const char **from, I n, const float *X, I xs, const float *W, I ws, I depth,
                     I cols, float *O, I os, int fresh) {
    const char *ahead = fetching ? *from : NULL;
    for (I c = 0; c < cols; c += C * L)
        for (I b = 0; b < n; b += R) {
            V o[R][C] = {0};
            float *at = O + b * os + c;
            const float *w = W + c, *x = X + b * xs;
            for (I k = 0; k < depth; k++, w += ws, x++) {
                V d[C];
                if (fetching) __builtin_prefetch(ahead, 0, 2), ahead += 32;
                UNROLL for (int i = 0; i < C; i++) d[i] = get(w + i * L);
                UNROLL for (int r = 0; r < R; r++) {
                    float s = x[r * xs];
                    UNROLL for (int i = 0; i < C; i++) o[r][i] += s * d[i];
                }
            }
            UNROLL for (int r = 0; r < R; r++) UNROLL for (int i = 0; i < C; i++) {
                float *to = at + r * os + i * L;
                put(to, fresh ? o[r][i] : get(to) + o[r][i]);
            }
        }
    if (fetching) *from = ahead;
}
static void product(I n, const float *X, I xs, const float *W, I ws, I depth, I cols, float *O, I os, int fresh) {
    multiply(0, NULL, n, X, xs, W, ws, depth, cols, O, os, fresh);
}
static void product_ahead(const char **ahead, I n, const float *X, I xs, const float *W, I ws, I depth, I cols,
                          float *O, I os, int fresh) {
    multiply(1, ahead, n, X, xs, W, ws, depth, cols, O, os, fresh);
}

typedef struct {
    I in, out;          // as given
    I rows, cols;       // padded; the last layer's are exchanged
    I width;            // of a panel
    I stride;           // of its outputs: not a multiple of 4 KB, or rows would share cache sets
    int is_last;
    float *kernel;      // packed
    float *bias;        // w, m and v
    float *given[6];    // kernel, bias, their first moments, their second moments
} Layer;

INLINE I panels(const Layer *l) { return (l->cols + l->width - 1) / l->width; }
INLINE float *panel(const Layer *l, I p) { return l->kernel + p * l->width * 3 * l->rows; }
INLINE I panel_width(const Layer *l, I p) {
    I left = l->cols - p * l->width;
    return left < l->width ? left : l->width;
}
INLINE I bias_size(const Layer *l) { return l->is_last ? l->stride : l->cols; }

// Logits O (n, stride) of X (n, cols) through the last layer. SPAN panels at a time for all images: so many weights
// stay in the first cache (linear: 4 % of an epoch, a tenth of its evaluation). Pixels converted once to float32
// instead of each time are slower (41 to 32 us): four times as much then comes from the second cache.
INLINE void logits(const int bytes, const Layer *l, I n, const void *X, I xs, float *O) {
    V sums[BLOCK / M][M][Q];
    for (I b0 = 0; b0 < n; b0 += BLOCK)
        for (I j = 0; j < l->rows; j += Q) {
            const I images = n - b0 < BLOCK ? n - b0 : BLOCK;
            memset(sums, 0, sizeof sums);
            for (I p0 = 0; p0 < panels(l); p0 += SPAN)
                for (I b = 0; b < images; b += M) {
                    V o[M][Q];
                    UNROLL for (int r = 0; r < M; r++) UNROLL for (int i = 0; i < Q; i++) o[r][i] = sums[b / M][r][i];
                    for (I p = p0; p < panels(l) && p < p0 + SPAN; p++) {
                        const I width = panel_width(l, p), x = (b0 + b) * xs + p * l->width;
                        const float *w = panel(l, p) + j * 3 * width;
                        for (I c = 0; c < width; c += L) {
                            V d[Q];
                            UNROLL for (int i = 0; i < Q; i++) {
                                d[i] = get(w + i * 3 * width + c);
                                HOLD(d[i]);
                            }
                            UNROLL for (int r = 0; r < M; r++) {
                                V s = fetch(bytes, X, x + r * xs + c);
                                UNROLL for (int i = 0; i < Q; i++) o[r][i] += s * d[i];
                            }
                        }
                    }
                    UNROLL for (int r = 0; r < M; r++) UNROLL for (int i = 0; i < Q; i++) sums[b / M][r][i] = o[r][i];
                }
            for (I b = 0; b < images; b++)
                for (int i = 0; i < Q; i++)
                    O[(b0 + b) * l->stride + j + i] = total(sums[b / M][b % M][i]) + l->bias[j + i];
        }
}
static void logits_of(const Layer *l, I n, const float *X, I xs, float *O) { logits(0, l, n, X, xs, O); }
static void logits_of_pixels(const Layer *l, I n, const uint8_t *X, I xs, float *O) { logits(1, l, n, X, xs, O); }

// Probabilities in place of a row of logits; return its loss, and whether the label is the first of the most probable.
static float softmax(float *o, I classes, I size, I label, int *is_right) {
    float most = o[0], sum = 0, logit = o[label];
    for (I j = 1; j < classes; j++) most = o[j] > most ? o[j] : most;
    for (I j = classes; j < size; j++) o[j] = most - 100.f;  // their probability is 0
    for (I j = 0; j < size; j += L) put(o + j, exponential(get(o + j) - most));
    for (I j = 0; j < classes; j++) sum += o[j];
    for (I j = 0; j < size; j += L) put(o + j, get(o + j) / sum);
    I first = 0;
    for (I j = 1; j < classes; j++) first = o[j] > o[first] ? j : first;
    *is_right = first == label;
    return most - logit + logf(sum);
}

typedef struct {
    int layers, activation, threads;
    I batch, depth, images, tests, inputs, xs;  // depth: the batch padded; xs: stride of gathered pixels
    const uint8_t *pixels, *test_pixels;
    const int32_t *labels, *test_labels, *order;
    const volatile int32_t *stop;
    I step;
    double rate, b1, b2, eps;
    Layer layer[MAX_LAYERS];
    uint8_t *x[2];                              // pixels of this batch and the next (B, xs)
    float *h[MAX_LAYERS], *d[MAX_LAYERS];       // outputs and gradients (B, stride); the last layer's logits are its d
    float *turned[MAX_LAYERS];                  // the gradients transposed (cols, B)
    float *loss, *block_loss;                   // of each image of the batch; of each block of test images
    int *right, *block_right;
    double loss_sum, right_sum;
    int is_stopped;
    atomic_int waiting, turn;
    pthread_mutex_t gate;                       // held until it is known whether all threads could be made
    int is_open;
} Net;

typedef struct {
    Net *net;
    int number, sense;
    pthread_t thread;
    Pending pending;
    float *nowhere;          // where a pending tile that is none is updated
    float *now, *then;       // CHUNK rows of the inputs of this batch and the next as float32 (B, CHUNK + 16)
    float *eval;
    I b0, b1;                // its images of a batch
} Worker;

static void meet(Worker *w) {  // a barrier that spins: between two of them pass tens of microseconds
    Net *n = w->net;
    if (n->threads == 1) return;
    int sense = w->sense ^= 1;
    if (atomic_fetch_add(&n->waiting, 1) + 1 == n->threads) {
        atomic_store(&n->waiting, 0);
        atomic_store(&n->turn, sense);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&n->turn, memory_order_acquire) != sense; spins++) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
        if (spins > 4000) sched_yield();
    }
}
INLINE I share(I n, int number, int threads) { return n * number / threads; }
INLINE I first_of(const Worker *w, I n) { return share(n, w->number, w->net->threads); }
INLINE I end_of(const Worker *w, I n) { return share(n, w->number + 1, w->net->threads); }

// Denormals are zeros: units that died would cost a hundred times as much.
static uint64_t flush_denormals(void) {
#if defined(__SSE__)
    const uint64_t mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040);
    return mode;
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | 1 << 24));
    return mode;
#else
    return 0;
#endif
}
static void restore(uint64_t mode) {
#if defined(__SSE__)
    __builtin_ia32_ldmxcsr(mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#endif
    (void)mode;
}

static void activate(int activation, const Layer *l, I rows, float *h, I from, I to) {  // columns from..to, in place
    const V zero = {0};
    for (I b = 0; b < rows; b++)
        for (I j = from; j < to; j += L) {
            V o = get(h + b * l->stride + j) + get(l->bias + j);
            if (activation == RELU) o = choose(o <= zero, zero, o);  // what is not a number stays so
            put(h + b * l->stride + j, activation == TANH ? hyperbolic(o) : o);
        }
}
// O = activation(X W + b) for panels p0..p1; X (n, rows), O (n, cols).
static void forwards(int activation, const Layer *l, I n, const float *X, I xs, float *O, I p0, I p1) {
    for (I p = p0; p < p1; p++) {
        const I width = panel_width(l, p), c = p * l->width;
        product(n, X, xs, panel(l, p), 3 * width, l->rows, width, O + c, l->stride, 1);
        activate(activation, l, n, O, c, c + width);
    }
}
INLINE V slope(int activation, V h) {
    const V zero = {0}, one = zero + 1.f;
    return activation == LINEAR ? one : activation == RELU ? choose(h > zero, one, zero) : one - h * h;
}

static void update_bias(const Net *n, const Layer *l, const float *d, I from, I to, const Adam *a) {
    for (I c = from; c < to; c += L) {
        V g = {0};
        for (I b = 0; b < n->depth; b++) g += get(d + b * l->stride + c);
        adam(l->bias + c, bias_size(l), g, a);
    }
}

static void gather(const Net *n, I at, uint8_t *x, I from, I to) {  // copy images of the batch at `at` to their rows
    for (I b = from; b < to; b++) {
        uint8_t *o = x + b * n->xs;
        if (b >= n->batch || at + b >= n->images) memset(o, 0, n->inputs);
        else memcpy(o, n->pixels + n->order[at + b] * n->inputs, n->inputs);
    }
}
// Fetch one of `parts` of the pixels that gather(n, at, ., from, to) will copy from all over the memory.
INLINE void announce(const Net *n, I at, I from, I to, I part, I parts) {
    const I lines = (n->inputs + 63) / 64, all = (to - from) * lines;
    for (I i = all * part / parts; i < all * (part + 1) / parts; i++) {
        const I b = at + from + i / lines;
        if (b < n->images) __builtin_prefetch(n->pixels + n->order[b] * n->inputs + i % lines * 64, 0, 2);
    }
}
INLINE void convert(I rows, I cols, const uint8_t *x, I xs, float *o, I os) {
    for (I b = 0; b < rows; b++)
        for (I i = 0; i < cols; i += L) put(o + b * os + i, pixels(x + b * xs + i));
}

static void pack(const Worker *me, Layer *l, int is_back) {  // this thread's panels in, or back to where they came from
    for (I p = first_of(me, panels(l)); p < end_of(me, panels(l)); p++) {
        const I width = panel_width(l, p), c0 = p * l->width, rows = l->is_last ? l->out : l->in;
        const I cols = (l->is_last ? l->in : l->out) - c0, real = cols < width ? cols : width;
        const I row = l->is_last ? 1 : l->out, col = l->is_last ? l->out : 1;
        for (I r = 0; r < rows; r++)
            for (int s = 0; s < 3; s++) {
                float *q = panel(l, p) + (r * 3 + s) * width, *g = l->given[2 * s] + r * row + c0 * col;
                if (is_back) for (I c = 0; c < real; c++) g[c * col] = q[c];
                else for (I c = 0; c < real; c++) q[c] = g[c * col];
            }
    }
    for (int s = 0; me->number == 0 && s < 3; s++) {
        float *q = l->bias + s * bias_size(l), *g = l->given[2 * s + 1];
        memcpy(is_back ? g : q, is_back ? q : g, 4 * l->out);
    }
}

static void evaluate(Worker *me) {  // this thread's blocks of test images
    Net *n = me->net;
    const int last = n->layers - 1;
    const Layer *out = &n->layer[last], *first = n->layer;
    const I xs = DEPTH + 16, blocks = (n->tests + EVAL - 1) / EVAL;
    I widest = 0;
    for (int l = 0; l < last; l++) widest = n->layer[l].stride > widest ? n->layer[l].stride : widest;
    float *x = me->eval, *a = x + EVAL * xs, *b = a + EVAL * widest, *o = b + EVAL * widest;
    uint8_t *s = (uint8_t *)(o + EVAL * out->stride);
    for (I block = first_of(me, blocks); block < end_of(me, blocks) && !*n->stop; block++) {
        const I at = block * EVAL, count = n->tests - at < EVAL ? n->tests - at : EVAL;
        for (I r = 0; r < EVAL; r++) {
            if (r < count) memcpy(s + r * n->xs, n->test_pixels + (at + r) * n->inputs, n->inputs);
            else memset(s + r * n->xs, 0, n->inputs);
        }
        for (I k = 0; last && k < first->rows; k += DEPTH) {
            const I depth = first->rows - k < DEPTH ? first->rows - k : DEPTH;
            convert(EVAL, depth, s + k, n->xs, x, xs);
            for (I p = 0; p < panels(first); p++) {
                const I width = panel_width(first, p);
                product(EVAL, x, xs, panel(first, p) + k * 3 * width, 3 * width, depth, width, a + p * first->width,
                        first->stride, k == 0);
            }
        }
        if (last) activate(n->activation, first, EVAL, a, 0, first->cols);
        float *h = a, *to = b;
        for (int l = 1; l < last; l++) {
            forwards(n->activation, &n->layer[l], EVAL, h, n->layer[l - 1].stride, to, 0, panels(&n->layer[l]));
            float *past = h;
            h = to, to = past;
        }
        if (last) logits_of(out, EVAL, h, n->layer[last - 1].stride, o);
        else logits_of_pixels(out, EVAL, s, n->xs, o);
        double loss = 0;
        int is_right, right = 0;
        for (I r = 0; r < count; r++) {
            loss += softmax(o + r * out->stride, out->out, out->stride, n->test_labels[at + r], &is_right);
            right += is_right;
        }
        n->block_loss[block] = loss, n->block_right[block] = right;
    }
}

// Outputs of the first layer for the epoch's first batch; those of the others are computed while the weights pass by.
static void enter(Worker *me) {
    Net *n = me->net;
    Layer *y = n->layer;
    for (I p = first_of(me, panels(y)); p < end_of(me, panels(y)); p++) {
        const I width = panel_width(y, p), c = p * y->width;
        for (I r = 0; r < y->rows; r += CHUNK) {
            const I deep = y->rows - r < CHUNK ? y->rows - r : CHUNK;
            convert(n->depth, deep, n->x[0] + r, n->xs, me->then, CHUNK + 16);
            product(n->depth, me->then, CHUNK + 16, panel(y, p) + r * 3 * width, 3 * width, deep, width, n->h[0] + c,
                    y->stride, r == 0);
        }
        activate(n->activation, y, n->depth, n->h[0], c, c + width);
    }
}

// The losses of this thread's images, and the gradient of their logits.
static void compare(Worker *me, I at, I count, const uint8_t *x) {
    Net *n = me->net;
    const int last = n->layers - 1;
    const Layer *out = &n->layer[last];
    const I ds = out->stride;
    float *d = n->d[last];
    if (last) {
        const I hs = n->layer[last - 1].stride;
        logits_of(out, me->b1 - me->b0, n->h[last - 1] + me->b0 * hs, hs, d + me->b0 * ds);
    } else logits_of_pixels(out, me->b1 - me->b0, x + me->b0 * n->xs, n->xs, d + me->b0 * ds);
    for (I b = me->b0; b < me->b1; b++) {
        n->loss[b] = 0, n->right[b] = 0;
        if (b >= count) {
            memset(d + b * ds, 0, 4 * ds);
            continue;
        }
        const I label = n->labels[n->order[at + b]];
        n->loss[b] = softmax(d + b * ds, out->out, ds, label, &n->right[b]);
        d[b * ds + label] -= 1;
        for (I j = 0; j < ds; j += L) put(d + b * ds + j, get(d + b * ds + j) / (float)count);
    }
}

static void backwards_last(Worker *me, I at, const uint8_t *x, const Adam *a) {
    Net *n = me->net;
    const int last = n->layers - 1;
    Layer *out = &n->layer[last];
    const I ds = out->stride, p0 = first_of(me, panels(out)), p1 = end_of(me, panels(out));
    float *d = n->d[last];
    if (me->number == 0) update_bias(n, out, d, 0, ds, a);
    for (I p = p0; p < p1; p++) {
        const I width = panel_width(out, p), c0 = p * out->width;
        float *w = panel(out, p);
        if (!last) announce(n, at + 2 * n->batch, me->b0, me->b1, p - p0, p1 - p0);
        if (last) {
            const I ys = n->layer[last - 1].stride;
            float *h = n->h[last - 1], *e = n->d[last - 1], *turned = n->turned[last - 1];
            product(n->depth, d, ds, w, 3 * width, out->rows, width, e + c0, ys, 1);
            for (I b = 0; b < n->depth; b++)
                for (I c = c0; c < c0 + width; c += L)
                    put(e + b * ys + c, get(e + b * ys + c) * slope(n->activation, get(h + b * ys + c)));
            for (I c = c0; last > 1 && c < c0 + width; c++)
                for (I b = 0; b < n->depth; b++) turned[c * n->depth + b] = e[b * ys + c];
            for (I r = 0; r < out->rows; r += TQ)
                for (I c = 0; c < width; c += C * L)
                    tile_last(n->depth, d + r, ds, h + c0 + c, ys, w + r * 3 * width + c, width, &me->pending, a);
        } else
            for (I r = 0; r < out->rows; r += TQ)
                for (I c = 0; c < width; c += C * L)
                    tile_only(n->depth, d + r, ds, x + c0 + c, n->xs, w + r * 3 * width + c, width, &me->pending, a);
    }
    settle(TQ, &me->pending, me->nowhere, a);
}

// A layer between: gradients of the layer below from weights as they were, R rows of them, which then change.
static void backwards(Worker *me, int l, const Adam *a) {
    Net *n = me->net;
    Layer *y = &n->layer[l], *below = &n->layer[l - 1];
    const I ds = y->stride, es = below->stride, B = n->depth;
    const I r0 = first_of(me, panels(below)) * below->width;
    const I r1 = me->number + 1 == n->threads ? y->rows : end_of(me, panels(below)) * below->width;
    float *e = n->d[l - 1], *g = n->h[l - 1], *et = n->turned[l - 1];
    for (I r = r0; r < r1; r += R) {
        for (I b = 0; b < B; b += C * L) {
            V o[R][C] = {0};
            for (I p = 0; p < panels(y); p++) {
                const I width = panel_width(y, p);
                const float *w = panel(y, p) + r * 3 * width, *dt = n->turned[l] + p * y->width * B + b;
                for (I c = 0; c < width; c++, dt += B) {
                    if (!b) __builtin_prefetch(w + 3 * R * width + 16 * c, 1, 2);
                    V v[C];
                    UNROLL for (int i = 0; i < C; i++) v[i] = get(dt + i * L);
                    UNROLL for (int i = 0; i < R; i++) {
                        float s = w[i * 3 * width + c];
                        UNROLL for (int q = 0; q < C; q++) o[i][q] += s * v[q];
                    }
                }
            }
            float all[R][C * L], past[R][C * L];  // transposed by hand: the loops vectorise
            for (int q = 0; q < C * L; q++)
                for (int i = 0; i < R; i++) past[i][q] = g[(b + q) * es + r + i];
            for (int i = 0; i < R; i++)
                for (int q = 0; q < C; q++) {
                    V v = o[i][q] * slope(n->activation, get(past[i] + q * L));
                    put(all[i] + q * L, v);
                    put(et + (r + i) * B + b + q * L, v);
                }
            for (int q = 0; q < C * L; q++)
                for (int i = 0; i < R; i++) e[(b + q) * es + r + i] = all[i][q];
        }
        for (I p = 0; p < panels(y); p++) {
            const I width = panel_width(y, p), c0 = p * y->width;
            float *w = panel(y, p) + r * 3 * width;
            me->pending.ahead = (const char *)(w + 3 * R * width + 16 * width);  // what the loop above left
            for (I c = 0; c < width; c += C * L)
                tile_plain(B, g + r, es, n->d[l] + c0 + c, ds, w + c, width, &me->pending, a);
        }
    }
    settle(R, &me->pending, me->nowhere, a);
    if (me->number == 0) update_bias(n, y, n->d[l], 0, y->cols, a);
}

// The first layer: rows are updated and, still in the cache, the next batch goes through them: one pass over memory.
static void renew(Worker *me, I at, const uint8_t *x, const uint8_t *next, const Adam *a) {
    Net *n = me->net;
    Layer *y = n->layer;
    const I ds = y->stride, p0 = first_of(me, panels(y)), p1 = end_of(me, panels(y));
    const I chunk = y->cols >= 256 ? CHUNK / 2 : CHUNK;  // not of the panel's width, which depends on the threads
    for (I p = p0; p < p1; p++) {
        const I width = panel_width(y, p), c0 = p * y->width;
        float *w = panel(y, p);
        for (I r = 0; r < y->rows; r += chunk) {
            const I deep = y->rows - r < chunk ? y->rows - r : chunk;
            const int is_end = r + deep == y->rows;
            me->pending.ahead = (const char *)(is_end ? panel(y, p + 1 < p1 ? p + 1 : p) : w + (r + deep) * 3 * width);
            convert(n->depth, deep, x + r, n->xs, me->now, CHUNK + 16);
            if (p == p0) announce(n, at + 2 * n->batch, me->b0, me->b1, r / chunk, (y->rows + chunk - 1) / chunk);
            for (I k = 0; k < deep; k += R)
                for (I c = 0; c < width; c += C * L)
                    tile_plain(n->depth, me->now + k, CHUNK + 16, n->d[0] + c0 + c, ds, w + (r + k) * 3 * width + c,
                               width, &me->pending, a);
            if (is_end) settle(R, &me->pending, me->nowhere, a);
            if (!next) continue;
            const I from = r ? r - R : 0, to = r + deep - (is_end ? 0 : R);  // the last tile is pending
            convert(n->depth, (to - from + L - 1) / L * L, next + from, n->xs, me->then, CHUNK + 16);
            product_ahead(&me->pending.ahead, n->depth, me->then, CHUNK + 16, w + from * 3 * width, 3 * width,
                          to - from, width, n->h[0] + c0, ds, from == 0);
        }
        update_bias(n, y, n->d[0], c0, c0 + width, a);
        if (next) activate(n->activation, y, n->depth, n->h[0], c0, c0 + width);
    }
}

static Adam adam_at(const Net *n, I t) {  // in float32, as Keras works out the corrections
    const V zero = {0};
    const float power = n->step + t + 1, b1 = n->b1, b2 = n->b2;
    const float alpha = (float)n->rate * sqrtf(1 - powf(b2, power)) / (1 - powf(b1, power));
    return (Adam){zero + alpha, zero + (float)(1 - n->b1), zero + (float)(1 - n->b2), zero + (float)n->eps};
}

static void train(Worker *me) {
    Net *n = me->net;
    const int last = n->layers - 1;
    gather(n, 0, n->x[0], me->b0, me->b1);
    meet(me);
    if (last) enter(me);
    meet(me);
    const I steps = (n->images + n->batch - 1) / n->batch;
    for (I t = 0; t < steps; t++) {
        const I at = t * n->batch, count = n->images - at < n->batch ? n->images - at : n->batch;
        const Adam a = adam_at(n, t);
        uint8_t *x = n->x[t & 1], *next = t + 1 < steps ? n->x[(t + 1) & 1] : NULL;
        for (int l = 1; l < last; l++) {
            Layer *y = &n->layer[l];
            forwards(n->activation, y, n->depth, n->h[l - 1], y[-1].stride, n->h[l], first_of(me, panels(y)),
                     end_of(me, panels(y)));
            meet(me);
        }
        compare(me, at, count, x);
        if (next) gather(n, at + n->batch, next, me->b0, me->b1);
        if (me->number == 0 && *n->stop) n->is_stopped = 1;
        meet(me);
        if (n->is_stopped) return;
        for (I b = 0; me->number == 0 && b < count; b++) n->loss_sum += n->loss[b], n->right_sum += n->right[b];
        backwards_last(me, at, x, &a);
        if (last != 1) meet(me);  // with one hidden layer each thread goes on with its own columns
        for (int l = last - 1; l > 0; l--) {
            backwards(me, l, &a);
            if (l > 1) meet(me);
        }
        if (last) renew(me, at, x, next, &a), meet(me);
    }
}

static void *work(void *argument) {
    Worker *me = argument;
    Net *n = me->net;
    pthread_mutex_lock(&n->gate);
    const int is_open = n->is_open;
    pthread_mutex_unlock(&n->gate);
    if (!is_open) return NULL;
    const uint64_t mode = flush_denormals();
    me->pending.at = NULL;
    settle(0, &me->pending, me->nowhere, NULL);
    me->pending.ahead = (const char *)me->nowhere;
    for (int l = 0; l < n->layers; l++) pack(me, &n->layer[l], 0);
    train(me);
    meet(me);
    if (!n->is_stopped) evaluate(me);
    meet(me);
    if (me->number == 0 && *n->stop) n->is_stopped = 1;
    meet(me);
    for (int l = 0; !n->is_stopped && l < n->layers; l++) pack(me, &n->layer[l], 1);
    restore(mode);
    return NULL;
}

static float *take(char *base, size_t *at, size_t floats) {
    const size_t used = 4 * floats, taken = (used + 127) & ~(size_t)63;  // a line between
    float *p = base ? (float *)(base + *at) : NULL;
    if (base) { ASAN_POISON_MEMORY_REGION((char *)p + used, taken - used); }
    *at += taken;
    return p;
}

// Hand out memory from `base` on; return how much it is. With NULL only that.
static size_t lay_out(Net *n, Worker *workers, const int64_t *sizes, float **parameters, char *base) {
    const int T = n->threads;
    size_t at = 0;
    I below = (sizes[0] + PAD - 1) / PAD * PAD, widest = 0;
    n->xs = below + 64;
    for (int l = 0; l < n->layers; l++) {
        Layer *y = &n->layer[l];
        y->in = sizes[l], y->out = sizes[l + 1], y->is_last = l == n->layers - 1;
        y->rows = y->is_last ? (y->out + 9) / 10 * 10 : below;
        y->cols = y->is_last ? below : (y->out + PAD - 1) / PAD * PAD;
        y->stride = y->is_last ? (y->rows + 15) / 16 * 16 : y->cols + 16;
        const I each = ((y->cols + T - 1) / T + PAD - 1) / PAD * PAD;
        y->width = each < WIDTH ? each : WIDTH;
        if (y->is_last && l) y->width = n->layer[l - 1].width;  // the same columns for the same thread
        y->kernel = take(base, &at, 3 * y->rows * y->cols);
        y->bias = take(base, &at, 3 * bias_size(y));
        for (int s = 0; s < 6; s++) y->given[s] = parameters[6 * l + s];
        n->h[l] = take(base, &at, n->depth * y->stride);
        n->d[l] = take(base, &at, n->depth * y->stride);
        n->turned[l] = take(base, &at, n->depth * y->stride);
        below = y->cols;
        if (!y->is_last && y->stride > widest) widest = y->stride;
    }
    for (int i = 0; i < 2; i++) n->x[i] = (uint8_t *)take(base, &at, n->depth * n->xs / 4);
    n->loss = take(base, &at, n->depth);
    n->right = (int *)take(base, &at, n->depth);
    n->block_loss = take(base, &at, n->tests / EVAL + 1);
    n->block_right = (int *)take(base, &at, n->tests / EVAL + 1);
    for (int i = 0; i < T; i++) {
        Worker *w = &workers[i];
        w->net = n, w->number = i, w->sense = 0;
        w->b0 = share(n->depth / 4, i, T) * 4, w->b1 = share(n->depth / 4, i + 1, T) * 4;
        w->nowhere = take(base, &at, 12 * 16 * L);
        w->now = take(base, &at, n->depth * (CHUNK + 16));
        w->then = take(base, &at, n->depth * (CHUNK + 16));
        w->eval = take(base, &at, EVAL * (DEPTH + 16 + 2 * widest + n->layer[n->layers - 1].stride + n->xs / 4));
    }
    return at;
}

// Train one epoch in place and evaluate it. `sizes`: inputs and the units of each layer; `parameters`: for each layer
// kernel (in, out), bias, first moments of both, second moments of both; `step`: updates that were made before;
// `order`: indices of `images` images; `stop`: anything but 0 ends it early. `found`: mean loss, accuracy, mean test loss, right
// test images. Return DONE; whatever else is returned, the parameters are as they were.
int svhn_epoch(int layers, const int64_t *sizes, int activation, int64_t batch, int64_t images, const uint8_t *pixels,
               const int32_t *labels, const int32_t *order, int64_t tests, const uint8_t *test_pixels,
               const int32_t *test_labels, float **parameters, int64_t step, double rate, double b1, double b2,
               double eps, int threads, const int32_t *stop, double *found) {
    if (layers < 1 || layers > MAX_LAYERS || sizes[layers] < 2 || sizes[layers] > MAX_CLASSES || threads < 1 ||
        threads > MAX_THREADS || batch < 1 || images < 1 || tests < 0 || !(eps > 0)) return NOT_TRAINABLE;
    for (int l = 0; l <= layers; l++)
        if (sizes[l] < 1) return NOT_TRAINABLE;
    batch = batch < images ? batch : images;
    Net n = {.layers = layers, .activation = activation, .threads = threads, .batch = batch, .images = images,
             .tests = tests, .inputs = sizes[0], .pixels = pixels, .test_pixels = test_pixels, .labels = labels,
             .test_labels = test_labels, .order = order, .stop = stop, .step = step, .rate = rate, .b1 = b1, .b2 = b2,
             .eps = eps, .depth = (batch + PAD - 1) / PAD * PAD, .gate = PTHREAD_MUTEX_INITIALIZER, .is_open = 1};
    const size_t page = 2u << 20;  // huge: the packed weights take more small ones than the processor's table holds
    Worker *workers = aligned_alloc(128, (sizeof(Worker) * threads + 127) & ~(size_t)127);
    char *base = NULL;
    if (workers) {
        const size_t used = (lay_out(&n, workers, sizes, parameters, NULL) + page - 1) & ~(page - 1);
        if ((base = aligned_alloc(page, used))) {
#ifdef MADV_HUGEPAGE
            madvise(base, used, MADV_HUGEPAGE);
#endif
            memset(base, 0, used);
            lay_out(&n, workers, sizes, parameters, base);
        }
    }
    if (!base) {
        free(workers);
        return NO_MEMORY;
    }
    pthread_mutex_lock(&n.gate);
    int made = 1;
    while (made < threads && !pthread_create(&workers[made].thread, NULL, work, &workers[made])) made++;
    n.is_open = made == threads;
    pthread_mutex_unlock(&n.gate);
    work(&workers[0]);
    for (int i = 1; i < made; i++) pthread_join(workers[i].thread, NULL);
    double loss = 0, right = 0;
    for (I b = 0; b < (tests + EVAL - 1) / EVAL; b++) loss += n.block_loss[b], right += n.block_right[b];
    found[0] = n.loss_sum / images, found[1] = n.right_sum / images;
    found[2] = tests ? loss / tests : 0, found[3] = right;
    free(base);
    free(workers);
    return !n.is_open ? NO_THREAD : n.is_stopped ? STOPPED : DONE;
}

const char *svhn_instructions(void) { return NAME; }

// Multiply and add in registers alone for so many rounds; return how many were done: what one core can do at most.
double svhn_multiply_adds(int64_t rounds) {
    V sums[R][C], by = (V){0} + 0.999999f;
    for (int r = 0; r < R; r++) for (int c = 0; c < C; c++) sums[r][c] = by * (float)(r + c);
    for (I i = 0; i < rounds; i++) {
        UNROLL for (int r = 0; r < R; r++) UNROLL for (int c = 0; c < C; c++) sums[r][c] = sums[r][c] * by + by;
        HOLD(by);
    }
    for (int r = 0; r < R; r++) for (int c = 0; c < C; c++) by += sums[r][c];
    return total(by) < -1 ? 0 : (double)rounds * R * C * L;
}
