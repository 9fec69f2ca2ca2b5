/*
 * drop(): gives back to the kernel what a process does not need to hold: free parts of the C heap, and pages of the
 * program and its libraries, which the kernel reads again from its page cache, or from the file, when they are used.
 *
 * Only segments that are mapped without the right to write are dropped, inside dl_iterate_phdr's callback: meanwhile no
 * thread can load or unload a library, so that nothing else can come to lie at their addresses. A segment with even one page
 * that is not the file's own any more (a debugger's breakpoint, text relocations) stays as it is.
 *
 * Plain C over Node-API: runs on every Node since 12, needs nothing but the C library that Node itself uses.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <node_api.h>

#define PRESENT (1ULL << 63)
#define SWAPPED (1ULL << 62)
#define OF_FILE (1ULL << 61)
#define CHUNK 512

struct pass {
  int pagemap;
  uintptr_t page;
  /* Bytes of segments that were dropped, and of those that were left alone. */
  double dropped, kept;
};

/* Whether every page from `start` to `end` is either absent or the file's own; false when there is no telling. */
static int clean(const struct pass *pass, uintptr_t start, uintptr_t end) {
  uint64_t entries[CHUNK];
  for (uintptr_t at = start; at < end;) {
    size_t pages = (end - at) / pass->page;
    if (pages > CHUNK) pages = CHUNK;
    ssize_t wanted = (ssize_t)(pages * sizeof(uint64_t));
    if (pread(pass->pagemap, entries, (size_t)wanted, (off_t)(at / pass->page * sizeof(uint64_t))) != wanted) return 0;
    for (size_t i = 0; i < pages; i++) {
      if (entries[i] & SWAPPED) return 0;
      if ((entries[i] & PRESENT) && !(entries[i] & OF_FILE)) return 0;
    }
    at += pages * pass->page;
  }
  return 1;
}

static int each_object(struct dl_phdr_info *object, size_t size, void *data) {
  struct pass *pass = data;
  (void)size;
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || (segment->p_flags & PF_W) || segment->p_filesz == 0 || segment->p_memsz != segment->p_filesz) continue;
    uintptr_t start = (object->dlpi_addr + segment->p_vaddr) & ~(pass->page - 1);
    uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_filesz + pass->page - 1) & ~(pass->page - 1);
    /* Around a page that is missing the kernel would read and keep many that nobody needs. */
    madvise((void *)start, end - start, MADV_RANDOM);
    if (clean(pass, start, end) && madvise((void *)start, end - start, MADV_DONTNEED) == 0) pass->dropped += (double)(end - start);
    else pass->kept += (double)(end - start);
  }
  return 0;
}

static void set(napi_env env, napi_value object, const char *name, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  napi_set_named_property(env, object, name, value);
}

/* drop(): { dropped, kept } in bytes of mappings, whatever of them was in memory; throws when the kernel shows no page map. */
static napi_value drop(napi_env env, napi_callback_info info) {
  (void)info;
  struct pass pass = { .pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), .page = (uintptr_t)sysconf(_SC_PAGESIZE) };
  malloc_trim(0);
  if (pass.pagemap < 0) {
    napi_throw_error(env, NULL, "/proc/self/pagemap cannot be opened");
    return NULL;
  }
  dl_iterate_phdr(each_object, &pass);
  close(pass.pagemap);
  napi_value result;
  napi_create_object(env, &result);
  set(env, result, "dropped", pass.dropped);
  set(env, result, "kept", pass.kept);
  return result;
}

NAPI_MODULE_INIT() {
  napi_value function;
  napi_create_function(env, "drop", NAPI_AUTO_LENGTH, drop, NULL, &function);
  napi_set_named_property(env, exports, "drop", function);
  return exports;
}
