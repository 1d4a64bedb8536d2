// Arena: parts of one allocation, one after the other. A kernel lays its memory out in one function
// that takes the base pointer; called with null it only reckons (Kernel::sizes), called with memory
// it hands out the same places.
#pragma once
#include "simd.h"
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace convkit {
namespace CONVKIT_ISA {

struct Arena {
  char* base;
  int64_t used;
};

constexpr int64_t kArenaAlign = 64;
#if defined(__SANITIZE_ADDRESS__)
constexpr int64_t kRedZone = 256;  // poisoned bytes after every part
#else
constexpr int64_t kRedZone = 0;
#endif

CK_INLINE Arena arena(const void* base) { return {static_cast<char*>(const_cast<void*>(base)), 0}; }

template <class T>
CK_INLINE T* take(Arena& from, int64_t count) {
  const int64_t begin = from.used, bytes = count * int64_t(sizeof(T));
  const int64_t end = (begin + bytes + kArenaAlign - 1) / kArenaAlign * kArenaAlign;
  from.used = end + kRedZone;
  if (!from.base) return nullptr;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(from.base + begin, size_t(bytes));
  __asan_poison_memory_region(from.base + begin + bytes, size_t(from.used - begin - bytes));
#endif
  return reinterpret_cast<T*>(from.base + begin);
}

}  // namespace CONVKIT_ISA
}  // namespace convkit
