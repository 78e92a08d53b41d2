// http2d.js - Node's HTTP/2 for specs:  node http2d.js KEY CERTIFICATE [MAX_CONCURRENT_STREAMS]
//
// It prints where it listens on 127.0.0.1, a line each, then "ready", and exits when its standard input closes:
//
//     h2c PORT      HTTP/2 in the clear
//     tls PORT      HTTP/2 and HTTP/1.1 over TLS, by ALPN
//     http1 PORT    HTTP/1.1, for servers that stand in front of it
//
// Every response carries X-Session (which connection of HTTP/2, counted from 1), X-Protocol and X-Method.
//
//     /ok                200, "ok"
//     /status/N          that status
//     /bytes/N           a body of N bytes 'x', with its length
//     /echo              the request's body
//     /sink              "SIZE SUM": the bytes of the request's body, and their sum
//     /upload            "ok", when all of the request's body has come
//     /uploads           the Priority fields of these requests ("none"), in the order in which their bodies were whole
//     /trailers          "ok", then the trailers X-Sum and X-Second
//     /hints             103 with a Link, then 200
//     /drip/N/MS         N bytes, one each MS
//     /push              "refused" when the client wants no pushes; else pushes /pushed, and "allowed"
//     /goaway/CODE       GOAWAY with that code, naming this stream as the last; then 200
//     /shutdown          the graceful GOAWAY; then 200
//     /rst/CODE          RST_STREAM with that code
//     /only/http1        "only" over HTTP/1.1; over HTTP/2 RST_STREAM with HTTP_1_1_REQUIRED
//     /rst-body/CODE     the same after a head and 5 bytes
//     /destroy           the connection closed without a word
//     /never             nothing
//     /ahead             "ahead", all of it at once; what comes of the request then is counted
//     /counted           how many bytes came to the last one
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");

const [keyFile, certFile, maxStreams] = process.argv.slice(2);
const settings = maxStreams ? { maxConcurrentStreams: Number(maxStreams) } : {};
const FILL = Buffer.alloc(65536, "x");
let sessions = 0;
let counted = 0;
const uploads = [];

function fill(res, size) {
  let left = size;
  (function more() {
    while (left > 0) {
      const piece = FILL.subarray(0, Math.min(left, FILL.length));
      left -= piece.length;
      if (!res.write(piece)) return res.once("drain", more);
    }
    res.end();
  })();
}

function drip(res, count, pause) {
  if (count === 0) return res.end();
  res.write("x");
  setTimeout(drip, pause, res, count - 1, pause);
}

const behaviours = {
  ok: (req, res) => res.end("ok"),
  status(req, res, status) {
    res.statusCode = Number(status);
    res.end();
  },
  bytes(req, res, size) {
    res.setHeader("content-length", size);
    if (req.method === "HEAD") res.end();
    else fill(res, Number(size));
  },
  echo: (req, res) => req.pipe(res),
  sink(req, res) {
    let size = 0, sum = 0;
    req.on("data", (chunk) => {
      size += chunk.length;
      for (const byte of chunk) sum += byte;
    });
    req.on("end", () => res.end(`${size} ${sum}`));
  },
  upload(req, res) {
    req.on("end", () => {
      uploads.push(req.headers.priority || "none");
      res.end("ok");
    });
    req.resume();
  },
  uploads: (req, res) => res.end(uploads.splice(0).join(" ")),
  trailers(req, res) {
    res.setHeader("trailer", "x-sum, x-second");
    res.write("ok");
    res.addTrailers({ "x-sum": "218", "x-second": "2" });
    res.end();
  },
  hints(req, res) {
    res.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    res.end("hinted");
  },
  drip: (req, res, count, pause) => drip(res, Number(count), Number(pause)),
  push(req, res) {
    if (!res.stream.pushAllowed) return res.end("refused");
    res.stream.pushStream({ ":path": "/pushed" }, (err, pushed) => {
      if (err) return;
      pushed.respond({ ":status": 200 });
      pushed.end("pushed");
    });
    res.end("allowed");
  },
  goaway(req, res, code) {
    res.stream.session.goaway(Number(code), res.stream.id);
    res.end("ok");
  },
  shutdown(req, res) {
    res.stream.session.close();
    res.end("ok");
  },
  rst: (req, res, code) => res.stream.close(Number(code)),
  only(req, res) {
    if (res.stream) res.stream.close(http2.constants.NGHTTP2_HTTP_1_1_REQUIRED);
    else res.end("only");
  },
  "rst-body"(req, res, code) {
    res.write("xxxxx", () => res.stream.close(Number(code)));
  },
  destroy: (req, res) => (res.stream ? res.stream.session : req.socket).destroy(),
  never: () => {},
  ahead(req, res) {
    counted = 0;
    req.on("data", (chunk) => {
      counted += chunk.length;
    });
    res.end("ahead");
  },
  counted: (req, res) => res.end(String(counted)),
};

function onRequest(req, res) {
  const [name, ...rest] = req.url.split("?")[0].slice(1).split("/");
  req.on("error", () => {});
  res.on("error", () => {});
  if (res.stream) {
    res.stream.on("error", () => {});
    res.setHeader("x-session", String(res.stream.session.number));
  }
  res.setHeader("x-protocol", req.httpVersion);
  res.setHeader("x-method", req.method);
  if (behaviours[name]) behaviours[name](req, res, ...rest);
  else behaviours.status(req, res, 404);
}

function onSession(session) {
  session.number = ++sessions;
  session.on("error", () => {});
}

const secure = { key: fs.readFileSync(keyFile), cert: fs.readFileSync(certFile) };
const servers = {
  h2c: http2.createServer({ settings }, onRequest).on("session", onSession),
  tls: http2.createSecureServer({ ...secure, settings, allowHTTP1: true }, onRequest).on("session", onSession),
  http1: http.createServer(onRequest),
};
const names = Object.keys(servers);
let listening = 0;

for (const name of names) {
  servers[name].on("sessionError", () => {});
  servers[name].listen(0, "127.0.0.1", () => {
    listening++;
    if (listening < names.length) return;
    for (const one of names) console.log(`${one} ${servers[one].address().port}`);
    console.log("ready");
  });
}

process.stdin.on("end", () => process.exit(0)).resume();
