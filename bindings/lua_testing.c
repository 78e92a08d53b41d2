#include "lua_testing.h"

#include "base/memory.h"

#if defined(HWL_TESTS)

static int fail_at(lua_State *L)
{
    hws_memory_fail_at((uint64_t)luaL_checknumber(L, 1));
    return 0;
}

static int count(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)hws_memory_count());
    return 1;
}

/* ---- Lua's own allocator ---- */

static struct {
    lua_Alloc allocate; /* the state's; NULL: ours is not in its place */
    void *user;
    uint64_t fail_at;
    uint64_t count;
    const void *block; /* what the failed call was to enlarge, */
    size_t size;       /* to this; 0: none has failed */
} luas;

/* A Lua that was refused memory collects its garbage and asks again: that has to fail as well. */
static bool is_turn(const void *block, size_t size)
{
    if (luas.size > 0) {
        bool is_again = luas.size == size && luas.block == block;

        luas.size = is_again ? 0 : luas.size;
        return is_again && LUA_VERSION_NUM >= 502;
    }
    if (++luas.count != luas.fail_at)
        return false;
    luas.block = block;
    luas.size = size;
    return true;
}

/* Making a block smaller cannot fail, says Lua's manual. Without a block, its old size is no size. */
static void *allocate(void *user, void *block, size_t old_size, size_t size)
{
    (void)user;
    if (size > (block != NULL ? old_size : 0) && is_turn(block, size))
        return NULL;
    return luas.allocate(luas.user, block, old_size, size);
}

/* The Lua state from which this is called is the one that is disturbed; 0 leaves it in peace. */
static int fail_lua_at(lua_State *L)
{
    luas.fail_at = (uint64_t)luaL_checknumber(L, 1);
    if (luas.fail_at > 0 && luas.allocate == NULL) {
        luas.allocate = lua_getallocf(L, &luas.user);
        lua_setallocf(L, allocate, NULL);
    } else if (luas.fail_at == 0 && luas.allocate != NULL) {
        lua_setallocf(L, luas.allocate, luas.user);
        luas.allocate = NULL;
    }
    if (luas.fail_at > 0)
        luas.count = 0;
    luas.size = 0;
    return 0;
}

static int lua_count(lua_State *L)
{
    lua_pushnumber(L, (lua_Number)luas.count);
    return 1;
}

void hwl_testing_define(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"fail_at", fail_at},     {"count", count}, {"fail_lua_at", fail_lua_at},
        {"lua_count", lua_count}, {NULL, NULL},
    };
    const luaL_Reg *function;

    lua_newtable(L);
    for (function = functions; function->name != NULL; function++) {
        lua_pushcfunction(L, function->func);
        lua_setfield(L, -2, function->name);
    }
    lua_setfield(L, -2, "memory");
}

#else

void hwl_testing_define(lua_State *L)
{
    (void)L;
}

#endif
