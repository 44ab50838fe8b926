// Which instruction sets this processor has. The loader asks the baseline library, which holds no
// instruction that any processor of its kind lacks.
#include "interface/view.h"
#include "simd.h"

extern "C" {

// The fastest of the libraries that this processor can run; it can run all slower ones as well.
AAT_EXPORT const char *aat_fastest_set(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
    return "avx512";
  if (avx2) return "avx2";
#endif
  return "baseline";
}

AAT_EXPORT int64_t aat_vector_bytes(void) { return AAT_VECTOR_BYTES; }
}
