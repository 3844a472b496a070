/* Descriptions: of Database with its rules, from which its CustomResourceDefinition is made, and of what is read of other kinds. */
#include "types.h"

#define IGNORE .unknown = PROA_UNKNOWN_IGNORE
#define QUANTITY "^[0-9]+([KMGTPE]i|[kMGTPE])?$"

const struct proa_kube_kind database_kind = {"database.example.com", "v1", "Database", "databases", false};
const struct proa_kube_kind service_monitor_kind = {"monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors",
                                                    false};

/* -- Database -------------------------------------------------------------------------------------------------------- */

/* The same lists stand in engines/, where they are checked again: a test holds the two together. */
#define OWNED_POSTGRES                                                                                                 \
    "['listen_addresses','port','unix_socket_directories','data_directory','config_file','hba_file','ident_file',"     \
    "'external_pid_file','include','include_dir','include_if_exists','wal_level','max_wal_senders',"                   \
    "'max_replication_slots','hot_standby','primary_conninfo','primary_slot_name','restore_command',"                  \
    "'recovery_target','recovery_target_action','recovery_target_inclusive','recovery_target_lsn',"                    \
    "'recovery_target_name','recovery_target_time','recovery_target_timeline','recovery_target_xid',"                  \
    "'recovery_end_command','archive_cleanup_command','promote_trigger_file','synchronous_standby_names',"             \
    "'cluster_name','logging_collector','log_destination',"                                                            \
    "'wal_log_hints','archive_mode','archive_command','password_encryption','fsync','full_page_writes']"
#define OWNED_MYSQL                                                                                                    \
    "['aria_log_dir_path','bind_address','binlog_do_db','binlog_ignore_db','bootstrap','datadir',"                     \
    "'enforce_gtid_consistency','gtid_domain_id','gtid_mode','gtid_strict_mode','init_file','initialize',"             \
    "'initialize_insecure','innodb_data_home_dir','innodb_flush_log_at_trx_commit','innodb_log_group_home_dir',"       \
    "'innodb_undo_directory','log_bin','log_error','log_replica_updates','log_slave_updates','pid_file','port',"       \
    "'read_only','relay_log','relay_log_recovery','replica_skip_errors','replicate_do_db','replicate_do_table',"       \
    "'replicate_ignore_db','replicate_ignore_table','replicate_wild_do_table','replicate_wild_ignore_table',"          \
    "'report_host','secure_file_priv','server_id','skip_grant_tables','skip_name_resolve','skip_networking',"          \
    "'skip_replica_start','skip_slave_start','slave_skip_errors','socket','super_read_only','sync_binlog','user']"
#define OWNED_MONGODB                                                                                                  \
    "['net.bindIp','net.bindIpAll','net.port','net.unixDomainSocket.enabled','net.unixDomainSocket.pathPrefix',"       \
    "'processManagement.fork','processManagement.pidFilePath','replication.replSetName','security.authorization',"     \
    "'security.clusterAuthMode','security.keyFile','setParameter.authenticationMechanisms',"                           \
    "'setParameter.enableLocalhostAuthBypass','sharding.clusterRole','storage.dbPath','storage.engine',"               \
    "'systemLog.destination','systemLog.path']"

#define PARAMETERS_OF(engine) "self.engine != '" engine "' || !has(self.parameters) || self.parameters.all(k, "

static const struct proa_cel_rule spec_rules[] = {
    {"self.version.split('.')[0] == oldSelf.version.split('.')[0]",
     "version may only change within a major; for another major make a new Database and move the data by dump and "
     "restore"},
    {"quantity(self.storageSize).compareTo(quantity(oldSelf.storageSize)) >= 0",
     "storageSize may grow, but not shrink"},
    {"quantity(self.storageSize).compareTo(quantity('64Mi')) >= 0", "storageSize must be at least 64Mi"},
    {"self.engine != 'postgres' || quantity(self.storageSize).compareTo(quantity('512Mi')) >= 0",
     "storageSize of postgres must be at least 512Mi: less has no room for its log"},
    {"(has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? "
     "oldSelf.storageClassName : '')",
     "storageClassName may not change after creation"},
    {"!has(self.parameters) || self.parameters.all(k, !self.parameters[k].contains('\\n'))",
     "parameters may not contain line breaks"},
    {PARAMETERS_OF("postgres") "k.matches('^[a-z_][a-z0-9_]*([.][a-z_][a-z0-9_]*)?$'))",
     "parameters of postgres are written in lower case, as in postgresql.conf"},
    {PARAMETERS_OF("mysql") "k.matches('^[a-z][a-z0-9_]*$') && !k.matches('^(loose|enable|disable|maximum)_'))",
     "parameters of mysql are written in lower case with underscores, without the section's name and without a prefix"},
    {PARAMETERS_OF("mongodb") "k.matches('^[a-zA-Z][a-zA-Z0-9]*([.][a-zA-Z][a-zA-Z0-9]*)+$'))",
     "parameters of mongodb are paths of mongod.conf, such as net.maxIncomingConnections"},
    {PARAMETERS_OF("postgres") "!(k in " OWNED_POSTGRES "))",
     "parameters names a setting that the operator sets itself: see docs/database-operator.md for the list"},
    {PARAMETERS_OF("mysql") "!(k in " OWNED_MYSQL "))",
     "parameters names a setting that the operator sets itself: see docs/database-operator.md for the list"},
    {PARAMETERS_OF("mongodb") "!(k in " OWNED_MONGODB "))",
     "parameters names a setting that the operator sets itself: see docs/database-operator.md for the list"},
    {NULL, NULL},
};

static const struct proa_cel_rule resources_rules[] = {
    {"!has(self.requests) || self.requests.all(k, isQuantity(self.requests[k]))",
     "requests must be quantities, such as cpu: \"500m\" or memory: \"1Gi\""},
    {"!has(self.limits) || self.limits.all(k, isQuantity(self.limits[k]))",
     "limits must be quantities, such as cpu: \"2\" or memory: \"1Gi\""},
    {NULL, NULL},
};
PROA_DEFINE_TYPE_WITH(database_resources, (.doc = "As of a container", .rules = resources_rules),
                      (requests, map(str), .max_items = 10, .max_len = 40, .default_json = "{}",
                       .doc = "What a node must have free, as text: cpu: \"500m\""),
                      (limits, map(str), .max_items = 10, .max_len = 40, .default_json = "{}",
                       .doc = "What an instance may use"));

PROA_DEFINE_TYPE_WITH(
    database_spec, (.doc = "The database that is wanted", .rules = spec_rules),
    (engine, enumeration(database_engine), .immutable = true,
     .doc = "postgres, mysql (and MariaDB by image) or mongodb"),
    (version, str, .min_len = 1, .max_len = 20, .pattern = "^[0-9]+([.][0-9]+){0,2}$",
     .doc = "Of the engine, such as \"17\" or \"8.4\"; changes within a major"),
    (replicas, i32, PROA_RANGE(1, DATABASE_REPLICAS_MAX), .default_json = "1",
     .doc = "Instances: one primary, the others its standbys"),
    (storage_size, str, .json = "storageSize", .min_len = 1, .max_len = 20, .pattern = QUANTITY,
     .doc = "Of each instance's volume, such as 10Gi; may grow"),
    (image, str, .max_len = 500, .default_json = "\"\"",
     .doc = "Of the engine; empty: the operator's for this version"),
    (storage_class_name, str, .json = "storageClassName", .max_len = 253, .default_json = "\"\"",
     .pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", .doc = "Empty: the cluster's default"),
    (credentials_secret_name, str, .json = "credentialsSecretName", .max_len = 253, .default_json = "\"\"",
     .pattern = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$",
     .doc = "A Secret of yours with the keys username and password; empty: generated into NAME-credentials"),
    (resources, object(database_resources), .default_json = "{}", .doc = "Of each instance"),
    (parameters, map(str), .max_items = DATABASE_PARAMETERS_MAX, .max_len = 1000, .default_json = "{}",
     .doc = "Settings of the engine; a change restarts the instances one by one"),
    (deletion_policy, enumeration(deletion_policy), .json = "deletionPolicy", .default_json = "\"Retain\"",
     .doc = "Retain keeps volumes and credentials of a deleted Database, Delete does not"),
    (paused, boolean, .default_json = "false", .doc = "The operator changes nothing but the status"));

PROA_DEFINE_TYPE_WITH(database_condition, (IGNORE), (type, str, .max_len = 64),
                      (status, str, .pattern = "^(True|False|Unknown)$"), (reason, str, .max_len = 128),
                      (message, str, .max_len = 2000, .default_json = "\"\""),
                      (last_transition_time, timestamp, .json = "lastTransitionTime"));

PROA_DEFINE_TYPE_WITH(
    database_status, (IGNORE, .doc = "What there is"),
    (phase, enumeration(database_phase), .default_json = "\"Pending\"", .doc = "Pending, Running, Ready or Failed"),
    (replicas_ready, i32, .json = "replicasReady", .default_json = "0", .doc = "Instances that serve"),
    (replicas, i32, .default_json = "0",
     .doc = "Instances that are kept: those of spec.replicas once the StatefulSet has been told so"),
    (selector, str, .default_json = "\"\"", .doc = "Of the instances' pods"),
    (observed_generation, i64, .json = "observedGeneration", .default_json = "0",
     .doc = "The spec that this status is of"),
    (current_primary, str, .json = "currentPrimary", .default_json = "\"\"", .doc = "The primary's pod"),
    (endpoint, str, .default_json = "\"\"", .doc = "host:port for reading and writing"),
    (initialized, boolean, .default_json = "false",
     .doc = "There have been data: an instance with an empty volume makes no new database"),
    (conditions, array(object(database_condition)), .merge_key = "type", .max_items = 16, .default_json = "[]",
     .doc = "Ready, Progressing, Degraded"));

PROA_DEFINE_TYPE_WITH(database, (IGNORE), (metadata, object(proa_kube_meta)), (spec, object(database_spec)),
                      (status, object(database_status), .default_json = "{}"));

static const struct proa_crd_column columns[] = {
    {"Engine", "string", ".spec.engine", NULL, 0},
    {"Version", "string", ".spec.version", NULL, 0},
    {"Replicas", "integer", ".spec.replicas", NULL, 0},
    {"Ready", "integer", ".status.replicasReady", "Instances that serve", 0},
    {"Phase", "string", ".status.phase", NULL, 0},
    {"Age", "date", ".metadata.creationTimestamp", NULL, 0},
    {"Primary", "string", ".status.currentPrimary", NULL, 1},
    {"Endpoint", "string", ".status.endpoint", NULL, 1},
    {NULL, NULL, NULL, NULL, 0},
};
static const struct proa_cel_rule object_rules[] = {
    {"self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
     "metadata.name must be a DNS-1035 label of at most 40 characters: lower-case letters, digits and '-', beginning "
     "with "
     "a letter"},
    {NULL, NULL},
};
static const char *const short_names[] = {"db", NULL};
static const char *const categories[] = {"all", NULL};
static const char *const selectable[] = {".spec.engine", ".spec.version", ".status.phase", NULL};

const struct proa_crd_options database_crd = {
    .kind = &database_kind,
    .singular = "database",
    .short_names = short_names,
    .categories = categories,
    .spec = &database_spec_type.type,
    .status = &database_status_type.type,
    .columns = columns,
    .scale_spec_path = ".spec.replicas",
    .scale_status_path = ".status.replicasReady",
    .scale_selector_path = ".status.selector",
    .selectable = selectable,
    .rules = object_rules,
    .doc = "A replicated PostgreSQL, MySQL or MongoDB",
};

/* -- Of other kinds -------------------------------------------------------------------------------------------------- */

#define NONE .default_json = "\"\""
#define EMPTY .default_json = "{}"

PROA_DEFINE_TYPE_WITH(secret_data, (IGNORE), (username, bytes, NONE), (password, bytes, .secret = true, NONE),
                      (replication_password, bytes, .json = "replicationPassword", .secret = true, NONE),
                      (agent_token, bytes, .json = "agentToken", .secret = true, NONE));
PROA_DEFINE_TYPE_WITH(owned_secret, (IGNORE), (data, object(secret_data), EMPTY));

PROA_DEFINE_TYPE_WITH(instance_labels, (IGNORE), (instance, str, .json = "app.kubernetes.io/instance", NONE),
                      (role, str, .json = "database.example.com/role", NONE));
PROA_DEFINE_TYPE_WITH(claim_requests, (IGNORE), (storage, str, NONE));
PROA_DEFINE_TYPE_WITH(claim_resources, (IGNORE), (requests, object(claim_requests), EMPTY));
PROA_DEFINE_TYPE_WITH(claim_spec, (IGNORE), (resources, object(claim_resources), EMPTY));
PROA_DEFINE_TYPE_WITH(claim_labels, (IGNORE), (managed_by, str, .json = "app.kubernetes.io/managed-by", NONE),
                      (instance, str, .json = "app.kubernetes.io/instance", NONE));
PROA_DEFINE_TYPE_WITH(claim_meta, (IGNORE), (namespace_, str, .json = "namespace", NONE), (name, str, NONE),
                      (labels, object(claim_labels), EMPTY),
                      (deletion_timestamp, str, .json = "deletionTimestamp", NONE));
PROA_DEFINE_TYPE_WITH(claim_condition, (IGNORE), (type, str, NONE), (status, str, NONE), (message, str, NONE));
PROA_DEFINE_TYPE_WITH(claim_status, (IGNORE), (capacity, object(claim_requests), EMPTY),
                      (conditions, array(object(claim_condition)), .default_json = "[]"));
PROA_DEFINE_TYPE_WITH(claim, (IGNORE), (metadata, object(claim_meta)), (spec, object(claim_spec), EMPTY),
                      (status, object(claim_status), EMPTY));

PROA_DEFINE_TYPE_WITH(claim_template, (IGNORE), (spec, object(claim_spec), EMPTY));
PROA_DEFINE_TYPE_WITH(stateful_set_spec, (IGNORE), (replicas, i32, .default_json = "0"),
                      (volume_claim_templates, array(object(claim_template)), .json = "volumeClaimTemplates",
                       .default_json = "[]"));
PROA_DEFINE_TYPE_WITH(stateful_set_status, (IGNORE),
                      (observed_generation, i64, .json = "observedGeneration", .default_json = "0"),
                      (ready_replicas, i32, .json = "readyReplicas", .default_json = "0"));
PROA_DEFINE_TYPE_WITH(stateful_set_meta, (IGNORE), (generation, i64, .default_json = "0"),
                      (deletion_timestamp, str, .json = "deletionTimestamp", NONE));
PROA_DEFINE_TYPE_WITH(stateful_set, (IGNORE), (metadata, object(stateful_set_meta)),
                      (spec, object(stateful_set_spec), EMPTY), (status, object(stateful_set_status), EMPTY));

PROA_DEFINE_TYPE_WITH(pod_annotations, (IGNORE), (spec_hash, str, .json = "database.example.com/spec-hash", NONE),
                      (credentials, str, .json = "database.example.com/credentials", NONE));
PROA_DEFINE_TYPE_WITH(pod_meta, (IGNORE), (namespace_, str, .json = "namespace", NONE),
                      (labels, object(instance_labels), EMPTY), (annotations, object(pod_annotations), EMPTY),
                      (deletion_timestamp, str, .json = "deletionTimestamp", NONE));
PROA_DEFINE_TYPE_WITH(pod_condition, (IGNORE), (type, str, NONE), (status, str, NONE), (reason, str, NONE),
                      (message, str, NONE), (last_transition_time, optional(timestamp), .json = "lastTransitionTime"));
PROA_DEFINE_TYPE_WITH(waiting_state, (IGNORE), (reason, str, NONE), (message, str, NONE));
PROA_DEFINE_TYPE_WITH(container_state, (IGNORE), (waiting, object(waiting_state), EMPTY));
PROA_DEFINE_TYPE_WITH(container_status, (IGNORE), (state, object(container_state), EMPTY));
PROA_DEFINE_TYPE_WITH(pod_status, (IGNORE), (pod_ip, str, .json = "podIP", NONE),
                      (conditions, array(object(pod_condition)), .default_json = "[]"),
                      (init_container_statuses, array(object(container_status)), .json = "initContainerStatuses",
                       .default_json = "[]"),
                      (container_statuses, array(object(container_status)), .json = "containerStatuses",
                       .default_json = "[]"));
PROA_DEFINE_TYPE_WITH(pod, (IGNORE), (metadata, object(pod_meta)), (status, object(pod_status), EMPTY));
