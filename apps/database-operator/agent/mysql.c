/* The driver of MySQL 8.0.23 and later and MariaDB 10.6 and later: standbys that replay the primary's binary log by GTID. */
#include "mysql_internal.h"

#include <signal.h>

const struct driver driver_mysql = {
    .engine = ENGINE_MYSQL,
    .stop_signal = SIGTERM, /* sessions are cut, what is committed is flushed */
    .kill_signal = SIGKILL, /* InnoDB recovers at the next start */
    .look = my_look,
    .initialise = my_initialise,
    .clone = my_clone,
    .configure = my_configure,
    .server_arguments = my_server_arguments,
    .ask = my_ask,
    .settle = my_settle,
    .apply_credentials = my_apply_credentials,
    .follow = my_follow,
    .judge = my_judge,
    .collect = my_collect,
};
