// Memory that calls borrow: scratch, packed weights and the answers' own, 64-byte aligned, kept for
// the next call until release_memory().
#pragma once
#include <cstddef>
#include <cstdint>

namespace convkit {

// Throws std::bad_alloc. Zero bytes give an empty block that holds no memory.
class Memory {
 public:
  explicit Memory(int64_t bytes = 0);
  ~Memory();
  Memory(Memory&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
  }
  Memory& operator=(Memory&& other) noexcept;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  char* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  char* data_ = nullptr;
  int64_t bytes_ = 0;
};

// Gives back to the system what no call or plan holds; returns the bytes.
int64_t release_memory();
int64_t idle_memory();

// While on, every block is filled with NaN and fenced with guard bytes when it is lent;
// check_fences throws std::runtime_error when one was overwritten. For tests.
void set_checking(bool on);
bool checking();
void check_fence(const Memory& memory, const char* what);

}  // namespace convkit
