/* yamux_vectors.h - what a peer may say, right and wrong, and what becomes of it.
 *
 * Each is fed to a session that has opened the streams 1 and 3 (a client) or 2 and 4 (a server), said
 * so, and sent "hi" and its end on the second. Then what the peer opened is accepted. `told` is what
 * streams heard, by id, <N> for many bytes; then, where the connection failed, the error's name. `said` is what the codec
 * says at the end. The same is due however the bytes are cut.
 *
 * test_yamux.c runs them; called with a folder, it writes them there as the fuzz target's corpus. */
#ifndef TESTS_SUPPORT_YAMUX_VECTORS_H
#define TESTS_SUPPORT_YAMUX_VECTORS_H

#include <stddef.h>

typedef struct {
    const char *name; /* a file name as well */
    char role;        /* c or s */
    const char *frames;
    const char *told;
    const char *said;
} yamux_vector_t;

static const yamux_vector_t yamux_vectors[] = {
    {"nothing", 'c', "", "1: 3:", ""},
    {"data", 'c', "W A 1 0; D - 1 'hello'", "1: 'hello' 3:", ""},
    {"data-with-ack", 'c', "D A 1 'hello'; D - 1 ' world'", "1: 'hello world' 3:", ""},
    {"data-of-two", 'c', "D A 1 'a'; D A 3 'b'; D - 1 'c'", "1: 'ac' 3: 'b'", ""},
    {"fin", 'c', "W A 1 0; W F 1 0", "1: end 3:", ""},
    {"fin-on-data", 'c', "D AF 1 'all'", "1: 'all' end 3:", ""},
    {"fin-on-empty-data", 'c', "D AF 1 ''", "1: end 3:", ""},
    {"fin-of-both", 'c', "D A 3 'bye'; W F 3 0; D - 3 'late'", "1: 3: 'bye' end", ""},
    {"window-after-fin", 'c', "W F 1 0; W - 1 5", "1: end 3:", ""},
    {"window-of-ended", 'c', "D A 1 262144; W F 1 0", "1: <262144> end 3:", "P S 0 1"},
    {"empty-data", 'c', "D A 1 ''; D - 1 ''", "1: 3:", ""},
    {"rst-unseen", 'c', "W R 1 0; D - 1 'x'", "1: REFUSED_STREAM 3:", ""},
    {"rst-acked", 'c', "W A 1 0; W R 1 0", "1: ECONNRESET 3:", ""},
    {"rst-with-ack", 'c', "W AR 1 0", "1: ECONNRESET 3:", ""},
    {"rst-heard", 'c', "D - 1 'x'; W R 1 0", "1: 'x' ECONNRESET 3:", ""},
    {"rst-after-window", 'c', "W - 1 5; W R 1 0", "1: ECONNRESET 3:", ""},
    {"rst-on-data", 'c', "D AR 1 'gone'; D - 3 'here'", "1: ECONNRESET 3: 'here'", ""},
    {"rst-after-fin", 'c', "W AF 1 0; W R 1 0", "1: end ECONNRESET 3:", ""},
    {"rst-of-half", 'c', "W A 3 0; W R 3 0", "1: 3: ECONNRESET", ""},
    {"unknown-data", 'c', "D - 77 'who'; D A 1 'me'", "1: 'me' 3:", ""},
    {"unknown-window", 'c', "W - 77 5; W F 78 0; W R 80 0", "1: 3:", ""},
    {"id-0", 'c', "D - 0 'who'", "1: 3:", ""},
    {"many-acks", 'c', "W A 1 0; W A 1 0; D A 1 'x'", "1: 'x' 3:", ""},
    {"unknown-flags", 'c', "X 000100f000000001000000ff; D - 1 'x'", "1: 'x' 3:", ""},

    {"opened", 'c', "W S 2 0", "1: 3: 2:", "W A 2 0"},
    {"opened-with-data", 'c', "D S 2 'hello'; D - 2 ' world'", "1: 3: 2: 'hello world'", "W A 2 0"},
    {"opened-and-ended", 'c', "D S 2 'all'; W F 2 0", "1: 3: 2: 'all' end", "W A 2 0"},
    {"opened-in-one", 'c', "D SF 2 'all'", "1: 3: 2: 'all' end", "W A 2 0"},
    {"opened-and-reset", 'c', "D S 2 'no'; W R 2 0", "1: 3:", ""},
    {"opened-reset-at-once", 'c', "W SR 2 0; W SR 2 0", "1: 3:", ""},
    {"opened-again", 'c', "W SR 2 0; D S 2 'x'", "1: 3: 2: 'x'", "W A 2 0"},
    {"opened-in-any-order", 'c', "W S 8 0; W S 2 0; W S 6 0",
     "1: 3: 8: 2: 6:", "W A 8 0; W A 2 0; W A 6 0"},
    {"opened-to-a-server", 's', "D S 1 'x'; W S 3 0", "2: 4: 1: 'x' 3:", "W A 1 0; W A 3 0"},
    {"server", 's', "D A 2 'a'; D A 4 'b'; W F 4 0", "2: 'a' 4: 'b' end", ""},

    {"ping", 'c', "P S 0 7; P S 0 4294967295", "1: 3:", "P A 0 7; P A 0 4294967295"},
    {"pong-of-nothing", 'c', "P A 0 7; P - 0 0", "1: 3:", ""},
    {"go-away", 'c', "G - 0 0; D A 1 'still'; W F 1 0; G - 0 0", "1: 'still' end 3:", ""},
    {"go-away-and-open", 'c', "G - 0 0; W S 2 0", "1: 3: 2:", "W A 2 0"},

    {"version", 'c', "D A 1 'a'; X 010000000000000100000000", "1: 'a' 3: YAMUX_FRAME", "G - 0 1"},
    {"type", 'c', "X 000400000000000100000000", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"http", 'c', "X 485454502f312e3120343030", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"window-of-own", 'c', "D - 1 262144; D - 1 'x'", "1: <262144> 3: YAMUX_FLOW_CONTROL",
     "G - 0 1"},
    {"window-at-once", 'c', "X 000000000000000100040001", "1: 3: YAMUX_FLOW_CONTROL", "G - 0 1"},
    {"window-most", 'c', "X 0000000000000001ffffffff", "1: 3: YAMUX_FLOW_CONTROL", "G - 0 1"},
    {"window-with-syn", 'c', "X 0000000100000002ffffffff", "1: 3: YAMUX_FLOW_CONTROL", "G - 0 1"},
    {"known", 'c', "W S 2 0; W S 2 0", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"parity", 'c', "W S 5 0", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"parity-of-server", 's', "W S 6 0", "2: 4: YAMUX_FRAME", "G - 0 1"},
    {"our-own", 'c', "W S 1 0", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"syn-of-0", 'c', "W S 0 0", "1: 3: YAMUX_FRAME", "G - 0 1"},
    {"fin-twice", 'c', "W F 1 0; W F 1 0", "1: end 3: YAMUX_FRAME", "G - 0 1"},
    {"data-after-fin", 'c', "W F 1 0; D - 1 'x'", "1: end 3: YAMUX_FRAME", "G - 0 1"},
    {"go-away-protocol", 'c', "G - 0 1", "1: 3: YAMUX_GOAWAY", ""},
    {"go-away-internal", 'c', "D A 1 'a'; G - 0 2", "1: 'a' 3: YAMUX_GOAWAY", ""},
    {"go-away-unknown", 'c', "G - 0 9", "1: 3: YAMUX_GOAWAY", ""},
    {"nothing-after-failure", 'c', "G - 0 1; D A 1 'x'; P S 0 7", "1: 3: YAMUX_GOAWAY", ""},
};

#define YAMUX_VECTOR_COUNT (sizeof(yamux_vectors) / sizeof(yamux_vectors[0]))

#endif
