import type { ByteStream } from '../../shared/byte-stream.ts';
import { carry, SocketReader } from '../../shared/carry.ts';
import type { Backend } from './routes.ts';
import type { TcpConnection, TcpForwarding } from './tcp.ts';

/** What to ask the master for. */
export interface RelayWish { readonly namespace: string; readonly slice: string; readonly address: string; readonly port: number }

/** Opens a stream to an endpoint on another node; undefined without a master that relays. @throws when there are too many */
export type OpenRelay = (wish: RelayWish) => ByteStream | undefined;

/** A way to a backend through the master: usable once the node there says that the pod has accepted. */
export class RelayedConnection {
  readonly #stream: ByteStream;
  #given = false;

  /** `done` is called once, later, with the reason if it failed; never after {@link reset}. @throws when it cannot be tried */
  constructor(open: OpenRelay, { address, port, slice = '' }: Backend, done: (error?: Error) => void) {
    const slash = slice.indexOf('/');
    const stream = open({ namespace: slice.slice(0, slash), slice: slice.slice(slash + 1), address, port });
    if (!stream) throw new Error('there is no connection to the master');
    this.#stream = stream;
    stream.read().then((first) => {
      if (this.#given) return;
      if (first?.length === 1 && first[0] === 0) return done();
      stream.reset(502, 'unexpected answer');
      done(new Error(first ? 'unexpected answer' : 'the other node ended the connection'));
    }, (error: Error) => { if (!this.#given) done(error); });
  }

  reset(): void {
    this.#given = true;
    this.#stream.reset(499, 'not needed any more');
  }

  /** Joins it with a client. `ended` is called once, when both are over: at once when the client is gone already. */
  forward(client: TcpConnection, ended: (forwarding: TcpForwarding) => void): TcpForwarding {
    this.#given = true;
    const stream = this.#stream;
    const reader = new SocketReader();
    const taken = client.toSocket(reader.onread);
    const forwarding = { destroy: () => { stream.reset(499, 'the service proxy stops'); } };
    if (!taken) {
      stream.reset(499, 'the client went away');
      queueMicrotask(() => ended(forwarding));
      return forwarding;
    }
    reader.follow(taken.socket, taken.onread);
    void carry(taken.socket, reader, stream).then(() => ended(forwarding));
    return forwarding;
  }
}
