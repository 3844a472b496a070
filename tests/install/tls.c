/* A project elsewhere that links TLS: a context from nothing but text, refused for what is no certificate. */
#include <proa/tls.h>
#include <string.h>

int main(void)
{
    struct proa_error err = {0};
    struct proa_tls *tls = NULL;

    if (proa_tls_client_new(&(struct proa_tls_options){.ca_pem = PROA_STR("no certificate")}, &tls, &err) >= 0)
        return 1;
    return strlen(err.message) > 0 ? 0 : 1;
}
