import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

/** A name server on a loopback port that gives every name `answer`, says that there is none, or keeps silent. */
export async function nameServer(answer: readonly number[] | 'none' | 'silence'): Promise<{ address: string; socket: Socket }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.on('message', (query, { port, address }) => {
    if (answer === 'silence') return;
    const reply = Buffer.from(query);
    const question = query.subarray(0, query.indexOf(0, 12) + 5);
    const found = answer !== 'none' && question.readUInt16BE(question.length - 4) === 1;
    reply.writeUInt16BE(answer === 'none' ? 0x8183 : 0x8180, 2);
    const head = Buffer.from(question);
    head.writeUInt16BE(answer === 'none' ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(found ? 1 : 0, 6);
    head.writeUInt16BE(0, 8);
    head.writeUInt16BE(0, 10);
    const record = found ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...answer]) : Buffer.alloc(0);
    socket.send(Buffer.concat([head, record]), port, address);
  });
  return { address: `127.0.0.1:${(socket.address() as AddressInfo).port}`, socket };
}
