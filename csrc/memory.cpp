#include "memory.h"

#include <pthread.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace convkit {
namespace {

constexpr int64_t kAlign = 64, kFence = 256, kHugePage = 2 << 20;
// Idle blocks beyond this many bytes, or this many, go back to the system, the oldest first.
constexpr int64_t kKept = int64_t(256) << 20;
constexpr size_t kKeptBlocks = 256;
constexpr unsigned char kFenceByte = 0xA5;

std::atomic<bool> is_checking{false};

struct Block {
  int64_t capacity;
  char* data;
};

struct Idle {
  std::mutex mutex;
  std::vector<Block> blocks;  // in the order in which they were given back
  int64_t bytes = 0;

  void drop(std::vector<Block>::iterator block) {
    bytes -= block->capacity;
    blocks.erase(block);
  }
};

Idle* idle = nullptr;
std::once_flag idle_once;

void replace_idle() { idle = new Idle; }  // in a forked child the old lock may be held for ever

Idle& the_idle() {
  std::call_once(idle_once, [] {
    replace_idle();
    pthread_atfork(nullptr, nullptr, replace_idle);
  });
  return *idle;
}

int64_t capacity_for(int64_t bytes) {
  const int64_t step = bytes >= kHugePage ? 1 << 16 : 1 << 12;
  return (bytes + kFence + step - 1) / step * step;
}

char* allocate(int64_t capacity) {
  void* block = nullptr;
  if (posix_memalign(&block, capacity >= kHugePage ? size_t(kHugePage) : size_t(kAlign),
                     size_t(capacity)) != 0)
    throw std::bad_alloc();
#if defined(__linux__)
  if (capacity >= kHugePage)
    madvise(block, size_t(capacity / kHugePage * kHugePage), MADV_HUGEPAGE);
#endif
  return static_cast<char*>(block);
}

}  // namespace

Memory::Memory(int64_t bytes) : bytes_(bytes) {
  if (bytes <= 0) return;
  if (bytes > (int64_t(1) << 47)) throw std::bad_alloc();
  const int64_t capacity = capacity_for(bytes);
  {
    Idle& kept = the_idle();
    std::lock_guard<std::mutex> lock(kept.mutex);
    // The latest first: the caches may still hold it.
    for (auto block = kept.blocks.end(); block != kept.blocks.begin();) {
      --block;
      if (block->capacity != capacity) continue;
      data_ = block->data;
      kept.drop(block);
      break;
    }
  }
  if (!data_) data_ = allocate(capacity);
  if (checking()) {
    std::memset(data_, 0xFF, size_t(bytes));
    std::memset(data_ + bytes, kFenceByte, size_t(kFence));
  }
}

Memory::~Memory() {
  if (!data_) return;
  const int64_t capacity = capacity_for(bytes_);
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(data_, size_t(capacity));
#endif
  if (capacity > kKept) {
    std::free(data_);
    return;
  }
  Idle& kept = the_idle();
  std::lock_guard<std::mutex> lock(kept.mutex);
  while (kept.bytes + capacity > kKept || kept.blocks.size() == kKeptBlocks) {
    std::free(kept.blocks.front().data);
    kept.drop(kept.blocks.begin());
  }
  kept.blocks.push_back({capacity, data_});
  kept.bytes += capacity;
}

Memory& Memory::operator=(Memory&& other) noexcept {
  if (this != &other) {
    this->~Memory();
    data_ = other.data_;
    bytes_ = other.bytes_;
    other.data_ = nullptr;
  }
  return *this;
}

int64_t release_memory() {
  Idle& kept = the_idle();
  std::lock_guard<std::mutex> lock(kept.mutex);
  const int64_t bytes = kept.bytes;
  for (const Block& block : kept.blocks) std::free(block.data);
  kept.blocks.clear();
  kept.bytes = 0;
  return bytes;
}

int64_t idle_memory() {
  Idle& kept = the_idle();
  std::lock_guard<std::mutex> lock(kept.mutex);
  return kept.bytes;
}

void set_checking(bool on) { is_checking = on; }
bool checking() { return is_checking; }

void check_fence(const Memory& memory, const char* what) {
  if (!checking() || !memory.data()) return;
  for (int64_t i = 0; i < kFence; ++i)
    if (static_cast<unsigned char>(memory.data()[memory.bytes() + i]) != kFenceByte)
      throw std::runtime_error(std::string("a kernel wrote ") + std::to_string(i) +
                               " bytes past the end of its " + what);
}

}  // namespace convkit
