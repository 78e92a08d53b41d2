// undici, the HTTP client of Node.js: a pool of keep-alive connections, no pipelining.
// Run with NODE_PATH set to the node_modules that holds undici.
"use strict";

const { Pool } = require("undici");

const [url, requests, connections] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
const { origin, pathname } = new URL(url);
const pool = new Pool(origin, { connections, pipelining: 1 });
let started = 0;

async function worker() {
    while (started < requests) {
        started++;
        const { statusCode, body } = await pool.request({ path: pathname, method: "GET" });
        const text = await body.text();
        if (statusCode !== 200 || text.length === 0) throw new Error(`status ${statusCode}, ${text.length} bytes`);
    }
}

Promise.all(Array.from({ length: connections }, worker))
    .then(() => pool.close())
    .catch((error) => {
        console.error(error);
        process.exit(1);
    });
