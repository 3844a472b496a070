/* Descriptions of the service's structs: JSON, validation, SQL rows, query and configuration come from these. */
#include "users.h"

PROA_DEFINE_TYPE_WITH(user, (.doc = "A user of the service"),
                      (id, u64, .read_only = true, .doc = "Given by the service", .example_json = "1"),
                      (name, str, .min_len = 1, .max_len = 100, .doc = "How the user is called",
                       .example_json = "\"Ada Lovelace\""),
                      (email, str, .min_len = 3, .max_len = 254, .format = PROA_FORMAT_EMAIL,
                       .doc = "Unique, whatever the case of its letters", .example_json = "\"ada@example.org\""));

PROA_DEFINE_TYPE(stored_user, (id, u64), (name, str), (email, str), (version, u64));

PROA_DEFINE_TYPE(list_query,
                 (limit, u32, PROA_RANGE(1, USERS_LIST_MAX), .default_json = "20", .doc = "Users on a page"),
                 (cursor, optional(str), .max_len = 64, .doc = "Where the last page ended, from its Link"),
                 (email, optional(str), .max_len = 254, .doc = "Only the user with this email"));

PROA_DEFINE_TYPE(database_config,
                 (shared_connections, u32, PROA_RANGE(0, 1000), .default_json = "0",
                  .doc = "Connections for single statements; 0 is 2 a loop, at most 8 (SQLite: 4 readers)"),
                 (own_connections, u32, PROA_RANGE(1, 1000), .default_json = "16",
                  .doc = "Connections for transactions and long statements"),
                 (waiting, u32, PROA_RANGE(1, 1000000), .default_json = "1000",
                  .doc = "Requests that wait for a connection; more are answered 503"),
                 (statement_ms, u32, PROA_RANGE(1, 3600000), .default_json = "15000",
                  .doc = "Time-out of a single statement; then 504"),
                 (connect_ms, u32, PROA_RANGE(1, 600000), .default_json = "5000",
                  .doc = "Time-out of making a connection"));

PROA_DEFINE_TYPE(users_config,
                 (database_url, str, .secret = true, .default_json = "\"sqlite:users.db\"", .env = "DATABASE_URL",
                  .flag = "database-url", .doc = "sqlite:FILE or postgres://user:password@host:port/name"),
                 (database, object(database_config)));
