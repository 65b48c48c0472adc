// Vectors of float32 as GCC and Clang extend C, and functions of them, so that one source serves AVX-512, AVX2, SSE
// and ARM64. `R` and `C`: as many sums at once as hide the latency of a multiply-add and leave registers for operands.
#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

// L lanes of a vector; a tile is R rows of C vectors of sums; TQ rows in the last layer's update; M images x Q units in
// its logits. There are 32 registers with AVX-512 and NEON, 16 with AVX and SSE.
#if defined(__AVX512F__)
enum { L = 16, R = 8, TQ = 10, M = 4 };
#define NAME "avx512"
#define LANES(k) LANES16(k)
#elif defined(__AVX__)
enum { L = 8, R = 4, TQ = 5, M = 2 };
#define LANES(k) LANES8(k)
#ifdef __FMA__
#define NAME "avx2"
#else
#define NAME "avx"
#endif
#elif defined(__aarch64__)
enum { L = 4, R = 8, TQ = 10, M = 4 };
#define NAME "neon"
#define LANES(k) LANES4(k)
#else
enum { L = 4, R = 4, TQ = 5, M = 2 };
#define NAME "128 bits"
#define LANES(k) LANES4(k)
#endif
enum { C = 2, Q = 5 };
#define LANES4(k) k, L + k, k + 1, L + k + 1  // of two vectors in turn, from lane k on
#define LANES8(k) LANES4(k), LANES4(k + 2)
#define LANES16(k) LANES8(k), LANES8(k + 4)

#define INLINE static inline __attribute__((always_inline))
#ifdef __clang__  // ignores GCC's: sums would be in memory (64 units: 267 instead of 137 us)
#define UNROLL _Pragma("clang loop unroll(full)")
#define TWICE _Pragma("clang loop unroll_count(2)")
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define UNROLL _Pragma("GCC unroll 16")
#define TWICE _Pragma("GCC unroll 2")
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (N){__VA_ARGS__})
#endif
#if defined(__x86_64__)
// Keep in a register what the compiler would load again for each use: GCC 12 with AVX2 on AMD's processors (64 units:
// 396 to 291 us), and in the logits (linear: 26 to 24 us).
#define HOLD(v) __asm__("" : "+v"(v))
#else
#define HOLD(v)
#endif

typedef int64_t I;
typedef float V __attribute__((vector_size(4 * L)));
typedef float U __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef int32_t N __attribute__((vector_size(4 * L)));
typedef uint8_t P __attribute__((vector_size(L), aligned(1), may_alias));

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
INLINE V fetch(const int bytes, const void *X, I xs, I row, I col) {  // rows of bytes lie anywhere: a table of them
    return bytes ? pixels(((const uint8_t *const *)X)[row] + col) : get((const float *)X + row * xs + col);
}
INLINE V root(V a) {
    float t[L];
    put(t, a);
    for (int i = 0; i < L; i++) t[i] = sqrtf(t[i]);  // one instruction
    return get(t);
}
// The sums of L vectors' lanes, each in the lane of its number: halves are added to halves in every vector, of two of
// them at once, whose lanes then lie in turn (linear: 3 % of an epoch). `t` is used up.
INLINE V totals(V *t) {
    UNROLL for (int h = L / 2; h > 0; h /= 2) UNROLL for (int i = 0; i < h; i++)
        t[i] = SHUFFLE(t[i], t[i + h], LANES(0)) + SHUFFLE(t[i], t[i + h], LANES(L / 2));
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

// Denormals are zeros: units that died would cost a hundred times as much. Return the mode to restore.
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
