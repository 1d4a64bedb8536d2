#include "executor.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace convkit {
namespace {

typedef std::chrono::steady_clock Clock;
typedef std::chrono::microseconds Microseconds;

std::atomic<int64_t> spin_microseconds{1000};
// A worker may end so much later than the caller, or later by as long as the caller worked, before
// it is taken for one whose processor others keep.
constexpr Microseconds kLate{120};

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One range for each thread, as equal as can be: a range computes once what its items share, and
// the weights or pixels that it reads pass through one core's cache. Thread t begins with range t,
// so that it reads what it wrote itself in the phase or the layer before; then it takes the ranges
// of threads that have not begun.
struct Job {
  RangeBody body;
  void* context;
  int64_t items;
  int threads;                         // the caller included, which is thread 0
  std::atomic<bool>* begun = nullptr;  // a flag for each range

  void work(int thread) {
    for (int turn = 0; turn < threads; ++turn) {
      const int64_t range = (thread + turn) % threads;
      if (begun[range].exchange(true, std::memory_order_relaxed)) continue;
      body(context, range * items / threads, (range + 1) * items / threads, thread);
    }
  }
};

// Looks for what another thread is about to do, until `end` at the latest and for as long as
// spinning is allowed.
template <class Condition>
void spin_until(Clock::time_point end, const Condition& holds) {
  const Microseconds allowed(spin_microseconds.load(std::memory_order_relaxed));
  const auto start = Clock::now();
  if (end - start > allowed) end = start + allowed;
  while (!holds()) {
    for (int i = 0; i < 32; ++i) pause_briefly();
    if (Clock::now() >= end) return;
  }
}

// Workers wait for `epoch` to change, join the job if it wants so many, and go back to waiting.
class Pool {
 public:
  void run(Job& job) {
    std::unique_lock<std::mutex> turn(busy_, std::try_to_lock);
    if (!turn.owns_lock()) return job.body(job.context, 0, job.items, 0);
    while (workers_ < job.threads - 1 && start_worker()) {}
    if (int(begun_.size()) < job.threads) begun_ = std::vector<std::atomic<bool>>(job.threads);
    for (int range = 0; range < job.threads; ++range)
      begun_[range].store(false, std::memory_order_relaxed);
    job.begun = begun_.data();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (asleep_ > 0) keep_off_this_processor(job.threads);
      job_ = &job;
      epoch_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    const auto start = Clock::now();
    job.work(0);
    const auto end = Clock::now(), late = end + (end - start > kLate ? end - start : kLate);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = nullptr;  // nobody joins from here on
    }
    // The others are about to end, too: waking from a sleep would cost more than their last range.
    const auto all_done = [this] { return active_.load(std::memory_order_acquire) == 0; };
    spin_until(late, all_done);
    std::unique_lock<std::mutex> lock(mutex_);
    if (!done_.wait_until(lock, late, all_done) && active_ == 1)
      take_onto_this_processor(late_worker());
    done_.wait(lock, all_done);
  }

  Workers workers() {
    std::lock_guard<std::mutex> lock(mutex_);
    return {workers_, asleep_};
  }

 private:
  bool start_worker() {
    try {
      std::thread worker([this, thread = workers_ + 1] { serve(thread); });
#if defined(__linux__)
      pthread_setname_np(worker.native_handle(), "convkit");  // as top and debuggers show it
      handles_.push_back(worker.native_handle());
#endif
      worker.detach();
    } catch (const std::system_error&) {
      return false;  // the system has no more threads: the job runs on fewer
    }
    std::lock_guard<std::mutex> lock(mutex_);
    ++workers_;
    at_work_.resize(size_t(workers_));
    return true;
  }

  // A sleeper may be woken behind the caller on its own processor, and stays there while both are
  // busy: then a job takes as long as on one thread, call after call. The caller's other processors
  // are left to it, where there are enough.
  void keep_off_this_processor(int threads) {
#if defined(__linux__)
    const int here = sched_getcpu();
    cpu_set_t allowed;
    if (here < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    if (CPU_COUNT(&allowed) >= threads) CPU_CLR(size_t(here), &allowed);
    if (placed_ == handles_.size() && CPU_EQUAL(&allowed, &allowed_)) return;
    for (const pthread_t handle : handles_)
      pthread_setaffinity_np(handle, sizeof allowed, &allowed);
    placed_ = handles_.size();
    allowed_ = allowed;
#endif
  }

  // Something else keeps the processor that the last worker was given (the threads of other
  // libraries spin for milliseconds), while this one is about to be idle.
  void take_onto_this_processor(int thread) {
#if defined(__linux__)
    const int here = sched_getcpu();
    cpu_set_t this_one, allowed;
    if (here < 0 || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    CPU_ZERO(&this_one);
    CPU_SET(size_t(here), &this_one);
    pthread_setaffinity_np(handles_[size_t(thread) - 1], sizeof this_one, &this_one);
    pthread_setaffinity_np(handles_[size_t(thread) - 1], sizeof allowed, &allowed);
    placed_ = 0;
#else
    (void)thread;
#endif
  }
  int late_worker() const {
    int thread = 1;
    while (!at_work_[size_t(thread) - 1]) ++thread;
    return thread;
  }

  void serve(int thread) {
    uint64_t seen = 0;
    for (;;) {
      spin_until(Clock::time_point::max(),
                 [&] { return epoch_.load(std::memory_order_acquire) != seen; });
      std::unique_lock<std::mutex> lock(mutex_);
      ++asleep_;
      wake_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
      --asleep_;
      seen = epoch_.load(std::memory_order_relaxed);
      Job* job = job_;
      if (!job || thread >= job->threads) continue;
      ++active_;
      at_work_[size_t(thread) - 1] = true;
      lock.unlock();
      job->work(thread);
      lock.lock();
      at_work_[size_t(thread) - 1] = false;
      if (--active_ == 0) done_.notify_one();
    }
  }

  std::mutex busy_;  // held by the caller whose job runs
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::atomic<uint64_t> epoch_{0};
  Job* job_ = nullptr;
  std::atomic<int> active_{0};
  int workers_ = 0, asleep_ = 0;
  std::vector<bool> at_work_;             // of each worker
  std::vector<std::atomic<bool>> begun_;  // of the job that runs
#if defined(__linux__)
  std::vector<pthread_t> handles_;
  size_t placed_ = 0;  // workers that may run on allowed_ alone
  cpu_set_t allowed_{};
#endif
};

Pool* pool = nullptr;
std::once_flag pool_once;

// A forked child has none of its parent's threads and may have its locks: it starts over and
// forgets the old pool.
void replace_pool() { pool = new Pool; }

Pool& the_pool() {
  std::call_once(pool_once, [] {
    replace_pool();
    pthread_atfork(nullptr, nullptr, replace_pool);
  });
  return *pool;  // never destroyed: its threads may outlive static objects
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Processors granted by one cgroup's directory, or a negative number where it sets no limit.
double quota_of(const std::string& directory) {
  std::istringstream v2(first_line(directory + "/cpu.max"));
  double quota = -1, period = 0;
  if (v2 >> quota >> period && quota > 0 && period > 0) return quota / period;
  std::istringstream v1(first_line(directory + "/cpu.cfs_quota_us") + " " +
                        first_line(directory + "/cpu.cfs_period_us"));
  if (v1 >> quota >> period && quota > 0 && period > 0) return quota / period;
  return -1;
}

}  // namespace

double cpu_quota(const std::string& root) {
  double least = -1;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "hierarchy:controllers:/path"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find(",cpu,") == std::string::npos)
      continue;
    // Version 1 mounts a hierarchy by the names of its controllers, and mostly links each to it.
    for (const std::string& mount : {std::string(controllers.empty() ? "" : "/cpu"),
                                     controllers.empty() ? controllers : "/" + controllers}) {
      for (std::string path = line.substr(second + 1);; path.erase(path.rfind('/'))) {
        const double quota = quota_of(root + "/sys/fs/cgroup" + mount + path);
        if (quota > 0 && (least < 0 || quota < least)) least = quota;
        if (path.rfind('/') == std::string::npos) break;
      }
    }
  }
  return least;
}

int available_threads(const std::string& root) {
  int threads = int(std::thread::hardware_concurrency());
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) threads = CPU_COUNT(&set);
#endif
  const double quota = cpu_quota(root);
  if (quota > 0 && quota < threads) threads = int(std::ceil(quota));
  return threads < 1 ? 1 : threads;
}

bool has_cpu_quota() { return cpu_quota() > 0; }

void set_spin_microseconds(int64_t microseconds) { spin_microseconds = microseconds; }

Workers count_workers() { return the_pool().workers(); }

void parallel_for(int64_t items, int threads, RangeBody body, void* context) {
  if (items <= 0) return;
  if (threads > items) threads = int(items);
  if (threads <= 1) return body(context, 0, items, 0);
  Job job{body, context, items, threads};
  the_pool().run(job);
}

std::vector<int> threads_that_meet(int threads, double seconds) {
  std::vector<int> ran(size_t(threads), -1);
  std::atomic<int> met{0};
  std::atomic<bool> late{false};
  const auto limit = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  parallel_for(threads, threads, [&](int64_t range, int64_t, int thread) {
    if (late) return;
    ++met;
    while (met < threads && !late) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() >= limit) late = true;
    }
    if (!late) ran[size_t(range)] = thread;
  });
  return ran;
}

}  // namespace convkit
