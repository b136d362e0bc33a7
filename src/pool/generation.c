/* Servers that answer a ping, end, or are told to end.
 *
 * One failure makes every server suspect that existed then: the pool's generation moves, and a
 * server whose own generation is older must be asked before use. Nothing is walked. */
#include "pool_internal.h"

/* A suspect server that fails tells nothing new. */
void weir_pool_invalidate(struct weir_pool_server *failed)
{
    if (!server_suspect(failed))
        failed->pool->generation++;
}

void weir_pool_checked(struct weir_pool_server *server, bool ok, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    weir_require(pool != NULL && server->state == WEIR_POOL_CHECKING);
    weir_require(!weir_list_is_linked(&server->due));
    if (ok) {
        server_prove(server, now);
        weir_pool_give(server, now);
        return;
    }
    weir_pool_invalidate(server);
    weir_pool_decide_close(server, WEIR_POOL_CLOSE_CHECK_FAILED);
    weir_pool_serve(pool, now);
}

void weir_pool_closing(struct weir_pool_server *server, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    weir_require(pool != NULL);
    if (server->state == WEIR_POOL_CLOSING) {
        weir_require(weir_list_is_linked(&server->due));
        weir_pool_withdraw(server);
        return;
    }
    weir_pool_withdraw(server);
    weir_pool_start_closing(server);
    weir_pool_serve(pool, now);
}

void weir_pool_gone(struct weir_pool_server *server, bool lost, weir_usec now)
{
    struct weir_pool *pool = server->pool;
    weir_require(pool != NULL);
    if (lost && server->state != WEIR_POOL_OPENING)
        weir_pool_invalidate(server);
    weir_pool_forget(server);
    weir_pool_serve(pool, now);
    weir_pool_settle(pool);
}

static void close_idle(struct weir_pool *pool)
{
    struct weir_list *idle = &pool->lists[WEIR_POOL_IDLE];
    while (!weir_list_is_empty(idle))
        weir_pool_decide_close(server_of(idle->prev), WEIR_POOL_CLOSE_ASKED);
}

void weir_pool_reconnect(struct weir_pool *pool, weir_usec now)
{
    static const enum weir_pool_server_state in_use[] = {WEIR_POOL_OPENING, WEIR_POOL_CHECKING,
                                                         WEIR_POOL_ACTIVE};
    close_idle(pool);
    for (size_t i = 0; i < sizeof(in_use) / sizeof(in_use[0]); i++)
        weir_list_for(node, &pool->lists[in_use[i]])
            server_of(node)->close_asked = true;
    /* What failed may have been changed: try at once. */
    weir_pool_end_back_off(pool);
    weir_pool_consider(pool, false, now);
}

void weir_pool_pause(struct weir_pool *pool, weir_usec now)
{
    pool->paused = true;
    close_idle(pool);
    weir_pool_consider(pool, false, now);
}

void weir_pool_resume(struct weir_pool *pool, weir_usec now)
{
    pool->paused = false;
    weir_pool_serve(pool, now);
}
