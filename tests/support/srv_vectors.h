/* srv_vectors.h - DNS responses and what becomes of them.
 *
 * test_srv.c runs them; called with a folder, it writes them there as the fuzz target's corpus. */
#ifndef TESTS_SUPPORT_SRV_VECTORS_H
#define TESTS_SUPPORT_SRV_VECTORS_H

#include <stddef.h>

typedef struct {
    const char *name;
    const char *bytes;
    size_t size;
    /* Each record as "priority weight port target ttl", with "; " between them; or a code. */
    const char *outcome;
} srv_vector_t;

/* Header with a flags word and so many answers, and the question _x._tcp.a.test for SRV. */
#define HEAD(flags, answers) "\x12\x34" flags "\0\1\0" answers "\0\0\0\0"
#define QUESTION                                                                                   \
    "\2_x\4_tcp\1a\4test\0"                                                                        \
    "\0\x21\0\1"
#define OK "\x81\x80"
/* The name of the question, and a.test, by pointers. */
#define NAME "\xc0\x0c"
#define A_TEST "\xc0\x14"
#define SRV(ttl, size) "\0\x21\0\1" ttl "\0" size
#define CNAME(ttl, size) "\0\5\0\1" ttl "\0" size
#define MINUTE "\0\0\0\x3c"
/* 13 bytes: priority 1, weight 2, port 80, t.a.test (and 4 + 2 behind the target's label). */
#define T_DATA                                                                                     \
    "\0\1\0\2\0\x50"                                                                               \
    "\1t" A_TEST
#define T_SIZE "\x0a"
#define T NAME SRV(MINUTE, T_SIZE) T_DATA
#define T_IS "1 2 80 t.a.test 60"

#define VECTOR(name, bytes, outcome)                                                               \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, outcome                                                    \
    }

/* clang-format off */
static const srv_vector_t srv_vectors[] = {
    VECTOR("one", HEAD(OK, "\1") QUESTION T, T_IS),
    VECTOR("two", HEAD(OK, "\2") QUESTION T NAME SRV("\0\0\0\5", "\x0d") "\0\0\xff\xff\0\1" "\5OTHER\0", T_IS "; 0 65535 1 other 5"),
    VECTOR("plain-owner", HEAD(OK, "\1") QUESTION "\2_X\4_TCP\1A\4TEST\0" SRV(MINUTE, T_SIZE) T_DATA, T_IS),
    VECTOR("pointer-to-pointer", HEAD(OK, "\2") QUESTION T NAME SRV(MINUTE, "\x0a") "\0\1\0\2\0\x50" "\1u" "\xc0\x34", T_IS "; 1 2 80 u.a.test 60"),
    VECTOR("ttl-0", HEAD(OK, "\1") QUESTION NAME SRV("\0\0\0\0", T_SIZE) T_DATA, "1 2 80 t.a.test 0"),
    VECTOR("ttl-top-bit", HEAD(OK, "\1") QUESTION NAME SRV("\x80\0\0\1", T_SIZE) T_DATA, "1 2 80 t.a.test 0"),
    VECTOR("alias", HEAD(OK, "\2") QUESTION NAME CNAME("\0\0\0\7", "\4") "\1c" A_TEST "\1c" A_TEST SRV(MINUTE, T_SIZE) T_DATA, "1 2 80 t.a.test 7"),
    VECTOR("alias-after", HEAD(OK, "\2") QUESTION "\1c" A_TEST SRV(MINUTE, T_SIZE) T_DATA NAME CNAME("\0\0\0\7", "\4") "\1c" A_TEST, "NODATA"),
    VECTOR("alias-loop", HEAD(OK, "\2") QUESTION NAME CNAME(MINUTE, "\2") NAME NAME CNAME(MINUTE, "\2") NAME, "NODATA"),
    VECTOR("foreign", HEAD(OK, "\1") QUESTION A_TEST SRV(MINUTE, T_SIZE) T_DATA, "NODATA"),
    VECTOR("other-type", HEAD(OK, "\2") QUESTION NAME "\0\1\0\1" MINUTE "\0\4" "\x0a\0\0\1" T, T_IS),
    VECTOR("other-class", HEAD(OK, "\1") QUESTION NAME "\0\x21\0\3" MINUTE "\0" T_SIZE T_DATA, "NODATA"),
    VECTOR("empty", HEAD(OK, "\0") QUESTION, "NODATA"),
    VECTOR("root", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\7") "\0\0\0\0\0\0" "\0", "NODATA"),
    VECTOR("root-and-one", HEAD(OK, "\2") QUESTION NAME SRV(MINUTE, "\7") "\0\0\0\0\0\0" "\0" T, T_IS),
    VECTOR("more-than-asked", HEAD(OK, "\5") QUESTION T T T T T, T_IS "; " T_IS "; " T_IS "; " T_IS),
    VECTOR("behind", HEAD(OK, "\1") QUESTION T "rest", T_IS),

    VECTOR("formerr", HEAD("\x81\x81", "\0") QUESTION, "DNS"),
    VECTOR("servfail", HEAD("\x81\x82", "\0") QUESTION, "SERVFAIL"),
    VECTOR("nxdomain", HEAD("\x81\x83", "\0") QUESTION, "NXDOMAIN"),
    VECTOR("notimp", HEAD("\x81\x84", "\0") QUESTION, "SERVFAIL"),
    VECTOR("refused", HEAD("\x81\x85", "\0") QUESTION, "DNS_REFUSED"),
    VECTOR("rcode-15", HEAD("\x81\x8f", "\0") QUESTION, "DNS"),

    VECTOR("nothing", "", "DNS_MALFORMED"),
    VECTOR("short-header", "\x12\x34\x81\x80\0\1\0\1\0\0\0", "DNS_MALFORMED"),
    VECTOR("query", HEAD("\1\0", "\1") QUESTION T, "DNS_MALFORMED"),
    VECTOR("opcode", HEAD("\x89\x80", "\1") QUESTION T, "DNS_MALFORMED"),
    VECTOR("truncated-bit", HEAD("\x83\x80", "\1") QUESTION T, "DNS_MALFORMED"),
    VECTOR("no-question", "\x12\x34\x81\x80\0\0\0\1\0\0\0\0" T, "DNS_MALFORMED"),
    VECTOR("two-questions", "\x12\x34\x81\x80\0\2\0\0\0\0\0\0" QUESTION QUESTION, "DNS_MALFORMED"),
    VECTOR("question-type", HEAD(OK, "\0") "\1a\0" "\0\1\0\1", "DNS_MALFORMED"),
    VECTOR("question-class", HEAD(OK, "\0") "\1a\0" "\0\x21\0\3", "DNS_MALFORMED"),
    VECTOR("question-cut", HEAD(OK, "\0") "\2_x\4_t", "DNS_MALFORMED"),
    VECTOR("missing-answer", HEAD(OK, "\2") QUESTION T, "DNS_MALFORMED"),
    VECTOR("answers-65535", "\x12\x34\x81\x80\0\1\xff\xff\0\0\0\0" QUESTION T, "DNS_MALFORMED"),
    VECTOR("loop-itself", HEAD(OK, "\1") QUESTION "\xc0\x20" SRV(MINUTE, T_SIZE) T_DATA, "DNS_MALFORMED"),
    VECTOR("loop-label", HEAD(OK, "\1") QUESTION "\1a\xc0\x20" SRV(MINUTE, T_SIZE) T_DATA, "DNS_MALFORMED"),
    VECTOR("loop-in-question", HEAD(OK, "\0") "\1a\xc0\x0c" "\0\x21\0\1", "DNS_MALFORMED"),
    VECTOR("forward", HEAD(OK, "\1") QUESTION "\xc0\x40" SRV(MINUTE, T_SIZE) T_DATA, "DNS_MALFORMED"),
    VECTOR("into-header", HEAD(OK, "\1") QUESTION "\xc0\x04" SRV(MINUTE, T_SIZE) T_DATA, "DNS_MALFORMED"),
    VECTOR("pointer-cut", HEAD(OK, "\1") QUESTION "\xc0", "DNS_MALFORMED"),
    VECTOR("label-type-01", HEAD(OK, "\1") QUESTION "\x41" "aaaa", "DNS_MALFORMED"),
    VECTOR("label-type-10", HEAD(OK, "\1") QUESTION "\x81" "aaaa", "DNS_MALFORMED"),
    VECTOR("data-too-long", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\xff") T_DATA, "DNS_MALFORMED"),
    VECTOR("data-too-short", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\x09") T_DATA, "DNS_MALFORMED"),
    VECTOR("data-0", HEAD(OK, "\2") QUESTION NAME SRV(MINUTE, "\0") T, "DNS_MALFORMED"),
    VECTOR("data-rest", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\x0b") T_DATA "x", "DNS_MALFORMED"),
    VECTOR("alias-data-rest", HEAD(OK, "\1") QUESTION NAME CNAME(MINUTE, "\3") A_TEST "x", "DNS_MALFORMED"),
    VECTOR("target-blank", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\x0b") "\0\1\0\2\0\x50" "\3a b\0", "DNS_MALFORMED"),
    VECTOR("target-nul", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\x0b") "\0\1\0\2\0\x50" "\3a\0b\0", "DNS_MALFORMED"),
    VECTOR("target-dot", HEAD(OK, "\1") QUESTION NAME SRV(MINUTE, "\x0b") "\0\1\0\2\0\x50" "\3a.b\0", "DNS_MALFORMED"),
    VECTOR("one-bad", HEAD(OK, "\2") QUESTION T NAME SRV(MINUTE, "\7") "\0\1\0\2\0\x50" "\1", "DNS_MALFORMED"),
};
/* clang-format on */

#define SRV_VECTOR_COUNT (sizeof(srv_vectors) / sizeof(srv_vectors[0]))

#endif
