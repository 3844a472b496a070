/** Settings of `agent`. */
#ifndef DATABASE_OPERATOR_AGENT_CONFIG_H
#define DATABASE_OPERATOR_AGENT_CONFIG_H

#include "../types.h"

#include <proa/config.h>

struct agent_config {
    proa_str kubeconfig;
    enum database_engine engine;
    proa_str database;
    proa_str headless;
    proa_str pod;
    proa_str namespace_;
    proa_str volume_dir; /* data, what is being made, the lock and the last role lie below it */
    proa_str run_dir;
    proa_str config_dir;
    proa_str credentials_dir;
    proa_str bin_dir; /* of the engine's programs; "": PATH */
    uint16_t engine_port;
    proa_str listen;    /* address of the engine; "": as the operator's configuration says */
    proa_str host;      /* of an instance: {pod}, {ordinal}, {headless}, {namespace} are put in */
    uint16_t peer_port; /* of the other instances' agents */
    uint32_t poll_ms, duties_ms, metrics_ms, ask_ms, api_wait_ms, lock_ms, stop_ms, init_ms, hang_ms;
    uint32_t lost_ms; /* a standby that does not stream so long is looked into */
    uint32_t ready_lag_ms;
    uint64_t ready_lag_bytes;
};
PROA_DECLARE_TYPE(agent_config);

#endif
