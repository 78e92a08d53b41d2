/* lua_script_parts.h - what the files of lua_script.h share: the script itself, how it shows the peers
 * (lua_script_view.c) and how it is asked (lua_script_ask.c). */
#ifndef HWL_LUA_SCRIPT_PARTS_H
#define HWL_LUA_SCRIPT_PARTS_H

#include "lua_policy.h"
#include "lua_upstream.h"

typedef struct {
    const hws_decision_t *about; /* NULL: nothing is being decided */
} hwl_script_context_t;

typedef struct {
    const hws_outcome_t *outcome;
} hwl_script_ending_t;

struct hwl_script {
    hwl_upstream_t *upstream; /* NULL: it has been collected */
    hwl_t *lua;
    hwl_policy_t *policies[HWL_POLICY_KIND_COUNT];
    hwl_policy_t *made[HWL_POLICY_KIND_COUNT]; /* to be put in place */
    bool is_dropped[HWL_POLICY_KIND_COUNT];    /* to be put out of it: the built-in one decides */
    int views; /* registry references: the views, each at its peer's `view`, for as long as the peer */
    int list; /* the list that `pick` gets */
    int context;
    int ending;
    int show;                    /* that function, which takes memory to push */
    hwl_script_context_t *about; /* inside `context` and `ending` */
    hwl_script_ending_t *outcome;
    uint32_t room;    /* of the list */
    uint32_t listed;  /* views in it */
    bool is_shown;    /* all of it is there, for the peers that there are */
    bool was_shown;   /* before hwl_script_prepare() */
    bool is_changing; /* since then, until all is in place: who waits goes on waiting */
    bool is_closed;
    hws_deferred_t burial; /* after its upstream was collected */
};

static inline void hwl_script_push(lua_State *P, int reference)
{
    lua_rawgeti(P, LUA_REGISTRYINDEX, reference);
}

/* Anchors what lies on top of the stack, unless a finalizer was faster. */
void hwl_script_set_first(lua_State *L, int *reference);

/* ---- asking ---- */

/* The userdata that policies are asked with. Raises when out of memory. */
void hwl_script_make_arguments(lua_State *L, hwl_script_t *script);
/* The core asks only for what there is. */
void hwl_script_connect(hwl_script_t *script);

/* ---- showing the peers ---- */

/* Pushes the view of `peer`, or nil. Allocates nothing. */
void hwl_script_push_view(lua_State *P, const hwl_script_t *script, const hws_peer_t *peer);
/* Pushes the list with their views. Allocates nothing. */
void hwl_script_list_peers(lua_State *P, hwl_script_t *script, hws_peer_t *const *peers,
                           uint32_t count);
/* As the core's `gone`. */
void hwl_script_gone(void *user, hws_peer_t *peer);
/* (): for `show`. */
int hwl_script_show(lua_State *L);
/* A view of each peer, of the upstream whose userdata lies at `index`. Memory may run out: then the
 * built-in ones decide, until the next update. */
void hwl_script_show_all(lua_State *L, hwl_script_t *script, int index);
/* `update(self, peers)` of each that has it. */
void hwl_script_tell_update(hwl_script_t *script);
void hwl_script_forget_all(const hwl_script_t *script);

#endif
