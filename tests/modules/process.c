/* process.c - fork() for specs, which no Lua has.
 *
 *     process.fork() -> 0 in the child, its pid in the parent
 *     process.exit(status)     ends a child at once: no finalizers, no reports of the test runner
 *     process.wait(pid) -> its exit status, or minus the signal that ended it */
#include <lauxlib.h>
#include <lua.h>
#include <sys/wait.h>
#include <unistd.h>

int luaopen_process(lua_State *L);

static int process_fork(lua_State *L)
{
    pid_t pid = fork();

    if (pid < 0)
        return luaL_error(L, "fork failed");
    lua_pushinteger(L, pid);
    return 1;
}

static int process_exit(lua_State *L)
{
    _exit((int)luaL_checkinteger(L, 1));
}

static int process_wait(lua_State *L)
{
    int status = 0;

    if (waitpid((pid_t)luaL_checkinteger(L, 1), &status, 0) < 0)
        return luaL_error(L, "waitpid failed");
    lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    return 1;
}

int luaopen_process(lua_State *L)
{
    lua_newtable(L);
    lua_pushcfunction(L, process_fork);
    lua_setfield(L, -2, "fork");
    lua_pushcfunction(L, process_exit);
    lua_setfield(L, -2, "exit");
    lua_pushcfunction(L, process_wait);
    lua_setfield(L, -2, "wait");
    return 1;
}
