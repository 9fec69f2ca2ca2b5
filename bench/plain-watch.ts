import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { ServerResponse } from 'node:http';

/**
 * The plain way to serve watches, for comparison: every event is encoded and written for every watcher, as it comes.
 * `node plain-watch.js KEY CERTIFICATE`; prints its port. `GET` watches; `POST` of an object makes an event of it, but
 * for namespaces, which nobody watches.
 */
const [key = '', cert = ''] = process.argv.slice(2);
const watchers: ServerResponse[] = [];
let revision = 0;

const server = createServer({ key: readFileSync(key), cert: readFileSync(cert), keepAliveTimeout: 120_000 }, (req, res) => {
  if (req.method === 'GET') {
    res.writeHead(200, { 'content-type': 'application/json' });
    res.flushHeaders();
    watchers.push(res);
    return;
  }
  const parts: Buffer[] = [];
  req.on('data', (part: Buffer) => parts.push(part));
  req.on('end', () => {
    const object = JSON.parse(Buffer.concat(parts).toString()) as { metadata: object };
    // What the API adds to an object.
    object.metadata = { ...object.metadata, uid: randomUUID(), resourceVersion: String(++revision), creationTimestamp: new Date().toISOString() };
    if (!req.url?.endsWith('/namespaces')) for (const watcher of watchers) watcher.write(`${JSON.stringify({ type: 'ADDED', object })}\n`);
    res.writeHead(201, { 'content-type': 'application/json' });
    res.end(JSON.stringify(object));
  });
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as { port: number }).port}\n`));
