/* The plan: what is wrong, what is wanted, and in which order it is changed. */
#include "plan.h"

#include "agent/derive.h"
#include <proa/text.h>

#include <stdio.h>

enum { USERS_CREDENTIAL_MAX = 1024 /* as the agents take */ };

/* -- Names and quantities -------------------------------------------------------------------------------------------- */

proa_str plan_pod_name(struct proa_arena *arena, proa_str database, uint32_t index)
{
    return proa_arena_printf(arena, PROA_FMT "-%u", PROA_ARG(database), index);
}

proa_str plan_claim_name(struct proa_arena *arena, proa_str database, uint32_t index)
{
    return proa_arena_printf(arena, "data-" PROA_FMT "-%u", PROA_ARG(database), index);
}

proa_str plan_secret_name(struct proa_arena *arena, proa_str database)
{
    return proa_arena_printf(arena, PROA_FMT "-credentials", PROA_ARG(database));
}

bool credential_is_good(proa_str value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.ptr[i] < '!' || value.ptr[i] > '~')
            return false;
    return value.len >= 8 && value.len <= 128;
}

/* "1500" with suffix "" as few digits as the API server writes: a thousand of one suffix is one of the next. */
static proa_str reduce(struct proa_arena *arena, uint64_t value, proa_str suffix)
{
    static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    static const char *const decimal[] = {"m", "", "k", "M", "G", "T", "P", "E"};
    bool is_binary = suffix.len == 2;
    const char *const *names = is_binary ? binary : decimal;
    size_t count = is_binary ? PROA_COUNT(binary) : PROA_COUNT(decimal), at = 0;
    uint64_t step = is_binary ? 1024 : 1000;

    while (at < count && !proa_str_eq_c(suffix, names[at]))
        at++;
    if (at == count)
        return (proa_str){NULL, 0};
    if (value == 0)
        return PROA_STR("0");
    for (; at + 1 < count && value % step == 0; at++)
        value /= step;
    return proa_arena_printf(arena, "%llu%s", (unsigned long long)value, names[at]);
}

/* Up to three digits of a fraction, without a suffix: thousandths. */
static bool thousandths(proa_str whole, proa_str fraction, uint64_t *ret_value)
{
    uint64_t value;

    if (fraction.len == 0 || fraction.len > 3 || proa_str_to_u64(whole, &value) < 0 || value > UINT64_MAX / 1000 - 1)
        return false;
    value *= 1000;
    for (size_t i = 0, unit = 100; i < fraction.len; i++, unit /= 10) {
        if (fraction.ptr[i] < '0' || fraction.ptr[i] > '9')
            return false;
        value += (uint64_t)(fraction.ptr[i] - '0') * unit;
    }
    *ret_value = value;
    return true;
}

proa_str quantity_canonical(struct proa_arena *arena, proa_str text)
{
    size_t digits = 0;
    uint64_t value;
    proa_str reduced;

    while (digits < text.len && text.ptr[digits] >= '0' && text.ptr[digits] <= '9')
        digits++;
    if (digits < text.len && text.ptr[digits] == '.') {
        if (!thousandths(proa_str_slice(text, 0, digits), proa_str_slice(text, digits + 1, text.len), &value))
            return text;
        reduced = reduce(arena, value, PROA_STR("m"));
        return reduced.ptr ? reduced : text;
    }
    if (proa_str_to_u64(proa_str_slice(text, 0, digits), &value) < 0)
        return text;
    reduced = reduce(arena, value, proa_str_slice(text, digits, text.len));
    return reduced.ptr ? reduced : text;
}

/* -- What is wrong with a spec ----------------------------------------------------------------------------------------- */

static bool is_name(proa_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = c >= 'a' && c <= 'z', is_digit = c >= '0' && c <= '9';

        if (!is_letter && (i == 0 || (!is_digit && (c != '-' || i + 1 == name.len))))
            return false;
    }
    return name.len > 0 && name.len <= DATABASE_NAME_MAX;
}

__attribute__((format(printf, 4, 5))) static void problem(struct plan_problem *out, struct proa_arena *arena,
                                                          const char *reason, const char *format, ...)
{
    va_list args;

    if (out->reason)
        return;
    va_start(args, format);
    *out = (struct plan_problem){.reason = reason, .message = proa_arena_vprintf(arena, format, args)};
    va_end(args);
}

static void check_version(struct plan_problem *out, const struct plan_input *in)
{
    proa_str version = in->database->spec.version, rest = version, major;
    uint64_t number = 0;

    if (!proa_str_split(&rest, '.', &major) || proa_str_to_u64(major, &number) < 0)
        problem(out, in->arena, "InvalidSpec", "spec.version \"" PROA_FMT "\" is no version: write it as \"%u\"",
                PROA_ARG(version), in->engine->major_max);
    else if (number < in->engine->major_min || number > in->engine->major_max)
        problem(out, in->arena, "InvalidSpec",
                "spec.version " PROA_FMT
                ": this operator knows %s of the majors %u to %u; delete this Database and make "
                "one of such a version",
                PROA_ARG(version), in->engine->name, in->engine->major_min, in->engine->major_max);
}

static void check_parameters(struct plan_problem *out, const struct plan_input *in)
{
    const struct database_spec *spec = &in->database->spec;

    if (spec->parameters.len > DATABASE_PARAMETERS_MAX)
        problem(out, in->arena, "InvalidSpec", "spec.parameters has more than %u entries: remove some",
                DATABASE_PARAMETERS_MAX);
    for (size_t i = 0; i < spec->parameters.len && !out->reason; i++) {
        proa_str key = spec->parameters.ptr[i].key, value = spec->parameters.ptr[i].value;

        if (!in->engine->is_key(key))
            problem(out, in->arena, "InvalidSpec",
                    "spec.parameters: \"" PROA_FMT "\" is no setting as %s writes them: remove or correct it",
                    PROA_ARG(key), in->engine->name);
        else if (engine_owns(in->engine, key))
            problem(out, in->arena, "InvalidSpec", "spec.parameters." PROA_FMT " is set by the operator: remove it",
                    PROA_ARG(key));
        else if (proa_str_find_char(value, '\n') >= 0 || proa_str_find_char(value, '\r') >= 0)
            problem(out, in->arena, "InvalidSpec", "spec.parameters." PROA_FMT " contains a line break: remove it",
                    PROA_ARG(key));
    }
}

static void check_size(struct plan_problem *out, const struct plan_input *in)
{
    proa_str size = in->database->spec.storage_size;
    uint64_t bytes, is_bytes;

    if (proa_bytes_parse(size, &bytes) < 0)
        problem(out, in->arena, "InvalidSpec", "spec.storageSize \"" PROA_FMT "\" is no size: write it as \"10Gi\"",
                PROA_ARG(size));
    else if (in->facts->has_set && proa_bytes_parse(in->facts->set_size, &is_bytes) == 0 && bytes < is_bytes)
        problem(out, in->arena, "InvalidSpec",
                "spec.storageSize " PROA_FMT " is smaller than the volumes are (" PROA_FMT
                "), and volumes cannot shrink: set it to " PROA_FMT " or more",
                PROA_ARG(size), PROA_ARG(in->facts->set_size), PROA_ARG(in->facts->set_size));
}

/* As people make files: the agent takes them so too. */
static proa_str without_line_end(proa_str text)
{
    while (text.len > 0 && (text.ptr[text.len - 1] == '\n' || text.ptr[text.len - 1] == '\r'))
        text.len--;
    return text;
}

static bool is_plain(proa_str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < '!' || text.ptr[i] > '~')
            return false;
    return text.len > 0 && text.len <= USERS_CREDENTIAL_MAX;
}

/* What the agents would refuse, each for itself and at its own time. */
static void check_users_credentials(struct plan_problem *out, const struct plan_input *in, proa_str secret)
{
    proa_str username = without_line_end(in->facts->user_credentials.username);
    proa_str password = without_line_end(in->facts->user_credentials.password);
    const char *why_not = in->engine->why_not_user(username);

    if (!is_plain(username) || !is_plain(password))
        problem(out, in->arena, "CredentialsUnusable",
                "Secret " PROA_FMT
                " (spec.credentialsSecretName): %s must be 1 to %d printable ASCII characters without "
                "spaces: change it",
                PROA_ARG(secret), is_plain(username) ? "password" : "username", USERS_CREDENTIAL_MAX);
    else if (why_not)
        problem(out, in->arena, "CredentialsUnusable",
                "Secret " PROA_FMT " (spec.credentialsSecretName): %s: choose another username", PROA_ARG(secret),
                why_not);
}

static void check_credentials(struct plan_problem *out, const struct plan_input *in)
{
    proa_str name = in->database->spec.credentials_secret_name;
    proa_str own = plan_secret_name(in->arena, in->database->metadata.name);

    if (name.len == 0)
        return;
    if (proa_str_eq(name, own))
        problem(out, in->arena, "InvalidSpec",
                "spec.credentialsSecretName " PROA_FMT
                " is the operator's own Secret: leave the field out, or name another Secret",
                PROA_ARG(name));
    else if (in->facts->user_secret == USER_SECRET_MISSING)
        problem(out, in->arena, "CredentialsMissing",
                "Secret " PROA_FMT " (spec.credentialsSecretName) does not exist: create it with the keys username and "
                "password",
                PROA_ARG(name));
    else if (in->facts->user_secret == USER_SECRET_INCOMPLETE)
        problem(out, in->arena, "CredentialsIncomplete",
                "Secret " PROA_FMT " (spec.credentialsSecretName) lacks username or password: add both, not empty",
                PROA_ARG(name));
    else
        check_users_credentials(out, in, name);
}

/* Of instances that are still to be made: who removes the labels of a claim in use loses nothing. */
static void check_claims(struct plan_problem *out, const struct plan_input *in)
{
    uint32_t made = in->facts->has_set && in->facts->set.spec.replicas > 0 ? (uint32_t)in->facts->set.spec.replicas : 0;

    for (uint32_t i = made; i < (uint32_t)in->database->spec.replicas && i < INSTANCES_MAX; i++)
        if (in->facts->claims[i].is_foreign) {
            proa_str name = plan_claim_name(in->arena, in->database->metadata.name, i);

            problem(
                out, in->arena, "ObjectExists",
                "PersistentVolumeClaim " PROA_FMT
                ": it exists already and was not made for this Database: delete it, give the Database another name, "
                "or label it as this Database's if its data are meant",
                PROA_ARG(name));
            return;
        }
}

static void check_spec(struct plan_problem *out, const struct plan_input *in)
{
    const struct database *database = in->database;

    if (!is_name(database->metadata.name))
        problem(out, in->arena, "InvalidSpec",
                "metadata.name must be a DNS-1035 label of at most %u characters: delete this Database and make one of "
                "another name",
                DATABASE_NAME_MAX);
    if (database->spec.replicas < 1 || database->spec.replicas > DATABASE_REPLICAS_MAX)
        problem(out, in->arena, "InvalidSpec", "spec.replicas %d must be 1 to %u", database->spec.replicas,
                DATABASE_REPLICAS_MAX);
    check_version(out, in);
    check_size(out, in);
    check_parameters(out, in);
    check_credentials(out, in);
    check_claims(out, in);
}

/* -- Spec hash --------------------------------------------------------------------------------------------------------- */

/* FNV-1a, with the length first so that neighbours do not run together. The values live in clusters: this must never change. */
static uint64_t hash(uint64_t h, proa_str s)
{
    const uint64_t prime = UINT64_C(0x100000001b3);

    for (unsigned i = 0; i < 4; i++)
        h = (h ^ ((s.len >> (8 * i)) & 0xff)) * prime;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * prime;
    return h;
}

/* The order of a map's entries does not count. */
static uint64_t hash_quantities(struct proa_arena *arena, uint64_t h, const struct database_resources *resources,
                                bool limits)
{
    size_t count = limits ? resources->limits.len : resources->requests.len;
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        proa_str key = limits ? resources->limits.ptr[i].key : resources->requests.ptr[i].key;
        proa_str value = limits ? resources->limits.ptr[i].value : resources->requests.ptr[i].value;

        sum += hash(hash(UINT64_C(0xcbf29ce484222325), key), quantity_canonical(arena, value));
    }
    return hash(h, proa_str_n((const char *)&sum, sizeof sum));
}

static void spec_hash(const struct plan_input *in, char out[SPEC_HASH_LEN + 1])
{
    const struct database_spec *spec = &in->database->spec;
    uint8_t order[DATABASE_PARAMETERS_MAX];
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    h = hash(h, proa_str_c(in->engine->name));
    h = hash(h, spec->version);
    h = hash(h, spec->image);
    h = hash(h, spec->credentials_secret_name);
    h = hash_quantities(in->arena, h, &spec->resources, false);
    h = hash_quantities(in->arena, h, &spec->resources, true);
    parameters_sorted(spec, order);
    for (size_t i = 0; i < spec->parameters.len; i++) {
        h = hash(h, spec->parameters.ptr[order[i]].key);
        h = hash(h, spec->parameters.ptr[order[i]].value);
    }
    snprintf(out, SPEC_HASH_LEN + 1, "%016llx", (unsigned long long)h);
}

/* -- Who is primary ---------------------------------------------------------------------------------------------------- */

/* Who was primary stays it: moving it needs more than a plan. */
static int choose_primary(const struct plan_input *in, struct plan *plan)
{
    proa_str name = in->database->metadata.name, primary = in->database->status.current_primary;
    uint64_t index = 0;

    if (primary.len > name.len + 1 && proa_str_starts_with(primary, name) && primary.ptr[name.len] == '-' &&
        proa_str_to_u64(proa_str_slice(primary, name.len + 1, primary.len), &index) == 0 && index < INSTANCES_MAX)
        plan->primary_index = (uint32_t)index;
    plan->primary = plan_pod_name(in->arena, name, plan->primary_index);
    plan->replicas = (uint32_t)in->database->spec.replicas;
    if (plan->replicas <= plan->primary_index)
        plan->replicas = plan->primary_index + 1; /* it is not scaled away */
    return plan->primary.ptr ? 0 : PROA_ENOMEM;
}

/* Keyed by the agents' token, which is random: who can read pods can try no password against it, not even one who knows another. */
static int credentials_hash(const struct plan_input *in, char out[SPEC_HASH_LEN + 1])
{
    const struct secret_data *is = &in->facts->secret, *users = &in->facts->user_credentials;
    const proa_str parts[] = {is->agent_token, is->replication_password, is->password, users->username,
                              users->password};
    unsigned char code[DERIVED_BYTES];
    struct proa_buf text;

    proa_buf_init(&text, in->arena, 0);
    for (size_t i = 0; i < PROA_COUNT(parts); i++)
        proa_buf_printf(&text, "%zu:" PROA_FMT, parts[i].len, PROA_ARG(parts[i]));
    if (text.error < 0 || derive_code(is->agent_token, proa_buf_str(&text), code) < 0)
        return PROA_ENOMEM;
    proa_hex_encode(out, proa_str_n((const char *)code, SPEC_HASH_LEN / 2));
    out[SPEC_HASH_LEN] = '\0';
    return 0;
}

static void plan_roles(const struct plan_input *in, struct plan *plan)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        const struct plan_pod *pod = &in->facts->pods[i];
        const char *wanted = i == plan->primary_index ? "primary" : "replica";

        if (!pod->exists || pod->is_terminating)
            continue;
        if (!proa_str_eq_c(pod->role, wanted))
            plan->roles[i] = wanted;
        plan->refresh[i] =
            in->facts->has_secret && !plan->problem.reason && !proa_str_eq_c(pod->credentials, plan->credentials_hash);
    }
}

/* -- Restarts ---------------------------------------------------------------------------------------------------------- */

static bool is_stale(const struct plan *plan, const struct plan_pod *pod)
{
    return pod->exists && !proa_str_eq_c(pod->spec_hash, plan->spec_hash);
}

/* Standbys from the last to the first, then the primary. */
static int next_stale(const struct plan_input *in, const struct plan *plan, bool is_ready)
{
    for (int i = (int)plan->replicas - 1; i >= 0; i--)
        if ((uint32_t)i != plan->primary_index && is_stale(plan, &in->facts->pods[i]) &&
            in->facts->pods[i].is_ready == is_ready)
            return i;
    if (is_stale(plan, &in->facts->pods[plan->primary_index]) &&
        in->facts->pods[plan->primary_index].is_ready == is_ready)
        return (int)plan->primary_index;
    return -1;
}

/* One at a time: while a pod is missing or going, nothing. One that does not run anyway (its image may be the mistake that is being
 * mended) goes first, whatever the others do; one that serves only while all others serve. */
static void plan_restart(const struct plan_input *in, struct plan *plan)
{
    bool all_ready = true;
    int index;

    plan->restart = -1;
    for (uint32_t i = 0; i < plan->replicas; i++)
        plan->is_restarting = plan->is_restarting || is_stale(plan, &in->facts->pods[i]);
    /* A pod comes back with the template that the StatefulSet controller knows. */
    if (!plan->is_restarting || !in->facts->has_set || in->facts->set_is_terminating ||
        in->facts->set.status.observed_generation < in->facts->set.metadata.generation)
        return;
    for (uint32_t i = 0; i < plan->replicas; i++) {
        const struct plan_pod *pod = &in->facts->pods[i];

        if (!pod->exists || pod->is_terminating)
            return;
        all_ready = all_ready && pod->is_ready;
    }
    index = next_stale(in, plan, false);
    if (index < 0 && all_ready)
        index = next_stale(in, plan, true);
    plan->restart = index;
}

/* -- Storage ----------------------------------------------------------------------------------------------------------- */

static bool is_smaller(proa_str size, proa_str than)
{
    uint64_t bytes, wanted;

    return proa_bytes_parse(size, &bytes) == 0 && proa_bytes_parse(than, &wanted) == 0 && bytes < wanted;
}

/* Claims first, also those of instances that were scaled away; the template, which new claims are made from, by another StatefulSet. */
static void plan_storage(const struct plan_input *in, struct plan *plan)
{
    for (uint32_t i = 0; i < INSTANCES_MAX; i++) {
        const struct plan_claim *claim = &in->facts->claims[i];

        if (claim->exists && !claim->is_terminating && is_smaller(claim->size, plan->size)) {
            plan->grow_claims[i] = true;
            plan->is_growing = true;
        } else if (claim->exists && i < plan->replicas && claim->capacity.len > 0 &&
                   is_smaller(claim->capacity, claim->size)) {
            plan->is_resizing = true;
        }
    }
    if (in->facts->has_set && !in->facts->set_is_terminating && is_smaller(in->facts->set_size, plan->size)) {
        plan->replace_set = true;
        plan->is_growing = true;
    }
}

/* -- Deletion ---------------------------------------------------------------------------------------------------------- */

/* What has the Database as its owner goes with it; Secret (Retain) and claims are seen to here. */
static int plan_deletion(const struct plan_input *in, struct plan *plan)
{
    const struct plan_facts *facts = in->facts;

    plan->is_deleting = true;
    if (!proa_kube_has_finalizer(&in->database->metadata, DATABASE_FINALIZER))
        return 0;
    /* Pods that a StatefulSet let go (volumes were growing) would run on for ever. One that is going may still let go of some. */
    for (uint32_t i = 0; i < INSTANCES_MAX && !facts->has_set; i++)
        plan->delete_pods[i] = facts->pods[i].exists && facts->pods[i].is_orphan && !facts->pods[i].is_terminating;
    if (in->database->spec.deletion_policy == DELETION_RETAIN) {
        plan->remove_finalizer = !facts->has_set || !facts->set_is_terminating;
        return facts->has_secret ? plan_write_kept_secret(in, plan) : 0;
    }
    /* A claim that goes while its StatefulSet is there would be made again. */
    if (facts->has_set) {
        plan->delete_set = !facts->set_is_terminating;
        return 0;
    }
    for (uint32_t i = 0; i < INSTANCES_MAX; i++)
        if (facts->pods[i].exists)
            return 0;
    plan->delete_claims = true;
    plan->remove_finalizer = true;
    return 0;
}

static int plan_running(const struct plan_input *in, struct plan *plan)
{
    if (!plan->problem.reason) {
        spec_hash(in, plan->spec_hash);
        PROA_TRY(credentials_hash(in, plan->credentials_hash));
        plan_restart(in, plan);
        plan_storage(in, plan);
    }
    plan_roles(in, plan);
    /* One that is going is waited for; its deletion brings the next plan. */
    return in->facts->set_is_terminating ? 0 : plan_write_objects(in, plan);
}

int plan_make(struct proa_arena *arena, const struct database *database, const struct plan_facts *facts,
              const struct plan_settings *settings, struct plan *ret_plan)
{
    const struct plan_input in = {arena, database, facts, settings, engine_of(database->spec.engine)};
    struct plan plan = {.restart = -1};

    PROA_TRY(choose_primary(&in, &plan));
    plan.size = quantity_canonical(arena, database->spec.storage_size);
    if (database->metadata.deletion_timestamp.presence == PROA_SET) {
        PROA_TRY(plan_deletion(&in, &plan));
        *ret_plan = plan;
        return 0;
    }
    plan.add_finalizer = !database->spec.paused && !proa_kube_has_finalizer(&database->metadata, DATABASE_FINALIZER);
    check_spec(&plan.problem, &in);
    if (plan.problem.reason && !plan.problem.message.ptr)
        return PROA_ENOMEM;
    /* A mistake in the spec of a Database that runs holds back what would be made of it, and nothing else. */
    if (!database->spec.paused && (!plan.problem.reason || facts->has_set))
        PROA_TRY(plan_running(&in, &plan));
    *ret_plan = plan;
    return 0;
}
