import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { WebSocket, WebSocketServer } from 'ws';
import { fromWebSocket, ServerSockets, type FrameSocket } from '../../shared/socket.ts';

const test = suite('socket');

interface Pair { readonly server: FrameSocket; readonly client: FrameSocket; readonly got: Uint8Array[]; readonly over: Promise<string>; close(): void }

async function pair(sockets: ServerSockets): Promise<Pair> {
  const http: Server = createServer();
  const accepting = new WebSocketServer({ server: http, perMessageDeflate: false });
  await new Promise<void>((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  const accepted = new Promise<FrameSocket>((resolve) => { accepting.once('connection', (socket) => { const wrapped = sockets.wrap(socket); wrapped.listen({ frame: () => {}, end: () => {} }); resolve(wrapped); }); });
  const socket = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`);
  const client = fromWebSocket(socket);
  const got: Uint8Array[] = [];
  const over = new Promise<string>((resolve) => { client.listen({ frame: (bytes) => got.push(Buffer.from(bytes)), end: resolve }); });
  await new Promise((resolve) => { socket.once('open', resolve); });
  return { server: await accepted, client, got, over, close: () => { client.destroy(); http.close(); } };
}

test('frames of every length of head arrive whole and in order, before the end', async () => {
  const { server, got, over, close } = await pair(new ServerSockets());
  const lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 300_000, 3];
  const frames = lengths.map((length, i) => Buffer.alloc(length, i + 1));
  let sent = 0;
  for (const frame of frames) server.send(frame, () => { sent++; });
  server.close();
  await over;
  assert.equal(got.map(({ length }) => length), lengths);
  assert.ok(frames.every((frame, i) => frame.equals(got[i]!)));
  assert.is(sent, frames.length);
  close();
});

test('a frame for many, and those for one in between, reach whom they are for', async () => {
  const sockets = new ServerSockets();
  const pairs = [await pair(sockets), await pair(sockets), await pair(sockets)];
  const [first, second] = [Buffer.from('to all'), Buffer.from('this too')];
  for (const [i, { server }] of pairs.entries()) {
    server.send(Buffer.from(`only ${i}`));
    server.send(first);
    server.send(second);
  }
  for (const { server } of pairs) server.close();
  for (const [i, { got, over, close }] of pairs.entries()) {
    await over;
    assert.equal(got.map(String), [`only ${i}`, 'to all', 'this too']);
    close();
  }
});

test('after the end, sending says at once that nothing more is to be waited for', async () => {
  const { server, over, close } = await pair(new ServerSockets());
  server.destroy();
  await over;
  await new Promise<void>((resolve) => { server.send(Buffer.from('late'), resolve); });
  close();
});

test('on Node, a server reads all its connections into one buffer, and a client its own', async () => {
  if ('deno' in process.versions) return;
  const http: Server = createServer();
  const accepting = new WebSocketServer({ server: http, perMessageDeflate: false });
  await new Promise<void>((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  const sockets = new ServerSockets();
  const used = new Set<ArrayBufferLike>();
  let heard = (_bytes: Uint8Array): void => {};
  accepting.on('connection', (socket) => {
    const wrapped = sockets.wrap(socket);
    wrapped.listen({ frame: (bytes) => { heard(bytes); wrapped.send(Buffer.from('answer')); }, end: () => {} });
  });
  for (let count = 0; count < 3; count++) {
    const near = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`);
    await new Promise((resolve) => { near.once('open', resolve); });
    const client = fromWebSocket(near);
    const answers = new Set<ArrayBufferLike>();
    let answered = (): void => {};
    client.listen({ frame: (bytes) => { answers.add(bytes.buffer); answered(); }, end: () => {} });
    for (let turn = 0; turn < 4; turn++) {
      // What comes first is read before anybody can say where to.
      heard = (bytes) => { if (turn > 0) used.add(bytes.buffer); };
      const answer = new Promise<void>((resolve) => { answered = resolve; });
      client.send(Buffer.from('question'));
      await answer;
      if (turn === 0) answers.clear();
    }
    assert.is(answers.size, 1);
    client.destroy();
  }
  assert.is(used.size, 1);
  http.close();
});

test('between open ends, frames of both directions, cut and joined as they come, pings and text arrive in order', async () => {
  const http: Server = createServer();
  const accepting = new WebSocketServer({ server: http, perMessageDeflate: false });
  await new Promise<void>((resolve) => { http.listen(0, '127.0.0.1', resolve); });
  const accepted = new Promise<WebSocket>((resolve) => { accepting.once('connection', resolve); });
  const near = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}`);
  await new Promise((resolve) => { near.once('open', resolve); });
  const far = await accepted;
  const [client, server] = [fromWebSocket(near), new ServerSockets().wrap(far)];
  const lengths = [1, 0, 125, 126, 60_000, 65_536, 2_000_000, 3, 300, 16_384];
  const frames = lengths.map((length, i) => Buffer.alloc(length, i + 1));
  const collected = (socket: FrameSocket): Promise<Buffer[]> => new Promise((resolve) => {
    const got: Buffer[] = [];
    socket.listen({ frame: (bytes) => { got.push(Buffer.from(bytes)); if (got.length === 2 * frames.length + 2) resolve(got); }, end: () => {} });
  });
  const ends = [collected(client), collected(server)];
  for (const [socket, webSocket] of [[client, near], [server, far]] as const) {
    for (const frame of frames) socket.send(frame);
    await new Promise<void>((resolve) => { socket.send(Buffer.from('-'), resolve); });
    webSocket.ping();
    // A text message is none of ours, and shows as an empty one; what follows comes all the same.
    webSocket.send('text');
    for (const frame of frames) socket.send(frame);
  }
  for (const got of await Promise.all(ends)) assert.equal(got.map(({ length }) => length), [...lengths, 1, 0, ...lengths]);
  client.destroy();
  http.close();
});

test.run();
