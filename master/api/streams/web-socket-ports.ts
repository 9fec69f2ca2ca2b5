import { forward, type ForwardClient, type Forwarding } from './forwarding.ts';
import type { ChannelSocket } from './web-socket-channels.ts';

export const webSocketPortProtocols = ['v4.channel.k8s.io', 'v4.base64.channel.k8s.io'] as const;

/**
 * Serves one connection to each of some ports: data on channel 2 × i, an error's text on 2 × i + 1, and on both first the
 * port (u16, little-endian). The client cannot end its direction alone. Never rejects.
 */
export async function servePortsOverWebSocket(socket: ChannelSocket, ports: readonly number[], forwarding: Forwarding): Promise<void> {
  const inputs = ports.map(() => new Input());
  socket.listen({
    message: (channel, bytes) => (channel % 2 === 0 && bytes.length > 0 ? inputs[channel / 2]?.push(bytes) : undefined),
    end: () => { for (const input of inputs) input.fail(); },
  });
  await Promise.all(ports.map((port, index) => carry(socket, port, index, inputs[index]!, forwarding)));
  socket.close();
}

async function carry(socket: ChannelSocket, port: number, index: number, input: Input, forwarding: Forwarding): Promise<void> {
  const name = Buffer.from([port & 0xff, port >> 8]);
  await socket.send(2 * index, name);
  await socket.send(2 * index + 1, name);
  const client: ForwardClient = { read: () => input.read(), write: (bytes) => socket.send(2 * index, bytes) };
  const failure = await forward(forwarding, port, client);
  if (failure !== undefined) await socket.send(2 * index + 1, Buffer.from(failure));
  input.fail();
}

/** Messages of one channel on their way to one reader. */
class Input {
  readonly #waiting: { readonly bytes: Uint8Array; readonly taken: () => void }[] = [];
  #over = false;
  #wake: (() => void) | undefined;

  /** Resolves when the bytes were read. */
  push(bytes: Uint8Array): Promise<void> {
    if (this.#over) return Promise.resolve();
    return new Promise((taken) => {
      this.#waiting.push({ bytes: Buffer.from(bytes), taken });
      this.#wake?.();
    });
  }

  fail(): void {
    this.#over = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
    this.#wake?.();
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const first = this.#waiting.shift();
      if (first) {
        first.taken();
        return first.bytes;
      }
      if (this.#over) throw new Error('the client went away');
      await new Promise<void>((resolve) => { this.#wake = resolve; });
    }
  }
}
