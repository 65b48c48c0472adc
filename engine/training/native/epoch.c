// One epoch of a dense network (linear, ReLU or tanh) with softmax cross-entropy and Adam, and its evaluation, on NumPy
// arrays in Keras's layout. Stateless: nothing outlives a call, so two threads may train two networks.
//
// Bits: every element is summed in one fixed order whatever thread does it, so the number of threads changes none.
// An epoch works on packed copies, laid out as kernels.h says; copying in and out takes 0.8 % of its time. Letters and
// figures are explained there too.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "kernels.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(from, size)
#endif

enum {
    CHUNK = 192,      // rows that are updated before the next batch goes through them; half of them from 256 columns on
    EVAL = 64,        // test images at a time
    DEPTH = 256,      // of their pixels at a time
    MAX_LAYERS = 16,
    MAX_THREADS = 64,
    MAX_CLASSES = 1000,
};
_Static_assert((int)DEPTH <= STRIDE && CHUNK + L <= STRIDE, "what is converted at a time fits its buffer");
enum { DONE, NO_MEMORY, NOT_TRAINABLE, NO_THREAD, STOPPED };  // as library.py knows them

typedef struct {
    int layers, activation, threads;
    I batch, depth, images, tests, inputs;
    I xs, os;                                   // strides of gathered pixels and of logits, which are transposed
    const uint8_t *pixels, *test_pixels;
    const int32_t *labels, *test_labels, *order;
    const volatile int32_t *stop;
    I step;
    const float *rates;                         // one a batch
    double b1, b2, eps;
    Layer layer[MAX_LAYERS];
    int is_copied;                              // whether images are read from copies; else where they are
    const uint8_t **x[2];                       // images of this batch and the next (B)
    uint8_t *copies[2];                         // of them (B, xs), or nothing
    const uint8_t *blank;                       // an image of zeros
    float *h[MAX_LAYERS], *d[MAX_LAYERS];       // outputs and gradients (B, stride)
    float *turned[MAX_LAYERS];                  // the gradients transposed (cols, B)
    float *loss, *block_loss;                   // of each image of the batch; of each block of test images
    int *right, *block_right;
    double loss_sum, right_sum;
    atomic_int is_asked_to_stop;                // by `stop`, once; what is computed from then on is thrown away
    int is_stopped;                             // decided between two barriers, so that all threads leave together
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
    float *now, *then;       // rows of the inputs of this batch; of the next or of test images, as float32 (.., STRIDE)
    float *outputs[2];       // of test images (EVAL, widest layer)
    float *logits;           // of its images of a batch, or of test images (rows, os)
    uint8_t *copies;         // of test images (EVAL, xs), or nothing
    const uint8_t **x;       // test images (EVAL)
    const uint8_t **ahead;   // images that will be needed soon (B, or EVAL)
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

// Whether the epoch is to end early: asked in every loop that could last more than some milliseconds.
INLINE int is_stopping(Net *n) {
    if (*n->stop) atomic_store_explicit(&n->is_asked_to_stop, 1, memory_order_relaxed);
    return atomic_load_explicit(&n->is_asked_to_stop, memory_order_relaxed);
}
static int all_leave(Worker *me) {  // the same for all threads
    if (me->number == 0) me->net->is_stopped = is_stopping(me->net);
    meet(me);
    return me->net->is_stopped;
}

// O (n, cols) = activation(X W + b) for panels p0..p1; X (n, rows), of bytes `depth` columns at a time.
static void forwards(Net *n, const Layer *l, I images, Rows X, I depth, float *buffer, float *O, I p0, I p1) {
    for (I k = 0; k < l->rows && !is_stopping(n); k += depth) {
        const I deep = smaller(l->rows - k, depth), after = (k + deep) % l->rows;
        const Rows x = X.floats ? X : inputs(p1 - p0, images, X.bytes, k, deep, buffer);
        for (I p = p0; p < p1 && !is_stopping(n); p++)
            product_before(p + 1 < p1 ? panel(l, p + 1) + k * ROW : panel(l, p0) + after * ROW, images, x,
                           panel(l, p) + k * ROW, deep, O + p * PANEL, l->stride, k == 0);
    }
    activate(n->activation, l, images, O, p0 * PANEL, p1 * PANEL);
}

static void update_bias(const Net *n, const Layer *l, const float *d, I from, I to, const Adam *a) {
    for (I c = from; c < to; c += L) {
        V g = {0};
        for (I b = 0; b < n->depth; b++) g += get(d + b * l->stride + c);
        adam(bias(l, c), g, a);
    }
}

static const uint8_t *image(const Net *n, I at, I b) {  // number `b` of the batch at `at`
    return b < n->batch && at + b < n->images ? n->pixels + n->order[at + b] * n->inputs : n->blank;
}
static const uint8_t *test_image(const Net *n, I at) {
    return at < n->tests ? n->test_pixels + at * n->inputs : n->blank;
}
static void gather(Net *n, I at, int to, I b0, I b1) {  // images b0..b1 of the batch at `at`
    for (I b = b0; b < b1 && !is_stopping(n); b++) {
        n->x[to][b] = image(n, at, b);
        for (I i = 0; n->layers > 1 && i < AHEAD; i += LINE) __builtin_prefetch(n->x[to][b] + i, 0, 2);
        if (n->is_copied) n->x[to][b] = memcpy(n->copies[to] + b * n->xs, n->x[to][b], n->inputs);
    }
}
static void pack(const Worker *me, Layer *l, int is_back) {  // this thread's panels in, or back to where they came from
    const I rows = l->is_last ? l->out : l->in, cols = l->is_last ? l->in : l->out;
    const I row = l->is_last ? 1 : l->out, col = l->is_last ? l->out : 1;
    for (I r = 0; r < rows && (is_back || !is_stopping(me->net)); r++)
        for (int s = 0; s < 3; s++)
            for (I p = first_of(me, panels(l)); p < end_of(me, panels(l)); p++) {
                const I c0 = p * PANEL, real = smaller(cols - c0, PANEL);
                float *q = panel(l, p) + r * ROW + s * PANEL, *g = l->given[2 * s] + r * row + c0 * col;
                if (is_back) for (I c = 0; c < real; c++) g[c * col] = q[c];
                else for (I c = 0; c < real; c++) q[c] = g[c * col];
            }
    for (int s = 0; me->number == 0 && s < 3; s++)
        for (I c = 0; c < l->out; c++) {
            float *q = bias(l, c) + s * PANEL, *g = l->given[2 * s + 1] + c;
            *(is_back ? g : q) = *(is_back ? q : g);
        }
}

// Logits (classes, os) of images b0..b1, from outputs `h` of the layer before or, where there is none, from pixels.
static void logits_of(const Worker *me, I b0, I b1, const float *h, const uint8_t *const *x, float *O) {
    const Net *n = me->net;
    const Layer *out = &n->layer[n->layers - 1];
    if (n->layers > 1) logits(0, out, b1 - b0, h + b0 * out[-1].stride, out[-1].stride, NULL, O, n->os);
    else logits(1, out, b1 - b0, x + b0, 0, me->ahead, O, n->os);
}

// The losses of this thread's images, and the gradient of their logits.
static void compare(Worker *me, I at, I count, const uint8_t *const *x) {
    Net *n = me->net;
    const int last = n->layers - 1;
    const Layer *out = &n->layer[last];
    const I ds = out->stride, b0 = me->b0, os = n->os;
    float *d = n->d[last];
    const V zero = {0}, one = zero + 1.f;
    for (I b = b0; !last && b < me->b1; b++)  // copies are made a batch before they are needed
        me->ahead[b - b0] = image(n, at + (n->is_copied ? 2 : 1) * n->batch, b);
    logits_of(me, b0, me->b1, last ? n->h[last - 1] : NULL, x, me->logits);
    for (I b = b0; b < me->b1; b += L) {
        const I here = smaller(me->b1 - b, L), real = smaller(count - b, here);
        float *o = me->logits + b - b0, loss[L];
        int32_t label[L] = {0}, right[L];
        for (I i = 0; i < real; i++) label[i] = n->labels[n->order[at + b + i]];
        softmax(out->out, o, os, label, loss, right);
        N labels;
        memcpy(&labels, label, sizeof labels);
        for (I j = 0; j < out->out; j++)
            put(o + j * os, (get(o + j * os) - choose(labels == (int32_t)j, one, zero)) / (float)count);
        for (I i = 0; i < here; i++) {
            n->loss[b + i] = i < real ? loss[i] : 0, n->right[b + i] = i < real ? right[i] : 0;
            for (I j = 0; j < out->out; j++) d[(b + i) * ds + j] = i < real ? o[j * os + i] : 0;
        }
    }
}

static void backwards_last(Worker *me, const uint8_t *const *x, const Adam *a) {
    Net *n = me->net;
    const int last = n->layers - 1;
    Layer *out = &n->layer[last];
    const I ds = out->stride, ys = last ? out[-1].stride : 0;
    const I p0 = first_of(me, panels(out)), p1 = end_of(me, panels(out));
    float *d = n->d[last];
    if (me->number == 0) update_bias(n, out, d, 0, ds, a);
    for (I p = p0; p < p1 && !is_stopping(n); p++) {
        const I c0 = p * PANEL;
        float *w = panel(out, p);
        if (last) {
            float *h = n->h[last - 1], *e = n->d[last - 1], *turned = n->turned[last - 1];
            product_before(w, n->depth, (Rows){.floats = d, .stride = ds}, w, out->rows, e + c0, ys, 1);
            for (I b = 0; b < n->depth; b++)
                for (I c = c0; c < c0 + PANEL; c += L)
                    put(e + b * ys + c, get(e + b * ys + c) * slope(n->activation, get(h + b * ys + c)));
            for (I c = c0; last > 1 && c < c0 + PANEL; c++)
                for (I b = 0; b < n->depth; b++) turned[c * n->depth + b] = e[b * ys + c];
        }
        for (I r = 0; r < out->rows; r += TQ)
            for (I c = 0; c < PANEL; c += C * L)
                if (last) tile_last(n->depth, d + r, ds, n->h[last - 1], ys, c0 + c, w + r * ROW + c, &me->pending, a);
                else tile_only(n->depth, d + r, ds, x, 0, c0 + c, w + r * ROW + c, &me->pending, a);
    }
    settle(TQ, &me->pending, me->nowhere, a);
}

// A layer between: gradients of the layer below from weights as they were, R rows of them, which then change.
static void backwards(Worker *me, int l, const Adam *a) {
    Net *n = me->net;
    Layer *y = &n->layer[l], *below = &n->layer[l - 1];
    const I ds = y->stride, es = below->stride, B = n->depth;
    float *e = n->d[l - 1], *g = n->h[l - 1], *et = n->turned[l - 1];
    for (I r = first_of(me, panels(below)) * PANEL; r < end_of(me, panels(below)) * PANEL && !is_stopping(n); r += R) {
        for (I b = 0; b < B; b += C * L) {
            V o[R][C] = {0};
            for (I p = 0; p < panels(y); p++) {
                const float *w = panel(y, p) + r * ROW, *dt = n->turned[l] + p * PANEL * B + b;
                for (I c = 0; c < PANEL; c++, dt += B) {
                    if (!b) __builtin_prefetch(w + R * ROW + 16 * c, 1, 2);
                    V v[C];
                    UNROLL for (int i = 0; i < C; i++) v[i] = get(dt + i * L);
                    UNROLL for (int i = 0; i < R; i++) {
                        float s = w[i * ROW + c];
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
            float *w = panel(y, p) + r * ROW;
            me->pending.ahead = (const char *)(w + R * ROW + 16 * PANEL);  // what the loop above left
            for (I c = 0; c < PANEL; c += C * L)
                tile_plain(B, g + r, es, n->d[l], ds, p * PANEL + c, w + c, &me->pending, a);
        }
    }
    settle(R, &me->pending, me->nowhere, a);
    if (me->number == 0) update_bias(n, y, n->d[l], 0, y->cols, a);
}

// The first layer: rows are updated and, still in the cache, the next batch goes through them: one pass over memory.
static void renew(Worker *me, const uint8_t *const *x, const uint8_t *const *next, const Adam *a) {
    Net *n = me->net;
    Layer *y = n->layer;
    Pending *pending = &me->pending;
    const I ds = y->stride, p0 = first_of(me, panels(y)), p1 = end_of(me, panels(y));
    const I chunk = y->cols >= 256 ? CHUNK / 2 : CHUNK;
    for (I r = 0; r < y->rows && !is_stopping(n); r += chunk) {
        const I deep = smaller(y->rows - r, chunk);
        const int is_end = r + deep == y->rows;
        const I from = r ? r - R : 0, to = r + deep - (is_end ? 0 : R);  // the last tile is pending
        convert(n->depth, deep, x, r, me->now);
        const Rows then = next ? inputs(p1 - p0, n->depth, next, from, to - from, me->then) : (Rows){0};
        for (I p = p0; p < p1 && !is_stopping(n); p++) {
            float *w = panel(y, p) + r * ROW;
            pending->ahead = (const char *)(p + 1 < p1 ? w + y->apart : panel(y, p0) + (r + deep) * ROW);
            for (I k = 0; k < deep; k += R)
                for (I c = 0; c < PANEL; c += C * L)
                    tile_plain(n->depth, me->now + k, STRIDE, n->d[0], ds, p * PANEL + c, w + k * ROW + c, pending, a);
            if (is_end) settle(R, pending, me->nowhere, a);
            if (next)
                product(&pending->ahead, 32, n->depth, then, panel(y, p) + from * ROW, to - from,
                        n->h[0] + p * PANEL, ds, from == 0);
        }
    }
    update_bias(n, y, n->d[0], p0 * PANEL, p1 * PANEL, a);
    if (next) activate(n->activation, y, n->depth, n->h[0], p0 * PANEL, p1 * PANEL);
}

static Adam adam_at(const Net *n, I t) {  // in float32, as Keras works out the corrections
    const V zero = {0};
    const float power = n->step + t + 1, b1 = n->b1, b2 = n->b2;
    const float alpha = n->rates[t] * sqrtf(1 - powf(b2, power)) / (1 - powf(b1, power));
    return (Adam){zero + alpha, zero + (float)(1 - n->b1), zero + (float)(1 - n->b2), zero + (float)n->eps};
}

static void train(Worker *me) {
    Net *n = me->net;
    const int last = n->layers - 1;
    gather(n, 0, 0, me->b0, me->b1);
    meet(me);
    if (last)  // those of the other batches are computed while the weights pass by
        forwards(n, n->layer, n->depth, (Rows){.bytes = n->x[0]}, CHUNK, me->then, n->h[0],
                 first_of(me, panels(n->layer)), end_of(me, panels(n->layer)));
    meet(me);
    const I steps = (n->images + n->batch - 1) / n->batch;
    for (I t = 0; t < steps; t++) {
        const I at = t * n->batch, count = smaller(n->images - at, n->batch);
        const Adam a = adam_at(n, t);
        const uint8_t *const *x = n->x[t & 1], *const *next = t + 1 < steps ? n->x[(t + 1) & 1] : NULL;
        for (int l = 1; l < last; l++) {
            Layer *y = &n->layer[l];
            const I p0 = first_of(me, panels(y)), p1 = end_of(me, panels(y));
            const Rows below = {.floats = n->h[l - 1], .stride = y[-1].stride};
            forwards(n, y, n->depth, below, y->rows, NULL, n->h[l], p0, p1);
            meet(me);
        }
        compare(me, at, count, x);
        if (next) gather(n, at + n->batch, (t + 1) & 1, me->b0, me->b1);
        if (all_leave(me)) return;
        for (I b = 0; me->number == 0 && b < count; b++) n->loss_sum += n->loss[b], n->right_sum += n->right[b];
        backwards_last(me, x, &a);
        if (last != 1) meet(me);  // with one hidden layer each thread goes on with its own columns
        for (int l = last - 1; l > 0; l--) {
            backwards(me, l, &a);
            if (l > 1) meet(me);
        }
        if (last) renew(me, x, next, &a), meet(me);
    }
}

static void evaluate(Worker *me) {  // this thread's blocks of test images
    Net *n = me->net;
    const int last = n->layers - 1;
    const Layer *out = &n->layer[last];
    const I blocks = (n->tests + EVAL - 1) / EVAL;
    float *h = me->outputs[0], *to = me->outputs[1], *o = me->logits;
    const uint8_t **x = me->x;
    for (I block = first_of(me, blocks); block < end_of(me, blocks) && !is_stopping(n); block++) {
        const I at = block * EVAL, count = smaller(n->tests - at, EVAL);
        for (I r = 0; r < EVAL; r++) {
            x[r] = test_image(n, at + r), me->ahead[r] = test_image(n, at + EVAL + r);
            if (n->is_copied) x[r] = memcpy(me->copies + r * n->xs, x[r], n->inputs);
        }
        if (last) forwards(n, n->layer, EVAL, (Rows){.bytes = x}, DEPTH, me->then, h, 0, panels(n->layer));
        for (int l = 1; l < last; l++) {
            const Layer *y = &n->layer[l];
            forwards(n, y, EVAL, (Rows){.floats = h, .stride = y[-1].stride}, y->rows, NULL, to, 0, panels(y));
            float *past = h;
            h = to, to = past;
        }
        logits_of(me, 0, EVAL, h, x, o);
        double sum = 0;
        int all = 0;
        for (I r = 0; r < count; r += L) {
            float loss[L];
            int32_t label[L] = {0}, right[L];
            for (I i = 0; i < smaller(count - r, L); i++) label[i] = n->test_labels[at + r + i];
            softmax(out->out, o + r, n->os, label, loss, right);
            for (I i = 0; i < smaller(count - r, L); i++) sum += loss[i], all += right[i];
        }
        n->block_loss[block] = sum, n->block_right[block] = all;
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
    for (int l = 0; l < n->layers; l++) pack(me, &n->layer[l], 0);
    if (n->images) train(me);
    meet(me);
    if (!n->is_stopped) evaluate(me);
    meet(me);
    const int is_stopped = all_leave(me);
    for (int l = 0; !is_stopped && l < n->layers; l++) pack(me, &n->layer[l], 1);
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
    size_t at = 0;
    I below = padded(sizes[0], PANEL), widest = 0;
    n->xs = below + 64, n->os = (n->depth > EVAL ? n->depth : EVAL) + L;
    for (int l = 0; l < n->layers; l++) {
        Layer *y = &n->layer[l];
        y->in = sizes[l], y->out = sizes[l + 1], y->is_last = l == n->layers - 1;
        y->rows = y->is_last ? padded(y->out, 10) : below;
        y->cols = y->is_last ? below : padded(y->out, PANEL);
        y->stride = y->is_last ? padded(y->rows, 16) : y->cols + 16;
        y->apart = (y->rows + (y->is_last ? 0 : R)) * ROW;  // some rows between, or panels would share cache sets
        y->kernel = take(base, &at, panels(y) * y->apart);
        y->bias = take(base, &at, 3 * padded(y->is_last ? y->stride : y->cols, PANEL));
        for (int s = 0; s < 6; s++) y->given[s] = parameters[6 * l + s];
        n->h[l] = take(base, &at, n->depth * y->stride);
        n->d[l] = take(base, &at, n->depth * y->stride);
        n->turned[l] = take(base, &at, n->depth * y->stride);
        below = y->cols;
        if (!y->is_last && y->stride > widest) widest = y->stride;
    }
    n->is_copied = n->inputs % PANEL != 0;  // or vectors would cross the end of an image
    n->blank = (uint8_t *)take(base, &at, n->xs / 4);
    for (int i = 0; i < 2; i++) {
        n->x[i] = (const uint8_t **)take(base, &at, n->depth * 2);
        n->copies[i] = (uint8_t *)take(base, &at, n->is_copied ? n->depth * n->xs / 4 : 0);
    }
    n->loss = take(base, &at, n->depth);
    n->right = (int *)take(base, &at, n->depth);
    n->block_loss = take(base, &at, n->tests / EVAL + 1);
    n->block_right = (int *)take(base, &at, n->tests / EVAL + 1);
    for (int i = 0; i < n->threads; i++) {
        Worker *w = &workers[i];
        const I images = n->depth > EVAL ? n->depth : EVAL;
        w->net = n, w->number = i;
        w->b0 = share(n->depth / 4, i, n->threads) * 4, w->b1 = share(n->depth / 4, i + 1, n->threads) * 4;
        w->nowhere = take(base, &at, TQ * ROW);
        w->now = take(base, &at, n->depth * STRIDE);
        w->then = take(base, &at, images * STRIDE);
        for (int o = 0; o < 2; o++) w->outputs[o] = take(base, &at, EVAL * widest);
        w->logits = take(base, &at, n->layer[n->layers - 1].rows * n->os);
        w->copies = (uint8_t *)take(base, &at, n->is_copied ? EVAL * n->xs / 4 : 0);
        w->x = (const uint8_t **)take(base, &at, EVAL * 2);
        w->ahead = (const uint8_t **)take(base, &at, images * 2);
        w->pending.at = w->nowhere, w->pending.ahead = (const char *)w->nowhere;
    }
    return at;
}

// Train one epoch in place and evaluate it. `sizes`: inputs and the units of each layer; `parameters`: for each layer
// kernel (in, out), bias, first moments of both, second moments of both; `step`: updates that were made before;
// `order`: indices of `images` images, without any it evaluates alone; `rates`: the learning rate of each batch; `stop`:
// anything but 0 ends it early. `found`: mean loss, accuracy, mean test loss, right test images. Return DONE; whatever
// else is returned, the parameters are as they were.
int svhn_epoch(int layers, const int64_t *sizes, int activation, int64_t batch, int64_t images, const uint8_t *pixels,
               const int32_t *labels, const int32_t *order, int64_t tests, const uint8_t *test_pixels,
               const int32_t *test_labels, float **parameters, int64_t step, const float *rates, double b1,
               double b2, double eps, int threads, const int32_t *stop, double *found) {
    if (layers < 1 || layers > MAX_LAYERS || sizes[layers] < 2 || sizes[layers] > MAX_CLASSES || threads < 1 ||
        threads > MAX_THREADS || batch < 1 || images < 0 || tests < 0 || !(eps > 0)) return NOT_TRAINABLE;
    for (int l = 0; l <= layers; l++)
        if (sizes[l] < 1) return NOT_TRAINABLE;
    batch = smaller(batch, images ? images : 1);
    Net n = {.layers = layers, .activation = activation, .threads = threads, .batch = batch, .images = images,
             .tests = tests, .inputs = sizes[0], .pixels = pixels, .test_pixels = test_pixels, .labels = labels,
             .test_labels = test_labels, .order = order, .stop = stop, .step = step, .rates = rates, .b1 = b1,
             .b2 = b2, .eps = eps, .depth = padded(batch, PANEL), .gate = PTHREAD_MUTEX_INITIALIZER, .is_open = 1};
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
            memset(workers, 0, sizeof(Worker) * threads);
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
    found[0] = images ? n.loss_sum / images : 0, found[1] = images ? n.right_sum / images : 0;
    found[2] = tests ? loss / tests : 0, found[3] = right;
    free(base);
    free(workers);
    return !n.is_open ? NO_THREAD : n.is_stopped ? STOPPED : DONE;
}

const char *svhn_instructions(void) { return NAME; }

