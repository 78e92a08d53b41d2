#include "transport/tls_alert.h"

/* X(number, name) */
#define ALERTS(X)                                                                                  \
    X(0, "close_notify")                                                                           \
    X(10, "unexpected_message")                                                                    \
    X(20, "bad_record_mac")                                                                        \
    X(21, "decryption_failed")                                                                     \
    X(22, "record_overflow")                                                                       \
    X(30, "decompression_failure")                                                                 \
    X(40, "handshake_failure")                                                                     \
    X(41, "no_certificate")                                                                        \
    X(42, "bad_certificate")                                                                       \
    X(43, "unsupported_certificate")                                                               \
    X(44, "certificate_revoked")                                                                   \
    X(45, "certificate_expired")                                                                   \
    X(46, "certificate_unknown")                                                                   \
    X(47, "illegal_parameter")                                                                     \
    X(48, "unknown_ca")                                                                            \
    X(49, "access_denied")                                                                         \
    X(50, "decode_error")                                                                          \
    X(51, "decrypt_error")                                                                         \
    X(60, "export_restriction")                                                                    \
    X(70, "protocol_version")                                                                      \
    X(71, "insufficient_security")                                                                 \
    X(80, "internal_error")                                                                        \
    X(86, "inappropriate_fallback")                                                                \
    X(90, "user_canceled")                                                                         \
    X(100, "no_renegotiation")                                                                     \
    X(109, "missing_extension")                                                                    \
    X(110, "unsupported_extension")                                                                \
    X(111, "certificate_unobtainable")                                                             \
    X(112, "unrecognized_name")                                                                    \
    X(113, "bad_certificate_status_response")                                                      \
    X(114, "bad_certificate_hash_value")                                                           \
    X(115, "unknown_psk_identity")                                                                 \
    X(116, "certificate_required")                                                                 \
    X(120, "no_application_protocol")                                                              \
    X(121, "ech_required")

const char *hws_alert_name(unsigned char alert)
{
#define NAME(number, name)                                                                         \
    case number:                                                                                   \
        return name;
    switch (alert) {
        ALERTS(NAME)
    default:
        return "unknown";
    }
#undef NAME
}

int hws_alert_code(unsigned char alert, bool asked, bool met)
{
    switch (alert) {
    case 70: /* protocol_version */
    case 86: /* inappropriate_fallback */
        return HWS_ERR_TLS_VERSION;
    case 71: /* insufficient_security */
        return HWS_ERR_TLS_CIPHER;
    case 40: /* handshake_failure: what servers say for most that they dislike */
        if (asked)
            return HWS_ERR_TLS_CLIENT_CERT;
        return met ? HWS_ERR_TLS_ALERT : HWS_ERR_TLS_CIPHER;
    case 116: /* certificate_required */
        return HWS_ERR_TLS_CLIENT_CERT;
    case 120: /* no_application_protocol; others just choose none */
        return HWS_ERR_NO_ALPN;
    case 41: /* no_certificate to access_denied: about a certificate, ours if they asked for it */
    case 42:
    case 43:
    case 44:
    case 45:
    case 46:
    case 48:
    case 49:
        return asked ? HWS_ERR_TLS_CLIENT_CERT : HWS_ERR_TLS_ALERT;
    default:
        return HWS_ERR_TLS_ALERT;
    }
}
