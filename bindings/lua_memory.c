/* Memory that a burst has left behind, on its way back to the system. */
#include "lua_state.h"

#if HWL_IS_LUAJIT && defined(__linux__)

#include <sys/mman.h>
#include <unistd.h>

/* Less that is free in one place is not worth the system calls. */
#define STRETCH ((size_t)16384)
/* Borrowed at once: 64 MiB. */
#define MOST_STRETCHES 4096
/* So many that nobody has touched, and whoever comes after them is fresh, too. */
#define MOST_UNTOUCHED 16

typedef struct stretch {
    struct stretch *next;
} stretch_t;

/* Gives back the pages that lie within it, whose contents nobody wants. False: they were not there. */
static bool give_back(stretch_t *stretch)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)(stretch + 1) + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)stretch + STRETCH) & ~(page - 1);
    unsigned char is_resident = 0;

    if (to <= from || mincore((void *)from, page, &is_resident) != 0 || (is_resident & 1) == 0)
        return false;
    (void)madvise((void *)from, to - from, MADV_DONTNEED);
    return true;
}

/* LuaJIT's allocator gives a segment back only as a whole, so one small object that outlives the burst
 * keeps 128 KiB and more. What is free in it can be borrowed, and its pages given back without it. */
static void give_pages_back(lua_State *L)
{
    void *user;
    lua_Alloc allocate = lua_getallocf(L, &user);
    stretch_t *borrowed = NULL;
    stretch_t *stretch;
    uint32_t untouched = 0;
    uint32_t count;

    for (count = 0; count < MOST_STRETCHES && untouched < MOST_UNTOUCHED; count++) {
        if ((stretch = allocate(user, NULL, 0, STRETCH)) == NULL)
            break;
        stretch->next = borrowed;
        borrowed = stretch;
        untouched += !give_back(stretch);
    }
    while ((stretch = borrowed) != NULL) {
        borrowed = stretch->next;
        allocate(user, stretch, STRETCH, 0);
    }
}

#else

/* The others' allocator is the system's, which the core asks for that. */
static void give_pages_back(lua_State *L)
{
    (void)L;
}

#endif

void hwl_memory_trim(hwl_t *lua)
{
    hws_slab_trim(&lua->conn_slab);
    hws_slab_trim(&lua->task_slab);
    give_pages_back(lua->spare);
}
