"""grpcd.py - a gRPC server for specs:  python3 grpcd.py KEY CERTIFICATE

Messages are plain bytes here, not protocol buffers. It prints where it listens on 127.0.0.1, a line each, then "ready",
and exits when its standard input closes:

    h2c PORT    in the clear
    tls PORT    over TLS

Its methods:

    /hawser.Echo/Say      unary: the message comes back. "fail CODE TEXT" ends with that status instead, "sleep S" answers
                          after S seconds; initial metadata `x-here`, trailing metadata `x-size`
    /hawser.Echo/Count    server streaming: "N" gets the messages "1" to "N"
    /hawser.Echo/Sum      client streaming: the sum of the sizes of all messages
    /hawser.Echo/Chat     both: each message comes back at once
"""
import sys
import time
from concurrent import futures

import grpc

CODES = {code.value[0]: code for code in grpc.StatusCode}


def say(message, context):
    context.send_initial_metadata((("x-here", "grpcd"),))
    words = message.split(b" ", 2)
    if words[0] == b"fail":
        context.abort(CODES[int(words[1])], words[2].decode())
    if words[0] == b"sleep":
        time.sleep(float(words[1]))
    context.set_trailing_metadata((("x-size", str(len(message))),))
    return message


def count(message, _context):
    for number in range(int(message)):
        yield str(number + 1).encode()


def total(messages, _context):
    return str(sum(len(message) for message in messages)).encode()


def chat(messages, _context):
    yield from messages


def main():
    key, certificate = (open(path, "rb").read() for path in sys.argv[1:3])
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("hawser.Echo", {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Sum": grpc.stream_unary_rpc_method_handler(total),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
    }),))
    credentials = grpc.ssl_server_credentials(((key, certificate),))
    print("h2c", server.add_insecure_port("127.0.0.1:0"))
    print("tls", server.add_secure_port("127.0.0.1:0", credentials))
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(None)


main()
