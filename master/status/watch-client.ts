import * as v from 'valibot';
import { WebSocket } from 'ws';
import { FleetMessage, fromTuple, type FleetNode, type Totals } from './fleet-messages.ts';

export interface WatchClientOptions {
  /** `https://host:port`. */
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  /** Called with every change, and with the whole when the snapshot is complete. */
  readonly onChange: (change: FleetChange) => void;
}

/** The fleet after a message, and which of its nodes that was about. */
export interface FleetChange {
  readonly fleet: FleetView;
  readonly snapshot: boolean;
  /** With the node as it was before, if it was known. */
  readonly changed: readonly { readonly node: FleetNode; readonly before: FleetNode | undefined }[];
  readonly removed: readonly FleetNode[];
}

export interface FleetView {
  readonly masterVersion: string;
  readonly totals: Totals;
  /** By name. */
  readonly nodes: ReadonlyMap<string, FleetNode>;
}

/** A silence that no living master keeps. */
const silenceMs = 75_000;

/** Puts the messages of a status stream together. */
export class FleetReader {
  readonly #nodes = new Map<string, FleetNode>();
  #head: { readonly masterVersion: string; readonly totals: Totals } | undefined;
  #complete = false;

  /** Takes a message's text. @returns undefined while the snapshot is not complete. @throws Error for what is no message */
  take(text: string): FleetChange | undefined {
    const message = v.parse(FleetMessage, JSON.parse(text));
    const before = new Map(message.nodes.map(([name]) => [name, this.#nodes.get(name)]));
    const nodes = message.nodes.map(fromTuple);
    for (const node of nodes) this.#nodes.set(node.name, node);
    const first = message.type === 'snapshot';
    if (first) this.#head = message;
    else if (message.totals && this.#head) this.#head = { ...this.#head, totals: message.totals };
    const gone = first ? [] : message.removed.flatMap((name) => this.#nodes.get(name) ?? []);
    for (const { name } of gone) this.#nodes.delete(name);
    if (first) this.#complete = !message.more;
    if (!this.#complete || !this.#head) return undefined;
    const fleet = { masterVersion: this.#head.masterVersion, totals: this.#head.totals, nodes: this.#nodes };
    return { fleet, snapshot: first, changed: nodes.map((node) => ({ node, before: before.get(node.name) })), removed: gone };
  }
}

/**
 * Watches the fleet over one connection, until it ends or `signal` aborts.
 * @returns why it ended; `''` after an abort
 * @throws Error with `code`, one line for the user, when the master refuses
 */
export function watchFleet(options: WatchClientOptions, signal: AbortSignal): Promise<string> {
  const { server, ca, certificate, key, onChange } = options;
  const url = new URL('/wherry/v1/status?watch', server);
  url.protocol = 'wss:';
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, [], { ca, cert: certificate, key, perMessageDeflate: false, handshakeTimeout: 20_000 });
    const reader = new FleetReader();
    const silence = setTimeout(() => socket.terminate(), silenceMs);
    const stop = (): void => socket.terminate();
    let why = '';
    signal.addEventListener('abort', stop, { once: true });
    socket.on('unexpected-response', (_, answer) => {
      reject(Object.assign(new Error(`the master refuses: HTTP ${answer.statusCode}`), { code: `HTTP${answer.statusCode}` }));
      socket.terminate();
    });
    socket.on('message', (data) => {
      silence.refresh();
      try {
        const change = reader.take(String(data));
        if (change) onChange(change);
      } catch (error) {
        reject(Object.assign(new Error(`the master's status is not understood (another version?): ${(error as Error).message}`), { code: 'EPROTO' }));
        socket.terminate();
      }
    });
    socket.on('error', (error) => { why = error.message; });
    socket.on('close', (code, reason) => {
      clearTimeout(silence);
      signal.removeEventListener('abort', stop);
      resolve(signal.aborted ? '' : why || reason.toString('utf8') || `connection closed (${code})`);
    });
    if (signal.aborted) stop();
  });
}
