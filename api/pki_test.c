#include "api/pki.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/pki-test-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command);
}

static const char *const dns[] = {"localhost", "kubernetes", NULL};
static const char *const ips[] = {"127.0.0.1", "10.96.0.1", NULL};
static const char *const more[] = {"127.0.0.1", "10.96.0.1", "192.0.2.7", NULL};

static void test_kept(void **state)
{
    (void)state;
    struct pki one, two, three;
    struct err err = ERR_INIT;
    assert_int_equal(pki_load(dir, dns, ips, &one, &err), 0);
    assert_int_equal(pki_load(dir, dns, ips, &two, &err), 0);
    assert_string_equal(one.ca.cert_pem, two.ca.cert_pem);
    assert_string_equal(one.server.cert_pem, two.server.cert_pem);
    assert_string_equal(one.admin.key_pem, two.admin.key_pem);
    assert_string_equal(one.sa_key_pem, two.sa_key_pem);
    assert_int_equal(pki_load(dir, dns, more, &three, &err), 0); /* another address: a new certificate, the same CA */
    assert_string_equal(one.ca.cert_pem, three.ca.cert_pem);
    assert_string_not_equal(one.server.cert_pem, three.server.cert_pem);
    pki_finish(&one);
    pki_finish(&two);
    pki_finish(&three);
}

static X509 *parse(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    return x;
}

static void test_node(void **state)
{
    (void)state;
    struct pki p;
    struct pki_node n;
    struct err err = ERR_INIT;
    static const char *const addresses[] = {"192.0.2.9", NULL};
    assert_int_equal(pki_load(dir, dns, ips, &p, &err), 0);
    assert_int_equal(pki_issue_node(dir, "worker", addresses, &n, &err), 0);
    X509 *serving = parse(n.serving.cert_pem), *ca = parse(p.ca.cert_pem);
    assert_int_equal(X509_check_ip_asc(serving, "192.0.2.9", 0), 1);
    assert_int_equal(X509_check_host(serving, "worker", 0, 0, NULL), 1);
    assert_int_equal(X509_verify(serving, X509_get0_pubkey(ca)), 1);
    X509_free(serving);
    X509_free(ca);
    pki_node_finish(&n);
    pki_finish(&p);
}

static void test_csr(void **state)
{
    (void)state;
    struct pki p;
    struct err err = ERR_INIT;
    char *pem;
    assert_int_equal(pki_load(dir, dns, ips, &p, &err), 0);
    assert_int_equal(pki_sign_csr(&p.ca, STR("nonsense"), true, false, 3600, &pem, &err), ERR_BAD_REQUEST);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *req = X509_REQ_new();
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(req), "CN", MBSTRING_ASC,
                               (const unsigned char *)"system:node:a", -1, -1, 0);
    X509_REQ_set_pubkey(req, key);
    X509_REQ_sign(req, key, EVP_sha256());
    BIO *bio = BIO_new(BIO_s_mem());
    PEM_write_bio_X509_REQ(bio, req);
    char *text;
    long len = BIO_get_mem_data(bio, &text);
    assert_int_equal(pki_sign_csr(&p.ca, (struct str){text, (size_t)len}, false, true, 3600, &pem, &err), 0);
    X509 *x = parse(pem), *ca = parse(p.ca.cert_pem);
    assert_int_equal(X509_verify(x, X509_get0_pubkey(ca)), 1);
    X509_free(x);
    X509_free(ca);
    free(pem);
    BIO_free(bio);
    X509_REQ_free(req);
    EVP_PKEY_free(key);
    pki_finish(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kept), cmocka_unit_test(test_node),
                                       cmocka_unit_test(test_csr)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
