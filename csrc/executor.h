// One pool of threads for the whole library.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace convkit {

// The processors that affinity and the cgroup's quota, as cpu_quota(root) finds it, leave to this
// process; at least 1.
int available_threads(const std::string& root = "");
bool has_cpu_quota();
// The tightest quota of this process's cgroup and all above it, in processors, of version 1 or 2;
// negative where there is none. Tests give the files of other systems under a root of their own.
double cpu_quota(const std::string& root = "");

// How long a worker looks for more work before it sleeps, in microseconds.
void set_spin_microseconds(int64_t microseconds);

// Workers started so far, and how many of them sleep: spinning ones do not.
struct Workers {
  int started, asleep;
};
Workers count_workers();

typedef void (*RangeBody)(void* context, int64_t begin, int64_t end, int thread);

// Calls body on ranges that together cover [0, items), on at most `threads` threads, the calling
// one included; `thread` is below `threads` and no two ranges run with the same one at a time. Of
// equal counts of items the same thread begins with the same ones, call after call. Returns when
// all is done. A call made while another one holds the pool, from a second user thread or from a
// body, runs on its own thread alone.
void parallel_for(int64_t items, int threads, RangeBody body, void* context);

template <class Body>
void parallel_for(int64_t items, int threads, const Body& body) {
  parallel_for(
      items, threads,
      [](void* context, int64_t begin, int64_t end, int thread) {
        (*static_cast<const Body*>(context))(begin, end, thread);
      },
      const_cast<Body*>(&body));
}

// As many ranges as threads, in each of which a thread waits for all the others, at most so long:
// the thread that ran each range, -1 where it waited in vain.
std::vector<int> threads_that_meet(int threads, double seconds);

}  // namespace convkit
