/* The driver of MongoDB 6 to 8. */
#include "mongodb_internal.h"

#include <signal.h>

const struct driver driver_mongodb = {
    .engine = ENGINE_MONGODB,
    .stop_signal = SIGTERM, /* hands over what standbys lack, flushes, ends */
    .copies_running = true,
    .kill_signal = SIGKILL, /* WiredTiger recovers from its journal */
    .look = mo_look,
    .initialise = mo_initialise,
    .clone = mo_clone,
    .configure = mo_configure,
    .server_arguments = mo_server_arguments,
    .ask = mo_ask,
    .settle = mo_settle,
    .apply_credentials = mo_apply_credentials,
    .keep_replicas = mo_keep_replicas,
    .follow = mo_follow,
    .judge = mo_judge,
    .collect = mo_collect,
};
